package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// The zstd frame, little endian, as far as the window is concerned.
//
//	magic 0xfd2fb528 uint32
//	descriptor byte: bits 6–7 width of the content size, 5 single segment, 2 checksum, 0–1 width of the dictionary id
//	window byte, unless single segment: bits 3–7 exponent from 10, 0–2 mantissa in eighths
//	dictionary id, content size: as wide as the descriptor says
//	blocks: uint24: bit 0 last, 1–2 type, 3–23 size; that many bytes, or 1 if type is 1
//	checksum uint32, if flagged
const (
	zstdMagic          = 0xfd2fb528
	zstdSkippable      = 0x184d2a50 // and the 15 numbers that follow
	zstdSingleSegment  = 0x20
	zstdChecksum       = 0x04
	zstdBlockRLE       = 1
	zstdWindowExponent = 10
)

var (
	zstdDictionaryBytes = [4]int{0, 1, 2, 4}
	zstdContentBytes    = [4]int{0, 2, 4, 8}
	errZstdFrame        = errors.New("not a zstd frame")
	errZstdWindow       = fmt.Errorf("a zstd window larger than %d bytes", windowMax)
)

// zstdDecoder holds a window, whose size the frame asks for, up to windowLimit.
type zstdDecoder struct {
	source bytes.Reader
	zstd   *zstd.Decoder
	window uint64 // the largest it has had to hold
}

func (d *zstdDecoder) reset(payload []byte) error {
	if payload == nil {
		d.source.Reset(nil)
		if d.window > windowFloor { // too much for an idle decoder to keep
			d.zstd, d.window = nil, 0
		}
		return nil
	}
	fitted, window, err := fitWindows(payload, windowLimit(len(payload)))
	if err != nil {
		return err
	}
	d.window = max(d.window, window)
	d.source.Reset(fitted)
	if d.zstd == nil {
		// One at a time means on this goroutine; the window is the memory that counts here.
		d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(windowMax), zstd.WithDecodeBuffersBelow(0))
		if err != nil {
			return err
		}
	}
	return d.zstd.Reset(&d.source)
}

// Read gives the next bytes.
func (d *zstdDecoder) Read(p []byte) (int, error) { return d.zstd.Read(p) }

// zstdFrame is where the parts of a frame lie.
type zstdFrame struct {
	header int    // its size, with the magic
	total  int    // of the whole frame
	window uint64 // what it asks for
	flags  byte
	plain  bool // false: a skippable frame
}

// fitWindows makes every frame of a payload ask for a window of at most limit bytes, and gives the largest that is
// left. The strongest levels announce windows of 128 MiB even for a few bytes, and a decoder takes that memory at
// once; but a window larger than what comes out is never needed, and a frame that does reach further back than limit
// fails to decode.
func fitWindows(payload []byte, limit int) ([]byte, uint64, error) {
	var window uint64
	var fitted []byte // a copy, once a frame needs a change
	for at := 0; at < len(payload); {
		f, err := parseZstdFrame(payload[at:])
		if err != nil {
			return nil, 0, err
		}
		if f.window > windowMax {
			return nil, 0, errZstdWindow
		}
		window = max(window, min(f.window, uint64(limit)))
		frame := payload[at : at+f.total]
		if f.plain && f.window > uint64(limit) {
			if fitted == nil {
				fitted = append(make([]byte, 0, len(payload)+1), payload[:at]...)
			}
			fitted = f.appendFitted(fitted, frame, limit)
		} else if fitted != nil {
			fitted = append(fitted, frame...)
		}
		at += f.total
	}
	if fitted == nil {
		fitted = payload
	}
	return fitted, window, nil
}

// appendFitted writes the frame with another window.
func (f *zstdFrame) appendFitted(dst, frame []byte, limit int) []byte {
	exponent := bits.Len(uint(limit)) - 1
	dst = append(dst, frame[:4]...)
	dst = append(dst, f.flags&^zstdSingleSegment, byte(exponent-zstdWindowExponent)<<3)
	rest := 6
	if f.flags&zstdSingleSegment != 0 {
		rest = 5
	}
	return append(dst, frame[rest:]...)
}

// parseZstdFrame measures the frame at the start of b by its block headers.
func parseZstdFrame(b []byte) (zstdFrame, error) {
	var f zstdFrame
	if len(b) < 8 {
		return f, errZstdFrame
	}
	magic := binary.LittleEndian.Uint32(b)
	if magic&^0xf == zstdSkippable {
		total := 8 + uint64(binary.LittleEndian.Uint32(b[4:]))
		if total > uint64(len(b)) {
			return f, errShort("a skippable frame")
		}
		return zstdFrame{total: int(total)}, nil
	}
	if magic != zstdMagic {
		return f, errZstdFrame
	}
	f.plain, f.flags, f.header = true, b[4], 5
	single := f.flags&zstdSingleSegment != 0
	if !single {
		exponent, mantissa := b[5]>>3, uint64(b[5]&7)
		base := uint64(1) << (zstdWindowExponent + exponent)
		f.window = base + base/8*mantissa
		f.header++
	}
	f.header += zstdDictionaryBytes[f.flags&3]
	width := zstdContentBytes[f.flags>>6]
	if single && width == 0 {
		width = 1
	}
	if f.header+width > len(b) {
		return f, errShort("a frame")
	}
	if single {
		var content [8]byte
		copy(content[:], b[f.header:f.header+width])
		f.window = binary.LittleEndian.Uint64(content[:])
		if width == 2 {
			f.window += 256
		}
	}
	f.header += width
	return f, f.measure(b)
}

// measure finds the end of the frame.
func (f *zstdFrame) measure(b []byte) error {
	at := f.header
	for last := false; !last; {
		if at+3 > len(b) {
			return errShort("a block")
		}
		block := uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16
		last = block&1 != 0
		size := int(block >> 3)
		if block>>1&3 == zstdBlockRLE {
			size = 1
		}
		at += 3 + size
	}
	if f.flags&zstdChecksum != 0 {
		at += 4
	}
	if at > len(b) {
		return errShort("a frame")
	}
	f.total = at
	return nil
}

// newZstdEncoder compresses at one of the library's levels.
func newZstdEncoder(level int) (encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevel(level)),
		zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
}

// zstdLevelDefault is the default of Kafka and of the reference encoder.
const zstdLevelDefault = 3

// zstdLevel is the library's number for one of the reference encoder's.
func zstdLevel(level int) int {
	if level == 0 {
		level = zstdLevelDefault
	}
	return int(zstd.EncoderLevelFromZstd(level))
}
