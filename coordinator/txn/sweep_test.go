package txn

import (
	"fmt"
	"testing"
	"time"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// Goal: transactions that take too long are ended however many of them need another producer id first, each of which is
// asked for once. Method: more than one step of a sweep takes. What is never answered is asked for again, in time.
func TestASweepAsksOnceForEachProducerID(t *testing.T) {
	w := newWorld(testOptions())
	const count = 2*sweepRecordsMax + sweepRecordsMax/2
	for i := range count {
		id := fmt.Sprintf("t%03d", i)
		used := record.Transaction{
			ID: id, ProducerID: kafka.ProducerID(5000 + i), Epoch: epochLast, NextProducerID: kafka.NoProducerID,
			TimeoutMs: 60_000, State: record.Empty, Version: record.VersionFlexible,
		}
		w.follow(coordinator.Outcome{Records: []coordinator.Record{&used}})
		w.tell(Command{ID: id, Body: AddPartitions{
			ProducerID: used.ProducerID, Epoch: epochLast, ClientVersion: 2,
			Partitions: []kafka.TopicPartition{{Topic: "a"}},
		}})
	}
	w.wait(time.Minute + w.options.AbortInterval)
	if len(w.tasks) != count {
		t.Fatalf("%d tasks for %d ids", len(w.tasks), count)
	}
	for i := range count - 1 {
		if id := fmt.Sprintf("t%03d", i); !w.answer(id, nil) || w.shard.ids[id].State != record.PrepareAbort {
			t.Fatalf("%s is not aborted: %s", id, w.shard.ids[id].State)
		}
	}
	last := fmt.Sprintf("t%03d", count-1)
	w.tasks = nil // nobody has answered
	w.wait(w.options.AbortInterval)
	if len(w.tasks) != 1 || !w.answer(last, nil) || w.shard.ids[last].State != record.PrepareAbort {
		t.Fatalf("%d tasks, and %s is %s", len(w.tasks), last, w.shard.ids[last].State)
	}
}
