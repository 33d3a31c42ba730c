package partition

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spate/internal/vfs"
	"spate/kafka"
)

// closeFiles closes the file of every segment that nobody reads, as the background worker would if nobody used them.
func closeFiles(t testing.TB, d *LogDir) {
	t.Helper()
	for _, o := range d.inUse.list() {
		if err := o.log.Flush(); err != nil {
			t.Fatal(err)
		}
		o.log.rest(o.segment)
	}
	if n := len(d.inUse.list()); n > 0 {
		t.Errorf("%d files are open", n)
	}
}

// openFilesOf counts the descriptors of this process on files below dir.
func openFilesOf(t testing.TB, dir string) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

// mappingsOf counts the mappings of this process of files below dir.
func mappingsOf(t testing.TB, dir string) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), dir)
}

// TestIdleLogsHoldNothingOpen: logs that were made, written and read, on the machine's disk, hold descriptors and
// mappings while they are used, and none later; and after a restart none until they are used.
func TestIdleLogsHoldNothingOpen(t *testing.T) {
	const logs = 30
	w := newWorld()
	w.fs = vfs.OS{}
	dir := t.TempDir()
	want := func(d *LogDir, files, maps int) {
		t.Helper()
		got, mapped := openFilesOf(t, dir)-1, mappingsOf(t, dir) // the lock is always open
		if got != files || mapped != maps || d.options.Files.Count() != files {
			t.Errorf("%d files are open, %d are mapped, %d are counted; want %d and %d",
				got, mapped, d.options.Files.Count(), files, maps)
		}
	}
	d, err := OpenLogDir(w.env(), dir, w.options)
	if err != nil {
		t.Fatal(err)
	}
	opened := d.OpenLogs(newLogs(logs, smallConfig()))
	want(d, 0, 0)
	for _, o := range opened[:20] {
		w.mustClient(t, o.Log, batchSpec{count: 5})
	}
	want(d, 20, 0)
	next := d.Poll(w.clock.Now())
	for i, o := range opened[:10] {
		o.Log.AwaitFlush()
		d.PollFlush()
		readAll(t, o.Log, 5, 100)
		want(d, 20, i+1)
	}
	// Those not flushed are flushed the first time, and closed the next.
	for range 3 {
		w.clock.Advance(w.options.IdleAfter)
		d.Poll(w.clock.Now())
		d.PollFlush()
	}
	want(d, 0, 0)
	w.clock.Advance(w.options.IdleAfter)
	if due := d.closeIdle(w.clock.Now()); next.IsZero() || !due.IsZero() {
		t.Errorf("with nothing open it looks again at %v", due)
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenLogDir(w.env(), dir, w.options); err != nil {
		t.Fatal(err)
	}
	keep := func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return smallConfig(), Keep }
	loaded, failures, err := d.LoadLogs(keep)
	if err != nil || len(failures) > 0 || len(loaded) != logs {
		t.Fatal(len(loaded), failures, err)
	}
	want(d, 0, 0)
	readAll(t, loaded[0], 5, 100)
	want(d, 1, 1)
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
}

// TestUsedFilesStayOpen: the file of a segment that is used now and then is not closed, and one that is not used is.
func TestUsedFilesStayOpen(t *testing.T) {
	w := newWorld()
	d := w.openDir(t)
	opened := d.OpenLogs(newLogs(2, smallConfig()))
	for range 5 {
		w.mustClient(t, opened[0].Log, batchSpec{count: 5})
		if opened[1].Log.LogEndOffset() == 0 {
			w.mustClient(t, opened[1].Log, batchSpec{count: 5})
		}
		d.PollFlush()
		d.Poll(w.clock.Now())
		w.clock.Advance(w.options.IdleAfter)
	}
	if list := d.inUse.list(); len(list) != 1 || list[0].log != opened[0].Log {
		t.Errorf("%d files are open", len(list))
	}
}

// TestOpenFilesAreBounded: when too many logs are used at one time some are refused, nothing else happens to them, and
// they have their turn when the background worker has made room.
func TestOpenFilesAreBounded(t *testing.T) {
	w := newWorld()
	w.options.Files = NewOpenFiles(8)
	d := w.openDir(t)
	opened := d.OpenLogs(newLogs(40, smallConfig()))
	refused := 0
	sequence := make([]kafka.Sequence, len(opened))
	for round := range 30 {
		for i, o := range opened {
			spec := batchSpec{pid: 7, sequence: sequence[i], ts: w.now(), count: 2}
			_, err := w.client(o.Log, spec.build(t))
			if err != nil {
				wantError(t, err, kafka.KafkaStorageError)
				if !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "8 segment files are open") {
					t.Fatal(err)
				}
				refused++
				for range 3 { // sees who is idle, has them flushed, closes them
					d.Poll(w.clock.Now())
					d.PollFlush()
				}
				_, err = w.client(o.Log, spec.build(t))
			}
			if err != nil {
				t.Fatal(err)
			}
			sequence[i] += 2
		}
		if n := w.options.Files.Count(); n > 8 || n != len(d.inUse.list()) {
			t.Fatalf("round %d: %d files are open", round, n)
		}
	}
	if d.Failed() != nil || refused == 0 || int(d.Stats().FilesRefused.Load()) != refused {
		t.Errorf("%d were refused, %d counted, the directory: %v", refused, d.Stats().FilesRefused.Load(), d.Failed())
	}
	for i, o := range opened {
		if got := o.Log.LogEndOffset(); got != kafka.Offset(sequence[i]) || got == 0 {
			t.Errorf("%s ends at %d, not %d", o.Log.tp, got, sequence[i])
		}
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
	if n := w.options.Files.Count(); n != 0 {
		t.Errorf("%d files are open at the end", n)
	}
}

