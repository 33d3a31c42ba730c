package netpoll

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"spate/internal/clock"
)

// A clock that is set by hand decides when timeouts are due. One that is within two ticks of its time may or may not
// have been taken to be due, so tests stay clear of that.

const (
	idleTimeout  = 10 * time.Minute
	frameTimeout = 30 * time.Second
	slack        = 2 * tickMax
)

func newTimedWorld(t *testing.T, frame func(c Conn, f *Frame)) (*world, *clock.Manual) {
	manual := clock.NewManual(time.Unix(1_000_000, 0))
	return newWorld(t, Options{Clock: manual, IdleTimeout: idleTimeout, FrameTimeout: frameTimeout}, frame), manual
}

// turnOver waits until c's loop has dealt with everything that was posted before, ticks included.
func (w *world) turnOver(c Conn) {
	w.Helper()
	w.do(c, func() {})
	w.do(c, func() {})
}

// TestIdleTimeout: a connection is closed when nothing has moved on it for so long, and not before.
func TestIdleTimeout(t *testing.T) {
	w, manual := newTimedWorld(t, echoer())
	idle, busy := w.dial(), w.dial()
	first, second := w.nextOpen(), w.nextOpen()
	for range 3 {
		manual.Advance(idleTimeout / 3)
		w.turnOver(first)
		busy.send([]byte("ping"))
		busy.expect("ping")
	}
	if first.Closed() || second.Closed() {
		t.Fatal("closed too early")
	}
	manual.Advance(slack)
	idle.expectEnd()
	end := w.nextEnd()
	if who := end.conn.RemoteAddr().String(); !errors.Is(end.reason, ErrIdle) || who != idle.LocalAddr().String() {
		t.Fatalf("%s was closed because: %v", who, end.reason)
	}
	manual.Advance(idleTimeout + slack)
	busy.expectEnd()
	if end := w.nextEnd(); !errors.Is(end.reason, ErrIdle) {
		t.Fatalf("closed because: %v", end.reason)
	}
}

// TestNotIdleWhileTheServerOwes: silence while a response is due, or while the owner has paused the connection, is not
// the client's, and is not counted against it.
func TestNotIdleWhileTheServerOwes(t *testing.T) {
	tickets := make(chan Ticket, 1)
	w, manual := newTimedWorld(t, func(c Conn, f *Frame) { tickets <- c.Reserve() })
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("a long poll"))
	ticket := await(t, tickets)
	manual.Advance(3 * idleTimeout)
	w.turnOver(conn)
	conn.Complete(ticket, answer("at last"))
	c.expect("at last")

	w.do(conn, conn.Pause)
	manual.Advance(3 * idleTimeout)
	w.turnOver(conn)
	w.do(conn, conn.Resume)
	if conn.Closed() {
		t.Fatal("closed although paused")
	}
	manual.Advance(idleTimeout + slack)
	c.expectEnd()
}

// TestStalledClient: one that takes nothing of its responses for the idle time is closed, for that reason.
func TestStalledClient(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 32<<20)
	w, manual := newTimedWorld(t, func(c Conn, _ *Frame) { c.Complete(c.Reserve(), answer(string(body))) })
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("fetch"))
	full := func() (full bool) {
		w.do(conn, func() { full = conn.(*conn_).awaitsWrite && conn.(*conn_).interest&interestWrite != 0 })
		return full
	}
	until(t, "the socket is full", full)
	manual.Advance(idleTimeout / 2)
	w.turnOver(conn)
	if conn.Closed() {
		t.Fatal("closed too early")
	}
	manual.Advance(idleTimeout + slack)
	if end := w.nextEnd(); !errors.Is(end.reason, ErrStalled) {
		t.Fatalf("closed because: %v", end.reason)
	}
}

// conn_ lets tests say conn for a Conn and still look inside.
type conn_ = conn

