// Package vfs is the file system as an interface: OS is the machine's, Mem a disk in memory that can lose power and
// tear writes, Fault a wrapper that fails on cue. It owns open files and mappings until they are closed. Any
// goroutine may call it; a File allows concurrent reads, and writes to ranges that do not overlap.
package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked says that another process, or another owner in this one, holds the lock.
var ErrLocked = errors.New("held by another process")

// FS opens and names files. Paths are slash separated and absolute or relative as the caller was configured.
// Errors wrap those of the os package, so errors.Is(err, fs.ErrNotExist) and errors.Is(err, syscall.ENOSPC) work.
type FS interface {
	// OpenFile opens name; flag is a set of os.O_RDONLY, O_RDWR, O_CREATE, O_EXCL and O_TRUNC.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// MkdirAll makes name and its missing parents.
	MkdirAll(name string, perm fs.FileMode) error
	ReadDir(name string) ([]fs.DirEntry, error) // sorted by name
	Stat(name string) (fs.FileInfo, error)
	Rename(from, to string) error // replaces an existing file
	// Exchange swaps two names of one directory in one step, also across a power cut.
	Exchange(a, b string) error
	Remove(name string) error
	RemoveAll(name string) error
	// SyncDir makes creations, renames and removals in the directory name durable.
	SyncDir(name string) error
	// SyncAll makes everything durable that was written to the file system that holds the directory name, contents and
	// names (syncfs). It waits for what others have written there, too.
	SyncAll(name string) error
	// Lock takes the exclusive lock that name stands for, creating the file; it fails at once with ErrLocked when
	// somebody holds it. Closing gives it up.
	Lock(name string) (io.Closer, error)
	// FreeBytes is the room left for an unprivileged writer on the file system that holds name.
	FreeBytes(name string) (int64, error)
	// TotalBytes is the size of the file system that holds name.
	TotalBytes(name string) (int64, error)
}

// File is one open file. All positions and lengths are in bytes.
type File interface {
	io.ReaderAt
	io.WriterAt
	// WritevAt writes the buffers one after another from off, as one pwritev where the kernel allows, and returns the
	// bytes written. It does not keep or change bufs or what they point to.
	WritevAt(bufs [][]byte, off int64) (int, error)
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate reserves blocks for [off, off+length) without changing the file's size (fallocate KEEP_SIZE). A full
	// disk is reported here as ENOSPC. Where the file system cannot do it, it returns nil.
	Allocate(off, length int64) error
	// StartWriteback asks the kernel to begin writing [off, off+length) to the disk and does not wait.
	StartWriteback(off, length int64) error
	// Datasync makes the data written so far, and the size, durable (fdatasync).
	Datasync() error
	// Map gives a read-only shared mapping of the first length bytes, which may reach past the end of the file:
	// bytes below the current size may be read, and later writes below length show in it.
	Map(length int64) (Mapping, error)
	// FD is the descriptor for sendfile and residency checks, or -1 where there is none (Mem).
	FD() int
	Name() string
	Close() error
}

// Mapping is a mapped file. Bytes past the file's end must not be touched.
type Mapping interface {
	Bytes() []byte
	// Resident says whether every page of [off, off+length) is in memory, so that reading it does not wait for a disk.
	Resident(off, length int64) bool
	// Unmap ends the mapping; no slice of Bytes may be used afterwards.
	Unmap() error
}
