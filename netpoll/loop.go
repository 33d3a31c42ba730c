package netpoll

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	gnet "github.com/panjf2000/gnet/v2/pkg/errors"
	epoll "github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"

	"spate/internal/invariant"
)

const (
	// readBytes is the loop's buffer. 256 KiB took a third less CPU than 64 KiB for frames of 128 KiB, and no more for
	// small ones.
	readBytes = 256 << 10
	// vectorMax is how many runs of bytes go into one system call: small responses of a turn, two runs each.
	vectorMax = 128
	// roundsMax is how often a turn looks for posted work again before it lets the sockets have a go: work that posts
	// more work must not starve them.
	roundsMax = 8
)

// loop serves its share of the connections on one goroutine. Everything in it is that goroutine's, but for the mailbox
// and the atomics.
type loop struct {
	server *Server
	poller *epoll.Poller
	wakeFD int // an eventfd, edge-triggered: never read, every write wakes

	conns map[int]*conn // by descriptor, for events only: an event's descriptor is that of an open connection
	dirty []*conn       // connections to be settled before the turn ends, each once
	idle  agenda        // all connections, by when something last moved
	begun agenda        // connections with a frame under way, by when it began
	now   int64         // the clock at the last tick, in nanoseconds since the server was made
	ended bool          // run returns after this turn
	// draining is set by shutdown: nothing is read any more, and connections close when nothing is due.
	draining bool
	cut      int // connections that abort closed
	// reading counts cold ranges that workers are reading in for connections of this loop, open or closed.
	reading int

	buffer  []byte // what is read, if not to a frame's own buffer
	view    *Frame // lent to Handler.Frame for a frame in buffer; replaced when it is taken
	taken   bool   // where the frame that is lent leaves word that it was taken
	account loopStats

	// Arguments of system calls, which must not be allocated for each.

	vector    []unix.Iovec // what collect has gathered
	header    unix.Msghdr
	offset    int64
	pages     []byte // mincore's answer
	pageBytes int64

	mailbox mailbox
	open    atomic.Int32 // connections given to this loop; the acceptor adds, the loop subtracts
	tickDue atomic.Int64 // when the tick that waits in the mailbox fired; 0 if none waits
}

func newLoop(s *Server) (*loop, error) {
	poller, err := epoll.OpenPoller()
	if err != nil {
		return nil, fmt.Errorf("netpoll: %w", err)
	}
	l := &loop{
		server:    s,
		poller:    poller,
		conns:     make(map[int]*conn),
		idle:      agenda{kind: byIdle},
		begun:     agenda{kind: byBegun},
		buffer:    make([]byte, readBytes),
		view:      &Frame{arena: s.arena},
		vector:    make([]unix.Iovec, 0, vectorMax),
		pages:     make([]byte, sendWindow/unix.Getpagesize()+1),
		pageBytes: int64(unix.Getpagesize()),
	}
	// An eventfd of our own instead of the poller's Trigger: that allocates for every call, and has its tasks run
	// before it looks at a socket again.
	if l.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		_ = poller.Close()
		return nil, fmt.Errorf("netpoll: eventfd: %w", err)
	}
	if err := poller.AddRead(&epoll.PollAttachment{FD: l.wakeFD}, true); err != nil {
		l.close()
		return nil, fmt.Errorf("netpoll: %w", err)
	}
	return l, nil
}

// run serves until shutdown has closed the last connection.
func (l *loop) run() {
	err := l.poller.Polling(l.turn)
	invariant.Check(l.ended, "a loop's poller failed: %v", err)
	for _, m := range l.mailbox.close() {
		m.handle()
	}
	l.mailbox.handleLate()
}

// close gives the descriptors back; the loop does not run.
func (l *loop) close() {
	_ = unix.Close(l.wakeFD)
	_ = l.poller.Close()
}

// turn handles one event and everything that was posted until then.
func (l *loop) turn(fd int, event epoll.IOEvent, _ epoll.IOFlags) error {
	l.mailbox.running.Store(true)
	if c := l.conns[fd]; c != nil {
		c.ready(event)
	}
	l.settle()
	if l.ended {
		return gnet.ErrEngineShutdown
	}
	return nil
}

