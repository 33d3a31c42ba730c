package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"spate/internal/vfs"
	"spate/kafka"
)

// PrepareFinish has appends to the log leave the event loops, and reads too, since they are about to wait for Finish.
func (m *Move) PrepareFinish() { m.source.swapping.Store(true) }

// Finish copies the rest and puts the copy in the place of the log. publish is called with the log that is to be used
// from now on, and with the old one's locks held: an append that waits finds the new one. When Finish fails, the
// log is what it was, and the caller aborts the move.
func (m *Move) Finish(publish func(next *Log)) error {
	s := m.source
	s.swapping.Store(true)
	defer s.swapping.Store(false)
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	s.append.Lock()
	defer s.append.Unlock()
	if err := m.copyRestLocked(); err != nil {
		return err
	}
	if err := m.closeFutureLocked(); err != nil {
		return fmt.Errorf("%w: finish the copy of %s: %w", kafka.KafkaStorageError, s.tp, err)
	}
	next, err := m.replaceLocked()
	if err != nil {
		return fmt.Errorf("%w: put the copy of %s in its place: %w", kafka.KafkaStorageError, s.tp, err)
	}
	m.handOverLocked(next)
	publish(next)
	return nil
}

// copyRestLocked copies what is left, and checks that nothing is missing.
func (m *Move) copyRestLocked() error {
	s := m.source
	if err := errors.Join(s.usableLocked(), m.checkCuts()); err != nil {
		return err
	}
	for {
		n, err := m.copyPiece()
		var unread *unreadError
		if errors.As(err, &unread) {
			err = s.storageError(unread.cause)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return m.compareAborted()
		}
	}
}

// compareAborted, under the source's append lock, makes sure that the copy knows of all aborted transactions. It can
// only have missed one that began before the oldest segment and that no snapshot tells of.
func (m *Move) compareAborted() error {
	start, end := m.future.logStart.load(), m.source.logEnd.load()
	is, err := m.future.AbortedTransactions(nil, start, end)
	if err != nil {
		return err
	}
	want, err := abortedIn(*m.source.segments.Load(), nil, start, end)
	if err != nil {
		return m.source.storageError(err)
	}
	known := make(map[kafka.Offset]bool, len(is))
	for _, t := range is {
		known[t.LastOffset] = true
	}
	for _, t := range want {
		if !known[t.LastOffset] {
			return fmt.Errorf("the copy of %s lacks the aborted transaction of producer %d that ends at offset %d",
				m.source.tp, t.ProducerID, t.LastOffset)
		}
	}
	return nil
}

// closeFutureLocked gives the copy what batches do not tell, and closes it. Its last segment is empty, so that a
// crash later finds the producers in the snapshot of its base offset, including those whose batches are long gone.
func (m *Move) closeFutureLocked() error {
	s, f := m.source, m.future
	end := s.logEnd.load()
	f.append.Lock()
	f.watermark.Lock()
	f.logEnd.store(end) // past a hole that compaction left
	f.watermark.Unlock()
	f.raiseStartLocked(s.logStart.load())
	f.setEpochsLocked(*s.epochs.Load(), s.logStart.load())
	f.producers = s.producers // which nobody changes while the source's append lock is held
	var err error
	if f.active().BaseOffset() != end {
		err = f.rollLocked(end, f.dir.now())
	}
	f.append.Unlock()
	if err != nil {
		return err
	}
	return f.close()
}

