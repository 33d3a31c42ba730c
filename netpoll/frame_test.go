package netpoll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// assemble feeds stream to a fresh assembler, cut as cut says, each byte of it a length (0: none left), in turn through
// next and, where there is room, through space. It returns the frames as far as they are good.
func assemble(t testing.TB, arena *arena, bytesMax int, stream, cut []byte) ([][]byte, error) {
	t.Helper()
	a := assembler{arena: arena, bytesMax: bytesMax}
	defer a.drop()
	view := &Frame{arena: arena}
	var frames [][]byte
	keep := func(f *Frame) {
		if f == nil {
			return
		}
		frames = append(frames, slices.Clone(f.Bytes()))
		if f != view {
			f.recycle()
		}
	}
	for i := 0; len(stream) > 0; i++ {
		n := len(stream)
		if i < len(cut) {
			n = min(n, int(cut[i])+1)
		}
		chunk := stream[:n]
		stream = stream[n:]
		if space := a.space(); len(space) > 0 {
			direct := copy(space, chunk)
			keep(a.received(direct))
			chunk = chunk[direct:]
		}
		for len(chunk) > 0 {
			f, rest, err := a.next(chunk, view)
			if err != nil {
				return frames, err
			}
			keep(f)
			if f == nil && len(rest) > 0 {
				t.Fatalf("%d bytes were left although no frame was whole", len(rest))
			}
			chunk = rest
		}
	}
	return frames, nil
}

// parse is what assemble is held against: the stream read in one piece.
func parse(bytesMax int, stream []byte) (frames [][]byte, bad bool) {
	for len(stream) >= 4 {
		size := int32(binary.BigEndian.Uint32(stream))
		if size <= 0 || int64(size) > int64(bytesMax) {
			return frames, true
		}
		if len(stream)-4 < int(size) {
			return frames, false
		}
		frames = append(frames, stream[4:4+size])
		stream = stream[4+size:]
	}
	return frames, false
}

// FuzzAssembler: however a stream is cut, the same frames come out, the same streams are refused, and nothing is kept.
func FuzzAssembler(f *testing.F) {
	var stream []byte
	for _, n := range []int{1, 100, 3, 5000, 1, 1400} {
		stream = appendFrame(stream, bytes.Repeat([]byte{byte(n)}, n))
	}
	f.Add(stream, []byte{0, 1, 2, 3, 4, 250, 250}, int64(0))
	f.Add(stream[:50], []byte{}, int64(1<<20))
	f.Add([]byte{0, 0, 0, 1, 7, 0xff, 0, 0, 0}, []byte{3, 0, 0}, int64(1<<20))
	f.Add([]byte{0, 0, 0, 0}, []byte{1}, int64(1))
	f.Fuzz(func(t *testing.T, stream, cut []byte, memory int64) {
		const bytesMax = 1 << 16
		arena := newArena(memory)
		got, err := assemble(t, arena, bytesMax, stream, cut)
		want, bad := parse(bytesMax, stream)
		if bad != (err != nil) {
			t.Fatalf("refused: %v, to be refused: %v", err, bad)
		}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%d frames came out of %d", len(got), len(want))
		}
		if arena.lent() != 0 || arena.budget.used.Load() != 0 {
			t.Fatalf("%d buffers and %d bytes were kept", arena.lent(), arena.budget.used.Load())
		}
	})
}

