package segment

import (
	"errors"
	"fmt"
	"math"
	"os"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// Open opens a segment that was sealed or closed. It trusts the log but for its structure from the last index entry on,
// and rebuilds indexes that are missing or do not fit it. The segment may be appended to.
func Open(disk vfs.FS, dir string, base kafka.Offset, o Options) (*Segment, error) {
	s := newSegment(disk, dir, base, o)
	s.named = true
	file, size, err := s.openLog()
	if err != nil {
		return nil, err
	}
	b := &body{
		file:    file,
		offsets: index.OpenFile(disk, s.path(index.OffsetKind.Suffix), index.OffsetKind),
		times:   index.OpenFile(disk, s.path(index.TimeKind.Suffix), index.TimeKind),
		aborted: index.OpenFile(disk, s.path(index.TransactionKind.Suffix), index.TransactionKind),
		warm:    warm{clock: o.Clock},
		reclaim: o.Reclaim,
		tally:   newTally(base, o.IndexIntervalBytes),
	}
	b.refs.Store(1)
	next, err := s.inspect(b, size)
	if err != nil {
		s.body.Store(b)
		s.drop()
		return nil, err
	}
	b.end.Store(pack(size, int64(next-base)))
	b.flushed.Store(b.end.Load())
	b.showNewest()
	s.body.Store(b)
	return s, nil
}

// openFlags open a log file that is there.
const openFlags = os.O_RDWR

// openLog opens the log file and gives its size.
func (s *Segment) openLog() (vfs.File, int64, error) {
	file, err := s.openFile(openFlags, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open segment: %w", err)
	}
	size, err := file.Size()
	if err == nil && size > positionMax {
		err = &CorruptError{
			File: file.Name(), BaseOffset: s.base, Position: positionMax,
			Reason: "the file is larger than its index can address",
		}
	}
	if err != nil {
		s.closeFile(file)
		return nil, 0, err
	}
	return file, size, nil
}

// inspect finds the next offset and the largest timestamp of a log of so many bytes by way of the indexes, or by
// rebuilding them.
func (s *Segment) inspect(b *body, size int64) (next kafka.Offset, err error) {
	var data []byte
	if size > 0 {
		m, err := b.file.Map(size)
		if err != nil {
			return 0, err
		}
		defer m.Unmap() // a segment that nobody reads keeps no mapping
		data = m.Bytes()[:size:size]
	}
	err = vfs.Guard(func() (err error) {
		next, err = s.follow(b, data)
		if errors.Is(err, index.ErrUnusable) {
			next, err = s.rebuildFrom(b, data)
		}
		return err
	})
	return next, err
}

// follow walks from the last offset entry to the end of the log. The indexes are unusable unless they are just what
// sealing this log left: no entry is missing, and the last time entry is the largest timestamp.
func (s *Segment) follow(b *body, data []byte) (kafka.Offset, error) {
	lastOffset, err := b.offsets.Tail()
	if err != nil {
		return 0, err
	}
	lastTime, err := b.times.Tail()
	if err != nil {
		return 0, err
	}
	t := newTally(s.base, s.options.IndexIntervalBytes)
	t.resume(lastOffset, lastTime)
	t.offsets = &index.Buffer{}
	if len(lastOffset) > 0 && !s.pointsTo(data, index.Offsets(lastOffset).At(0)) || t.at < s.base {
		return 0, index.ErrUnusable
	}
	if first, _, err := record.Next(data); err == nil {
		t.first = first.MaxTimestamp()
	}
	next, err := s.walk(&t, data, t.indexed)
	if err != nil || t.offsets.Bytes() > 0 || t.newest > t.entered {
		return 0, index.ErrUnusable
	}
	if len(data) > 0 && (len(lastTime) == 0 || t.at >= next) || len(data) == 0 && len(lastOffset)+len(lastTime) > 0 {
		return 0, index.ErrUnusable
	}
	b.tally.first, b.tally.newest, b.tally.at = t.first, t.newest, t.at
	return next, nil
}

// pointsTo says whether the batch at the entry's position ends with the entry's offset.
func (s *Segment) pointsTo(data []byte, e index.OffsetEntry) bool {
	if e.Position <= 0 || int(e.Position) >= len(data) {
		return false
	}
	b, _, err := record.Next(data[e.Position:])
	return err == nil && b.LastOffset() == s.base+kafka.Offset(e.Relative)
}

// rebuild makes the indexes anew from the log. The caller holds mu.
func (s *Segment) rebuild(b *body) error {
	data, err := s.published(b)
	if err != nil {
		return err
	}
	return vfs.Guard(func() error {
		_, err := s.rebuildFrom(b, data)
		return err
	})
}

// published is what the log holds now.
func (s *Segment) published(b *body) ([]byte, error) {
	end, _ := unpack(b.end.Load())
	return b.mapped(end, s.limit.Load())
}

func (s *Segment) rebuildFrom(b *body, data []byte) (kafka.Offset, error) {
	t := newTally(s.base, s.options.IndexIntervalBytes)
	next, err := s.walk(&t, data, 0)
	if err != nil {
		return 0, err
	}
	t.enterTime()
	b.tally = t
	b.allocated = int64(len(data))
	b.writtenBack.Store(b.allocated)
	b.times.Replace(t.times)
	b.offsets.Replace(t.offsets) // the last: an appender that sees it live sees all of the above
	return next, nil
}

// walk adds the batches from a position to the end of data to the tally and gives the offset that follows them. It
// looks at the structure only.
func (s *Segment) walk(t *tally, data []byte, from int64) (kafka.Offset, error) {
	next := s.base
	for rest := data[from:]; len(rest) > 0; {
		position := int64(len(data) - len(rest))
		b, after, err := record.Next(rest)
		if err != nil {
			return 0, s.corrupt(position, err.Error())
		}
		if reason := misplaced(b, s.base, next); reason != "" {
			return 0, s.corrupt(position, reason)
		}
		t.add(b, position)
		next, rest = b.NextOffset(), after
	}
	return next, nil
}

// misplaced says why a batch cannot stand where next is the lowest offset that may come, or "".
func misplaced(b record.Batch, base, next kafka.Offset) string {
	first, last := b.BaseOffset(), b.LastOffset()
	switch {
	case last < first:
		return fmt.Sprintf("the last offset delta is %d", b.LastOffsetDelta())
	case first < next:
		return fmt.Sprintf("base offset %d where %d is the lowest that may follow", first, next)
	case last-base > math.MaxInt32:
		return fmt.Sprintf("offset %d is too far from the segment's base offset %d", last, base)
	}
	return ""
}

func (s *Segment) corrupt(position int64, reason string) error {
	return &CorruptError{
		File: s.name(), BaseOffset: s.base, Position: kafka.Position(position), Reason: reason,
	}
}
