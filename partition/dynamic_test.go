package partition

import (
	"strings"
	"syscall"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
)

// Goal: settings that change while a log is in use take effect at once, and never cost the log. Method: the change
// comes at the worst moment, which a disk that calls back makes happen.

// TestSegmentBytesRaisedDuringAFlush: a flush that is at the active segment goes on with it, whatever is appended to it
// meanwhile. The active segment is empty here, as a full disk leaves it after a roll, and too small for what comes.
func TestSegmentBytesRaisedDuringAFlush(t *testing.T) {
	w := newWorld()
	var hook func(vfs.Op) error
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if hook == nil {
			return nil
		}
		return hook(op)
	})
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	w.mustClient(t, l, batchSpec{value: make([]byte, 600)})
	hook = func(op vfs.Op) error {
		if op.Kind == vfs.OpAllocate {
			return syscall.ENOSPC
		}
		return nil
	}
	full := batchSpec{value: make([]byte, 600), ts: w.now(), pid: kafka.NoProducerID}
	if _, err := w.client(l, full.build(t)); err == nil {
		t.Fatal("no room, and yet appended")
	}
	if l.Segments() != 2 || l.active().Bytes() != 0 {
		t.Fatalf("%d segments, the last of %d bytes", l.Segments(), l.active().Bytes())
	}

	hook = func(op vfs.Op) error { // at the sealing of the first segment, which comes before the flush of the second
		if !strings.HasSuffix(op.Name, "/00000000000000000000.log") || op.Kind != vfs.OpDatasync {
			return nil
		}
		hook = nil
		c.SegmentBytes = 1 << 20
		l.UpdateConfig(c)
		w.mustClient(t, l, batchSpec{value: make([]byte, 5000)})
		return nil
	}
	if err := l.Flush(); err != nil {
		t.Errorf("flush: %v", err)
	}
	if hook != nil {
		t.Fatal("the flush came past no sealing")
	}
	if l.Segments() != 2 || len(readAll(t, l, 2, 1)) != 2 || l.Failed() != nil {
		t.Errorf("%d segments, failed %v", l.Segments(), l.Failed())
	}
	if err := l.Flush(); err != nil || l.FlushedOffset() != 2 {
		t.Errorf("flush: %v, flushed %d", err, l.FlushedOffset())
	}
}

// TestSegmentBytesRaisedOnAFullDisk: a log whose empty active segment was too small goes on when there is room again.
func TestSegmentBytesRaisedOnAFullDisk(t *testing.T) {
	w := newWorld()
	full := false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if full && (op.Kind == vfs.OpCreate || op.Kind == vfs.OpAllocate) {
			return syscall.ENOSPC
		}
		return nil
	})
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	c.SegmentBytes = 1 << 20
	l.UpdateConfig(c)
	full = true
	spec := batchSpec{value: make([]byte, 5000), ts: w.now(), pid: kafka.NoProducerID}
	_, err := w.client(l, spec.build(t))
	wantError(t, err, kafka.KafkaStorageError)
	full = false
	w.mustClient(t, l, spec)
	if err := l.Flush(); err != nil || l.Segments() != 1 || len(readAll(t, l, 1, 1)) != 1 {
		t.Errorf("%d segments, %v", l.Segments(), err)
	}
}

// TestSegmentBytesWhileAppending: the active segment grows to what the setting is now, not to what it was when the
// segment was made, and the whole of it can be read and found again.
func TestSegmentBytesWhileAppending(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	w.mustClient(t, l, batchSpec{value: make([]byte, 600)})
	readAll(t, l, 1, 1) // maps the small segment
	c.SegmentBytes = 10_000
	l.UpdateConfig(c)
	for range 10 {
		w.mustClient(t, l, batchSpec{value: make([]byte, 600)})
	}
	if l.Segments() != 1 || len(readAll(t, l, 11, 1)) != 11 {
		t.Errorf("%d segments", l.Segments())
	}
	c.SegmentBytes = 2000
	l.UpdateConfig(c)
	w.mustClient(t, l, batchSpec{value: make([]byte, 600)}, batchSpec{value: make([]byte, 600)})
	if l.Segments() != 2 {
		t.Errorf("%d segments", l.Segments())
	}
	l = w.restart(t, l)
	if len(readAll(t, l, 13, 1)) != 13 {
		t.Error("after a restart")
	}
}
