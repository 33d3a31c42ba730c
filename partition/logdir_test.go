package partition

import (
	"errors"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLogDirIdentity: a directory belongs to one node of one cluster, and to one process.
func TestLogDirIdentity(t *testing.T) {
	w := newWorld()
	if _, found, err := ReadMetaProperties(w.fs, testDir); found || err != nil {
		t.Errorf("a directory that is not there: %v, %v", found, err)
	}
	d := w.openDir(t)
	if _, err := OpenLogDir(w.env(), testDir, testOptions()); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if d.Path() != testDir || d.ID() == kafka.ZeroUUID || d.Meta().NodeID != 1 || d.LogCount() != 0 {
		t.Errorf("path %s, id %s, meta %+v", d.Path(), d.ID(), d.Meta())
	}
	if err := d.Close(7); err != nil {
		t.Fatal(err)
	}
	again := w.openDir(t)
	if epoch, clean := again.CleanShutdown(); again.ID() != d.ID() || !clean || epoch != 7 {
		t.Errorf("id %s, clean shutdown %v with epoch %d", again.ID(), clean, epoch)
	}
	if err := again.lock.Close(); err != nil { // as a crash does
		t.Fatal(err)
	}
	if _, clean := w.openDir(t).CleanShutdown(); clean {
		t.Error("the mark of a clean shutdown outlived the process that found it")
	}
	for name, change := range map[string]func(*Options){
		"another cluster": func(o *Options) { o.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA" },
		"another node":    func(o *Options) { o.NodeID = 2 },
	} {
		w := newWorld()
		if err := w.openDir(t).Close(-1); err != nil {
			t.Fatal(err)
		}
		o := testOptions()
		change(&o)
		if _, err := OpenLogDir(w.env(), testDir, o); err == nil {
			t.Errorf("%s opened it", name)
		}
		if err := w.openDir(t).Close(-1); err != nil {
			t.Errorf("after %s was refused: %v", name, err)
		}
	}
}

// TestFailedStart: a start that ends before the logs were loaded leaves the mark of a clean shutdown as it found it.
func TestFailedStart(t *testing.T) {
	for _, clean := range []bool{true, false} {
		w := newWorld()
		l := w.openLog(t, smallConfig())
		w.mustClient(t, l, batchSpec{})
		if clean {
			if err := l.Dir().Close(7); err != nil {
				t.Fatal(err)
			}
		} else if err := l.Dir().lock.Close(); err != nil { // as a crash does
			t.Fatal(err)
		}
		if err := w.openDir(t).Close(8); err != nil {
			t.Fatal(err)
		}
		d := w.openDir(t)
		if epoch, was := d.CleanShutdown(); was != clean || clean && epoch != 7 {
			t.Errorf("clean %v turned into %v with epoch %d", clean, was, epoch)
		}
		keep := func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return smallConfig(), Keep }
		if _, _, err := d.LoadLogs(keep); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(9); err != nil {
			t.Fatal(err)
		}
		if epoch, was := w.openDir(t).CleanShutdown(); !was || epoch != 9 {
			t.Errorf("after a start that loaded the logs: clean %v with epoch %d", was, epoch)
		}
	}
}

// TestGroupCommit: one round serves all who waited before it; the observers hear how far the disk is.
func TestGroupCommit(t *testing.T) {
	w := newWorld()
	d := w.openDir(t)
	var logs []*Log
	var watchers []*watcher
	for i := range 3 {
		tp := kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionIndex(i)}
		l, err := d.OpenLog(tp, testTopicID, smallConfig())
		if err != nil {
			t.Fatal(err)
		}
		logs, watchers = append(logs, l), append(watchers, &watcher{})
		l.SetObserver(watchers[i])
		w.mustClient(t, l, batchSpec{count: 5}, batchSpec{count: i + 1})
	}
	if d.PollFlush() {
		t.Error("a round without anybody waiting")
	}
	logs[0].AwaitFlush()
	logs[0].AwaitFlush()
	logs[2].AwaitFlush()
	if !d.PollFlush() || d.PollFlush() {
		t.Error("not just one round")
	}
	for i, want := range [][]kafka.Offset{{6}, nil, {8}} {
		if diff := cmp.Diff(want, watchers[i].flushed); diff != "" {
			t.Errorf("log %d: %s", i, diff)
		}
	}
	if logs[1].FlushedOffset() != 0 || logs[2].FlushedOffset() != 8 {
		t.Errorf("flushed %d and %d", logs[1].FlushedOffset(), logs[2].FlushedOffset())
	}
	if rounds, flushed := d.Stats().FlushRounds.Load(), d.Stats().FlushedLogs.Load(); rounds != 1 || flushed != 2 {
		t.Errorf("%d rounds, %d logs", rounds, flushed)
	}
	if err := logs[1].Flush(); err != nil || !slices.Equal(watchers[1].flushed, []kafka.Offset{7}) {
		t.Errorf("flushed %v, %v", watchers[1].flushed, err)
	}
}

