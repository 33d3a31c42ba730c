// Package runtimetest is what tests of coordinators run them on: a partition's log in memory, whose flushes, failures
// and leaders the test decides about, and the answers to commands. It is not part of the broker.
package runtimetest

import (
	"fmt"
	"slices"
	"sync"

	"spate/coordinator"
	"spate/kafka"
	"spate/kafka/record"
)

// Log is a partition's log in memory. Any goroutine may use it.
type Log struct {
	mu       sync.Mutex
	batches  []record.Batch
	start    kafka.Offset
	end      kafka.Offset
	mark     kafka.Offset // high watermark
	bytesMax int
	manual   bool
	appends  int // that were tried
	failAt   func(n int) error
	gone     error
	full     error
	readErr  error
	watching func()
	terms    []coordinator.Terms
}

// BatchBytesMax is what a new Log takes in one batch, as topics do by default.
const BatchBytesMax = 1048588

// NewLog makes an empty log that commits what is appended at once.
func NewLog() *Log { return &Log{bytesMax: BatchBytesMax} }

// Limit sets max.message.bytes.
func (l *Log) Limit(bytesMax int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytesMax = bytesMax
}

// Hold keeps the high watermark where it is until Commit.
func (l *Log) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.manual = true
}

// Commit raises the high watermark to an offset, or to the end for kafka.NoOffset.
func (l *Log) Commit(mark kafka.Offset) {
	l.mu.Lock()
	if mark == kafka.NoOffset {
		mark = l.end
	}
	l.mark = max(l.mark, mark)
	changed := l.watching
	l.mu.Unlock()
	if changed != nil {
		changed()
	}
}

// Fail has the nth append from now on, counted from 1, and all after it fail with err; nil ends that.
func (l *Log) Fail(n int, err error) {
	l.FailWhen(func(i int) error {
		if err != nil && i >= n {
			return err
		}
		return nil
	})
}

// FailWhen asks f before each append from now on, with its number, counted from 1.
func (l *Log) FailWhen(f func(n int) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends, l.failAt = 0, f
}

// Fill has no room be left for what is not reserved yet: err says so. nil ends that.
func (l *Log) Fill(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = err
}

// FailReads has reads fail with err; nil ends that.
func (l *Log) FailReads(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readErr = err
}

// Lose takes the leadership away: everything fails with err, until it is nil.
func (l *Log) Lose(err error) {
	l.mu.Lock()
	l.gone = err
	changed := l.watching
	l.mu.Unlock()
	if changed != nil {
		changed()
	}
}

// Put appends a batch as it is, on behalf of somebody else.
func (l *Log) Put(b record.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.putLocked(slices.Clone(b))
}

func (l *Log) putLocked(b record.Batch) {
	b.SetBaseOffset(l.end)
	l.batches = append(l.batches, b)
	l.end = b.NextOffset()
	if !l.manual {
		l.mark = l.end
	}
}

// Spoil turns a bit of the nth batch, counted from 0.
func (l *Log) Spoil(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := slices.Clone(l.batches[n])
	b[len(b)-1] ^= 1
	l.batches[n] = b
}

// Clone is a log with the same records, all of them committed.
func (l *Log) Clone() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Log{batches: slices.Clone(l.batches), start: l.start, end: l.end, mark: l.end, bytesMax: l.bytesMax}
}

// CutTo is a log with what lies before an offset, as a crash leaves it: whole batches only.
func (l *Log) CutTo(end kafka.Offset) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	cut := &Log{bytesMax: l.bytesMax}
	for _, b := range l.batches {
		if b.NextOffset() > end {
			break
		}
		cut.putLocked(slices.Clone(b))
	}
	return cut
}

// Batches are the batches so far.
func (l *Log) Batches() []record.Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.batches)
}

// Terms are the terms of the batches that a shard has appended.
func (l *Log) Terms() []coordinator.Terms {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.terms)
}

// Reserve is of runtime.Log.
func (l *Log) Reserve(int, int, kafka.Timestamp) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return l.gone
	}
	return l.full
}

// Append is of runtime.Log.
func (l *Log) Append(batch record.Batch, terms coordinator.Terms, _ kafka.Timestamp) (kafka.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return 0, l.gone
	}
	l.appends++
	if l.failAt != nil {
		if err := l.failAt(l.appends); err != nil {
			return 0, err
		}
	}
	if len(batch) > l.bytesMax {
		return 0, fmt.Errorf("%w: %d bytes", kafka.MessageTooLarge, len(batch))
	}
	base := l.end
	l.terms = append(l.terms, terms)
	l.putLocked(slices.Clone(batch))
	return base, nil
}

// BatchBytesMax is of runtime.Log.
func (l *Log) BatchBytesMax() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytesMax
}

// Bounds is of runtime.Log.
func (l *Log) Bounds() (start, end kafka.Offset, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start, l.end, l.gone
}

// HighWatermark is of runtime.Log.
func (l *Log) HighWatermark() (kafka.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mark, l.gone
}

// Read is of runtime.Log.
func (l *Log) Read(from kafka.Offset, bytesMax int, visit func([]byte) error) (kafka.Offset, error) {
	l.mu.Lock()
	var found []byte
	next, err := from, l.gone
	if err == nil {
		err = l.readErr
	}
	for _, b := range l.batches {
		if b.NextOffset() <= from || err != nil {
			continue
		}
		if len(found) > 0 && len(found)+len(b) > bytesMax {
			break
		}
		found = append(found, b...)
		next = b.NextOffset()
	}
	l.mu.Unlock()
	if err != nil || len(found) == 0 {
		return from, err
	}
	return next, visit(found)
}

// Watch is of runtime.Log.
func (l *Log) Watch(changed func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watching = changed
}
