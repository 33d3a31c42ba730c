package broker

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"spate/broker/api"
	"spate/coordinator"
	"spate/coordinator/runtime"
	"spate/coordinator/runtime/runtimetest"
	"spate/coordinator/txn"
	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
)

// listener is a machine that notes what it is told.
type listener struct {
	*txn.Shard
	heard []any
}

// Decide notes a command.
func (l *listener) Decide(_ time.Time, to coordinator.Token, cmd any) (out coordinator.Outcome) {
	l.heard = append(l.heard, cmd)
	out.Answer(to, nil)
	return out
}

// Goal: what came of a task reaches its shard however long the queue is full, once, and soon after there is room: the
// id waits for it. One that leads no more is left alone: the next shard asks anew. Method: time passes by a clock of
// the test's, beside a queue that has room for one.
func TestAShardWithAFullQueueIsToldAgain(t *testing.T) {
	c := clock.NewManual(time.Unix(1_000_000, 0))
	machine := &listener{Shard: txn.NewShard(txn.Options{ExpiryInterval: time.Hour})}
	host := runtime.NewHost(runtime.Options{
		Clock: c, Log: slog.New(slog.DiscardHandler), Topic: kafka.TransactionStateTopic, QueueMax: 1, Polled: true,
		NewMachine: func(kafka.PartitionIndex) runtime.Machine { return machine },
	})
	host.Lead(0, 1, runtimetest.NewLog())
	for host.Poll(c.Now()) {
	}
	told := &transactions{leading: leading{broker: &Broker{env: Env{Clock: c}}, host: host}}
	host.SubmitTo(0, "in the way", &telling{})
	told.tell(0, txn.Command{ID: "t"})

	var tries []time.Duration
	for tried, waited := host.Stats().Overflows.Load(), time.Duration(0); waited < 10*time.Second; {
		c.Advance(100 * time.Millisecond)
		waited += 100 * time.Millisecond
		if n := host.Stats().Overflows.Load(); n > tried {
			tries, tried = append(tries, waited), n
		}
	}
	want := []time.Duration{100, 300, 700, 1500, 3100, 5100, 7100, 9100}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if !slices.Equal(tries, want) {
		t.Errorf("tried again after %v, not %v", tries, want)
	}

	host.Poll(c.Now())
	c.Advance(tellAgainMax)
	host.Poll(c.Now())
	c.Advance(time.Minute)
	host.Poll(c.Now())
	if want := []any{"in the way", txn.Command{ID: "t"}}; !slices.Equal(machine.heard, want) {
		t.Errorf("told %v, not %v", machine.heard, want)
	}

	host.Resign(0)
	host.Poll(c.Now())
	told.tell(0, txn.Command{ID: "t"})
	if c.Pending() > 0 {
		t.Error("who leads no more is told again")
	}
}

// A marker that is written as the broker shuts down, when the time of all that waits has run out already, is answered
// although its flush does not end.
func TestMarkerOfAShutdownIsAnswered(t *testing.T) {
	disk := newSickDisk(vfs.NewMem(), vfs.OpDatasync)
	n := startNode(t, on(disk, "/a"))
	n.createTopic("orders", 1)
	disk.shut(t, "/orders-0/")
	n.node.Produces.Close()
	answer := make(chan []error, 1)
	n.node.WriteMarker(api.Marker{ProducerID: 1}, []kafka.TopicPartition{{Topic: "orders"}},
		func(errs []error) { answer <- errs })
	select {
	case errs := <-answer:
		if len(errs) != 1 || kafka.CodeOf(errs[0]) != kafka.RequestTimedOut.Code {
			t.Errorf("%v", errs)
		}
	case <-time.After(patience):
		t.Error("it is not answered")
	}
}
