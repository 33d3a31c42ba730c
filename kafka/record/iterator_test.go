package record

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
)

// variety makes records of many shapes: nulls, empties, headers, sizes around the window of a stream, times that go
// backwards.
func variety(random *rand.Rand, n int) []plainRecord {
	field := func(largest int) []byte {
		switch random.IntN(6) {
		case 0:
			return nil
		case 1:
			return []byte{}
		case 2:
			b := make([]byte, random.IntN(largest)+1)
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			return b
		default:
			return bytes.Repeat([]byte("spate "), random.IntN(largest/6)+1)
		}
	}
	records := make([]plainRecord, n)
	for i := range records {
		r := &records[i]
		r.Offset, r.Timestamp = kafka.Offset(i), caseTime+kafka.Timestamp(random.IntN(2_000_000)-1_000_000)
		r.Key = field(50)
		largest := 300
		if random.IntN(20) == 0 {
			largest = 3 * windowBytes
		}
		r.Value = field(largest)
		for range random.IntN(4) {
			r.Headers = append(r.Headers, Header{Key: fmt.Append(nil, "header ", random.IntN(9)), Value: field(20)})
		}
	}
	return records
}

// newRandom gives the same numbers in every run.
func newRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func batchOf(t testing.TB, o BuilderOptions, records []plainRecord) Batch {
	t.Helper()
	w := NewBuilder(o)
	for _, r := range records {
		w.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
	}
	b, err := w.Build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordsComeBackInEveryCodec(t *testing.T) {
	random := newRandom()
	for c := None; c < codecCount; c++ {
		for _, n := range []int{1, 2, 100, 1000} {
			want := variety(random, n)
			b := batchOf(t, BuilderOptions{Codec: c}, want)
			sameRecords(t, want, outlineOf(t, b).Records)
			checkSkim(t, b, want)
		}
	}
}

// sameRecords compares quickly where nothing differs.
func sameRecords(t *testing.T, want, got []plainRecord) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatal(cmp.Diff(want, got))
	}
}

// checkSkim holds a Skimmer to the records.
func checkSkim(t *testing.T, b Batch, want []plainRecord) {
	t.Helper()
	length := func(p []byte) int32 {
		if p == nil {
			return -1
		}
		return int32(len(p))
	}
	it := b.Skim()
	for i := 0; ; i++ {
		o, ok := it.Next()
		if !ok {
			if i != len(want) || it.Err() != nil {
				t.Fatalf("%d of %d outlines: %v", i, len(want), it.Err())
			}
			return
		}
		expected := Outline{
			TimestampDelta: int64(want[i].Timestamp - want[0].Timestamp), OffsetDelta: int32(i),
			KeyBytes: length(want[i].Key), ValueBytes: length(want[i].Value),
			Offset: want[i].Offset, Timestamp: want[i].Timestamp,
		}
		if o != expected {
			t.Fatalf("outline %d is %+v, want %+v", i, o, expected)
		}
	}
}

// TestIteratorAndSkimmerAgreeOnBadRecords runs every hostile case through both: neither panics, both refuse the same.
func TestIteratorAndSkimmerAgreeOnBadRecords(t *testing.T) {
	for _, c := range readCases(t) {
		b, err := Single(c.Records)
		if err != nil {
			continue
		}
		whole, skim := b.Records(), b.Skim()
		for {
			r, ok := whole.Next()
			o, ok2 := skim.Next()
			if ok != ok2 || ok && (r.OffsetDelta != o.OffsetDelta || r.Timestamp != o.Timestamp) {
				t.Fatalf("%s: %+v %v, but %+v %v", c.Name, r, ok, o, ok2)
			}
			if !ok {
				break
			}
		}
		if kafka.CodeOf(whole.Err()) != kafka.CodeOf(skim.Err()) {
			t.Errorf("%s: %v, but %v", c.Name, whole.Err(), skim.Err())
		}
	}
}

func TestAnEmptyBatchHasNoRecords(t *testing.T) {
	for _, c := range []Codec{None, Zstd, 6} {
		it := withPayload(c, 0, []byte("left over")).Records()
		if _, ok := it.Next(); ok || it.Err() != nil {
			t.Error(c, ok, it.Err())
		}
	}
}

func TestCloseEndsAnIteration(t *testing.T) {
	for c := None; c < codecCount; c++ {
		it := three(BuilderOptions{Codec: c}).Records()
		if _, ok := it.Next(); !ok {
			t.Fatal(it.Err())
		}
		it.Close()
		it.Close()
		if _, ok := it.Next(); ok || it.Err() != nil {
			t.Error(c, ok, it.Err())
		}
	}
}

