package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
)

// SwapSuffix is added to the name of a file that is whole and durable and takes the place of others.
const SwapSuffix = ".swap"

// CreateCleaned makes an empty segment whose files carry CleanedSuffix: it is to replace others once it is sealed.
// What an earlier attempt left under these names goes.
func CreateCleaned(disk vfs.FS, dir string, base kafka.Offset, o Options) (*Segment, error) {
	s := newSegment(disk, dir, base, o)
	s.suffix = CleanedSuffix
	for _, suffix := range suffixes {
		if err := removeMissing(disk, s.path(suffix)); err != nil {
			return nil, err
		}
	}
	file, err := s.openFile(os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	s.body.Store(s.newBody(file, newTally(base, o.IndexIntervalBytes), &index.Buffer{}))
	return s, nil
}

// Rename gives the files of a sealed segment another suffix, "" for none, durably: the indexes first, and the log only
// when their names are. So a log of that name has its indexes, whatever happens in between. Reads go on. With
// DeletedSuffix nothing more is written.
func (s *Segment) Rename(suffix string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.body.Load()
	if b == nil {
		return ErrClosed
	}
	for i, f := range b.indexes() {
		if err := f.Rename(path.Join(s.dir, FileName(s.base, suffixes[i+1])+suffix)); err != nil {
			return err
		}
	}
	if err := s.disk.SyncDir(s.dir); err != nil {
		return err
	}
	if err := s.disk.Rename(s.path(LogSuffix), path.Join(s.dir, FileName(s.base, LogSuffix)+suffix)); err != nil {
		return err
	}
	s.suffix = suffix
	s.doomed = s.doomed || suffix == DeletedSuffix
	return s.disk.SyncDir(s.dir)
}

// FinishSwap does the rest of a replacement that a crash interrupted: files of the segment at base carry SwapSuffix. If
// its log does, the replacement had been decided: the segments of bases, in order, that begin in its range go, oldest
// first, and its files take their names; those that went are returned. Otherwise it was not, and the files go.
func FinishSwap(disk vfs.FS, dir string, base kafka.Offset, bases []kafka.Offset) ([]kafka.Offset, error) {
	swapped := path.Join(dir, FileName(base, LogSuffix+SwapSuffix))
	if _, err := disk.Stat(swapped); errors.Is(err, fs.ErrNotExist) {
		return nil, removeFiles(disk, dir, base, SwapSuffix)
	} else if err != nil {
		return nil, err
	}
	next, err := nextOffset(disk, swapped, base)
	if err != nil {
		return nil, err
	}
	var gone []kafka.Offset
	for _, old := range bases {
		if old < base || old > base && old >= next {
			continue
		}
		if err := removeFiles(disk, dir, old, ""); err != nil {
			return gone, err
		}
		gone = append(gone, old)
	}
	for i := range suffixes {
		suffix := suffixes[len(suffixes)-1-i] // the log last
		if suffix == LogSuffix {
			if err := disk.SyncDir(dir); err != nil {
				return gone, err
			}
		}
		name := path.Join(dir, FileName(base, suffix))
		if err := disk.Rename(name+SwapSuffix, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return gone, err
		}
	}
	return gone, disk.SyncDir(dir)
}

// removeFiles removes the files of a segment with a suffix, durably, the log last.
func removeFiles(disk vfs.FS, dir string, base kafka.Offset, suffix string) error {
	for i := range suffixes {
		kind := suffixes[len(suffixes)-1-i]
		if kind == LogSuffix {
			if err := disk.SyncDir(dir); err != nil {
				return err
			}
		}
		if err := removeMissing(disk, path.Join(dir, FileName(base, kind+suffix))); err != nil {
			return err
		}
	}
	return disk.SyncDir(dir)
}

// nextOffset is the offset that follows the log in a file, which has to be valid to its end.
func nextOffset(disk vfs.FS, name string, base kafka.Offset) (kafka.Offset, error) {
	file, err := disk.OpenFile(name, openFlags, 0)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return 0, err
	}
	scan, err := scanFile(file, size, base, nil)
	if err == nil && scan.Reason != "" {
		err = &CorruptError{File: name, BaseOffset: base, Position: scan.Bytes, Reason: scan.Reason}
	}
	return scan.NextOffset, err
}
