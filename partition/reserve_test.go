package partition

import (
	"errors"
	"syscall"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
)

// Goal: after Reserve an append of that size does not ask the disk for room, also where it begins a new segment; a full
// disk is found out before, and leaves the log as it was. Method: a disk that gives no room, or none any more.
func TestReserve(t *testing.T) {
	w := newWorld()
	full, asked := false, 0
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if op.Kind != vfs.OpAllocate {
			return nil
		}
		asked++
		if full {
			return syscall.ENOSPC
		}
		return nil
	})
	c := smallConfig()
	c.SegmentBytes = 100_000
	l := w.openLog(t, c)
	one := func() batchSpec { return batchSpec{value: make([]byte, 60_000), ts: w.now(), pid: kafka.NoProducerID} }
	size := len(one().build(t))
	for i := range 4 { // each but the first begins a segment
		full = true
		err := l.Reserve(size, 1, w.now())
		if !vfs.DiskFull(err) || !errors.Is(err, kafka.KafkaStorageError) || l.Failed() != nil {
			t.Fatalf("reserve %d: %v, the log %v", i, err, l.Failed())
		}
		if end := l.LogEndOffset(); end != kafka.Offset(i) {
			t.Fatalf("the log ends at %d", end)
		}
		full = false
		if err := l.Reserve(size, 1, w.now()); err != nil {
			t.Fatal(err)
		}
		full, asked = true, 0
		if _, err := w.client(l, one().build(t)); err != nil || asked > 0 {
			t.Fatalf("append %d: %v, room was asked for %d times", i, err, asked)
		}
	}
	if n := len(readAll(t, l, 4, 1)); l.Segments() != 4 || n != 4 {
		t.Errorf("%d records in %d segments", n, l.Segments())
	}
	if err := l.Reserve(200_000, 1, w.now()); !errors.Is(err, kafka.RecordListTooLarge) || l.Failed() != nil {
		t.Errorf("more than a segment holds: %v, the log %v", err, l.Failed())
	}
	if err := l.Delete(); err != nil {
		t.Fatal(err)
	}
	if err := l.Reserve(size, 1, w.now()); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("of a deleted log: %v", err)
	}
}
