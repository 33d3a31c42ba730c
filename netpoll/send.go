package netpoll

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// smallRange is the length below which a mapped file range is cheaper to send by the system call that sends its
	// header than by a sendfile of its own; measured, the two cost the same at 32 KiB.
	smallRange = 32 << 10
	// sendWindow is how much one turn sends on a connection, and how much of a cold range is read in at a time. It
	// takes a loop about a quarter of a millisecond.
	sendWindow = 1 << 20
)

// obstacle is why a run of bytes that one call can send ends where it does.
type obstacle uint8

const (
	nothingReady obstacle = iota // the next response is not complete, or is none
	vectorFull                   // more can follow at once
	fileRange                    // the next piece is to be sent from its file, and is in the page cache
	coldRange                    // the next piece is not in the page cache
)

// send writes what is ready until the socket is full, a cold range comes, or the turn's share is used up.
func (c *conn) send() {
	if c.awaitsWrite || c.readsIn() {
		return
	}
	for left := int64(sendWindow); left > 0; {
		c.popSent()
		if c.mute {
			return
		}
		next := c.collect()
		sent, more := c.sendVector(next)
		left -= sent
		if more && next == fileRange {
			sent, more = c.sendFile()
			left -= sent
		}
		switch {
		case !more || next == nothingReady:
			return
		case next == coldRange:
			c.readIn()
			return
		}
	}
	// The others first; EPOLLOUT will come at once.
	c.popSent()
	c.awaitsWrite = c.queue.ready()
}

// collect gathers in the loop's vector what one call can send: pieces in memory and mapped ranges, of as many responses
// as are ready.
func (c *conn) collect() obstacle {
	l := c.loop
	l.vector = l.vector[:0]
	piece, from, room := c.piece, c.sent, int64(sendWindow)
	for t := c.queue.oldest; c.queue.filled(t); t++ {
		r := c.queue.at(t).response
		if r == nil {
			continue
		}
		for ; piece < len(r.Pieces); piece++ {
			if len(l.vector) == vectorMax || room == 0 {
				return vectorFull
			}
			p := &r.Pieces[piece]
			n := min(p.size()-from, room)
			bytes := p.Bytes
			if bytes == nil && n > 0 {
				if !c.resident(p, from, min(p.size()-from, sendWindow)) { // all that sendFile would send
					return coldRange
				}
				if p.Mapped == nil || p.FD >= 0 && p.Length >= smallRange {
					return fileRange
				}
				bytes = p.Mapped
			}
			if n > 0 {
				run := bytes[from : from+n]
				v := unix.Iovec{Base: &run[0]}
				v.SetLen(len(run))
				l.vector = append(l.vector, v)
			}
			room -= n
			if from += n; from < p.size() {
				return vectorFull
			}
			from = 0
		}
		if r.Final != nil {
			return nothingReady
		}
		piece = 0
	}
	return nothingReady
}

// sendVector sends what collect has gathered, and reports how much went out and whether more can follow.
func (c *conn) sendVector(next obstacle) (sent int64, more bool) {
	l := c.loop
	if len(l.vector) == 0 {
		return 0, true
	}
	flags := unix.MSG_NOSIGNAL
	if next == fileRange {
		flags |= unix.MSG_MORE
	}
	l.account.vectorSends.Add(1)
	l.header.Iov = &l.vector[0]
	l.header.SetIovlen(len(l.vector))
	n, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&l.header)), uintptr(flags))
	var total int64
	for i := range l.vector {
		total += int64(l.vector[i].Len)
	}
	clear(l.vector)
	if errno != 0 {
		return 0, c.wrote("sendmsg", 0, total, errno)
	}
	return int64(n), c.wrote("sendmsg", int64(n), total, nil)
}

// sendFile sends from the file range that is next, and reports like sendVector.
func (c *conn) sendFile() (sent int64, more bool) {
	l := c.loop
	p := &c.queue.at(c.queue.oldest).response.Pieces[c.piece]
	total := min(p.Length-c.sent, sendWindow)
	l.offset = p.Offset + c.sent
	l.account.sendfiles.Add(1)
	n, err := unix.Sendfile(c.fd, p.FD, &l.offset, int(total))
	if n == 0 && err == nil {
		err = ErrFileShort
	}
	n = max(n, 0)
	l.account.sendfileBytes.Add(int64(n))
	return int64(n), c.wrote("sendfile", int64(n), total, err)
}

// wrote draws the consequences of a call that was to write total bytes and wrote n, and reports whether more can
// follow.
func (c *conn) wrote(call string, n, total int64, err error) bool {
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		c.awaitsWrite = true
		return false
	case err != nil:
		c.mute = true
		c.end(fmt.Errorf("netpoll: %s: %w", call, err))
		return false
	}
	c.loop.account.bytesOut.Add(n)
	c.loop.idle.refresh(c, c.loop.now)
	c.advance(n)
	c.awaitsWrite = n < total
	return n == total
}

// advance moves on by n bytes that were sent.
func (c *conn) advance(n int64) {
	for n > 0 {
		p := &c.queue.at(c.queue.oldest).response.Pieces[c.piece]
		step := min(n, p.size()-c.sent)
		c.sent += step
		n -= step
		c.popSent()
	}
}

// popSent moves past pieces that have been sent in full or are empty, and gives back responses that end with them.
func (c *conn) popSent() {
	for c.queue.ready() {
		r := c.queue.at(c.queue.oldest).response
		for r != nil && c.piece < len(r.Pieces) {
			if c.sent < r.Pieces[c.piece].size() {
				return
			}
			c.piece++
			c.sent = 0
		}
		c.queue.pop()
		c.piece = 0
		if r == nil {
			continue
		}
		final := r.Final
		r.release()
		if final != nil {
			c.mute = true
			c.end(final)
			return
		}
	}
}
