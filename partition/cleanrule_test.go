package partition

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"spate/index"
	"spate/kafka"
	"spate/kafka/record"
)

// views makes segments of 100 bytes that begin at these offsets; the last is the active one.
func views(bases ...kafka.Offset) []cleanView {
	list := make([]cleanView, len(bases))
	for i, base := range bases {
		list[i] = cleanView{segmentView{base: base, bytes: 100, maxTimestamp: kafka.Timestamp(base + 9)},
			kafka.Timestamp(base + 1), 10}
		if i+1 < len(bases) {
			list[i].end = bases[i+1]
		}
	}
	return list
}

// TestCleanRule checks what of a log of four segments and an active one is to be cleaned.
func TestCleanRule(t *testing.T) {
	const none = kafka.NoOffset
	for _, k := range []struct {
		name string
		rule cleanRule
		want cleanable
	}{
		{"a log that was never cleaned is all dirty", cleanRule{checkpoint: none, limit: 40, ratioMin: 0.5},
			cleanable{from: 0, to: 40, ratio: 1, wanted: true}},
		{"three parts of four are clean", cleanRule{checkpoint: 30, limit: 40, ratioMin: 0.5},
			cleanable{from: 30, to: 40, ratio: 0.25}},
		{"a ratio that is just reached is not enough", cleanRule{checkpoint: 20, limit: 40, ratioMin: 0.5},
			cleanable{from: 20, to: 40, ratio: 0.5}},
		{"all is clean", cleanRule{checkpoint: 40, limit: 40}, cleanable{from: 40, to: 40}},
		{"a segment with an open transaction is not touched", cleanRule{checkpoint: none, limit: 39},
			cleanable{from: 0, to: 30, ratio: 1, wanted: true}},
		{"records are too new", cleanRule{checkpoint: none, limit: 40, now: 30, lagMin: 5 * time.Millisecond},
			cleanable{from: 0, to: 20, ratio: 1, wanted: true}},
		{"records for which compaction must wait for ever",
			cleanRule{checkpoint: none, limit: 40, now: 30, lagMin: Forever}, cleanable{from: 0, to: 0}},
		{"records have waited too long", cleanRule{checkpoint: 30, limit: 40, ratioMin: 0.5, now: 50,
			lagMax: 18 * time.Millisecond}, cleanable{from: 30, to: 40, ratio: 0.25, overdue: true, wanted: true}},
		{"they have not", cleanRule{checkpoint: 30, limit: 40, ratioMin: 0.5, now: 49, lagMax: 18 * time.Millisecond},
			cleanable{from: 30, to: 40, ratio: 0.25}},
		{"the log was truncated below the checkpoint", cleanRule{checkpoint: 50, limit: 40},
			cleanable{from: 0, to: 40, ratio: 1, wanted: true, reset: true}},
		{"records were deleted past the checkpoint", cleanRule{checkpoint: 3, logStart: 10, limit: 40},
			cleanable{from: 10, to: 40, ratio: 0.75, wanted: true, reset: true}},
		{"the map was full in the middle of a segment", cleanRule{checkpoint: 35, limit: 40},
			cleanable{from: 35, to: 40, ratio: 0.2, wanted: true}},
	} {
		if k.rule.lagMax == 0 {
			k.rule.lagMax = Forever
		}
		k.rule.logEnd = 45
		if got := k.rule.judge(views(0, 10, 20, 30, 40)); got != k.want {
			t.Errorf("%s: got %+v, want %+v", k.name, got, k.want)
		}
	}
	if got := (&cleanRule{checkpoint: none, lagMax: Forever}).judge(views(0)); got != (cleanable{}) {
		t.Errorf("an active segment alone: %+v", got)
	}
}

// TestGroupSegments checks how many neighbours become one.
func TestGroupSegments(t *testing.T) {
	large := views(0, 10, 20, math.MaxInt32+5, math.MaxInt32+20, math.MaxInt32+40)
	for _, k := range []struct {
		bytes, index int64
		want         []int
	}{{1000, 1000, []int{2, 2, 1}}, {200, 20, []int{2, 2, 1}}, {199, 1000, []int{1, 1, 1, 1, 1}},
		{1000, 19, []int{1, 1, 1, 1, 1}}} {
		if got := groupSegments(large[:5], k.bytes, k.index); !slices.Equal(got, k.want) {
			t.Errorf("%+v: got %v", k, got)
		}
	}
	if got := groupSegments(nil, 1, 1); got != nil {
		t.Errorf("nothing: %v", got)
	}
}

// TestOffsetMap fills a map to its limit and compares it with a Go map.
func TestOffsetMap(t *testing.T) {
	m := testOffsetMap(t, 100*offsetSlotBytes, 0.9, math.MaxInt64/2)
	if m.count != 100 || m.limit != 90 {
		t.Fatalf("%d slots, limit %d", m.count, m.limit)
	}
	want := map[string]kafka.Offset{}
	for i := range kafka.Offset(300) {
		key := fmt.Appendf(nil, "key %d", i*i%101)
		_, known := want[string(key)]
		if ok := m.put(key, i); ok != (known || len(want) < 90) {
			t.Fatalf("put %d: %v with %d keys", i, ok, len(want))
		} else if ok {
			want[string(key)] = i
		}
	}
	for key, offset := range want {
		if got := m.last([]byte(key)); got != offset {
			t.Errorf("%s is at %d, not %d", key, got, offset)
		}
	}
	if got := m.last([]byte("no such")); got != kafka.NoOffset {
		t.Errorf("an unknown key is at %d", got)
	}
	if small := testOffsetMap(t, 1<<30, 0.5, 10); small.count != 22 {
		t.Errorf("%d slots for 10 keys", small.count)
	}
}

