package partition

import (
	"strings"
	"syscall"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
)

// Goal: records that were deleted by hand stay away. Method: power is lost right after the start was saved, and right
// after it was raised.
func TestSavedStartsSurviveAPowerCut(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	for _, value := range []string{"one", "two", "three"} {
		w.mustClient(t, l, batchSpec{value: []byte(value)})
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	if err := l.DeleteTo(2); err != nil {
		t.Fatal(err)
	}
	if err := l.Dir().SaveStarts(); err != nil {
		t.Fatal(err)
	}
	if l = w.crash(t, l); l.LogStartOffset() != 2 {
		t.Errorf("the log begins at %d", l.LogStartOffset())
	}
}

// Goal: starts that cannot be saved are not acknowledged. Method: a disk without room, and one that fails.
func TestStartsThatCannotBeSaved(t *testing.T) {
	for name, c := range map[string]struct {
		errno  syscall.Errno
		failed bool
	}{
		"no room": {syscall.ENOSPC, false},
		"failing": {syscall.EIO, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			broken := false
			w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
				if broken && strings.Contains(op.Name, logStartFile) {
					return c.errno
				}
				return nil
			})
			l := w.openLog(t, smallConfig())
			w.mustClient(t, l, batchSpec{value: []byte("one")}, batchSpec{value: []byte("two")})
			l.AdvanceHighWatermark(l.LogEndOffset())
			if err := l.DeleteTo(1); err != nil {
				t.Fatal(err)
			}
			broken = true
			wantError(t, l.Dir().SaveStarts(), kafka.KafkaStorageError)
			if (l.Failed() != nil) != c.failed {
				t.Errorf("the directory: %v", l.Failed())
			}
			broken = false
			if err := l.Dir().SaveStarts(); (err != nil) != c.failed {
				t.Errorf("the next one: %v", err)
			}
		})
	}
}

func TestSpaceOfADirectory(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	total, free, err := l.Dir().SpaceBytes()
	if err != nil || total <= 0 || free <= 0 || free > total {
		t.Errorf("%d of %d bytes, %v", free, total, err)
	}
}
