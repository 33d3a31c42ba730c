package metadata

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// segmentLog is the Log in segment files. All but the last are sealed.
type segmentLog struct {
	fs       vfs.FS
	dir      string
	options  segment.Options
	rollAt   int64              // bytes after which a segment is full
	segments []*segment.Segment // by base offset, at least one
}

// A segment can grow to a gigabyte even when it is meant to be smaller, because a batch is never split. The indexes
// serve Kafka's tools; the offset index of a gigabyte with an entry every 4 KiB, Kafka's interval, takes 2 MiB.
const (
	logSegmentBytesMax    = 1 << 30
	logIndexIntervalBytes = 4096
	logIndexBytesMax      = 10 << 20
)

// openSegmentLog opens the log in dir, or creates it to begin at from, the end of the snapshot. It visits every batch
// that is there, whole segments before from left out and dropped. Bytes below durableTo are known to have been flushed:
// damage there is an error; damage after is a torn tail, which is cut off.
func openSegmentLog(fs vfs.FS, dir string, segmentBytes int64, from, durableTo kafka.Offset,
	visit func(record.Batch) error) (*segmentLog, error) {
	l := &segmentLog{fs: fs, dir: dir, rollAt: segmentBytes, options: segment.Options{
		BytesMax: max(
			segmentBytes,
			logSegmentBytesMax,
		), IndexIntervalBytes: logIndexIntervalBytes, IndexBytesMax: logIndexBytesMax}}
	bases, err := l.list(from)
	if err == nil {
		err = l.open(bases, durableTo, visit)
	}
	if err == nil && len(l.segments) == 0 {
		err = l.begin(from, durableTo)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// list gives the base offsets of the segments that hold something from offset from on, and removes the files of the
// others: what a snapshot made superfluous, and what an interrupted removal left behind.
func (l *segmentLog) list(from kafka.Offset) ([]kafka.Offset, error) {
	entries, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var bases []kafka.Offset
	for _, entry := range entries {
		if base, suffix, ok := segment.ParseFileName(entry.Name()); ok && suffix == segment.LogSuffix {
			bases = append(bases, base) // in order: the names have a fixed width
		}
	}
	for len(bases) > 1 && bases[1] <= from {
		bases = bases[1:]
	}
	if len(bases) > 0 && bases[0] > from {
		return nil, fmt.Errorf(
			"the log begins at offset %d, but the snapshot ends at %d: a segment or a snapshot is missing",
			bases[0],
			from,
		)
	}
	for _, entry := range entries {
		base, suffix, ok := segment.ParseFileName(entry.Name())
		if !ok || !strings.HasPrefix(suffix, ".") {
			continue // a snapshot's name has the epoch after the offset
		}
		if strings.HasSuffix(suffix, segment.DeletedSuffix) || len(bases) == 0 || base < bases[0] {
			if err := l.fs.Remove(path.Join(l.dir, entry.Name())); err != nil {
				return nil, err
			}
		}
	}
	return bases, nil
}

// open opens the segments and checks that each goes on where the one before ends. A segment is flushed whole before the
// next one is made, so only the last can have a torn tail.
func (l *segmentLog) open(bases []kafka.Offset, durableTo kafka.Offset, visit func(record.Batch) error) error {
	for i, base := range bases {
		if i > 0 && l.EndOffset() != base {
			return fmt.Errorf("a segment ends at offset %d, but the next begins at %d", l.EndOffset(), base)
		}
		must := max(durableTo, base)
		if i+1 < len(bases) {
			must = bases[i+1]
		}
		s, _, err := segment.Recover(l.fs, l.dir, base, l.options, must, visit)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, s)
	}
	return nil
}

// begin makes the first segment of a log that has none.
func (l *segmentLog) begin(from, durableTo kafka.Offset) error {
	if durableTo > from {
		return fmt.Errorf("there is no segment, but the log was durable from offset %d up to %d", from, durableTo)
	}
	return l.create(from)
}

// create adds an empty segment to append to. Its name becomes durable with the first flush; until then the log is as
// complete without it.
func (l *segmentLog) create(base kafka.Offset) error {
	s, err := segment.Create(l.fs, l.dir, base, l.options)
	if err != nil {
		return err
	}
	l.segments = append(l.segments, s)
	return nil
}

func (l *segmentLog) active() *segment.Segment { return l.segments[len(l.segments)-1] }

// EndOffset is the offset after the last record.
func (l *segmentLog) EndOffset() kafka.Offset { return l.active().NextOffset() }

// Append writes whole batches, to a new segment if the last is full.
func (l *segmentLog) Append(batches []byte) error {
	last, err := lastOffset(batches)
	if err != nil {
		return err
	}
	s := l.active()
	grown := int64(s.Bytes()) + int64(len(batches))
	if s.Bytes() > 0 && (grown > l.rollAt || s.Full(len(batches), last)) {
		if err := l.roll(); err != nil {
			return err
		}
	}
	return l.active().Append(batches)
}

func lastOffset(batches []byte) (last kafka.Offset, err error) {
	for rest := batches; len(rest) > 0; {
		var b record.Batch
		if b, rest, err = record.Next(rest); err != nil {
			return 0, err
		}
		last = b.LastOffset()
	}
	return last, nil
}

// roll begins a new segment and seals the last one, which has been flushed. In this order, because a full disk shows
// when the new segment is made, and the old one can go on then.
func (l *segmentLog) roll() error {
	full := l.active()
	if err := l.create(full.NextOffset()); err != nil {
		return err
	}
	return full.Seal()
}

// Flush makes what was appended durable. Only the last segment can have anything that is not: the one before was sealed
// before it was written to.
func (l *segmentLog) Flush() error { return l.active().Flush() }

// StartFrom begins a new segment if offset is the end of the log, and removes the segments that end before offset.
func (l *segmentLog) StartFrom(offset kafka.Offset) error {
	if offset == l.EndOffset() && l.active().BaseOffset() < offset {
		if err := l.roll(); err != nil {
			return err
		}
	}
	for len(l.segments) > 1 && l.segments[0].NextOffset() <= offset {
		s := l.segments[0]
		l.segments = l.segments[1:]
		if err := s.Remove(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the segments.
func (l *segmentLog) Close() error {
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.Close())
	}
	l.segments = nil
	return errors.Join(errs...)
}
