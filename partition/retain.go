package partition

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/segment"
)

// DeleteTo raises the log start offset to offset (DeleteRecords, or a leader's larger start). Segments that end at or
// below it are removed by the next retention check. An offset past the high watermark is OFFSET_OUT_OF_RANGE.
func (l *Log) DeleteTo(offset kafka.Offset) error {
	l.append.Lock()
	defer l.append.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	if offset > l.highWatermark.load() {
		return fmt.Errorf("%w: log start offset %d is past the high watermark %d",
			kafka.OffsetOutOfRange, offset, l.highWatermark.load())
	}
	l.raiseStartLocked(offset)
	return nil
}

// raiseStartLocked moves the log start offset up, and the epochs with it.
func (l *Log) raiseStartLocked(start kafka.Offset) {
	if start <= l.logStart.load() {
		return
	}
	l.logStart.store(start)
	l.dir.pointsMoved.note(l.dir)
	if c := *l.epochs.Load(); len(c) > 0 && c[0].startOffset < start {
		l.setEpochsLocked(c.truncateStart(start), start)
	}
}

// expiredSegments is segments that retention took out of a log; their files are there yet.
type expiredSegments struct {
	log      *Log
	segments []*segment.Segment
}

// retain does the retention check of every log: segments leave their log at once, then all log start offsets are
// recorded, so that they do not go back after a crash, and then the files change their names.
func (d *LogDir) retain(now time.Time) {
	var all []expiredSegments
	for _, l := range d.list() {
		list, err := l.detachExpired(now)
		switch {
		case err != nil: // the log is gone, the directory offline, or the disk too full to roll
			d.env.Log.Warn("retention", "partition", l.tp.String(), "err", err)
		case len(list) > 0:
			all = append(all, expiredSegments{l, list})
		}
	}
	if len(all) == 0 {
		return
	}
	if err := d.checkpointRecovery(); err != nil && !vfs.Exhausted(err) { // a full disk is no reason not to make room
		d.fail(err)
	}
	for _, x := range all {
		// A failure is in the directory's state.
		_ = x.log.retire(x.segments, now)
	}
}

// retire renames the files of segments that left the log, and has them removed after file.delete.delay.ms.
func (l *Log) retire(list []*segment.Segment, now time.Time) error {
	l.maintenance.Lock()
	defer l.maintenance.Unlock()
	if err := l.usable(); err != nil {
		for _, s := range list {
			s.Abandon()
		}
		return err
	}
	var renamed []*segment.Segment
	left := list
	err := l.saveSideFilesMaintained()
	if err == nil || vfs.Exhausted(err) {
		// What the producers did in the segments that go is from now on only in the snapshots. A disk too full for them
		// is no reason to keep the segments.
		renamed, left, err = l.renameDeleted(list)
	}
	if len(renamed) > 0 {
		l.dir.doom(doomed{due: now.Add(l.config.Load().FileDeleteDelay), log: l, segments: renamed})
	}
	if vfs.Exhausted(err) {
		l.dir.doom(doomed{due: now.Add(retryDelay), log: l, segments: left, named: true})
		return err
	}
	for _, s := range left {
		s.Abandon() // the next start, which knows where the log begins, removes what is left of it
	}
	return err
}

// renameDeleted renames the files of segments that left the log, oldest first and each durably: a crash leaves no hole.
// A segment that there is no room to rename is removed, which takes none. left are those from the first on where also
// something else failed; it may be called again with them.
func (l *Log) renameDeleted(list []*segment.Segment) (renamed, left []*segment.Segment, err error) {
	for i, s := range list {
		refused := s.RenameDeleted()
		err := refused
		if vfs.Exhausted(err) || errors.Is(err, segment.ErrClosed) { // closed: it was to be removed before
			err = s.Remove()
		}
		if err == nil {
			err = l.removeSnapshot(s.BaseOffset())
		}
		if err == nil {
			err = l.dir.env.FS.SyncDir(l.path())
		}
		if err != nil {
			return renamed, list[i:], l.storageError(err)
		}
		if refused == nil {
			renamed = append(renamed, s)
		} else {
			l.dir.stats.SegmentsDeleted.Add(1)
		}
	}
	return renamed, nil, nil
}

// detachExpired takes the expired segments out of the log.
func (l *Log) detachExpired(now time.Time) ([]*segment.Segment, error) {
	l.maintenance.Lock()
	defer l.maintenance.Unlock()
	l.append.Lock()
	defer l.append.Unlock()
	if err := l.usableLocked(); err != nil {
		return nil, err
	}
	views, err := l.segmentViewsLocked()
	if err != nil {
		return nil, l.storageError(err)
	}
	n := l.retentionRule(now).expired(views)
	if n == 0 {
		return nil, nil
	}
	if n == len(*l.segments.Load()) {
		// A log is never without a segment. Where there is no room for a new one the last one stays.
		err := l.rollLocked(l.logEnd.load(), kafka.Timestamp(now.UnixMilli()))
		if vfs.Exhausted(err) {
			n--
		} else if err != nil {
			return nil, err
		}
	}
	list := *l.segments.Load()
	l.publish(slices.Clone(list[n:]))
	l.unsealed = max(l.unsealed, list[n].BaseOffset())
	l.raiseStartLocked(list[n].BaseOffset())
	return slices.Clone(list[:n]), nil
}

// retentionRule is the rule of the topic's settings.
func (l *Log) retentionRule(now time.Time) retentionRule {
	c := l.config.Load()
	r := retentionRule{now: kafka.Timestamp(now.UnixMilli()), age: Forever, bytes: -1, logStart: l.logStart.load(),
		highWatermark: l.highWatermark.load()}
	if c.Delete {
		r.age, r.bytes = c.RetentionAge, c.RetentionBytes
	}
	return r
}

// segmentViewsLocked is what retention looks at.
func (l *Log) segmentViewsLocked() ([]segmentView, error) {
	end := l.logEnd.load()
	list := *l.segments.Load()
	views := make([]segmentView, len(list))
	for i, s := range list {
		views[i] = segmentView{base: s.BaseOffset(), end: end, bytes: int64(s.Bytes())}
		if i+1 < len(list) {
			views[i].end = list[i+1].BaseOffset()
		}
		views[i].maxTimestamp, _ = s.MaxTimestamp()
		if views[i].maxTimestamp >= 0 {
			continue
		}
		st, err := l.dir.env.FS.Stat(path.Join(l.path(), segment.FileName(s.BaseOffset(), segment.LogSuffix)))
		if err != nil {
			return nil, err
		}
		views[i].maxTimestamp = kafka.Timestamp(st.ModTime().UnixMilli())
	}
	return views, nil
}
