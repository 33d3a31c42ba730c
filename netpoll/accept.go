package netpoll

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	gnet "github.com/panjf2000/gnet/v2/pkg/errors"
	epoll "github.com/panjf2000/gnet/v2/pkg/netpoll"
	tasks "github.com/panjf2000/gnet/v2/pkg/queue"
	"golang.org/x/sys/unix"

	"spate/internal/clock"
	"spate/internal/invariant"
)

const (
	// acceptMax is how many newcomers of one listener are taken before the others have their turn.
	acceptMax = 64
	// acceptPause is for how long a listener is left alone when accepting fails and nothing can be done about it: the
	// newcomers wait in the kernel's queue, and the acceptor does not spin.
	acceptPause = 100 * time.Millisecond
	// warnEvery is how often a refusal is logged at most; the counters have them all.
	warnEvery = 10 * time.Second
)

// acceptor takes newcomers from all listeners, on a goroutine of its own, so that a storm of them does not hold up the
// loops.
type acceptor struct {
	server    *Server
	poller    *epoll.Poller
	listeners map[int]*listener // by descriptor
	account   acceptStats
	// spare is a descriptor kept to be given up when the process has no more: then a newcomer can be accepted and
	// closed, instead of being reported by the poller over and over. It is -1 while it could not be had back.
	spare  int
	paused map[int]*pausing    // listeners that are left alone
	held   map[int]clock.Timer // connections that are refused and not closed yet, and what closes them
	ids    uint64              // connections accepted; each gets its number

	mu     sync.Mutex
	closed bool // the poller's descriptors are closed
}

func newAcceptor(s *Server) (*acceptor, error) {
	poller, err := epoll.OpenPoller()
	if err != nil {
		return nil, fmt.Errorf("netpoll: %w", err)
	}
	a := &acceptor{
		server: s, poller: poller, listeners: make(map[int]*listener),
		paused: make(map[int]*pausing), held: make(map[int]clock.Timer),
	}
	a.spare = -1
	if err := a.openSpare(); err != nil {
		_ = poller.Close()
		return nil, fmt.Errorf("netpoll: eventfd: %w", err)
	}
	return a, nil
}

// add has the acceptor serve li once it runs.
func (a *acceptor) add(li *listener) error {
	if err := a.poller.AddRead(&epoll.PollAttachment{FD: li.fd}, false); err != nil {
		return fmt.Errorf("netpoll: listener %s: %w", li.name, err)
	}
	a.listeners[li.fd] = li
	return nil
}

// run accepts until stop.
func (a *acceptor) run() {
	err := a.poller.Polling(a.accept)
	invariant.Check(errors.Is(err, gnet.ErrEngineShutdown), "the acceptor's poller failed: %v", err)
}

// stop ends run; any goroutine.
func (a *acceptor) stop() {
	a.trigger(func(any) error { return gnet.ErrEngineShutdown }, nil)
}

// trigger has f called with param on the acceptor's goroutine, unless it has been closed; any goroutine. The lock is
// held during the call, which does not block, for the descriptor not to become another's before it is written to.
func (a *acceptor) trigger(f tasks.Func, param any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	err := a.poller.Trigger(tasks.HighPriority, f, param)
	invariant.Check(err == nil, "the acceptor cannot be woken: %v", err)
}

// close gives all descriptors back; run has returned.
func (a *acceptor) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for fd, li := range a.listeners {
		if p := a.paused[fd]; p != nil {
			p.timer.Stop()
			if p.waits {
				_ = unix.Close(p.fd)
			}
		}
		_ = unix.Close(li.fd)
	}
	for fd, timer := range a.held {
		timer.Stop()
		_ = unix.Close(fd)
	}
	if a.spare >= 0 {
		_ = unix.Close(a.spare)
	}
	_ = a.poller.Close()
}

// accept handles one event: newcomers at the listener fd.
func (a *acceptor) accept(fd int, _ epoll.IOEvent, _ epoll.IOFlags) error {
	li := a.listeners[fd]
	for range acceptMax {
		client, where, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			goesOn := a.welcome(li, client, fromSockaddr(where))
			if a.spare < 0 {
				_ = a.openSpare() // else the next shortage pauses the listener until it works
			}
			if !goesOn {
				return nil
			}
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR || fromClient(err):
		case err == unix.EMFILE || err == unix.ENFILE:
			if !a.turnAway(li) {
				return nil
			}
		default:
			a.server.options.Log.Error("cannot accept connections", "listener", li.name, "error", err)
			a.pause(li, acceptPause)
			return nil
		}
	}
	return nil
}

// fromClient reports whether an error of accept is that of a newcomer who has gone meanwhile; the next may be fine.
func fromClient(err error) bool {
	switch err {
	case unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET,
		unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.EPERM:
		return true
	}
	return false
}

