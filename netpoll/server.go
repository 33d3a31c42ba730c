package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"spate/internal/clock"
	"spate/internal/metrics"
	"spate/internal/task"
	"spate/internal/vfs"
)

// Server accepts connections on its listeners and serves them on its loops. Make it with New, then Listen, Start and in
// the end Shutdown, on one goroutine; Stats may be called on any.
type Server struct {
	options  Options
	handler  Handler
	arena    *arena
	limits   *limits
	readers  *readers
	acceptor *acceptor
	loops    []*loop
	epoch    time.Time // what nanos counts from
	tick     time.Duration
	loopLag  *metrics.Histogram
	warnings warnings
	// cached is vfs.Cached; a test puts one here that does not know.
	cached func(fd int, off, length int64) (cached, known bool)

	started   bool
	stopped   bool
	accepting task.Group
	looping   task.Group
	ticking   ticker
}

// New makes a server whose connections are h's. It holds descriptors until Shutdown.
func New(o Options, h Handler) (*Server, error) {
	o = o.withDefaults()
	s := &Server{
		options: o,
		handler: h,
		arena:   newArena(o.MemoryBytesMax),
		limits:  newLimits(o),
		readers: newReaders(),
		cached:  vfs.Cached,
		epoch:   o.Clock.Now(),
		tick:    o.tick(),
		loopLag: o.LoopLag,
	}
	var err error
	if s.acceptor, err = newAcceptor(s); err != nil {
		return nil, err
	}
	for range o.Loops {
		l, err := newLoop(s)
		if err != nil {
			s.closeDescriptors()
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// Listen opens a listener and returns its address. address is host:port; host may be an address of either kind, a name,
// or empty for every address that the machine has; port 0 takes a free one. Newcomers wait until Start.
func (s *Server) Listen(name, address string) (netip.AddrPort, error) {
	if s.started || s.stopped {
		return netip.AddrPort{}, errors.New("netpoll: Listen after Start")
	}
	li, err := listen(name, address, s.options)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if err := s.acceptor.add(li); err != nil {
		_ = unix.Close(li.fd)
		return netip.AddrPort{}, err
	}
	return li.address, nil
}

// Start begins to serve.
func (s *Server) Start() error {
	if s.started || s.stopped {
		return errors.New("netpoll: Start was called before")
	}
	s.started = true
	s.readers.start(s.options.Workers)
	for i, l := range s.loops {
		s.looping.Go(fmt.Sprintf("netpoll loop %d", i), l.run)
	}
	s.ticking.start(s)
	s.accepting.Go("netpoll acceptor", s.acceptor.run)
	return nil
}

// Shutdown accepts and reads no more, lets responses that are due be completed and sent until ctx ends, then closes
// every connection and joins all goroutines. It returns ctx's error if connections were cut for that. What is due must
// be completed by its owners meanwhile; tickets that are completed later just give their responses back.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.stopped {
		return nil
	}
	s.stopped = true
	if !s.started {
		s.closeDescriptors()
		return nil
	}
	s.acceptor.stop()
	s.accepting.Wait()
	for _, l := range s.loops {
		l.post(message{task: (*drain)(l)})
	}
	err := s.awaitLoops(ctx)
	s.ticking.stop()
	s.readers.close()
	s.closeDescriptors()
	return err
}

// awaitLoops returns when all loops have ended; when ctx ends it makes them.
func (s *Server) awaitLoops(ctx context.Context) error {
	var watch task.Group
	ended := make(chan struct{})
	watch.Go("netpoll shutdown", func() {
		select {
		case <-ended:
		case <-ctx.Done():
			for _, l := range s.loops {
				l.offer(message{task: (*abort)(l)})
			}
		}
	})
	s.looping.Wait()
	close(ended)
	watch.Wait()
	for _, l := range s.loops {
		if l.cut > 0 {
			return ctx.Err()
		}
	}
	return nil
}

func (s *Server) closeDescriptors() {
	s.acceptor.close()
	for _, l := range s.loops {
		l.close()
	}
}

// nanos is the time since the server was made.
func (s *Server) nanos() int64 { return int64(s.options.Clock.Now().Sub(s.epoch)) }

// refused counts a connection that was not to be, and logs it unless that kind was logged a moment ago. Any goroutine.
func (s *Server) refused(reason error, remote netip.AddrPort) {
	s.acceptor.account.countRefused(reason)
	if s.warnings.due(s.nanos()) {
		s.options.Log.Warn("connection refused", "remote", remote, "reason", reason)
	}
}

// warnings spaces out what is logged about refused connections, of which there can be thousands a second.
type warnings struct{ next atomic.Int64 }

// due reports whether it is time for another one.
func (w *warnings) due(now int64) bool {
	next := w.next.Load()
	return now >= next && w.next.CompareAndSwap(next, now+int64(warnEvery))
}

// ticker has the loops tick that have connections, by one timer, which rests while there is none.
type ticker struct {
	mu      sync.Mutex
	timer   clock.Timer
	resting bool
	stopped bool
}

func (t *ticker) start(s *Server) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = s.options.Clock.AfterFunc(s.tick, func() { t.fire(s) })
}

// fire rearms before it posts, so that a clock which is advanced by hand ticks as often as it would have.
func (t *ticker) fire(s *Server) {
	t.mu.Lock()
	if t.stopped {
		t.mu.Unlock()
		return
	}
	busy := func(l *loop) bool { return l.open.Load() > 0 }
	if t.resting = !slices.ContainsFunc(s.loops, busy); !t.resting {
		t.timer.Reset(s.tick)
	}
	t.mu.Unlock()
	now := s.nanos()
	for _, l := range s.loops {
		if busy(l) {
			(*tick)(l).post(now)
		}
	}
}

// wake has the timer run again: a loop was given a connection.
func (t *ticker) wake(s *Server) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.resting && !t.stopped {
		t.resting = false
		t.timer.Reset(s.tick)
	}
}

func (t *ticker) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.timer.Stop()
}
