package partition

import (
	"syscall"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
)

// TestWriteback: appends leave it to the directory's own goroutine, and what that finds out ends the directory.
func TestWriteback(t *testing.T) {
	w := newWorld()
	written, fails := 0, false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if op.Kind != vfs.OpWriteback {
			return nil
		}
		written += int(op.Length)
		if fails {
			return syscall.EIO
		}
		return nil
	})
	c := smallConfig()
	c.SegmentBytes = 64 << 20
	l := w.openLog(t, c)
	d := l.Dir()
	appendSome := func() {
		for range 6 {
			w.mustClient(t, l, batchSpec{value: make([]byte, 1_000_000)})
		}
	}
	appendSome()
	if written > 0 {
		t.Fatal("an append wrote back")
	}
	d.PollWriteback()
	if written < 5_900_000 {
		t.Fatalf("%d bytes are written back", written)
	}
	d.PollWriteback()
	if written > 6_100_000 {
		t.Fatalf("%d bytes are written back", written)
	}
	fails = true
	appendSome()
	d.PollWriteback()
	_, err := w.client(l, batchSpec{value: []byte("v"), ts: w.now(), pid: kafka.NoProducerID}.build(t))
	if kafka.CodeOf(err) != kafka.KafkaStorageError.Code {
		t.Errorf("after a failed writeback: %v", err)
	}
	if d.Failed() == nil {
		t.Error("the directory goes on")
	}
}
