package index

import (
	"sync/atomic"
)

// Buffer is an index that grows in memory. One goroutine appends; any goroutine reads, without a lock. The zero value
// is empty.
type Buffer struct {
	block atomic.Pointer[block]
}

// block holds the entries until they outgrow it; the next block begins with a copy of them. A reader of an older block
// misses the newest entries and scans a little further, which is all that it costs.
type block struct {
	used  atomic.Int64 // bytes; those below it never change
	bytes []byte
}

// firstBlockBytes is what the first entry takes: little, for partitions that stay quiet.
const firstBlockBytes = 256

// NewBuffer begins with a copy of the entries in view.
func NewBuffer(view []byte) *Buffer {
	b := &Buffer{}
	if len(view) > 0 {
		copy(b.grow(len(view)), view)
	}
	return b
}

// View is the entries so far. They never change.
func (b *Buffer) View() []byte {
	k := b.block.Load()
	if k == nil {
		return nil
	}
	n := k.used.Load()
	return k.bytes[:n:n]
}

// AppendOffset adds an entry of an offset index.
func (b *Buffer) AppendOffset(e OffsetEntry) {
	k, at := b.room(OffsetEntryBytes)
	e.encode(k.bytes[at:])
	k.used.Store(at + OffsetEntryBytes)
}

// AppendTime adds an entry of a time index.
func (b *Buffer) AppendTime(e TimeEntry) {
	k, at := b.room(TimeEntryBytes)
	e.encode(k.bytes[at:])
	k.used.Store(at + TimeEntryBytes)
}

// AppendTransaction adds an entry of a transaction index.
func (b *Buffer) AppendTransaction(t Transaction) {
	k, at := b.room(TransactionEntryBytes)
	t.encode(k.bytes[at:])
	k.used.Store(at + TransactionEntryBytes)
}

// room gives a block with n free bytes and where they begin.
func (b *Buffer) room(n int64) (*block, int64) {
	k := b.block.Load()
	if k == nil {
		k = &block{bytes: make([]byte, firstBlockBytes)}
		b.block.Store(k)
	}
	used := k.used.Load()
	if used+n <= int64(len(k.bytes)) {
		return k, used
	}
	larger := &block{bytes: make([]byte, 2*len(k.bytes))}
	copy(larger.bytes, k.bytes[:used])
	larger.used.Store(used)
	b.block.Store(larger)
	return larger, used
}

// grow makes the first block of n used bytes and gives those.
func (b *Buffer) grow(n int) []byte {
	k := &block{bytes: make([]byte, max(firstBlockBytes, n))}
	k.used.Store(int64(n))
	b.block.Store(k)
	return k.bytes[:n]
}

// Bytes is the size of the entries so far.
func (b *Buffer) Bytes() int {
	k := b.block.Load()
	if k == nil {
		return 0
	}
	return int(k.used.Load())
}