// welcome takes a newcomer in unless a limit is in the way, and reports whether the listener's next may follow at once.
func (a *acceptor) welcome(li *listener, fd int, remote netip.AddrPort) (goesOn bool) {
	s := a.server
	if err := s.limits.admit(remote.Addr()); err != nil {
		s.refused(err, remote)
		_ = unix.Close(fd)
		return true
	}
	if s.options.Newcomers != nil {
		wait, refuse := s.options.Newcomers(remote.Addr())
		switch {
		case refuse > 0:
			a.hold(fd, remote, refuse)
			return true
		case wait > 0:
			a.account.delayedRate.Add(1)
			if p := a.pause(li, wait); p != nil {
				p.waits, p.fd, p.remote = true, fd, remote
				return false
			}
		}
	}
	a.seat(li, fd, remote)
	return true
}

// heldMax bounds the connections that are refused and not closed yet: each is a descriptor, for a second or so. Those
// past it are closed at once.
const heldMax = 1 << 10

// hold refuses a newcomer, and closes its connection only after a while, so that it does not come again at once.
func (a *acceptor) hold(fd int, remote netip.AddrPort, d time.Duration) {
	a.server.limits.leave(remote.Addr())
	a.server.refused(ErrConnectionRate, remote)
	if len(a.held) >= heldMax {
		_ = unix.Close(fd)
		return
	}
	a.held[fd] = a.server.options.Clock.AfterFunc(d, func() { a.trigger(a.dismiss, fd) })
}

// dismiss closes a connection that was refused; it runs on the acceptor's goroutine.
func (a *acceptor) dismiss(param any) error {
	fd := param.(int)
	delete(a.held, fd)
	_ = unix.Close(fd)
	return nil
}

// seat gives a newcomer to the loop with the fewest connections.
func (a *acceptor) seat(li *listener, fd int, remote netip.AddrPort) {
	s := a.server
	local, err := localAddress(fd)
	if err != nil {
		local = li.address
	}
	target := s.loops[0]
	for _, l := range s.loops[1:] {
		if l.open.Load() < target.open.Load() {
			target = l
		}
	}
	target.open.Add(1)
	target.server.ticking.wake(target.server)
	a.ids++
	a.account.accepted.Add(1)
	c := &conn{loop: target, id: a.ids, listener: li, remote: remote, local: local, fd: fd}
	c.frames = assembler{arena: s.arena, bytesMax: s.options.FrameBytesMax}
	target.post(message{task: (*adoption)(c)})
}

// turnAway accepts and closes one newcomer, the process being out of descriptors, and reports whether it could.
func (a *acceptor) turnAway(li *listener) bool {
	if a.spare < 0 && a.openSpare() != nil {
		a.pause(li, acceptPause)
		return false
	}
	_ = unix.Close(a.spare)
	a.spare = -1
	client, where, err := unix.Accept4(li.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err == nil {
		a.server.refused(ErrDescriptors, fromSockaddr(where))
		_ = unix.Close(client)
	}
	_ = a.openSpare()
	return err == nil
}

// openSpare gets the spare descriptor; what it stands for does not matter.
func (a *acceptor) openSpare() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	a.spare = fd
	return nil
}

// pausing is what there is to know of a listener that is left alone.
type pausing struct {
	timer clock.Timer // ends it
	// A newcomer may have been accepted that is taken in only then.
	waits  bool
	fd     int
	remote netip.AddrPort
	// again says that the poller has refused the listener before, and that it was said.
	again bool
}

// pause leaves a listener alone for a while; nil if that cannot be.
func (a *acceptor) pause(li *listener, d time.Duration) *pausing {
	if err := a.poller.Delete(li.fd); err != nil {
		a.server.options.Log.Error("cannot pause a listener", "listener", li.name, "error", err)
		return nil
	}
	return a.leave(li, d)
}

// leave has a listener that the poller does not watch served again after a while.
func (a *acceptor) leave(li *listener, d time.Duration) *pausing {
	p := new(pausing)
	a.paused[li.fd] = p
	p.timer = a.server.options.Clock.AfterFunc(d, func() { a.trigger(a.unpause, li) })
	return p
}

// unpause serves a listener again; it runs on the acceptor's goroutine.
func (a *acceptor) unpause(param any) error {
	li := param.(*listener)
	p := a.paused[li.fd]
	delete(a.paused, li.fd)
	if p.waits {
		a.seat(li, p.fd, p.remote)
	}
	if err := a.poller.AddRead(&epoll.PollAttachment{FD: li.fd}, false); err != nil {
		if !p.again {
			a.server.options.Log.Error("cannot serve a listener now", "listener", li.name, "error", err)
		}
		a.leave(li, acceptPause).again = true
	}
	return nil
}
