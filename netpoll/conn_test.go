package netpoll

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
)

// TestEcho: frames go in and come out, on two loops at once.
func TestEcho(t *testing.T) {
	w := newWorld(t, Options{Loops: 2}, echoer())
	first, second := w.dial(), w.dial()
	for _, body := range []string{"a", "two", "the third"} {
		first.send([]byte(body))
		second.send([]byte(body), []byte("more"))
		first.expect(body)
		second.expect(body)
		second.expect("more")
	}
}

// TestClose: the owner can end a connection from any goroutine; complete responses are still offered, the rest is given
// back, frames behind are not delivered, and the first reason counts.
func TestClose(t *testing.T) {
	why := errors.New("unsupported request")
	var frames, released atomic.Int64
	w := newWorld(t, Options{}, func(c Conn, f *Frame) {
		frames.Add(1)
		r := answer("answer")
		r.Owner = releaseFunc(func() { released.Add(1) })
		if string(f.Bytes()) == "bad" {
			c.Reserve() // never completed
			c.Complete(c.Reserve(), r)
			c.Close(why)
			c.Close(errors.New("again"))
			return
		}
		c.Complete(c.Reserve(), r)
	})
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("good"), []byte("bad"), []byte("not looked at"))
	c.expect("answer")
	c.expectEnd()
	if end := w.nextEnd(); !errors.Is(end.reason, why) || end.conn != conn {
		t.Fatalf("closed because: %v", end.reason)
	}
	if !conn.Closed() || frames.Load() != 2 || released.Load() != 2 {
		t.Fatalf("closed %v, %d frames, %d released", conn.Closed(), frames.Load(), released.Load())
	}
	done := make(chan bool)
	conn.Post(taskFunc(func() { done <- conn.Closed() }))
	if !<-done {
		t.Fatal("a task did not see the connection closed")
	}
	conn.Close(ErrIdle)
}

// TestPeerVanishes: a reset, in whatever state the connection is, ends it and gives everything back.
func TestPeerVanishes(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 16<<20)
	for name, state := range map[string]func(c *client, conn Conn){
		"when idle":                  func(*client, Conn) {},
		"in the middle of a frame":   func(c *client, _ Conn) { c.sendRaw([]byte{0, 0, 0, 9, 1}) },
		"while a response is waited": func(c *client, _ Conn) { c.send([]byte("wait")) },
		"while the socket is full":   func(c *client, _ Conn) { c.send([]byte("large")) },
		"while it is paused": func(c *client, conn Conn) {
			c.w.do(conn, conn.Pause)
			c.send([]byte("large"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			released := make(chan bool, 1)
			w := newWorld(t, Options{}, func(c Conn, f *Frame) {
				if ticket := c.Reserve(); string(f.Bytes()) == "large" {
					r := answer(string(large))
					r.Owner = releaseFunc(func() { released <- true })
					c.Complete(ticket, r)
				}
			})
			c := w.dial()
			conn := w.nextOpen()
			state(c, conn)
			until(t, "the server has read", func() bool {
				return w.server.Stats().BytesIn > 0 || name == "when idle" || name == "while it is paused"
			})
			w.must(c.SetLinger(0))
			w.must(c.Close())
			if name == "while it is paused" {
				// What a paused connection is not read for cannot be known of it.
				w.do(conn, conn.Resume)
			}
			end := w.nextEnd()
			if end.reason == nil || errors.Is(end.reason, ErrShutdown) {
				t.Fatalf("closed because: %v", end.reason)
			}
			if name == "while the socket is full" {
				await(t, released)
			}
		})
	}
}

// TestInterest: the poller can be told every change of what a connection is watched for, and then does so.
func TestInterest(t *testing.T) {
	w := newWorld(t, Options{}, echoer())
	client := w.dial()
	c := w.nextOpen().(*conn)
	all := []interest{0, interestRead, interestWrite, interestRead | interestWrite}
	for _, from := range all {
		for _, to := range all {
			w.do(c, func() {
				c.watch(from)
				c.watch(to)
				if c.dead || c.interest != to {
					t.Errorf("from %b to %b: watched for %b", from, to, c.interest)
				}
				c.mark() // settling has it watch for what it should
			})
			client.send([]byte("hello"))
			client.expect("hello")
		}
	}
}

// repost is a task that posts itself again until it is stopped.
type repost struct {
	conn Conn
	runs atomic.Int64
	stop atomic.Bool
}

func (r *repost) Run() {
	if r.runs.Add(1); !r.stop.Load() {
		r.conn.Post(r)
	}
}

// TestPostedWorkDoesNotStarveSockets: a task that posts itself for ever leaves room for everybody else.
func TestPostedWorkDoesNotStarveSockets(t *testing.T) {
	w := newWorld(t, Options{}, echoer())
	c := w.dial()
	r := &repost{conn: w.nextOpen()}
	r.conn.Post(r)
	for range 100 {
		c.send([]byte("hello"))
		c.expect("hello")
	}
	r.stop.Store(true)
	runs := r.runs.Load()
	if runs == 0 {
		t.Fatal("the task did not run")
	}
}

// TestPostFromMany: each task that many goroutines post runs once, on the loop, and a sleeping loop is woken; while it
// is awake they do not wake it.
func TestPostFromMany(t *testing.T) {
	const goroutines, each = 8, 5000
	w := newWorld(t, Options{}, echoer())
	w.dial()
	conn := w.nextOpen()
	count, done := 0, make(chan struct{})
	work := taskFunc(func() {
		if count++; count == goroutines*each {
			close(done)
		}
	})
	for range goroutines {
		go func() {
			for range each {
				conn.Post(work)
			}
		}()
	}
	await(t, done)

	w.do(conn, func() {
		before := w.server.Stats().Wakes
		for range 1000 {
			conn.Post(taskFunc(func() {}))
		}
		if after := w.server.Stats().Wakes; after != before {
			t.Errorf("a loop that is awake was woken %d times", after-before)
		}
	})
}

// TestContext: what the owner keeps with a connection stays there, and connections are told apart by their IDs.
func TestContext(t *testing.T) {
	type session struct{ frames int }
	ids := make(map[uint64]bool)
	w := &world{}
	w.open = func(c Conn) error {
		c.SetContext(&session{})
		ids[c.ID()] = true
		return nil
	}
	w.frame = func(c Conn, _ *Frame) {
		s := c.Context().(*session)
		s.frames++
		c.Complete(c.Reserve(), answer(string(rune('0'+s.frames))))
	}
	startWorld(t, Options{}, w)
	first, second := w.dial(), w.dial()
	for _, want := range []string{"1", "2", "3"} {
		first.send([]byte("x"))
		first.expect(want)
		second.send([]byte("x"))
		second.expect(want)
	}
	w.must(await(t, w.shutdown(t.Context())))
	if len(ids) != 2 {
		t.Fatalf("2 connections had %d ids", len(ids))
	}
}
