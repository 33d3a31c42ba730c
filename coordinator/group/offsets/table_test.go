package offsets

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// oracle is the table as plain maps.
type oracle struct {
	committed map[key]*oracleCommit
	pending   map[kafka.ProducerID]map[key]*oracleCommit
}

type oracleCommit struct {
	record *record.OffsetCommit
	at     kafka.Offset
}

func (o *oracle) apply(r *record.OffsetCommit, at coordinator.Place) {
	k := key{r.Group, r.Topic, r.Partition}
	switch {
	case r.Deleted:
		delete(o.committed, k)
		for _, commits := range o.pending {
			delete(commits, k)
		}
	case at.ProducerID >= 0:
		if o.pending[at.ProducerID] == nil {
			o.pending[at.ProducerID] = map[key]*oracleCommit{}
		}
		o.pending[at.ProducerID][k] = &oracleCommit{r, at.Offset}
	default:
		o.committed[k] = &oracleCommit{r, at.Offset}
	}
}

func (o *oracle) end(producer kafka.ProducerID, committed bool) {
	for k, c := range o.pending[producer] {
		if old := o.committed[k]; committed && (old == nil || old.at < c.at) {
			o.committed[k] = c
		}
	}
	delete(o.pending, producer)
}

func (o *oracle) isPending(k key) bool {
	for _, commits := range o.pending {
		if commits[k] != nil {
			return true
		}
	}
	return false
}

// TestTableIsTheLastRecordOfEachKey applies random records and markers to a table and to plain maps, and compares what
// fetches give. A second table that is fed the same records is the same to the letter.
func TestTableIsTheLastRecordOfEachKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, again := NewTable(Settings{}), NewTable(Settings{})
		o := &oracle{map[key]*oracleCommit{}, map[kafka.ProducerID]map[key]*oracleCommit{}}
		steps := rapid.IntRange(1, 80).Draw(t, "steps")
		for at := range steps {
			producer := kafka.ProducerID(rapid.IntRange(-3, 2).Draw(t, "producer"))
			if producer >= 0 && rapid.IntRange(0, 4).Draw(t, "end") == 0 {
				committed := rapid.Bool().Draw(t, "committed")
				table.ApplyMarker(producer, committed)
				again.ApplyMarker(producer, committed)
				o.end(producer, committed)
				continue
			}
			r := drawCommit(t)
			place := coordinator.Place{Offset: kafka.Offset(at), ProducerID: max(producer, kafka.NoProducerID)}
			table.Apply(r, place)
			again.Apply(r, place)
			o.apply(r, place)
		}
		if a, b := dump(table), dump(again); a != b {
			t.Fatalf("not the same:\n%s\n%s", a, b)
		}
		checkFetches(t, table, o)
	})
}

func drawCommit(t *rapid.T) *record.OffsetCommit {
	r := &record.OffsetCommit{
		Group:           rapid.SampledFrom([]string{"g", "h"}).Draw(t, "group"),
		Topic:           rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "topic"),
		Partition:       kafka.PartitionIndex(rapid.IntRange(0, 3).Draw(t, "partition")),
		Deleted:         rapid.IntRange(0, 3).Draw(t, "deleted") == 0,
		ExpireTimestamp: kafka.NoTimestamp,
	}
	if r.Deleted {
		return r
	}
	r.Offset = kafka.Offset(rapid.IntRange(0, 1000).Draw(t, "offset"))
	r.LeaderEpoch = kafka.LeaderEpoch(rapid.IntRange(-1, 3).Draw(t, "epoch"))
	r.Metadata = rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(t, "metadata")
	r.TopicID = kafka.UUID{15: byte(rapid.IntRange(0, 2).Draw(t, "id"))}
	return r
}

func checkFetches(t *rapid.T, table *Table, o *oracle) {
	if table.Count() != len(o.committed) {
		t.Fatalf("%d offsets, want %d", table.Count(), len(o.committed))
	}
	for _, group := range []string{"g", "h", "none"} {
		for _, topic := range []string{"a", "b", "c"} {
			for p := range kafka.PartitionIndex(4) {
				for id := range 3 {
					checkFetch(t, table, o, key{group, topic, p}, kafka.UUID{15: byte(id)})
				}
			}
		}
	}
}

func checkFetch(t *rapid.T, table *Table, o *oracle, k key, id kafka.UUID) {
	reply := table.Fetch(k.group, Fetch{Topics: []FetchTopic{{k.topic, id, []kafka.PartitionIndex{k.partition}}}})
	want := FetchedPartition{Partition: k.partition, Offset: kafka.NoOffset, LeaderEpoch: kafka.NoLeaderEpoch}
	if c := o.committed[k]; c != nil && !isMismatch(c.record.TopicID, id) {
		want.Offset, want.LeaderEpoch, want.Metadata = c.record.Offset, c.record.LeaderEpoch, c.record.Metadata
	}
	if got := reply.Topics[0].Partitions[0]; got != want {
		t.Fatalf("%v: %+v, want %+v", k, got, want)
	}
	if table.pending.hasKey(k) != o.isPending(k) {
		t.Fatalf("%v: pending is %v", k, table.pending.hasKey(k))
	}
}

