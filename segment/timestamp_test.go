package segment

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"spate/kafka"
	"spate/kafka/record"
)

// TestOffsetForTimestampAgreesWithModel looks for timestamps in a segment in every state, and compares with a walk over
// all records.
func TestOffsetForTimestampAgreesWithModel(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			disk := memDisk(t)
			o := Options{BytesMax: 128 << 10, IndexIntervalBytes: random.IntN(900), IndexBytesMax: 1 << 20}
			s := create(t, disk, 20, o)
			m := &model{base: 20}
			for range 3 {
				m.appendAll(t, random, s, drawBatches(t, random, m.next(), 1+random.IntN(30)))
				s = nextState(t, random, disk, s, o)
				newest, _ := s.MaxTimestamp()
				for range 60 {
					ts := newest - kafka.Timestamp(random.IntN(int(newest-900)))
					from := kafka.Offset(15 + random.IntN(int(m.next())))
					got, ok, err := s.OffsetForTimestamp(ts+1, from)
					must(t, err)
					want, found := m.find(func(r record.Record) bool { return r.Timestamp > ts && r.Offset >= from })
					if ok != found || got != want {
						t.Fatalf("timestamp %d from %d: %+v %v, want %+v %v", ts+1, from, got, ok, want, found)
					}
				}
				got, ok, err := s.OffsetOfMaxTimestamp()
				must(t, err)
				want, found := m.find(func(r record.Record) bool { return r.Timestamp == newest })
				if !ok || !found || got != want {
					t.Fatalf("max timestamp: %+v %v, want %+v", got, ok, want)
				}
			}
		})
	}
}

// find is the first record that fits.
func (m *model) find(fits func(record.Record) bool) (TimestampOffset, bool) {
	for _, b := range m.batches {
		it := b.Records()
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			if fits(r) {
				it.Close()
				return TimestampOffset{Timestamp: r.Timestamp, Offset: r.Offset, LeaderEpoch: b.LeaderEpoch()}, true
			}
		}
	}
	return TimestampOffset{}, false
}

// TestTimestampsOfCompressedBatches looks into Kafka's own batches of all codecs.
func TestTimestampsOfCompressedBatches(t *testing.T) {
	disk, _ := goldenDisk(t, "plain")
	s := reopen(t, disk, 37, goldenOptions())
	m := &model{base: 37}
	must(t, s.Each(37, func(b record.Batch) error {
		m.batches = append(m.batches, b)
		return nil
	}))
	for ts := kafka.Timestamp(1700000000000); ts < 1700000001500; ts += 7 {
		got, ok, err := s.OffsetForTimestamp(ts, 37)
		must(t, err)
		want, found := m.find(func(r record.Record) bool { return r.Timestamp >= ts })
		if ok != found || got != want {
			t.Fatalf("timestamp %d: %+v %v, want %+v %v", ts, got, ok, want, found)
		}
	}
	if _, ok, err := s.OffsetForTimestamp(1<<60, 37); ok || err != nil {
		t.Errorf("a timestamp in the far future: %v %v", ok, err)
	}
	if empty := create(t, memDisk(t), 0, testOptions()); empty != nil {
		if _, ok, err := empty.OffsetOfMaxTimestamp(); ok || err != nil {
			t.Errorf("an empty segment: %v %v", ok, err)
		}
	}
}
