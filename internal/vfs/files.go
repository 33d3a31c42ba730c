package vfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"syscall"
)

// TempSuffix ends the name of a file that ReplaceFile has not finished. What carries it may be removed at start.
const TempSuffix = ".tmp"

// ReadFile gives the whole content of name.
func ReadFile(fs FS, name string) ([]byte, error) { return ReadSmallFile(fs, name, math.MaxInt64) }

// ReadSmallFile gives the whole content of name, which may have so many bytes at most.
func ReadSmallFile(fs FS, name string, limit int64) ([]byte, error) {
	f, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that make sense", name, size, limit)
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return data[:n], nil
}

// ReplaceFile makes data the content of name, all of it or none: it writes a temporary file beside it, makes that
// durable, renames it and makes the name durable.
func ReplaceFile(fs FS, name string, data []byte) error {
	if err := PlaceFile(fs, name, data); err != nil {
		return err
	}
	if err := fs.SyncDir(path.Dir(name)); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

// PlaceFile is ReplaceFile without the flush of the folder, for a caller that flushes it once for several files: until
// then a crash may bring the old content back.
func PlaceFile(fs FS, name string, data []byte) error {
	temp := name + TempSuffix
	if err := writeDurably(fs, temp, data); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	if err := fs.Rename(temp, name); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

func writeDurably(fs FS, name string, data []byte) error {
	f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		f.Close()
		return err
	}
	if err := f.Datasync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// DiskFull says whether an operation failed for want of room: the disk's, or the quota's. It may succeed later.
func DiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// ErrMappings says that the process may have no more mappings (vm.max_map_count).
var ErrMappings = errors.New("too many mappings, see vm.max_map_count")

// OutOfFiles says whether an operation failed for want of a descriptor or a mapping.
func OutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, ErrMappings)
}

// Exhausted says whether an operation failed for want of room or of descriptors, and may succeed later. Nothing is
// known to be broken by it, but of an operation of several steps some may have been done.
func Exhausted(err error) bool { return DiskFull(err) || OutOfFiles(err) }
