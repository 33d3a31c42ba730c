package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
)

// ErrPowerCut is what a test lets every operation past a chosen point fail with.
var ErrPowerCut = errors.New("the power is cut")

// OpKind names an operation of FS, File or Mapping.
type OpKind string

// The operations.
const (
	OpOpen      OpKind = "open"   // OpenFile of a file that must be there
	OpCreate    OpKind = "create" // OpenFile with O_CREATE or O_TRUNC
	OpMkdir     OpKind = "mkdir"
	OpReadDir   OpKind = "readdir"
	OpStat      OpKind = "stat"
	OpRename    OpKind = "rename"
	OpRemove    OpKind = "remove"
	OpSyncDir   OpKind = "syncdir"
	OpSyncAll   OpKind = "syncfs"
	OpLock      OpKind = "lock"
	OpFree      OpKind = "statfs"
	OpRead      OpKind = "read"
	OpWrite     OpKind = "write"
	OpSize      OpKind = "size"
	OpTruncate  OpKind = "truncate"
	OpAllocate  OpKind = "allocate"
	OpWriteback OpKind = "writeback"
	OpDatasync  OpKind = "datasync"
	OpMap       OpKind = "map"
	OpClose     OpKind = "close"
)

// Mutates says whether the operation changes what is on the disk, or makes a change durable.
func (k OpKind) Mutates() bool {
	switch k {
	case OpCreate, OpMkdir, OpRename, OpRemove, OpSyncDir, OpSyncAll, OpWrite, OpTruncate, OpAllocate, OpDatasync:
		return true
	}
	return false
}

// Op is one operation about to run.
type Op struct {
	Kind   OpKind
	Name   string // the path; of a rename, the old one
	To     string // of a rename, the new path
	Off    int64  // of a read, write, allocation or writeback; the new size of a truncation
	Length int64
}

// ShortWrite, as the error of a write, lets the first N bytes through and then fails with Err.
type ShortWrite struct {
	N   int
	Err error
}

// Error gives the text of Err.
func (s *ShortWrite) Error() string { return "short write: " + s.Err.Error() }

// Unwrap gives Err.
func (s *ShortWrite) Unwrap() error { return s.Err }

// Fault wraps a disk and asks a hook before each operation; where the hook gives an error, the operation does nothing
// and fails with it.
type Fault struct {
	disk FS
	hook func(Op) error
}

var _ FS = (*Fault)(nil)

// NewFault wraps disk. Any goroutine may run hook, several at a time.
func NewFault(disk FS, hook func(Op) error) *Fault { return &Fault{disk: disk, hook: hook} }

// FailNth is a hook that fails the n-th operation that match accepts, counted from 0, with err, and no other.
func FailNth(n int64, match func(Op) bool, err error) func(Op) error {
	var seen atomic.Int64
	return func(op Op) error {
		if match(op) && seen.Add(1)-1 == n {
			return err
		}
		return nil
	}
}

// FailFrom is a hook that fails the n-th operation that match accepts, counted from 0, and every one after it.
func FailFrom(n int64, match func(Op) bool, err error) func(Op) error {
	var seen atomic.Int64
	return func(op Op) error {
		if match(op) && seen.Add(1)-1 >= n {
			return err
		}
		return nil
	}
}

// OpenFile asks the hook with OpOpen or OpCreate.
func (d *Fault) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	kind := OpOpen
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		kind = OpCreate
	}
	if err := d.hook(Op{Kind: kind, Name: name}); err != nil {
		return nil, pathError("open", name, err)
	}
	f, err := d.disk.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: f, hook: d.hook}, nil
}

// MkdirAll asks the hook with OpMkdir.
func (d *Fault) MkdirAll(name string, perm fs.FileMode) error {
	if err := d.hook(Op{Kind: OpMkdir, Name: name}); err != nil {
		return pathError("mkdir", name, err)
	}
	return d.disk.MkdirAll(name, perm)
}

// ReadDir asks the hook with OpReadDir.
func (d *Fault) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := d.hook(Op{Kind: OpReadDir, Name: name}); err != nil {
		return nil, pathError("open", name, err)
	}
	return d.disk.ReadDir(name)
}

// Stat asks the hook with OpStat.
func (d *Fault) Stat(name string) (fs.FileInfo, error) {
	if err := d.hook(Op{Kind: OpStat, Name: name}); err != nil {
		return nil, pathError("stat", name, err)
	}
	return d.disk.Stat(name)
}

// Rename asks the hook with OpRename.
func (d *Fault) Rename(from, to string) error {
	if err := d.hook(Op{Kind: OpRename, Name: from, To: to}); err != nil {
		return pathError("rename", from, err)
	}
	return d.disk.Rename(from, to)
}

// Exchange asks the hook with OpRename.
func (d *Fault) Exchange(a, b string) error {
	if err := d.hook(Op{Kind: OpRename, Name: a, To: b}); err != nil {
		return pathError("exchange", a, err)
	}
	return d.disk.Exchange(a, b)
}

// Remove asks the hook with OpRemove.
func (d *Fault) Remove(name string) error {
	if err := d.hook(Op{Kind: OpRemove, Name: name}); err != nil {
		return pathError("remove", name, err)
	}
	return d.disk.Remove(name)
}

