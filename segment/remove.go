package segment

import (
	"errors"
	"io/fs"

	"spate/index"
)

// suffixes are those of the files of a segment. The log comes first: what is left of a segment whose log is gone is an
// index that nobody looks at.
var suffixes = [...]string{
	LogSuffix, index.OffsetKind.Suffix, index.TimeKind.Suffix, index.TransactionKind.Suffix,
}

// RenameDeleted adds DeletedSuffix to the names of all files, so that nothing of the segment is loaded again. Reads go
// on; nothing more is written. The new names are not made durable: a crash may bring the old ones back.
func (s *Segment) RenameDeleted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.body.Load()
	if b == nil {
		return ErrClosed
	}
	if s.doomed {
		return nil
	}
	name := s.name()
	if err := s.disk.Rename(name, name+DeletedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.suffix = DeletedSuffix
	for i, f := range b.indexes() {
		// Each knows its new name at once: a reader who found nothing would take it that nothing was aborted.
		if err := f.Rename(s.path(suffixes[i+1])); err != nil {
			return err
		}
	}
	s.doomed = true
	return nil
}

// Remove removes the files and ends the segment. Ranges that were read stay good until they are released; only then the
// room on the disk is free.
func (s *Segment) Remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doomed = true
	names := make([]string, 0, 2*len(suffixes))
	for _, suffix := range suffixes {
		names = append(names, s.path(suffix))
	}
	if b := s.body.Load(); b != nil { // a renaming that failed may have got no further than some of the files
		for _, f := range b.indexes() {
			names = append(names, f.Path())
		}
	}
	s.drop() // first: a reader who does not find a file learns that the segment is gone
	var errs []error
	for _, name := range names {
		errs = append(errs, removeMissing(s.disk, name))
	}
	return errors.Join(errs...)
}

// Abandon ends the segment and writes nothing: its files are somebody else's by now, or stay as a crash would leave
// them. Ranges that were read stay good until they are released.
func (s *Segment) Abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doomed = true
	s.drop()
}

// drop gives up the body, and the segment's own reference if the file is open. The caller holds mu, or is alone.
func (s *Segment) drop() {
	b := s.body.Load()
	if b == nil {
		return
	}
	s.body.Store(nil)
	if !b.resting {
		b.release()
		s.closed()
	}
}
