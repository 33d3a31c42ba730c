package storage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"spate/kafka"
	"spate/kafka/record"
)

// batches reads a log batch by batch. It holds one batch at a time.
type batches struct {
	path     string
	file     *os.File
	in       *bufio.Reader
	size     int64 // of the file when it was opened: a log that grows meanwhile is read to there
	position int64 // of the next batch
	buffer   []byte
}

// errTorn says that the file ends inside a batch, or that what follows the last batch is no batch: the tail that a
// crash leaves, where nothing was promised of it.
var errTorn = errors.New("the file ends inside a batch")

// openBatches opens a log.
func openBatches(path string) (*batches, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &batches{path: path, file: file, in: bufio.NewReaderSize(file, 1<<20), size: info.Size()}, nil
}

// close ends the reading.
func (r *batches) close() { r.file.Close() }

// next gives the next batch, valid until the next call, and its position; io.EOF after the last. The length is checked
// against what is left of the file before memory is taken for it.
func (r *batches) next() (record.Batch, int64, error) {
	position, left := r.position, r.size-r.position
	if left == 0 {
		return nil, position, io.EOF
	}
	if left < record.HeaderBytes {
		return nil, position, fmt.Errorf("%w: %d bytes are left", errTorn, left)
	}
	head, err := r.in.Peek(record.HeaderBytes)
	if err != nil {
		return nil, position, fmt.Errorf("read: %w", err)
	}
	length := int64(record.Batch(head).Length()) + record.LogOverhead
	if length < record.HeaderBytes {
		return nil, position, fmt.Errorf("a batch cannot have %d bytes", length)
	}
	if length > left {
		return nil, position, fmt.Errorf("%w: it has %d bytes and %d are left", errTorn, length, left)
	}
	if int64(cap(r.buffer)) < length {
		r.buffer = make([]byte, length)
	}
	r.buffer = r.buffer[:length]
	if _, err := io.ReadFull(r.in, r.buffer); err != nil {
		return nil, position, fmt.Errorf("read: %w", err)
	}
	b, rest, err := record.Next(r.buffer)
	if err != nil {
		return nil, position, err
	}
	if len(rest) > 0 {
		return nil, position, fmt.Errorf("%d bytes are left of the batch", len(rest))
	}
	r.position += length
	return b, position, nil
}

// wholeBatchAfter reports whether a whole batch, of an offset from next on, follows the wrong one at position: then a
// byte went bad, where a crash would have left a torn end.
func (r *batches) wholeBatchAfter(position int64, next kafka.Offset) bool {
	var head [record.HeaderBytes]byte
	if _, err := r.file.ReadAt(head[:], position); err != nil {
		return false
	}
	after := position + int64(record.Batch(head[:]).Length()) + record.LogOverhead
	if after <= position || after >= r.size {
		return false
	}
	rest := &batches{path: r.path, file: r.file, size: r.size, position: after,
		in: bufio.NewReaderSize(io.NewSectionReader(r.file, after, r.size-after), record.HeaderBytes)}
	b, _, err := rest.next()
	return err == nil && b.BaseOffset() > next && checkBatch(b) == nil
}

// checkBatch checks what one batch must hold by itself: checksum, numbers, and the structure of every record.
func checkBatch(b record.Batch) error {
	if err := b.CheckCRC(); err != nil {
		return fmt.Errorf("the checksum is %d and the bytes give %d", b.CRC(), b.ComputeCRC())
	}
	if b.BaseOffset() < 0 || b.LastOffsetDelta() < 0 || b.Count() < 0 {
		return fmt.Errorf("base offset %d, last offset delta %d, count %d: none may be negative",
			b.BaseOffset(), b.LastOffsetDelta(), b.Count())
	}
	outlines := b.Skim()
	last := kafka.NoOffset
	for o, ok := outlines.Next(); ok; o, ok = outlines.Next() {
		if o.Offset <= last || o.Offset > b.LastOffset() {
			outlines.Close()
			return fmt.Errorf("record offset %d follows %d in a batch that ends at %d", o.Offset, last, b.LastOffset())
		}
		last = o.Offset
	}
	return outlines.Err()
}
