package txn

import (
	"testing"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// Goal: an end is written only when no marker of it can come any more: it would end the next transaction, which has the
// same epoch where clients are older than version 2. Method: a shard is asked for markers, and loaded anew while they
// are being written. The answer to its predecessor says nothing to it, for its own task is still to be done.
func TestAnEndIsWrittenAfterTheLastTaskForIt(t *testing.T) {
	w := ended()
	first := onlyTask(t, w)
	w.load()
	second := onlyTask(t, w)
	w.checkAnswered(t, first, record.PrepareCommit)
	w.checkAnswered(t, second, record.CompleteCommit)
}

// Goal: the same within one life. Method: a timer asks again while the first task is under way.
func TestATaskThatIsAskedAgainReplacesTheFirst(t *testing.T) {
	w := ended()
	first := onlyTask(t, w)
	w.follow(w.shard.Fired(w.now, coordinator.TimerKey{Kind: timerMarkers, Group: "t"}))
	second := onlyTask(t, w)
	w.checkAnswered(t, first, record.PrepareCommit)
	w.checkAnswered(t, second, record.CompleteCommit)
}

// ended makes a world in which the commit of a transaction is decided.
func ended() *world {
	w := newWorld(testOptions())
	w.ask("t", func(fresh kafka.ProducerID) any {
		return InitProducerID{
			TimeoutMs: 60_000, ProducerID: kafka.NoProducerID, Epoch: kafka.NoProducerEpoch, Fresh: fresh,
		}
	})
	producer := w.shard.ids["t"].ProducerID
	w.ask("t", func(kafka.ProducerID) any {
		return AddPartitions{ProducerID: producer, Partitions: []kafka.TopicPartition{{Topic: "a"}}}
	})
	w.ask("t", func(kafka.ProducerID) any { return EndTxn{ProducerID: producer, Commit: true} })
	return w
}

// onlyTask takes the task to write markers that was handed out.
func onlyTask(t *testing.T, w *world) WriteMarkers {
	t.Helper()
	if len(w.tasks) != 1 {
		t.Fatalf("%d tasks: %v", len(w.tasks), w.tasks)
	}
	task := w.tasks[0].(WriteMarkers)
	w.tasks = nil
	return task
}

// checkAnswered tells the shard that all markers of a task are written, and looks at the state after it.
func (w *world) checkAnswered(t *testing.T, task WriteMarkers, want record.State) {
	t.Helper()
	w.tell(Command{ID: task.ID, Body: Markers{Asked: task, Errs: make([]error, len(task.Partitions))}})
	if got := w.shard.ids[task.ID].State; got != want {
		t.Fatalf("%v after the answer to %+v, not %v", got, task.Ask, want)
	}
}
