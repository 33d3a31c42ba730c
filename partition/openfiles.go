package partition

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/segment"
)

// OpenFiles bounds the segments whose files are open, over all log directories of a process. A segment's file is opened
// when it is used and closed by the background worker of its directory: when nobody has used it for IdleAfter, or soon,
// once three quarters of what is allowed are open.
type OpenFiles struct {
	limit int64
	count atomic.Int64
}

// NewOpenFiles allows so many, at least one.
func NewOpenFiles(limit int) *OpenFiles { return &OpenFiles{limit: max(int64(limit), 1)} }

// Count is how many are open.
func (f *OpenFiles) Count() int { return int(f.count.Load()) }

// Limit is how many may be.
func (f *OpenFiles) Limit() int { return int(f.limit) }

// crowded says whether more are open than the background worker leaves alone.
func (f *OpenFiles) crowded() bool { return f.count.Load() > f.limit-f.limit/4 }

// roomy says whether so few are open that the background worker stops closing those that were used lately.
func (f *OpenFiles) roomy() bool { return f.count.Load() <= f.limit/2 }

// openSegments is the segments of one directory whose files are open.
type openSegments struct {
	mu   sync.Mutex
	logs map[*segment.Segment]*Log
}

// crowdedDelay is how soon a crowded directory looks again at what could not be closed: it waits for a flush.
const crowdedDelay = 50 * time.Millisecond

// keeper is a log as its segments see it.
type keeper Log

// Opening takes note of a segment, unless too many are open: then the one who wanted it opened is refused, and the
// background worker makes room for the next.
func (k *keeper) Opening(s *segment.Segment) error {
	l := (*Log)(k)
	d, files := l.dir, l.dir.options.Files
	if n := files.count.Add(1); n > files.limit {
		files.count.Add(-1)
		d.stats.FilesRefused.Add(1)
		d.background.signal()
		return fmt.Errorf("%w: %d segment files are open, which is as many as may be: %w",
			kafka.KafkaStorageError, files.limit, syscall.EMFILE)
	}
	d.inUse.mu.Lock()
	first := len(d.inUse.logs) == 0
	d.inUse.logs[s] = l
	d.inUse.mu.Unlock()
	if first || files.crowded() {
		d.background.signal()
	}
	return nil
}

// Closed takes note too.
func (k *keeper) Closed(s *segment.Segment) {
	l := (*Log)(k)
	l.dir.inUse.mu.Lock()
	delete(l.dir.inUse.logs, s)
	l.dir.inUse.mu.Unlock()
	l.dir.options.Files.count.Add(-1)
}

// openSegment is one of them.
type openSegment struct {
	segment *segment.Segment
	log     *Log
}

// list is the segments that are open now.
func (o *openSegments) list() []openSegment {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]openSegment, 0, len(o.logs))
	for s, l := range o.logs {
		list = append(list, openSegment{s, l})
	}
	return list
}

// closeIdle closes the files of the segments that nobody used since it looked last, when that is IdleAfter ago or too
// many are open, and says when to look again: never, while none is open.
func (d *LogDir) closeIdle(now time.Time) (next time.Time) {
	b, files := &d.background, d.options.Files
	crowded := files.crowded()
	if !crowded && now.Before(b.idle) {
		return b.idle
	}
	list := d.inUse.list()
	if len(list) == 0 {
		b.idle = time.Time{}
		return b.idle
	}
	first := b.idle.IsZero() && !crowded
	b.idle = now.Add(d.options.IdleAfter)
	if first {
		return b.idle // they were opened just now
	}
	for _, o := range list {
		if crowded && files.roomy() {
			break
		}
		if o.segment.Idle() {
			o.log.rest(o.segment)
		}
	}
	if files.crowded() {
		b.idle = now.Add(crowdedDelay)
	}
	return b.idle
}

// abandonOpen ends the segments whose files are open in a directory that has failed: nobody is given anything of them,
// and the other directories have a use for the descriptors.
func (d *LogDir) abandonOpen() {
	for _, o := range d.inUse.list() {
		if !o.log.append.TryLock() {
			continue // an append that began before
		}
		o.log.append.Unlock() // none begins any more
		if o.log.has(o.segment) {
			o.segment.Abandon()
		}
	}
}

// has says whether s is a segment of the log, and not of a cleaning or a deletion. A log that is being loaded has none
// yet.
func (l *Log) has(s *segment.Segment) bool {
	list := l.segments.Load()
	return list != nil && (*list)[find(*list, s.BaseOffset())] == s
}

// rest closes the file of a segment that is not used. What is not on the disk yet is to be flushed first, and the file
// is closed the next time. A segment that is not the log's is somebody else's: of a cleaning, or of a deletion.
func (l *Log) rest(s *segment.Segment) {
	if l.flushed.load() < l.logEnd.load() {
		l.AwaitFlush()
	}
	if !l.append.TryLock() {
		return // it is used
	}
	var closing func() error
	var err error
	if l.has(s) {
		closing, err = s.Rest()
	}
	l.append.Unlock()
	if closing != nil {
		_ = closing() // every byte was on the disk before
	}
	if err != nil && !vfs.Exhausted(err) {
		// The directory's state says so to everybody.
		_ = l.storageError(err)
	}
}

// restAll closes the files of a log that has just been loaded, and is nobody else's yet: most are not used soon.
func (r *loader) restAll() error {
	if r.pending {
		return nil
	}
	for _, s := range r.segments {
		if err := r.rest(s); err != nil {
			return err
		}
	}
	return nil
}

// rest closes the file of one segment, unless something in it is not on the disk yet, or the disk has no room for what
// that would write.
func (r *loader) rest(s *segment.Segment) error {
	closing, err := s.Rest()
	if err == nil && closing != nil {
		err = closing()
	}
	if vfs.Exhausted(err) {
		return nil
	}
	return err
}
