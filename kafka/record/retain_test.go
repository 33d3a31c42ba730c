package record

import (
	"bytes"
	"fmt"
	"testing"

	"spate/kafka"
)

// TestRetain takes records out of batches in every codec and compares what is left with what was there.
func TestRetain(t *testing.T) {
	for codec := None; codec < codecCount; codec++ {
		for _, horizon := range []kafka.Timestamp{kafka.NoTimestamp, 99} {
			for mask := range 8 {
				t.Run(fmt.Sprint(codec, horizon, mask), func(t *testing.T) { retainOne(t, codec, horizon, mask) })
			}
		}
	}
}

func retainOne(t *testing.T, codec Codec, horizon kafka.Timestamp, mask int) {
	w := NewBuilder(BuilderOptions{BaseOffset: 40, LeaderEpoch: 3, Codec: codec,
		Producer: &Producer{ID: 5, Epoch: 1, Sequence: 9}})
	for i := range 3 {
		w.Append(kafka.Timestamp(1000-i), []byte{byte(i)}, bytes.Repeat([]byte{7}, 50*i),
			Header{Key: []byte("h"), Value: nil})
	}
	b, err := w.Build()
	if err != nil {
		t.Fatal(err)
	}
	keep := func(r *Record) bool { return mask>>r.OffsetDelta&1 == 1 }
	out, err := b.Retain([]byte("before"), horizon, keep)
	if err != nil || string(out[:6]) != "before" {
		t.Fatal(err)
	}
	left, rest, err := Next(out[6:])
	if err != nil || len(rest) > 0 || left.CheckCRC() != nil {
		t.Fatal(err, len(rest))
	}
	if left.BaseOffset() != 40 || left.LastOffset() != 42 || left.LastSequence() != 11 || left.Codec() != codec {
		t.Errorf("%d to %d, sequence %d, %v", left.BaseOffset(), left.LastOffset(), left.LastSequence(), left.Codec())
	}
	if at, ok := left.DeleteHorizon(); ok != (horizon == 99) || ok && at != 99 {
		t.Errorf("horizon %d, %v", at, ok)
	}
	newest := kafka.NoTimestamp
	it, n := left.Records(), int32(0)
	for i := range 3 {
		if mask>>i&1 == 0 {
			continue
		}
		r, ok := it.Next()
		ts := kafka.Timestamp(1000 - i)
		headers := r.Headers()
		h, _ := headers.Next()
		if !ok || r.Offset != kafka.Offset(40+i) || r.Timestamp != ts || !bytes.Equal(r.Key, []byte{byte(i)}) ||
			len(r.Value) != 50*i || string(h.Key) != "h" {
			t.Errorf("record %d is %+v", i, r)
		}
		newest, n = max(newest, ts), n+1
	}
	if _, ok := it.Next(); ok || it.Err() != nil || left.Count() != n || left.MaxTimestamp() != newest {
		t.Errorf("%d records, newest %d, %v", left.Count(), left.MaxTimestamp(), it.Err())
	}
	empty := Batch(b.Emptied(nil))
	if empty.CheckCRC() != nil || empty.Count() != 0 || len(empty) != HeaderBytes || empty.Codec() != None ||
		empty.LastSequence() != 11 || empty.MaxTimestamp() != b.MaxTimestamp() || empty.LastOffset() != 42 {
		t.Errorf("emptied: %v", empty)
	}
}

// TestRetainAppendTime keeps the one time of a batch with append time.
func TestRetainAppendTime(t *testing.T) {
	w := NewBuilder(BuilderOptions{LogAppendTime: true})
	w.Append(5, []byte("a"), nil)
	w.Append(8, []byte("b"), nil)
	b, err := w.Build()
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.Retain(nil, 3, func(r *Record) bool { return r.OffsetDelta == 1 })
	left := Batch(out)
	it := left.Records()
	r, ok := it.Next()
	if err != nil || !ok || r.Timestamp != 8 || left.MaxTimestamp() != 8 || left.TimestampType() != LogAppendTime {
		t.Errorf("%+v, %v", r, err)
	}
}

// FuzzRetain feeds any bytes to a compaction that keeps every other record: it ends in an error, or in a batch whose
// records are those.
func FuzzRetain(f *testing.F) {
	for codec := None; codec < codecCount; codec++ {
		w := NewBuilder(BuilderOptions{Codec: codec})
		for i := range 5 {
			w.Append(kafka.Timestamp(i), []byte{byte(i)}, []byte("value"))
		}
		b, err := w.Build()
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := Next(data)
		if err != nil || len(data) > 1<<16 {
			return
		}
		n := 0
		keep := func(*Record) bool { n++; return n%2 == 0 }
		out, err := b.Retain(nil, kafka.NoTimestamp, keep)
		if err != nil {
			return
		}
		left, rest, err := Next(out)
		if err != nil || len(rest) > 0 || left.CheckCRC() != nil || int(left.Count()) != n/2 {
			t.Fatalf("%d of %d records, %v", left.Count(), n, err)
		}
		it := left.Records()
		for _, ok := it.Next(); ok; _, ok = it.Next() {
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	})
}
