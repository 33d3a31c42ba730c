package netpoll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spate/internal/clock"
)

// push writes frames of n bytes, up to frames of them, until the server reads no more and takes no more for a while; it
// returns how many bytes went in.
func (c *client) push(n, frames int) (written int64) {
	c.w.Helper()
	defer func() { c.w.must(c.SetWriteDeadline(time.Time{})) }()
	wire := appendFrame(nil, make([]byte, n))
	for begin := time.Now(); written < int64(frames*len(wire)); {
		c.w.must(c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)))
		m, err := c.Write(wire[written%int64(len(wire)):])
		written += int64(m)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// When it is not the server that stands still, it is the machine.
			if m == 0 && c.w.server.Stats().Paused > 0 || time.Since(begin) > patience {
				return written
			}
			continue
		}
		c.w.must(err)
	}
	return written
}

// TestPushWhileBlocked: a client that goes on sending while its connection is blocked, for each reason there is, gets
// as far as the sockets' buffers and one read, and what it has sent is charged; when the cause is gone all is served.
func TestPushWhileBlocked(t *testing.T) {
	const frameBytes, frames = 10_000, 6_000 // 60 MB
	const buffers = 64 << 10                 // asked for each socket, both ways; the kernel doubles it
	for name, test := range map[string]struct {
		options Options
		answer  int // bytes of each response
		owner   bool
		held    bool
	}{
		"its owner has paused it":    {owner: true, answer: 1},
		"too many responses are due": {options: Options{InFlightMax: 10}, held: true, answer: 1},
		"too many bytes of responses wait": {
			options: Options{QueueBytesMax: 100_000, InFlightMax: 1 << 20}, answer: 20_000,
		},
		"a single response is over the bound": {
			options: Options{QueueBytesMax: 1, InFlightMax: 1 << 20}, answer: 1 << 20,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var delivered atomic.Int64
			var blocked atomic.Bool
			blocked.Store(test.owner || test.held)
			held := make(chan Ticket, frames)
			body := bytes.Repeat([]byte("r"), test.answer)
			test.options.ReceiveBufferBytes, test.options.SendBufferBytes = buffers, buffers
			w := newWorld(t, test.options, func(c Conn, _ *Frame) {
				delivered.Add(1)
				ticket := c.Reserve()
				if blocked.Load() && test.owner {
					c.Pause()
				}
				if blocked.Load() && test.held {
					held <- ticket
					return
				}
				c.Complete(ticket, answer(string(body)))
			})
			c := w.dial()
			w.must(errors.Join(c.SetReadBuffer(buffers), c.SetWriteBuffer(buffers)))
			conn := w.nextOpen()
			written := c.push(frameBytes, frames)
			if written > 2<<20 {
				t.Fatalf("the server took %d bytes", written)
			}
			until(t, "the poller is told to stop reading", func() bool { return w.server.Stats().Paused > 0 })
			s := w.server.Stats()
			if kept := s.BytesIn - delivered.Load()*(frameBytes+4); kept > readBytes {
				t.Fatalf("%d bytes were read that could not be delivered", kept)
			}
			if s.MemoryBytes > readBytes*5/4 {
				t.Fatalf("%d bytes are charged", s.MemoryBytes)
			}

			blocked.Store(false)
			if test.owner {
				w.do(conn, conn.Resume)
			}
			go func() {
				for range delivered.Load() {
					if test.held {
						conn.Complete(<-held, answer(string(body)))
					}
				}
			}()
			whole := written / (frameBytes + 4)
			for range whole {
				if got := c.receive(); len(got) != test.answer {
					t.Fatalf("a response has %d bytes", len(got))
				}
			}
			until(t, "nothing is due", func() bool { return delivered.Load() >= whole })
		})
	}
}

