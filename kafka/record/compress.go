package record

import (
	"io"
	"sync"
)

// encoder compresses what is written between Reset and Close. It is reused.
type encoder interface {
	io.WriteCloser
	Reset(dst io.Writer)
}

// encoderKind is a codec with one of its library's levels: there are few.
type encoderKind struct {
	codec Codec
	level int
}

func kindOf(c Codec, level int) encoderKind {
	switch c {
	case Gzip:
		return encoderKind{c, gzipLevel(level)}
	case Lz4:
		return encoderKind{c, lz4Level(level)}
	case Zstd:
		return encoderKind{c, zstdLevel(level)}
	default:
		return encoderKind{codec: c} // snappy has no levels
	}
}

// encoders holds idle ones: a *sync.Pool for every encoderKind that was ever used.
var encoders sync.Map

func (k encoderKind) borrow() (encoder, error) {
	if pool, ok := encoders.Load(k); ok {
		if e, ok := pool.(*sync.Pool).Get().(encoder); ok {
			return e, nil
		}
	}
	switch k.codec {
	case Gzip:
		return newGzipEncoder(k.level)
	case Snappy:
		return new(snappyEncoder), nil
	case Lz4:
		return newLz4Encoder(k.level)
	case Zstd:
		return newZstdEncoder(k.level)
	default:
		return nil, errUnknownCodec(k.codec)
	}
}

func (k encoderKind) release(e encoder) {
	e.Reset(io.Discard) // drops the reference to what it wrote to
	pool, _ := encoders.LoadOrStore(k, new(sync.Pool))
	pool.(*sync.Pool).Put(e)
}

// appendCompressed writes the compressed form of plain behind dst, which may grow to limit bytes.
func appendCompressed(dst, plain []byte, kind encoderKind, limit int) ([]byte, error) {
	return compressed(dst, kind, limit, func(w io.Writer) error {
		_, err := w.Write(plain)
		return err
	})
}

// compressed writes the compressed form of what write gives behind dst, which may grow to limit bytes.
func compressed(dst []byte, kind encoderKind, limit int, write func(io.Writer) error) ([]byte, error) {
	out := limitedBuffer{bytes: dst, limit: limit}
	if kind.codec == None {
		err := write(&out)
		return out.bytes, err
	}
	e, err := kind.borrow()
	if err != nil {
		return nil, err
	}
	defer kind.release(e)
	e.Reset(&out)
	err = write(e)
	if err == nil {
		err = e.Close()
	}
	if out.err != nil { // an encoder may wrap it so that it is not found again
		err = out.err
	}
	return out.bytes, err
}

// limitedBuffer collects what is written, up to limit bytes.
type limitedBuffer struct {
	bytes []byte
	limit int
	err   error
}

// Write appends p, or fails if that were too much.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(p) > b.limit-len(b.bytes) {
		b.err = errBatchTooLarge(b.limit)
		return 0, b.err
	}
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}
