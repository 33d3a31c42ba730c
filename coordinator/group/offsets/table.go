package offsets

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// Settings are the rules for committed offsets.
type Settings struct {
	MetadataMax int           // offset.metadata.max.bytes, which Kafka counts in UTF-16 units
	Retention   time.Duration // offsets.retention.minutes
}

// Table is the committed offsets of all groups of one shard.
type Table struct {
	settings Settings
	groups   map[string]*groupOffsets
	count    int
	pending  pending
}

// groupOffsets are those of one group, by topic. Kept small: a shard may hold a million offsets. One without topics
// stands for a group that had offsets and exists until it is deleted.
type groupOffsets struct {
	topics []*topicOffsets // by name
}

// topicOffsets are those of one group and topic, by partition.
type topicOffsets struct {
	name    string
	id      kafka.UUID // that of every entry without an extra
	entries []entry
}

// entry is the committed offset of one partition.
type entry struct {
	partition kafka.PartitionIndex
	epoch     kafka.LeaderEpoch
	offset    kafka.Offset
	at        kafka.Offset // of the record
	committed kafka.Timestamp
	extra     *extra // nil: no metadata, no expiry of its own, the topic's id
}

// extra is what few entries have. It is never changed, so that neighbours share it.
type extra struct {
	metadata string
	expires  kafka.Timestamp // or NoTimestamp
	topicID  kafka.UUID
}

// NewTable makes an empty table.
func NewTable(s Settings) *Table {
	return &Table{settings: s, groups: map[string]*groupOffsets{}, pending: newPending()}
}

// Configure replaces the rules.
func (t *Table) Configure(s Settings) { t.settings = s }

// Count is the number of committed offsets, without those pending in transactions.
func (t *Table) Count() int { return t.count }

// Knows reports whether the group has offsets, committed or pending, or had some and was not forgotten since.
func (t *Table) Knows(group string) bool { return t.groups[group] != nil }

// Forget takes a group out that has no offsets any more.
func (t *Table) Forget(group string) {
	if g := t.groups[group]; g != nil && len(g.topics) == 0 && !t.pending.has(group) {
		delete(t.groups, group)
	}
}

// GroupCount is the number of groups that the table knows.
func (t *Table) GroupCount() int { return len(t.groups) }

// Groups gives the ids of the groups that the table knows, in no order.
func (t *Table) Groups() iter.Seq[string] { return maps.Keys(t.groups) }

// Apply takes a committed or deleted offset over. What a producer commits in a transaction waits for ApplyMarker.
func (t *Table) Apply(r *record.OffsetCommit, at coordinator.Place) {
	switch {
	case r.Deleted:
		t.remove(r.Group, r.Topic, r.Partition)
		t.pending.clear(key{r.Group, r.Topic, r.Partition})
	case at.ProducerID != kafka.NoProducerID:
		t.group(r.Group)
		t.pending.add(at.ProducerID, r, at.Offset)
	default:
		t.put(r, at.Offset)
	}
}

// ApplyMarker ends a transaction: what the producer has committed in it counts from now on, or never. A later commit
// outside the transaction stands.
func (t *Table) ApplyMarker(producer kafka.ProducerID, committed bool) {
	for _, p := range t.pending.end(producer) {
		if !committed {
			continue
		}
		if old := t.find(p.record.Group, p.record.Topic, p.record.Partition); old == nil || p.at > old.at {
			t.put(p.record, p.at)
		}
	}
}

func byName(o *topicOffsets, name string) int { return strings.Compare(o.name, name) }

func byPartition(e entry, p kafka.PartitionIndex) int { return cmp.Compare(e.partition, p) }

func (t *Table) topic(group, topic string) *topicOffsets {
	g := t.groups[group]
	if g == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(g.topics, topic, byName)
	if !ok {
		return nil
	}
	return g.topics[i]
}

// entry is nil where there is none. It is valid until the next change.
func (o *topicOffsets) entry(p kafka.PartitionIndex) *entry {
	if o == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(o.entries, p, byPartition)
	if !ok {
		return nil
	}
	return &o.entries[i]
}

func (t *Table) find(group, topic string, p kafka.PartitionIndex) *entry {
	return t.topic(group, topic).entry(p)
}

// group is the group's offsets, known from now on.
func (t *Table) group(id string) *groupOffsets {
	g := t.groups[id]
	if g == nil {
		g = &groupOffsets{}
		t.groups[id] = g
	}
	return g
}

func (t *Table) put(r *record.OffsetCommit, at kafka.Offset) {
	g := t.group(r.Group)
	i, ok := slices.BinarySearchFunc(g.topics, r.Topic, byName)
	if !ok {
		g.topics = slices.Insert(g.topics, i, &topicOffsets{name: r.Topic, id: r.TopicID})
	}
	o := g.topics[i]
	j, ok := slices.BinarySearchFunc(o.entries, r.Partition, byPartition)
	if !ok {
		o.entries = slices.Insert(o.entries, j, entry{partition: r.Partition})
		t.count++
	}
	if len(o.entries) == 1 {
		o.id = r.TopicID
	}
	e := &o.entries[j]
	e.epoch, e.offset, e.at, e.committed = r.LeaderEpoch, r.Offset, at, r.CommitTimestamp
	e.extra = o.extraFor(r, j)
}

// extraFor gives what the entry needs besides, shared with a neighbour that says the same or with what was there.
func (o *topicOffsets) extraFor(r *record.OffsetCommit, at int) *extra {
	if r.Metadata == "" && r.ExpireTimestamp == kafka.NoTimestamp && r.TopicID == o.id {
		return nil
	}
	want := extra{metadata: r.Metadata, expires: r.ExpireTimestamp, topicID: r.TopicID}
	for i := max(at-1, 0); i <= min(at+1, len(o.entries)-1); i++ {
		if x := o.entries[i].extra; x != nil && *x == want {
			return x
		}
	}
	return &want
}

func (o *topicOffsets) topicID(e *entry) kafka.UUID {
	if e.extra == nil {
		return o.id
	}
	return e.extra.topicID
}

func (e *entry) metadata() string {
	if e.extra == nil {
		return ""
	}
	return e.extra.metadata
}

func (e *entry) expires() kafka.Timestamp {
	if e.extra == nil {
		return kafka.NoTimestamp
	}
	return e.extra.expires
}

func (t *Table) remove(group, topic string, p kafka.PartitionIndex) {
	g := t.groups[group]
	if g == nil {
		return
	}
	i, ok := slices.BinarySearchFunc(g.topics, topic, byName)
	if !ok {
		return
	}
	o := g.topics[i]
	j, ok := slices.BinarySearchFunc(o.entries, p, byPartition)
	if !ok {
		return
	}
	t.count--
	if o.entries = slices.Delete(o.entries, j, j+1); len(o.entries) > 0 {
		return
	}
	g.topics = slices.Delete(g.topics, i, i+1)
}

// utf16Length is the length of s as Java counts it.
func utf16Length(s string) int {
	n := 0
	for _, c := range s {
		n++
		if c != utf8.RuneError && utf16.RuneLen(c) == 2 {
			n++
		}
	}
	return n
}
