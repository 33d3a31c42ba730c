package partition

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"spate/internal/vfs"
	"spate/kafka"
)

// tally counts operations by kind.
type tally struct {
	mu sync.Mutex
	n  map[vfs.OpKind]int
}

func (c *tally) hook(op vfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[op.Kind]++
	return nil
}

// take gives the counts so far and begins again.
func (c *tally) take() map[vfs.OpKind]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = map[vfs.OpKind]int{}
	return n
}

// TestRestartsOfManyLogs: what a start and a stop do to the disk for each of many logs that hold a little. After a
// crash one flush serves all; a stop that follows no append writes nothing for any log; after a clean stop no log is
// read but for what its newest index entry does not cover.
func TestRestartsOfManyLogs(t *testing.T) {
	const logs = 40
	w := newWorld()
	count := &tally{n: map[vfs.OpKind]int{}}
	w.fs = vfs.NewFault(w.disk, count.hook)
	w.options.SettleTogether = logs
	keep := func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return smallConfig(), Keep }
	start := func() *LogDir {
		t.Helper()
		d := w.openDir(t)
		loaded, failures, err := d.LoadLogs(keep)
		if err != nil || len(failures) > 0 || len(loaded) != logs {
			t.Fatal(len(loaded), failures, err)
		}
		for _, l := range loaded {
			if l.LogEndOffset() != 5 || l.FlushedOffset() != 5 {
				t.Fatalf("%s ends at %d, flushed up to %d", l.tp, l.LogEndOffset(), l.FlushedOffset())
			}
			l.AssignEpoch(l.LatestEpoch() + 1) // as every start does
		}
		return d
	}
	d := w.openDir(t)
	for _, o := range d.OpenLogs(newLogs(logs, smallConfig())) {
		w.mustClient(t, o.Log, batchSpec{count: 5})
	}
	if err := d.lock.Close(); err != nil { // a crash
		t.Fatal(err)
	}
	count.take()
	d = start()
	n := count.take()
	if n[vfs.OpSyncAll] != 1 || n[vfs.OpSyncDir]+n[vfs.OpDatasync] > 4 {
		t.Errorf("after a crash: %v", n)
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
	count.take()
	for range 2 {
		d = start()
		n = count.take()
		if each := (n[vfs.OpOpen] + n[vfs.OpReadDir]) / logs; each > 7 || n[vfs.OpCreate]+n[vfs.OpWrite] > 0 {
			t.Errorf("a clean start: %v", n)
		}
		if err := d.Close(1); err != nil {
			t.Fatal(err)
		}
		if n = count.take(); n[vfs.OpCreate]+n[vfs.OpDatasync]+n[vfs.OpSyncDir] > 20 {
			t.Errorf("a stop that follows no append: %v", n)
		}
	}
}

// TestPowerCutAfterManyRestarted: what a start flushed for many logs at once is there after a power cut.
func TestPowerCutAfterManyRestarted(t *testing.T) {
	const logs = 20
	w := newWorld()
	w.options.SettleTogether = logs
	keep := func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return smallConfig(), Keep }
	d := w.openDir(t)
	for _, o := range d.OpenLogs(newLogs(logs, smallConfig())) {
		w.mustClient(t, o.Log, batchSpec{count: 5}) // not flushed
	}
	if err := d.lock.Close(); err != nil {
		t.Fatal(err)
	}
	d = w.openDir(t)
	if _, failures, err := d.LoadLogs(keep); err != nil || len(failures) > 0 {
		t.Fatal(failures, err)
	}
	w.disk = w.disk.CrashClone(rand.New(rand.NewPCG(1, 1)))
	w.fs = w.disk
	d = w.openDir(t)
	loaded, failures, err := d.LoadLogs(keep)
	if err != nil || len(failures) > 0 || len(loaded) != logs {
		t.Fatal(len(loaded), failures, err)
	}
	for _, l := range loaded {
		if l.LogEndOffset() != 5 {
			t.Errorf("%s ends at %d", l.tp, l.LogEndOffset())
		}
	}
}