// settle handles posted messages and dirty connections until there are none, or for roundsMax rounds.
func (l *loop) settle() {
	for range roundsMax {
		if !l.mailbox.empty() {
			l.handleMessages()
		}
		l.settleConns()
		if l.draining && len(l.conns) == 0 && l.reading == 0 {
			l.ended = true
		}
		if len(l.dirty) > 0 || !l.mailbox.empty() {
			continue
		}
		// A message that was put while running was true did not wake; so look again after having cleared it.
		l.mailbox.running.Store(false)
		if l.mailbox.empty() {
			return
		}
		l.mailbox.running.Store(true)
	}
	l.mailbox.running.Store(false)
	l.wake()
}

func (l *loop) handleMessages() {
	batch := l.mailbox.collect()
	for i := range batch {
		batch[i].handle()
	}
	clear(batch)
}

// settleConns settles the connections that were dirty when it began; those that become so meanwhile stay in the list.
func (l *loop) settleConns() {
	n := len(l.dirty)
	for i := range n {
		c := l.dirty[i]
		c.dirty = false
		c.settle()
	}
	rest := copy(l.dirty, l.dirty[n:])
	clear(l.dirty[rest:])
	l.dirty = l.dirty[:rest]
}

// post puts m into the mailbox and wakes the loop if need be. Once the loop has ended, m is handled here, unless
// another is being handled. Any goroutine.
func (l *loop) post(m message) {
	if !l.offer(m) {
		l.mailbox.handle(m)
	}
}

// offer is post for what need not be done any more once the loop has ended, when it returns false. Any goroutine.
func (l *loop) offer(m message) bool {
	wake, open := l.mailbox.put(m)
	if wake {
		l.wake()
		l.mailbox.woken()
	}
	return open
}

// one is what an eventfd is written. Its count need not be read: it overflows in some hundred thousand years.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// wake makes the poller return. Any goroutine that knows the loop to be open.
func (l *loop) wake() {
	l.account.wakes.Add(1)
	for {
		_, err := unix.Write(l.wakeFD, one)
		if err != unix.EINTR {
			return
		}
	}
}

// handle does what m asks for.
func (m *message) handle() {
	if m.task != nil {
		m.task.Run()
		return
	}
	m.conn.fill(m.ticket, m.response)
}

// tick is the task by which the server's timer has a loop look at its deadlines.
type tick loop

// post has the loop tick unless a tick waits already.
func (t *tick) post(at int64) {
	l := (*loop)(t)
	if l.tickDue.CompareAndSwap(0, at) {
		l.offer(message{task: t})
	}
}

// Run measures for how long the tick waited and closes connections whose time is up.
func (t *tick) Run() {
	l := (*loop)(t)
	due := l.tickDue.Swap(0)
	l.now = l.server.nanos()
	l.server.loopLag.Observe(time.Duration(l.now - due))
	l.expire()
}

// adoption is the task by which a loop gets a connection that was accepted.
type adoption conn

// Run announces the connection to the handler and begins to read it.
func (a *adoption) Run() {
	c := (*conn)(a)
	l := c.loop
	l.now = l.server.nanos() // a loop without connections does not tick
	if l.draining {
		c.refuse(ErrShutdown)
		return
	}
	if err := l.server.handler.Open(c); err != nil {
		c.refuse(err)
		return
	}
	if err := l.poller.AddRead(&epoll.PollAttachment{FD: c.fd}, false); err != nil {
		c.teardown(fmt.Errorf("netpoll: %w", err))
		return
	}
	c.interest = interestRead
	l.conns[c.fd] = c
	l.idle.add(c, l.now)
	c.mark()
}

// drain is the task that begins the shutdown of a loop.
type drain loop

// Run stops all reading; connections with nothing due close at once.
func (d *drain) Run() {
	l := (*loop)(d)
	l.draining = true
	for _, c := range l.conns {
		c.mark()
	}
}

// abort is the task that ends the shutdown of a loop, its time being up.
type abort loop

// Run closes every connection.
func (a *abort) Run() {
	l := (*loop)(a)
	l.cut = len(l.conns)
	for _, c := range l.conns {
		c.end(ErrShutdown)
	}
}
