package netpoll

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// message is what other goroutines, and the loop itself, ask of a loop: to run a task, or else to fill a ticket.
type message struct {
	task     Task
	conn     *conn
	ticket   Ticket
	response *Response
}

// mailbox is a loop's inbox. It is bounded by what may be outstanding: a message for each ticket that is due and each
// task of the owner, and a few of each connection's own.
type mailbox struct {
	count   atomic.Int32 // written under mu; read without it to see whether there is anything
	running atomic.Bool  // written by the loop: a turn is under way, and will look here before it ends
	waking  atomic.Int32 // calls of put whose caller has been told to wake the loop and has not done so; see woken

	mu     sync.Mutex
	closed bool // the loop has ended, nobody would read
	late   bool // somebody handles what comes since
	in     []message

	out []message // what collect returned last; the loop's
}

// batchKept is how many messages the buffers keep room for between bursts.
const batchKept = 4096

// put adds m. If wake is true the loop may be asleep: the caller wakes it and calls woken. If open is false the loop
// has ended, and m is still the caller's.
func (b *mailbox) put(m message) (wake, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false, false
	}
	b.in = append(b.in, m)
	b.count.Store(int32(len(b.in)))
	if len(b.in) > 1 || b.running.Load() {
		return false, true
	}
	b.waking.Add(1)
	return true, true
}

// woken ends what put began by telling its caller to wake the loop.
func (b *mailbox) woken() { b.waking.Add(-1) }

// empty reports whether there is nothing to collect.
func (b *mailbox) empty() bool { return b.count.Load() == 0 }

// collect takes everything out; the result is valid until the next call. The caller clears it when done.
func (b *mailbox) collect() []message {
	if cap(b.out) > batchKept {
		b.out = nil
	}
	b.mu.Lock()
	b.in, b.out = b.out[:0], b.in
	b.count.Store(0)
	b.mu.Unlock()
	return b.out
}

// close takes everything out, lets nothing in any more, and returns once nobody is about to wake the loop, whose
// descriptor can be closed then. What is still being woken is in a system call that does not block. The caller handles
// what it gets, and then, with handleLate, what has come since.
func (b *mailbox) close() []message {
	b.mu.Lock()
	b.closed, b.late = true, true
	b.count.Store(0)
	rest := b.in
	b.in = nil
	b.mu.Unlock()
	for b.waking.Load() > 0 {
		runtime.Gosched()
	}
	return rest
}

// handle handles m, which comes after the loop has ended: here, or on the goroutine that is at it just now, for what is
// a loop's has one message after another.
func (b *mailbox) handle(m message) {
	b.mu.Lock()
	b.in = append(b.in, m)
	busy := b.late
	b.late = true
	b.mu.Unlock()
	if !busy {
		b.handleLate()
	}
}

// handleLate handles what came late until there is nothing left. The caller has set late.
func (b *mailbox) handleLate() {
	for {
		b.mu.Lock()
		list := b.in
		b.in = nil
		b.late = len(list) > 0
		b.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for i := range list {
			list[i].handle()
		}
	}
}
