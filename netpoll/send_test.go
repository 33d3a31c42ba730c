package netpoll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// mappedFile is a file of random bytes, and its mapping.
type mappedFile struct {
	*os.File
	fd      int
	content []byte
	mapped  []byte
}

func newFile(t testing.TB, size int) *mappedFile {
	t.Helper()
	content := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(content)
	name := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mapped) })
	return &mappedFile{File: f, fd: int(f.Fd()), content: content, mapped: mapped}
}

// piece is a range of the file, in one of the forms that a response may give it.
func (f *mappedFile) piece(offset, length int64, form pieceForm) Piece {
	mapped := f.mapped[offset : offset+length]
	switch form {
	case inMemory:
		return Piece{Bytes: f.content[offset : offset+length]}
	case fileOnly:
		return Piece{FD: f.fd, Offset: offset, Length: length}
	case mappedOnly:
		return Piece{FD: -1, Offset: offset, Length: length, Mapped: mapped}
	case hot:
		return Piece{FD: f.fd, Offset: offset, Length: length, Mapped: mapped, Hot: true}
	default:
		return Piece{FD: f.fd, Offset: offset, Length: length, Mapped: mapped}
	}
}

type pieceForm int

const (
	inMemory pieceForm = iota
	fileOnly
	mappedOnly
	both
	hot
	formCount
)

// plan is a response to be sent, and the bytes that the client is to see.
type plan struct {
	pieces []Piece
	wire   []byte
}

