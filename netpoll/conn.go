package netpoll

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	epoll "github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"

	"spate/internal/invariant"
)

var _ Conn = (*conn)(nil)

// conn is a connection on a loop.
type conn struct {
	loop     *loop
	id       uint64
	listener *listener
	remote   netip.AddrPort
	local    netip.AddrPort
	ended    atomic.Bool // set by Close on any goroutine, and when the connection is torn down

	// All below is the loop's.

	fd       int
	context  any
	interest interest // what the poller has been told
	links    [agendaCount]link
	dirty    bool  // in loop.dirty
	dead     bool  // torn down: the descriptor may be another's
	mute     bool  // nothing is to be sent any more: the socket failed, or the final response is out
	reason   error // when not nil the connection is torn down before the turn ends

	frames  assembler
	kept    *Frame // bytes that were read and could not be delivered yet; they come before what the socket has
	begun   uint64 // which frame is on the agenda loop.begun, counted as assembler.finished
	pauses  int    // calls of Pause less calls of Resume
	muting  muting
	starved bool // in the budget's line, or its grant is on the way
	loan    loan // the grant; written by granted while starved

	queue       queue
	piece       int   // of the oldest response: the piece to be sent next,
	sent        int64 // and how much of it has been
	awaitsWrite bool  // the socket was full; EPOLLOUT will tell
	cold        *coldRead
	vouched     bool // what is to be sent next has just been read in by a worker
}

// loan is memory that the budget has granted to a connection that waited for it.
type loan struct {
	bytes    int64
	overdraw bool
}

// interest is what the poller watches a connection for.
type interest uint8

const (
	interestRead interest = 1 << iota
	interestWrite
)

func (c *conn) ID() uint64                 { return c.id }
func (c *conn) Listener() string           { return c.listener.name }
func (c *conn) RemoteAddr() netip.AddrPort { return c.remote }
func (c *conn) LocalAddr() netip.AddrPort  { return c.local }
func (c *conn) Context() any               { return c.context }
func (c *conn) SetContext(context any)     { c.context = context }
func (c *conn) Closed() bool               { return c.ended.Load() }
func (c *conn) Reserve() Ticket            { return c.queue.reserve() }
func (c *conn) Skip(t Ticket)              { c.Complete(t, nil) }
func (c *conn) Post(t Task)                { c.loop.post(message{task: t}) }

func (c *conn) SetFrameBytesMax(n int) {
	c.frames.bytesMax = min(n, c.loop.server.options.FrameBytesMax)
}

func (c *conn) Complete(t Ticket, r *Response) {
	c.loop.post(message{conn: c, ticket: t, response: r})
}

func (c *conn) Pause() {
	c.pauses++
	c.mark()
}

func (c *conn) Resume() {
	c.pauses--
	invariant.Check(c.pauses >= 0, "a connection was resumed more often than paused")
	c.mark()
}

func (c *conn) Close(reason error) {
	if c.ended.CompareAndSwap(false, true) {
		c.loop.post(message{task: &closing{conn: c, reason: reason}})
	}
}

// closing is the task of Close.
type closing struct {
	conn   *conn
	reason error
}

// Run ends the connection.
func (t *closing) Run() { t.conn.end(t.reason) }

// fill completes a ticket, on the loop or when the loop has gone.
func (c *conn) fill(t Ticket, r *Response) {
	if c.dead {
		r.release()
		return
	}
	c.queue.fill(t, r)
	if r != nil {
		c.Mute(r.Mute)
	}
	c.mark()
}

