package offsets

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// drawTable fills a table with random offsets, committed and pending, at times between 0 and 200 s.
func drawTable(t *rapid.T) *Table {
	table := NewTable(Settings{MetadataMax: 100, Retention: 100 * time.Second})
	for at := range rapid.IntRange(0, 40).Draw(t, "records") {
		r := drawCommit(t)
		r.CommitTimestamp = kafka.Timestamp(rapid.IntRange(0, 200).Draw(t, "committed") * 1000)
		if !r.Deleted && rapid.IntRange(0, 5).Draw(t, "expires") == 0 {
			r.ExpireTimestamp = kafka.Timestamp(rapid.IntRange(0, 400).Draw(t, "expiry") * 1000)
		}
		producer := kafka.ProducerID(max(-1, rapid.IntRange(-6, 1).Draw(t, "producer")))
		table.Apply(r, coordinator.Place{Offset: kafka.Offset(at), ProducerID: producer})
	}
	return table
}

// allOf runs a search that gives so many records a turn, and applies them, until it gives no more.
func allOf(t *rapid.T, table *Table, turn func(most int) []coordinator.Record) []string {
	var seen []string
	for range 1000 {
		most := rapid.IntRange(1, 4).Draw(t, "most")
		records := turn(most)
		if len(records) > most {
			t.Fatalf("%d records where %d are allowed", len(records), most)
		}
		if len(records) == 0 {
			slices.Sort(seen)
			return seen
		}
		for _, r := range records {
			r := r.(*record.OffsetCommit)
			seen = append(seen, showRecord(r))
			table.Apply(r, coordinator.Place{Offset: 1000, ProducerID: kafka.NoProducerID})
		}
	}
	t.Fatal("the turns do not come to an end")
	return nil
}

// every calls visit for all offsets of a group that are committed.
func every(table *Table, group string, visit func(o *topicOffsets, e *entry)) {
	if table.groups[group] == nil {
		return
	}
	for _, o := range table.groups[group].topics {
		for i := range o.entries {
			visit(o, &o.entries[i])
		}
	}
}

// TestExpiryInTurns compares what expires over some turns with a look at each offset by itself: it goes if it is
// expired, is not subscribed and has nothing pending.
func TestExpiryInTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := drawTable(t)
		now := time.Unix(int64(rapid.IntRange(0, 500).Draw(t, "now")), 0)
		rule := Rule{Since: kafka.NoTimestamp, Subscribes: contains([]string{"b"})}
		if rapid.Bool().Draw(t, "empty") {
			rule.Since = kafka.Timestamp(rapid.IntRange(0, 400).Draw(t, "since") * 1000)
		}
		var want []string
		left := table.pending.has("g")
		every(table, "g", func(o *topicOffsets, e *entry) {
			since := e.committed
			if rule.Since != kafka.NoTimestamp {
				since = rule.Since
			}
			isExpired := now.UnixMilli()-int64(since) >= 100_000
			if e.expires() != kafka.NoTimestamp {
				isExpired = now.UnixMilli() >= int64(e.expires())
			}
			if !isExpired || o.name == "b" || table.pending.hasKey(key{"g", o.name, e.partition}) {
				left = true
				return
			}
			want = append(want, fmt.Sprintf("g %s-%d deleted", o.name, e.partition))
		})
		slices.Sort(want)
		lastLeft := false
		got := allOf(t, table, func(most int) (records []coordinator.Record) {
			records, lastLeft = table.Expire(now, "g", rule, most)
			return records
		})
		if !slices.Equal(got, want) || lastLeft != left {
			t.Fatalf("%v expire and %v are left, want %v and %v", got, lastLeft, want, left)
		}
	})
}

