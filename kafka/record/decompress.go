package record

import (
	"fmt"
	"io"
	"sync"

	"spate/kafka"
)

// What decompressing one batch may cost. None of these depends on what the bytes claim.
const (
	// outputFactor and outputFloor bound the bytes that come out of a batch: more than gzip's best ratio of 1032
	// would be needed to refuse a batch of the other codecs, and a few bytes may still become one large record.
	outputFactor = 1032
	outputFloor  = 32 << 20
	// windowFactor, windowFloor and windowMax bound the history that a zstd decoder keeps. 8 MiB is what RFC 8878
	// asks every decoder for; 128 MiB is what the strongest level of the reference encoder uses.
	windowFactor = 64
	windowFloor  = 8 << 20
	windowMax    = 128 << 20
)

// outputMax is how many bytes a batch with a payload of n compressed bytes may become.
func outputMax(n int) int64 { return outputFloor + outputFactor*int64(n) }

// windowLimit is how much history a zstd payload of n bytes may ask for.
func windowLimit(n int) int { return min(max(windowFloor, windowFactor*n), windowMax) }

// decoder turns the payload of one codec into the encoded records. It is reused: reset begins a new payload.
type decoder interface {
	io.Reader
	reset(payload []byte) error
}

// decoders holds idle ones by codec; the pools shrink with every garbage collection.
var decoders = [codecCount]*sync.Pool{
	Gzip:   {New: func() any { return new(gzipDecoder) }},
	Snappy: {New: func() any { return new(snappyDecoder) }},
	Lz4:    {New: func() any { return new(lz4Decoder) }},
	Zstd:   {New: func() any { return new(zstdDecoder) }},
}

var errOutputTooLarge = invalid(kafka.MessageTooLarge, "the records of a compressed batch take more than the %d bytes "+
	"plus %d times its size that are allowed", outputFloor, outputFactor)

// corruptPayload is the error for bytes that a codec does not understand.
func corruptPayload(c Codec, reason any) error {
	return invalid(kafka.InvalidRecord, "the records do not decompress (%s): %v", c, reason)
}

// stream is a window over the bytes that a decoder gives. Its memory is the decoder's and the window, which grows
// only as far as bytes have come out.
type stream struct {
	codec   Codec
	decoder decoder
	window  []byte // window[r:w] is not consumed yet
	r, w    int
	left    int64     // how many bytes may still come out
	tee     io.Writer // gets them too, if set
	err     error     // the reason why no more bytes come; io.EOF is the good one
}

// streams holds idle ones, each with a window of windowBytes.
var streams = sync.Pool{New: func() any { return &stream{window: make([]byte, windowBytes)} }}

// windowBytes fits most records; a larger one makes the window grow for its batch.
const windowBytes = 32 << 10

// openStream begins to decompress payload. The caller closes the stream.
func openStream(c Codec, payload []byte) (*stream, error) {
	if !c.known() || c == None {
		return nil, errUnknownCodec(c)
	}
	s := streams.Get().(*stream)
	s.codec, s.decoder = c, decoders[c].Get().(decoder)
	s.r, s.w, s.left, s.err = 0, 0, outputMax(len(payload)), nil
	if err := s.decoder.reset(payload); err != nil {
		s.close()
		return nil, corruptPayload(c, err)
	}
	return s, nil
}

// close gives the decoder and the window back.
func (s *stream) close() {
	_ = s.decoder.reset(nil) // drops the references to the payload
	decoders[s.codec].Put(s.decoder)
	s.decoder, s.tee = nil, nil
	if len(s.window) > windowBytes {
		s.window = make([]byte, windowBytes)
	}
	streams.Put(s)
}

// fill makes at least n bytes lie in the window, or says why they do not come.
func (s *stream) fill(n int) error {
	for s.w-s.r < n {
		if s.err != nil {
			return s.reason()
		}
		if s.w == len(s.window) {
			s.makeRoom(n)
		}
		s.w += s.read(s.window[s.w:])
	}
	return nil
}