// planOf is a frame whose body is made of the pieces.
func planOf(file *mappedFile, pieces ...Piece) plan {
	var body []byte
	for _, p := range pieces {
		if p.Bytes != nil {
			body = append(body, p.Bytes...)
			continue
		}
		body = append(body, file.content[p.Offset:p.Offset+p.Length]...)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	return plan{pieces: append([]Piece{{Bytes: head}}, pieces...), wire: append(head, body...)}
}

// server answers request i, whose body is i in four bytes, with plan i.
func serve(plans []plan, released *atomic.Int64) func(c Conn, f *Frame) {
	return func(c Conn, f *Frame) {
		i := binary.BigEndian.Uint32(f.Bytes())
		owner := releaseFunc(func() { released.Add(1) })
		c.Complete(c.Reserve(), &Response{Pieces: plans[i].pieces, Owner: owner})
	}
}

// ask sends the requests for the first n plans.
func (c *client) ask(n int) {
	c.w.Helper()
	var wire []byte
	for i := range n {
		wire = appendFrame(wire, binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	c.sendRaw(wire)
}

// expectWire reads what plans promise.
func (c *client) expectWire(plans []plan) {
	c.w.Helper()
	for i, p := range plans {
		got := make([]byte, len(p.wire))
		if _, err := io.ReadFull(c, got); err != nil {
			c.w.Fatalf("response %d: %v", i, err)
		}
		if !bytes.Equal(got, p.wire) {
			c.w.Fatalf("response %d differs in byte %d of %d", i, firstDifference(got, p.wire), len(got))
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// TestPiecesByteExact: responses of every mixture of pieces arrive byte by byte, through sockets so small that every
// system call writes only part of what it is given.
func TestPiecesByteExact(t *testing.T) {
	const fileBytes = 4 << 20
	file := newFile(t, fileBytes)
	random := rand.New(rand.NewPCG(1, 2))
	var plans []plan
	for range 120 {
		var pieces []Piece
		for range random.IntN(5) {
			length := int64(random.IntN(1 << (1 + random.IntN(21))))
			offset := int64(random.IntN(int(fileBytes - length)))
			pieces = append(pieces, file.piece(offset, length, pieceForm(random.IntN(int(formCount)))))
		}
		plans = append(plans, planOf(file, pieces...))
	}
	for name, sendBuffer := range map[string]int{"the kernel's buffer": -1, "a tiny buffer": 4096} {
		t.Run(name, func(t *testing.T) {
			var released atomic.Int64
			w := newWorld(t, Options{SendBufferBytes: sendBuffer}, serve(plans, &released))
			c := w.dial()
			w.must(c.SetReadBuffer(16 << 10))
			c.ask(len(plans))
			c.expectWire(plans)
			until(t, "all responses are released", func() bool { return released.Load() == int64(len(plans)) })
		})
	}
}

// TestSendPaths: which system calls carry which response, as the counters show.
func TestSendPaths(t *testing.T) {
	file := newFile(t, 2<<20)
	for name, test := range map[string]struct {
		pieces      []Piece
		vectors     int64
		sendfiles   int64
		viaSendfile int64
	}{
		"memory alone goes by one sendmsg": {
			pieces: []Piece{file.piece(0, 100, inMemory), file.piece(100, 50_000, inMemory)}, vectors: 1,
		},
		"a small mapped range goes with its header by one sendmsg": {
			pieces: []Piece{file.piece(7, smallRange-1, both)}, vectors: 1,
		},
		"a range of 32 KiB goes by sendfile after its header": {
			pieces: []Piece{file.piece(7, smallRange, both)}, vectors: 1, sendfiles: 1, viaSendfile: smallRange,
		},
		"a small range without a mapping goes by sendfile": {
			pieces: []Piece{file.piece(7, 1000, fileOnly)}, vectors: 1, sendfiles: 1, viaSendfile: 1000,
		},
		"a large range without a file goes by sendmsg": {
			pieces: []Piece{file.piece(7, 100_000, mappedOnly)}, vectors: 1,
		},
		"two ranges go by two sendfiles": {
			pieces:  []Piece{file.piece(7, 50_000, both), file.piece(100_000, 60_000, hot)},
			vectors: 1, sendfiles: 2, viaSendfile: 110_000,
		},
	} {
		t.Run(name, func(t *testing.T) {
			plans := []plan{planOf(file, test.pieces...)}
			var released atomic.Int64
			w := newWorld(t, Options{SendBufferBytes: 4 << 20}, serve(plans, &released))
			c := w.dial()
			c.ask(1)
			c.expectWire(plans)
			until(t, "the response is released", func() bool { return released.Load() == 1 })
			s := w.server.Stats()
			if s.VectorSends != test.vectors || s.Sendfiles != test.sendfiles || s.SendfileBytes != test.viaSendfile {
				t.Fatalf("%d sendmsg, %d sendfile of %d bytes", s.VectorSends, s.Sendfiles, s.SendfileBytes)
			}
			if s.BytesOut != int64(len(plans[0].wire)) || s.ColdReads != 0 {
				t.Fatalf("%d bytes out, %d cold reads", s.BytesOut, s.ColdReads)
			}
		})
	}
}

// TestCoalescing: responses to the requests of one read leave in one sendmsg.
func TestCoalescing(t *testing.T) {
	w := newWorld(t, Options{}, echoer())
	c := w.dial()
	var bodies [][]byte
	for range 50 {
		bodies = append(bodies, []byte("request"))
	}
	c.send(bodies...)
	for range bodies {
		c.expect("request")
	}
	if s := w.server.Stats(); s.VectorSends != 1 || s.Frames != 50 {
		t.Fatalf("%d frames were answered by %d sendmsg", s.Frames, s.VectorSends)
	}
}

// TestOrder: responses leave in the order of their requests, in whatever order many goroutines complete them.
func TestOrder(t *testing.T) {
	const requests, workers = 5000, 16
	type job struct {
		conn   Conn
		ticket Ticket
		body   string
	}
	jobs := make(chan job, requests)
	var queued atomic.Int64
	w := newWorld(t, Options{InFlightMax: requests, Loops: 2}, func(c Conn, f *Frame) {
		jobs <- job{conn: c, ticket: c.Reserve(), body: string(f.Bytes())}
		queued.Add(1)
	})
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() {
			// Each holds some back, so that later tickets are completed before earlier ones.
			random, held := rand.New(rand.NewPCG(uint64(i), 1)), []job{}
			finish := func(j job) {
				if binary.BigEndian.Uint32([]byte(j.body))%7 == 3 {
					j.conn.Skip(j.ticket)
					return
				}
				j.conn.Complete(j.ticket, answer(j.body))
			}
			for j := range jobs {
				held = append(held, j)
				for len(held) > random.IntN(20) {
					k := random.IntN(len(held))
					finish(held[k])
					held[k] = held[len(held)-1]
					held = held[:len(held)-1]
				}
			}
			for _, j := range held {
				finish(j)
			}
		})
	}
	clients := []*client{w.dial(), w.dial()}
	for _, c := range clients {
		c.ask(requests / len(clients))
	}
	until(t, "all requests are in", func() bool { return queued.Load() == requests })
	close(jobs)
	for _, c := range clients {
		for i := range uint32(requests / len(clients)) {
			if i%7 == 3 {
				continue
			}
			if got := binary.BigEndian.Uint32(c.receive()); got != i {
				t.Fatalf("response %d came where %d was due", got, i)
			}
		}
	}
	group.Wait()
}

// TestFinal: the response that is marked so is the last that leaves, and then the connection is closed for its reason.
func TestFinal(t *testing.T) {
	why := errors.New("authentication failed")
	released := make(chan string, 3)
	w := newWorld(t, Options{}, func(c Conn, f *Frame) {
		r, name := answer("to "+string(f.Bytes())), string(f.Bytes())
		r.Owner = releaseFunc(func() { released <- name })
		if name == "second" {
			r.Final = why
		}
		c.Complete(c.Reserve(), r)
	})
	c := w.dial()
	c.send([]byte("first"), []byte("second"), []byte("third"))
	c.expect("to first")
	c.expect("to second")
	if n, _ := io.Copy(io.Discard, c.TCPConn); n != 0 {
		t.Fatalf("%d bytes came after the final response", n)
	}
	if end := w.nextEnd(); !errors.Is(end.reason, why) {
		t.Fatalf("closed because: %v", end.reason)
	}
	for _, name := range []string{"first", "second", "third"} {
		if got := await(t, released); got != name {
			t.Fatalf("%s was released before %s", got, name)
		}
	}
}

// TestFileShort: a range past the end of its file closes the connection rather than waiting for ever.
func TestFileShort(t *testing.T) {
	file := newFile(t, 100_000)
	p := planOf(file, file.piece(0, 100_000, fileOnly))
	p.pieces[1].Hot = true
	w := newWorld(t, Options{}, func(c Conn, _ *Frame) {
		c.Complete(c.Reserve(), &Response{Pieces: p.pieces})
	})
	w.must(file.Truncate(60_000))
	c := w.dial()
	c.send([]byte("fetch"))
	c.expectEnd()
	if end := w.nextEnd(); !errors.Is(end.reason, ErrFileShort) {
		t.Fatalf("closed because: %v", end.reason)
	}
}

// TestFileGoneUnderMapping: a mapped range whose file was cut short, so that touching it would be fatal, ends the
// connection and nothing else.
func TestFileGoneUnderMapping(t *testing.T) {
	file := newFile(t, 8192)
	w := newWorld(t, Options{}, func(c Conn, f *Frame) {
		if string(f.Bytes()) == "hello" {
			c.Complete(c.Reserve(), answer("hello"))
			return
		}
		p := file.piece(4096, 4096, hot)
		c.Complete(c.Reserve(), &Response{Pieces: []Piece{p}})
	})
	w.must(file.Truncate(0))
	c, other := w.dial(), w.dial()
	c.send([]byte("fetch"))
	c.expectEnd()
	if end := w.nextEnd(); !errors.Is(end.reason, unix.EFAULT) {
		t.Fatalf("closed because: %v", end.reason)
	}
	other.send([]byte("hello"))
	other.expect("hello")
}

// TestEverythingAtOnce: responses of random pieces, some of them cold, are completed out of order by other goroutines,
// while the owner pauses and resumes the connections and the sockets are tiny; all bytes arrive, in order.
func TestEverythingAtOnce(t *testing.T) {
	const fileBytes, requests, clients = 2 << 20, 150, 4
	file := newFile(t, fileBytes)
	random := rand.New(rand.NewPCG(9, 9))
	var plans []plan
	for range requests {
		var pieces []Piece
		for range random.IntN(4) {
			length := int64(random.IntN(1 << (1 + random.IntN(18))))
			offset := int64(random.IntN(int(fileBytes - length)))
			pieces = append(pieces, file.piece(offset, length, pieceForm(random.IntN(int(formCount)))))
		}
		plans = append(plans, planOf(file, pieces...))
	}
	jobs := make(chan func(), 2*clients*requests)
	var asked, released atomic.Int64
	options := Options{Loops: 2, SendBufferBytes: 8192, InFlightMax: 40, QueueBytesMax: 200_000}
	w := newWorld(t, options, func(c Conn, f *Frame) {
		i, ticket := binary.BigEndian.Uint32(f.Bytes()), c.Reserve()
		if i%5 == 0 {
			c.Pause()
			jobs <- func() { c.Post(taskFunc(c.Resume)) }
		}
		jobs <- func() {
			owner := releaseFunc(func() { released.Add(1) })
			c.Complete(ticket, &Response{Pieces: plans[i].pieces, Owner: owner})
		}
		asked.Add(1)
	})
	file.evict(t)
	var completing sync.WaitGroup
	for i := range 3 {
		completing.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 4))
			var held []func()
			for {
				// Some are held back while more come, so that they are completed out of order.
				if random.IntN(3) > 0 || len(held) == 0 {
					job, more := <-jobs
					if !more {
						break
					}
					held = append(held, job)
				}
				if len(held) > 3 || len(jobs) == 0 {
					k := random.IntN(len(held))
					held[k]()
					held = append(held[:k], held[k+1:]...)
				}
			}
			for _, job := range held {
				job()
			}
		})
	}
	var asking sync.WaitGroup
	for range clients {
		c := w.dial()
		asking.Go(func() {
			c.ask(requests)
			c.expectWire(plans)
		})
	}
	done := make(chan struct{})
	go func() { asking.Wait(); close(done) }()
	// Jobs that are held with nothing behind them are let go by these.
	until(t, "all clients have their responses", func() bool {
		jobs <- func() {}
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	until(t, "all requests are in", func() bool { return asked.Load() == clients*requests })
	close(jobs)
	completing.Wait()
	until(t, "all responses are released", func() bool { return released.Load() == clients*requests })
}

// TestSlowReader: 300 MiB of file ranges that a client has asked for and does not read cost about 1 MiB of memory, do
// not hold up others, and arrive in the end.
func TestSlowReader(t *testing.T) {
	const responses, each = 300, 1 << 20
	file := newFile(t, each)
	p := planOf(file, file.piece(0, each, both))
	pool := &sync.Pool{New: func() any { return &Response{Pieces: p.pieces} }}
	w := newWorld(t, Options{InFlightMax: responses}, func(c Conn, f *Frame) {
		if len(f.Bytes()) == 4 {
			c.Complete(c.Reserve(), pool.Get().(*Response))
			return
		}
		c.Complete(c.Reserve(), answer(string(f.Bytes())))
	})
	slow, other := w.dial(), w.dial()
	w.nextOpen()
	w.nextOpen()
	before := liveBytes()
	slow.ask(responses)
	until(t, "all requests are in", func() bool { return w.server.Stats().Frames == responses })
	for range 100 {
		other.send([]byte("quick"))
		other.expect("quick")
	}
	if grown := int64(liveBytes()) - int64(before); grown > 1<<20 {
		t.Fatalf("%d responses of %d bytes cost %d bytes", responses, each, grown)
	}
	got := make([]byte, len(p.wire))
	for range responses {
		_, err := io.ReadFull(slow, got)
		w.must(err)
		if !bytes.Equal(got, p.wire) {
			t.Fatal("a response differs")
		}
	}
}

// liveBytes is the heap in use after a collection.
func liveBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