// TestRestartWithFewFiles: logs of many segments are loaded after a crash, and after a clean stop, where far fewer
// files may be open than there are segments.
func TestRestartWithFewFiles(t *testing.T) {
	const logs, segments = 20, 10
	w := newWorld()
	w.options.SettleTogether = logs
	c := smallConfig()
	c.SegmentBytes = 1000
	keep := func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return c, Keep }
	d := w.openDir(t)
	for _, o := range d.OpenLogs(newLogs(logs, c)) {
		for range segments {
			w.mustClient(t, o.Log, batchSpec{count: 1, value: make([]byte, 600)})
		}
		if n := o.Log.Segments(); n != segments {
			t.Fatalf("%d segments", n)
		}
		if err := errors.Join(o.Log.Flush(), o.Log.saveSideFiles()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.checkpointAll(), d.lock.Close()); err != nil { // a crash
		t.Fatal(err)
	}
	w.options.Files = NewOpenFiles(logs + 5) // each active segment waits for the flush that serves all
	for range 2 {
		d = w.openDir(t)
		loaded, failures, err := d.LoadLogs(keep)
		if err != nil || len(failures) > 0 || len(loaded) != logs {
			t.Fatal(len(loaded), failures, err)
		}
		for _, l := range loaded {
			if l.LogEndOffset() != segments || l.FlushedOffset() != segments {
				t.Errorf("%s ends at %d, flushed up to %d", l.tp, l.LogEndOffset(), l.FlushedOffset())
			}
		}
		if n := w.options.Files.Count(); n != 0 {
			t.Errorf("%d files are open", n)
		}
		if err := d.Close(1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIdleDirectoriesSleep: where nothing is written the background worker has nothing to look at until retention is
// due, and writes no file.
func TestIdleDirectoriesSleep(t *testing.T) {
	w := newWorld()
	var written []string
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if op.Kind.Mutates() {
			written = append(written, string(op.Kind)+" "+op.Name)
		}
		return nil
	})
	d := w.openDir(t)
	opened := d.OpenLogs(newLogs(5, smallConfig()))
	w.mustClient(t, opened[0].Log, batchSpec{count: 5})
	opened[0].Log.AwaitFlush()
	for range 10 { // what was written is flushed, checkpointed, and its file closed
		d.PollFlush()
		opened[0].Log.AdvanceHighWatermark(opened[0].Log.FlushedOffset())
		d.Poll(w.clock.Now())
		w.clock.Advance(20 * time.Second)
	}
	written = nil
	next := d.Poll(w.clock.Now())
	if wait := next.Sub(w.clock.Now()); wait < time.Minute || len(written) > 0 {
		t.Errorf("the next look is in %v, and it wrote %s", wait, strings.Join(written, ", "))
	}
	w.clock.Advance(next.Sub(w.clock.Now()))
	d.Poll(w.clock.Now())
	if len(written) > 0 {
		t.Errorf("it wrote %s", strings.Join(written, ", "))
	}
}

// TestSideFilesTakeTurns: with many side files to write, a file that is idle is closed before all are written.
func TestSideFilesTakeTurns(t *testing.T) {
	const logs = 3 * saveTogether
	w := newWorld()
	w.options.Files = NewOpenFiles(2 * logs)
	d := w.openDir(t)
	for _, o := range d.OpenLogs(newLogs(logs, smallConfig())) {
		w.mustClient(t, o.Log, batchSpec{count: 5})
		o.Log.AwaitFlush()
	}
	d.PollFlush() // the epochs are to be saved now
	left := func() int {
		d.background.mu.Lock()
		defer d.background.mu.Unlock()
		return len(d.background.unsaved)
	}
	for want := logs - saveTogether; want >= 0; want -= saveTogether {
		next := d.Poll(w.clock.Now())
		if left() != want || want > 0 && next.After(w.clock.Now()) {
			t.Errorf("%d are left, and the next look is in %v; want %d", left(), next.Sub(w.clock.Now()), want)
		}
	}
}

// TestCloseFlushesEachFileOnce: the close of a log that was written to waits for the disk once for each file, and once
// for all the names. With 10,000 logs that is what a stop takes.
func TestCloseFlushesEachFileOnce(t *testing.T) {
	w := newWorld()
	flushes := map[vfs.OpKind]int{}
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		flushes[op.Kind]++
		return nil
	})
	l := w.openLog(t, smallConfig())
	l.AssignEpoch(3)
	w.mustClient(t, l, batchSpec{count: 3})
	clear(flushes)
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	// The log, its two indexes, the producers and the leader epochs.
	if files, names := flushes[vfs.OpDatasync], flushes[vfs.OpSyncDir]; files != 5 || names != 1 {
		t.Errorf("%d flushes of files and %d of the folder", files, names)
	}
}