// TestFlushMessages: the group commit is asked once so many records wait.
func TestFlushMessages(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.FlushRecords = 10
	l := w.openLog(t, c)
	w.mustClient(t, l, batchSpec{count: 9})
	if l.Dir().PollFlush() {
		t.Error("flushed after 9 records")
	}
	w.mustClient(t, l, batchSpec{count: 1})
	l.Dir().PollFlush()
	wantOffsets(t, l, 0, 10, 0, 10)
}

// TestFlushMs: records wait no longer than flush.ms for the disk.
func TestFlushMs(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.FlushInterval = 3 * time.Second
	l := w.openLog(t, c)
	d := l.Dir()
	w.mustClient(t, l, batchSpec{})
	next := d.Poll(w.clock.Now())
	if want := testStart.Add(3 * time.Second); d.PollFlush() || !next.Equal(want) {
		t.Errorf("looked at again at %s, not at %s", next, want)
	}
	w.clock.Advance(3 * time.Second)
	d.Poll(w.clock.Now())
	d.PollFlush()
	wantOffsets(t, l, 0, 1, 0, 1)
}

// TestFlushRolled: the flushed offset moves past a rolled segment only when that one is sealed.
func TestFlushRolled(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	for range 20 {
		w.mustClient(t, l, batchSpec{value: make([]byte, 200)})
		l.Dir().Poll(w.clock.Now())
	}
	l.Dir().PollFlush() // rolling asked for it
	wantOffsets(t, l, 0, 20, 0, 20)
	names := fileNames(t, w, "/data/t-0")
	for _, want := range []string{"3.log", "3.index", "3.timeindex", "3.snapshot", "6.log", "leader-epoch-checkpoint"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %v", want, names)
		}
	}
}

