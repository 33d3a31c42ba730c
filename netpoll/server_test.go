package netpoll

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// shutdown begins a shutdown and returns where its result will come.
func (w *world) shutdown(ctx context.Context) <-chan error {
	result := make(chan error, 1)
	go func() { result <- w.server.Shutdown(ctx) }()
	return result
}

// TestShutdownDrains: nothing is accepted or read any more, idle connections close at once, and responses that are due
// are still completed and sent in full, large ones to slow clients included, before their connections close.
func TestShutdownDrains(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	tickets := make(chan Ticket, 10)
	w := newWorld(t, Options{Loops: 2}, func(c Conn, f *Frame) {
		if string(f.Bytes()) == "large" {
			c.Complete(c.Reserve(), answer(string(body)))
			return
		}
		tickets <- c.Reserve()
	})
	idle, parked, slow := w.dial(), w.dial(), w.dial()
	parked.send([]byte("wait"))
	ticket := await(t, tickets)
	slow.send([]byte("large"))
	until(t, "all requests are in", func() bool { return w.server.Stats().Frames == 2 })
	var parkedConn Conn
	for range 3 {
		if c := w.nextOpen(); c.RemoteAddr().String() == parked.LocalAddr().String() {
			parkedConn = c
		}
	}
	stopped := w.shutdown(t.Context())
	idle.expectEnd()
	if _, err := parked.Write(appendFrame(nil, []byte("too late"))); err != nil {
		t.Fatal(err)
	}
	if got := slow.receive(); !bytes.Equal(got, body) {
		t.Fatal("the large response was cut")
	}
	slow.expectEnd()
	select {
	case err := <-stopped:
		t.Fatalf("stopped although a response is due: %v", err)
	default:
	}
	parkedConn.Complete(ticket, answer("done"))
	parked.expect("done")
	parked.expectEnd()
	w.must(await(t, stopped))
	for range 3 {
		if end := w.nextEnd(); !errors.Is(end.reason, ErrShutdown) {
			t.Fatalf("closed because: %v", end.reason)
		}
	}
	if s := w.server.Stats(); s.Frames != 2 || s.Open != 0 {
		t.Fatalf("%+v", s)
	}
}

// TestShutdownGivesUp: when its time is up it closes everything; a ticket that is completed after that gives its
// response back, and posted tasks still run.
func TestShutdownGivesUp(t *testing.T) {
	tickets := make(chan Ticket, 1)
	w := newWorld(t, Options{}, func(c Conn, _ *Frame) { tickets <- c.Reserve() })
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("wait"))
	ticket := await(t, tickets)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := w.shutdown(ctx)
	cancel()
	if err := await(t, stopped); !errors.Is(err, context.Canceled) {
		t.Fatalf("shutdown: %v", err)
	}
	c.expectEnd()
	released, ran := false, false
	conn.Complete(ticket, &Response{Owner: releaseFunc(func() { released = true })})
	conn.Post(taskFunc(func() { ran = conn.Closed() }))
	conn.Close(ErrIdle)
	if !released || !ran {
		t.Fatalf("released %v, ran %v", released, ran)
	}
}

