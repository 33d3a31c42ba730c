package netpoll

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"spate/internal/bufpool"
	"spate/internal/invariant"
)

// arena is where frames are gathered: buffers by size, and the budget that they are charged to. Any goroutine may call
// it.
type arena struct {
	budget  budget
	frames  sync.Pool // of *Frame
	classes [classCount]bufpool.Pool
}

func newArena(bytesMax int64) *arena {
	a := &arena{}
	a.budget.max = bytesMax
	a.frames.New = func() any { return &Frame{arena: a} }
	return a
}

// Buffers come in four sizes for each doubling, so at most a quarter of one is spare and one that comes back fits the
// next frame of its kind.
const (
	classBytesMin = 1 << 10
	classCount    = (31-10)*4 + 1 // from classBytesMin to the largest frame that four bytes can announce
)

// classOf is the class of the smallest buffer that holds n bytes, and its size.
func classOf(n int) (class, size int) {
	if n <= classBytesMin {
		return 0, classBytesMin
	}
	doubling := bits.Len(uint(n-1)) - 1    // 2^doubling <= n-1
	quarter := (n - 1) >> (doubling - 2)   // 4 to 7: the leading three bits of n-1
	size = (quarter + 1) << (doubling - 2) // the next multiple of a quarter of the doubling
	return (doubling-10)*4 + quarter - 3, size
}

// borrow lends a buffer that holds n bytes, whose length is its class's size. The caller has charged that size.
func (a *arena) borrow(n int) *bufpool.Buffer {
	class, size := classOf(n)
	return a.classes[class].BorrowSize(size)
}

// giveBack takes a buffer back from borrow; its charge is given back apart.
func (a *arena) giveBack(b *bufpool.Buffer) {
	class, _ := classOf(len(b.B))
	a.classes[class].Release(b)
}

// lent is the number of buffers that are out.
func (a *arena) lent() int64 {
	var n int64
	for i := range a.classes {
		n += a.classes[i].Lent()
	}
	return n
}

// budget shares out bytes among connections so that none waits for ever: what does not fit waits in a line, but one
// frame at a time may overdraw the budget until it is released. So while anything waits, some frame can finish, and the
// budget is exceeded by one frame at most, beside what was charged without asking because it had arrived already.
type budget struct {
	max  int64
	used atomic.Int64 // written under mu; read without it, as a hint, by exhausted

	mu        sync.Mutex
	overdrawn bool     // a frame that may overdraw is out
	line      []waiter // first come, first served; not empty only while overdrawn
}

// waiter is a connection in the line.
type waiter struct {
	who  *conn
	want int64
}

// exhausted reports whether nothing is left. It may be outdated, by what other loops charge meanwhile.
func (b *budget) exhausted() bool { return b.used.Load() >= b.max }

// force charges n bytes, come what may: for bytes that have arrived and must be somewhere.
func (b *budget) force(n int64) {
	b.mu.Lock()
	b.used.Add(n)
	b.mu.Unlock()
}

// try charges n bytes if they fit and nobody waits for memory already.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.line) > 0 || b.used.Load() > b.max-n {
		return false
	}
	b.used.Add(n)
	return true
}

// await charges n bytes now (granted), with or without the right to overdraw, or puts c in the line, to have
// c.granted called once they are.
func (b *budget) await(c *conn, n int64) (granted, overdraw bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.line) == 0 {
		if granted, overdraw = b.grantLocked(n); granted {
			return granted, overdraw
		}
	}
	b.line = append(b.line, waiter{who: c, want: n})
	return false, false
}

// leave takes c out of the line and reports whether it was still there; if not, its grant is on the way.
func (b *budget) leave(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.line {
		if b.line[i].who == c {
			b.line = append(b.line[:i], b.line[i+1:]...)
			return true
		}
	}
	return false
}

// release gives back n bytes, and the right to overdraw if the frame had it, and serves the line.
func (b *budget) release(n int64, overdraw bool) {
	b.mu.Lock()
	left := b.used.Add(-n)
	if overdraw {
		b.overdrawn = false
	}
	waiting := len(b.line) > 0
	b.mu.Unlock()
	invariant.Check(left >= 0, "the memory budget was given back more than it lent")
	for waiting {
		waiting = b.serveNext()
	}
}

// serveNext grants the first of the line what it wants, if that is possible now.
func (b *budget) serveNext() bool {
	b.mu.Lock()
	if len(b.line) == 0 {
		b.mu.Unlock()
		return false
	}
	first := b.line[0]
	granted, overdraw := b.grantLocked(first.want)
	if granted {
		b.line = append(b.line[:0], b.line[1:]...)
	}
	b.mu.Unlock()
	if granted {
		first.who.granted(first.want, overdraw)
	}
	return granted
}

func (b *budget) grantLocked(n int64) (granted, overdraw bool) {
	switch {
	case b.used.Load() <= b.max-n:
	case !b.overdrawn:
		b.overdrawn, overdraw = true, true
	default:
		return false, false
	}
	b.used.Add(n)
	return true, overdraw
}
