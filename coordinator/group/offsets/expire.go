package offsets

import (
	"time"

	"spate/coordinator"
	"spate/kafka"
)

// Rule says which offsets of one group expire.
type Rule struct {
	// Never says that none does at present.
	Never bool
	// Since is when the time to expire began for all offsets; NoTimestamp: for each when it was committed.
	Since kafka.Timestamp
	// Subscribes says which topics the group is subscribed to: their offsets stay. nil: to none.
	Subscribes func(topic string) bool
}

// Expire makes the tombstones of a group's expired offsets, not more than most. left says that the group has, or may
// have, other offsets than these.
func (t *Table) Expire(now time.Time, group string, rule Rule, most int) (records []coordinator.Record, left bool) {
	left = t.pending.has(group)
	g := t.groups[group]
	if g == nil || len(g.topics) == 0 {
		return nil, left
	}
	if rule.Never {
		return nil, true
	}
	at := kafka.Timestamp(now.UnixMilli())
	for _, o := range g.topics {
		if rule.Subscribes != nil && rule.Subscribes(o.name) {
			left = true
			continue
		}
		for i := range o.entries {
			e := &o.entries[i]
			if !t.isExpired(e, rule.Since, at) || t.pending.hasKey(key{group, o.name, e.partition}) {
				left = true
				continue
			}
			if len(records) == most {
				return records, true
			}
			records = append(records, tombstone(group, o.name, e.partition))
		}
	}
	return records, left
}

// isExpired says whether an offset has outlived the retention, or the expiry that its commit asked for.
func (t *Table) isExpired(e *entry, since, now kafka.Timestamp) bool {
	if expires := e.expires(); expires != kafka.NoTimestamp {
		return now >= expires
	}
	if since == kafka.NoTimestamp {
		since = e.committed
	}
	return now-since >= kafka.Timestamp(t.settings.Retention.Milliseconds())
}

// DeletedTopic is a topic that is no more.
type DeletedTopic struct {
	Topic string
	ID    kafka.UUID
}

// TopicDeleted makes the tombstones of a group's offsets, committed and pending, for a topic that was deleted, at most
// max; more says that there are others. An offset that is known to belong to another topic of that name stays.
func (t *Table) TopicDeleted(group string, topic DeletedTopic, most int) (records []coordinator.Record, more bool) {
	if o := t.topic(group, topic.Topic); o != nil {
		for i := range o.entries {
			e := &o.entries[i]
			if isMismatch(o.topicID(e), topic.ID) {
				continue
			}
			if len(records) == most {
				return records, true
			}
			records = append(records, tombstone(group, topic.Topic, e.partition))
		}
	}
	for _, k := range t.pending.keys(group) {
		if k.topic != topic.Topic || t.find(group, k.topic, k.partition) != nil || t.pending.isOther(k, topic.ID) {
			continue
		}
		if len(records) == most {
			return records, true
		}
		records = append(records, tombstone(group, topic.Topic, k.partition))
	}
	return records, false
}

// isOther says whether everything that is pending for k is for a topic other than id.
func (p *pending) isOther(k key, id kafka.UUID) bool {
	for _, producer := range p.open[k] {
		if !isMismatch(p.producers[producer][k].record.TopicID, id) {
			return false
		}
	}
	return true
}
