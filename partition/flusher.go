package partition

import (
	"sync"
	"sync/atomic"
)

// flusher is the group commit of a log directory: those who wait for a flush put their log on its list; each round
// takes the whole list and flushes every log on it once, whatever was appended meanwhile. Files are synced one by
// one, several at a time, so that the file system can join them in one commit of its journal: with 100 dirty files
// that takes a seventh of one after another. A syncfs was as fast as that, but waits for what others have written to
// the disk, and tells nothing of a single file's error.
type flusher struct {
	wake    chan struct{} // holds one signal: there is something to do
	stopped atomic.Bool

	// A round of several logs is shared with the workers, which live from Start on. A token in work asks one of them
	// to help with the round, until next is past its end.
	work    chan struct{}
	workers int
	round   []*Log
	next    atomic.Int64
	helping sync.WaitGroup

	mu     sync.Mutex
	wanted []*Log
	spare  []*Log // the list of the round before, to be filled again
}

func (f *flusher) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// enqueueFlush puts l on the list; the caller saw to it that it is not there yet.
func (d *LogDir) enqueueFlush(l *Log) {
	f := &d.flusher
	f.mu.Lock()
	first := len(f.wanted) == 0
	f.wanted = append(f.wanted, l)
	f.mu.Unlock()
	if first {
		f.signal()
	}
}

// take empties the list.
func (f *flusher) take() []*Log {
	f.mu.Lock()
	defer f.mu.Unlock()
	round := f.wanted
	f.wanted, f.spare = f.spare[:0], round
	return round
}

// PollFlush does one round of the group commit and reports whether there was anything to flush.
func (d *LogDir) PollFlush() bool {
	d.announceFailure()
	round := d.flusher.take()
	if len(round) == 0 {
		return false
	}
	started := d.env.Clock.Now()
	d.flushing.Store(started.UnixNano())
	d.flusher.flush(round)
	d.flushing.Store(0)
	took := d.took(started)
	d.stats.FlushRounds.Add(1)
	d.stats.FlushedLogs.Add(int64(len(round)))
	if d.options.FlushLatency != nil {
		d.options.FlushLatency(took)
	}
	clear(round)
	if d.background.sealed.Load() {
		d.background.signal()
	}
	d.announceFailure()
	return true
}

// flush flushes the logs of a round, with the help of as many workers as can have one.
func (f *flusher) flush(round []*Log) {
	f.round = round
	f.next.Store(0)
	for range min(f.workers, len(round)-1) {
		f.helping.Add(1)
		f.work <- struct{}{}
	}
	f.help()
	f.helping.Wait()
}

// help flushes logs of the round until none is left.
func (f *flusher) help() {
	for i := f.next.Add(1) - 1; i < int64(len(f.round)); i = f.next.Add(1) - 1 {
		f.round[i].flushWanted()
	}
}

// runWorker is a worker goroutine.
func (f *flusher) runWorker() {
	for range f.work {
		f.help()
		f.helping.Done()
	}
}

// flushWanted flushes a log of the list.
func (l *Log) flushWanted() {
	// Before the flush: who asks from now on may have appended what this flush does not see.
	l.wanted.Store(false)
	// An error took the directory offline, which is announced, or found the disk full, or says that the log is gone.
	_ = l.Flush()
}

// runFlusher is the flusher goroutine.
func (d *LogDir) runFlusher() {
	defer close(d.flusher.work)
	for range d.flusher.wake {
		for d.PollFlush() {
		}
		if d.flusher.stopped.Load() {
			return
		}
	}
}
