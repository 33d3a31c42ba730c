package segment

import (
	"fmt"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// Blocks are reserved ahead of the tail in steps of an eighth of what the segment holds, within these limits: a busy
// partition rarely asks for more, and a quiet one, of which there may be ten thousand, takes next to nothing.
const (
	allocateBytesMin = 64 << 10
	allocateBytesMax = 64 << 20
	allocateFraction = 8
)

// writebackBytes is after how many bytes the kernel is told to start writing them out. It would otherwise wait for
// seconds, and then make appends wait while it catches up.
const writebackBytes = 4 << 20

// pageBytes is the unit of the page cache.
const pageBytes = 4096

// Append writes whole batches, whose offsets follow the end of the segment in rising order, by one vectored write,
// and publishes them. A full disk is an error that wraps ENOSPC: nothing is published, no part of the batches stays,
// and the segment goes on. After any other I/O error it takes no more writes. It allocates nothing in the steady
// state.
func (s *Segment) Append(batches []byte) error {
	b, err := s.writable()
	if err != nil {
		return err
	}
	start, relative := unpack(b.end.Load())
	next, err := s.check(batches, s.base+kafka.Offset(relative))
	if err != nil {
		return err
	}
	end := start + int64(len(batches))
	if end > s.limit.Load() {
		return fmt.Errorf("append %d bytes to %s: %w", len(batches), s.name(), ErrFull)
	}
	if end > b.allocated {
		if err := s.allocate(b, start, end); err != nil {
			return err
		}
	}
	s.vec[0] = batches
	_, err = b.file.WritevAt(s.vec[:], start)
	s.vec[0] = nil
	if err != nil {
		return s.cutTail(b, start, err)
	}
	b.index(batches, start)
	b.end.Store(pack(end, int64(next-s.base)))
	b.warm.note(start, end)
	if end-b.unwritten() >= writebackBytes && !b.behind.Load() {
		b.behind.Store(true)
		s.options.writeback(s)
	}
	return nil
}

// Reserve makes room for an append of so many bytes, which then does not find the disk full. A full disk is an error
// that wraps ENOSPC and changes nothing. Like Append it is for the appender.
func (s *Segment) Reserve(bytes int) error {
	b, err := s.writable()
	if err != nil {
		return err
	}
	start, _ := unpack(b.end.Load())
	end := start + int64(bytes)
	switch {
	case end > s.limit.Load():
		return fmt.Errorf("reserve %d bytes in %s: %w", bytes, s.name(), ErrFull)
	case end > b.allocated:
		return s.allocate(b, start, end)
	}
	return nil
}

// writable is the body with its indexes in memory, or why it takes no writes.
func (s *Segment) writable() (*body, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	b := s.body.Load()
	if b == nil {
		return nil, ErrClosed
	}
	if b.refs.Load() == 0 {
		// Nobody but the appender closes it again: it stays open until this append is over.
		var err error
		if b, err = s.opened(); err != nil {
			return nil, err
		}
		if b == nil {
			return nil, ErrClosed
		}
	}
	b.touch()
	if b.live() {
		return b, nil
	}
	return b, s.revive(b)
}

// check walks the headers and gives the offset that follows the batches.
func (s *Segment) check(batches []byte, next kafka.Offset) (kafka.Offset, error) {
	for len(batches) > 0 {
		b, rest, err := record.Next(batches)
		if err != nil {
			return 0, err
		}
		if reason := misplaced(b, s.base, next); reason != "" {
			return 0, fmt.Errorf("append to %s: %w: %s", s.name(), ErrOrder, reason)
		}
		next, batches = b.NextOffset(), rest
	}
	return next, nil
}

// index counts the batches, which begin at position.
func (b *body) index(batches []byte, position int64) {
	for len(batches) > 0 {
		batch, rest, err := record.Next(batches)
		if err != nil {
			break // check has seen all of them
		}
		b.tally.add(batch, position)
		position += int64(len(batch))
		batches = rest
	}
	b.showNewest()
}

// allocate reserves blocks up to end, and a step beyond if there is room for it.
func (s *Segment) allocate(b *body, start, end int64) error {
	step := min(max(start/allocateFraction, allocateBytesMin), allocateBytesMax)
	ahead := max(end, min(end+step, s.limit.Load()))
	err := b.file.Allocate(b.allocated, ahead-b.allocated)
	if err == nil {
		b.allocated = ahead
		return nil
	}
	if !vfs.Exhausted(err) {
		return s.fail(err)
	}
	// Room for the batches alone may be left. The failed call may have taken a part of it, which is still ours.
	if err = b.file.Allocate(b.allocated, end-b.allocated); err == nil {
		b.allocated = end
		return nil
	}
	return s.cutTail(b, start, err)
}

// cutTail takes back what a failed append wrote and reserved past the end of the segment.
func (s *Segment) cutTail(b *body, end int64, cause error) error {
	if !vfs.Exhausted(cause) {
		return s.fail(cause)
	}
	if err := b.file.Truncate(end); err != nil {
		return s.fail(fmt.Errorf("%w, after %w", err, cause))
	}
	b.allocated = end
	return fmt.Errorf("append: %w", cause)
}

// StartWriteback has the kernel begin to write out what was appended and that no flush has covered, in whole pages
// only: the last one is written to again at once. It waits for room in the disk's queue. An error is for the next
// append or flush. One goroutine at a time calls it.
func (s *Segment) StartWriteback() {
	b := s.body.Load()
	if b == nil {
		return
	}
	b.behind.Store(false)
	if !b.acquire() {
		return // its file is closed: all of it was written
	}
	defer b.release()
	end, _ := unpack(b.end.Load())
	from := b.unwritten()
	if end &^= pageBytes - 1; from >= end {
		return
	}
	if err := b.file.StartWriteback(from, end-from); err != nil {
		_ = s.fail(err)
	}
	b.writtenBack.Store(end)
}

// unwritten is from where on neither a flush nor writeback has begun to write, the page in which that is included.
func (b *body) unwritten() int64 {
	flushed, _ := unpack(b.flushed.Load())
	return max(b.writtenBack.Load(), flushed&^(pageBytes-1))
}

// revive puts the indexes of a segment that was opened or sealed into memory, so that it can be appended to.
func (s *Segment) revive(b *body) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	offsets, times, err := s.views(b)
	if err != nil || b.live() { // they may have been made anew just now
		return err
	}
	end, _ := unpack(b.end.Load())
	t := newTally(s.base, s.options.IndexIntervalBytes)
	sound := false
	err = vfs.Guard(func() error {
		if sound = whole(offsets, times, end); sound {
			t.resume(offsets, times)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !sound {
		return s.rebuild(b)
	}
	t.first, t.newest, t.at = b.tally.first, b.tally.newest, b.tally.at
	b.tally = t
	b.allocated = end
	b.writtenBack.Store(end)
	b.times.Revive(t.times)
	b.offsets.Revive(t.offsets)
	return nil
}

// views is the entries of both indexes, which are made anew if a file is gone. The caller holds mu.
func (s *Segment) views(b *body) (index.Offsets, index.Times, error) {
	offsets, err := b.offsets.View()
	times, timesErr := b.times.View()
	if err == nil {
		err = timesErr
	}
	if err != index.ErrUnusable {
		return offsets, times, err
	}
	if err := s.rebuild(b); err != nil {
		return nil, nil, err
	}
	return b.offsets.Live().View(), b.times.Live().View(), nil
}

// whole says whether every byte of both indexes belongs to an entry that makes sense for a log of so many bytes.
func whole(offsets index.Offsets, times index.Times, end int64) bool {
	return len(offsets.Valid(kafka.Position(end))) == len(offsets) && len(times.Valid()) == len(times)
}