// replaceLocked renames the folders and opens the log in its new place.
func (m *Move) replaceLocked() (*Log, error) {
	s, d := m.source, m.target
	fsys, name := d.env.FS, path.Join(d.path, s.tp.String())
	moved := movedFrom(s.dir.ID())
	if err := replaceFile(fsys, path.Join(m.future.path(), movedFromFile), moved); err != nil {
		return nil, err
	}
	at := known{recoveryPoint: s.logEnd.load(), logStart: s.logStart.load(), highWatermark: s.highWatermark.load()}
	if err := d.expect(s.tp, at, s.dir.checkpoints.cleanedTo(s.tp)); err != nil {
		return nil, err
	}
	defer d.arrived(s.tp)
	if _, err := fsys.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("there is a folder %s already", name), err)
	}
	if err := fsys.Rename(m.future.path(), name); err != nil {
		return nil, err
	}
	err := fsys.SyncDir(d.path)
	if err != nil {
		d.fail(fmt.Errorf("move %s: %w", s.tp, err)) // which of the names it has now, nobody knows
		return nil, errors.Join(err, m.undo(name))
	}
	next := d.newLog(s.tp, s.tp.String(), s.TopicID(), *s.config.Load())
	r := loader{l: next, trusted: true, recoveryPoint: at.recoveryPoint, logStart: at.logStart,
		highWatermark: at.highWatermark, cleaned: s.dir.checkpoints.cleanedTo(s.tp)}
	if err := r.load(); err != nil {
		return nil, errors.Join(err, m.undo(name))
	}
	if err := m.removeSourceLocked(); err != nil {
		next.end(errClosed)
		return nil, errors.Join(err, m.undo(name))
	}
	return next, nil
}

// undo gives the copy its old name back. A crash may find it under the new one nevertheless, beside the source: then
// the one with more in it is the log.
func (m *Move) undo(name string) error {
	fsys := m.target.env.FS
	if err := fsys.Rename(name, m.future.path()); err != nil {
		return err
	}
	return fsys.SyncDir(m.target.path)
}

// removeSourceLocked has the folder of the source removed. It fails only where the source can be used as before;
// whatever else happens there, the copy is complete.
func (m *Move) removeSourceLocked() error {
	s := m.source
	s.leaving.Store(&ErrMoved)
	folder, err := s.dir.renameAside(s.tp, deleteSuffix)
	if vfs.Exhausted(err) {
		s.leaving.Store(nil)
		return err
	}
	if err == nil {
		err = s.dir.env.FS.SyncDir(s.dir.path)
	}
	if err != nil {
		s.dir.forget(s) // before: whoever uses the log is not to be told that it has failed
		s.dir.fail(fmt.Errorf("%s was moved away: %w", s.tp, err))
		return nil
	}
	due := s.dir.env.Clock.Now().Add(s.config.Load().FileDeleteDelay)
	s.dir.doom(doomed{due: due, folder: folder})
	// From here on nothing is left that the copy replaces; where it is not known for sure, the file stays.
	_ = m.target.env.FS.Remove(path.Join(m.target.path, s.tp.String(), movedFromFile))
	return nil
}

// handOverLocked ends the source and lists the log in its new directory.
func (m *Move) handOverLocked(next *Log) {
	s := m.source
	next.append.Lock()
	if c := *s.epochs.Load(); c.latest() > next.epochs.Load().latest() {
		next.setEpochsLocked(c, s.logEnd.load()) // the file lacks an epoch in which nothing was written yet
	}
	next.producers = s.producers
	// Who has advanced the source's high watermark may wait for its append lock to do this, and finds nothing then.
	next.producers.highWatermarkAt(next.highWatermark.load())
	next.firstUnstable.store(next.producers.firstUnstable())
	next.rolled, next.jitter = s.rolled, s.jitter
	next.append.Unlock()
	if o := s.observer.Load(); o != nil {
		next.observer.Store(o)
	}
	s.producers = newProducers()
	s.gone = ErrMoved
	s.dir.forget(s)
	for _, old := range *s.segments.Load() {
		old.Abandon()
	}
	d := m.target
	d.mu.Lock()
	d.logs[next.tp] = next
	d.sorted = nil
	d.mu.Unlock()
	d.timedStale.Store(true)
	d.pointsMoved.note(d)
	d.marksMoved.note(d)
	d.reschedule()
}

