// Package purgatory is where operations wait that cannot be answered yet: a produce for the high watermark, a fetch for
// bytes, each for its time to run out. It owns the lists of who waits for what and one heap of deadlines; the
// operations themselves belong to the event loop of their connection, which alone evaluates and completes them.
//
// A change wakes an operation at most once until the operation has been looked at again, and no wake-up is lost: a List
// counts its changes, and an operation that joins it says which count its evaluation saw. Nothing here allocates in
// the steady state, and no callback is made under a lock.
//
// Operations are used from their loop; List.Advance, List.Interrupt and the deadline timer may run on any goroutine.
package purgatory

import (
	"sync"
	"sync/atomic"
	"time"

	"spate/internal/clock"
	"spate/internal/invariant"
)

// Waker brings an operation back to its loop.
type Waker interface {
	// Wake arranges that the loop calls Operation.Resume soon. It may be called from any goroutine and must not wait.
	Wake()
}

// Purgatory holds the deadlines of the operations of one kind.
type Purgatory struct {
	clock clock.Clock
	start time.Time // deadlines count from here

	mu     sync.Mutex
	heap   []*Operation // by deadline, the earliest first
	timer  clock.Timer  // nil before the first operation
	fireAt time.Duration
	armed  bool
	closed bool

	waiting atomic.Int64
	expired atomic.Int64
}

// New makes a purgatory that reads its time from c.
func New(c clock.Clock) *Purgatory {
	return &Purgatory{clock: c, start: c.Now()}
}

// Len is the number of operations that wait.
func (p *Purgatory) Len() int { return int(p.waiting.Load()) }

// Expired counts the operations whose time ran out.
func (p *Purgatory) Expired() int64 { return p.expired.Load() }

// Close lets the time of every operation run out, now and from now on.
func (p *Purgatory) Close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	woken := p.popUntil(1<<63 - 1)
	p.mu.Unlock()
	wakeAll(woken)
}

// add puts the operation on the heap. A closed purgatory expires it on the spot.
func (p *Purgatory) add(o *Operation, deadline time.Time) {
	o.deadline = deadline.Sub(p.start)
	p.waiting.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		o.expired.Store(true)
		return
	}
	p.push(o)
	if p.heap[0] == o && (!p.armed || o.deadline < p.fireAt) {
		p.arm(o.deadline)
	}
}

// remove takes the operation off the heap, if it is there. The timer is left as it is: it finds nothing due and sets
// itself anew, which is cheaper than to set it for each operation that is answered in time.
func (p *Purgatory) remove(o *Operation) {
	p.waiting.Add(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.heapIndex >= 0 {
		p.delete(o.heapIndex)
	}
}

// arm sets the timer for the deadline at. The caller holds p.mu.
func (p *Purgatory) arm(at time.Duration) {
	p.fireAt, p.armed = at, true
	wait := max(at-p.clock.Now().Sub(p.start), 0)
	if p.timer == nil {
		p.timer = p.clock.AfterFunc(wait, p.fire)
		return
	}
	p.timer.Reset(wait)
}

// fire is what the timer calls: it wakes all that is due.
func (p *Purgatory) fire() {
	p.mu.Lock()
	p.armed = false
	woken := p.popUntil(p.clock.Now().Sub(p.start))
	if len(p.heap) > 0 && !p.closed {
		p.arm(p.heap[0].deadline)
	}
	p.mu.Unlock()
	wakeAll(woken)
}

// popUntil takes the operations whose deadline is not after now off the heap and lists those to wake.
func (p *Purgatory) popUntil(now time.Duration) *Operation {
	var woken *Operation
	for len(p.heap) > 0 && p.heap[0].deadline <= now {
		o := p.heap[0]
		p.delete(0)
		p.expired.Add(1)
		o.expired.Store(true) // before the state is looked at: see Resume
		woken = o.collect(woken)
	}
	return woken
}

func (p *Purgatory) push(o *Operation) {
	p.heap = append(p.heap, o)
	p.up(len(p.heap) - 1)
}

// delete takes the operation at i off the heap.
func (p *Purgatory) delete(i int) {
	p.heap[i].heapIndex = -1
	last := len(p.heap) - 1
	moved := p.heap[last]
	p.heap[last] = nil
	p.heap = p.heap[:last]
	if i == last {
		return
	}
	p.place(moved, i)
	p.down(i)
	p.up(moved.heapIndex)
}

func (p *Purgatory) place(o *Operation, i int) {
	p.heap[i] = o
	o.heapIndex = i
}

func (p *Purgatory) up(i int) {
	o := p.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if p.heap[parent].deadline <= o.deadline {
			break
		}
		p.place(p.heap[parent], i)
		i = parent
	}
	p.place(o, i)
}

