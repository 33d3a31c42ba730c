package record

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
)

const verdictsFile = "testdata/kafka_verdicts.json"

// verdict is how Apache Kafka 4.3.1 answered a case, and what a fetch then gave. tools/compat records them.
type verdict struct {
	Name         string
	Code         int16
	Message      string
	RecordErrors []struct {
		Index   int32
		Message string
	}
	AppendTime kafka.Timestamp
	Stored     []byte
}

// topicRules are the kinds of topic that the cases name.
var topicRules = map[string]func(*Rules){
	"plain":             func(*Rules) {},
	"compacted":         func(r *Rules) { r.Compacted = true },
	"appendtime":        func(r *Rules) { r.TimestampType = LogAppendTime },
	"past":              func(r *Rules) { r.BeforeMax = 1_000_000_000_000 * time.Millisecond },
	"small":             func(r *Rules) { r.BatchBytesMax = 2000 },
	"smalluncompressed": func(r *Rules) { r.BatchBytesMax, r.Compression = 2000, Compression{Fixed: true} },
	"uncompressed":      func(r *Rules) { r.Compression = Compression{Fixed: true} },
	"gzip":              func(r *Rules) { r.Compression = Compression{Fixed: true, Codec: Gzip} },
	"snappy":            func(r *Rules) { r.Compression = Compression{Fixed: true, Codec: Snappy} },
	"lz4":               func(r *Rules) { r.Compression = Compression{Fixed: true, Codec: Lz4} },
	"zstd":              func(r *Rules) { r.Compression = Compression{Fixed: true, Codec: Zstd} },
}

// deviations are where the answer differs from Kafka's on purpose. Besides them stands one rule: where an exception
// in Kafka ends in UNKNOWN_SERVER_ERROR, the answer here says what is wrong.
var deviations = map[string]struct {
	err error
	why string
}{
	"offset deltas 0, 0, 0":               {kafka.InvalidRecord, "Kafka stores three records with one offset"},
	"offset deltas 0, 2, 1":               {kafka.InvalidRecord, "Kafka stores them out of order"},
	"offset deltas 1, 2, 3":               {kafka.InvalidRecord, "Kafka stores an offset that the next batch has too"},
	"lz4, wrong content checksum":         {kafka.InvalidRecord, "Kafka does not look, but some clients do"},
	"control and transactional flag":      {kafka.InvalidRecord, "Kafka asks for a transactional id before it looks"},
	"transactional without a producer id": {nil, "Kafka asks for a transactional id before it looks"},
}

// TestVerdictsOfKafka holds Single and Validate to how Apache Kafka answered the same bytes.
func TestVerdictsOfKafka(t *testing.T) {
	cases := readCases(t)
	var verdicts []verdict
	readJSON(t, verdictsFile, &verdicts)
	if len(cases) != len(verdicts) {
		t.Fatalf("%d cases but %d verdicts", len(cases), len(verdicts))
	}
	for i := range cases {
		c, v := &cases[i], &verdicts[i]
		t.Run(c.Name, func(t *testing.T) { checkVerdict(t, c, v) })
	}
}

func checkVerdict(t *testing.T, c *produceCase, v *verdict) {
	if c.Name != v.Name {
		t.Fatalf("the verdict beside it is of %q", v.Name)
	}
	rules := Rules{
		BatchBytesMax: 1048588, BeforeMax: NoBound, AfterMax: time.Hour, Now: v.AppendTime,
		FromClient: true, Version: c.Version, WalkCompressed: true,
	}
	topicRules[c.Topic](&rules)
	defer checkQuickly(t, c, rules)
	if rules.Now < 0 {
		rules.Now = caseTime + 1000
	}
	facts, err := validated(c, &rules)
	wantCode := v.Code
	if d, ok := deviations[c.Name]; ok {
		wantCode = kafka.CodeOf(d.err)
	} else if wantCode == kafka.UnknownServerError.Code {
		if err == nil || kafka.CodeOf(err) == wantCode {
			t.Fatalf("Kafka failed; got %v", err)
		}
		return
	}
	if kafka.CodeOf(err) != wantCode {
		t.Fatalf("code %d (%v), want %d %s", kafka.CodeOf(err), err, wantCode, v.Message)
	}
	checkRecordErrors(t, err, v)
	if err == nil && v.Code == 0 {
		checkStored(t, c, facts.Batch, Batch(v.Stored))
	}
}