// TestDiskError: a write that fails takes the directory offline; everybody is told, once; nothing is retried.
func TestDiskError(t *testing.T) {
	for _, at := range []vfs.OpKind{vfs.OpWrite, vfs.OpDatasync} {
		t.Run(string(at), func(t *testing.T) {
			w := newWorld()
			broken := false
			calls := 0
			w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
				if broken && op.Kind.Mutates() {
					calls++
				}
				if broken && op.Kind == at && strings.HasSuffix(op.Name, ".log") {
					return syscall.EIO
				}
				return nil
			})
			o := testOptions()
			var told []error
			o.OnFail = func(_ *LogDir, err error) { told = append(told, err) }
			d, err := OpenLogDir(w.env(), testDir, o)
			if err != nil {
				t.Fatal(err)
			}
			l, err := d.OpenLog(testTP, testTopicID, smallConfig())
			if err != nil {
				t.Fatal(err)
			}
			seen := &watcher{}
			l.SetObserver(seen)
			w.mustClient(t, l, batchSpec{})
			broken = true
			if at == vfs.OpWrite {
				_, err = w.client(l, batchSpec{pid: kafka.NoProducerID, ts: w.now()}.build(t))
			} else {
				err = l.Flush()
			}
			wantError(t, err, kafka.KafkaStorageError)
			if !errors.Is(err, syscall.EIO) || !errors.Is(d.Failed(), syscall.EIO) || l.Failed() == nil {
				t.Errorf("%v, and the directory: %v", err, d.Failed())
			}
			if len(told) != 0 {
				t.Error("told on the appender's goroutine")
			}
			before := calls
			d.PollFlush()
			d.PollFlush()
			d.Poll(w.clock.Now())
			w.clock.Advance(time.Hour)
			d.Poll(w.clock.Now())
			if len(told) != 1 || len(seen.failed) != 1 || !errors.Is(seen.failed[0], syscall.EIO) {
				t.Errorf("the directory's owner was told %v, the observer %v", told, seen.failed)
			}
			_, err = w.client(l, batchSpec{pid: kafka.NoProducerID, ts: w.now()}.build(t))
			wantError(t, err, kafka.KafkaStorageError)
			_, err = l.Read(0, 100, true, 1)
			wantError(t, err, kafka.KafkaStorageError)
			for _, err := range []error{l.Flush(), l.TruncateTo(0), l.DeleteTo(0), l.Delete()} {
				wantError(t, err, kafka.KafkaStorageError)
			}
			_, err = d.OpenLog(kafka.TopicPartition{Topic: "u"}, testTopicID, smallConfig())
			wantError(t, err, kafka.KafkaStorageError)
			if calls != before {
				t.Errorf("%d more writes after the failure", calls-before)
			}
			wantError(t, d.Close(1), kafka.KafkaStorageError)
			if calls != before {
				t.Errorf("%d more writes by closing", calls-before)
			}
			broken = false
			if _, clean := w.openDir(t).CleanShutdown(); clean {
				t.Error("a failed directory counts as cleanly closed")
			}
		})
	}
}

// TestDiskFull: appends are refused, reads go on, and when there is room everything goes on as before.
func TestDiskFull(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 200_000
	l := w.openLog(t, c)
	d := l.Dir()
	w.mustClient(t, l, batchSpec{count: 3}, batchSpec{pid: 4, sequence: 0})
	w.disk.SetCapacity(w.disk.UsedBytes() + 4096)
	var err error
	sequence := kafka.Sequence(1)
	for range 1000 {
		spec := batchSpec{pid: 4, sequence: sequence, ts: w.now(), value: make([]byte, 20_000)}
		if _, err = w.client(l, spec.build(t)); err != nil {
			break
		}
		sequence++
	}
	wantError(t, err, kafka.KafkaStorageError)
	if !errors.Is(err, syscall.ENOSPC) || d.Failed() != nil || d.Stats().DiskFull.Load() == 0 {
		t.Fatalf("%v; the directory: %v", err, d.Failed())
	}
	end := l.LogEndOffset()
	before := readAll(t, l, end, 1<<20)
	if len(before) != int(sequence)+1 {
		t.Errorf("%d batches", len(before))
	}
	l.AwaitFlush()
	d.PollFlush()
	for range 30 { // checkpoints, side files, retention: none of them can be written, none of them is an end
		w.clock.Advance(time.Minute)
		d.Poll(w.clock.Now())
		d.PollFlush()
	}
	if d.Failed() != nil {
		t.Fatal(d.Failed())
	}
	if _, err := d.OpenLog(kafka.TopicPartition{Topic: "other"}, testTopicID, c); err == nil {
		t.Log("an empty log takes no room") // on a real disk its names may
	}
	w.disk.SetCapacity(0)
	w.clock.Advance(time.Minute)
	d.Poll(w.clock.Now())
	w.clock.Advance(time.Minute)
	d.Poll(w.clock.Now())
	if got := d.checkpoints.of(testTP).recoveryPoint; got != end || l.unsavedEpochs.load() != kafka.NoOffset {
		t.Errorf("with room again the recovery point is %d, not %d", got, end)
	}
	for range 20 { // rolls
		w.mustClient(t, l, batchSpec{pid: 4, sequence: sequence, value: make([]byte, 20_000)})
		sequence++
	}
	if err := l.Flush(); err != nil || l.Segments() < 2 {
		t.Errorf("%d segments, %v", l.Segments(), err)
	}
	want := readAll(t, l, l.LogEndOffset(), 1<<20)
	l = w.restart(t, l)
	if diff := cmp.Diff(want, readAll(t, l, l.LogEndOffset(), 1<<20), cmpSeen); diff != "" {
		t.Error(diff)
	}
}