// TestDeletedTopicInTurns deletes a topic: its offsets go, committed and pending, but not those that are known to be of
// another topic with its name, and nobody else's.
func TestDeletedTopicInTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := drawTable(t)
		topic := DeletedTopic{"a", kafka.UUID{15: 1}}
		others := len(table.DeleteAll("h"))
		kept := map[kafka.PartitionIndex]bool{}
		every(table, "g", func(o *topicOffsets, e *entry) {
			if o.name == "a" && isMismatch(o.topicID(e), topic.ID) {
				kept[e.partition] = true
			}
		})
		allOf(t, table, func(most int) []coordinator.Record {
			records, _ := table.TopicDeleted("g", topic, most)
			return records
		})
		every(table, "g", func(o *topicOffsets, e *entry) {
			if o.name == "a" && !kept[e.partition] {
				t.Fatalf("the offset of partition %d is still there", e.partition)
			}
			delete(kept, e.partition)
		})
		if len(kept) > 0 && table.topic("g", "a") == nil {
			t.Fatalf("the offsets of %v are gone", kept)
		}
		if after := len(table.DeleteAll("h")); after != others {
			t.Fatalf("another group has %d offsets, and had %d", after, others)
		}
		for _, k := range table.pending.keys("g") {
			if k.topic == "a" && !table.pending.isOther(k, topic.ID) && table.find("g", "a", k.partition) == nil {
				t.Fatalf("%v is still pending", k)
			}
		}
	})
}

// TestDeletingAllLeavesNothing deletes a group's offsets and those of none other.
func TestDeletingAllLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := drawTable(t)
		for _, r := range table.DeleteAll("g") {
			table.Apply(r.(*record.OffsetCommit), coordinator.Place{Offset: 1000, ProducerID: kafka.NoProducerID})
		}
		table.Forget("g")
		if table.Knows("g") || table.pending.has("g") {
			t.Fatalf("something is left:\n%s", dump(table))
		}
		for producer := range kafka.ProducerID(3) {
			table.ApplyMarker(producer, true)
		}
		if table.Knows("g") {
			t.Fatalf("a marker brings back what was deleted:\n%s", dump(table))
		}
	})
}

// TestCommitsAreFetched commits random offsets by Decide and Apply, and fetches them.
func TestCommitsAreFetched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable(Settings{MetadataMax: 3, Retention: time.Hour})
		want := map[kafka.PartitionIndex]FetchedPartition{}
		for range rapid.IntRange(1, 10).Draw(t, "commits") {
			c := Commit{RetentionMs: rapid.SampledFrom([]int64{NoRetention, 5}).Draw(t, "retention"),
				Topics: []CommitTopic{{Topic: "a"}}}
			partitions := rapid.SliceOfNDistinct(rapid.Int32Range(0, 9), 0, 5, rapid.ID[int32]).Draw(t, "partitions")
			for _, p := range partitions {
				metadata := rapid.SampledFrom([]string{"", "x", "xyz", "long"}).Draw(t, "metadata")
				c.Topics[0].Partitions = append(c.Topics[0].Partitions, CommitPartition{
					Partition: kafka.PartitionIndex(p), Offset: kafka.Offset(rapid.IntRange(0, 99).Draw(t, "offset")),
					LeaderEpoch: 4, Metadata: &metadata,
				})
			}
			records, reply, err := table.Commit(time.Unix(1, 0), "g", c, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range c.Topics[0].Partitions {
				if answer := reply.Topics[0].Partitions[i]; answer.Partition != p.Partition ||
					(answer.Err != nil) != (*p.Metadata == "long") {
					t.Fatalf("%+v is answered %+v", p, answer)
				} else if answer.Err == nil {
					fetched := FetchedPartition{p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata, nil}
					if c.RetentionMs != NoRetention {
						fetched.LeaderEpoch = kafka.NoLeaderEpoch
					}
					want[p.Partition] = fetched
				}
			}
			for _, r := range records {
				table.Apply(r.(*record.OffsetCommit), coordinator.Place{ProducerID: kafka.NoProducerID})
			}
		}
		for p, fetched := range want {
			f := Fetch{Topics: []FetchTopic{{Topic: "a", Partitions: []kafka.PartitionIndex{p}}}}
			if got := table.Fetch("g", f).Topics[0].Partitions[0]; got != fetched {
				t.Fatalf("%+v, want %+v", got, fetched)
			}
		}
		if table.Count() != len(want) {
			t.Fatalf("%d offsets, want %d", table.Count(), len(want))
		}
	})
}
