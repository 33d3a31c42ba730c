package adopt

import (
	"errors"
	"fmt"
	"io"
	"os"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// errTorn says that the file ends inside a batch.
var errTorn = errors.New("the file ends inside a batch")

// errOldFormat says that a batch is of a format from before Kafka 0.11.
var errOldFormat = errors.New("the batch is of a message format older than version 2")

// windowBytes is how much of a file is read at a time when only the heads of the batches are wanted: little enough that
// of large batches most is not read, enough that many small ones come with one read.
const windowBytes = 16 << 10

// walker goes through the batches of a log file.
type walker struct {
	file   vfs.File
	size   int64
	whole  bool // visit gets whole batches, whose checksum is right; else their heads alone
	buffer []byte
	window []byte // what was read last
	from   int64  // its position
}

// walk calls visit for each batch, which is valid during the call. It gives the position at which it ended: that of the
// batch which the error is about.
func walk(fsys vfs.FS, name string, whole bool, visit func(record.Batch) error) (position int64, err error) {
	file, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	w := walker{file: file, whole: whole}
	if w.size, err = file.Size(); err != nil {
		return 0, err
	}
	for position < w.size {
		b, err := w.batch(position)
		if err == nil {
			err = visit(b)
		}
		if err != nil {
			return position, err
		}
		position += record.LogOverhead + int64(b.Length())
	}
	return position, nil
}

// batch gives the batch at a position.
func (w *walker) batch(position int64) (record.Batch, error) {
	if w.size-position < record.HeaderBytes {
		return nil, fmt.Errorf("%w: %d bytes are left", errTorn, w.size-position)
	}
	head, err := w.bytes(position, record.HeaderBytes)
	if err != nil {
		return nil, err
	}
	b := record.Batch(head)
	bytes := record.LogOverhead + int64(b.Length())
	switch {
	case b.Magic() == 0 && bytes == record.LogOverhead: // a power cut leaves zeros behind the end
		return nil, fmt.Errorf("%w: zeros follow", errTorn)
	case b.Magic() == 0 || b.Magic() == 1:
		return nil, errOldFormat
	case b.Magic() != record.Magic || bytes < record.HeaderBytes || b.LastOffsetDelta() < 0 || b.BaseOffset() < 0:
		return nil, fmt.Errorf("no batch begins there (magic %d, %d bytes)", b.Magic(), bytes)
	case bytes > w.size-position:
		return nil, fmt.Errorf("%w: it has %d bytes and %d are left", errTorn, bytes, w.size-position)
	case !w.whole:
		return b, nil
	}
	if int64(cap(w.buffer)) < bytes {
		w.buffer = make([]byte, bytes) // the file has as many
	}
	b = record.Batch(w.buffer[:bytes])
	if err := w.read(b, position); err != nil {
		return nil, err
	}
	return b, b.CheckCRC()
}

// bytes gives a small piece of the file, from the window where it lies in it.
func (w *walker) bytes(position int64, n int) ([]byte, error) {
	if at := position - w.from; at < 0 || at+int64(n) > int64(len(w.window)) {
		w.window = append(w.window[:0], make([]byte, min(windowBytes, w.size-position))...)
		w.from = position
		if err := w.read(w.window, position); err != nil {
			w.window = nil
			return nil, err
		}
	}
	at := position - w.from
	return w.window[at : at+int64(n)], nil
}

func (w *walker) read(into []byte, position int64) error {
	n, err := w.file.ReadAt(into, position)
	if n == len(into) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// transactions are those that are open in a log, by producer.
type transactions map[kafka.ProducerID]kafka.Offset

// batch follows one batch.
func (t transactions) batch(b record.Batch) {
	switch {
	case !b.IsTransactional():
	case b.IsControl():
		delete(t, b.ProducerID())
	default:
		if _, open := t[b.ProducerID()]; !open {
			t[b.ProducerID()] = b.BaseOffset()
		}
	}
}