// TestOutOfDescriptors: where the process has no descriptor left, every operation that wanted one is refused or put
// off; the directory stays online, and nothing that was acknowledged is lost.
func TestOutOfDescriptors(t *testing.T) {
	w := newWorld()
	var out atomic.Bool
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		switch op.Kind {
		case vfs.OpOpen, vfs.OpCreate, vfs.OpReadDir, vfs.OpSyncDir:
			if out.Load() {
				return syscall.EMFILE
			}
		}
		return nil
	})
	c := smallConfig()
	c.SegmentBytes = 3000
	l := w.openLog(t, c)
	d := l.Dir()
	acknowledged := 0
	for round := range 8 {
		out.Store(round%2 == 1)
		for range 12 {
			_, err := w.client(l, batchSpec{pid: kafka.NoProducerID, ts: w.now(), value: make([]byte, 500)}.build(t))
			if err == nil {
				acknowledged++
			} else {
				wantError(t, err, kafka.KafkaStorageError)
			}
		}
		l.AwaitFlush()
		for range 4 {
			d.PollFlush()
			w.clock.Advance(time.Minute)
			d.Poll(w.clock.Now())
		}
		if _, err := l.Read(0, 100, true, 1); err != nil {
			wantError(t, err, kafka.KafkaStorageError)
		}
		other := kafka.TopicPartition{Topic: fmt.Sprintf("other-%d", round)}
		made, err := d.OpenLog(other, testTopicID, c)
		if (err == nil) == out.Load() {
			t.Errorf("round %d: another log: %v", round, err)
		}
		if made != nil {
			out.Store(true)
			if err := made.Delete(); err != nil {
				t.Error(err)
			}
		}
		if d.Failed() != nil {
			t.Fatalf("round %d: %v", round, d.Failed())
		}
	}
	out.Store(false)
	for range 4 {
		w.clock.Advance(time.Minute)
		d.Poll(w.clock.Now())
		d.PollFlush()
	}
	if l.FlushedOffset() != l.LogEndOffset() || int(l.LogEndOffset()) != acknowledged || acknowledged < 48 {
		t.Errorf("%d acknowledged, the log ends at %d, flushed up to %d",
			acknowledged, l.LogEndOffset(), l.FlushedOffset())
	}
	want := readAll(t, l, l.LogEndOffset(), 1<<20)
	l = w.restart(t, l)
	if diff := cmp.Diff(want, readAll(t, l, l.LogEndOffset(), 1<<20), cmpSeen); diff != "" {
		t.Error(diff)
	}
}

// TestRemovalOutOfDescriptors: removing a folder opens it; where there is no descriptor for that it waits.
func TestRemovalOutOfDescriptors(t *testing.T) {
	w := newWorld()
	var out atomic.Bool
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if out.Load() && op.Kind == vfs.OpRemove && strings.HasSuffix(op.Name, deleteSuffix) {
			return syscall.EMFILE
		}
		return nil
	})
	l := w.openLog(t, smallConfig())
	d := l.Dir()
	if err := l.Delete(); err != nil {
		t.Fatal(err)
	}
	for _, lacking := range []bool{true, true, false} {
		out.Store(lacking)
		w.clock.Advance(time.Hour)
		d.Poll(w.clock.Now())
		if d.Failed() != nil {
			t.Fatal(d.Failed())
		}
		entries, err := w.disk.ReadDir(testDir)
		if err != nil {
			t.Fatal(err)
		}
		there := false
		for _, e := range entries {
			there = there || strings.HasSuffix(e.Name(), deleteSuffix)
		}
		if there != lacking {
			t.Errorf("without descriptors: %v, the folder is there: %v", lacking, there)
		}
	}
}

// TestReadOfADeletedLog: a log whose files are closed is deleted; who still has it is told so, and nobody takes the
// missing file for a corrupt one.
func TestReadOfADeletedLog(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	d := l.Dir()
	w.mustClient(t, l, batchSpec{count: 5})
	closeFiles(t, d)
	if _, err := l.detach(); err != nil { // the folder has its new name, the segments are still the log's
		t.Fatal(err)
	}
	_, err := l.Read(0, 100, true, 5)
	wantError(t, err, kafka.UnknownTopicOrPartition)
	if n := d.Stats().Corruptions.Load(); n != 0 || d.Failed() != nil {
		t.Errorf("%d corruptions, %v", n, d.Failed())
	}
}