// TestPauseNests: frames are delivered when each Pause has been taken back, those that had been read with the frame
// that paused included, in order.
func TestPauseNests(t *testing.T) {
	got := make(chan string, 10)
	w := newWorld(t, Options{}, func(c Conn, f *Frame) {
		got <- string(f.Bytes())
		if string(f.Bytes()) == "pause" {
			c.Pause()
			c.Pause()
		}
	})
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("before"), []byte("pause"), []byte("pause"), []byte("after"))
	for _, want := range []string{"before", "pause"} {
		if frame := await(t, got); frame != want {
			t.Fatalf("delivered %q", frame)
		}
	}
	resume := func() {
		w.do(conn, conn.Resume)
		w.do(conn, func() {}) // what the first one led to has been done
	}
	resume()
	if len(got) > 0 {
		t.Fatalf("delivered %q after one of two resumes", <-got)
	}
	resume()
	if frame := await(t, got); frame != "pause" {
		t.Fatalf("delivered %q", frame)
	}
	resume()
	c.send([]byte("last"))
	resume()
	for _, want := range []string{"after", "last"} {
		if frame := await(t, got); frame != want {
			t.Fatalf("delivered %q", frame)
		}
	}
}

// TestMemoryBudgetOverSockets: while frames that were taken use up the budget, small frames are still served, large
// ones wait, but for one that may exceed it; memory stays within the budget and one frame; and when the memory is given
// back everybody is served, so nothing was locked up.
func TestMemoryBudgetOverSockets(t *testing.T) {
	const budget, large = 4 << 20, 3 << 20
	taken := make(chan *Frame, 100)
	w := newWorld(t, Options{MemoryBytesMax: budget}, func(c Conn, f *Frame) {
		if len(f.Bytes()) == large {
			f.Take()
			taken <- f
		}
		c.Complete(c.Reserve(), answer("done"))
	})
	hog := w.dial()
	for range 2 { // the second finds a mebibyte left, and overdraws
		hog.send(make([]byte, large))
		hog.expect("done")
	}
	frames := []*Frame{await(t, taken), await(t, taken)}

	const waiting = 8
	done := make(chan struct{}, waiting)
	for range waiting {
		c := w.dial()
		go func() {
			defer func() { done <- struct{}{} }()
			if _, err := c.Write(appendFrame(nil, make([]byte, large))); err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 8))
		}()
	}
	until(t, "all newcomers wait for memory", func() bool { return w.server.Stats().Starved >= waiting })
	small := w.dial()
	for range 10 {
		small.send([]byte("a small one"))
		small.expect("done")
	}
	if used := w.server.Stats().MemoryBytes; used > budget+large*5/4+waiting*2*readBytesScarce {
		t.Fatalf("%d bytes are charged", used)
	}
	if len(taken) > 0 {
		t.Fatal("a frame was finished although the budget was overdrawn")
	}
	for range waiting {
		for _, f := range frames {
			f.Release()
		}
		frames = []*Frame{await(t, taken)}
		if used := w.server.Stats().MemoryBytes; used > budget+large*5/4+readBytes {
			t.Fatalf("%d bytes are charged", used)
		}
	}
	for _, f := range frames {
		f.Release()
	}
	for range waiting {
		await(t, done)
	}
}

