package netpoll

import (
	"bytes"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"spate/internal/clock"
)

// Goal: a muted connection delivers nothing until its time is over, not even what has been read, loses nothing, and
// still sends. Method: a clock that is set by hand.

// muted starts a server that answers each frame by itself, and mutes the connection with each for so long.
func muted(t *testing.T, o Options, d time.Duration) (*world, *clock.Manual, *atomic.Int64) {
	manual := clock.NewManual(time.Unix(1_000_000, 0))
	o.Clock = manual
	var frames atomic.Int64
	pool := newReplies()
	w := newWorld(t, o, func(c Conn, f *Frame) {
		frames.Add(1)
		c.Mute(d)
		c.Complete(c.Reserve(), echoOf(pool, bytes.Clone(f.Bytes())))
	})
	return w, manual, &frames
}

func TestAMutedConnectionDeliversNothing(t *testing.T) {
	w, manual, frames := muted(t, Options{}, time.Second)
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("one"), []byte("two"), []byte("three")) // read at once
	for i, want := range []string{"one", "two", "three"} {
		c.expect(want) // sent although the connection is muted
		c.send([]byte("later"))
		w.turnOver(conn)
		manual.Advance(time.Second - time.Millisecond)
		w.turnOver(conn)
		if n := frames.Load(); n != int64(i+1) {
			t.Fatalf("%d frames were delivered, want %d", n, i+1)
		}
		manual.Advance(time.Millisecond)
	}
	for range 3 {
		c.expect("later")
		w.turnOver(conn)
		manual.Advance(time.Second)
	}
	if n := w.server.Stats().Muted; n != 6 {
		t.Errorf("muted %d times", n)
	}
}

// TestResponsesMute: as a response may be completed elsewhere, it can bring the time along.
func TestResponsesMute(t *testing.T) {
	manual := clock.NewManual(time.Unix(1_000_000, 0))
	var frames atomic.Int64
	w := newWorld(t, Options{Clock: manual}, func(c Conn, _ *Frame) {
		frames.Add(1)
		r := answer("answer")
		r.Mute = time.Second
		c.Complete(c.Reserve(), r)
	})
	c := w.dial()
	conn := w.nextOpen()
	for i := range int64(3) {
		c.send([]byte("ask"))
		if i > 0 {
			w.turnOver(conn)
			if frames.Load() != i {
				t.Fatalf("%d frames were delivered", frames.Load())
			}
			manual.Advance(time.Second)
		}
		c.expect("answer")
	}
}

func TestTheLongestMuteCounts(t *testing.T) {
	manual := clock.NewManual(time.Unix(1_000_000, 0))
	w := newWorld(t, Options{Clock: manual}, echoer())
	c := w.dial()
	conn := w.nextOpen()
	w.do(conn, func() {
		conn.Mute(time.Second)
		conn.Mute(3 * time.Second)
		conn.Mute(2 * time.Second)
		conn.Mute(0)
		conn.Mute(-1)
	})
	c.send([]byte("hello"))
	echoed := func() bool { return w.server.Stats().Frames > 0 }
	for range 2 {
		manual.Advance(1400 * time.Millisecond)
		w.turnOver(conn)
		if echoed() {
			t.Fatal("the connection is not muted any more")
		}
	}
	manual.Advance(200 * time.Millisecond)
	c.expect("hello")
}

// TestMuteAndPause: a connection goes on when neither holds it.
func TestMuteAndPause(t *testing.T) {
	manual := clock.NewManual(time.Unix(1_000_000, 0))
	w := newWorld(t, Options{Clock: manual}, echoer())
	c := w.dial()
	conn := w.nextOpen()
	w.do(conn, func() { conn.Mute(time.Second); conn.Pause() })
	c.send([]byte("hello"))
	manual.Advance(2 * time.Second)
	w.turnOver(conn)
	if w.server.Stats().Frames > 0 {
		t.Fatal("a paused connection goes on when it is muted no more")
	}
	w.do(conn, conn.Resume)
	c.expect("hello")
}

// TestMutedForTooLong: who has to wait for longer than a connection may be idle loses it, so that clients who have gone
// do not keep descriptors; and one that ends while it is muted leaves nothing behind.
func TestMutedForTooLong(t *testing.T) {
	w, manual, _ := muted(t, Options{IdleTimeout: idleTimeout}, 24*time.Hour)
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("hello"))
	c.expect("hello")
	w.turnOver(conn)
	manual.Advance(idleTimeout + slack)
	c.expectEnd()
	if end := w.nextEnd(); !errors.Is(end.reason, ErrIdle) {
		t.Fatalf("closed because: %v", end.reason)
	}
	manual.Advance(24 * time.Hour)
	w.turnOver(conn)
}

func TestNewcomersThatComeTooFast(t *testing.T) {
	manual := clock.NewManual(time.Unix(1_000_000, 0))
	var wait, refuse atomic.Int64
	asked := make(chan netip.Addr, 16)
	verdict := func(ip netip.Addr) (time.Duration, time.Duration) {
		asked <- ip
		return time.Duration(wait.Load()), time.Duration(refuse.Load())
	}
	w := newWorld(t, Options{Clock: manual, ConnectionsPerIPMax: 3, Newcomers: verdict}, echoer())
	first := w.dial()
	if ip := await(t, asked); ip != netip.MustParseAddr("127.0.0.1") {
		t.Fatalf("asked about %s", ip)
	}
	first.send([]byte("one"))
	first.expect("one")

	// One that is refused is closed when its time is up, and counts for no limit.
	refuse.Store(int64(time.Second))
	for range 4 {
		timers := manual.Pending()
		refused := w.dial()
		await(t, asked)
		until(t, "the timer runs", func() bool { return manual.Pending() > timers })
		manual.Advance(time.Second)
		refused.expectEnd()
	}
	if n := w.server.Stats().RefusedRate; n != 4 {
		t.Errorf("%d were refused", n)
	}
	refuse.Store(0)

	// One that has to wait is served then, and those after it too.
	wait.Store(int64(time.Second))
	timers := manual.Pending()
	second := w.dial()
	second.send([]byte("two"))
	await(t, asked)
	until(t, "it waits", func() bool { return w.server.Stats().DelayedRate == 1 && manual.Pending() > timers })
	wait.Store(0)
	third := w.dial()
	third.send([]byte("three"))
	if n := w.server.Stats().Accepted; n != 1 {
		t.Errorf("%d were taken in", n)
	}
	manual.Advance(time.Second)
	second.expect("two")
	third.expect("three")
}