func testOffsetMap(t *testing.T, bytesMax int64, load float64, keysMax int64) *offsetMap {
	t.Helper()
	m, err := newOffsetMap(bytesMax, load, keysMax)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.free)
	return m
}

// filterCase is a batch, and what is left of it.
type filterCase struct {
	name    string
	spec    batchSpec
	horizon kafka.Timestamp // of the batch before, 0 for none
	end     bool            // it is the last of its segment
	want    string
}

// TestBatchFilter walks one cleaning over batches at offsets 0, 10, 20 …; the keys' last offset is 105.
func TestBatchFilter(t *testing.T) {
	const now = 1000
	m := testOffsetMap(t, 1000, 0.9, 10)
	m.put([]byte("k"), 105)
	m.seen(200)
	f := batchFilter{offsets: m, now: now, tombstones: 50, producers: map[kafka.ProducerID]lastBatch{
		1: {offset: 20, epoch: 0}, 2: {offset: kafka.NoOffset, epoch: 3},
	}, transactions: newTransactionFilter([]index.Transaction{
		{ProducerID: 7, FirstOffset: 130, LastOffset: 140}, {ProducerID: 8, FirstOffset: 150, LastOffset: 180},
	})}
	for i, k := range []filterCase{
		{"overruled", batchSpec{pid: kafka.NoProducerID}, 0, false, "gone"},
		{"overruled, but the segment ends here", batchSpec{pid: kafka.NoProducerID}, 0, true, "empty"},
		{"overruled, the last of its producer", batchSpec{pid: 1}, 0, false, "empty"},
		{"of the producer's earlier batches", batchSpec{pid: 1}, 0, false, "gone"},
		{"a marker that ends nothing", batchSpec{pid: 3, marker: &marker{commit: true}}, 0, false, "1 until 1050"},
		{"whose horizon is not past", batchSpec{pid: 3, marker: &marker{commit: true}}, now + 1, false, "as it was"},
		{"whose horizon is past", batchSpec{pid: 3, marker: &marker{commit: true}}, now, false, "gone"},
		{"which is all that is known of its producer",
			batchSpec{pid: 2, epoch: 3, marker: &marker{}}, now, false, "empty"},
		{"of an older epoch of that producer", batchSpec{pid: 2, epoch: 2, marker: &marker{}}, now, false, "gone"},
		{"in a transaction", batchSpec{pid: 6, transactional: true}, 0, false, "gone"},
		{"the last of its key", batchSpec{pid: kafka.NoProducerID, count: 8}, 0, false, "3"},
		{"its marker, past a horizon", batchSpec{pid: 6, marker: &marker{commit: true}}, now, false, "as it was"},
		{"after the last of the key", batchSpec{pid: kafka.NoProducerID}, 0, false, "as it was"},
		{"aborted", batchSpec{pid: 7, transactional: true}, 0, false, "gone"},
		{"its marker", batchSpec{pid: 7, marker: &marker{}}, now, false, "as it was, aborted 130 to 140"},
		{"a second marker", batchSpec{pid: 7, marker: &marker{}}, 0, false, "1 until 1050"},
	} {
		k.spec.base = kafka.Offset(10 * i)
		k.spec.ts = 500
		if got := k.run(t, &f); got != k.want {
			t.Errorf("%s, at %d: %s, want %s", k.name, k.spec.base, got, k.want)
		}
	}
}

// run says what the filter leaves of the batch.
func (k *filterCase) run(t *testing.T, f *batchFilter) string {
	b := k.spec.build(t)
	if k.horizon != 0 {
		with, err := b.Retain(nil, k.horizon, func(*record.Record) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		b = with
	}
	got, err := f.apply(nil, b, k.end)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	left := record.Batch(got.bytes)
	switch {
	case got.copied:
		text = "as it was"
	case got.bytes == nil:
		text = "gone"
	case left.Count() == 0:
		text = "empty"
	default:
		text = fmt.Sprint(left.Count())
		if at, ok := left.DeleteHorizon(); ok {
			text += fmt.Sprintf(" until %d", at)
		}
	}
	if got.bytes != nil && !got.copied {
		if left.CheckCRC() != nil || left.BaseOffset() != b.BaseOffset() || left.LastOffset() != b.LastOffset() ||
			left.ProducerID() != b.ProducerID() || left.LastSequence() != b.LastSequence() {
			t.Errorf("%s: the header is not what it was", k.name)
		}
	}
	if got.aborted != nil {
		text += fmt.Sprintf(", aborted %d to %d", got.aborted.FirstOffset, got.aborted.LastOffset)
	}
	return text
}