func validated(c *produceCase, r *Rules) (Facts, error) {
	b, err := Single(bytes.Clone(c.Records))
	if err != nil {
		return Facts{}, err
	}
	return Validate(b, r)
}

func checkRecordErrors(t *testing.T, err error, v *verdict) {
	t.Helper()
	var got, want []int32
	var list *RecordErrors
	if errors.As(err, &list) && v.Code == kafka.CodeOf(err) {
		for _, e := range list.List {
			got = append(got, e.Index)
		}
		if list.Err == kafka.InvalidTimestamp && list.Error() != v.Message {
			t.Errorf("message %q, want %q", list.Error(), v.Message)
		}
	}
	for _, e := range v.RecordErrors {
		want = append(want, e.Index)
	}
	if !slices.Equal(got, want) {
		t.Errorf("record errors at %v, want %v", got, want)
	}
}

// checkStored compares with what Kafka appended: bytes where the codec stays, records where it changes.
func checkStored(t *testing.T, c *produceCase, got, want Batch) {
	t.Helper()
	got.SetBaseOffset(want.BaseOffset())
	got.SetLeaderEpoch(want.LeaderEpoch())
	if err := got.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	if source, _ := Single(c.Records); source.Codec() == want.Codec() {
		if !bytes.Equal(got, want) {
			t.Errorf("the batch became\n%x, Kafka's\n%x", []byte(got), []byte(want))
		}
		return
	}
	if d := cmp.Diff(outlineOf(t, want), outlineOf(t, got)); d != "" {
		t.Errorf("Kafka's batch (-) and ours (+) differ:\n%s", d)
	}
}

// content is a batch in a form that does not depend on how it was compressed.
type content struct {
	Attributes    Attributes
	First, Last   kafka.Offset
	Max           kafka.Timestamp
	ProducerID    kafka.ProducerID
	ProducerEpoch kafka.ProducerEpoch
	Sequence      kafka.Sequence
	Records       []plainRecord
}

type plainRecord struct {
	Offset     kafka.Offset
	Timestamp  kafka.Timestamp
	Key, Value []byte
	Headers    []Header
}

func outlineOf(t testing.TB, b Batch) content {
	t.Helper()
	c := content{
		Attributes: b.Attributes(), First: b.BaseOffset(), Last: b.LastOffset(), Max: b.MaxTimestamp(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), Sequence: b.BaseSequence(),
	}
	it := b.Records()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		c.Records = append(c.Records, clone(&r))
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return c
}

// clone copies the views of a record; null stays null and empty stays empty.
func clone(r *Record) plainRecord {
	p := plainRecord{Offset: r.Offset, Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
	headers := r.Headers()
	for h, ok := headers.Next(); ok; h, ok = headers.Next() {
		p.Headers = append(p.Headers, Header{bytes.Clone(h.Key), bytes.Clone(h.Value)})
	}
	return p
}

// checkQuickly holds Validate without WalkCompressed to the same answers, but that it may let bad records of a
// compressed batch pass.
func checkQuickly(t *testing.T, c *produceCase, rules Rules) {
	rules.Now = max(rules.Now, caseTime+1000)
	slow, slowErr := validated(c, &rules)
	rules.WalkCompressed = false
	quick, quickErr := validated(c, &rules)
	if kafka.CodeOf(quickErr) == kafka.CodeOf(slowErr) {
		if quickErr == nil && !bytes.Equal(quick.Batch, slow.Batch) && quick.Batch.Codec() == None {
			t.Error("the batches differ without the walk")
		}
		return
	}
	if b, err := Single(c.Records); quickErr != nil || err != nil || b.Codec() == None {
		t.Errorf("without the walk: %v, with it: %v", quickErr, slowErr)
	}
}
