package record

import (
	"bytes"
	"io"
	"math"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func TestXXH32(t *testing.T) {
	for text, want := range map[string]uint32{
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff, "Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		if got := xxh32Of([]byte(text)); got != want {
			t.Errorf("%q: %#x, want %#x", text, got, want)
		}
	}
	data := bytes.Repeat([]byte("0123456789"), 20)
	for split := range data {
		var x xxh32
		x.reset()
		x.write(data[:split])
		x.write(data[split:])
		if x.sum() != xxh32Of(data) {
			t.Fatalf("split at %d", split)
		}
	}
}

// TestLevels maps Kafka's levels to those of the libraries: out of range is the default or the nearest.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		codec        Codec
		level, taken int
	}{
		{Gzip, 0, -1}, {Gzip, -1, -1}, {Gzip, 1, 1}, {Gzip, 9, 9}, {Gzip, 10, -1},
		{Lz4, 0, int(lz4.Fast)}, {Lz4, 9, int(lz4.Fast)}, {Lz4, 1, int(lz4.Level1)}, {Lz4, 8, int(lz4.Level8)},
		{Lz4, 17, int(lz4.Level9)}, {Lz4, -3, int(lz4.Fast)},
		{Zstd, 0, int(zstd.SpeedDefault)}, {Zstd, 3, int(zstd.SpeedDefault)}, {Zstd, -131072, int(zstd.SpeedFastest)},
		{Zstd, 22, int(zstd.SpeedBestCompression)}, {Snappy, 7, 0},
	} {
		if got := kindOf(c.codec, c.level); got != (encoderKind{c.codec, c.taken}) {
			t.Errorf("%s level %d is %+v, want %d", c.codec, c.level, got, c.taken)
		}
		if _, err := appendCompressed(nil, plain(), kindOf(c.codec, c.level), math.MaxInt); err != nil {
			t.Errorf("%s level %d: %v", c.codec, c.level, err)
		}
	}
}

// TestEncodersStopAtTheLimit: no encoder writes past it, however the bytes come.
func TestEncodersStopAtTheLimit(t *testing.T) {
	random := variety(newRandom(), 2000)
	payload := batchOf(t, BuilderOptions{}, random).Payload()
	for c := None; c < codecCount; c++ {
		full := len(compressedBytes(t, c, payload))
		for _, limit := range []int{0, 10, full / 2, full - 1} {
			out, err := compressed(nil, kindOf(c, 0), limit, func(w io.Writer) error {
				for rest := payload; len(rest) > 0; {
					n := min(len(rest), 5000)
					if _, err := w.Write(rest[:n]); err != nil {
						return err
					}
					rest = rest[n:]
				}
				return nil
			})
			if err == nil || len(out) > limit {
				t.Errorf("%s: %d bytes, limit %d of %d: %v", c, len(out), limit, full, err)
			}
		}
		if _, err := appendCompressed(nil, payload, kindOf(c, 0), full); err != nil {
			t.Errorf("%s: %v at the limit", c, err)
		}
	}
}

// TestAnEncoderIsCleanAfterAFailure: one that was stopped half way compresses the next batch rightly.
func TestAnEncoderIsCleanAfterAFailure(t *testing.T) {
	for c := Gzip; c < codecCount; c++ {
		kind := kindOf(c, 0)
		for range 3 {
			if _, err := appendCompressed(nil, make([]byte, 1<<20), kind, 5); err == nil {
				t.Fatalf("%s: a megabyte fits into 5 bytes", c)
			}
			got, err := drain(c, compressedBytes(t, c, plain()))
			if err != nil || !bytes.Equal(got, plain()) {
				t.Errorf("%s: %x, %v", c, got, err)
			}
		}
	}
}

// TestADecoderIsCleanAfterAFailure: one that met garbage reads the next payload rightly.
func TestADecoderIsCleanAfterAFailure(t *testing.T) {
	for c := Gzip; c < codecCount; c++ {
		good := compressedBytes(t, c, plain())
		for cut := range good {
			_, _ = drain(c, good[:cut])
			bad := bytes.Clone(good)
			bad[cut] ^= 0x55
			_, _ = drain(c, bad)
			if got, err := drain(c, good); err != nil || !bytes.Equal(got, plain()) {
				t.Fatalf("%s after a cut at %d: %v", c, cut, err)
			}
		}
	}
}