// mark has c settled before the turn ends.
func (c *conn) mark() {
	if !c.dirty && !c.dead {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// end has c torn down before the turn ends; the first reason counts.
func (c *conn) end(reason error) {
	if c.reason == nil {
		c.reason = reason
	}
	c.ended.Store(true)
	c.mark()
}

// ready handles an event of the socket. It does not take the event's word for anything, as the event may be one of
// the connection that had this descriptor before: the system calls that follow tell what is true.
func (c *conn) ready(event epoll.IOEvent) {
	if c.awaitsWrite && event&(epoll.WriteEvents|epoll.ErrEvents) != 0 {
		c.awaitsWrite = false
		c.mark()
	}
	if c.interest&interestRead != 0 && event&(epoll.ReadEvents|epoll.ErrEvents) != 0 {
		c.read()
	}
}

// settle does what became possible or due in this turn: it sends, delivers what was kept, and closes.
func (c *conn) settle() {
	if c.dead {
		return
	}
	if !c.mute {
		c.send()
	}
	if c.reason == nil {
		c.deliverKept()
	}
	if c.reason == nil && c.loop.draining && c.queue.due() == 0 {
		c.reason = ErrShutdown
	}
	if c.reason != nil {
		c.teardown(c.reason)
		return
	}
	c.keepTime()
	want := c.interest & interestRead
	if !c.blocked() {
		want = interestRead
	}
	if c.awaitsWrite {
		want |= interestWrite
	}
	c.watch(want)
}

// blocked reports whether no frame may be delivered now. Whatever changes the answer to no marks the connection.
func (c *conn) blocked() bool {
	o := &c.loop.server.options
	return c.pauses > 0 || !c.muting.until.IsZero() || c.starved || c.reason != nil || c.loop.draining ||
		c.queue.due() >= o.InFlightMax || c.queue.waiting >= o.QueueBytesMax
}

// owes reports whether it is the server's turn to do something for c, so that silence is not the client's fault.
func (c *conn) owes() bool {
	return c.pauses > 0 || c.starved || c.readsIn() || c.queue.due() > 0 && !c.awaitsWrite
}

// keepTime sees to it that c is on the agenda of begun frames if, and only if, a frame is under way and nothing but the
// client keeps it from being read. A client that does not read, and so blocks its own overdrawn frame, keeps others
// from overdrawing: its time goes on.
func (c *conn) keepTime() {
	agenda := &c.loop.begun
	counts := !c.blocked() || c.frames.overdraws() && c.awaitsWrite
	if !c.frames.underway() || !counts {
		agenda.remove(c)
		return
	}
	if c.links[byBegun].listed && c.begun == c.frames.finished {
		return
	}
	agenda.remove(c)
	agenda.add(c, c.loop.now)
	c.begun = c.frames.finished
}

// watch tells the poller what to watch c for, if that has changed.
func (c *conn) watch(want interest) {
	if want == c.interest {
		return
	}
	if err := c.tellPoller(want); err != nil {
		c.teardown(fmt.Errorf("netpoll: %w", err))
		return
	}
	c.interest = want
}

func (c *conn) tellPoller(want interest) error {
	poller, target := c.loop.poller, &epoll.PollAttachment{FD: c.fd}
	if c.interest != 0 && want&interestRead == 0 {
		// The poller cannot change its mind to nothing, or to writing only.
		if err := poller.Delete(c.fd); err != nil {
			return err
		}
		c.interest = 0
	}
	switch {
	case want == 0:
		return nil
	case want == interestWrite:
		return poller.AddWrite(target, false)
	case want == interestRead && c.interest == 0:
		return poller.AddRead(target, false)
	case want == interestRead:
		return poller.ModRead(target, false)
	case c.interest == 0:
		return poller.AddReadWrite(target, false)
	default:
		return poller.ModReadWrite(target, false)
	}
}

// granted is called by the budget, on any goroutine, when c's turn in the line has come.
func (c *conn) granted(bytes int64, overdraw bool) {
	c.loan = loan{bytes: bytes, overdraw: overdraw}
	c.loop.post(message{task: (*grant)(c)})
}

// grant is the task by which a connection gets the memory that it waited for.
type grant conn

// Run enlarges the buffer of the frame under way, or gives the loan back.
func (g *grant) Run() {
	c := (*conn)(g)
	if c.dead {
		c.loop.server.arena.budget.release(c.loan.bytes, c.loan.overdraw)
		return
	}
	c.starved = false
	c.frames.enlarge(c.loan.overdraw)
	c.mark()
}

// teardown closes the socket and gives everything back, except what a worker is reading from.
func (c *conn) teardown(reason error) {
	l := c.loop
	c.dead = true
	c.ended.Store(true)
	delete(l.conns, c.fd)
	_ = unix.Close(c.fd)
	l.idle.remove(c)
	l.begun.remove(c)
	c.muting.stop()
	if c.starved && l.server.arena.budget.leave(c) {
		c.starved = false
	}
	c.frames.drop()
	if c.kept != nil {
		c.kept.recycle()
		c.kept = nil
	}
	if !c.readsIn() {
		c.releaseQueue()
	}
	c.leave()
	l.account.closed.Add(1)
	l.server.handler.Closed(c, reason)
}

// releaseQueue gives back all filled responses; those that are not are given back when they are completed.
func (c *conn) releaseQueue() {
	for t := c.queue.oldest; t < c.queue.next; t++ {
		s := c.queue.at(t)
		s.response.release()
		s.response = nil
	}
}

// refuse closes a connection that the handler has not seen.
func (c *conn) refuse(reason error) {
	c.dead = true
	c.ended.Store(true)
	c.loop.server.refused(reason, c.remote)
	c.leave()
	_ = unix.Close(c.fd)
}

// leave counts c out of its loop and of the limits.
func (c *conn) leave() {
	c.loop.open.Add(-1)
	c.loop.server.limits.leave(c.remote.Addr())
}