// fill applies offsets of many groups, as a load does.
func fill(groups, topics, partitions int) *Table {
	table := NewTable(Settings{})
	var at kafka.Offset
	for g := range groups {
		group := fmt.Sprintf("consumer-group-%05d", g)
		for topic := range topics {
			r := record.OffsetCommit{Group: group, Topic: topicNames[topic], ExpireTimestamp: kafka.NoTimestamp,
				CommitTimestamp: 1, TopicID: kafka.UUID{1, byte(topic)}}
			for p := range partitions {
				r.Partition, r.Offset = kafka.PartitionIndex(p), at
				table.Apply(&r, coordinator.Place{Offset: at, ProducerID: kafka.NoProducerID})
				at++
			}
		}
	}
	return table
}

var topicNames = func() []string {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("topic-%03d", i))
	}
	return names
}()

// TestMillionOffsetsTakeLittleMemory holds a million offsets in 10,000 groups, in the two shapes that matter: many
// topics of one partition, and few topics of many.
func TestMillionOffsetsTakeLittleMemory(t *testing.T) {
	for _, shape := range []struct{ topics, partitions, bytesMax int }{{100, 1, 150}, {2, 50, 75}} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		table := fill(1000, shape.topics, shape.partitions)
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := (int(after.HeapAlloc) - int(before.HeapAlloc)) / table.Count()
		t.Logf("%d topics of %d partitions: %d bytes an offset", shape.topics, shape.partitions, each)
		if each > shape.bytesMax {
			t.Errorf(
				"%d topics of %d partitions: %d bytes an offset, want %d at most",
				shape.topics,
				shape.partitions,
				each,
				shape.bytesMax,
			)
		}
		runtime.KeepAlive(table)
	}
}

// TestMetadataOfOneMemberAreKeptOnce commits the same metadata for many partitions, as clients do with their member id.
func TestMetadataOfOneMemberAreKeptOnce(t *testing.T) {
	table := NewTable(Settings{})
	for p := range kafka.PartitionIndex(10) {
		table.Apply(&record.OffsetCommit{Group: "g", Topic: "a", Partition: p, ExpireTimestamp: kafka.NoTimestamp,
			Metadata: strings.Repeat("m", 20)}, coordinator.Place{ProducerID: kafka.NoProducerID})
	}
	o := table.topic("g", "a")
	for p := range kafka.PartitionIndex(10) {
		if o.entry(p).extra != o.entry(0).extra {
			t.Errorf("partition %d has metadata of its own", p)
		}
	}
}

// BenchmarkCommit decides about a commit of ten partitions and applies it.
func BenchmarkCommit(b *testing.B) {
	table := fill(1000, 2, 50)
	table.Configure(Settings{MetadataMax: 4096, Retention: time.Hour})
	topic := CommitTopic{Topic: topicNames[0], TopicID: kafka.UUID{1, 0}}
	for p := range kafka.PartitionIndex(10) {
		topic.Partitions = append(topic.Partitions, CommitPartition{Partition: p, Offset: 5, LeaderEpoch: 1})
	}
	c := Commit{Topics: []CommitTopic{topic}, RetentionMs: NoRetention}
	now := time.Unix(1, 0)
	b.ReportAllocs()
	at := kafka.Offset(0)
	for b.Loop() {
		records, _, _ := table.Commit(now, "consumer-group-00500", c, nil)
		for _, r := range records {
			table.Apply(r.(*record.OffsetCommit), coordinator.Place{Offset: at, ProducerID: kafka.NoProducerID})
			at++
		}
	}
}

// TestRetentionForEver commits with the longest retention there is, which means for ever and not that the time has
// come.
func TestRetentionForEver(t *testing.T) {
	table, now := NewTable(Settings{Retention: time.Hour}), time.Unix(1_700_000_000, 0)
	c := Commit{RetentionMs: math.MaxInt64, Topics: []CommitTopic{{Topic: "a", Partitions: []CommitPartition{{}}}}}
	records, _, err := table.Commit(now, "g", c, nil)
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	table.Apply(records[0].(*record.OffsetCommit), coordinator.Place{ProducerID: kafka.NoProducerID})
	if expired, _ := table.Expire(now.AddDate(100, 0, 0), "g", Rule{Since: kafka.NoTimestamp}, 1); len(expired) > 0 {
		t.Errorf("expired: %+v", expired[0])
	}
}
