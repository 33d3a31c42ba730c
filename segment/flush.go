package segment

import (
	"errors"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
)

// Flush makes everything durable that was published before the call: the log, its name, and the index of aborted
// transactions, which cannot be made anew from the log alone. Entries of the other indexes are written along when they
// fill a page. It waits for the disk, and may run beside an append. After an error nobody knows what is durable: the
// segment takes no more writes.
func (s *Segment) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.current()
	if err != nil {
		return err
	}
	return s.flush(b)
}

// current is the body for a caller that holds mu.
func (s *Segment) current() (*body, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	if b := s.body.Load(); b != nil {
		return b, nil
	}
	return nil, ErrClosed
}

func (s *Segment) flush(b *body) error {
	end := b.end.Load()
	if err := s.syncLog(b, end); err != nil {
		return err
	}
	if err := s.syncNames(); err != nil {
		return err
	}
	b.flushed.Store(end)
	if err := errors.Join(b.offsets.Persist(), b.times.Persist()); err != nil && !vfs.Exhausted(err) {
		return s.fail(err) // a full disk costs no more than a rebuild after a crash
	}
	return nil
}

// syncLog makes durable what cannot be made anew.
func (s *Segment) syncLog(b *body, end uint64) error {
	if end != b.flushed.Load() {
		if err := b.file.Datasync(); err != nil {
			return s.fail(err)
		}
	}
	created, err := b.aborted.Sync()
	s.named = s.named && !created
	return s.failUnlessFull(err)
}

// NamesChanged has the next Flush, Seal or Close make the names in the folder durable: the caller has put files there.
func (s *Segment) NamesChanged() {
	s.mu.Lock()
	s.named = false
	s.mu.Unlock()
}

// syncNames makes the names of new files durable.
func (s *Segment) syncNames() error {
	if s.named {
		return nil
	}
	if err := s.disk.SyncDir(s.dir); err != nil {
		return s.fail(err)
	}
	s.named = true
	return nil
}

// Settled is for one who has made the whole file system durable after the segment was recovered and before it is
// used: it is then as if it were flushed, but for what was put into the index of aborted transactions since, which is
// flushed now.
func (s *Segment) Settled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.current()
	if err != nil {
		return err
	}
	s.named = true
	b.flushed.Store(b.end.Load())
	return s.flush(b)
}

// FlushedOffset is the offset below which everything in the segment is durable.
func (s *Segment) FlushedOffset() kafka.Offset {
	b := s.body.Load()
	if b == nil {
		return s.base
	}
	_, relative := unpack(b.flushed.Load())
	return s.base + kafka.Offset(relative)
}

// Seal makes the segment durable as a whole and gives back what an active segment takes: the blocks reserved ahead and
// the indexes in memory. It waits for the disk, and must not run beside an append. A later append makes the segment
// active again. A full disk is an error that wraps ENOSPC; Seal may then be called again.
func (s *Segment) Seal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.current()
	if err != nil {
		return err
	}
	return s.seal(b)
}

func (s *Segment) seal(b *body) error {
	if !b.live() {
		return s.flush(b)
	}
	end := b.end.Load()
	if size, _ := unpack(end); b.allocated > size {
		if err := b.file.Truncate(size); err != nil {
			return s.fail(err)
		}
		b.allocated = size
	}
	if err := s.syncLog(b, end); err != nil {
		return err
	}
	b.tally.enterTime()
	// The offset index comes last: one that is complete says that the others are.
	files := [...]*index.File{b.aborted, b.times, b.offsets}
	for _, f := range files {
		created, err := f.Sync()
		s.named = s.named && !created
		if err != nil {
			return s.failUnlessFull(err)
		}
	}
	if err := s.syncNames(); err != nil {
		return err
	}
	b.flushed.Store(end)
	for _, f := range files {
		f.Seal()
	}
	return nil
}

// Close seals the segment and ends it. Ranges that were read stay good until they are released; then the file is
// unmapped and closed. An error of sealing is returned, and the segment is closed nevertheless.
func (s *Segment) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.body.Load()
	if b == nil {
		return nil
	}
	err := s.Err()
	if err == nil && !s.doomed {
		err = s.seal(b)
	}
	s.drop()
	return err
}