// TestAssemblerGrowsWithArrivals: what a client announces costs nothing; what it sends costs at most about twice that,
// until it has proven that it finishes such frames.
func TestAssemblerGrowsWithArrivals(t *testing.T) {
	const size = 8 << 20
	arena := newArena(math.MaxInt64)
	a := assembler{arena: arena, bytesMax: size}
	defer a.drop()
	view := &Frame{arena: arena}
	feed := func(chunk []byte) *Frame {
		t.Helper()
		f, rest, err := a.next(chunk, view)
		if err != nil || len(rest) > 0 {
			t.Fatal(len(rest), err)
		}
		return f
	}
	head := binary.BigEndian.AppendUint32(nil, size)

	feed(head)
	if used := arena.budget.used.Load(); used != 0 {
		t.Fatalf("an announcement was charged %d bytes", used)
	}
	chunk := make([]byte, 10_000)
	for arrived := len(chunk); arrived < size; arrived += len(chunk) {
		if f := feed(chunk); f != nil {
			t.Fatal("whole too early")
		}
		if used := arena.budget.used.Load(); used > int64(arrived)*5/2+classBytesMin {
			t.Fatalf("%d bytes arrived, %d are charged", arrived, used)
		}
	}
	f := feed(make([]byte, size%len(chunk)))
	if f == nil || len(f.Bytes()) != size {
		t.Fatal("not whole")
	}
	f.recycle()

	feed(append(head, 1))
	if used := arena.budget.used.Load(); used < size {
		t.Fatalf("a proven client got a buffer of %d bytes", used)
	}
}

// TestClassOf: a class holds what is asked for, wastes a quarter at most, and is the same for its own size, so that a
// buffer comes back to where it was borrowed.
func TestClassOf(t *testing.T) {
	sizes := []int{1, classBytesMin, classBytesMin + 1, 1280, 1281, 1 << 20, 1<<20 + 1, 100 << 20, math.MaxInt32}
	for range 10_000 {
		sizes = append(sizes, rand.IntN(math.MaxInt32)+1)
	}
	slices.Sort(sizes)
	before := -1
	for _, n := range sizes {
		class, size := classOf(n)
		if class < before || class >= classCount {
			t.Fatalf("class of %d is %d, after %d", n, class, before)
		}
		if size < n || n > classBytesMin && size > n+n/4 {
			t.Fatalf("buffer for %d bytes has %d", n, size)
		}
		if again, same := classOf(size); again != class || same != size {
			t.Fatalf("a buffer of %d bytes for class %d goes back to class %d", size, class, again)
		}
		before = class
	}
}

// TestBadFrames: a size that cannot be one closes the connection, with a reason that names it; frames before it are
// answered; other clients are served on.
func TestBadFrames(t *testing.T) {
	const bytesMax = 1000
	w := newWorld(t, Options{FrameBytesMax: bytesMax}, echoer())
	other := w.dial()
	w.nextOpen()
	for name, test := range map[string]struct {
		wire   []byte
		size   int32
		answer string
	}{
		"size zero":               {wire: []byte{0, 0, 0, 0, 1, 2, 3}, size: 0},
		"size -1":                 {wire: []byte{255, 255, 255, 255}, size: -1},
		"the most negative size":  {wire: []byte{128, 0, 0, 0}, size: math.MinInt32},
		"the largest size":        {wire: []byte{127, 255, 255, 255}, size: math.MaxInt32},
		"one byte over the limit": {wire: binary.BigEndian.AppendUint32(nil, bytesMax+1), size: bytesMax + 1},
		"an HTTP request":         {wire: []byte("GET / HTTP/1.1\r\n\r\n"), size: 0x47455420},
		"a TLS client hello":      {wire: []byte{22, 3, 1, 2, 0, 1, 0, 1, 252}, size: 0x16030102},
		"a good frame, then size 0": {
			wire: append(appendFrame(nil, []byte("good")), 0, 0, 0, 0), size: 0, answer: "good",
		},
		"a good frame, then size -2": {
			wire: append(appendFrame(nil, []byte("good")), 255, 255, 255, 254), size: -2, answer: "good",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.dial()
			c.sendRaw(test.wire)
			if test.answer != "" {
				c.expect(test.answer)
			}
			c.expectEnd()
			var bad *FrameSizeError
			reason := w.nextEnd().reason
			if !errors.As(reason, &bad) || *bad != (FrameSizeError{Size: test.size, Max: bytesMax}) {
				t.Fatalf("closed because: %v", reason)
			}
			other.send([]byte("still there"))
			other.expect("still there")
		})
	}
}

