package segment

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"spate/index"
	"spate/internal/invariant"
	"spate/internal/vfs"
	"spate/kafka"
)

// body is one incarnation of a segment: the log file, its mapping and its indexes. There is a new one after a
// truncation, so that what a reader found in the old one stays true for as long as it holds it.
type body struct {
	file    vfs.File // while refs is not 0
	offsets *index.File
	times   *index.File
	aborted *index.File

	// refs counts the segment's own reference, while the file is open, and one for each reader. At 0 the file is
	// closed: for good, or, of the segment's present body, until it is used again. The segment's own is taken and given
	// up under the segment's mu.
	refs    atomic.Int64
	idle    atomic.Bool // nobody used the file since Idle asked
	resting bool        // Rest closed the file; changes under the segment's mu
	reclaim func(func())

	// end and flushed are packed as by pack: where data ends and the next offset, and the same for what is durable.
	// end is moved by the appender, after the bytes are written. flushed <= end.
	end     atomic.Uint64
	flushed atomic.Uint64

	mapping atomic.Pointer[mapping]
	warm    warm

	mapMu   sync.Mutex // readers take it to map the file
	retired []vfs.Mapping

	// The appender's own.
	tally     tally
	allocated int64 // blocks are reserved up to here

	writtenBack atomic.Int64 // writeback was started up to here
	behind      atomic.Bool  // it is to be started

	newestMu sync.Mutex
	newest   kafka.Timestamp // what readers see of the tally
	at       kafka.Offset
	first    kafka.Timestamp
}

// mapping is the log file in memory. bytes may reach past the end of the file.
type mapping struct {
	vfs.Mapping
	bytes []byte
}

// pack puts a position and an offset relative to the base into one word, so that readers see both of one moment
// without a lock. A position fits, as Kafka's indexes hold it in an int32. A relative next offset is at most 2^31.
func pack(position int64, relative int64) uint64 {
	return uint64(position)<<32 | uint64(uint32(relative))
}

func unpack(word uint64) (position int64, relative int64) {
	return int64(word >> 32), int64(uint32(word))
}

// positionMax is the largest size of a log file whose every batch an index can point to.
const positionMax = math.MaxInt32

// acquire takes a reference, unless the file is closed.
func (b *body) acquire() bool {
	for {
		n := b.refs.Load()
		if n == 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			b.touch()
			return true
		}
	}
}

// touch notes a use of the file. The word is written only if somebody asked since the last use.
func (b *body) touch() {
	if b.idle.Load() {
		b.idle.Store(false)
	}
}

// release gives a reference back. The last one closes the file, where the caller need not wait for that.
func (b *body) release() {
	n := b.refs.Add(-1)
	if n > 0 {
		return
	}
	invariant.Check(n == 0, "a segment was released too often")
	closing := b.detach()
	if b.reclaim == nil {
		_ = closing() // nobody is left to be told, and every byte was written before
		return
	}
	b.reclaim(func() { _ = closing() })
}

// detach takes away the file and the mappings, which nobody refers to any more, and gives what closes them.
func (b *body) detach() func() error {
	file, mapping, retired := b.file, b.mapping.Swap(nil), b.retired
	b.file, b.retired = nil, nil
	indexes := errors.Join(b.offsets.Close(), b.times.Close(), b.aborted.Close())
	return func() error {
		errs := []error{indexes}
		if mapping != nil {
			errs = append(errs, mapping.Unmap())
		}
		for _, m := range retired {
			errs = append(errs, m.Unmap())
		}
		return errors.Join(append(errs, file.Close())...)
	}
}

// indexes are the index files, in the order of suffixes.
func (b *body) indexes() [3]*index.File { return [...]*index.File{b.offsets, b.times, b.aborted} }

// live says whether the indexes are in memory, ready for an append.
func (b *body) live() bool { return b.offsets.Live() != nil }

// mapped is the first limit bytes of the log, which the caller knows to be published. It maps the file if need be.
func (b *body) mapped(limit, lengthMax int64) ([]byte, error) {
	if limit == 0 {
		return nil, nil
	}
	if m := b.mapping.Load(); m != nil && limit <= int64(len(m.bytes)) {
		return m.bytes[:limit:limit], nil
	}
	return b.mapFile(limit, lengthMax)
}

// mapFile maps a file that grows once, up to its largest size, and one that does not as far as it goes.
func (b *body) mapFile(limit, lengthMax int64) ([]byte, error) {
	b.mapMu.Lock()
	defer b.mapMu.Unlock()
	old := b.mapping.Load()
	if old != nil && limit <= int64(len(old.bytes)) {
		return old.bytes[:limit:limit], nil
	}
	length, _ := unpack(b.end.Load())
	if b.live() {
		length = max(length, lengthMax)
	}
	m, err := b.file.Map(length)
	if err != nil {
		return nil, err
	}
	if old != nil {
		b.retired = append(b.retired, old.Mapping)
	}
	bytes := m.Bytes()
	b.mapping.Store(&mapping{Mapping: m, bytes: bytes})
	return bytes[:limit:limit], nil
}

// showNewest lets readers see the timestamps of the tally.
func (b *body) showNewest() {
	b.newestMu.Lock()
	b.newest, b.at, b.first = b.tally.newest, b.tally.at, b.tally.first
	b.newestMu.Unlock()
}
