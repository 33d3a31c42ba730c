package partition

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spate/internal/vfs"
	"spate/segment"
)

// background is what a log directory does now and then, off the event loops and off the flusher.
type background struct {
	wake    chan struct{} // holds one signal: look again at what is due
	stopped atomic.Bool
	sealed  atomic.Bool // a segment was sealed since the last Poll

	// The fields below belong to Poll.
	retention, recovery, highWatermark, producers time.Time // when each is due next; zero before the first Poll
	retry                                         time.Time // when retryStalled is
	idle                                          time.Time // when closeIdle is; zero while no file is open
	timed                                         []*Log    // those with a flush.ms

	mu      sync.Mutex
	unsaved []*Log   // logs with side files to write
	stalled []*Log   // logs whose last flush found the disk full: it is tried again
	garbage []func() // what unmaps and closes the files of segments that nobody reads any more
}

func (b *background) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// reschedule has the background worker look again at what is due: settings changed.
func (d *LogDir) reschedule() { d.background.signal() }

// wantSave puts l on the list of logs whose side files the background worker writes.
func (d *LogDir) wantSave(l *Log) {
	if l.unsaved.Swap(true) {
		return
	}
	b := &d.background
	b.mu.Lock()
	b.unsaved = append(b.unsaved, l)
	b.mu.Unlock()
	b.signal()
}

// reclaim runs f, which unmaps and closes files, on the background worker: the last reader of a deleted segment may be
// an event loop.
func (d *LogDir) reclaim(f func()) {
	b := &d.background
	b.mu.Lock()
	late := b.stopped.Load()
	if !late {
		b.garbage = append(b.garbage, f)
	}
	b.mu.Unlock()
	if late { // nobody collects any more
		f()
		return
	}
	b.signal()
}

// collect runs what reclaim was given.
func (d *LogDir) collect() {
	b := &d.background
	b.mu.Lock()
	garbage := b.garbage
	b.garbage = nil
	b.mu.Unlock()
	for _, f := range garbage {
		f()
	}
}

// doomed is something that is to be removed later: the segments of a log, or a folder.
type doomed struct {
	due      time.Time
	log      *Log // whose segments they are
	segments []*segment.Segment
	named    bool // their files still have their own names, because something was exhausted
	folder   string
}

// abandon lets go of the segments and leaves their files.
func (x *doomed) abandon() {
	for _, s := range x.segments {
		s.Abandon()
	}
}

// checkpointDelay is how soon after a segment was sealed the recovery points are written, all that were sealed
// meanwhile at once: after a crash only active segments are scanned, however much was written since the last regular
// checkpoint.
const checkpointDelay = time.Second

// Poll does the background work that is due at now and returns when the next is. One goroutine calls it.
func (d *LogDir) Poll(now time.Time) (next time.Time) {
	d.collect()
	if d.failure.Load() != nil {
		d.abandonOpen()
		return now.Add(d.options.CheckpointInterval) // nothing is written any more
	}
	b := &d.background
	idle := d.closeIdle(now) // first: somebody may be refused meanwhile
	unsaved := d.saveSideFiles(now)
	next = earlier(earlier(d.flushOverdue(now), idle), unsaved)
	if soon := now.Add(checkpointDelay); b.sealed.Swap(false) && (b.recovery.IsZero() || soon.Before(b.recovery)) {
		b.recovery = soon
	}
	work := []struct {
		due    *time.Time
		every  time.Duration
		do     func(now time.Time)
		wanted bool
	}{
		{&b.retention, d.options.RetentionCheckInterval, d.retain, true},
		{&b.recovery, d.options.CheckpointInterval, d.pollRecoveryCheckpoint, d.pointsMoved.flag.Load()},
		{&b.highWatermark, d.options.HighWatermarkInterval, d.pollHighWatermarkCheckpoint, d.marksMoved.flag.Load()},
		{&b.producers, d.options.ProducerExpirationCheck, d.expireProducers, true},
	}
	for _, w := range work {
		switch {
		case !w.wanted:
			*w.due = time.Time{} // where nothing has changed nobody wakes up
			continue
		case w.due.IsZero():
			*w.due = now.Add(w.every)
		case !now.Before(*w.due):
			w.do(now)
			*w.due = now.Add(w.every)
		}
		next = earlier(next, *w.due)
	}
	return earlier(next, d.removeDoomed(now))
}

// earlier is the earlier of two times, of which the zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// saveTogether is how many logs' side files are written before other background work has its turn.
const saveTogether = 100

