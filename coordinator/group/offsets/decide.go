package offsets

import (
	"math"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// Check says whether the partition may be committed; its error refuses the whole commit.
type Check func(topic string, id kafka.UUID, p kafka.PartitionIndex) error

// Commit makes the records of a commit. check may be nil.
func (t *Table) Commit(
	now time.Time,
	group string,
	c Commit,
	check Check,
) ([]coordinator.Record, CommitReply, error) {
	n := 0
	for i := range c.Topics {
		n += len(c.Topics[i].Partitions)
	}
	var (
		at      = kafka.Timestamp(now.UnixMilli())
		expires = kafka.NoTimestamp
		commits = make([]record.OffsetCommit, 0, n)
		records = make([]coordinator.Record, 0, n)
		answers = make([]CommittedPartition, 0, n)
		reply   = CommitReply{Topics: make([]CommittedTopic, 0, len(c.Topics))}
	)
	if c.RetentionMs != NoRetention {
		expires = at + kafka.Timestamp(min(c.RetentionMs, math.MaxInt64-int64(at))) // a client may say "for ever"
	}
	for i := range c.Topics {
		topic := &c.Topics[i]
		first := len(answers)
		for _, p := range topic.Partitions {
			metadata := ""
			if p.Metadata != nil {
				metadata = *p.Metadata
			}
			if t.isTooLarge(metadata, expires) {
				answers = append(answers, CommittedPartition{p.Partition, kafka.OffsetMetadataTooLarge})
				continue
			}
			if check != nil {
				if err := check(topic.Topic, topic.TopicID, p.Partition); err != nil {
					return nil, CommitReply{}, err
				}
			}
			answers = append(answers, CommittedPartition{Partition: p.Partition})
			commits = append(commits, record.OffsetCommit{
				Group: group, Topic: topic.Topic, Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch,
				Metadata: metadata, CommitTimestamp: at, ExpireTimestamp: expires, TopicID: topic.TopicID,
			})
			r := &commits[len(commits)-1]
			if expires != kafka.NoTimestamp { // that version has no place for them
				r.LeaderEpoch, r.TopicID = kafka.NoLeaderEpoch, kafka.ZeroUUID
			}
			if c.Unnamed {
				r.TopicID = kafka.ZeroUUID
			}
			records = append(records, r)
		}
		reply.Topics = append(
			reply.Topics,
			CommittedTopic{topic.Topic, topic.TopicID, answers[first:len(answers):len(answers)]},
		)
	}
	return records, reply, nil
}

// isTooLarge says whether metadata are over the limit, or over what the version with an expire timestamp can hold.
func (t *Table) isTooLarge(metadata string, expires kafka.Timestamp) bool {
	if expires != kafka.NoTimestamp && len(metadata) > record.StringBytesMax {
		return true
	}
	// As long in bytes is never longer in UTF-16.
	return len(metadata) > t.settings.MetadataMax && utf16Length(metadata) > t.settings.MetadataMax
}

// Fetch answers a Fetch.
func (t *Table) Fetch(group string, f Fetch) FetchReply {
	if f.All {
		return t.fetchAll(group, f.RequireStable)
	}
	reply := FetchReply{Topics: make([]FetchedTopic, 0, len(f.Topics))}
	for _, topic := range f.Topics {
		o := t.topic(group, topic.Topic)
		fetched := FetchedTopic{topic.Topic, topic.TopicID, make([]FetchedPartition, 0, len(topic.Partitions))}
		for _, p := range topic.Partitions {
			e := o.entry(p)
			if e != nil && isMismatch(o.topicID(e), topic.TopicID) {
				e = nil
			}
			fetched.Partitions = append(fetched.Partitions, t.fetched(key{group, topic.Topic, p}, e, f.RequireStable))
		}
		reply.Topics = append(reply.Topics, fetched)
	}
	return reply
}

// isMismatch says whether an offset was committed for another topic of the same name.
func isMismatch(committed, asked kafka.UUID) bool {
	return committed != asked && committed != kafka.ZeroUUID && asked != kafka.ZeroUUID
}

func (t *Table) fetchAll(group string, stable bool) FetchReply {
	g := t.groups[group]
	if g == nil {
		return FetchReply{}
	}
	reply := FetchReply{Topics: make([]FetchedTopic, 0, len(g.topics))}
	for _, o := range g.topics {
		fetched := FetchedTopic{Topic: o.name, Partitions: make([]FetchedPartition, 0, len(o.entries))}
		for i := range o.entries {
			e := &o.entries[i]
			fetched.Partitions = append(fetched.Partitions, t.fetched(key{group, o.name, e.partition}, e, stable))
		}
		reply.Topics = append(reply.Topics, fetched)
	}
	return reply
}

func (t *Table) fetched(k key, e *entry, stable bool) FetchedPartition {
	answer := FetchedPartition{Partition: k.partition, Offset: kafka.NoOffset, LeaderEpoch: kafka.NoLeaderEpoch}
	if stable && t.pending.hasKey(k) {
		answer.Err = kafka.UnstableOffsetCommit
		return answer
	}
	if e != nil {
		answer.Offset, answer.LeaderEpoch, answer.Metadata = e.offset, e.epoch, e.metadata()
	}
	return answer
}

// Delete makes the tombstones of a Delete. subscribes says which topics the group is subscribed to.
func (t *Table) Delete(group string, d Delete, subscribes func(string) bool) ([]coordinator.Record, DeleteReply) {
	var records []coordinator.Record
	reply := DeleteReply{Topics: make([]CommittedTopic, 0, len(d.Topics))}
	for _, topic := range d.Topics {
		answers := make([]CommittedPartition, 0, len(topic.Partitions))
		subscribed := subscribes(topic.Topic)
		for _, p := range topic.Partitions {
			if subscribed {
				answers = append(answers, CommittedPartition{p, kafka.GroupSubscribedToTopic})
				continue
			}
			answers = append(answers, CommittedPartition{Partition: p})
			if t.find(group, topic.Topic, p) != nil || t.pending.hasKey(key{group, topic.Topic, p}) {
				records = append(records, tombstone(group, topic.Topic, p))
			}
		}
		reply.Topics = append(reply.Topics, CommittedTopic{topic.Topic, topic.TopicID, answers})
	}
	return records, reply
}

// DeleteAll makes the tombstones of all offsets of a group, committed and pending.
func (t *Table) DeleteAll(group string) []coordinator.Record {
	var records []coordinator.Record
	if g := t.groups[group]; g != nil {
		for _, o := range g.topics {
			for i := range o.entries {
				records = append(records, tombstone(group, o.name, o.entries[i].partition))
			}
		}
	}
	for _, k := range t.pending.keys(group) {
		if t.find(group, k.topic, k.partition) == nil {
			records = append(records, tombstone(group, k.topic, k.partition))
		}
	}
	return records
}

func tombstone(group, topic string, p kafka.PartitionIndex) coordinator.Record {
	return &record.OffsetCommit{Group: group, Topic: topic, Partition: p, Deleted: true,
		LeaderEpoch: kafka.NoLeaderEpoch, ExpireTimestamp: kafka.NoTimestamp}
}
