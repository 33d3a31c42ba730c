package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/snappy"
)

// Kafka's snappy is the framing of the Java library by Taro L. Saito: a header, then blocks, each after its length.
// Some clients send one bare block instead.
//
//	0 magic               8 bytes 0x82 "SNAPPY" 0
//	8 version             int32   1
//	12 compatible version int32   1
//	16 blocks: length int32, one snappy block of that many bytes
var snappyHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const (
	// snappyBlockBytes is what the Java library puts into a block.
	snappyBlockBytes = 32 << 10
	// snappyFactor is the best that the format can do: a copy of 64 bytes takes 3. What claims to be more is a lie,
	// which is found out before any memory is taken.
	snappyFactor = 22
)

// snappyDecoder holds one decompressed block: at most snappyFactor times its compressed size.
type snappyDecoder struct {
	blockReader
	rest   []byte // compressed, not read yet
	framed bool
}

func (d *snappyDecoder) reset(payload []byte) error {
	d.resetBlocks()
	d.framed = bytes.HasPrefix(payload, snappyHeader[:8])
	if d.framed && len(payload) < len(snappyHeader) {
		return errShort("the header")
	}
	d.rest = payload
	if d.framed {
		d.rest = payload[len(snappyHeader):]
	}
	return nil
}

// Read gives the next bytes.
func (d *snappyDecoder) Read(p []byte) (int, error) { return d.read(p, d.nextBlock) }

func (d *snappyDecoder) nextBlock() error {
	if len(d.rest) == 0 {
		return io.EOF
	}
	block := d.rest
	if !d.framed {
		d.rest = nil
		return d.decode(block)
	}
	for bytes.HasPrefix(d.rest, snappyHeader[:8]) { // streams that were joined, each with its header
		if len(d.rest) < len(snappyHeader) {
			return errShort("the header")
		}
		d.rest = d.rest[len(snappyHeader):]
	}
	if len(d.rest) == 0 {
		return io.EOF
	}
	if len(d.rest) < 4 {
		return errShort("the length of a block")
	}
	n := binary.BigEndian.Uint32(d.rest)
	if uint64(n) > uint64(len(d.rest)-4) {
		return errShort("a block")
	}
	block, d.rest = d.rest[4:4+n], d.rest[4+n:]
	return d.decode(block)
}

func (d *snappyDecoder) decode(block []byte) error {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return err
	}
	if n > snappyFactor*len(block) {
		return errors.New("a block claims more bytes than it can hold")
	}
	// Strict: what other clients could not read must not pass.
	d.out, err = snappy.DecodeStrict(d.grow(n), block)
	d.blockReader.rest = d.out
	return err
}

// snappyEncoder writes the framing, a block for every snappyBlockBytes.
type snappyEncoder struct {
	dst     io.Writer
	pending []byte
	block   []byte
	begun   bool
}

// Reset begins a new stream on dst.
func (e *snappyEncoder) Reset(dst io.Writer) {
	if e.pending == nil {
		e.pending = make([]byte, 0, snappyBlockBytes)
	}
	e.dst, e.pending, e.begun = dst, e.pending[:0], false
}

// Write takes uncompressed bytes.
func (e *snappyEncoder) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), snappyBlockBytes-len(e.pending))
		e.pending = append(e.pending, p[:n]...)
		p = p[n:]
		if len(e.pending) == snappyBlockBytes {
			if err := e.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

func (e *snappyEncoder) flush() error {
	if !e.begun {
		e.begun = true
		if _, err := e.dst.Write(snappyHeader); err != nil {
			return err
		}
	}
	if len(e.pending) == 0 {
		return nil
	}
	e.block = snappy.Encode(e.block[:cap(e.block)], e.pending)
	e.pending = e.pending[:0]
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(e.block)))
	if _, err := e.dst.Write(length[:]); err != nil {
		return err
	}
	_, err := e.dst.Write(e.block)
	return err
}

// Close writes what is pending; it does not close dst.
func (e *snappyEncoder) Close() error { return e.flush() }
