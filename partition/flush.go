package partition

import (
	"fmt"
	"path"
	"slices"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/segment"
)

// AwaitFlush asks the group commit to make everything up to the current log end offset durable and returns at once;
// Observer.Flushed tells when it is.
func (l *Log) AwaitFlush() {
	if !l.wanted.Swap(true) {
		l.dir.enqueueFlush(l)
	}
}

// Flush makes everything up to the log end offset at the time of the call durable and returns when it is.
func (l *Log) Flush() error {
	l.maintenance.Lock()
	end, err := l.flushMaintained()
	l.maintenance.Unlock()
	if err != nil {
		return err
	}
	l.announceFlushed(end)
	return nil
}

// announceFlushed tells the observer; no lock is held.
func (l *Log) announceFlushed(end kafka.Offset) {
	if o := l.observer.Load(); o != nil {
		(*o).Flushed(end)
	}
}

// flushMaintained seals the segments that were rolled, flushes the active one and then moves the flushed offset, with
// the maintenance lock held.
func (l *Log) flushMaintained() (kafka.Offset, error) {
	if err := l.usable(); err != nil {
		return 0, err
	}
	end := l.logEnd.load() // before the segments: they hold at least so much
	list := *l.segments.Load()
	if end == l.flushed.load() && l.unsealed == list[len(list)-1].BaseOffset() {
		return end, nil
	}
	if err := l.flushSegments(list); err != nil {
		return 0, l.flushFailed(list, err)
	}
	l.flushedAt.Store(l.dir.env.Clock.Now().UnixNano())
	l.flushed.store(end)
	l.saveEpochsBelow(end)
	l.dir.pointsMoved.note(l.dir)
	return end, nil
}

// flushSegments seals and flushes oldest first, so that what is durable is always a prefix.
func (l *Log) flushSegments(list []*segment.Segment) error {
	for i := find(list, l.unsealed); i < len(list)-1; i++ {
		if err := list[i].Seal(); err != nil {
			return err
		}
		l.unsealed = list[i+1].BaseOffset()
		l.dir.background.sealed.Store(true)
	}
	return list[len(list)-1].Flush()
}

// flushFailed judges a failed flush. A disk too full for the index of a segment leaves everything as it was, and the
// background worker asks again. Anything else is final: what a failed fsync left behind is not known, and a second one
// would say that all is well.
func (l *Log) flushFailed(list []*segment.Segment, err error) error {
	poisoned := func(s *segment.Segment) bool { return s.Err() != nil }
	if vfs.Exhausted(err) && !slices.ContainsFunc(list, poisoned) {
		l.dir.wantRetry(l)
		return l.storageError(err)
	}
	if l.future {
		return l.storageError(err)
	}
	l.dir.fail(fmt.Errorf("flush %s: %w", l.tp, err))
	return l.dir.offline()
}

// saveSideFiles writes the producer snapshots and the epoch file that are not on the disk yet. While the disk is full
// they stay for the next time, and the recovery point where it is.
func (l *Log) saveSideFiles() error {
	l.maintenance.Lock()
	defer l.maintenance.Unlock()
	return l.saveSideFilesMaintained()
}

func (l *Log) saveSideFilesMaintained() error {
	_, err := l.putSideFiles(replaceFile)
	return err
}

// putSideFiles is saveSideFilesMaintained for a caller that says how a file is written. It says whether there was one.
func (l *Log) putSideFiles(put func(fsys vfs.FS, name string, text []byte) error) (some bool, err error) {
	l.append.Lock()
	err = l.usableLocked()
	snapshots, epochs, end := slices.Clone(l.snapshots), l.epochs.Load(), l.logEnd.load()
	l.append.Unlock()
	if err != nil {
		return false, err
	}
	for _, s := range snapshots {
		if err := put(l.dir.env.FS, l.snapshotPath(s.offset), s.data); err != nil {
			return false, l.storageError(err)
		}
		l.snapshotAt = s.offset
	}
	// An epoch in which nothing was written yet is not worth it: the next leader's takes its place.
	unsaved := l.unsavedEpochs.load()
	save := unsaved != kafka.NoOffset && unsaved < end
	saved := epochs.truncateEnd(end)
	if save {
		if err := put(l.dir.env.FS, path.Join(l.path(), epochFile), saved.appendTo(nil)); err != nil {
			return false, l.storageError(err)
		}
	}
	l.append.Lock()
	defer l.append.Unlock()
	if save && l.epochs.Load() == epochs {
		l.unsavedEpochs.store(kafka.NoOffset)
		if len(*epochs) > len(saved) {
			l.unsavedEpochs.store((*epochs)[len(saved)].startOffset)
		}
		l.dir.pointsMoved.note(l.dir) // the recovery point waited for it
	}
	l.snapshots = slices.DeleteFunc(l.snapshots, func(s pendingSnapshot) bool {
		return slices.ContainsFunc(snapshots, func(saved pendingSnapshot) bool { return saved.offset == s.offset })
	})
	return save || len(snapshots) > 0, nil
}

func (l *Log) snapshotPath(offset kafka.Offset) string {
	return path.Join(l.path(), segment.FileName(offset, snapshotSuffix))
}

// recoveryPoint is the offset below which nothing needs to be looked at after a crash: everything there is flushed, and
// the epoch file knows the epochs.
func (l *Log) recoveryPoint() kafka.Offset {
	flushed := l.flushed.load() // before the epochs: an epoch that comes now begins at or past it
	if unsaved := l.unsavedEpochs.load(); unsaved != kafka.NoOffset {
		return min(flushed, unsaved)
	}
	return flushed
}