// BenchmarkManyLogs is what the background worker costs with many idle logs.
func BenchmarkManyLogs(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld()
			d := w.openDir(b)
			d.OpenLogs(newLogs(n, smallConfig()))
			for b.Loop() {
				w.clock.Advance(5 * time.Second)
				d.Poll(w.clock.Now())
			}
		})
	}
}

// TestRefusedMarkerLeavesNothing: where the index of aborted transactions cannot be opened, the abort marker is refused
// before any byte of it is in the log; else the next append would get the same offset.
func TestRefusedMarkerLeavesNothing(t *testing.T) {
	w := newWorld()
	var refuse syscall.Errno
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if refuse != 0 && op.Kind == vfs.OpOpen && strings.HasSuffix(op.Name, ".txnindex") {
			return refuse
		}
		return nil
	})
	l := w.openLog(t, smallConfig())
	begin := batchSpec{pid: 7, transactional: true, ts: w.now()}
	abort := batchSpec{pid: 7, sequence: kafka.NoSequence, marker: &marker{}, ts: w.now()}
	w.mustCoordinator(t, l, begin, abort)
	for i, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENOSPC} {
		begin.sequence++
		w.mustCoordinator(t, l, begin)
		l = w.restart(t, l) // the index is on the disk only
		end := l.LogEndOffset()
		refuse = errno
		_, err := l.Append(abort.build(t), AppendOptions{Origin: OriginCoordinator, Now: w.now()})
		wantError(t, err, kafka.KafkaStorageError)
		if !errors.Is(err, errno) {
			t.Fatalf("the marker was not refused for its index: %v", err)
		}
		refuse = 0
		if l.LogEndOffset() != end || l.Dir().Failed() != nil {
			t.Fatalf("the log ends at %d, not %d; %v", l.LogEndOffset(), end, l.Dir().Failed())
		}
		w.mustCoordinator(t, l, abort)
		aborted, err := l.AbortedTransactions(nil, 0, l.LogEndOffset())
		if err != nil || len(aborted) != i+2 {
			t.Fatalf("aborted: %v, %v", aborted, err)
		}
		next := kafka.Offset(0)
		for _, b := range readAll(t, l, l.LogEndOffset(), 1<<20) {
			if b.base != next {
				t.Fatalf("a batch at %d where %d is next", b.base, next)
			}
			next = b.last + 1
		}
		if next != l.LogEndOffset() {
			t.Fatalf("the batches end at %d, the log at %d", next, l.LogEndOffset())
		}
	}
}

// Goal: aborted records are never given as committed ones because the folder was renamed between the look-up of records
// and that of what was aborted. Method: a log is deleted when the index of a sealed segment is about to be opened.
func TestAbortedRecordsOfALogThatIsDeleted(t *testing.T) {
	for name, ask := range map[string]func(l *Log) error{
		"read": func(l *Log) error {
			var aborted []AbortedTransaction
			r, err := l.ReadCommitted(0, 1<<20, true, l.LogEndOffset(), &aborted)
			r.Release()
			return err
		},
		"asked for": func(l *Log) error {
			_, err := l.AbortedTransactions(nil, 0, l.LogEndOffset())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			var l *Log
			deleted := false
			w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
				if l != nil && !deleted && op.Kind == vfs.OpOpen && strings.HasSuffix(op.Name, ".txnindex") {
					deleted = true
					_, err := l.detach() // the segments are still the log's
					must(err)
				}
				return nil
			})
			made := w.openLog(t, moveConfig())
			w.fill(t, made)
			l = made
			wantError(t, ask(made), kafka.UnknownTopicOrPartition)
			if !deleted {
				t.Error("no index was opened")
			}
		})
	}
}

// TestFailedDirectoryGivesItsFilesBack: the descriptors of a directory that is offline are of use to the others.
func TestFailedDirectoryGivesItsFilesBack(t *testing.T) {
	w := newWorld()
	w.options.Files = NewOpenFiles(100)
	dirs, l := w.openDirs(t, moveConfig())
	w.fill(t, l)
	r, err := l.Read(0, 100, true, 1)
	must(err)
	files := w.options.Files
	if n := files.Count(); n < 2 {
		t.Fatalf("%d files are open", n)
	}
	dirs[0].fail(errors.New("it is gone"))
	l.append.Lock() // an append that waits for the disk
	w.clock.Advance(time.Minute)
	dirs[0].Poll(w.clock.Now())
	l.append.Unlock()
	if n := files.Count(); n < 2 {
		t.Errorf("%d files are open beside an append", n)
	}
	w.clock.Advance(time.Minute)
	dirs[0].Poll(w.clock.Now())
	if n := files.Count(); n != 0 {
		t.Errorf("%d files are open", n)
	}
	_ = r.Bytes()[0] // which the reader has yet
	r.Release()
	_, err = l.Read(0, 100, true, 1)
	wantError(t, err, kafka.KafkaStorageError)
	wantError(t, l.Flush(), kafka.KafkaStorageError)
	if err := dirs[0].Close(1); !errors.Is(err, kafka.KafkaStorageError) {
		t.Error(err)
	}
}
