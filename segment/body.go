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

// body is one incarnation of a segment: the open log file, its mapping and its indexes. There is a new one after a
// truncation, so that what a reader found in the old one stays true for as long as it holds it.
type body struct {
	file    vfs.File
	offsets *index.File
	times   *index.File
	aborted *index.File

	refs    atomic.Int64 // the segment's own, and one for each reader; 0 is dead and stays so
	reclaim func(func())

	// end and flushed are packed as by pack: where data ends and the next offset, and the same for what is durable.
	// end is moved by the appender, after the bytes are written. flushed <= end.
	end     atomic.Uint64
	flushed atomic.Uint64

	mapping atomic.Pointer[mapping]

	mapMu   sync.Mutex // readers take it to map the file
	retired []vfs.Mapping

	// The appender's own.
	tally       tally
	allocated   int64 // blocks are reserved up to here
	writtenBack int64 // writeback was started up to here

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

// acquire takes a reference, unless the body is dead.
func (b *body) acquire() bool {
	for {
		n := b.refs.Load()
		if n == 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back. The last one closes the file, where the caller need not wait for that.
func (b *body) release() {
	n := b.refs.Add(-1)
	if n > 0 {
		return
	}
	invariant.Check(n == 0, "%s was released too often", b.file.Name())
	if b.reclaim == nil {
		_ = b.close() // nobody is left to be told, and every byte was written before
		return
	}
	b.reclaim(func() { _ = b.close() })
}

// close ends the mappings and closes the file.
func (b *body) close() error {
	errs := []error{b.offsets.Close(), b.times.Close(), b.aborted.Close()}
	if m := b.mapping.Load(); m != nil {
		errs = append(errs, m.Unmap())
	}
	for _, m := range b.retired {
		errs = append(errs, m.Unmap())
	}
	return errors.Join(append(errs, b.file.Close())...)
}

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