// TestDiskFullAtRoll: a roll that finds no room for the new segment leaves the log as it was.
func TestDiskFullAtRoll(t *testing.T) {
	w := newWorld()
	full := false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if full && op.Kind == vfs.OpCreate {
			return syscall.ENOSPC
		}
		return nil
	})
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	w.mustClient(t, l, batchSpec{value: make([]byte, 800)})
	full = true
	for range 3 {
		_, err := w.client(l, batchSpec{pid: kafka.NoProducerID, ts: w.now(), value: make([]byte, 800)}.build(t))
		wantError(t, err, kafka.KafkaStorageError)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	l.Dir().Poll(w.clock.Now())
	full = false
	w.mustClient(t, l, batchSpec{value: make([]byte, 800)})
	wantOffsets(t, l, 0, 1, 0, 2)
	if l.Segments() != 2 || l.Dir().Failed() != nil {
		t.Errorf("%d segments, %v", l.Segments(), l.Dir().Failed())
	}
	if err := l.Dir().Close(1); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFullAtSeal: a rolled segment whose index finds no room is sealed by the background worker's next try.
func TestDiskFullAtSeal(t *testing.T) {
	w := newWorld()
	full := false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if full && (op.Kind == vfs.OpCreate || op.Kind == vfs.OpWrite) && strings.Contains(op.Name, "index") {
			return syscall.ENOSPC
		}
		return nil
	})
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	full = true
	w.mustClient(t, l, batchSpec{value: make([]byte, 800)}, batchSpec{value: make([]byte, 800)})
	wantError(t, l.Flush(), kafka.KafkaStorageError)
	if l.Dir().Failed() != nil {
		t.Fatal(l.Dir().Failed())
	}
	full = false
	l.Dir().Poll(w.clock.Now())
	l.Dir().PollFlush()
	wantOffsets(t, l, 0, 2, 0, 2)
}

// TestSlow: an append or flush that takes long marks the directory for a while.
func TestSlow(t *testing.T) {
	w := newWorld()
	var delay time.Duration
	var d *LogDir
	var slowMeanwhile bool
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite || op.Kind == vfs.OpDatasync {
			w.clock.Advance(delay)
			slowMeanwhile = d != nil && d.Slow()
		}
		return nil
	})
	l := w.openLog(t, smallConfig())
	d = l.Dir()
	w.mustClient(t, l, batchSpec{})
	if d.Slow() || slowMeanwhile {
		t.Error("slow at once")
	}
	delay = 60 * time.Millisecond
	w.mustClient(t, l, batchSpec{})
	if !d.Slow() || d.Stats().SlowOperations.Load() != 1 {
		t.Error("not slow after a slow append")
	}
	if !slowMeanwhile {
		t.Error("not slow while a slow append goes on")
	}
	delay = 0
	w.clock.Advance(slowFor)
	if d.Slow() {
		t.Error("slow for ever")
	}
	delay = 60 * time.Millisecond
	l.AwaitFlush()
	d.PollFlush()
	if !d.Slow() {
		t.Error("not slow after a slow flush")
	}
}

