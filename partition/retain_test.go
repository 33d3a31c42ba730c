package partition

import (
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/segment"
)

// TestRetention: segments past their age leave the log, their files get another name and go after the delay.
func TestRetention(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes, c.RetentionAge = 1000, time.Hour
	l := w.openLog(t, c)
	d := l.Dir()
	d.Poll(w.clock.Now())
	for range 9 { // three to a segment
		w.mustClient(t, l, batchSpec{pid: 1, sequence: kafka.Sequence(l.LogEndOffset()), value: make([]byte, 200)})
		w.clock.Advance(10 * time.Minute)
		d.PollFlush()
		d.Poll(w.clock.Now())
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(9)
	held, err := l.Read(0, 1<<20, true, 9)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(11 * time.Minute) // the newest record of the first segment is 81 minutes old, that of the second 51
	d.Poll(w.clock.Now())
	wantOffsets(t, l, 3, 9, 9, 9)
	if l.Segments() != 2 || l.Bytes() >= 2000 {
		t.Errorf("%d segments, %d bytes", l.Segments(), l.Bytes())
	}
	names := fileNames(t, w, "/data/t-0")
	if !slices.Contains(names, "0.log.deleted") || slices.Contains(names, "0.log") {
		t.Errorf("files %v", names)
	}
	if held.Bytes()[0] != 0 || held.Length() == 0 {
		t.Error("a reader lost what it held")
	}
	held.Release()
	w.clock.Advance(c.FileDeleteDelay)
	d.Poll(w.clock.Now())
	if names := fileNames(t, w, "/data/t-0"); slices.Contains(names, "0.log.deleted") {
		t.Errorf("files %v", names)
	}
	if d.Stats().SegmentsDeleted.Load() != 1 {
		t.Errorf("%d segments deleted", d.Stats().SegmentsDeleted.Load())
	}
	l = w.crash(t, l)
	wantOffsets(t, l, 3, 9, 9, 9)
}

// TestRetentionOfEverything: a log whose records are all too old is left with an empty segment, and keeps its offsets.
func TestRetentionOfEverything(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes, c.RetentionAge = 1000, time.Hour
	l := w.openLog(t, c)
	d := l.Dir()
	d.Poll(w.clock.Now())
	for range 7 {
		w.mustClient(t, l, batchSpec{pid: 1, sequence: kafka.Sequence(l.LogEndOffset()), value: make([]byte, 200)})
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(6)
	w.clock.Advance(2 * time.Hour)
	d.Poll(w.clock.Now())
	if l.LogStartOffset() != 6 {
		t.Errorf("log start offset %d past the high watermark 6", l.LogStartOffset())
	}
	l.AdvanceHighWatermark(7)
	w.clock.Advance(2 * time.Hour)
	d.Poll(w.clock.Now())
	if l.LogStartOffset() != 7 || l.LogEndOffset() != 7 || l.Segments() != 1 || l.Bytes() != 0 {
		t.Errorf("[%d, %d) in %d segments, %d bytes", l.LogStartOffset(), l.LogEndOffset(), l.Segments(), l.Bytes())
	}
	if l.LatestEpoch() != 0 || l.EpochForOffset(7) != 0 {
		t.Errorf("epoch %d, of offset 7 %d", l.LatestEpoch(), l.EpochForOffset(7))
	}
	for _, restart := range []func(*world, testing.TB, *Log) *Log{nil, (*world).crash, (*world).restart} {
		if restart != nil {
			l = restart(w, t, l)
		}
		wantOffsets(t, l, 7, 7, 7, 7)
		spec := batchSpec{pid: 1, sequence: 6, ts: w.now(), value: make([]byte, 200)}
		if a, err := w.client(l, spec.build(t)); err != nil || !a.Duplicate {
			t.Errorf("the producer is forgotten: %+v, %v", a, err)
		}
	}
	w.mustClient(t, l, batchSpec{pid: 1, sequence: 7})
	wantOffsets(t, l, 7, 7, 7, 8)
}

// TestRetentionOnFullDisk: what is to make room needs none, not even for longer names. The last segment stays until
// there is some.
func TestRetentionOnFullDisk(t *testing.T) {
	for name, renames := range map[string]int{"for files": math.MaxInt, "for names": 0, "for some names": 1,
		"for most names": 4} {
		t.Run(name, func(t *testing.T) { retainOnFullDisk(t, renames) })
	}
}

// openExpiring opens a log of three segments, of which an hour later none below the high watermark is kept.
func (w *world) openExpiring(t *testing.T, highWatermark kafka.Offset) (*Log, *LogDir, Config) {
	t.Helper()
	c := smallConfig()
	c.SegmentBytes, c.RetentionAge = 1000, time.Hour
	l := w.openLog(t, c)
	for range 7 {
		w.mustClient(t, l, batchSpec{value: make([]byte, 200)})
	}
	must(l.Flush())
	l.AdvanceHighWatermark(highWatermark)
	l.Dir().Poll(w.clock.Now())
	return l, l.Dir(), c
}

// retainOnFullDisk has room for so many longer names of segments.
func retainOnFullDisk(t *testing.T, renames int) {
	w := newWorld()
	w.options.Files = NewOpenFiles(100)
	full := false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if full && (op.Kind == vfs.OpCreate || op.Kind == vfs.OpAllocate) {
			return syscall.ENOSPC
		}
		if full && op.Kind == vfs.OpRename && strings.HasSuffix(op.To, segment.DeletedSuffix) {
			if renames--; renames < 0 {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	l, d, c := w.openExpiring(t, 7)
	full = true
	w.clock.Advance(2 * time.Hour)
	d.Poll(w.clock.Now())
	wantOffsets(t, l, 6, 7, 7, 7)
	w.clock.Advance(c.FileDeleteDelay)
	d.Poll(w.clock.Now())
	if d.Stats().SegmentsDeleted.Load() != 2 || d.Failed() != nil {
		t.Errorf("%d segments deleted, %v", d.Stats().SegmentsDeleted.Load(), d.Failed())
	}
	if open := w.options.Files.Count(); open != 0 {
		t.Errorf("%d files are open", open)
	}
	entries, err := w.disk.ReadDir(l.path())
	must(err)
	for _, e := range entries {
		if base, _, ok := segment.ParseFileName(e.Name()); ok && base < 6 {
			t.Errorf("%s is left", e.Name())
		}
	}
	full = false
	w.clock.Advance(time.Hour)
	d.Poll(w.clock.Now())
	wantOffsets(t, l, 7, 7, 7, 7)
}

// Goal: what retention takes out of a log goes from the disk too, whatever there is no room for at first. Method: each
// of its operations in turn fails for want of room, and some after it; later there is room again.
func TestRetentionGoesOnAfterAFullDisk(t *testing.T) {
	for fails := 1; fails <= 3; fails++ {
		last := 0
		for at := 0; at <= last; at++ {
			last = retainWithout(t, at, fails)
		}
		t.Logf("%d operations, of which %d fail", last, fails)
	}
}

// retainWithout has operations of a retention check fail, beginning with that of number at, and gives how many there
// are.
func retainWithout(t *testing.T, at, fails int) (count int) {
	w := newWorld()
	w.options.Files = NewOpenFiles(100)
	isCounted := false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		isSync := op.Kind == vfs.OpSyncDir && strings.HasSuffix(op.Name, testTP.String())
		isAway := op.Kind == vfs.OpRename && strings.HasSuffix(op.To, segment.DeletedSuffix)
		if !isCounted || !isSync && !isAway && op.Kind != vfs.OpRemove {
			return nil
		}
		count++
		if at < count && count <= at+fails {
			return syscall.ENOSPC
		}
		return nil
	})
	l, d, c := w.openExpiring(t, 6) // the active segment stays
	w.clock.Advance(2 * time.Hour)
	isCounted = true
	d.Poll(w.clock.Now())
	w.clock.Advance(retryDelay)
	d.Poll(w.clock.Now())
	for range fails + 1 { // what was renamed is removed, and tried again
		w.clock.Advance(c.FileDeleteDelay)
		d.Poll(w.clock.Now())
	}
	if d.Failed() != nil || w.options.Files.Count() > 1 || d.Stats().SegmentsDeleted.Load() != 2 {
		t.Errorf("%d from %d on: %v, %d files are open, %d segments deleted", fails, at, d.Failed(),
			w.options.Files.Count(), d.Stats().SegmentsDeleted.Load())
	}
	entries, err := w.disk.ReadDir(l.path())
	must(err)
	for _, e := range entries {
		if base, _, ok := segment.ParseFileName(e.Name()); ok && base < 6 {
			t.Errorf("%d from %d on: %s is left", fails, at, e.Name())
		}
	}
	return count
}

// TestRetentionBySize keeps at least retention.bytes.
func TestRetentionBySize(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes, c.RetentionBytes = 1000, 1500
	l := w.openLog(t, c)
	for range 30 {
		w.mustClient(t, l, batchSpec{value: make([]byte, 200)})
	}
	l.AdvanceHighWatermark(30)
	l.Dir().retain(w.clock.Now())
	if bytes := l.Bytes(); bytes < 1500 || bytes >= 2500 {
		t.Errorf("%d bytes are left", bytes)
	}
	c.Delete = false // compact alone, or nothing: only what lies below the log start offset goes
	c.RetentionBytes = 0
	l.UpdateConfig(c)
	start := l.LogStartOffset()
	l.Dir().retain(w.clock.Now())
	if l.LogStartOffset() != start {
		t.Errorf("log start offset %d", l.LogStartOffset())
	}
	if err := l.DeleteTo(30); err != nil {
		t.Fatal(err)
	}
	l.Dir().retain(w.clock.Now())
	if l.LogStartOffset() != 30 || l.Segments() != 1 {
		t.Errorf("log start offset %d, %d segments", l.LogStartOffset(), l.Segments())
	}
}

// TestRetentionWithoutTimes goes by the time of the file.
func TestRetentionWithoutTimes(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes, c.RetentionAge = 300, time.Hour
	l := w.openLog(t, c)
	for range 5 {
		w.mustCoordinator(t, l, batchSpec{pid: kafka.NoProducerID, ts: -1, value: make([]byte, 200)})
	}
	l.AdvanceHighWatermark(4)
	l.Dir().retain(w.clock.Now()) // the files of the memory disk are from the year 1
	if l.LogStartOffset() != 4 {
		t.Errorf("log start offset %d", l.LogStartOffset())
	}
}

// TestDeleteTo: the log start offset rises, never past the high watermark, never back.
func TestDeleteTo(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	l.AssignEpoch(0)
	w.mustCoordinator(t, l, batchSpec{pid: kafka.NoProducerID, count: 5})
	l.AssignEpoch(2)
	w.mustCoordinator(t, l, batchSpec{pid: kafka.NoProducerID, count: 5})
	l.AdvanceHighWatermark(8)
	wantError(t, l.DeleteTo(9), kafka.OffsetOutOfRange)
	for _, to := range []kafka.Offset{3, 7, 4} {
		if err := l.DeleteTo(to); err != nil {
			t.Fatal(err)
		}
	}
	wantOffsets(t, l, 7, 0, 8, 10)
	if l.EpochForOffset(6) != kafka.NoLeaderEpoch || l.EpochForOffset(7) != 2 {
		t.Errorf("epoch of offset 6 is %d, of 7 %d", l.EpochForOffset(6), l.EpochForOffset(7))
	}
	l = w.restart(t, l)
	wantOffsets(t, l, 7, 10, 8, 10)
}

// TestStraySnapshots: those of earlier shutdowns go, those of segments and the last one stay.
func TestStraySnapshots(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	for range 3 {
		w.mustClient(t, l, batchSpec{pid: 1, sequence: kafka.Sequence(l.LogEndOffset()), value: make([]byte, 400)})
		l = w.restart(t, l)
	}
	snapshots := slices.DeleteFunc(fileNames(t, w, "/data/t-0"), func(name string) bool {
		return !strings.HasSuffix(name, snapshotSuffix)
	})
	if want := []string{"2.snapshot", "3.snapshot"}; !slices.Equal(snapshots, want) {
		t.Errorf("%v are left, not %v", snapshots, want)
	}
}

// TestProducerExpiry: the background worker forgets producers, and a restart does too.
func TestProducerExpiry(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	d := l.Dir()
	d.Poll(w.clock.Now())
	w.mustClient(t, l, batchSpec{pid: 1})
	w.clock.Advance(23 * time.Hour)
	w.mustClient(t, l, batchSpec{pid: 2})
	d.Poll(w.clock.Now())
	if got := l.Producers(); len(got) != 2 {
		t.Errorf("producers %v", got)
	}
	w.clock.Advance(time.Hour)
	d.Poll(w.clock.Now())
	if got := l.Producers(); len(got) != 1 || got[0].ID != 2 {
		t.Errorf("producers %v", got)
	}
	c := *l.Config()
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(24 * time.Hour)
	if got := w.openLog(t, c).Producers(); len(got) != 0 {
		t.Errorf("producers %v", got)
	}
}
