package partition

import (
	"fmt"
	"slices"

	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// TruncateTo removes every record at or past offset, and with them their epochs and producer state, durably. The high
// watermark and the flushed offset go back to offset where they were past it. It may wait for the disk. An offset at or
// past the log end offset changes nothing; one below the log start offset empties the log and makes it the new start.
func (l *Log) TruncateTo(offset kafka.Offset) error {
	if offset >= l.logEnd.load() {
		return nil
	}
	if offset < l.logStart.load() {
		return l.TruncateFullyAndStartAt(offset)
	}
	boundary, err := l.batchAt(offset)
	if err != nil {
		return err
	}
	return l.truncate(l.flushed.load(), boundary, l.cutLocked)
}

// batchAt is the base offset of the batch that holds offset, or offset if that is in a hole between two: a batch goes
// as a whole.
func (l *Log) batchAt(offset kafka.Offset) (kafka.Offset, error) {
	r, err := l.Read(offset, 1, true, l.logEnd.load())
	if err != nil {
		return 0, err
	}
	defer r.Release()
	err = r.found.Each(func(b record.Batch) error {
		offset = min(offset, b.BaseOffset())
		return nil
	})
	if err != nil {
		return 0, l.readError(err)
	}
	return offset, nil
}

// TruncateFullyAndStartAt empties the log and makes offset its start, as a follower does whose leader's log begins past
// its own end.
func (l *Log) TruncateFullyAndStartAt(offset kafka.Offset) error {
	return l.truncate(0, offset, l.restartLocked)
}

// truncate lowers the recovery point, and the log start offset where that is past offset, and has both recorded
// before cut removes bytes: recovery takes what is missing below a recorded recovery point for corruption. Up to then
// a full disk changes nothing; half a cut is no state to go on from and ends the directory.
func (l *Log) truncate(flushed, offset kafka.Offset, cut func(kafka.Offset) error) error {
	defer l.pauseCleaning()()
	l.maintenance.Lock()
	defer l.maintenance.Unlock()
	l.append.Lock()
	defer l.append.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	startBefore, flushedBefore := l.logStart.load(), l.flushed.load()
	l.logStart.store(min(startBefore, offset))
	l.flushed.store(min(flushedBefore, flushed, offset))
	err := l.dir.checkpointRecovery()
	if err == nil {
		err = l.dir.lowerCleaned(l.tp, offset)
	}
	if err != nil {
		l.logStart.store(startBefore)
		l.flushed.store(flushedBefore)
		return l.storageError(err)
	}
	if err = cut(offset); err == nil {
		err = l.followCutLocked()
	}
	if err != nil {
		l.dir.fail(fmt.Errorf("truncate %s to %d: %w", l.tp, offset, err))
		return l.dir.offline()
	}
	l.cuts.Add(1)
	l.dir.stats.Truncations.Add(1)
	l.dir.marksMoved.note(l.dir)
	l.dir.pointsMoved.note(l.dir)
	return nil
}

// cutLocked removes the records at or past offset. Readers first stop seeing them.
func (l *Log) cutLocked(offset kafka.Offset) error {
	l.setEndLocked(offset)
	list := *l.segments.Load()
	last := find(list, offset)
	l.publish(slices.Clone(list[:last+1]))
	if err := l.removeSegments(list[last+1:]); err != nil {
		return err
	}
	if err := list[last].TruncateTo(offset); err != nil {
		return err
	}
	if err := list[last].Flush(); err != nil { // the index of aborted transactions, too, has to be shorter on the disk
		return err
	}
	if err := l.dir.env.FS.SyncDir(l.path()); err != nil {
		return err
	}
	// A hole that compaction made before offset is at the end now.
	l.setEndLocked(min(offset, list[last].NextOffset()))
	l.unsealed = min(l.unsealed, list[last].BaseOffset())
	l.setEpochsLocked(l.epochs.Load().truncateEnd(l.logEnd.load()), offset)
	return nil
}

// restartLocked removes every record and begins again at offset.
func (l *Log) restartLocked(offset kafka.Offset) error {
	l.watermark.Lock()
	l.logStart.store(offset)
	l.logEnd.store(offset)
	l.highWatermark.store(offset)
	l.watermark.Unlock()
	if err := l.removeSegments(*l.segments.Load()); err != nil {
		return err
	}
	fresh, err := segment.Create(l.dir.env.FS, l.path(), offset, l.segmentOptions())
	if err != nil {
		return err
	}
	l.publish([]*segment.Segment{fresh})
	l.beginSegmentLocked(l.dir.now())
	l.unsealed = offset
	l.flushed.store(offset)
	l.setEpochsLocked(nil, offset)
	return nil
}

// setEndLocked lowers the log end offset, and the high watermark with it.
func (l *Log) setEndLocked(end kafka.Offset) {
	l.watermark.Lock()
	l.logEnd.store(end)
	l.highWatermark.store(min(l.highWatermark.load(), end))
	l.watermark.Unlock()
}

// followCutLocked brings the producer state back to the log end offset.
func (l *Log) followCutLocked() error {
	end := l.logEnd.load()
	l.snapshots = slices.DeleteFunc(l.snapshots, func(s pendingSnapshot) bool { return s.offset > end })
	return l.reloadProducersLocked()
}

// removeSegments unlinks segments, newest first, so that a crash in between leaves a prefix.
func (l *Log) removeSegments(list []*segment.Segment) error {
	for _, s := range slices.Backward(list) {
		if err := s.Remove(); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return nil
	}
	return l.dir.env.FS.SyncDir(l.path())
}
