package netpoll

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"spate/internal/task"
)

// coldRead is the reading in of a file range that a connection is to send. Each connection has one at most.
type coldRead struct {
	conn   *conn
	busy   bool // the loop's: a worker has it, so the range's response must not be released
	fd     int
	offset int64
	length int64
	mapped []byte    // the same bytes; read instead if there is no fd
	next   *coldRead // in the line; under the pool's lock
}

// readsIn reports whether a worker is reading in what is to be sent next.
func (c *conn) readsIn() bool { return c.cold != nil && c.cold.busy }

// readIn has a worker read in what is to be sent next.
func (c *conn) readIn() {
	if c.cold == nil {
		c.cold = &coldRead{conn: c}
	}
	p := &c.queue.at(c.queue.oldest).response.Pieces[c.piece]
	r := c.cold
	r.busy, r.fd, r.offset = true, p.FD, p.Offset+c.sent
	r.length = min(p.Length-c.sent, sendWindow)
	r.mapped = nil
	if p.Mapped != nil {
		r.mapped = p.Mapped[c.sent : c.sent+r.length]
	}
	c.loop.reading++
	c.loop.account.coldReads.Add(1)
	c.loop.server.readers.submit(r)
}

// Run lets the connection go on, or ends what teardown had to leave; it is the task by which a worker reports.
func (r *coldRead) Run() {
	c := r.conn
	r.busy = false
	c.loop.reading--
	if c.dead {
		c.releaseQueue()
		return
	}
	// Send it without another look: if memory is so short that it is gone again, waiting once more would not help.
	c.vouched = true
	c.mark()
}

// resident reports whether n bytes of p, beginning with byte from, can be sent without waiting for the disk.
func (c *conn) resident(p *Piece, from, n int64) bool {
	if c.vouched {
		c.vouched = false
		return true
	}
	if p.Hot {
		return true
	}
	if p.FD >= 0 {
		if resident, known := c.loop.server.cached(p.FD, p.Offset+from, n); known {
			return resident
		}
	}
	return p.Mapped != nil && c.loop.inCore(p.Mapped[from:from+n])
}

// inCore asks the kernel whether mapped bytes are in memory.
func (l *loop) inCore(mapped []byte) bool {
	start := uintptr(unsafe.Pointer(&mapped[0]))
	lead := start % uintptr(l.pageBytes)
	length := uintptr(len(mapped)) + lead
	pages := l.pages[:(int64(length)+l.pageBytes-1)/l.pageBytes]
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, start-lead, length, uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return false
	}
	for _, page := range pages {
		if page&1 == 0 {
			return false
		}
	}
	return true
}

// readers are the workers that read cold ranges in. Their line is bounded by the number of connections.
type readers struct {
	group task.Group
	// readIn reads a range into the page cache; a test puts a slower one here.
	readIn func(r *coldRead, scratch []byte)

	mu    sync.Mutex
	some  sync.Cond // the line is not empty, or closed
	first *coldRead
	last  *coldRead
	done  bool
}

// scratchBytes is how much a worker reads at once; nobody looks at the bytes.
const scratchBytes = 128 << 10

func newReaders() *readers {
	p := &readers{readIn: (*coldRead).readIn}
	p.some.L = &p.mu
	return p
}

// start starts n workers.
func (p *readers) start(n int) {
	for range n {
		p.group.Go("netpoll reader", p.work)
	}
}

// submit puts r in the line; its Run is posted when it has been read in.
func (p *readers) submit(r *coldRead) {
	p.mu.Lock()
	if p.last == nil {
		p.first = r
	} else {
		p.last.next = r
	}
	p.last = r
	p.mu.Unlock()
	p.some.Signal()
}

// close ends the workers once the line is empty, and joins them.
func (p *readers) close() {
	p.mu.Lock()
	p.done = true
	p.mu.Unlock()
	p.some.Broadcast()
	p.group.Wait()
}

func (p *readers) work() {
	scratch := make([]byte, scratchBytes)
	for r := p.take(); r != nil; r = p.take() {
		p.readIn(r, scratch)
		r.conn.loop.post(message{task: r})
	}
}

// take waits for the first of the line; nil means that there will be none.
func (p *readers) take() *coldRead {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.first == nil && !p.done {
		p.some.Wait()
	}
	r := p.first
	if r == nil {
		return nil
	}
	p.first, r.next = r.next, nil
	if p.first == nil {
		p.last = nil
	}
	return r
}

// readIn reads the range into the page cache. An error is not its concern: sending meets the same one.
func (r *coldRead) readIn(scratch []byte) {
	if r.fd < 0 {
		populate(r.mapped)
		return
	}
	_ = unix.Fadvise(r.fd, r.offset, r.length, unix.FADV_WILLNEED)
	for done := int64(0); done < r.length; {
		n, err := unix.Pread(r.fd, scratch[:min(int64(len(scratch)), r.length-done)], r.offset+done)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
		done += int64(n)
	}
}

// populate has the kernel read mapped bytes in; unlike touching them, it cannot fault.
func populate(mapped []byte) {
	start := uintptr(unsafe.Pointer(&mapped[0]))
	lead := start % uintptr(unix.Getpagesize())
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, start-lead, uintptr(len(mapped))+lead, unix.MADV_POPULATE_READ)
}
