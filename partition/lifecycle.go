package partition

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sync/atomic"

	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
)

// Start starts the flusher with its workers, the one that starts writeback, and the background worker.
func (d *LogDir) Start() {
	f := &d.flusher
	f.workers = max(d.options.FlushWorkers-1, 0)
	f.work = make(chan struct{}, f.workers)
	for range f.workers {
		d.tasks.Go("flush worker "+d.path, f.runWorker)
	}
	d.tasks.Go("flusher "+d.path, d.runFlusher)
	d.tasks.Go("writeback "+d.path, d.runWriteback)
	d.tasks.Go("log directory "+d.path, d.runBackground)
}

// stop ends the goroutines and joins them. What is on the flusher's list is flushed first.
func (d *LogDir) stop() {
	d.background.mu.Lock()
	d.background.stopped.Store(true)
	d.background.mu.Unlock()
	d.background.signal()
	d.flusher.stopped.Store(true)
	d.flusher.signal()
	d.writeback.stopped.Store(true)
	d.writeback.signal()
	d.tasks.Wait()
}

// Close stops the goroutines, seals and flushes all logs, writes the checkpoints and, unless the directory has failed
// or the disk is too full for them, the clean-shutdown mark with brokerEpoch, and gives up the lock. No log of the
// directory may be used afterwards.
func (d *LogDir) Close(brokerEpoch kafka.BrokerEpoch) error {
	d.stop()
	d.announceFailure()
	err := d.closeLogs()
	if err == nil {
		err = d.markClean(brokerEpoch)
	}
	d.releaseDoomed()
	d.collect()
	return errors.Join(err, d.lock.Close())
}

// closeLogs closes every log, several at a time: what takes time is the flushes, which the file system can join.
func (d *LogDir) closeLogs() error {
	logs := d.list()
	errs := make([]error, len(logs))
	workers := max(d.RecoveryThreads(), d.options.FlushWorkers)
	inParallel(workers, len(logs), func(i int) { errs[i] = logs[i].close() })
	return errors.Join(errs...)
}

// inParallel calls do for 0 to n-1, so many at a time; the caller is one of them. With one it is a plain loop, in
// order.
func inParallel(workers, n int, do func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			do(i)
		}
	}
	var group task.Group
	for range min(workers, n) - 1 {
		group.Go("log directory", work)
	}
	work()
	group.Wait()
}

// markClean writes the checkpoints and then the mark, which vouches for every log in the directory: those that were
// loaded, or all that a start which failed early found to be clean.
func (d *LogDir) markClean(brokerEpoch kafka.BrokerEpoch) error {
	if err := d.offline(); err != nil {
		return err
	}
	if err := d.checkpointAll(); err != nil {
		return err
	}
	switch {
	case d.unloaded.Load():
		return nil // the next start has to look at everything again
	case d.fresh, d.loaded.Load():
	case d.clean:
		brokerEpoch = d.cleanEpoch // nobody looked at the logs: what was found holds still
	default:
		return nil
	}
	mark := cleanShutdown{BrokerEpoch: int64(brokerEpoch)}
	return replaceFile(d.env.FS, path.Join(d.path, cleanShutdownFile), mark.text())
}

// releaseDoomed lets go of the segments that were to be removed later. The next start removes their files.
func (d *LogDir) releaseDoomed() {
	d.mu.Lock()
	list := d.doomed
	d.doomed = nil
	d.mu.Unlock()
	for _, x := range list {
		x.abandon()
	}
}

// close flushes the log and closes its segments, so that the next start may trust all of it.
func (l *Log) close() error {
	defer l.pauseCleaning()()
	flushed := l.Flush()
	if flushed == nil {
		l.snapshotEnd()
	}
	l.maintenance.Lock()
	defer l.maintenance.Unlock()
	saved := error(nil)
	if flushed == nil {
		placed := false
		if placed, saved = l.putSideFiles(placeFile); placed {
			l.active().NamesChanged() // one flush of the folder is for these and for the indexes
		}
	}
	l.append.Lock()
	l.gone = errClosed
	l.append.Unlock()
	for _, s := range *l.segments.Load() {
		if flushed != nil {
			s.Abandon()
			continue
		}
		if err := s.Close(); err != nil {
			saved = errors.Join(saved, fmt.Errorf("close %s: %w", l.tp, err))
		}
	}
	return errors.Join(flushed, saved)
}

// snapshotEnd puts the producer state at the end of the log among the snapshots to be written, unless that is on the
// disk, or the log has never had a record.
func (l *Log) snapshotEnd() {
	l.maintenance.Lock()
	on := l.snapshotAt
	l.maintenance.Unlock()
	l.append.Lock()
	defer l.append.Unlock()
	if end := l.logEnd.load(); end != on && end != 0 {
		l.snapshots = append(l.snapshots, pendingSnapshot{end, l.producers.snapshot()})
	}
}

