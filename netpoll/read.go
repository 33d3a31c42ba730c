package netpoll

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// gatherMax is how much of a large frame one turn reads: as much as one turn sends.
	gatherMax = sendWindow
	// readBytesScarce is how much is read at once while the memory budget is spent: small frames are still served, and
	// a large one can be begun only, so each connection can exceed the budget by so much.
	readBytesScarce = 4 << 10
)

// read reads once from the socket, and delivers what that completes. The poller will say if there is more.
func (c *conn) read() {
	l := c.loop
	if c.blocked() || c.kept != nil || c.frames.stuck() && !c.feedFrame() {
		// The poller would go on telling; settle has it watch again once c may be read.
		l.account.paused.Add(1)
		c.watch(c.interest &^ interestRead)
		c.mark()
		return
	}
	space, chunk := c.room()
	n, err := l.readTo(c.fd, space, chunk)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		c.mute = true
		c.end(fmt.Errorf("netpoll: read: %w", err))
		return
	case n == 0:
		c.end(ErrPeerClosed)
		return
	}
	l.account.bytesIn.Add(int64(n))
	l.idle.refresh(c, l.now)
	c.mark()
	if len(space) > 0 {
		direct := min(n, len(space))
		if f := c.frames.received(direct); f != nil {
			c.deliver(f)
		}
		n -= direct
	}
	if n > 0 {
		c.consume(chunk[:n])
	}
}

// room is where to read to: the buffer of the frame under way, then the loop's. When memory is scarce only what has
// been charged is used for a frame under way, so that it gets stuck and waits for its turn.
func (c *conn) room() (space, chunk []byte) {
	space, chunk = c.frames.space(), c.loop.buffer
	scarce := c.loop.server.arena.budget.exhausted()
	switch {
	case scarce && len(space) > 0 || len(space) > gatherMax:
		return space[:min(len(space), gatherMax)], nil
	case scarce:
		return nil, chunk[:readBytesScarce]
	}
	return space, chunk
}

// feedFrame tries to get the memory that the frame under way needs to go on; otherwise c waits in line for it.
func (c *conn) feedFrame() bool {
	budget, lacking := &c.loop.server.arena.budget, c.frames.lacking()
	if c.frames.overdraws() {
		budget.force(lacking)
		c.frames.enlarge(true)
		return true
	}
	// Starved before it is in line: the grant may come before await returns.
	c.starved = true
	granted, overdraw := budget.await(c, lacking)
	if !granted {
		c.loop.account.starved.Add(1)
		return false
	}
	c.starved = false
	c.frames.enlarge(overdraw)
	return true
}

// consume delivers the frames that chunk completes, and keeps the bytes that cannot be delivered now.
func (c *conn) consume(chunk []byte) {
	rest := c.deliverAll(chunk)
	if len(rest) == 0 || c.ended.Load() {
		return
	}
	f := c.loop.server.arena.frames.Get().(*Frame)
	f.resize(len(rest), 0)
	f.arena.budget.force(f.charged)
	f.body = f.lent.B[:copy(f.lent.B, rest)]
	c.kept = f
}

// deliverKept delivers from the bytes that were kept, as far as it may; responses that come of it have c settled again.
func (c *conn) deliverKept() {
	if c.kept == nil || c.blocked() {
		return
	}
	c.kept.body = c.deliverAll(c.kept.body)
	if len(c.kept.body) == 0 {
		c.kept.recycle()
		c.kept = nil
	}
}

// deliverAll delivers the frames that chunk completes until the connection is blocked or ended, and returns the rest.
func (c *conn) deliverAll(chunk []byte) []byte {
	for len(chunk) > 0 && !c.blocked() && !c.ended.Load() {
		f, rest, err := c.frames.next(chunk, c.loop.view)
		if err != nil {
			c.end(err)
			return nil
		}
		if f != nil {
			c.deliver(f)
		}
		chunk = rest
	}
	return chunk
}

// deliver lends f to the handler and takes it back unless it was taken.
func (c *conn) deliver(f *Frame) {
	l := c.loop
	l.account.frames.Add(1)
	taken := &l.taken
	*taken, f.taken = false, taken
	l.server.handler.Frame(c, f)
	switch {
	case *taken && f == l.view:
		l.view = l.server.arena.frames.Get().(*Frame)
	case *taken:
	case f == l.view:
		f.body, f.taken = nil, nil
	default:
		f.recycle()
	}
}

// readTo reads into space and then into buffer, by one system call.
func (l *loop) readTo(fd int, space, buffer []byte) (int, error) {
	switch {
	case len(space) == 0:
		return unix.Read(fd, buffer)
	case len(buffer) == 0:
		return unix.Read(fd, space)
	}
	v := append(l.vector[:0], unix.Iovec{Base: &space[0]}, unix.Iovec{Base: &buffer[0]})
	v[0].SetLen(len(space))
	v[1].SetLen(len(buffer))
	n, _, errno := unix.Syscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)))
	clear(v)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
