package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/edsrzf/mmap-go"
	"golang.org/x/sys/unix"
)

// OS is the machine's file system. The zero value is one that remembers no locks.
type OS struct {
	held *heldLocks // nil: none is remembered
}

// NewOS makes one whose SyncDir can fall back on the files that it has locked.
func NewOS() OS { return OS{held: &heldLocks{files: map[*osLock]bool{}}} }

var _ FS = OS{}

// OpenFile opens name. The descriptor is closed on exec.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	var fd int
	// Not os.OpenFile: it offers each file to the poller and makes it blocking again, six calls for one.
	err := retry(func() (err error) {
		fd, err = unix.Open(name, flag|unix.O_CLOEXEC, uint32(perm.Perm()))
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	o := &osFile{file: os.NewFile(uintptr(fd), name)}
	o.fd.Store(int64(fd))
	return o, nil
}

// MkdirAll makes name and its parents.
func (OS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

// ReadDir lists name, sorted.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat describes name.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// Rename renames from to to, replacing a file that is there.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Exchange swaps two names. File systems that cannot do it in one step say EINVAL.
func (OS) Exchange(a, b string) error {
	err := retry(func() error { return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) })
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

// Remove removes a file or an empty directory.
func (OS) Remove(name string) error { return os.Remove(name) }

// RemoveAll removes name and all below it; it is no error if there is nothing.
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }

// SyncDir makes the names in the directory durable, also when the process has no descriptor left to open it with and
// holds the Lock of a file on the same file system: then it runs syncfs on that.
func (o OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if OutOfFiles(err) && o.held != nil {
		return o.held.sync(name, err)
	}
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}

// SyncAll runs syncfs.
func (OS) SyncAll(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := retry(func() error { return unix.Syncfs(int(d.Fd())) }); err != nil {
		d.Close()
		return &fs.PathError{Op: "syncfs", Path: name, Err: err}
	}
	return d.Close()
}

// Lock takes an exclusive flock on name, and the record lock that Apache Kafka takes: the kernel keeps the two apart,
// and a directory must not have one broker of each. The file stays behind when the lock is given up: removing it would
// let two processes lock two files of one name.
func (o OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil {
		// Of the open file, not of the process: closing another descriptor of the file would end the latter.
		whole := unix.Flock_t{Type: unix.F_WRLCK}
		err = retry(func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole) })
	}
	if err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK || err == unix.EACCES {
			return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
		}
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	if o.held == nil {
		return f, nil
	}
	l := &osLock{File: f, held: o.held}
	o.held.mu.Lock()
	o.held.files[l] = true
	o.held.mu.Unlock()
	return l, nil
}

// heldLocks are the files that are locked: each is a descriptor that is there when there are no more.
type heldLocks struct {
	mu    sync.Mutex
	files map[*osLock]bool
}

// osLock is a file that is locked.
type osLock struct {
	*os.File
	held *heldLocks
}

// Close gives the lock up.
func (l *osLock) Close() error {
	l.held.mu.Lock()
	delete(l.held.files, l)
	l.held.mu.Unlock()
	return l.File.Close()
}

// sync is SyncDir without a new descriptor; failed is why there is none.
func (h *heldLocks) sync(name string, failed error) error {
	var dir, file unix.Stat_t
	if err := unix.Stat(name, &dir); err != nil {
		return &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	h.mu.Lock()
	defer h.mu.Unlock() // nobody closes one meanwhile
	for l := range h.files {
		if err := unix.Fstat(int(l.Fd()), &file); err != nil || file.Dev != dir.Dev {
			continue
		}
		if err := retry(func() error { return unix.Syncfs(int(l.Fd())) }); err != nil {
			return &fs.PathError{Op: "syncfs", Path: name, Err: err}
		}
		return nil
	}
	return failed
}

// FreeBytes asks statfs for the blocks that an unprivileged user may take.
func (OS) FreeBytes(name string) (int64, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &st) }); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// TotalBytes asks statfs for all blocks.
func (OS) TotalBytes(name string) (int64, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &st) }); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return int64(st.Blocks) * st.Bsize, nil
}

// retry repeats a call that a signal interrupted; Go's own preemption signals do that.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// osFile calls the kernel on the descriptor itself: os.File would add a lock, an interface and, for a vectored write,
// a closure to each call.
type osFile struct {
	file *os.File
	fd   atomic.Int64 // -1 once closed, so that a late call fails instead of reaching another file
}

// FD is the descriptor, or -1 once the file is closed.
func (f *osFile) FD() int { return int(f.fd.Load()) }

// Name is the path that the file was opened by.
func (f *osFile) Name() string { return f.file.Name() }

func (f *osFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.file.Name(), Err: err}
}

