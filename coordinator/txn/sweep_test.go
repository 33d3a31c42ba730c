package txn

import (
	"errors"
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

// open makes a transaction of an id that has used so many epochs, in a partition of each topic.
func (w *world) open(id string, used kafka.ProducerEpoch, clientVersion int16, topics ...string) {
	empty := record.Transaction{
		ID: id, ProducerID: 5000, Epoch: used, NextProducerID: kafka.NoProducerID, TimeoutMs: 60_000,
		State: record.Empty, Version: w.shard.valueVersion(),
	}
	w.follow(coordinator.Outcome{Records: []coordinator.Record{&empty}})
	w.add(id, clientVersion, topics...)
}

func (w *world) add(id string, clientVersion int16, topics ...string) {
	w.ask(id, func(kafka.ProducerID) any {
		add := AddPartitions{ProducerID: 5000, Epoch: w.shard.ids[id].Epoch, ClientVersion: clientVersion}
		for _, topic := range topics {
			add.Partitions = append(add.Partitions, kafka.TopicPartition{Topic: topic})
		}
		return add
	})
}

// Goal: a transaction that could be begun can be ended, although the record of its end is larger. Method: partitions
// are added until no more fit into a batch, and then the transaction takes too long; with each version of transactions
// before and after, and where a producer id is to be had first.
func TestWhatCanBeBegunCanBeEnded(t *testing.T) {
	for before := range versionTwo + 1 {
		for after := range versionTwo + 1 {
			for _, used := range []kafka.ProducerEpoch{1, epochLast} {
				w := newWorld(testOptions())
				w.tell(Version{Level: before})
				w.limit = 3000
				w.open("t", used, 0, "a")
				var refused error
				w.heard = func(r *coordinator.Reply) { refused = r.Err }
				count := 0
				for ; refused == nil; count++ {
					w.add("t", 0, strings.Repeat("t", 1+count%9)+fmt.Sprint(count))
				}
				if !errors.Is(refused, kafka.RecordListTooLarge) || count < 100 {
					t.Fatalf("version %d: %v after %d topics", before, refused, count)
				}
				w.tell(Version{Level: after})
				w.wait(time.Minute + w.options.AbortInterval)
				if used == epochLast && after == versionTwo && !w.answer("t", nil) {
					t.Fatal("no producer id is asked for")
				}
				if state := w.shard.ids["t"].State; state != record.PrepareAbort {
					t.Errorf("versions %d and %d, epoch %d: %s after %d topics", before, after, used, state, count)
				}
			}
		}
	}
}

// Goal: transactions that take too long are ended although the ends of all do not fit into one batch, and one that does
// not fit at all holds up no other. Method: many with long names; then the limit is lowered.
func TestASweepGoesOnWithLessAtATime(t *testing.T) {
	w := newWorld(testOptions())
	w.open("a", 1, 2, strings.Repeat("a", 249), strings.Repeat("b", 249))
	const count = sweepRecordsMax
	for i := range count {
		w.open(fmt.Sprintf("t%03d", i), 1, 2, strings.Repeat("c", 249))
	}
	w.limit = 400 // one of them, but for the first
	w.wait(time.Minute + 2*w.options.AbortInterval)
	for i := range count {
		if id := fmt.Sprintf("t%03d", i); w.shard.ids[id].State != record.PrepareAbort {
			t.Fatalf("%s is not aborted: %s", id, w.shard.ids[id].State)
		}
	}
	if state := w.shard.ids["a"].State; state != record.Ongoing {
		t.Fatalf("what is too large is %s", state)
	}
	w.limit = 0
	w.wait(2 * w.options.AbortInterval)
	if state := w.shard.ids["a"].State; state != record.PrepareAbort {
		t.Fatalf("what was too large is %s", state)
	}
}