// Delete is DeleteLogs for one log.
func (l *Log) Delete() error { return l.dir.DeleteLogs([]*Log{l})[0] }

// DeleteLogs takes logs out of the directory: no append or read succeeds any more, the folders are renamed to
// <topic>-<partition>.<32 hex digits>-delete at once, which one flush makes durable for all, and removed after
// file.delete.delay.ms. It gives the error of each log; a log that there is no room to rename stays.
func (d *LogDir) DeleteLogs(logs []*Log) []error {
	errs := make([]error, len(logs))
	folders := make([]string, len(logs))
	renamed := false
	for i, l := range logs {
		folders[i], errs[i] = l.detach()
		renamed = renamed || errs[i] == nil
	}
	if !renamed {
		return errs
	}
	// Whether they are deleted if the power goes now, the next start tells: it sets aside what belongs to no topic.
	if err := d.env.FS.SyncDir(d.path); err != nil && !vfs.OutOfFiles(err) {
		d.fail(fmt.Errorf("delete logs: %w", err))
	}
	for i, l := range logs {
		if errs[i] != nil {
			continue
		}
		d.forget(l)
		for _, s := range *l.segments.Load() {
			s.Abandon()
		}
		due := d.env.Clock.Now().Add(l.config.Load().FileDeleteDelay)
		d.doom(doomed{due: due, folder: folders[i]})
		errs[i] = d.offline()
	}
	return errs
}

// detach ends the use of the log and renames its folder, not durably yet.
func (l *Log) detach() (folder string, err error) {
	defer l.pauseCleaning()()
	l.maintenance.Lock()
	defer l.maintenance.Unlock()
	l.append.Lock()
	err = l.usableLocked()
	if err == nil {
		l.gone = errDeleted
	}
	l.append.Unlock()
	if err != nil {
		return "", err
	}
	l.leaving.Store(&errDeleted)
	if folder, err = l.dir.renameAside(l.tp, deleteSuffix); err != nil {
		l.leaving.Store(nil)
		l.append.Lock()
		l.gone = nil // where the disk is only full, the log stays
		l.append.Unlock()
		return "", l.storageError(err)
	}
	return folder, nil
}

// DeleteFolder deletes the folder of a partition whose log is not open: it could not be loaded, or could not be made.
// That of another topic stays.
func (d *LogDir) DeleteFolder(tp kafka.TopicPartition, topicID kafka.UUID) error {
	if err := d.offline(); err != nil {
		return err
	}
	if d.Log(tp) != nil || !d.folderExists(tp) {
		return nil
	}
	found, err := d.readTopicID(tp)
	if err == nil && found != topicID && found != kafka.ZeroUUID {
		return nil
	}
	var folder string
	if err == nil {
		folder, err = d.setAside(tp, deleteSuffix)
	}
	switch {
	case err == nil:
		d.doom(doomed{due: d.env.Clock.Now(), folder: folder}) // nobody can be reading from it
		return nil
	case vfs.Exhausted(err):
		d.stats.DiskFull.Add(1)
	default:
		d.fail(fmt.Errorf("delete %s: %w", tp, err))
	}
	return fmt.Errorf("%w: delete %s: %w", kafka.KafkaStorageError, tp, err)
}

// setAside renames the folder of tp, durably, and gives its new path.
func (d *LogDir) setAside(tp kafka.TopicPartition, suffix string) (string, error) {
	folder, err := d.renameAside(tp, suffix)
	if err != nil {
		return "", err
	}
	return folder, d.env.FS.SyncDir(d.path)
}

// renameAside is setAside without the flush.
func (d *LogDir) renameAside(tp kafka.TopicPartition, suffix string) (string, error) {
	return d.renameFolder(tp.String(), tp, suffix)
}

// renameFolder gives the folder called from, of tp, a name that ends in suffix, and gives its new path.
func (d *LogDir) renameFolder(from string, tp kafka.TopicPartition, suffix string) (string, error) {
	name, err := outgoingName(d.env.Random, tp, suffix)
	if err != nil {
		return "", err
	}
	folder := path.Join(d.path, name)
	return folder, d.env.FS.Rename(path.Join(d.path, from), folder)
}

// forget takes l off the lists of the directory.
func (d *LogDir) forget(l *Log) {
	d.mu.Lock()
	delete(d.logs, l.tp)
	d.sorted = nil
	var mine []doomed
	d.doomed = slices.DeleteFunc(d.doomed, func(x doomed) bool {
		if x.log != l {
			return false
		}
		mine = append(mine, x)
		return true
	})
	d.mu.Unlock()
	for _, x := range mine {
		x.abandon()
	}
	d.timedStale.Store(true)
	d.pointsMoved.note(d) // the checkpoints are to forget it too
	d.marksMoved.note(d)
}
