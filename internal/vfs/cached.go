package vfs

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// question holds the arguments of the system calls of Cached, which must not be allocated for each.
type question struct {
	asked  unix.CachestatRange
	answer unix.Cachestat_t
	probe  unix.Iovec
	probed byte
}

var (
	questions   = sync.Pool{New: func() any { return new(question) }}
	noCachestat atomic.Bool // the kernel has turned out not to have that call
	systemPage  = int64(os.Getpagesize())
)

// Cached asks the kernel whether length bytes of a file, at least one, are in the page cache from off on, and whether
// the last one can be read, since a page that is only being read in counts as cached. It needs Linux 6.5 and the right
// to write to the file; else the answer is not known. For a long range it takes an eighth of mincore's time.
func Cached(fd int, off, length int64) (cached, known bool) {
	if noCachestat.Load() {
		return false, false
	}
	q := questions.Get().(*question)
	defer questions.Put(q)
	q.asked = unix.CachestatRange{Off: uint64(off), Len: uint64(length)}
	if err := unix.Cachestat(uint(fd), &q.asked, &q.answer, 0); err != nil {
		if err == unix.ENOSYS {
			noCachestat.Store(true)
		}
		return false, false
	}
	last := off + length - 1
	if int64(q.answer.Cache) < last/systemPage-off/systemPage+1 {
		return false, true
	}
	q.probe = unix.Iovec{Base: &q.probed}
	q.probe.SetLen(1)
	_, _, errno := unix.Syscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&q.probe)), 1, uintptr(last), 0,
		unix.RWF_NOWAIT)
	return errno != unix.EAGAIN, true
}
