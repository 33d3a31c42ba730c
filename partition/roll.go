package partition

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"spate/internal/invariant"
	"spate/kafka"
	"spate/segment"
)

// pendingSnapshotsMax bounds the producer states that wait for the disk while it is full. Where one is lost, recovery
// begins at an earlier one.
const pendingSnapshotsMax = 2

// mustRollLocked says whether so many bytes, up to the offset last, go to a new segment: the active one is full (bytes,
// index entries, relative offsets), or the time from its first record to the newest that comes is more than segment.ms.
// An empty one stays: it takes whatever segment.bytes allows now, and a flush may be at it.
func (l *Log) mustRollLocked(active *segment.Segment, bytes int, last kafka.Offset, newest, now kafka.Timestamp) bool {
	c := l.config.Load()
	active.SetBytesMax(c.SegmentBytes)
	if active.Full(bytes, last) {
		return true
	}
	age := c.SegmentAge
	if c.Compact && c.CompactionLagMax > 0 { // the active segment is never compacted
		age = min(age, c.CompactionLagMax)
	}
	if active.Bytes() == 0 || age == Forever {
		return false
	}
	waited := now - l.rolled
	if first := active.FirstTimestamp(); first >= 0 {
		waited = newest - first
	}
	return int64(waited) > max(age-l.jitter, 0).Milliseconds()
}

// rollOffset is where the segment begins that p goes to: where the log ends, so that segments join without gaps. Only a
// leader's batch far ahead, after a hole that compaction made, has to begin one of its own.
func (l *Log) rollOffset(p *prepared) (kafka.Offset, error) {
	end := l.logEnd.load()
	if p.end-1-end <= math.MaxInt32 {
		return end, nil
	}
	if p.end-1-p.base <= math.MaxInt32 {
		return p.base, nil
	}
	return 0, fmt.Errorf("%w: offsets %d to %d do not fit one segment", ErrUnexpectedOffset, p.base, p.end-1)
}

// rollLocked begins a new active segment at base. The old one is sealed by the next flush, and the producer state as of
// base is written by the background worker: neither belongs on an event loop.
func (l *Log) rollLocked(base kafka.Offset, now kafka.Timestamp) error {
	list := *l.segments.Load()
	invariant.Check(list[len(list)-1].BaseOffset() != base, "%s is rolled at %d, where a segment begins", l.tp, base)
	next, err := segment.Create(l.dir.env.FS, l.path(), base, l.segmentOptions())
	if err != nil {
		return l.storageError(err)
	}
	l.publish(append(slices.Clone(list), next))
	l.beginSegmentLocked(now)
	l.snapshots = append(l.snapshots, pendingSnapshot{base, l.producers.snapshot()})
	if extra := len(l.snapshots) - pendingSnapshotsMax; extra > 0 {
		l.snapshots = slices.Delete(l.snapshots, 0, extra)
	}
	l.dir.stats.SegmentsRolled.Add(1)
	l.dir.wantSave(l)
	l.AwaitFlush()
	return nil
}

// beginSegmentLocked notes when the active segment began, and draws its share of segment.jitter.ms.
func (l *Log) beginSegmentLocked(now kafka.Timestamp) {
	c := l.config.Load()
	l.rolled = now
	l.jitter = drawJitter(l.dir.env.Random, min(c.SegmentJitter, c.SegmentAge))
}

// drawJitter gives a duration in [0, limit).
func drawJitter(random io.Reader, limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0 // rolling at segment.ms sharp is no harm
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(limit))
}