// TestDelete: the folder changes its name at once and goes after the delay; readers keep what they hold.
func TestDelete(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 500
	l := w.openLog(t, c)
	d := l.Dir()
	w.mustClient(t, l, batchSpec{count: 5}, batchSpec{value: make([]byte, 400)}, batchSpec{count: 2})
	d.PollFlush()
	d.Poll(w.clock.Now())
	r, err := l.Read(0, 1<<20, true, 8)
	if err != nil {
		t.Fatal(err)
	}
	held := string(r.Bytes())
	if err := l.Delete(); err != nil {
		t.Fatal(err)
	}
	if string(r.Bytes()) != held {
		t.Error("what was read has changed")
	}
	r.Release()
	_, err = l.Read(0, 100, true, 8)
	wantError(t, err, kafka.UnknownTopicOrPartition)
	_, err = w.client(l, batchSpec{pid: kafka.NoProducerID, ts: w.now()}.build(t))
	wantError(t, err, kafka.UnknownTopicOrPartition)
	wantError(t, l.Flush(), kafka.UnknownTopicOrPartition)
	wantError(t, l.Delete(), kafka.UnknownTopicOrPartition)
	if d.Log(testTP) != nil || len(d.Logs()) != 0 {
		t.Error("the directory still has it")
	}
	folders := func() (deleted int) {
		for _, name := range fileNames(t, w, testDir) {
			if outgoing(name, deleteSuffix) {
				deleted++
			}
		}
		return deleted
	}
	if folders() != 1 {
		t.Errorf("%d folders wait for removal", folders())
	}
	// A topic of the same name may come back meanwhile, and knows nothing of the old one.
	l, err = d.OpenLog(testTP, kafka.UUID{42}, c)
	if err != nil {
		t.Fatal(err)
	}
	wantOffsets(t, l, 0, 0, 0, 0)
	w.clock.Advance(c.FileDeleteDelay - time.Millisecond)
	next := d.Poll(w.clock.Now())
	if folders() != 1 || next.After(w.clock.Now().Add(time.Millisecond)) {
		t.Errorf("%d folders before the delay is over, next look at %s", folders(), next)
	}
	w.clock.Advance(time.Millisecond)
	d.Poll(w.clock.Now())
	if folders() != 0 {
		t.Errorf("%d folders after the delay", folders())
	}
	l = w.crashAs(t, l, kafka.UUID{42})
	wantOffsets(t, l, 0, 0, 0, 0)
}

// TestDeleteOnFullDisk: a folder that cannot be renamed for want of room stays, and its log with it.
func TestDeleteOnFullDisk(t *testing.T) {
	w := newWorld()
	full := false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if full && op.Kind == vfs.OpRename {
			return syscall.ENOSPC
		}
		return nil
	})
	l := w.openLog(t, smallConfig())
	full = true
	wantError(t, l.Delete(), kafka.KafkaStorageError)
	full = false
	w.mustClient(t, l, batchSpec{})
	if err := l.Delete(); err != nil || l.Dir().Failed() != nil {
		t.Errorf("%v, %v", err, l.Dir().Failed())
	}
}

// TestDeleteForgetsCheckpoints: a topic that comes back is not held to what was recorded of the one before it.
func TestDeleteForgetsCheckpoints(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 100})
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(100)
	if err := l.Dir().checkpointAll(); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(); err != nil {
		t.Fatal(err)
	}
	again, err := l.Dir().OpenLog(testTP, kafka.UUID{42}, smallConfig())
	if err != nil {
		t.Fatal(err)
	}
	w.mustClient(t, again, batchSpec{})
	again = w.crashAs(t, again, kafka.UUID{42})
	wantOffsets(t, again, 0, 1, 0, 1)
}

