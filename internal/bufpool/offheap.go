package bufpool

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNoMemory says that the system has no memory to give.
var ErrNoMemory = errors.New("no memory")

// OffHeap is a large block of memory that the garbage collector neither sees nor counts: it takes no more than its
// size, and is back with the system when Free returns. Its bytes are zero at first.
type OffHeap struct {
	// Bytes is the memory. Touching it after Free ends the process.
	Bytes []byte
}

// NewOffHeap makes a block of n bytes.
func NewOffHeap(n int) (*OffHeap, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%w: map %d bytes: %w", ErrNoMemory, n, err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // for those who touch it at random; a kernel without them says EINVAL
	return &OffHeap{Bytes: b}, nil
}

// Free gives the memory back.
func (o *OffHeap) Free() {
	if o.Bytes != nil {
		_ = unix.Munmap(o.Bytes) // which fails only for what was never mapped
		o.Bytes = nil
	}
}
