package netpoll

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails the run when a goroutine outlives its server.
func TestMain(m *testing.M) {
	if os.Getenv(descriptorChildEnv) != "" {
		descriptorChild()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen; it is only used up by a failure.
const patience = time.Minute

// world is a server and its handler, with the events that the handler saw.
type world struct {
	testing.TB
	server  *Server
	address netip.AddrPort
	opened  chan Conn
	ended   chan ending

	open  func(c Conn) error
	frame func(c Conn, f *Frame)
}

// ending is a connection that was closed.
type ending struct {
	conn   Conn
	reason error
}

func (w *world) Open(c Conn) error {
	if w.open != nil {
		if err := w.open(c); err != nil {
			return err
		}
	}
	select {
	case w.opened <- c:
	default:
	}
	return nil
}

func (w *world) Frame(c Conn, f *Frame) { w.frame(c, f) }

func (w *world) Closed(c Conn, reason error) {
	select {
	case w.ended <- ending{conn: c, reason: reason}:
	default:
	}
}

// newWorld starts a server with one loop unless o says otherwise, on which frame handles frames. It is shut down, and
// checked for leaks of descriptors and memory, when the test ends.
func newWorld(t testing.TB, o Options, frame func(c Conn, f *Frame)) *world {
	t.Helper()
	return startWorld(t, o, &world{frame: frame})
}

func startWorld(t testing.TB, o Options, w *world) *world {
	t.Helper()
	if o.Loops == 0 {
		o.Loops = 1
	}
	w.TB, w.opened, w.ended = t, make(chan Conn, 4096), make(chan ending, 4096)
	before := descriptors(t)
	var err error
	w.server, err = New(o, w)
	w.must(err)
	w.address, err = w.server.Listen("PLAINTEXT", "127.0.0.1:0")
	w.must(err)
	w.must(w.server.Start())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if n := w.server.arena.lent(); n != 0 {
			t.Errorf("%d buffers were not given back", n)
		}
		if n := w.server.arena.budget.used.Load(); n != 0 {
			t.Errorf("%d bytes are still charged", n)
		}
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors are open, %d were before", after, before)
		}
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// descriptors counts the descriptors of the process, those of clients included: register their cleanup after newWorld.
func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// client is a plain connection to the server.
type client struct {
	*net.TCPConn
	w *world
}

func (w *world) dial() *client {
	w.Helper()
	return w.dialFrom("")
}

// dialFrom dials from a local address, such as 127.0.0.2.
func (w *world) dialFrom(ip string) *client {
	w.Helper()
	dialer := net.Dialer{Timeout: patience}
	if ip != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)}
	}
	c, err := dialer.Dial("tcp", w.address.String())
	w.must(err)
	w.Cleanup(func() { _ = c.Close() })
	w.must(c.SetDeadline(time.Now().Add(3 * patience)))
	return &client{TCPConn: c.(*net.TCPConn), w: w}
}

// send writes frames, all at once.
func (c *client) send(bodies ...[]byte) {
	c.w.Helper()
	var wire []byte
	for _, body := range bodies {
		wire = appendFrame(wire, body)
	}
	c.sendRaw(wire)
}

func (c *client) sendRaw(wire []byte) {
	c.w.Helper()
	_, err := c.Write(wire)
	c.w.must(err)
}

// receive reads one frame.
func (c *client) receive() []byte {
	c.w.Helper()
	var head [4]byte
	_, err := io.ReadFull(c, head[:])
	c.w.must(err)
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err = io.ReadFull(c, body)
	c.w.must(err)
	return body
}

// expect reads one frame, which is to be body.
func (c *client) expect(body string) {
	c.w.Helper()
	if got := string(c.receive()); got != body {
		c.w.Fatalf("received %.60q, expected %.60q", got, body)
	}
}

// expectEnd reads until the server has closed.
func (c *client) expectEnd() {
	c.w.Helper()
	n, err := io.Copy(io.Discard, c.TCPConn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.w.Fatalf("still open after %d more bytes", n)
	}
}

// nextEnd waits until a connection has been closed.
func (w *world) nextEnd() ending {
	w.Helper()
	return await(w, w.ended)
}

// nextOpen waits for a connection.
func (w *world) nextOpen() Conn {
	w.Helper()
	return await(w, w.opened)
}

// await receives from a channel.
func await[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case v := <-from:
		return v
	case <-timeout.C:
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// until polls a condition that another goroutine will make true.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	poll, timeout := time.NewTicker(time.Millisecond), time.NewTimer(patience)
	defer poll.Stop()
	defer timeout.Stop()
	for !holds() {
		select {
		case <-poll.C:
		case <-timeout.C:
			t.Fatalf("never became true: %s", what)
		}
	}
}

// do runs f on c's loop and waits for it.
func (w *world) do(c Conn, f func()) {
	w.Helper()
	done := make(chan struct{})
	c.Post(taskFunc(func() { f(); close(done) }))
	await(w, done)
}

// taskFunc is a Task for tests, which may allocate.
type taskFunc func()

func (f taskFunc) Run() { f() }

// releaseFunc is a Releaser for tests.
type releaseFunc func()

func (f releaseFunc) Release() { f() }

func appendFrame(dst, body []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}

// reply is a response that owns its bytes and goes back to a pool, as a broker's would.
type reply struct {
	response Response
	pieces   [1]Piece
	bytes    []byte
	pool     *sync.Pool
}

func (r *reply) Release() { r.pool.Put(r) }

func newReplies() *sync.Pool {
	pool := &sync.Pool{}
	pool.New = func() any { return &reply{pool: pool} }
	return pool
}

// echoer answers each frame with its own bytes.
func echoer() func(c Conn, f *Frame) {
	pool := newReplies()
	return func(c Conn, f *Frame) {
		c.Complete(c.Reserve(), echoOf(pool, f.Bytes()))
	}
}

func echoOf(pool *sync.Pool, body []byte) *Response {
	r := pool.Get().(*reply)
	r.bytes = appendFrame(r.bytes[:0], body)
	r.pieces[0] = Piece{Bytes: r.bytes}
	r.response = Response{Pieces: r.pieces[:], Owner: r}
	return &r.response
}

// answer is a response of one piece in memory.
func answer(body string) *Response {
	return &Response{Pieces: []Piece{{Bytes: appendFrame(nil, []byte(body))}}}
}
