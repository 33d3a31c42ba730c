package record

import (
	"encoding/binary"
	"io"
)

// A batch whose topic has another codec keeps its header and, byte for byte, its records: only their compression
// changes. Decompressing, checking and compressing go hand in hand, so that no more of the batch is held than the
// decoder's window and what comes out, which may not grow past the topic's largest batch.

// compress walks an uncompressed batch and makes a compressed one of it.
func (v *validation) compress(target Codec) error {
	it := v.skim()
	if err := v.walk(&it); err != nil {
		return err
	}
	return v.rewrite(target, func(w io.Writer) error {
		_, err := w.Write(v.batch.Payload())
		return err
	})
}

// recompress walks a compressed batch and makes one of another codec of it on the way.
func (v *validation) recompress(target Codec) error {
	return v.rewrite(target, func(w io.Writer) error {
		it := v.skim()
		if it.stream != nil {
			it.stream.tee = w
		}
		return v.walk(&it)
	})
}

// rewrite makes the new batch from the records that write gives.
func (v *validation) rewrite(target Codec, write func(io.Writer) error) error {
	limit := v.rules.BatchBytesMax
	if limit <= 0 {
		limit = int(outputMax(len(v.batch)))
	}
	header := append(make([]byte, 0, len(v.batch)), v.batch[:HeaderBytes]...)
	out, err := compressed(header, kindOf(target, v.rules.Compression.Level), limit, write)
	if err != nil {
		return err
	}
	b := Batch(out)
	b.seal(b.Attributes()&^codecMask | Attributes(target))
	v.batch = b
	return nil
}

// seal writes the attributes, and the length and checksum that the bytes call for.
func (b Batch) seal(a Attributes) {
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(len(b)-LogOverhead))
	b[magicAt] = Magic
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(a))
	b.UpdateCRC()
}
