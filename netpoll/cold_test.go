package netpoll

import (
	"errors"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"spate/internal/vfs"
)

// evict drops the file from the page cache. Its pages must be clean and not mapped by a touch.
func (f *mappedFile) evict(t testing.TB) {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	until(t, "the file leaves the page cache; the test's directory has to be on a disk", func() bool {
		if err := unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		asked, answer := unix.CachestatRange{Len: uint64(len(f.content))}, unix.Cachestat_t{}
		if err := unix.Cachestat(uint(f.fd), &asked, &answer, 0); err != nil {
			t.Fatalf("cachestat: %v", err)
		}
		return answer.Cache == 0
	})
}

// gate makes workers wait until the test lets them read.
type gate struct {
	entered chan *coldRead
	open    chan struct{}
}

func (w *world) gateReaders() *gate {
	g := &gate{entered: make(chan *coldRead, 100), open: make(chan struct{}, 100)}
	w.server.readers.mu.Lock()
	defer w.server.readers.mu.Unlock()
	w.server.readers.readIn = func(r *coldRead, scratch []byte) {
		g.entered <- r
		<-g.open
		r.readIn(scratch)
	}
	w.Cleanup(func() { close(g.open) })
	return g
}

// TestColdRangeStallsNobody: while a worker reads a range in that is not in the page cache, the loop serves other
// connections; the response that waits keeps its place, and all bytes arrive.
func TestColdRangeStallsNobody(t *testing.T) {
	const length = 3<<20 + 12345
	for name, form := range map[string]pieceForm{
		"a file": fileOnly, "a mapping": mappedOnly, "a file with its mapping": both,
	} {
		t.Run(name, func(t *testing.T) {
			file := newFile(t, 4<<20)
			plans := []plan{
				planOf(file, file.piece(0, 100, inMemory)),
				planOf(file, file.piece(4097, length, form)),
				planOf(file, file.piece(100, 100, inMemory)),
			}
			var released atomic.Int64
			w := newWorld(t, Options{}, serve(plans, &released))
			g := w.gateReaders()
			file.evict(t)
			cold, other := w.dial(), w.dial()
			cold.ask(len(plans))
			cold.expectWire(plans[:1])
			await(t, g.entered)
			for range 20 {
				other.ask(1)
				other.expectWire(plans[:1])
			}
			until(t, "all that need not wait are released", func() bool { return released.Load() == 21 })
			for range 10 {
				g.open <- struct{}{}
			}
			cold.expectWire(plans[1:])
			if s := w.server.Stats(); s.ColdReads < 1 || s.ColdReads > 4 {
				t.Fatalf("%d ranges were read in", s.ColdReads)
			}
		})
	}
}

// TestSmallColdRange: a small mapped range, which would be sent by sendmsg, is not touched by the loop either.
func TestSmallColdRange(t *testing.T) {
	file := newFile(t, 1<<20)
	var plans []plan
	for i := range int64(8) {
		plans = append(plans, planOf(file, file.piece(i*100_000, 1000, both)))
	}
	var released atomic.Int64
	w := newWorld(t, Options{}, serve(plans, &released))
	file.evict(t)
	c := w.dial()
	c.ask(len(plans))
	c.expectWire(plans)
	if n := w.server.Stats().ColdReads; n == 0 {
		t.Fatal("no range was read in by a worker")
	}
}

// TestCloseDuringColdRead: what a worker reads from is released when it is done, not when the connection closes, even
// if the server shuts down meanwhile.
func TestCloseDuringColdRead(t *testing.T) {
	file := newFile(t, 1<<20)
	plans := []plan{planOf(file, file.piece(0, 1<<20, both))}
	var released atomic.Int64
	w := newWorld(t, Options{}, serve(plans, &released))
	g := w.gateReaders()
	file.evict(t)
	c := w.dial()
	conn := w.nextOpen()
	c.ask(1)
	await(t, g.entered)
	why := errors.New("enough")
	conn.Close(why)
	if end := w.nextEnd(); !errors.Is(end.reason, why) {
		t.Fatalf("closed because: %v", end.reason)
	}
	if released.Load() != 0 {
		t.Fatal("released while a worker reads from it")
	}
	stopped := make(chan error)
	go func() { stopped <- w.server.Shutdown(t.Context()) }()
	g.open <- struct{}{}
	w.must(await(t, stopped))
	if released.Load() != 1 {
		t.Fatal("not released")
	}
}

