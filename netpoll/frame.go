package netpoll

import (
	"encoding/binary"

	"spate/internal/bufpool"
	"spate/internal/invariant"
)

// sizeBytes is the length of the prefix that announces a frame.
const sizeBytes = 4

// Frame is one frame, without its size. It is lent to Handler.Frame; Take keeps it longer.
type Frame struct {
	arena *arena
	body  []byte          // whole: a view of the loop's buffer or of lent
	lent  *bufpool.Buffer // nil while body is a view of the loop's buffer
	// charged is what the budget counts for lent; overdraw is its right to exceed the budget.
	charged  int64
	overdraw bool
	// taken is where Take leaves word for who lent the frame, as the frame itself may be another's by the time that
	// Handler.Frame returns. It is nil except during Handler.Frame, and after Take.
	taken *bool
	owned bool // by a taker
}

// Bytes are the frame. They may be written to, and are valid until Handler.Frame returns, or until Release after Take.
func (f *Frame) Bytes() []byte { return f.body }

// Take makes the caller the frame's owner, who calls Release once, soon, from any goroutine: the memory counts against
// Options.MemoryBytesMax until then. Slices that Bytes returned earlier end with Handler.Frame all the same: ask again.
func (f *Frame) Take() {
	invariant.Check(f.taken != nil, "a frame was taken twice, or after Handler.Frame")
	*f.taken, f.taken, f.owned = true, nil, true
	if f.lent != nil {
		return
	}
	f.resize(len(f.body), 0)
	f.arena.budget.force(f.charged)
	f.body = f.lent.B[:copy(f.lent.B, f.body)]
}

// Release ends the ownership that Take began.
func (f *Frame) Release() {
	invariant.Check(f.owned, "a frame was released that is not taken")
	f.recycle()
}

// recycle gives everything back that f holds, and f itself.
func (f *Frame) recycle() {
	arena, charged, overdraw := f.arena, f.charged, f.overdraw
	if f.lent != nil {
		arena.giveBack(f.lent)
	}
	*f = Frame{arena: arena}
	arena.frames.Put(f)
	arena.budget.release(charged, overdraw)
}

// resize moves the first kept bytes of the lent buffer, if any, to one that holds n bytes, and counts its size in
// charged; telling the budget is up to the caller.
func (f *Frame) resize(n, kept int) {
	next := f.arena.borrow(n)
	if f.lent != nil {
		copy(next.B[:kept], f.lent.B)
		f.arena.giveBack(f.lent)
	}
	f.lent, f.charged = next, int64(len(next.B))
}

// assembler is the frame machine of one connection: chunks in, frames out, however the stream was cut.
type assembler struct {
	arena    *arena
	bytesMax int // the limit for the next frame

	head      [sizeBytes]byte
	headBytes int // how much of head has arrived; the frame under way has a valid size when all has
	size      int // of the frame under way
	// partial gathers the frame under way; nil until a byte of its body has arrived that does not end it.
	partial *Frame
	arrived int // bytes of the body in partial
	// proven is the largest frame that the connection has finished: it may have a buffer for such a size at once,
	// others get one that grows with what has arrived.
	proven   int
	finished uint64 // how many frames have been whole
}

// next takes bytes from the front of chunk until a frame is whole, and returns it and the remainder. The frame is view,
// on the bytes of chunk, or one that was gathered, which the caller recycles; nil if chunk is used up before.
func (a *assembler) next(chunk []byte, view *Frame) (f *Frame, rest []byte, err error) {
	if a.headBytes < sizeBytes {
		n := copy(a.head[a.headBytes:], chunk)
		a.headBytes += n
		chunk = chunk[n:]
		if a.headBytes < sizeBytes {
			return nil, nil, nil
		}
		size := int32(binary.BigEndian.Uint32(a.head[:]))
		if size <= 0 || int64(size) > int64(a.bytesMax) {
			return nil, nil, &FrameSizeError{Size: size, Max: a.bytesMax}
		}
		a.size = int(size)
	}
	if a.partial == nil && len(chunk) >= a.size {
		view.body = chunk[:a.size:a.size]
		rest = chunk[a.size:]
		a.finish()
		return view, rest, nil
	}
	n := min(len(chunk), a.size-a.arrived)
	if n == 0 {
		return nil, nil, nil
	}
	a.makeRoom(a.arrived + n)
	copy(a.partial.lent.B[a.arrived:], chunk[:n])
	return a.received(n), chunk[n:], nil
}

// space is where the remainder of the frame under way may be read to directly; received says how much was.
func (a *assembler) space() []byte {
	if a.partial == nil {
		return nil
	}
	return a.partial.lent.B[a.arrived:min(a.size, len(a.partial.lent.B))]
}

// overdraws reports whether the frame under way may exceed the budget.
func (a *assembler) overdraws() bool { return a.partial != nil && a.partial.overdraw }

// received counts n bytes that are now in the space of the frame under way, and returns that frame if it is whole.
func (a *assembler) received(n int) *Frame {
	a.arrived += n
	if a.arrived < a.size {
		return nil
	}
	f := a.partial
	f.body = f.lent.B[:a.size:a.size]
	a.partial = nil
	a.finish()
	return f
}

// underway reports whether a frame has begun and is not whole.
func (a *assembler) underway() bool { return a.headBytes > 0 }

// stuck reports whether the frame under way needs a larger buffer before more of it can be read.
func (a *assembler) stuck() bool {
	return a.partial != nil && a.arrived == len(a.partial.lent.B)
}

// lacking is by how much the charge of a stuck frame has to grow.
func (a *assembler) lacking() int64 {
	_, size := classOf(a.ambition(a.arrived + 1))
	return int64(size) - a.partial.charged
}

// enlarge gives a stuck frame the larger buffer that it lacked, which has been charged.
func (a *assembler) enlarge(overdraw bool) {
	a.partial.overdraw = a.partial.overdraw || overdraw
	a.partial.resize(a.ambition(a.arrived+1), a.arrived)
}

// drop gives up the frame under way.
func (a *assembler) drop() {
	if a.partial != nil {
		a.partial.recycle()
		a.partial = nil
	}
}

// makeRoom sees to it that the frame under way has a buffer of at least n bytes, which have arrived, and a larger one
// if the budget allows.
func (a *assembler) makeRoom(n int) {
	if a.partial == nil {
		a.partial = a.arena.frames.Get().(*Frame)
	}
	f := a.partial
	if int64(n) <= f.charged {
		return
	}
	before := f.charged
	wanted := a.ambition(n)
	_, size := classOf(wanted)
	if f.overdraw {
		a.arena.budget.force(int64(size) - before)
	} else if !a.arena.budget.try(int64(size) - before) {
		wanted = n
		_, size = classOf(wanted)
		a.arena.budget.force(int64(size) - before)
	}
	f.resize(wanted, a.arrived)
}

// ambition is the size of the buffer that a frame should have of which n bytes have arrived or are to be read next: all
// of it if the client has sent as much before, else twice what has come.
func (a *assembler) ambition(n int) int {
	if a.size <= a.proven {
		return a.size
	}
	return min(a.size, 2*n)
}

// finish makes the assembler ready for the next frame.
func (a *assembler) finish() {
	a.proven = max(a.proven, a.size)
	a.finished++
	a.headBytes, a.size, a.arrived = 0, 0, 0
}
