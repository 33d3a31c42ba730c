package segment

import (
	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// TimestampOffset is a record found by its timestamp.
type TimestampOffset struct {
	Timestamp   kafka.Timestamp
	Offset      kafka.Offset
	LeaderEpoch kafka.LeaderEpoch // of its batch
}

// OffsetForTimestamp finds the first record at or past from whose timestamp is at least ts. It decompresses batches and
// may wait for the disk.
func (s *Segment) OffsetForTimestamp(ts kafka.Timestamp, from kafka.Offset) (
	found TimestampOffset, ok bool, err error) {
	if newest, _ := s.MaxTimestamp(); newest < ts {
		return found, false, nil
	}
	start, err := s.beforeTimestamp(ts)
	if err != nil {
		return found, false, err
	}
	err = s.Each(max(start, from), func(b record.Batch) error {
		if b.MaxTimestamp() < ts {
			return nil
		}
		found, ok, err = firstRecord(b, func(r record.Outline) bool { return r.Timestamp >= ts && r.Offset >= from })
		if ok {
			return errFound
		}
		return err
	})
	return found, ok, unlessFound(err)
}

// OffsetOfMaxTimestamp finds the first record with the largest timestamp of the segment.
func (s *Segment) OffsetOfMaxTimestamp() (found TimestampOffset, ok bool, err error) {
	newest, at := s.MaxTimestamp()
	err = s.Each(at, func(b record.Batch) error {
		found, ok, err = firstRecord(b, func(r record.Outline) bool { return r.Timestamp == newest })
		if ok {
			return errFound
		}
		return err
	})
	return found, ok, unlessFound(err)
}

// beforeTimestamp is an offset below which every record is older than ts.
func (s *Segment) beforeTimestamp(ts kafka.Timestamp) (start kafka.Offset, err error) {
	b, err := s.acquire()
	if err != nil {
		return 0, err
	}
	defer b.release()
	start = s.base
	view, err := b.times.View()
	if err == index.ErrUnusable {
		return start, nil
	}
	if err != nil {
		return 0, err
	}
	err = vfs.Guard(func() error {
		// Up to the offset of an entry no timestamp is larger than the entry's. One that equals ts was brought by the
		// batch which ends with that offset, and what came before it is older.
		times := index.Times(view)
		if i := times.Floor(ts); i >= 0 {
			start += kafka.Offset(times.At(i).Relative)
		}
		return nil
	})
	return start, err
}

// firstRecord looks for a record of the batch.
func firstRecord(b record.Batch, fits func(record.Outline) bool) (TimestampOffset, bool, error) {
	it := b.Skim()
	defer it.Close()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if fits(r) {
			return TimestampOffset{Timestamp: r.Timestamp, Offset: r.Offset, LeaderEpoch: b.LeaderEpoch()}, true, nil
		}
	}
	return TimestampOffset{}, false, it.Err()
}
