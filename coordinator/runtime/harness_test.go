package runtime_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"spate/coordinator"
	"spate/coordinator/runtime"
	"spate/coordinator/runtime/runtimetest"
	"spate/internal/clock"
	"spate/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// entry is the record of the machine under test: a key and a value, or a tombstone.
type entry struct {
	key, value string
	deleted    bool
}

func (e entry) AppendKey(dst []byte) []byte { return append(dst, e.key...) }

func (e entry) AppendValue(dst []byte) ([]byte, bool) { return append(dst, e.value...), !e.deleted }

// The commands of the machine under test.
type (
	set struct { // writes the pairs, "key=value" or "key" to delete, and answers how many there are
		pairs []string
	}
	join struct { // set, in a transaction of the producer
		producer kafka.ProducerID
		pairs    []string
	}
	get   struct{ key string }  // answers the value
	await struct{ name string } // is answered by a release of that name
	free  struct{ name string } // answers all who await the name, and itself
	timer struct {              // sets, or takes back, a timer that writes "key=fired"
		key string
		at  time.Time
	}
	echo struct{ news string } // notes it, without a record
	fill struct {
		key      string
		bytes, n int
	} // writes n records of so many bytes
	begin struct { // writes the pair, whose end may be so many bytes larger
		pair  string
		spare int
	}
)

// machine keeps the last value of each key. What is applied, and in which place, is noted.
type machine struct {
	values   map[string]string
	applied  []string
	waiting  map[string][]coordinator.Token
	notes    []string
	refusals int
	onLoad   []string // pairs that Loaded writes
}

func newMachine() *machine {
	return &machine{values: map[string]string{}, waiting: map[string][]coordinator.Token{}}
}

func pairs(list ...string) []coordinator.Record {
	var records []coordinator.Record
	for _, pair := range list {
		key, value, kept := strings.Cut(pair, "=")
		records = append(records, entry{key, value, !kept})
	}
	return records
}

func (m *machine) Decide(_ time.Time, to coordinator.Token, cmd any) (o coordinator.Outcome) {
	switch c := cmd.(type) {
	case set:
		o.Write(pairs(c.pairs...)...)
		o.Answer(to, len(c.pairs))
	case join:
		o.Write(pairs(c.pairs...)...)
		o.Transaction = &coordinator.Transaction{ProducerID: c.producer, ProducerEpoch: 3, Verification: 9}
		o.Answer(to, len(c.pairs))
	case get:
		o.Answer(to, m.values[c.key])
	case await:
		m.waiting[c.name] = append(m.waiting[c.name], to)
	case free:
		for _, waiting := range m.waiting[c.name] {
			o.Answer(waiting, "freed")
		}
		delete(m.waiting, c.name)
		o.Write(entry{key: "free", value: c.name})
		o.Answer(to, "done")
	case timer:
		o.Timers = append(o.Timers, coordinator.Timer{Key: coordinator.TimerKey{Kind: 1, Group: c.key}, At: c.at})
		o.Answer(to, "set")
	case echo:
		m.notes = append(m.notes, c.news)
		o.Note("group", c.news)
	case fill:
		for i := range c.n {
			o.Write(entry{key: fmt.Sprint(c.key, i), value: strings.Repeat("x", c.bytes)})
		}
		o.SetTimer(coordinator.TimerKey{Kind: 2, Group: c.key}, time.Unix(1001, 0))
		o.Answer(to, "filled")
	case begin:
		o.Write(pairs(c.pair)...)
		o.Spare = c.spare
		o.Answer(to, "begun")
	default:
		o.Refuse(to, kafka.InvalidRequest)
	}
	return o
}

func (m *machine) Fired(now time.Time, key coordinator.TimerKey) (o coordinator.Outcome) {
	m.notes = append(m.notes, "fired "+key.Group)
	if left, again := strings.CutPrefix(key.Group, "again "); again && left != "" {
		o.SetTimer(coordinator.TimerKey{Kind: 1, Group: "again " + left[1:]}, now)
	}
	o.Write(entry{key: key.Group, value: "fired"})
	return o
}

func (m *machine) Loaded(time.Time) (o coordinator.Outcome) {
	m.notes = append(m.notes, "loaded")
	o.Write(pairs(m.onLoad...)...)
	return o
}

