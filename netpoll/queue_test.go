package netpoll

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
)

// TestQueueModel: against a map, with tickets filled in any order, through many sizes of the ring.
func TestQueueModel(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	q := &queue{}
	filled := make(map[Ticket]*Response)
	var open []Ticket
	var waiting int64
	oldest := Ticket(0)
	for step := range 50_000 {
		switch limit := 1 << (step / 5000); random.IntN(3) {
		case 0:
			if q.due() < limit {
				open = append(open, q.reserve())
			}
		case 1:
			if len(open) == 0 {
				continue
			}
			i := random.IntN(len(open))
			ticket := open[i]
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
			var r *Response
			if random.IntN(10) > 0 {
				r = &Response{Pieces: []Piece{{Bytes: make([]byte, random.IntN(50))}, {FD: 3, Length: 1000}}}
			}
			filled[ticket] = r
			waiting += r.memoryBytes()
			q.fill(ticket, r)
		case 2:
			want, ready := filled[oldest]
			if q.ready() != ready {
				t.Fatalf("ticket %d is ready: %v", oldest, q.ready())
			}
			if ready {
				if got := q.pop(); got != want {
					t.Fatalf("ticket %d gave another's response", oldest)
				}
				waiting -= want.memoryBytes()
				delete(filled, oldest)
				oldest++
			}
		}
		if q.waiting != waiting || q.due() != len(open)+len(filled) {
			t.Fatalf("%d bytes of %d wait, %d of %d are due", q.waiting, waiting, q.due(), len(open)+len(filled))
		}
	}
}

// TestQueueMisuse: a ticket that is completed twice, or was never reserved, is noticed.
func TestQueueMisuse(t *testing.T) {
	q := &queue{}
	first, second := q.reserve(), q.reserve()
	q.fill(second, nil)
	expectPanic(t, "completing twice", func() { q.fill(second, nil) })
	expectPanic(t, "completing what was not reserved", func() { q.fill(second+1, nil) })
	q.fill(first, nil)
	q.pop()
	expectPanic(t, "completing what has left", func() { q.fill(first, nil) })
}

// TestMailbox: who has to wake the loop, what comes out, and that nothing goes in once it is closed.
func TestMailbox(t *testing.T) {
	b := &mailbox{}
	put := func(ticket Ticket, wake bool) {
		t.Helper()
		gotWake, open := b.put(message{ticket: ticket})
		if gotWake != wake || !open {
			t.Fatalf("message %d: to wake %v, open %v", ticket, gotWake, open)
		}
		if gotWake {
			b.woken()
		}
	}
	collect := func(want ...Ticket) {
		t.Helper()
		got := b.collect()
		if len(got) != len(want) || !b.empty() {
			t.Fatalf("collected %d messages of %d", len(got), len(want))
		}
		for i := range want {
			if got[i].ticket != want[i] {
				t.Fatalf("message %d came where %d was due", got[i].ticket, want[i])
			}
		}
		clear(got)
	}
	put(1, true)
	put(2, false)
	collect(1, 2)
	put(3, true)
	b.running.Store(true)
	collect(3)
	put(4, false)
	put(5, false)
	collect(4, 5)
	for range 2 * batchKept { // more than the box keeps room for
		put(6, false)
	}
	if got := len(b.collect()); got != 2*batchKept {
		t.Fatalf("collected %d messages", got)
	}
	collect()
	if cap(b.in) > batchKept && cap(b.out) > batchKept {
		t.Fatal("the room for a burst is kept")
	}

	b.running.Store(false)
	if wake, _ := b.put(message{ticket: 7}); !wake {
		t.Fatal("the loop is not to be woken")
	}
	var woken atomic.Bool
	go func() {
		for range 100 {
			runtime.Gosched()
		}
		woken.Store(true)
		b.woken()
	}()
	if rest := b.close(); len(rest) != 1 || rest[0].ticket != 7 || !woken.Load() {
		t.Fatalf("closed with %d messages, while somebody was about to wake the loop: %v", len(rest), !woken.Load())
	}
	if wake, open := b.put(message{ticket: 8}); wake || open {
		t.Fatal("a closed mailbox took a message")
	}
}