// expect records what the checkpoint files are to say of a log that is about to get its name in this directory;
// cleaned is where its next cleaning begins, or NoOffset.
func (d *LogDir) expect(tp kafka.TopicPartition, at known, cleaned kafka.Offset) error {
	c := &d.checkpoints
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.arriving == nil {
		c.arriving = map[kafka.TopicPartition]bool{}
	}
	c.arriving[tp] = true
	// The starts first: recovery must not look for what lies below them.
	for _, file := range []struct {
		name string
		on   offsetCheckpoint
		at   kafka.Offset
	}{
		{logStartFile, c.logStart, at.logStart},
		{recoveryPointFile, c.recoveryPoint, at.recoveryPoint},
		{highWatermarkFile, c.highWatermark, at.highWatermark},
		{cleanerFile, c.cleaner, cleaned},
	} {
		before, found := file.on[tp]
		if !found && file.at == kafka.NoOffset {
			continue
		}
		file.on[tp] = max(file.at, 0)
		if err := d.writeCheckpoint(file.name, file.on); err != nil {
			delete(file.on, tp)
			if found {
				file.on[tp] = before
			}
			delete(c.arriving, tp)
			return err
		}
	}
	return nil
}

// arrived ends what expect began.
func (d *LogDir) arrived(tp kafka.TopicPartition) {
	d.checkpoints.mu.Lock()
	delete(d.checkpoints.arriving, tp)
	d.checkpoints.mu.Unlock()
}

// movedFromFile is in the folder of a log that was moved to its directory, until the folder that it replaces is gone.
const movedFromFile = "moved-from"

// movedFrom is the file's content.
func movedFrom(source kafka.UUID) []byte {
	return fmt.Appendf(nil, "version: 0\ndirectory_id: %s", source)
}

// parseMovedFrom reads what movedFrom writes.
func parseMovedFrom(text []byte) (kafka.UUID, error) {
	version, rest := cutLine(text)
	line, rest := cutLine(rest)
	id, found := bytes.CutPrefix(line, []byte("directory_id: "))
	if string(version) != "version: 0" || !found || len(bytes.TrimSpace(rest)) > 0 {
		return kafka.ZeroUUID, fmt.Errorf("%q is not version 0 with a directory_id", clip(text))
	}
	return kafka.ParseUUID(string(id))
}

// MovedFrom is the directory id of the folder that this log replaces, if a crash may have left it there, or the zero
// id.
func (l *Log) MovedFrom() kafka.UUID {
	text, err := readFile(l.dir.env.FS, path.Join(l.path(), movedFromFile), metaBytesMax)
	if err != nil {
		return kafka.ZeroUUID
	}
	id, err := parseMovedFrom(text)
	if err != nil {
		l.dir.env.Log.Warn("unreadable "+movedFromFile, "partition", l.tp.String(), "err", err)
		return kafka.ZeroUUID
	}
	return id
}

// SettleMove forgets what MovedFrom says: the folder that this log replaces is gone.
func (l *Log) SettleMove() {
	err := l.dir.env.FS.Remove(path.Join(l.path(), movedFromFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.dir.env.Log.Warn("cannot remove "+movedFromFile, "partition", l.tp.String(), "err", err)
	}
}

// ChooseMoved tells which of two logs of one partition, in two directories, is the one to go on with, after a crash
// in the middle of a move: ok says that there was one. A copy that has less than the log was never used; where both
// have the same, assigned is the id of the directory that the cluster has the partition in.
func ChooseMoved(a, b *Log, assigned kafka.UUID) (keep, drop *Log, ok bool) {
	if a.MovedFrom() != b.dir.ID() {
		a, b = b, a
	}
	if a.MovedFrom() != b.dir.ID() {
		return nil, nil, false
	}
	if a.logEnd.load() < b.logEnd.load() || a.logEnd.load() == b.logEnd.load() && assigned == b.dir.ID() {
		a, b = b, a
	}
	return a, b, true
}