// read takes what the decoder has next and notes in err when that was the last.
func (s *stream) read(p []byte) int {
	n, err := s.decoder.Read(p)
	s.left -= int64(n)
	switch {
	case err == io.EOF:
		s.err = io.EOF
	case err != nil:
		s.err = corruptPayload(s.codec, err)
	case s.left < 0:
		s.err = errOutputTooLarge
	}
	if s.tee != nil && n > 0 {
		if _, err := s.tee.Write(p[:n]); err != nil {
			s.err = err
		}
	}
	return n
}

// reason is why no more bytes come, for a caller that needs some.
func (s *stream) reason() error {
	if s.err == io.EOF {
		return invalid(kafka.InvalidRecord, "the records end before their count is reached")
	}
	return s.err
}

// makeRoom moves what is left to the front, and doubles a window that is full: so it is never more than twice what
// has been decompressed, whatever length a record claims.
func (s *stream) makeRoom(n int) {
	if s.r == 0 && n > len(s.window) {
		larger := make([]byte, 2*len(s.window))
		copy(larger, s.window)
		s.window = larger
		return
	}
	s.w = copy(s.window, s.window[s.r:s.w])
	s.r = 0
}

// skip passes over n bytes.
func (s *stream) skip(n int) error {
	for n > s.w-s.r {
		n -= s.w - s.r
		s.r, s.w = 0, 0
		if err := s.fill(1); err != nil {
			return err
		}
	}
	s.r += n
	return nil
}

// end is nil if no byte is left. It leaves the window alone, where the last record still lies.
func (s *stream) end() error {
	var next [1]byte
	n := s.w - s.r
	for n == 0 && s.err == nil {
		n = s.read(next[:])
	}
	if n > 0 {
		return invalid(kafka.InvalidRecord, "bytes follow the last record")
	}
	if s.err != io.EOF {
		return s.err
	}
	return nil
}

// varint reads a 32-bit number and gives its size too.
func (s *stream) varint() (int32, int, error) {
	if s.w-s.r < varintBytesMax {
		_ = s.fill(varintBytesMax) // fewer may do, at the end
	}
	n, at := varint(s.window[s.r:s.w], 0)
	if at < 0 {
		return 0, 0, s.noNumber(varintBytesMax)
	}
	s.r += at
	return n, at, nil
}

// varlong reads a 64-bit number.
func (s *stream) varlong() (int64, int, error) {
	if s.w-s.r < varlongBytesMax {
		_ = s.fill(varlongBytesMax)
	}
	n, at := varlong(s.window[s.r:s.w], 0)
	if at < 0 {
		return 0, 0, s.noNumber(varlongBytesMax)
	}
	s.r += at
	return n, at, nil
}

// noNumber is why no number of at most n bytes could be read.
func (s *stream) noNumber(n int) error {
	if s.w-s.r < n {
		return s.reason()
	}
	return invalid(kafka.InvalidRecord, "a number is longer than its type")
}

// blockReader serves Read from blocks which next decompresses one at a time into out.
type blockReader struct {
	out  []byte
	rest []byte // of out, not read yet
	err  error
}

func (b *blockReader) read(p []byte, next func() error) (int, error) {
	for len(b.rest) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.err = next(); b.err != nil {
			return 0, b.err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// grow makes out hold n bytes.
func (b *blockReader) grow(n int) []byte {
	if cap(b.out) < n {
		b.out = make([]byte, n)
	}
	return b.out[:n]
}

// blockKept is the largest block buffer that an idle decoder keeps.
const blockKept = 64 << 10

func (b *blockReader) resetBlocks() {
	b.rest, b.err = nil, nil
	if cap(b.out) > blockKept {
		b.out = nil
	}
}

func errShort(what string) error { return fmt.Errorf("%s is cut short", what) }