func (p *Purgatory) down(i int) {
	o := p.heap[i]
	for {
		child := 2*i + 1
		if child >= len(p.heap) {
			break
		}
		if right := child + 1; right < len(p.heap) && p.heap[right].deadline < p.heap[child].deadline {
			child = right
		}
		if o.deadline <= p.heap[child].deadline {
			break
		}
		p.place(p.heap[child], i)
		i = child
	}
	p.place(o, i)
}

// wakeAll wakes a list made by collect. No lock is held. A woken operation may be used again at once, so its successor
// is read first.
func wakeAll(o *Operation) {
	for o != nil {
		next := o.nextWoken
		o.nextWoken = nil
		o.waker.Wake()
		o = next
	}
}

// The states of an operation.
const (
	resting int32 = iota // not in purgatory
	waiting              // in purgatory: the next change wakes it
	woken                // a wake-up is on its way to the loop
)

// Operation is one thing that waits. It is embedded in what a handler keeps of a request, and used again and again.
// All methods are called from the operation's loop.
type Operation struct {
	waker     Waker
	purgatory *Purgatory
	state     atomic.Int32
	expired   atomic.Bool
	watches   []watch // linked into their lists while the operation waits

	deadline  time.Duration // under purgatory.mu, as is heapIndex
	heapIndex int           // -1 when not on the heap
	nextWoken *Operation    // of a list of operations to wake; written by who won the step from waiting to woken
}

// Init makes the operation usable; it is called once in its life.
func (o *Operation) Init(w Waker) {
	o.waker = w
	o.heapIndex = -1
}

// Start sends the operation into p until deadline at the latest, with up to watches lists to watch. The caller goes on
// with Watch for each of them.
func (o *Operation) Start(p *Purgatory, deadline time.Time, watches int) {
	invariant.Check(o.state.Load() == resting, "an operation is sent to purgatory twice")
	if cap(o.watches) < watches {
		o.watches = make([]watch, 0, watches)
	}
	o.watches = o.watches[:0]
	o.purgatory = p
	o.expired.Store(false)
	o.state.Store(waiting)
	p.add(o, deadline)
}

// Resume is called when a wake-up has arrived. From here on the next change wakes the operation again, so whoever calls
// it evaluates the operation afterwards. It returns false for an operation that has been stopped in the meantime,
// which may now be used again.
func (o *Operation) Resume() bool {
	return o.state.CompareAndSwap(woken, waiting)
}

// Expired tells whether the operation's time has run out. It is read after Resume: an expiry that came too early to
// cause a wake-up of its own is seen here.
func (o *Operation) Expired() bool { return o.expired.Load() }

// Stop takes the operation out of purgatory. It returns false if a wake-up is still on its way: the operation must not
// be used again before that has arrived, which Resume then reports.
func (o *Operation) Stop() bool {
	o.purgatory.remove(o)
	for i := range o.watches {
		o.watches[i].unlink()
	}
	clear(o.watches)
	o.watches = o.watches[:0]
	return o.state.Swap(resting) != woken
}

// collect puts the operation before others on a list to wake, unless a wake-up is on its way already. The caller holds
// the lock by which it found the operation, so that Stop waits for it.
func (o *Operation) collect(others *Operation) *Operation {
	if !o.state.CompareAndSwap(waiting, woken) {
		return others
	}
	o.nextWoken = others
	return o
}