// RemoveAll asks the hook with OpRemove, once.
func (d *Fault) RemoveAll(name string) error {
	if err := d.hook(Op{Kind: OpRemove, Name: name}); err != nil {
		return pathError("unlinkat", name, err)
	}
	return d.disk.RemoveAll(name)
}

// SyncDir asks the hook with OpSyncDir.
func (d *Fault) SyncDir(name string) error {
	if err := d.hook(Op{Kind: OpSyncDir, Name: name}); err != nil {
		return pathError("fsync", name, err)
	}
	return d.disk.SyncDir(name)
}

// SyncAll asks the hook with OpSyncAll.
func (d *Fault) SyncAll(name string) error {
	if err := d.hook(Op{Kind: OpSyncAll, Name: name}); err != nil {
		return pathError("syncfs", name, err)
	}
	return d.disk.SyncAll(name)
}

// Lock asks the hook with OpLock.
func (d *Fault) Lock(name string) (io.Closer, error) {
	if err := d.hook(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, pathError("flock", name, err)
	}
	return d.disk.Lock(name)
}

// FreeBytes asks the hook with OpFree.
func (d *Fault) FreeBytes(name string) (int64, error) {
	if err := d.hook(Op{Kind: OpFree, Name: name}); err != nil {
		return 0, pathError("statfs", name, err)
	}
	return d.disk.FreeBytes(name)
}

// TotalBytes asks the hook with OpFree: it is the same call of the system.
func (d *Fault) TotalBytes(name string) (int64, error) {
	if err := d.hook(Op{Kind: OpFree, Name: name}); err != nil {
		return 0, pathError("statfs", name, err)
	}
	return d.disk.TotalBytes(name)
}

// faultFile asks the hook before each operation of one open file.
type faultFile struct {
	File
	hook func(Op) error
}

// ReadAt asks the hook with OpRead.
func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.hook(Op{Kind: OpRead, Name: f.Name(), Off: off, Length: int64(len(p))}); err != nil {
		return 0, pathError("pread", f.Name(), err)
	}
	return f.File.ReadAt(p, off)
}

// WriteAt asks the hook with OpWrite.
func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.hook(Op{Kind: OpWrite, Name: f.Name(), Off: off, Length: int64(len(p))})
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	return f.short([][]byte{p}, off, err)
}

// WritevAt asks the hook with OpWrite.
func (f *faultFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	length := 0
	for _, b := range bufs {
		length += len(b)
	}
	err := f.hook(Op{Kind: OpWrite, Name: f.Name(), Off: off, Length: int64(length)})
	if err == nil {
		return f.File.WritevAt(bufs, off)
	}
	return f.short(bufs, off, err)
}

// short writes as much as the error lets through.
func (f *faultFile) short(bufs [][]byte, off int64, cause error) (int, error) {
	var s *ShortWrite
	if !errors.As(cause, &s) {
		return 0, pathError("pwrite", f.Name(), cause)
	}
	done := 0
	for _, b := range bufs {
		n, err := f.File.WriteAt(b[:min(len(b), s.N-done)], off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, pathError("pwrite", f.Name(), s.Err)
}

// Size asks the hook with OpSize.
func (f *faultFile) Size() (int64, error) {
	if err := f.hook(Op{Kind: OpSize, Name: f.Name()}); err != nil {
		return 0, pathError("fstat", f.Name(), err)
	}
	return f.File.Size()
}

// Truncate asks the hook with OpTruncate.
func (f *faultFile) Truncate(size int64) error {
	if err := f.hook(Op{Kind: OpTruncate, Name: f.Name(), Off: size}); err != nil {
		return pathError("ftruncate", f.Name(), err)
	}
	return f.File.Truncate(size)
}

// Allocate asks the hook with OpAllocate.
func (f *faultFile) Allocate(off, length int64) error {
	if err := f.hook(Op{Kind: OpAllocate, Name: f.Name(), Off: off, Length: length}); err != nil {
		return pathError("fallocate", f.Name(), err)
	}
	return f.File.Allocate(off, length)
}

// StartWriteback asks the hook with OpWriteback.
func (f *faultFile) StartWriteback(off, length int64) error {
	if err := f.hook(Op{Kind: OpWriteback, Name: f.Name(), Off: off, Length: length}); err != nil {
		return pathError("sync_file_range", f.Name(), err)
	}
	return f.File.StartWriteback(off, length)
}

// Datasync asks the hook with OpDatasync.
func (f *faultFile) Datasync() error {
	if err := f.hook(Op{Kind: OpDatasync, Name: f.Name()}); err != nil {
		return pathError("fdatasync", f.Name(), err)
	}
	return f.File.Datasync()
}

// Map asks the hook with OpMap.
func (f *faultFile) Map(length int64) (Mapping, error) {
	if err := f.hook(Op{Kind: OpMap, Name: f.Name(), Length: length}); err != nil {
		return nil, pathError("mmap", f.Name(), err)
	}
	return f.File.Map(length)
}

// Close asks the hook with OpClose; the file is closed even when the hook fails it, as close(2) does.
func (f *faultFile) Close() error {
	hookErr := f.hook(Op{Kind: OpClose, Name: f.Name()})
	if err := f.File.Close(); err != nil {
		return err
	}
	return pathError("close", f.Name(), hookErr)
}