// TestTruncatedFrame: a client that closes in the middle of a frame just ends, and what it sent is given back.
func TestTruncatedFrame(t *testing.T) {
	w := newWorld(t, Options{}, echoer())
	for _, n := range []int{1, 3, 4, 5, 100, 1 << 20} {
		c := w.dial()
		wire := appendFrame(nil, make([]byte, 2<<20))
		c.sendRaw(wire[:n])
		w.must(c.CloseWrite())
		c.expectEnd()
		if end := w.nextEnd(); !errors.Is(end.reason, ErrPeerClosed) {
			t.Fatalf("after %d bytes closed because: %v", n, end.reason)
		}
		if used := w.server.Stats().MemoryBytes; used != 0 {
			t.Fatalf("after %d bytes %d are still charged", n, used)
		}
	}
}

// TestFrameLimitPerConnection: the owner can lower a connection's limit and raise it again, up to the server's.
func TestFrameLimitPerConnection(t *testing.T) {
	w := &world{frame: echoer()}
	w.open = func(c Conn) error {
		c.SetFrameBytesMax(8)
		return nil
	}
	startWorld(t, Options{FrameBytesMax: 100}, w)
	c := w.dial()
	conn := w.nextOpen()
	c.send([]byte("8 bytes."))
	c.expect("8 bytes.")
	w.do(conn, func() { conn.SetFrameBytesMax(1 << 30) })
	body := bytes.Repeat([]byte("x"), 100)
	c.send(body)
	c.expect(string(body))
	c.send(append(body, 'x'))
	c.expectEnd()
	if end := w.nextEnd(); end.reason.Error() != "netpoll: frame of 101 bytes; allowed are 1 to 100" {
		t.Fatalf("closed because: %v", end.reason)
	}
}

// TestFramesOfAllSizes: frames from one byte to several megabytes, written in pieces of any size, come back as they
// were, from several clients at once.
func TestFramesOfAllSizes(t *testing.T) {
	w := newWorld(t, Options{Loops: 2, QueueBytesMax: 16 << 20}, echoer())
	done := make(chan error, 4)
	for i := range cap(done) {
		c, random := w.dial(), rand.New(rand.NewPCG(uint64(i), 0))
		go func() { done <- c.echoMany(random) }()
	}
	for range cap(done) {
		w.must(await(t, done))
	}
}

// echoMany sends frames in odd pieces and compares what comes back.
func (c *client) echoMany(random *rand.Rand) error {
	var wire []byte
	for range 60 {
		n := 1 + random.IntN(1<<(1+random.IntN(20)))
		body := make([]byte, n)
		for i := range body {
			body[i] = byte(i * n)
		}
		wire = appendFrame(wire, body)
	}
	failed := make(chan error, 1)
	go func() {
		for rest := wire; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(1<<(1+random.IntN(19))))
			if _, err := c.Write(rest[:n]); err != nil {
				failed <- err
				return
			}
			rest = rest[n:]
		}
		failed <- nil
	}()
	back := make([]byte, len(wire))
	if _, err := io.ReadFull(c, back); err != nil {
		return err
	}
	if !bytes.Equal(back, wire) {
		return errors.New("the echo differs")
	}
	return <-failed
}

// TestTake: a taken frame outlives Handler.Frame, whole or gathered, until another goroutine releases it.
func TestTake(t *testing.T) {
	taken := make(chan *Frame, 10)
	w := newWorld(t, Options{}, func(_ Conn, f *Frame) {
		f.Take()
		taken <- f
	})
	c := w.dial()
	bodies := []string{"short", string(bytes.Repeat([]byte("long"), 1<<18)), "another"}
	for _, body := range bodies {
		c.send([]byte(body))
	}
	var frames []*Frame
	for range bodies {
		frames = append(frames, await(t, taken))
	}
	c.send([]byte("overwrites the loop's buffer"))
	frames = append(frames, await(t, taken))
	for i, body := range bodies {
		if string(frames[i].Bytes()) != body {
			t.Fatalf("frame %d has changed", i)
		}
	}
	if used := w.server.Stats().MemoryBytes; used < 1<<20 {
		t.Fatalf("only %d bytes are charged for taken frames", used)
	}
	for _, f := range frames {
		f.Release()
	}
	if used := w.server.Stats().MemoryBytes; used != 0 {
		t.Fatalf("%d bytes are charged after all was released", used)
	}
}
