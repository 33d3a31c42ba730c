package record

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"spate/kafka"
)

// seedCases gives a fuzz target every hostile batch that is known.
func seedCases(f *testing.F, add func(records []byte)) {
	for _, c := range readCases(f) {
		add(c.Records)
	}
	for c := None; c < codecCount; c++ {
		add(three(BuilderOptions{Codec: c}))
	}
}

// FuzzNext: what is split off is whole, and nothing is lost.
func FuzzNext(f *testing.F) {
	seedCases(f, func(r []byte) { f.Add(r) })
	f.Fuzz(func(t *testing.T, buf []byte) {
		for rest := buf; ; {
			b, more, err := Next(rest)
			if err != nil {
				if code := kafka.CodeOf(err); code != kafka.CorruptMessage.Code && code != kafka.InvalidRecord.Code {
					t.Fatalf("code %d: %v", code, err)
				}
				break
			}
			if len(b) < HeaderBytes || len(b) != int(b.Length())+LogOverhead || len(b)+len(more) != len(rest) {
				t.Fatalf("%d of %d bytes", len(b), len(rest))
			}
			_, _, _, _ = b.LastOffset(), b.NextSequence(), b.CheckCRC(), b.Codec().String()
			rest = more
		}
		_, _ = Single(buf)
	})
}

// FuzzValidate: whatever passes has a right checksum, as many records as it says with offsets in order, and passes
// again as it is.
func FuzzValidate(f *testing.F) {
	seedCases(f, func(r []byte) {
		for _, flags := range []byte{0, 1 | 4, 2, 8 | 64} {
			f.Add(r, flags)
		}
	})
	f.Fuzz(func(t *testing.T, buf []byte, flags byte) {
		b, err := Single(bytes.Clone(buf))
		if err != nil {
			return
		}
		if b.Codec() == None || flags&32 == 0 {
			b.UpdateCRC() // or the fuzzer would never get past it
		}
		r := clientRules()
		r.Compacted, r.WalkCompressed = flags&1 != 0, true
		if flags&2 != 0 {
			r.TimestampType = LogAppendTime
		}
		if flags&4 != 0 {
			r.BeforeMax = time.Minute
		}
		if flags&8 != 0 {
			r.Compression = Compression{Fixed: true, Codec: Codec(flags >> 4 % 5)}
		}
		facts, err := Validate(b, &r)
		if err != nil {
			if code := kafka.CodeOf(err); code == kafka.UnknownServerError.Code || code == kafka.NoError {
				t.Fatalf("code %d: %v", code, err)
			}
			return
		}
		got := facts.Batch
		if got.CheckCRC() != nil || facts.Records != int(got.Count()) ||
			r.Compression.Fixed && got.Codec() != r.Compression.Codec {
			t.Fatalf("%+v", facts)
		}
		checkWalk(t, got, facts)
		again := r
		again.BatchBytesMax, again.BeforeMax, again.TimestampType = 0, NoBound, got.TimestampType()
		if again.TimestampType == CreateTime {
			if _, err := Validate(got, &again); err != nil {
				t.Fatalf("what passed once is refused: %v", err)
			}
		}
	})
}

func checkWalk(t *testing.T, b Batch, facts Facts) {
	t.Helper()
	newest, n := kafka.NoTimestamp, int32(0)
	it := b.Records()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if r.OffsetDelta != n {
			t.Fatalf("record %d has offset delta %d", n, r.OffsetDelta)
		}
		newest = max(newest, r.Timestamp)
		n++
	}
	if it.Err() != nil || int(n) != facts.Records || newest != facts.MaxTimestamp || newest != b.MaxTimestamp() {
		t.Fatalf("%d records, newest %d, %v; but %+v", n, newest, it.Err(), facts)
	}
}

// FuzzRecords: an uncompressed batch that is read to its end is read alike by franz-go's codec, and by a Skimmer.
func FuzzRecords(f *testing.F) {
	for _, c := range recordCases() {
		f.Add(c.Records[HeaderBytes:], int32(binary.BigEndian.Uint32(c.Records[countAt:])))
	}
	f.Fuzz(func(t *testing.T, payload []byte, count int32) {
		b := withPayload(None, count, payload)
		whole, skim := b.Records(), b.Skim()
		var records []plainRecord
		for {
			r, ok := whole.Next()
			o, ok2 := skim.Next()
			if ok != ok2 || r.Timestamp != o.Timestamp || ok && (o.KeyBytes < 0) != (r.Key == nil) {
				t.Fatalf("%+v, but %+v", r, o)
			}
			if !ok {
				break
			}
			records = append(records, clone(&r))
		}
		if whole.Err() == nil && count > 0 && !oddLength(payload) {
			if d := cmp.Diff(kmsgContent(t, b, payload).Records, records); d != "" {
				t.Fatal(d)
			}
		}
	})
}