// TestLateTasksRunOneAfterAnother: what is posted after the loops have ended, to a connection that was cut, does not
// run beside what another goroutine has posted there: they share what is the loop's.
func TestLateTasksRunOneAfterAnother(t *testing.T) {
	w := newWorld(t, Options{}, func(c Conn, _ *Frame) { c.Reserve() })
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("wait"))
	until(t, "the request is in", func() bool { return w.server.Stats().Frames == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := await(t, w.shutdown(ctx)); !errors.Is(err, context.Canceled) {
		t.Fatalf("shutdown: %v", err)
	}
	var order []string // of who runs
	var posting sync.WaitGroup
	begun, goOn := make(chan struct{}), make(chan struct{})
	posting.Go(func() {
		conn.Post(taskFunc(func() {
			order = append(order, "the answer of a worker begins")
			close(begun)
			<-goOn
			conn.Post(taskFunc(func() { order = append(order, "and goes on") }))
			order = append(order, "ends")
		}))
	})
	await(t, begun)
	conn.Post(taskFunc(func() { order = append(order, "a wake-up") }))
	close(goOn)
	posting.Wait()
	want := []string{"the answer of a worker begins", "ends", "a wake-up", "and goes on"}
	if !slices.Equal(order, want) {
		t.Fatalf("in this order: %q", order)
	}
}

// TestShutdownWithoutLoss: it returns no error although its time is up if nothing was due.
func TestShutdownWithoutLoss(t *testing.T) {
	w := newWorld(t, Options{}, echoer())
	w.must(await(t, w.shutdown(t.Context())))
	unused, err := New(Options{}, w)
	w.must(err)
	_, err = unused.Listen("PLAINTEXT", "127.0.0.1:0")
	w.must(err)
	w.must(unused.Shutdown(t.Context()))
	if err := unused.Start(); err == nil {
		t.Fatal("started after shutdown")
	}
}

// TestShutdownUnderLoad: whatever clients and completing goroutines are doing, shutdown ends, every ticket's response
// is released once, and every connection that was opened is closed once.
func TestShutdownUnderLoad(t *testing.T) {
	var lent, opened, closed atomic.Int64
	jobs := make(chan func(), 100_000)
	w := &world{}
	w.open = func(Conn) error { opened.Add(1); return nil }
	w.frame = func(c Conn, f *Frame) {
		ticket, body := c.Reserve(), string(f.Bytes())
		lent.Add(1)
		jobs <- func() {
			r := answer(body)
			r.Owner = releaseFunc(func() { lent.Add(-1) })
			c.Complete(ticket, r)
		}
	}
	startWorld(t, Options{Loops: 2}, w)
	var completing, clients sync.WaitGroup
	for range 3 {
		completing.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	for range 8 {
		c := w.dial()
		clients.Go(func() {
			wire := appendFrame(nil, bytes.Repeat([]byte("x"), 3000))
			back := make([]byte, len(wire))
			for {
				if _, err := c.Write(wire); err != nil {
					return
				}
				if _, err := io.ReadFull(c, back); err != nil {
					return
				}
			}
		})
	}
	until(t, "the load is on", func() bool { return w.server.Stats().Frames > 2000 })
	w.must(await(t, w.shutdown(t.Context())))
	clients.Wait()
	close(jobs)
	completing.Wait()
	for range opened.Load() {
		w.nextEnd()
		closed.Add(1)
	}
	if lent.Load() != 0 || opened.Load() != 8 || len(w.ended) > 0 {
		t.Fatalf("%d responses are out, %d connections opened, %d closed", lent.Load(), opened.Load(), closed.Load())
	}
}

// TestOptionsDefaults: every limit has one, and ticks follow the shortest timeout.
func TestOptionsDefaults(t *testing.T) {
	o := Options{}.withDefaults()
	if o.Loops < 1 || o.FrameBytesMax != 100<<20 || o.MemoryBytesMax != 512<<20 || o.Clock == nil || o.Log == nil ||
		o.ConnectionsMax < 1<<31 || o.InFlightMax != 512 || o.QueueBytesMax != 1<<20 || o.Workers != 4 {
		t.Fatalf("%+v", o)
	}
	if o := (Options{MemoryBytesMax: -1}).withDefaults(); o.MemoryBytesMax < 1<<62 {
		t.Fatalf("no limit is %d", o.MemoryBytesMax)
	}
	for _, test := range []struct{ idle, frame, tick time.Duration }{
		{0, 0, tickMax},
		{10 * time.Minute, 0, tickMax},
		{10 * time.Minute, 400 * time.Millisecond, 50 * time.Millisecond},
		{time.Millisecond, time.Hour, tickMin},
	} {
		if got := (Options{IdleTimeout: test.idle, FrameTimeout: test.frame}).tick(); got != test.tick {
			t.Errorf("ticks of %v for %v", got, test)
		}
	}
}
