package txn

import (
	"fmt"
	"strings"
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

// Goal: an id does not expire under those who wait for the end of its last transaction. Method: ids expire at once, and
// the look for those that do comes between that end and the answer.
func TestNoIDExpiresWhileSomebodyWaits(t *testing.T) {
	o := testOptions()
	o.Expiration = 0
	w := newWorld(o)
	producer := record.Transaction{
		ID: "t", ProducerID: 5000, Epoch: 1, NextProducerID: kafka.NoProducerID, TimeoutMs: 60_000,
		State: record.PrepareCommit, ClientVersion: 2, Version: record.VersionFlexible,
	}
	w.follow(coordinator.Outcome{Records: []coordinator.Record{&producer}})
	w.ask("t", func(kafka.ProducerID) any {
		return AddPartitions{
			ProducerID: producer.ProducerID, Epoch: producer.Epoch, ClientVersion: 2, Wait: time.Second,
			Partitions: []kafka.TopicPartition{{Topic: "a"}},
		}
	})
	w.follow(w.shard.Fired(w.now, coordinator.TimerKey{Kind: timerMarkers, Group: "t"}))
	w.follow(w.shard.Fired(w.now, coordinator.TimerKey{Kind: timerExpiry}))
	w.take()
	w.wait(time.Second)
	if got := w.take(); !strings.Contains(got, "#1: in") {
		t.Fatalf("the answer is lost: %q", got)
	}
}