// ReadAt fills p from off; it gives io.EOF where the file ends before p does.
func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.FD(), p[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, f.fail("pread", err)
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// WriteAt writes p at off, going on after a short write.
func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pwrite(f.FD(), p[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, f.fail("pwrite", err)
		}
		if n == 0 {
			return done, f.fail("pwrite", io.ErrShortWrite)
		}
		done += n
	}
	return done, nil
}

// iovecsMax is the kernel's limit for one vectored call (UIO_MAXIOV).
const iovecsMax = 1024

// WritevAt writes bufs from off. After a short write the rest goes buffer by buffer.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	done := 0
	for len(bufs) > 0 {
		chunk := bufs[:min(len(bufs), iovecsMax)]
		bufs = bufs[len(chunk):]
		n, err := f.pwritev(chunk, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (f *osFile) pwritev(bufs [][]byte, off int64) (int, error) {
	var n int
	err := retry(func() (err error) {
		n, err = unix.Pwritev(f.FD(), bufs, off)
		return err
	})
	if err != nil {
		return 0, f.fail("pwritev", err)
	}
	skip := n
	for _, b := range bufs {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		m, err := f.WriteAt(b[skip:], off+int64(n))
		skip = 0
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Size asks fstat.
func (f *osFile) Size() (int64, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(f.FD(), &st) }); err != nil {
		return 0, f.fail("fstat", err)
	}
	return st.Size, nil
}

// Truncate sets the size and gives back the blocks that were reserved past it.
func (f *osFile) Truncate(size int64) error {
	if err := retry(func() error { return unix.Ftruncate(f.FD(), size) }); err != nil {
		return f.fail("ftruncate", err)
	}
	return nil
}

// Allocate reserves blocks; a file system without fallocate reserves nothing.
func (f *osFile) Allocate(off, length int64) error {
	err := retry(func() error { return unix.Fallocate(f.FD(), unix.FALLOC_FL_KEEP_SIZE, off, length) })
	if err != nil && err != unix.EOPNOTSUPP && err != unix.ENOSYS {
		return f.fail("fallocate", err)
	}
	return nil
}

// StartWriteback begins to write the range out; a file system without it writes out later.
func (f *osFile) StartWriteback(off, length int64) error {
	err := retry(func() error { return unix.SyncFileRange(f.FD(), off, length, unix.SYNC_FILE_RANGE_WRITE) })
	if err != nil && err != unix.ESPIPE && err != unix.ENOSYS {
		return f.fail("sync_file_range", err)
	}
	return nil
}

// Datasync makes data and size durable.
func (f *osFile) Datasync() error {
	if err := retry(func() error { return unix.Fdatasync(f.FD()) }); err != nil {
		return f.fail("fdatasync", err)
	}
	return nil
}

// Map maps the first length bytes, whatever the size is now.
func (f *osFile) Map(length int64) (Mapping, error) {
	m, err := mmap.MapRegion(f.file, int(length), mmap.RDONLY, 0, 0)
	if errors.Is(err, unix.ENOMEM) {
		err = fmt.Errorf("%w: %w", ErrMappings, err)
	}
	if err != nil {
		return nil, f.fail("mmap", err)
	}
	return &osMapping{file: f, bytes: m}, nil
}

// Close closes the descriptor; mappings stay.
func (f *osFile) Close() error {
	f.fd.Store(-1)
	return f.file.Close()
}

type osMapping struct {
	file  *osFile
	bytes mmap.MMap
}

// Bytes is the mapped file.
func (m *osMapping) Bytes() []byte { return m.bytes }

// Resident asks about the pages of [off, off+length): mincore, if the file is closed or Cached does not know.
func (m *osMapping) Resident(off, length int64) bool {
	page := systemPage
	from := off &^ (page - 1)
	to := min(off+length, int64(len(m.bytes)))
	if length <= 0 || from >= to {
		return true
	}
	if fd := m.file.FD(); fd >= 0 {
		if cached, known := Cached(fd, from, to-from); known {
			return cached
		}
	}
	var state [64]byte // one byte a page; on the stack
	for from < to {
		n := min(to-from, page*int64(len(state)))
		_, _, errno := unix.Syscall(unix.SYS_MINCORE,
			uintptr(unsafe.Pointer(&m.bytes[from])), uintptr(n), uintptr(unsafe.Pointer(&state[0])))
		if errno == unix.EAGAIN {
			continue
		}
		if errno != 0 {
			return false
		}
		for _, s := range state[:(n+page-1)/page] {
			if s&1 == 0 {
				return false
			}
		}
		from += n
	}
	return true
}

// Unmap ends the mapping.
func (m *osMapping) Unmap() error {
	if err := m.bytes.Unmap(); err != nil {
		return fmt.Errorf("munmap: %w", err)
	}
	return nil
}
