package partition

import (
	"sync"
	"sync/atomic"

	"spate/segment"
)

// writeback has the kernel begin to write out what was appended, so that it never has much to write at once. Its own
// goroutine does that: the call waits while the disk's queue is full. On an event loop that was 20 ms a few times a
// second, at 10 MB/s.
type writeback struct {
	wake    chan struct{} // holds one signal: there is something to do
	stopped atomic.Bool

	mu     sync.Mutex
	behind []*segment.Segment // each once
	spare  []*segment.Segment // the list of the round before, to be filled again
}

func (w *writeback) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// startWriteback puts s on the list. Any goroutine.
func (d *LogDir) startWriteback(s *segment.Segment) {
	w := &d.writeback
	w.mu.Lock()
	w.behind = append(w.behind, s)
	w.mu.Unlock()
	w.signal()
}

// PollWriteback starts the writeback of what is on the list. One goroutine calls it.
func (d *LogDir) PollWriteback() {
	w := &d.writeback
	w.mu.Lock()
	round := w.behind
	w.behind, w.spare = w.spare[:0], round
	w.mu.Unlock()
	for _, s := range round {
		s.StartWriteback()
	}
	clear(round)
}

// runWriteback is the goroutine of the writeback.
func (d *LogDir) runWriteback() {
	for range d.writeback.wake {
		if d.writeback.stopped.Load() {
			return
		}
		d.PollWriteback()
	}
}
