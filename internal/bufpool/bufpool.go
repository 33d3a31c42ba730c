// Package bufpool lends byte buffers that have one owner at a time, on top of bytebufferpool: one Pool for each use,
// so that sizes calibrate by use. A buffer is released exactly once; under the build tag "invariants" a released
// buffer is poisoned and a second release panics. Any goroutine may call it.
package bufpool

import (
	"sync/atomic"

	"github.com/valyala/bytebufferpool"

	"spate/internal/invariant"
)

// Pool lends buffers for one use. The zero value is ready.
type Pool struct {
	pool bytebufferpool.Pool
	lent atomic.Int64
}

// Buffer is a borrowed buffer: append to B, keep the result in B, release it once.
type Buffer = bytebufferpool.ByteBuffer

// Borrow lends an empty buffer, whose capacity is what was usual lately.
func (p *Pool) Borrow() *Buffer {
	p.lent.Add(1)
	return p.pool.Get()
}

// BorrowSize lends a buffer of length n whose bytes are arbitrary. The caller has checked n against its limit.
func (p *Pool) BorrowSize(n int) *Buffer {
	b := p.Borrow()
	if cap(b.B) < n {
		b.B = make([]byte, n)
	}
	b.B = b.B[:n]
	return b
}

// Release gives b back; the caller touches it no more.
func (p *Pool) Release(b *Buffer) {
	if invariant.Enabled {
		for i := range b.B {
			b.B[i] = 0xdb
		}
	}
	invariant.Check(p.lent.Add(-1) >= 0, "a buffer was released twice")
	p.pool.Put(b)
}

// Lent is the number of buffers that are out.
func (p *Pool) Lent() int64 { return p.lent.Load() }