// oddLength says whether a number in the records may not be in its shortest form, which kmsg does not read as Kafka
// does.
func oddLength(payload []byte) bool {
	return bytes.Contains(payload, []byte{0x80, 0}) || !utf8.Valid(payload)
}

// drain decompresses a payload with everything that bounds it.
func drain(c Codec, payload []byte) ([]byte, error) {
	s, err := openStream(c, payload)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var out []byte
	for {
		err := s.fill(1)
		out = append(out, s.window[s.r:s.w]...)
		s.r = s.w
		if s.err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if len(out) > 4<<20 { // enough to compare
			return out, errEnough
		}
	}
}

var errEnough = errors.New("enough")

// fuzzCodec runs a decoder against another one: what this one reads to the end, that one must read alike.
func fuzzCodec(f *testing.F, c Codec, seeds [][]byte, other func([]byte) ([]byte, error)) {
	for _, s := range seeds {
		f.Add(s)
	}
	for _, p := range [][]byte{nil, plain(), make([]byte, 100_000)} {
		f.Add(compressedBytes(f, c, p))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if payload == nil {
			payload = []byte{}
		}
		got, err := drain(c, payload)
		if err != nil {
			return
		}
		if want, err := other(payload); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, but %d: %v", len(got), len(want), err)
		}
	})
}

func FuzzGzip(f *testing.F) {
	fuzzCodec(f, Gzip, [][]byte{gzipWrongSum(), join(gzipped(plain()), gzipped(nil))}, func(p []byte) ([]byte, error) {
		source := bytes.NewReader(p)
		var out []byte
		for members := 0; ; members++ {
			r, err := stdgzip.NewReader(source)
			if err != nil && members > 0 || err == io.EOF {
				return out, nil // what follows a member is ignored
			}
			if err != nil {
				return nil, err
			}
			r.Multistream(false)
			more, err := io.ReadAll(r)
			if err != nil && members > 0 {
				return out, nil // where a header is still a header, the libraries do not agree
			}
			if out = append(out, more...); err != nil {
				return out, err
			}
		}
	})
}

func FuzzSnappy(f *testing.F) {
	seeds := [][]byte{rawSnappy(plain()), snappyHeader, join(snappyHeader, []byte{0, 0, 0, 1, 0})}
	fuzzCodec(f, Snappy, seeds, func(p []byte) ([]byte, error) {
		if !bytes.HasPrefix(p, snappyHeader[:8]) {
			if len(p) == 0 {
				return nil, nil
			}
			return snappyStrict(p)
		}
		var out []byte
		for p = p[16:]; len(p) > 0; {
			if bytes.HasPrefix(p, snappyHeader[:8]) {
				p = p[16:]
				continue
			}
			n := binary.BigEndian.Uint32(p)
			block, err := snappyStrict(p[4 : 4+n])
			if err != nil {
				return nil, err
			}
			out, p = append(out, block...), p[4+n:]
		}
		return out, nil
	})
}

func FuzzLz4(f *testing.F) {
	var seeds [][]byte
	for _, frame := range lz4Frames() {
		seeds = append(seeds, frame)
	}
	fuzzCodec(f, Lz4, seeds, func(p []byte) ([]byte, error) {
		// The library reads on after the frame, and checks the content size, which Kafka does not.
		out, err := io.ReadAll(lz4.NewReader(bytes.NewReader(firstLz4Frame(p))))
		if err != nil && len(p) > 4 && p[4]&lz4FlagContentSize != 0 {
			err = nil
		}
		return out, err
	})
}

// firstLz4Frame cuts off what follows the first frame.
func firstLz4Frame(p []byte) []byte {
	d := new(lz4Decoder)
	if d.reset(p) != nil {
		return p
	}
	_, _ = io.Copy(io.Discard, d)
	return p[:len(p)-len(d.blockReader.rest)-len(d.rest)]
}

func FuzzZstd(f *testing.F) {
	var seeds [][]byte
	for _, frame := range zstdFrames(f) {
		seeds = append(seeds, frame)
	}
	seeds = append(seeds, zstdRuns(10), manyWindows(3))
	reader, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20),
		zstd.WithDecoderMaxWindow(256<<20))
	if err != nil {
		f.Fatal(err)
	}
	fuzzCodec(f, Zstd, seeds, func(p []byte) ([]byte, error) {
		out, err := reader.DecodeAll(p, nil)
		if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			out, _ = drain(Zstd, p) // it counts the announced window as memory
			err = nil
		}
		return out, err
	})
}