// crashAs is crash for a log with another topic id.
func (w *world) crashAs(t testing.TB, l *Log, id kafka.UUID) *Log {
	t.Helper()
	c := *l.Config()
	if err := l.Dir().lock.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := w.openDir(t).OpenLog(testTP, id, c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLoadLogs: what the cluster wants is loaded, what it does not know is set aside, what it deleted goes.
func TestLoadLogs(t *testing.T) {
	w := newWorld()
	w.options.RecoveryThreads = 4
	d := w.openDir(t)
	for _, name := range []string{"keep", "stray", "deleted", "damaged"} {
		for i := range 3 {
			tp := kafka.TopicPartition{Topic: name, Partition: kafka.PartitionIndex(i)}
			l, err := d.OpenLog(tp, testTopicID, smallConfig())
			if err != nil {
				t.Fatal(err)
			}
			w.mustClient(t, l, batchSpec{count: 3})
			l.AdvanceHighWatermark(2)
		}
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
	if err := w.disk.MkdirAll("/data/__cluster_metadata-0", 0o755); err != nil {
		t.Fatal(err)
	}
	// Not cleanly closed, and data is missing that was recorded as flushed.
	if err := w.disk.Remove(path.Join(testDir, cleanShutdownFile)); err != nil {
		t.Fatal(err)
	}
	f, err := w.disk.OpenFile("/data/damaged-1/00000000000000000000.log", 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(10), f.Close()); err != nil {
		t.Fatal(err)
	}
	d = w.openDir(t)
	early, err := d.OpenLog(kafka.TopicPartition{Topic: "keep", Partition: 1}, testTopicID, smallConfig())
	if err != nil {
		t.Fatal(err)
	}
	logs, failures, err := d.LoadLogs(func(tp kafka.TopicPartition, id kafka.UUID) (Config, Fate) {
		if id != testTopicID {
			t.Errorf("%s has topic id %s", tp, id)
		}
		fates := map[string]Fate{"keep": Keep, "damaged": Keep, "stray": Stray, "deleted": Remove}
		return smallConfig(), fates[tp.Topic]
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range logs {
		got = append(got, l.TopicPartition().String())
		wantOffsets(t, l, 0, 3, 2, 3)
	}
	if diff := cmp.Diff([]string{"damaged-0", "damaged-2", "keep-0", "keep-2"}, got); diff != "" {
		t.Error(diff)
	}
	if len(failures) != 1 || failures[0].TopicPartition.String() != "damaged-1" || d.Failed() != nil {
		t.Errorf("failures %v, directory %v", failures, d.Failed())
	}
	if d.Log(early.TopicPartition()) != early || d.LogCount() != 5 {
		t.Errorf("%d logs", d.LogCount())
	}
	// What was fenced keeps its checkpoints, and its data: a second start says the same.
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
	d = w.openDir(t)
	if _, clean := d.CleanShutdown(); clean {
		t.Error("closed cleanly with a log that could not be loaded")
	}
	_, failures, err = d.LoadLogs(func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return smallConfig(), Keep })
	if err != nil || len(failures) != 1 {
		t.Errorf("the second start: %v, %v", failures, err)
	}
	strays, deleted := 0, 0
	for _, name := range fileNames(t, w, testDir) {
		if outgoing(name, straySuffix) {
			strays++
		}
		if outgoing(name, deleteSuffix) {
			deleted++
		}
	}
	if strays != 3 || deleted != 3 {
		t.Errorf("%d strays, %d deleted", strays, deleted)
	}
	d.Poll(w.clock.Now())
	for _, name := range fileNames(t, w, testDir) {
		if outgoing(name, deleteSuffix) {
			t.Errorf("%s is still there after a restart", name)
		}
	}
}

// TestMissingDataAfterCleanShutdown: a clean shutdown does not excuse records that are gone.
func TestMissingDataAfterCleanShutdown(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 10})
	if err := l.Dir().Close(1); err != nil {
		t.Fatal(err)
	}
	if err := w.disk.Remove("/data/t-0/00000000000000000000.log"); err != nil {
		t.Fatal(err)
	}
	_, err := w.openDir(t).OpenLog(testTP, testTopicID, smallConfig())
	var corrupt *segment.CorruptError
	if !errors.As(err, &corrupt) {
		t.Errorf("opened with %v", err)
	}
}

// TestCheckpoints: what Poll writes, and when; and that a crash afterwards begins from there.
func TestCheckpoints(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	l := w.openLog(t, c)
	d := l.Dir()
	d.Poll(w.clock.Now())
	for range 10 {
		w.mustClient(t, l, batchSpec{value: make([]byte, 300)})
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(8)
	if err := l.DeleteTo(7); err != nil {
		t.Fatal(err)
	}
	d.Poll(w.clock.Now()) // the first change asked for it
	read := func(name string) offsetCheckpoint {
		got, err := readOffsetCheckpoint(w.fs, path.Join(testDir, name))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	w.clock.Advance(5 * time.Second)
	d.Poll(w.clock.Now())
	points := read(recoveryPointFile)
	if got := read(highWatermarkFile); !cmp.Equal(got, offsetCheckpoint{testTP: 8}) || len(points) != 0 {
		t.Errorf("high watermarks %v, recovery points %v", got, points)
	}
	w.clock.Advance(55 * time.Second)
	d.Poll(w.clock.Now())
	if got := read(recoveryPointFile); !cmp.Equal(got, offsetCheckpoint{testTP: 10}) {
		t.Errorf("recovery points %v", got)
	}
	if got := read(logStartFile); !cmp.Equal(got, offsetCheckpoint{testTP: 7}) {
		t.Errorf("log starts %v", got)
	}
	l = w.crash(t, l)
	wantOffsets(t, l, 7, 10, 8, 10)
}

// TestCheckpointAfterSeal: a burst that fills segments moves the recovery point without waiting for the next regular
// checkpoint.
func TestCheckpointAfterSeal(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	d := l.Dir()
	d.Poll(w.clock.Now())
	for range 10 {
		w.mustClient(t, l, batchSpec{value: make([]byte, 300)})
	}
	d.PollFlush() // rolling asked for it
	if next := d.Poll(w.clock.Now()); next.After(w.clock.Now().Add(checkpointDelay)) {
		t.Errorf("the next look is at %s", next)
	}
	w.clock.Advance(checkpointDelay)
	d.Poll(w.clock.Now())
	if got := d.checkpoints.of(testTP).recoveryPoint; got != 10 {
		t.Errorf("recovery point %d", got)
	}
}

// TestUnreadableCheckpoints: they count as empty, and everything is looked at.
func TestUnreadableCheckpoints(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 10})
	l.AdvanceHighWatermark(10)
	if err := l.Dir().Close(1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{recoveryPointFile, logStartFile, highWatermarkFile} {
		writeText(t, w, path.Join(testDir, name), "nonsense")
	}
	l = w.openLog(t, smallConfig())
	wantOffsets(t, l, 0, 10, 0, 10)
	if got := strings.Count(w.log.String(), "unreadable checkpoint file"); got != 3 {
		t.Errorf("%d warnings in\n%s", got, w.log)
	}
}

// TestGoroutines: the real ones, on the real clock: a flush that is asked for happens, and Close joins them.
func TestGoroutines(t *testing.T) {
	w := newWorld()
	env := w.env()
	env.Clock = clock.Real{}
	rounds := make(chan time.Duration, 100)
	o := testOptions()
	o.FlushLatency = func(d time.Duration) { rounds <- d }
	d, err := OpenLogDir(env, testDir, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Start()
	l, err := d.OpenLog(testTP, testTopicID, smallConfig())
	if err != nil {
		t.Fatal(err)
	}
	flushed := make(chan kafka.Offset, 100)
	l.SetObserver(channelObserver(flushed))
	w.mustClient(t, l, batchSpec{count: 4})
	l.AwaitFlush()
	if o := <-flushed; o != 4 {
		t.Errorf("flushed %d", o)
	}
	<-rounds
	if err := l.Delete(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
}

type channelObserver chan kafka.Offset

func (c channelObserver) Flushed(o kafka.Offset) { c <- o }
func (c channelObserver) Failed(error)           {}
