package record

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gzipDecoder reads any number of gzip members, one after the other, and like Java ignores what follows them. It holds
// a window of 32 KiB.
type gzipDecoder struct {
	source bytes.Reader
	gzip   gzip.Reader
}

func (d *gzipDecoder) reset(payload []byte) error {
	d.source.Reset(payload)
	if payload == nil {
		return nil
	}
	return d.nextMember()
}

func (d *gzipDecoder) nextMember() error {
	err := d.gzip.Reset(&d.source)
	d.gzip.Multistream(false)
	return err
}

// Read gives the next bytes.
func (d *gzipDecoder) Read(p []byte) (int, error) {
	n, err := d.gzip.Read(p)
	if n == 0 && err == io.EOF && d.source.Len() > 0 && d.nextMember() == nil {
		return 0, nil
	}
	if n > 0 && err == io.EOF {
		return n, nil // once more, for the next member
	}
	return n, err
}

// newGzipEncoder compresses at one of the levels 1 to 9 or the library's default.
func newGzipEncoder(level int) (encoder, error) { return gzip.NewWriterLevel(nil, level) }

// gzipLevel is the library's number for one of Kafka's.
func gzipLevel(level int) int {
	if level < gzip.BestSpeed || level > gzip.BestCompression {
		return gzip.DefaultCompression
	}
	return level
}
