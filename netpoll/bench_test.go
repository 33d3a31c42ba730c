package netpoll

import (
	"bytes"
	"testing"
)

// benchmarkExchange measures requests in flight one after another, depth of them in one write; both ends are in this
// process, so the client's work is in the figures too.
func benchmarkExchange(b *testing.B, file *mappedFile, kind byte, requestBytes, responseBytes, depth int) {
	s := newServer(b, file)
	w := newWorld(b, Options{}, s.frame)
	e := &exchange{Conn: w.dial(), request: bytes.Repeat(requestOf(kind, requestBytes), depth)}
	e.back = make([]byte, responseBytes*depth)
	for range 10 {
		e.run()
	}
	b.SetBytes(int64(len(e.request) + len(e.back)))
	b.ReportAllocs()
	for b.Loop() {
		e.run()
	}
}

// BenchmarkEcho: small frames there and back.
func BenchmarkEcho(b *testing.B) {
	b.Run("one", func(b *testing.B) { benchmarkExchange(b, nil, ackInline, 100, 12, 1) })
	b.Run("50 in a write", func(b *testing.B) { benchmarkExchange(b, nil, ackInline, 100, 12, 50) })
	b.Run("answered elsewhere", func(b *testing.B) { benchmarkExchange(b, nil, ackLater, 100, 12, 1) })
}

// BenchmarkSend: file ranges to the client, by sendmsg from the mapping and by sendfile.
func BenchmarkSend(b *testing.B) {
	b.Run("16 KiB mapped", func(b *testing.B) {
		benchmarkExchange(b, newFile(b, 64<<10), fetchSmall, 100, 4+smallRange/2, 1)
	})
	b.Run("64 KiB sendfile", func(b *testing.B) {
		benchmarkExchange(b, newFile(b, 64<<10), fetchLarge, 100, 4+(64<<10), 1)
	})
	b.Run("1 MiB sendfile", func(b *testing.B) {
		benchmarkExchange(b, newFile(b, 1<<20), fetchLarge, 100, 4+(1<<20), 1)
	})
}

// BenchmarkReceive: large frames from the client, which are answered with a few bytes.
func BenchmarkReceive(b *testing.B) {
	b.Run("16 KiB, 8 in a write", func(b *testing.B) { benchmarkExchange(b, nil, ackInline, 16<<10, 12, 8) })
	b.Run("128 KiB", func(b *testing.B) { benchmarkExchange(b, nil, ackInline, 128<<10, 12, 1) })
	b.Run("128 KiB, 5 in a write", func(b *testing.B) { benchmarkExchange(b, nil, ackInline, 128<<10, 12, 5) })
	b.Run("1 MiB", func(b *testing.B) { benchmarkExchange(b, nil, ackInline, 1<<20, 12, 1) })
}

// BenchmarkAssembler: the frame machine alone.
func BenchmarkAssembler(b *testing.B) {
	stream := bytes.Repeat(requestOf(ackInline, 1000), 200)
	arena := newArena(1 << 30)
	a := assembler{arena: arena, bytesMax: 1 << 20}
	view := &Frame{arena: arena}
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		for chunk := stream; len(chunk) > 0; {
			_, rest, err := a.next(chunk, view)
			if err != nil {
				b.Fatal(err)
			}
			chunk = rest
		}
	}
}