// TestFrameTimeout: a frame that was begun, at any of its bytes, has so long to be finished, however slowly bytes drip
// in; the time starts anew with the next frame; and frames that were finished do not count.
func TestFrameTimeout(t *testing.T) {
	for name, begin := range map[string][]byte{
		"one byte of the size":        {0},
		"the size only":               {0, 0, 1, 0},
		"half of the body":            appendFrame(nil, make([]byte, 200))[:100],
		"a frame, and half the next":  append(appendFrame(nil, []byte("whole")), 0, 0, 0, 100, 1, 2, 3),
		"half of a very large frame":  appendFrame(nil, make([]byte, 2<<20))[:1<<20],
		"all but the very last bytes": appendFrame(nil, make([]byte, 300_000))[:299_990],
	} {
		t.Run(name, func(t *testing.T) {
			w, manual := newTimedWorld(t, func(Conn, *Frame) {})
			c := w.dial()
			conn := w.nextOpen()
			arrived := int64(len(begin))
			c.sendRaw(begin)
			until(t, "it arrived", func() bool { return w.server.Stats().BytesIn == arrived })
			w.turnOver(conn)
			for range 5 {
				manual.Advance(frameTimeout / 5)
				w.turnOver(conn)
				c.sendRaw([]byte{1}) // dripping does not help
				arrived++
				until(t, "it arrived", func() bool { return w.server.Stats().BytesIn == arrived })
			}
			if conn.Closed() {
				t.Fatal("closed too early")
			}
			manual.Advance(slack)
			if end := w.nextEnd(); !errors.Is(end.reason, ErrFrameTimeout) {
				t.Fatalf("closed because: %v", end.reason)
			}
		})
	}
}

// TestFrameTimeoutStartsWithEachFrame: a client that is always in the middle of a frame, but finishes each in time, is
// served on; and so is one that is kept waiting by the server in the middle of a frame.
func TestFrameTimeoutStartsWithEachFrame(t *testing.T) {
	var frames atomic.Int64
	w, manual := newTimedWorld(t, func(Conn, *Frame) { frames.Add(1) })
	c := w.dial()
	conn := w.nextOpen()
	wire := appendFrame(nil, []byte("frame"))
	c.sendRaw(wire[:5])
	for i := range int64(6) {
		manual.Advance(frameTimeout / 2)
		w.turnOver(conn)
		c.sendRaw(append(bytes.Clone(wire[5:]), wire[:5]...))
		until(t, "a frame is in", func() bool { return frames.Load() == i+1 })
	}
	w.do(conn, conn.Pause)
	manual.Advance(5 * frameTimeout)
	w.turnOver(conn)
	w.do(conn, conn.Resume)
	manual.Advance(frameTimeout / 2)
	w.turnOver(conn)
	c.sendRaw(wire[5:])
	until(t, "the last frame is in", func() bool { return frames.Load() == 7 })
	if conn.Closed() {
		t.Fatal("closed")
	}
}

// TestLoopLag: every tick of a loop that has connections is measured; one that has none does not tick.
func TestLoopLag(t *testing.T) {
	w, manual := newTimedWorld(t, echoer())
	manual.Advance(10 * w.server.tick)
	w.dial()
	w.nextOpen()
	count := func() (n uint64) {
		for _, c := range w.server.Stats().LoopLag.Snapshot().Counts {
			n += c
		}
		return n
	}
	for i := range uint64(5) {
		manual.Advance(w.server.tick)
		until(t, "the tick is counted", func() bool { return count() == i+1 })
	}
}

// TestAgenda: connections stay in the order of their times, whatever comes and goes.
func TestAgenda(t *testing.T) {
	a := agenda{kind: byBegun}
	conns := make([]*conn, 5)
	for i := range conns {
		conns[i] = &conn{id: uint64(i)}
		a.add(conns[i], int64(i))
	}
	expect := func(ids ...uint64) {
		t.Helper()
		c, before := a.first, (*conn)(nil)
		for _, id := range ids {
			if c == nil || c.id != id || c.links[byBegun].previous != before {
				t.Fatalf("the agenda is not %v", ids)
			}
			before, c = c, c.links[byBegun].next
		}
		if c != nil || a.last != before {
			t.Fatalf("the agenda is longer than %v", ids)
		}
	}
	expect(0, 1, 2, 3, 4)
	a.remove(conns[2])
	a.remove(conns[2])
	expect(0, 1, 3, 4)
	a.refresh(conns[0], 5)
	expect(1, 3, 4, 0)
	a.refresh(conns[3], 3)
	expect(1, 3, 4, 0)
	a.remove(conns[0])
	a.remove(conns[1])
	expect(3, 4)
	a.remove(conns[4])
	a.remove(conns[3])
	expect()
	a.add(conns[2], 9)
	expect(2)
}