// TestALargeRecordIsReadPieceByPiece: a record that the window cannot hold, with headers behind the large value.
func TestALargeRecordIsReadPieceByPiece(t *testing.T) {
	want := []plainRecord{
		{Offset: 0, Timestamp: caseTime, Key: make([]byte, windowBytes), Value: make([]byte, 3*windowBytes),
			Headers: []Header{{[]byte("h"), make([]byte, 2*windowBytes)}, {[]byte{}, nil}}},
		{Offset: 1, Timestamp: caseTime, Value: []byte("small")},
	}
	for c := Gzip; c < codecCount; c++ {
		b := batchOf(t, BuilderOptions{Codec: c}, want)
		sameRecords(t, want, outlineOf(t, b).Records)
		checkSkim(t, b, want)
	}
}

// TestBadFieldsOfALargeRecord breaks the fields of a record that is read piece by piece.
func TestBadFieldsOfALargeRecord(t *testing.T) {
	value := make([]byte, 2*windowBytes)
	record := func(tail ...byte) []byte {
		b := append([]byte{0, 0, 0, 1}, appendNullable(nil, value)...)
		return body(append(b, tail...)...)
	}
	long := bytes.Repeat([]byte{0x80}, 12)
	for name, payload := range map[string][]byte{
		"no header count":              record(),
		"a negative header count":      record(1),
		"too many headers":             record(2),
		"a header without a key":       record(2, 1, 1),
		"a header key beyond the end":  record(2, 20, 'x'),
		"a header value beyond it":     record(2, 2, 'x', 20, 'x'),
		"bytes after the headers":      record(0, 0),
		"a number without an end":      record(long...),
		"a record that ends early":     record(0)[:windowBytes+100],
		"a value longer than a record": body(join([]byte{0, 0, 0, 1}, appendVarint(nil, 9<<20), value)...),
	} {
		for c := Gzip; c < codecCount; c++ {
			b := withPayload(c, 1, compressedBytes(t, c, payload))
			whole, skim := b.Records(), b.Skim()
			_, ok := whole.Next()
			_, ok2 := skim.Next()
			bad := errors.Is(whole.Err(), kafka.InvalidRecord) && errors.Is(skim.Err(), kafka.InvalidRecord)
			if ok || ok2 || !bad {
				t.Errorf("%s, %s: %v, %v", name, c, whole.Err(), skim.Err())
			}
		}
	}
}

func TestHeadersAreOptional(t *testing.T) {
	it := three(BuilderOptions{}).Records()
	r, _ := it.Next()
	headers := r.Headers()
	if h, ok := headers.Next(); ok || r.HeaderCount != 0 {
		t.Error(h, r.HeaderCount)
	}
}

func TestVarintsComeBack(t *testing.T) {
	for _, n := range []int64{0, 1, -1, 63, 64, -64, -65, 8191, 8192, 1<<31 - 1, -1 << 31, 1<<63 - 1, -1 << 63} {
		b := appendVarint(nil, n)
		if len(b) != varintBytes(n) {
			t.Errorf("%d takes %d bytes, not %d", n, len(b), varintBytes(n))
		}
		if got, at := varlong(b, 0); got != n || at != len(b) {
			t.Errorf("%d came back as %d at %d", n, got, at)
		}
		if got, at := varint(b, 0); n == int64(int32(n)) && (int64(got) != n || at != len(b)) {
			t.Errorf("%d came back as %d at %d", n, got, at)
		}
		for cut := range b {
			if _, at := varlong(b[:cut], 0); at >= 0 {
				t.Errorf("%d is read from %d bytes", n, cut)
			}
			if _, at := varint(b[:cut], 0); at >= 0 {
				t.Errorf("%d is read from %d bytes", n, cut)
			}
		}
	}
}

func TestABuilderIsReused(t *testing.T) {
	w := NewBuilder(BuilderOptions{Codec: Snappy})
	w.Append(5, []byte("a"), []byte("b"))
	w.Reset(BuilderOptions{BaseOffset: 8, LogAppendTime: true})
	w.Append(caseTime, []byte("key"), nil)
	b, err := w.Build()
	if err != nil || w.Count() != 1 || w.Bytes() != len(b) {
		t.Fatal(err, w.Count(), w.Bytes(), len(b))
	}
	want := []plainRecord{{Offset: 8, Timestamp: caseTime, Key: []byte("key")}}
	if d := cmp.Diff(want, outlineOf(t, b).Records); d != "" || b.TimestampType() != LogAppendTime {
		t.Error(d, b.TimestampType())
	}
	behind, err := w.AppendTo([]byte("before"))
	if err != nil || !bytes.Equal(behind, append([]byte("before"), b...)) {
		t.Error("AppendTo wrote something else than Build", err)
	}
	w.Reset(BuilderOptions{Codec: 6})
	w.Append(0, nil, nil)
	got, err := w.AppendTo([]byte("kept"))
	if !errors.Is(err, kafka.UnsupportedCompressionType) || string(got) != "kept" {
		t.Errorf("codec 6: %q, %v", got, err)
	}
}