var errBroken = errors.New("broken record")

func (m *machine) Decode(key, value []byte) (coordinator.Record, error) {
	switch {
	case strings.HasPrefix(string(key), "?"):
		return nil, fmt.Errorf("%w: %s", coordinator.ErrUnknownRecord, key)
	case strings.HasPrefix(string(key), "!"):
		return nil, errBroken
	}
	return entry{key: string(key), value: string(value), deleted: value == nil}, nil
}

func (m *machine) Apply(r coordinator.Record, at coordinator.Place) {
	e := r.(entry)
	note := fmt.Sprintf("%d %s=%s", at.Offset, e.key, e.value)
	if e.deleted {
		delete(m.values, e.key)
		note = fmt.Sprintf("%d %s deleted", at.Offset, e.key)
	} else {
		m.values[e.key] = e.value
	}
	if at.ProducerID != kafka.NoProducerID {
		note += fmt.Sprintf(" by %d/%d", at.ProducerID, at.ProducerEpoch)
	}
	m.applied = append(m.applied, note)
}

func (m *machine) ApplyMarker(id kafka.ProducerID, epoch kafka.ProducerEpoch, committed bool) {
	m.applied = append(m.applied, fmt.Sprintf("marker of %d/%d: %t", id, epoch, committed))
}

func (m *machine) Report() any { return len(m.values) }

// modest is a machine that is told when its records do not fit.
type modest struct{ *machine }

func (m modest) Refused(_ time.Time, records []coordinator.Record, why error) (o coordinator.Outcome) {
	m.refusals++
	m.notes = append(m.notes, fmt.Sprintf("%d refused: %v", len(records), why))
	if why == kafka.RecordListTooLarge {
		o.Write(entry{key: "refused", value: fmt.Sprint(len(records))})
	}
	return o
}

// host is a polled Host over logs in memory. made[p] is the newest machine of a partition.
type host struct {
	*runtime.Host
	t       *testing.T
	clock   *clock.Manual
	answers runtimetest.Answers
	made    map[kafka.PartitionIndex]*machine
	count   map[kafka.PartitionIndex]int
	log     strings.Builder
}

func newHost(t *testing.T, change ...func(*runtime.Options, *host)) *host {
	h := &host{
		t: t, clock: clock.NewManual(time.Unix(1000, 0)),
		made: map[kafka.PartitionIndex]*machine{}, count: map[kafka.PartitionIndex]int{},
	}
	o := runtime.Options{
		Clock: h.clock, Log: slog.New(slog.NewTextHandler(&h.log, nil)), Topic: "state", Polled: true,
		NewMachine: func(p kafka.PartitionIndex) runtime.Machine {
			h.made[p] = newMachine()
			h.count[p]++
			return h.made[p]
		},
	}
	for _, f := range change {
		f(&o, h)
	}
	h.Host = runtime.NewHost(o)
	t.Cleanup(h.Close)
	return h
}

// settle polls until there is nothing to do.
func (h *host) settle() {
	h.t.Helper()
	for range 1000 {
		if !h.Poll(h.clock.Now()) {
			return
		}
	}
	h.t.Fatal("the host does not come to rest")
}

// lead leads partition 0 on a log and loads it.
func (h *host) lead(log runtime.Log) {
	h.t.Helper()
	h.SetPartitions(1)
	h.Lead(0, 0, log)
	h.settle()
}

// do submits a command to partition 0; its name is what it is answered under.
func (h *host) do(name string, cmd any) { h.SubmitTo(0, cmd, h.answers.For(name)) }

func (h *host) expect(want ...string) {
	h.t.Helper()
	if got := h.answers.Take(); !slices.Equal(got, want) {
		h.t.Errorf("answers are\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (h *host) expectState(want runtime.State) {
	h.t.Helper()
	if got := h.Shards()[0].State; got != want {
		h.t.Errorf("the shard is %s, want %s\n%s", got, want, h.log.String())
	}
}

// quiet is a logger for what is not looked at.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// javaHash is String.hashCode over UTF-16 code units, written down a second time.
func javaHash(units []uint16) int32 {
	var h int32
	for _, u := range units {
		h = h*31 + int32(u)
	}
	return h
}
