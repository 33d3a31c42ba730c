package netpoll

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"net"
	"sync"
	"testing"
)

// exchange sends one request and reads its response, without allocating.
type exchange struct {
	net.Conn
	request []byte
	back    []byte
}

func (e *exchange) run() {
	if _, err := e.Write(e.request); err != nil {
		panic(err)
	}
	if _, err := io.ReadFull(e, e.back); err != nil {
		panic(err)
	}
}

// completer fills tickets from a goroutine of its own, as a flusher would.
type completer struct {
	jobs chan completion
	done chan struct{}
}

type completion struct {
	conn     Conn
	ticket   Ticket
	response *Response
}

func newCompleter(t testing.TB) *completer {
	c := &completer{jobs: make(chan completion, 1024), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for j := range c.jobs {
			j.conn.Complete(j.ticket, j.response)
		}
	}()
	t.Cleanup(func() { close(c.jobs); <-c.done })
	return c
}

// server holds a handler that allocates nothing: it answers by the first byte of a request.
type server struct {
	completer *completer
	replies   *sync.Pool
	ranges    *sync.Pool // of *rangeReply
	paused    resumer
}

// The requests that a server knows.
const (
	ackInline  = 'i' // answered with 8 bytes, at once
	ackLater   = 'l' // answered with 8 bytes, by another goroutine
	ackTaken   = 't' // the frame is taken, then answered as above
	ackPaused  = 'p' // answered while reading is paused, which a posted task ends
	fetchSmall = 's' // answered with a header and a small mapped range
	fetchLarge = 'f' // answered with a header and a large file range
	noAnswer   = 'n'
)

// rangeReply is a response of a header and a file range.
type rangeReply struct {
	response Response
	pieces   [2]Piece
	head     [4]byte
	pool     *sync.Pool
}

func (r *rangeReply) Release() { r.pool.Put(r) }

func newServer(t testing.TB, file *mappedFile) *server {
	s := &server{completer: newCompleter(t), replies: newReplies(), ranges: &sync.Pool{}}
	s.ranges.New = func() any { return &rangeReply{pool: s.ranges} }
	if file != nil {
		s.ranges.New = func() any {
			r := &rangeReply{pool: s.ranges}
			r.pieces[1] = file.piece(0, int64(len(file.content)), both)
			return r
		}
	}
	return s
}

func (s *server) frame(c Conn, f *Frame) {
	kind := f.Bytes()[0]
	switch kind {
	case noAnswer:
	case ackInline:
		c.Complete(c.Reserve(), echoOf(s.replies, eight[:]))
	case ackTaken:
		f.Take()
		s.completer.jobs <- completion{conn: c, ticket: c.Reserve(), response: echoOf(s.replies, eight[:])}
		f.Release()
	case ackLater:
		s.completer.jobs <- completion{conn: c, ticket: c.Reserve(), response: echoOf(s.replies, eight[:])}
	case ackPaused:
		c.Pause()
		s.paused = resumer{conn: c}
		c.Post(&s.paused)
		c.Complete(c.Reserve(), echoOf(s.replies, eight[:]))
	case fetchSmall, fetchLarge:
		r := s.ranges.Get().(*rangeReply)
		p := &r.pieces[1]
		p.Length = smallRange / 2
		if kind == fetchLarge {
			p.Length = int64(len(p.Mapped))
		}
		binary.BigEndian.PutUint32(r.head[:], uint32(p.Length))
		r.pieces[0] = Piece{Bytes: r.head[:]}
		r.response = Response{Pieces: r.pieces[:], Owner: r}
		c.Complete(c.Reserve(), &r.response)
	}
}

var eight = [8]byte{'r', 'e', 's', 'p', 'o', 'n', 's', 'e'}

// resumer is a task that takes back a Pause.
type resumer struct{ conn Conn }

func (r *resumer) Run() { r.conn.Resume() }

// requestOf is a frame of n bytes for a server.
func requestOf(kind byte, n int) []byte {
	body := bytes.Repeat([]byte{'.'}, n)
	body[0] = kind
	return appendFrame(nil, body)
}

// TestNoAllocations: in the steady state nothing is allocated for a frame or its response, whichever way they take.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's pools drop things on purpose")
	}
	const fileBytes = 300_000
	file := newFile(t, fileBytes)
	s := newServer(t, file)
	w := newWorld(t, Options{FrameTimeout: patience}, s.frame)
	for name, test := range map[string]struct {
		request  []byte
		response int
	}{
		"a small frame, answered inline":                    {requestOf(ackInline, 100), 12},
		"a small frame, answered by another goroutine":      {requestOf(ackLater, 100), 12},
		"a small frame that is taken":                       {requestOf(ackTaken, 100), 12},
		"a frame that pauses the connection":                {requestOf(ackPaused, 100), 12},
		"a frame of 1 MiB, which is gathered":               {requestOf(ackInline, 1<<20), 12},
		"a frame of 1 MiB that is taken":                    {requestOf(ackTaken, 1<<20), 12},
		"a small mapped range":                              {requestOf(fetchSmall, 100), 4 + smallRange/2},
		"a large range by sendfile":                         {requestOf(fetchLarge, 100), 4 + fileBytes},
		"ten frames in one write, answered by one sendmsg":  {bytes.Repeat(requestOf(ackInline, 50), 10), 120},
		"a frame and a part of the next one, then the rest": {requestOf(ackInline, 400_000), 12},
		"frames without an answer, then one that is answered": {
			append(bytes.Repeat(requestOf(noAnswer, 50), 9), requestOf(ackLater, 9)...), 12,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := &exchange{Conn: w.dial(), request: test.request, back: make([]byte, test.response)}
			for range 300 {
				e.run() // until pools and rings have their size, and numbers are too large to be boxed for nothing
			}
			// A collection empties the pools, which costs a few allocations in one of many runs: the best counts.
			fewest := math.Inf(1)
			for range 3 {
				fewest = min(fewest, testing.AllocsPerRun(200, e.run))
			}
			if fewest > 0 {
				t.Errorf("%v allocations", fewest)
			}
		})
	}
}

// TestIdleConnectionsAreSmall: a connection that is idle costs about a kilobyte of memory, beside the kernel's.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const connections = 500
	w := newWorld(t, Options{}, func(Conn, *Frame) {})
	w.dial()
	w.nextOpen()
	clients := make([]*client, 0, connections)
	before := liveBytes()
	for range connections {
		clients = append(clients, w.dial())
		w.nextOpen()
	}
	for _, c := range clients {
		// Half a frame comes and is finished, so that what a frame needs has been there, and has to be gone.
		c.sendRaw([]byte{0, 0})
		c.sendRaw([]byte{0, 1, 'x'})
	}
	until(t, "all frames are in", func() bool { return w.server.Stats().Frames == connections })
	// The clients are in this process too: a net.Conn and its harness take about 1 KiB.
	if each := (int64(liveBytes()) - int64(before)) / connections; each > 3<<10 {
		t.Fatalf("%d bytes for a connection and its client", each)
	}
}
