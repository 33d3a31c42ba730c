package partition

import (
	"errors"
	"io/fs"
	"slices"

	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// reloadProducersLocked rebuilds the producer state for the log end offset, after a truncation.
func (l *Log) reloadProducersLocked() error {
	offsets, err := l.snapshotOffsets()
	if err != nil {
		return err
	}
	return l.replayProducersLocked(offsets, l.logEnd.load(), nil)
}

// snapshotOffsets lists the producer snapshots in the folder, oldest first.
func (l *Log) snapshotOffsets() ([]kafka.Offset, error) {
	entries, err := l.dir.env.FS.ReadDir(l.path())
	if err != nil {
		return nil, err
	}
	var offsets []kafka.Offset
	for _, e := range entries {
		if offset, suffix, ok := segment.ParseFileName(e.Name()); ok && suffix == snapshotSuffix {
			offsets = append(offsets, offset)
		}
	}
	slices.Sort(offsets)
	return offsets, nil
}

// replayProducersLocked sets the producer state from the newest of the snapshots that is readable and not past limit,
// and lets it follow the batches from there to the end of the log. Aborted transactions that end in one of the
// reindexed segments are entered into its index. Snapshots past the end of the log are removed: the offsets they are
// named for will be given to other records.
func (l *Log) replayProducersLocked(snapshots []kafka.Offset, limit kafka.Offset, reindexed []*segment.Segment) error {
	fresh, from := newProducers(), l.logStart.load()
	l.snapshotAt = kafka.NoOffset
	for _, offset := range slices.Backward(snapshots) {
		if offset > l.logEnd.load() {
			if err := l.removeSnapshot(offset); err != nil {
				return err
			}
			continue
		}
		if offset > limit || offset < from {
			continue
		}
		p, err := l.readSnapshot(offset)
		if err == nil {
			fresh, from, l.snapshotAt = p, offset, offset
			break
		}
		l.dir.env.Log.Warn("removed an unreadable producer snapshot",
			"partition", l.tp.String(), "offset", int64(offset), "err", err)
		if err := l.removeSnapshot(offset); err != nil {
			return err
		}
	}
	fresh.expire(l.dir.now(), l.dir.producerExpiration.Load())
	list := *l.segments.Load()
	for _, s := range list[find(list, from):] {
		target := s
		if !slices.Contains(reindexed, s) {
			target = nil
		}
		if err := replaySegment(&fresh, s, from, target); err != nil {
			return err
		}
	}
	fresh.highWatermarkAt(l.highWatermark.load())
	fresh.asked = l.producers.asked // an answer that is on its way must not pass for one to a later question
	l.producers = fresh
	l.firstUnstable.store(fresh.firstUnstable())
	return nil
}

// replaySegment lets p follow the batches of s from an offset on; reindexed is s or nil.
func replaySegment(p *producers, s *segment.Segment, from kafka.Offset, reindexed *segment.Segment) error {
	return s.Each(max(from, s.BaseOffset()), func(b record.Batch) error {
		if !b.HasProducerID() {
			return nil
		}
		m, err := markerOf(b)
		if err != nil {
			return err
		}
		txn, decided := p.apply(b, m)
		if decided && txn.aborted && reindexed != nil {
			return reindexed.AppendAborted(txn.indexEntry())
		}
		return nil
	})
}

func (l *Log) readSnapshot(offset kafka.Offset) (producers, error) {
	data, err := readFile(l.dir.env.FS, l.snapshotPath(offset), snapshotBytesMax)
	if err != nil {
		return producers{}, err
	}
	return parseSnapshot(data)
}

func (l *Log) removeSnapshot(offset kafka.Offset) error {
	err := l.dir.env.FS.Remove(l.snapshotPath(offset))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
