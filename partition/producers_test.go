package partition

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"spate/kafka"
	"spate/kafka/record"
)

// batchSpec describes a batch of a test.
type batchSpec struct {
	pid           kafka.ProducerID
	epoch         kafka.ProducerEpoch
	sequence      kafka.Sequence
	count         int
	base          kafka.Offset
	leaderEpoch   kafka.LeaderEpoch
	ts            kafka.Timestamp
	transactional bool
	marker        *marker
	value         []byte // "v" if nil
}

// build makes the batch.
func (s batchSpec) build(t testing.TB) record.Batch {
	t.Helper()
	control := s.marker != nil
	o := record.BuilderOptions{BaseOffset: s.base, LeaderEpoch: s.leaderEpoch,
		Transactional: s.transactional || control, Control: control}
	if s.pid != kafka.NoProducerID {
		o.Producer = &record.Producer{ID: s.pid, Epoch: s.epoch, Sequence: s.sequence}
	}
	w := record.NewBuilder(o)
	if s.marker != nil {
		kind := record.ControlAbort
		if s.marker.commit {
			kind = record.ControlCommit
		}
		w.AppendEndTxnMarker(s.ts, kind, s.marker.coordinatorEpoch)
	} else {
		value := s.value
		if value == nil {
			value = []byte("v")
		}
		for range max(s.count, 1) {
			w.Append(s.ts, []byte("k"), value)
		}
	}
	b, err := w.Build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestProducerStories runs the producer state machine through stories in testdata/producers: lines of commands, what
// each answers, and the state afterwards.
func TestProducerStories(t *testing.T) {
	datadriven.Walk(t, "testdata/producers", func(t *testing.T, path string) {
		s := &producerStory{p: newProducers(), claim: claim{origin: OriginClient}}
		datadriven.RunTest(t, path, s.run)
	})
}

// producerStory is one log without bytes: every batch that passes is applied at the next offset.
type producerStory struct {
	p     producers
	claim claim
	next  kafka.Offset
}

func (s *producerStory) run(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	switch d.Cmd {
	case "origin":
		s.claim.origin = map[string]Origin{
			"client": OriginClient, "coordinator": OriginCoordinator, "replication": OriginReplication,
		}[d.CmdArgs[0].Key]
	case "send":
		spec := batchSpec{base: s.next, count: 1}
		scan(t, d, "pid", &spec.pid)
		scan(t, d, "epoch", &spec.epoch)
		scan(t, d, "seq", &spec.sequence)
		scan(t, d, "n", &spec.count)
		scan(t, d, "ts", &spec.ts)
		spec.transactional = d.HasArg("txn")
		s.claim.verification = NoVerification
		scan(t, d, "verified", &s.claim.verification)
		s.append(&out, spec.build(t))
	case "enable-verification":
		s.claim.verified = true
	case "verify":
		v := Verifying{BumpsEpoch: d.HasArg("bumps")}
		var now kafka.Timestamp
		scan(t, d, "pid", &v.ProducerID)
		scan(t, d, "epoch", &v.ProducerEpoch)
		scan(t, d, "seq", &v.Sequence)
		scan(t, d, "ts", &now)
		return s.verify(v, now)
	case "no":
		var id kafka.ProducerID
		var number Verification
		scan(t, d, "pid", &id)
		scan(t, d, "question", &number)
		s.p.giveBack(id, number)
		_, kept := s.p.verifying[id]
		return fmt.Sprintf("kept: %v", kept)
	case "end":
		spec := batchSpec{base: s.next, sequence: kafka.NoSequence, marker: &marker{commit: d.HasArg("commit")}}
		scan(t, d, "pid", &spec.pid)
		scan(t, d, "epoch", &spec.epoch)
		scan(t, d, "ts", &spec.ts)
		scan(t, d, "coordinator", &spec.marker.coordinatorEpoch)
		s.claim.txnVersion = 0
		scan(t, d, "tv", &s.claim.txnVersion)
		s.append(&out, spec.build(t))
	case "high-watermark":
		var o kafka.Offset
		scan(t, d, "at", &o)
		s.p.highWatermarkAt(o)
	case "expire":
		var now kafka.Timestamp
		var age int64
		scan(t, d, "now", &now)
		scan(t, d, "age", &age)
		s.p.expire(now, age)
	case "restart":
		p, err := parseSnapshot(s.p.snapshot())
		if err != nil {
			return err.Error()
		}
		s.p = p
	case "state":
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	s.describe(&out)
	return out.String()
}

// verify is Log.BeginVerification.
func (s *producerStory) verify(v Verifying, now kafka.Timestamp) string {
	if s.p.isOpen(v.ProducerID, v.ProducerEpoch) {
		return "not needed"
	}
	if err := s.p.checkEpoch(v.ProducerID, v.ProducerEpoch); err != nil {
		return "refused: " + err.Error()
	}
	number := s.p.verify(v, now)
	return fmt.Sprintf("question %d, lowest sequence %d", number, s.p.verifying[v.ProducerID].lowest)
}

func scan[T any](t *testing.T, d *datadriven.TestData, name string, into *T) {
	if !d.HasArg(name) {
		return
	}
	var text string
	d.ScanArgs(t, name, &text)
	if _, err := fmt.Sscan(text, into); err != nil {
		t.Fatal(err)
	}
}

func (s *producerStory) append(out *strings.Builder, b record.Batch) {
	m, err := markerOf(b)
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	known, duplicate, err := s.p.check(b, m, &s.claim, s.next)
	if err != nil {
		fmt.Fprintln(out, "refused:", err)
		return
	}
	if duplicate {
		fmt.Fprintf(out, "duplicate of offsets %d to %d\n", known.firstOffset(), known.lastOffset)
		return
	}
	txn, decided := s.p.apply(b, m)
	fmt.Fprintf(out, "appended at offsets %d to %d\n", b.BaseOffset(), b.LastOffset())
	if decided {
		fmt.Fprintf(out, "transaction of producer %d from %d decided at %d, aborted %v, last stable offset %d\n",
			txn.producer, txn.firstOffset, txn.lastOffset, txn.aborted, txn.lastStable)
	}
	s.next = b.NextOffset()
}

func (s *producerStory) describe(out *strings.Builder) {
	l := &Log{producers: s.p}
	for _, e := range l.Producers() {
		fmt.Fprintf(out, "producer %d epoch %d last sequence %d at time %d",
			e.ID, e.Epoch, e.LastSequence, e.LastTimestamp)
		if n := s.p.entries[e.ID].count; n > 0 {
			fmt.Fprintf(out, ", %d batches", n)
		}
		if e.CoordinatorEpoch >= 0 {
			fmt.Fprintf(out, ", coordinator epoch %d", e.CoordinatorEpoch)
		}
		if e.TxnFirstOffset != kafka.NoOffset {
			fmt.Fprintf(out, ", in a transaction since %d", e.TxnFirstOffset)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "first unstable offset %d\n", s.p.firstUnstable())
}

// TestProducerErrors pins the protocol errors, which the stories only show as text.
func TestProducerErrors(t *testing.T) {
	p := newProducers()
	p.apply(batchSpec{pid: 1, epoch: 2, sequence: 0}.build(t), nil)
	for name, c := range map[string]struct {
		spec batchSpec
		want *kafka.Error
	}{
		"a gap":                      {batchSpec{pid: 1, epoch: 2, sequence: 2}, kafka.OutOfOrderSequenceNumber},
		"an old epoch":               {batchSpec{pid: 1, epoch: 1, sequence: 1}, kafka.InvalidProducerEpoch},
		"a new epoch beginning late": {batchSpec{pid: 1, epoch: 3, sequence: 1}, kafka.OutOfOrderSequenceNumber},
	} {
		if _, _, err := p.check(c.spec.build(t), nil, &claim{origin: OriginClient}, 0); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var cmpProducers = cmp.AllowUnexported(producers{}, producer{}, producerBatch{}, openTxn{})

// TestSnapshotGolden: the state that Kafka's log leaves behind is the state that Kafka's snapshot says.
func TestSnapshotGolden(t *testing.T) {
	log, err := os.ReadFile("testdata/kafka-4.3.1/probe-0/00000000000000000000.log")
	if err != nil {
		t.Fatal(err)
	}
	replayed := newProducers()
	for rest := log; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		replayed.apply(b, nil)
		rest = after
	}
	data, err := os.ReadFile("testdata/kafka-4.3.1/probe-0/00000000000000000022.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	kafkas, err := parseSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range replayed.entries { // Kafka keeps the last batch only
		e.batches[0] = e.batches[e.count-1]
		clear(e.batches[1:])
		e.count = 1
	}
	if diff := cmp.Diff(kafkas.entries, replayed.entries, cmpProducers); diff != "" {
		t.Errorf("Kafka's snapshot (-) and the replay of its log (+) differ:\n%s", diff)
	}
	if got := replayed.snapshot(); string(got) != string(data) {
		t.Errorf("wrote\n%x, Kafka wrote\n%x", got, data)
	}
}

// TestSnapshotGoldenTransactions reads a snapshot with a producer of which only a marker is known.
func TestSnapshotGoldenTransactions(t *testing.T) {
	data, err := os.ReadFile("testdata/kafka-4.3.1/transactions.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	p, err := parseSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	e := p.entries[1]
	if e == nil || e.epoch != 1 || e.coordinatorEpoch != 0 || e.count != 0 || e.lastTimestamp != 1795359555753 {
		t.Errorf("producer 1 is %+v", e)
	}
	if got := p.snapshot(); string(got) != string(data) {
		t.Errorf("wrote\n%x, Kafka wrote\n%x", got, data)
	}
}

func TestSnapshotRefused(t *testing.T) {
	p := newProducers()
	p.apply(batchSpec{pid: 1}.build(t), nil)
	good := p.snapshot()
	for name, change := range map[string]func([]byte) []byte{
		"nothing":         func([]byte) []byte { return nil },
		"a part":          func(b []byte) []byte { return b[:len(b)-1] },
		"another version": func(b []byte) []byte { b[1] = 2; return b },
		"a flipped bit":   func(b []byte) []byte { b[20] ^= 1; return b },
		"more":            func(b []byte) []byte { return append(b, 0) },
	} {
		if _, err := parseSnapshot(change(append([]byte(nil), good...))); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// FuzzSnapshot: any bytes behind a fitting checksum; what is accepted comes back the same.
func FuzzSnapshot(f *testing.F) {
	for _, name := range []string{"probe-0/00000000000000000022.snapshot", "transactions.snapshot"} {
		data, err := os.ReadFile("testdata/kafka-4.3.1/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[6:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parseSnapshot(sealSnapshot(body))
		if err != nil {
			return
		}
		written := p.snapshot()
		again, err := parseSnapshot(written)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.snapshot(); !bytes.Equal(got, written) {
			t.Fatalf("%x came back as\n%x", written, got)
		}
	})
}

// sealSnapshot puts version and checksum before body.
func sealSnapshot(body []byte) []byte {
	p := newProducers()
	head := p.snapshot()[:6]
	data := append(append([]byte(nil), head...), body...)
	putSnapshotCRC(data)
	return data
}
