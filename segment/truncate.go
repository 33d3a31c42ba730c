package segment

import (
	"fmt"
	"io"
	"os"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
)

// TruncateTo removes every batch that ends at or past offset, with its index entries, durably. Ranges that were read
// before stay as they are: when there are any, what is kept moves to a new file. It waits for the disk and must not run
// beside an append.
func (s *Segment) TruncateTo(offset kafka.Offset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.current()
	if err != nil {
		return err
	}
	if _, relative := unpack(b.end.Load()); offset >= s.base+kafka.Offset(relative) {
		return nil
	}
	if err := s.openBody(b); err != nil {
		return err
	}
	kept, err := s.keep(b, offset)
	if err == index.ErrUnusable {
		if err = s.mend(b); err == nil {
			kept, err = s.keep(b, offset)
		}
	}
	if err != nil {
		return err
	}
	if b.refs.CompareAndSwap(1, 0) { // no reader has it, and none gets it any more
		return s.cut(b, kept)
	}
	return s.copyKept(b, kept)
}

// kept is what a truncation leaves.
type kept struct {
	end     place
	tally   tally
	aborted *index.Buffer
}

// keep finds the batches that end below offset and what the indexes hold of them.
func (s *Segment) keep(b *body, offset kafka.Offset) (k kept, err error) {
	_, times, err := s.views(b)
	if err != nil {
		return k, err
	}
	size, _ := unpack(b.end.Load())
	f, err := s.finder(b, size)
	if err != nil {
		return k, err
	}
	aborted, err := b.aborted.View()
	if err != nil {
		return k, err
	}
	err = vfs.Guard(func() error {
		from, err := f.endingFrom(offset)
		if err != nil {
			return err
		}
		k.aborted = index.NewBuffer(index.Transactions(aborted).Valid(s.base).Before(offset))
		k.tally = s.tallyBefore(f, times, offset)
		k.tally.first = b.tally.first
		if from.position == 0 {
			k.tally.first = kafka.NoTimestamp
		}
		next, err := s.walk(&k.tally, f.data[:from.position], k.tally.indexed)
		k.end = place{from.position, next}
		return err
	})
	return k, err
}

// tallyBefore goes on from the entries below offset. Of the time entries it takes those that came with one of the
// offset entries; the walk from there on finds the rest.
func (s *Segment) tallyBefore(f finder, times index.Times, offset kafka.Offset) tally {
	t := newTally(s.base, s.options.IndexIntervalBytes)
	n := f.offsets.Floor(int64(offset-1-s.base)) + 1
	if n <= 0 || !whole(f.offsets, times, int64(len(f.data))) {
		return t
	}
	last := f.offsets.At(n - 1)
	if !s.pointsTo(f.data, last) {
		return t
	}
	m := times.FloorRelative(int64(last.Relative)) + 1
	t.resume(f.offsets[:n*index.OffsetEntryBytes], times[:m*index.TimeEntryBytes])
	return t
}

// replace makes a body of what was kept.
func (s *Segment) replace(file vfs.File, k kept) *body {
	b := s.newBody(file, k.tally, k.aborted)
	b.end.Store(pack(k.end.position, int64(k.end.offset-s.base)))
	b.flushed.Store(b.end.Load())
	b.allocated = k.end.position
	b.writtenBack.Store(b.allocated)
	return b
}

// cut shortens the file. The old body is dead; its file and its mapping go over to the new one.
func (s *Segment) cut(old *body, k kept) error {
	b := s.replace(old.file, k)
	b.mapping.Store(old.mapping.Load())
	b.retired = old.retired
	for _, f := range []*index.File{old.offsets, old.times, old.aborted} {
		if err := f.Close(); err != nil {
			_ = s.fail(err)
		}
	}
	s.body.Store(b)
	if err := b.file.Truncate(k.end.position); err != nil {
		return s.fail(err)
	}
	if err := b.file.Datasync(); err != nil {
		return s.fail(err)
	}
	return s.Err()
}

// copyBytes is how much copyKept reads and writes at a time.
const copyBytes = 1 << 20

// copyKept writes what is kept to a new file, which takes the place of the old one; that stays open for its readers.
func (s *Segment) copyKept(old *body, k kept) error {
	name := s.path(LogSuffix)
	temp := name + CleanedSuffix
	file, err := s.disk.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return s.failUnlessFull(err)
	}
	if err := copyFile(file, old.file, k.end.position); err != nil {
		file.Close()
		_ = removeMissing(s.disk, temp) // it is worth nothing, and is removed at the next start if not now
		return s.failUnlessFull(fmt.Errorf("truncate %s: %w", name, err))
	}
	err = s.disk.Rename(temp, name)
	if err == nil {
		err = s.disk.SyncDir(s.dir)
	}
	if err != nil {
		file.Close()
		return s.fail(err)
	}
	s.named = true
	s.body.Store(s.replace(file, k))
	old.release()
	return nil
}

// copyFile copies the first n bytes and makes them durable.
func copyFile(to, from vfs.File, n int64) error {
	buffer := make([]byte, min(n, copyBytes))
	for done := int64(0); done < n; {
		part := buffer[:min(n-done, copyBytes)]
		if _, err := from.ReadAt(part, done); err != nil && err != io.EOF {
			return err
		}
		if _, err := to.WriteAt(part, done); err != nil {
			return err
		}
		done += int64(len(part))
	}
	return to.Datasync()
}
