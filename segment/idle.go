package segment

import (
	"errors"
	"fmt"
	"io/fs"

	"spate/internal/vfs"
)

// restingIndexBytes is how much of the indexes in memory a segment keeps when it rests. What is more goes to the files,
// from which the next append reads it again.
const restingIndexBytes = 4096

// openFile opens the log file by its present name, if the keeper allows it.
func (s *Segment) openFile(flag int, perm fs.FileMode) (vfs.File, error) {
	if k := s.options.Keeper; k != nil {
		if err := k.Opening(s); err != nil {
			return nil, err
		}
	}
	file, err := s.disk.OpenFile(s.path(LogSuffix), flag, perm)
	if err != nil {
		s.closed()
	}
	return file, err
}

// closeFile closes a file that openFile gave and nobody uses.
func (s *Segment) closeFile(file vfs.File) {
	file.Close() // nothing was written
	s.closed()
}

// closed tells the keeper.
func (s *Segment) closed() {
	if k := s.options.Keeper; k != nil {
		k.Closed(s)
	}
}

// opened is the present body with its file open, or nil, once whoever replaces the body or renames its files is done.
func (s *Segment) opened() (*body, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.body.Load()
	if b == nil {
		return nil, nil
	}
	return b, s.openBody(b)
}

// openBody opens the file of the present body if it is closed: one name is looked up, and no data is read. The caller
// holds mu.
func (s *Segment) openBody(b *body) error {
	if !b.resting {
		return nil
	}
	if s.doomed {
		return ErrClosed // the name may be another file's by now
	}
	file, err := s.openFile(openFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return s.corrupt(0, "the file is gone")
	}
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	size, err := file.Size()
	if end, _ := unpack(b.end.Load()); err == nil && size < end {
		// What lies past the end of a file must not be touched in a mapping.
		err = s.corrupt(size, fmt.Sprintf("the file ends, but it had %d bytes", end))
	}
	if err != nil {
		s.closeFile(file)
		return err
	}
	b.file, b.resting = file, false
	b.idle.Store(false)
	b.refs.Store(1)
	return nil
}

// Idle says whether nobody used the file since it was last asked.
func (s *Segment) Idle() bool {
	b := s.body.Load()
	return b == nil || b.idle.Swap(true)
}

// Rest closes the file and ends its mappings until the segment is used again, and gives back the blocks reserved ahead.
// It does nothing while somebody reads or flushes, or where something is not durable yet: the kernel could
// forget that it failed to write what nobody has open. Only if the indexes in memory are large it waits for the disk.
// Like Append it is for the appender, who then has closing run, which takes a while for a large mapping; nil is nothing
// to close.
func (s *Segment) Rest() (closing func() error, err error) {
	if !s.mu.TryLock() {
		return nil, nil
	}
	defer s.mu.Unlock()
	b := s.body.Load()
	switch {
	case b == nil || b.resting || s.doomed:
		return nil, nil
	case s.Err() != nil, b.refs.Load() > 1, b.flushed.Load() != b.end.Load():
		return nil, nil
	}
	if err := s.slim(b); err != nil {
		return nil, err
	}
	if !b.refs.CompareAndSwap(1, 0) {
		return nil, nil // a reader came
	}
	b.resting = true
	s.closed()
	return b.detach(), nil
}

// slim gives back what an idle segment need not have.
func (s *Segment) slim(b *body) error {
	if !b.live() {
		return nil
	}
	if b.offsets.Live().Bytes()+b.times.Live().Bytes() > restingIndexBytes {
		return s.seal(b)
	}
	if size, _ := unpack(b.end.Load()); b.allocated > size {
		if err := b.file.Truncate(size); err != nil {
			return s.fail(err)
		}
		b.allocated = size
	}
	return nil
}