// unknown is vfs.Cached where the kernel does not say.
func unknown(int, int64, int64) (cached, known bool) { return false, false }

// TestResidency: what the kernel says of ranges that are in memory, partly in memory, and not, by either call.
func TestResidency(t *testing.T) {
	const length = 1 << 20
	file := newFile(t, length)
	w := newWorld(t, Options{}, echoer())
	w.dial()
	c := w.nextOpen().(*conn)
	ask := func(p Piece, from, n int64) (resident bool) {
		w.do(c, func() { resident = c.resident(&p, from, n) })
		return resident
	}
	for name, forms := range map[string][]pieceForm{
		"by cachestat": {fileOnly, both, mappedOnly}, "by mincore alone": {both, mappedOnly},
	} {
		t.Run(name, func(t *testing.T) {
			if w.server.cached = vfs.Cached; name == "by mincore alone" {
				w.server.cached = unknown
			}
			for _, form := range forms {
				p := file.piece(0, length, form)
				file.evict(t)
				if ask(p, 0, length) || ask(p, 4096, 4096) || ask(p, length-1, 1) {
					t.Fatalf("form %d: an evicted range is said to be resident", form)
				}
				_, _ = unix.Pread(file.fd, make([]byte, 8192), 0)
				if !ask(p, 0, 8192) || !ask(p, 1, 4096) || !ask(p, 8191, 1) {
					t.Fatalf("form %d: a range that was read is said not to be resident", form)
				}
				if ask(p, 0, length) {
					t.Fatalf("form %d: half a range is said to be all of it", form)
				}
			}
			if p := file.piece(0, length, hot); !ask(p, 0, length) {
				t.Fatal("what the owner vouches for was asked about")
			}
		})
	}
	w.server.cached = unknown
	if ask(file.piece(0, 8192, fileOnly), 0, 8192) {
		t.Fatal("unknown was taken for resident")
	}
}

// TestColdBehindWhatFillsTheTurn: a range is sent by a call of its own, so all that this call would send has to be in
// memory, whatever room the pieces before it have left in the turn.
func TestColdBehindWhatFillsTheTurn(t *testing.T) {
	const warm = 8192
	file := newFile(t, sendWindow)
	w := newWorld(t, Options{}, echoer())
	w.dial()
	c := w.nextOpen().(*conn)
	file.evict(t)
	_, _ = unix.Pread(file.fd, make([]byte, warm), 0)
	before := Piece{Bytes: make([]byte, sendWindow-warm)}
	var next obstacle
	w.do(c, func() {
		c.queue.fill(c.queue.reserve(), &Response{Pieces: []Piece{before, file.piece(0, sendWindow, both)}})
		next = c.collect()
		c.queue.pop()
	})
	if next != coldRange {
		t.Fatalf("collect says %d of a range that is mostly on the disk", next)
	}
}

// TestReadersInOrder: ranges are read in first come, first served, and the line is empty at the end.
func TestReadersInOrder(t *testing.T) {
	p := newReaders()
	var seen []int64
	reads := make([]coldRead, 100)
	done := make(chan struct{})
	l := &loop{}
	l.mailbox.running.Store(true) // nobody is to be woken
	p.readIn = func(r *coldRead, _ []byte) {
		if seen = append(seen, r.offset); len(seen) == len(reads) {
			close(done)
		}
	}
	for i := range reads {
		reads[i] = coldRead{conn: &conn{loop: l}, offset: int64(i)}
		p.submit(&reads[i])
	}
	p.start(1)
	await(t, done)
	p.close()
	for i, offset := range seen {
		if offset != int64(i) {
			t.Fatalf("range %d was read in when %d was due", offset, i)
		}
	}
	if p.first != nil || p.last != nil {
		t.Fatal("the line is not empty")
	}
}
