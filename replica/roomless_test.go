package replica

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
)

// lacking is a disk on which what matches fails with an error of want, while it is set.
type lacking struct {
	errno atomic.Pointer[syscall.Errno]
	kind  vfs.OpKind
	names string
}

func (l *lacking) on(disk vfs.FS) vfs.FS {
	return vfs.NewFault(disk, func(op vfs.Op) error {
		if errno := l.errno.Load(); errno != nil && op.Kind == l.kind && strings.HasSuffix(op.Name, l.names) {
			return *errno
		}
		return nil
	})
}

// A log that a start finds no descriptor, or no room, for is served as soon as there is one, with all that is in it.
func TestLogThatCouldNotBeLoadedForWantIsLoadedLater(t *testing.T) {
	for name, c := range map[string]struct {
		errno syscall.Errno
		kind  vfs.OpKind
		names string
	}{
		"the log without a descriptor":       {syscall.EMFILE, vfs.OpOpen, "-0/00000000000000000000.log"},
		"the topic's id without one":         {syscall.EMFILE, vfs.OpOpen, "-0/partition.metadata"},
		"the folder without one":             {syscall.ENFILE, vfs.OpReadDir, "-0"},
		"no room to cut what is left behind": {syscall.ENOSPC, vfs.OpRemove, vfs.TempSuffix},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lacking{kind: c.kind, names: c.names}
			h := newHost(t, l.on(vfs.NewMem()), "/a", "/b")
			h.create("orders", 1)
			h.create("others", 1)
			for range 3 {
				if _, err := appendOne(t, h.TopicNamed("orders").Partition(0), AcksAll); err != nil {
					t.Fatal(err)
				}
			}
			folder := dirPath(h, "orders") + "/orders-0/"
			h.close()
			if err := vfs.PlaceFile(h.disk, folder+"half", nil); err != nil {
				t.Fatal(err)
			}
			if err := h.disk.Rename(folder+"half", folder+"half"+vfs.TempSuffix); err != nil {
				t.Fatal(err)
			}
			l.errno.Store(&c.errno)
			h.open()
			hasNoLog(t, h)
			h.clock.Advance(retryEvery)
			hasNoLog(t, h)
			l.errno.Store(nil)
			h.clock.Advance(retryEvery)
			for _, topic := range []string{"orders", "others"} {
				if _, err := appendOne(t, h.TopicNamed(topic).Partition(0), 1); err != nil {
					t.Errorf("%s: %v", topic, err)
				}
			}
			h.close()
			h.open()
			if end := h.TopicNamed("orders").Partition(0).View().Log.LogEndOffset(); end != 4 {
				t.Errorf("the log ends at %d, want 4", end)
			}
		})
	}
}

// hasNoLog wants partition 0 of orders to be refused as what has no log is.
func hasNoLog(t *testing.T, h *host) {
	t.Helper()
	_, err := appendOne(t, h.TopicNamed("orders").Partition(0), 1)
	if kafka.CodeOf(err) != kafka.KafkaStorageError.Code {
		t.Fatalf("without its log: %v", err)
	}
}

// asAfterACrash has a directory loaded as after a crash.
func asAfterACrash(t *testing.T, disk vfs.FS, dir string) {
	t.Helper()
	if err := disk.Remove(dir + "/.kafka_cleanshutdown"); err != nil {
		t.Fatal(err)
	}
}

// dirPath is the directory with partition 0 of the topic.
func dirPath(h *host, topic string) string {
	return h.TopicNamed(topic).Partition(0).View().Log.Dir().Path()
}

// The same where it is the flush of many logs that finds no descriptor.
func TestLogsWithoutADescriptorToSettleThemAreLoadedLater(t *testing.T) {
	const partitions = 20
	disk := vfs.NewMem()
	l := &lacking{kind: vfs.OpSyncAll}
	h := newHost(t, l.on(disk), "/a")
	h.create("orders", partitions)
	h.close()
	asAfterACrash(t, disk, "/a")
	none := syscall.EMFILE
	l.errno.Store(&none)
	h.open()
	if _, err := appendOne(t, h.TopicNamed("orders").Partition(0), 1); err == nil {
		t.Fatal("the logs are loaded")
	}
	h.clock.Advance(retryEvery)
	for _, r := range h.TopicNamed("orders").Replicas() {
		if _, err := appendOne(t, r, 1); err != nil {
			t.Error(err)
		}
	}
}

// What a flush that failed left in the page cache is not known to be on the disk, whatever the next one says.
func TestLogWhoseFlushFailedWhileItWasLoadedIsNotTriedAgain(t *testing.T) {
	disk := vfs.NewMem()
	l := &lacking{kind: vfs.OpDatasync, names: "-0/00000000000000000000.log"}
	h := newHost(t, l.on(disk), "/a")
	h.create("orders", 1)
	if _, err := appendOne(t, h.TopicNamed("orders").Partition(0), AcksAll); err != nil {
		t.Fatal(err)
	}
	h.close()
	asAfterACrash(t, disk, "/a")
	full := syscall.ENOSPC
	l.errno.Store(&full)
	h.open()
	l.errno.Store(nil)
	h.clock.Advance(retryEvery)
	hasNoLog(t, h)
}

// A crash at the end of a move leaves a log in two directories. Where neither can be loaded nobody knows which is the
// one to go on with: a start has to look at both.
func TestTwoLogsThatCouldNotBeLoadedAreNotTriedAgain(t *testing.T) {
	disk := vfs.NewMem()
	l := &lacking{kind: vfs.OpOpen, names: "-0/00000000000000000000.log"}
	h := newHost(t, l.on(disk), "/a")
	h.create("orders", 1)
	h.close()
	copyLog(t, disk, "/a/orders-0", "/b/orders-0")
	none := syscall.EMFILE
	l.errno.Store(&none)
	h.paths = []string{"/a", "/b"}
	h.open()
	l.errno.Store(nil)
	h.clock.Advance(retryEvery)
	hasNoLog(t, h)
}