// saveSideFiles writes the side files of logs on the list, and says when to write those that remain: at once, or where
// a full disk refused one, a little later.
func (d *LogDir) saveSideFiles(now time.Time) (next time.Time) {
	b := &d.background
	b.mu.Lock()
	n := min(len(b.unsaved), saveTogether)
	logs := slices.Clone(b.unsaved[:n])
	b.unsaved = slices.Delete(b.unsaved, 0, n)
	if len(b.unsaved) > 0 {
		next = now
	}
	b.mu.Unlock()
	for _, l := range logs {
		l.unsaved.Store(false) // before: what comes from now on is for another turn
		// Another failure is in the directory's state, or says that the log is gone.
		if err := l.saveSideFiles(); vfs.Exhausted(err) && !l.unsaved.Swap(true) {
			b.mu.Lock()
			b.unsaved = append(b.unsaved, l)
			b.mu.Unlock()
			next = now.Add(retryDelay)
		}
	}
	return next
}

// retryDelay is how soon what a full disk refused is tried again.
const retryDelay = time.Second

// wantRetry puts l on the list of those that are to be flushed again later.
func (d *LogDir) wantRetry(l *Log) {
	b := &d.background
	b.mu.Lock()
	if !slices.Contains(b.stalled, l) {
		b.stalled = append(b.stalled, l)
	}
	b.mu.Unlock()
	b.signal()
}

// retryStalled has those flushed whose last flush found the disk full, and says when to look again.
func (d *LogDir) retryStalled(now time.Time) (next time.Time) {
	b := &d.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.stalled) == 0 {
		return time.Time{}
	}
	if !now.Before(b.retry) {
		for _, l := range b.stalled {
			l.AwaitFlush()
		}
		b.stalled = nil
		b.retry = now.Add(retryDelay)
	}
	return b.retry
}

// flushOverdue has those logs flushed whose records have waited for flush.ms, or whose last flush found the disk full,
// and says when to look again.
func (d *LogDir) flushOverdue(now time.Time) (next time.Time) {
	b := &d.background
	next = d.retryStalled(now)
	if d.timedStale.Swap(false) {
		b.timed = slices.DeleteFunc(slices.Clone(d.list()), func(l *Log) bool {
			return l.config.Load().FlushInterval == Forever
		})
	}
	for _, l := range b.timed {
		interval := l.config.Load().FlushInterval
		if interval == Forever {
			continue
		}
		due := time.Unix(0, l.flushedAt.Load()).Add(interval)
		if !now.Before(due) {
			if l.flushed.load() < l.logEnd.load() {
				l.AwaitFlush()
			}
			due = now.Add(interval)
		}
		next = earlier(next, due)
	}
	return next
}

// expireProducers forgets producers that were silent for producer.id.expiration.ms.
func (d *LogDir) expireProducers(time.Time) {
	now, age := d.now(), d.producerExpiration.Load()
	for _, l := range d.list() {
		l.append.Lock()
		l.producers.expire(now, age)
		l.append.Unlock()
	}
}

// doom has something removed after delay.
func (d *LogDir) doom(x doomed) {
	d.mu.Lock()
	d.doomed = append(d.doomed, x)
	d.mu.Unlock()
	d.background.signal()
}

// removeDoomed removes what is due and says when the next is.
func (d *LogDir) removeDoomed(now time.Time) (next time.Time) {
	var due []doomed
	d.mu.Lock()
	d.doomed = slices.DeleteFunc(d.doomed, func(x doomed) bool {
		if x.due.After(now) {
			next = earlier(next, x.due)
			return false
		}
		due = append(due, x)
		return true
	})
	d.mu.Unlock()
	for _, x := range due {
		if x.named {
			_ = x.log.retire(x.segments, now) // a failure is in the directory's state
			continue
		}
		err := d.remove(&x)
		if vfs.Exhausted(err) { // removing a folder takes descriptors
			x.due = now.Add(retryDelay)
			d.doom(x)
			next = earlier(next, x.due)
		} else if err != nil {
			d.fail(err)
			return next
		}
	}
	return next
}

// remove removes what was doomed. Where that fails, x is what is left of it.
func (d *LogDir) remove(x *doomed) error {
	for ; len(x.segments) > 0; x.segments = x.segments[1:] {
		if err := x.segments[0].Remove(); err != nil {
			return err
		}
		d.stats.SegmentsDeleted.Add(1)
	}
	if x.folder == "" {
		return nil
	}
	return d.env.FS.RemoveAll(x.folder)
}

// runBackground is the background goroutine.
func (d *LogDir) runBackground() {
	timer := d.env.Clock.AfterFunc(0, d.background.signal)
	defer timer.Stop()
	for range d.background.wake {
		if d.background.stopped.Load() {
			return
		}
		now := d.env.Clock.Now()
		next := d.Poll(now)
		timer.Reset(max(next.Sub(now), time.Millisecond))
	}
}