// TestMemoryBudgetNeverLocksUp: many clients on two loops send more than the budget holds, some frames are kept for a
// while by another goroutine, some clients leave in the middle of a frame; all others are served to the end, and the
// budget is kept to as promised.
func TestMemoryBudgetNeverLocksUp(t *testing.T) {
	const budget, largest, clients, frames = 1 << 20, 900_000, 16, 30
	kept := make(chan *Frame, clients*frames)
	pool := newReplies()
	w := newWorld(t, Options{Loops: 2, MemoryBytesMax: budget}, func(c Conn, f *Frame) {
		first := f.Bytes()[0]
		if first%3 == 0 {
			f.Take()
			kept <- f
		}
		c.Complete(c.Reserve(), echoOf(pool, []byte{first}))
	})
	var sending, releasing sync.WaitGroup
	releasing.Go(func() {
		var held []*Frame
		for f := range kept {
			if held = append(held, f); len(held) > 2 || len(kept) == 0 {
				for _, f := range held {
					f.Release()
				}
				held = held[:0]
			}
		}
	})
	failures := make(chan error, clients)
	for i := range clients {
		c, random := w.dial(), rand.New(rand.NewPCG(uint64(i), 7))
		sending.Go(func() {
			body := make([]byte, largest)
			for range frames {
				body[0] = byte(random.IntN(256))
				wire := appendFrame(nil, body[:1+random.IntN(largest-1)])
				if i%5 == 4 && random.IntN(frames) == 0 {
					_, _ = c.Write(wire[:len(wire)/2])
					_ = c.Close()
					return
				}
				_, failed := c.Write(wire)
				if _, err := io.ReadFull(c, wire[:5]); errors.Join(failed, err) != nil {
					failures <- errors.Join(failed, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { sending.Wait(); close(done) }()
	most := int64(0)
	until(t, "all clients are through", func() bool {
		most = max(most, w.server.Stats().MemoryBytes)
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	w.must(await(t, w.shutdown(t.Context()))) // nobody sends to kept any more; the race detector sees no sockets
	close(kept)
	releasing.Wait()
	if len(failures) > 0 {
		t.Fatal(<-failures)
	}
	if s := w.server.Stats(); s.Starved == 0 || most > budget+largest*5/4+2*readBytes*5/4+clients*5<<10 {
		t.Fatalf("%d bytes were charged at most, connections waited %d times", most, s.Starved)
	}
}

// TestOverdrawnFrameOfStalledClient: a client that has the right to overdraw for its frame, and blocks that frame by
// not reading its responses, keeps others from overdrawing; so its time to finish the frame goes on, and ends it.
func TestOverdrawnFrameOfStalledClient(t *testing.T) {
	const budget = 1 << 20
	manual := clock.NewManual(time.Unix(0, 0))
	taken, tickets := make(chan *Frame, 1), make(chan Ticket, 1)
	options := Options{MemoryBytesMax: budget, Clock: manual, FrameTimeout: frameTimeout}
	w := newWorld(t, options, func(c Conn, f *Frame) {
		if len(f.Bytes()) == budget {
			f.Take()
			taken <- f
			return
		}
		tickets <- c.Reserve()
	})
	hog, stalled := w.dial(), w.dial()
	hog.send(make([]byte, budget))
	held := await(t, taken)
	stalled.send([]byte("fetch"))
	ticket := await(t, tickets)
	var c *conn
	for range 2 {
		if opened := w.nextOpen().(*conn); opened.remote.String() == stalled.LocalAddr().String() {
			c = opened
		}
	}
	stalled.sendRaw(appendFrame(nil, make([]byte, budget))[:budget/2])
	inLoop := func(holds func() bool) func() bool {
		return func() (held bool) {
			w.do(c, func() { held = holds() })
			return held
		}
	}
	until(t, "it overdraws", inLoop(func() bool { return c.frames.overdraws() }))
	c.Complete(ticket, answer(string(make([]byte, 32<<20))))
	until(t, "it is blocked", inLoop(func() bool { return c.blocked() && c.awaitsWrite }))
	manual.Advance(frameTimeout + slack)
	if end := w.nextEnd(); !errors.Is(end.reason, ErrFrameTimeout) {
		t.Fatalf("closed because: %v", end.reason)
	}
	held.Release()
}

// TestStarvedConnectionCloses: a connection that ends while it waits for memory leaves the line, and one whose grant is
// on its way gives it back.
func TestStarvedConnectionCloses(t *testing.T) {
	const budget = 1 << 20
	taken := make(chan *Frame, 10)
	w := newWorld(t, Options{MemoryBytesMax: budget}, func(c Conn, f *Frame) {
		f.Take()
		taken <- f
	})
	hog := w.dial()
	w.nextOpen()
	hog.send(make([]byte, budget+1))
	held := await(t, taken)

	var waiters []Conn
	head := binary.BigEndian.AppendUint32(nil, 2<<20)
	for range 5 { // one may have the right to overdraw, if the first frame did not need it in the end
		c := w.dial()
		waiters = append(waiters, w.nextOpen())
		c.sendRaw(append(head, make([]byte, 100_000)...))
	}
	until(t, "the others wait", func() bool { return w.server.Stats().Starved >= 4 })
	waiters[0].Close(ErrIdle)
	w.nextEnd()
	// The release grants the next one its memory; on the loop, so that its end comes before the grant.
	w.do(waiters[1], func() {
		held.Release()
		for _, c := range waiters[1:] {
			c.(*conn).end(ErrIdle)
		}
	})
	for range waiters[1:] {
		w.nextEnd()
	}
	until(t, "all memory is back", func() bool { return w.server.Stats().MemoryBytes == 0 })
}
