package runtime_test

import (
	"fmt"
	"testing"
	"time"

	"spate/coordinator"
	"spate/coordinator/runtime"
	"spate/coordinator/runtime/runtimetest"
	"spate/internal/clock"
	"spate/kafka"
	"spate/kafka/record"
)

// cheap is a machine that does what heartbeats and commits make a machine do at least.
type cheap struct {
	*machine
	records [1]coordinator.Record
	replies [1]coordinator.Reply
	timers  [1]coordinator.Timer
	applied int
}

type (
	beat   struct{ key coordinator.TimerKey }
	commit struct{ entry *entry }
)

func (m *cheap) Decide(now time.Time, to coordinator.Token, cmd any) coordinator.Outcome {
	m.replies[0] = coordinator.Reply{To: to, Body: m}
	o := coordinator.Outcome{Replies: m.replies[:]}
	switch c := cmd.(type) {
	case *beat:
		m.timers[0] = coordinator.Timer{Key: c.key, At: now.Add(45 * time.Second)}
		o.Timers = m.timers[:]
	case *commit:
		m.records[0] = c.entry
		o.Records = m.records[:]
	}
	return o
}

func (m *cheap) Apply(coordinator.Record, coordinator.Place) { m.applied++ }

func (m *cheap) Decode(key, _ []byte) (coordinator.Record, error) { return m.records[0], nil }

// sink is a log that forgets what it is given.
type sink struct {
	runtime.Log
	end kafka.Offset
}

func (l *sink) Append(b record.Batch, _ coordinator.Terms, _ kafka.Timestamp) (kafka.Offset, error) {
	base := l.end
	l.end += kafka.Offset(b.Count())
	return base, nil
}

func (l *sink) HighWatermark() (kafka.Offset, error) { return l.end, nil }

// count is a Done that costs nothing.
type count int

func (c *count) Done(any, error) { *c++ }

// turns gives a function that has n commands decided in one turn.
func turns(tb testing.TB, cmd any, n int) func() {
	now := clock.NewManual(time.Unix(1000, 0))
	h := runtime.NewHost(runtime.Options{
		Clock: now, Log: quiet(), Polled: true,
		NewMachine: func(kafka.PartitionIndex) runtime.Machine { return &cheap{machine: newMachine()} },
	})
	tb.Cleanup(h.Close)
	h.Lead(0, 0, &sink{Log: runtimetest.NewLog()})
	for h.Poll(now.Now()) {
	}
	done := new(count)
	return func() {
		for range n {
			h.SubmitTo(0, cmd, done)
		}
		h.Poll(now.Now())
	}
}

var (
	aBeat   = &beat{coordinator.TimerKey{Kind: 1, Group: "group", Member: "member-1"}}
	aCommit = &commit{&entry{key: "a group and a topic and a partition", value: "an offset and a time"}}
)

// Goal: what the driver adds to a heartbeat or a commit costs no memory in the steady state.
func TestATurnAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, c := range []struct {
		name string
		cmd  any
		most float64 // in a turn, however many commands it has
	}{{"heartbeat", aBeat, 0}, {"commit", aCommit, 1}} { // one is made for each batch in package record
		turn := turns(t, c.cmd, 16)
		turn()
		if n := testing.AllocsPerRun(200, turn); n > c.most {
			t.Errorf("%s: %v allocations in a turn of 16", c.name, n)
		}
	}
}

func BenchmarkTurn(b *testing.B) {
	for _, n := range []int{1, 64} {
		for _, c := range []struct {
			name string
			cmd  any
		}{{"heartbeat", aBeat}, {"commit", aCommit}} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				turn := turns(b, c.cmd, n)
				b.ReportAllocs()
				for b.Loop() {
					turn()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/command")
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	log, batch := runtimetest.NewLog(), record.NewBuilder(record.BuilderOptions{})
	const records, each = 100_000, 100
	for i := range records {
		batch.Append(1, fmt.Appendf(nil, "a group and a topic and partition %d", i), []byte("an offset and a time"))
		if batch.Count() == each {
			built, err := batch.Build()
			if err != nil {
				b.Fatal(err)
			}
			log.Put(built)
			batch.Reset(record.BuilderOptions{})
		}
	}
	now := clock.NewManual(time.Unix(1000, 0))
	b.ReportAllocs()
	for b.Loop() {
		h := runtime.NewHost(runtime.Options{
			Clock: now, Log: quiet(), Polled: true,
			NewMachine: func(kafka.PartitionIndex) runtime.Machine {
				m := &cheap{machine: newMachine()}
				m.records[0] = aCommit.entry
				return m
			},
		})
		h.Lead(0, 0, log)
		for h.Poll(now.Now()) {
		}
		if n := h.Stats().Replayed.Load(); n != records {
			b.Fatalf("%d records", n)
		}
		h.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}
