package partition

import (
	"sync"
	"sync/atomic"
)

// flusher is the group commit of a log directory: those who wait for a flush put their log on its list; each round takes
// the whole list and flushes every log on it once, whatever was appended meanwhile.
type flusher struct {
	wake    chan struct{} // holds one signal: there is something to do
	stopped atomic.Bool

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
	for i, l := range round {
		// Before the flush: who asks from now on may have appended what this flush does not see.
		l.wanted.Store(false)
		// An error took the directory offline, which is announced below, or says that the log is gone.
		_ = l.Flush()
		round[i] = nil
	}
	d.flushing.Store(0)
	took := d.took(started)
	d.stats.FlushRounds.Add(1)
	d.stats.FlushedLogs.Add(int64(len(round)))
	if d.options.FlushLatency != nil {
		d.options.FlushLatency(took)
	}
	d.announceFailure()
	return true
}

// runFlusher is the flusher goroutine.
func (d *LogDir) runFlusher() {
	for range d.flusher.wake {
		for d.PollFlush() {
		}
		if d.flusher.stopped.Load() {
			return
		}
	}
}
