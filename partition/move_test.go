package partition

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spate/internal/vfs"
	"spate/kafka"
)

const otherDir = "/other"

// openDirs opens both directories of a broker and gives the log of testTP, which is in one of them or made in the
// first.
func (w *world) openDirs(t testing.TB, c Config) (dirs [2]*LogDir, log *Log) {
	t.Helper()
	var found []*Log
	for i, name := range []string{testDir, otherDir} {
		d, err := OpenLogDir(w.env(), name, w.options)
		if err != nil {
			t.Fatal(err)
		}
		logs, failures, err := d.LoadLogs(func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return c, Keep })
		if err != nil || len(failures) > 0 {
			t.Fatal(failures, err)
		}
		dirs[i], found = d, append(found, logs...)
	}
	switch len(found) {
	case 0:
		l, err := dirs[0].OpenLog(testTP, testTopicID, c)
		if err != nil {
			t.Fatal(err)
		}
		return dirs, l
	case 1:
		return dirs, found[0]
	}
	keep, drop, ok := ChooseMoved(found[0], found[1], kafka.ZeroUUID)
	if !ok {
		t.Fatal("the log is in both directories, and nothing tells why")
	}
	if err := drop.Delete(); err != nil {
		t.Fatal(err)
	}
	return dirs, keep
}

// mustMove moves l to another directory; between is called when the copy has caught up for the first time.
func mustMove(t testing.TB, l *Log, to *LogDir, between func()) *Log {
	t.Helper()
	m, err := l.MoveTo(to)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n > 0; {
		if n, err = m.Copy(); err != nil {
			t.Fatal(err)
		}
	}
	if lag := m.Lag(); lag != 0 {
		t.Errorf("the copy lags by %d offsets", lag)
	}
	if between != nil {
		between()
	}
	var next *Log
	if err := m.Finish(func(l *Log) { next = l }); err != nil {
		t.Fatal(err)
	}
	return next
}

// state is all that a log tells.
type state struct {
	offsets  [5]kafka.Offset
	batches  []seen
	aborted  []AbortedTransaction
	producer []ProducerStatus
	epochs   epochCache
	ends     [3]kafka.Offset // of leader epochs
	id       kafka.UUID
}

func stateOf(t testing.TB, l *Log) state {
	t.Helper()
	aborted, err := l.AbortedTransactions(nil, l.LogStartOffset(), l.LogEndOffset())
	if err != nil {
		t.Fatal(err)
	}
	s := state{
		offsets: [5]kafka.Offset{l.LogStartOffset(), l.LastStableOffset(), l.HighWatermark(), l.LogEndOffset(),
			l.FlushedOffset()},
		batches: readAll(t, l, l.LogEndOffset(), 1000), aborted: aborted, producer: l.Producers(),
		epochs: *l.epochs.Load(), id: l.TopicID(),
	}
	for i := range s.ends {
		_, s.ends[i] = l.EpochEndOffset(kafka.LeaderEpoch(i))
	}
	return s
}

var cmpState = cmp.Options{cmp.AllowUnexported(state{}, epochEntry{}), cmpSeen}

// fill gives the log several segments, epochs, producers, an open transaction and aborted ones.
func (w *world) fill(t testing.TB, l *Log) {
	t.Helper()
	for i := range 12 {
		if i%5 == 0 {
			l.AssignEpoch(kafka.LeaderEpoch(i / 5))
		}
		w.mustClient(t, l, batchSpec{pid: 1, sequence: kafka.Sequence(2 * i), count: 2, value: make([]byte, 200)},
			batchSpec{value: make([]byte, 150)})
		w.mustCoordinator(t, l, batchSpec{pid: 5, sequence: kafka.Sequence(i), transactional: true, ts: w.now()},
			batchSpec{pid: 5, sequence: kafka.NoSequence, marker: &marker{commit: i%2 == 0}, ts: w.now()})
	}
	w.mustCoordinator(t, l, batchSpec{pid: 6, transactional: true, ts: w.now()})
	w.mustClient(t, l, batchSpec{value: make([]byte, 10)})
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset() - 1)
}

func moveConfig() Config {
	c := smallConfig()
	c.SegmentBytes, c.FileDeleteDelay = 1000, time.Minute
	return c
}

// Goal: a log that was moved is the same log, to readers, producers, followers and the next start. Method: compare all
// that it tells before and after, then after a clean restart, and after a crash in which everything is looked at anew.
func TestMoveKeepsEverything(t *testing.T) {
	w := newWorld()
	dirs, l := w.openDirs(t, moveConfig())
	w.fill(t, l)
	if err := l.DeleteTo(5); err != nil { // in the middle of a segment
		t.Fatal(err)
	}
	want := stateOf(t, l)
	want.offsets[4] = want.offsets[3]
	next := mustMove(t, l, dirs[1], nil)
	check := func(when string, got *Log) {
		t.Helper()
		if diff := cmp.Diff(want, stateOf(t, got), cmpState); diff != "" {
			t.Errorf("%s (-before +after):\n%s", when, diff)
		}
	}
	check("moved", next)
	if l.Dir() != dirs[0] || next.Dir() != dirs[1] || dirs[0].Log(testTP) != nil || dirs[1].Log(testTP) != next {
		t.Error("the directories list the wrong logs")
	}
	if next.MovedFrom() != kafka.ZeroUUID {
		t.Error("the file that tells of the move is still there")
	}
	_, err := w.client(l, batchSpec{pid: kafka.NoProducerID, ts: w.now()}.build(t))
	if !errors.Is(err, ErrMoved) {
		t.Errorf("an append to what is left: %v", err)
	}
	if _, err := l.Read(5, 100, true, 6); !errors.Is(err, ErrMoved) {
		t.Errorf("a read of what is left: %v", err)
	}
	for _, d := range dirs {
		must(d.Close(3))
	}
	dirs, next = w.openDirs(t, moveConfig())
	check("after a restart", next)
	for _, d := range dirs {
		must(d.checkpointAll())
		must(d.lock.Close())
	}
	dirs, next = w.openDirs(t, moveConfig())
	check("after a crash", next)
	if n := w.mustClient(t, next, batchSpec{pid: 1, sequence: 24}); n.Duplicate {
		t.Error("a new batch is a duplicate")
	}
	if a := w.mustClient(t, next, batchSpec{pid: 1, sequence: 22, count: 2}); !a.Duplicate {
		t.Error("a batch of before the move is not known any more")
	}
	w.clock.Advance(time.Hour)
	for _, d := range dirs {
		d.Poll(w.clock.Now())
	}
	if folders := foldersOf(t, w.disk); !slices.Equal(folders, []string{otherDir + "/t-0"}) {
		t.Errorf("on the disk are %v", folders)
	}
}

func foldersOf(t testing.TB, disk vfs.FS) (all []string) {
	t.Helper()
	for _, dir := range []string{testDir, otherDir} {
		entries, err := disk.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				all = append(all, dir+"/"+e.Name())
			}
		}
	}
	return all
}

// A producer whose batches retention has removed is known all the same, also after a crash that follows the move.
func TestMoveTakesProducersWithoutBatchesAlong(t *testing.T) {
	w := newWorld()
	c := moveConfig()
	c.RetentionBytes, c.RetentionAge = 1500, Forever
	dirs, l := w.openDirs(t, c)
	w.mustClient(t, l, batchSpec{pid: 9, sequence: 0, value: make([]byte, 300)})
	w.mustCoordinator(t, l, batchSpec{pid: 8, transactional: true, ts: w.now(), value: make([]byte, 300)})
	for range 12 {
		w.mustClient(t, l, batchSpec{value: make([]byte, 300)})
	}
	must(l.Flush())
	l.AdvanceHighWatermark(l.LogEndOffset())
	w.clock.Advance(time.Hour)
	dirs[0].Poll(w.clock.Now())
	w.clock.Advance(time.Hour)
	dirs[0].Poll(w.clock.Now())
	if l.LogStartOffset() < 3 {
		t.Fatalf("retention left the log at %d", l.LogStartOffset())
	}
	w.mustCoordinator(t, l, batchSpec{pid: 8, sequence: kafka.NoSequence, marker: &marker{}, ts: w.now()})
	next := mustMove(t, l, dirs[1], func() { w.mustClient(t, l, batchSpec{value: make([]byte, 30)}) })
	w.mustClient(t, next, batchSpec{value: make([]byte, 30)})
	must(next.Flush())
	for _, d := range dirs {
		must(d.lock.Close())
	}
	_, next = w.openDirs(t, c)
	ids := []kafka.ProducerID{}
	for _, p := range next.Producers() {
		ids = append(ids, p.ID)
	}
	if !slices.Equal(ids, []kafka.ProducerID{8, 9}) {
		t.Errorf("the producers %v are known", ids)
	}
	aborted, err := next.AbortedTransactions(nil, next.LogStartOffset(), next.LogEndOffset())
	if err != nil || len(aborted) != 1 || aborted[0].FirstOffset != 1 {
		t.Errorf("the aborted transactions are %v, %v", aborted, err)
	}
}

// The last stable offset follows the high watermark although a move comes between the two steps of its advance, and the
// high watermark does not move again.
func TestMoveBetweenHighWatermarkAndLastStableOffset(t *testing.T) {
	w := newWorld()
	dirs, l := w.openDirs(t, moveConfig())
	w.mustCoordinator(t, l, batchSpec{pid: 8, transactional: true, ts: w.now()},
		batchSpec{pid: 8, sequence: kafka.NoSequence, marker: &marker{commit: true}, ts: w.now()})
	must(l.Flush())
	end := l.LogEndOffset()
	next := mustMove(t, l, dirs[1], func() {
		l.highWatermark.store(end) // as AdvanceHighWatermark does before it waits for the append lock
	})
	l.settleTransactions() // which it has now, too late
	next.AdvanceHighWatermark(end)
	if mark, stable := next.HighWatermark(), next.LastStableOffset(); mark != end || stable != end {
		t.Errorf("the high watermark is %d and the last stable offset %d, of %d", mark, stable, end)
	}
}

// Who still asks the log that has moved is not told of a last stable offset past an open transaction, although its high
// watermark moves.
func TestMovedLogKeepsItsLastStableOffset(t *testing.T) {
	w := newWorld()
	dirs, l := w.openDirs(t, moveConfig())
	w.mustClient(t, l, batchSpec{pid: 8, transactional: true, ts: w.now()})
	must(l.Flush())
	next := mustMove(t, l, dirs[1], nil)
	for _, log := range []*Log{l, next} {
		log.AdvanceHighWatermark(log.LogEndOffset())
		if stable := log.LastStableOffset(); stable != 0 {
			t.Errorf("in %s the last stable offset is %d", log.Dir().Path(), stable)
		}
	}
}

// A move that ends early leaves the log as it was, and nothing of itself.
func TestMoveAborted(t *testing.T) {
	for name, abort := range map[string]func(*Log, *Move) error{
		"at once": func(*Log, *Move) error { return nil },
		"in the middle": func(_ *Log, m *Move) error {
			_, err := m.Copy()
			return err
		},
		"by a truncation": func(l *Log, m *Move) error {
			_, err := m.Copy()
			must(err)
			must(l.TruncateTo(20))
			if err := m.Finish(func(*Log) { panic("finished") }); !MustRestart(err) {
				return fmt.Errorf("finishing gave %w", err)
			}
			return nil
		},
		"by deletion": func(l *Log, m *Move) error {
			must(l.Delete())
			if _, err := m.Copy(); !errors.Is(err, kafka.UnknownTopicOrPartition) {
				return fmt.Errorf("copying gave %w", err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			dirs, l := w.openDirs(t, moveConfig())
			w.fill(t, l)
			m, err := l.MoveTo(dirs[1])
			must(err)
			if _, err := l.MoveTo(dirs[1]); err == nil {
				t.Error("a second move begins beside the first")
			}
			if err := abort(l, m); err != nil {
				t.Fatal(err)
			}
			m.Abort()
			dirs[1].Poll(w.clock.Now().Add(time.Second))
			for _, folder := range foldersOf(t, w.disk) {
				if strings.HasPrefix(folder, otherDir) {
					t.Errorf("%s is left", folder)
				}
			}
			if name == "by deletion" {
				return
			}
			w.mustClient(t, l, batchSpec{value: make([]byte, 10)})
			if next := mustMove(t, l, dirs[1], nil); next.LogEndOffset() != l.LogEndOffset() {
				t.Errorf("the next move brought the log to %d", next.LogEndOffset())
			}
		})
	}
}

// A full target ends the move, and its directory goes on for the others.
func TestMoveToAFullDisk(t *testing.T) {
	w := newWorld()
	full := false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		takesRoom := op.Kind == vfs.OpWrite || op.Kind == vfs.OpAllocate
		if full && takesRoom && strings.HasPrefix(op.Name, otherDir+"/t-0.") {
			return syscall.ENOSPC
		}
		return nil
	})
	dirs, l := w.openDirs(t, moveConfig())
	w.fill(t, l)
	m, err := l.MoveTo(dirs[1])
	must(err)
	full = true
	if _, err := m.Copy(); !vfs.DiskFull(err) {
		t.Errorf("copying gave %v", err)
	}
	m.Abort()
	w.mustClient(t, l, batchSpec{value: make([]byte, 10)})
	if dirs[0].Failed() != nil || dirs[1].Failed() != nil {
		t.Errorf("offline: %v, %v", dirs[0].Failed(), dirs[1].Failed())
	}
}

// Goal: a move does not take the end of a segment for the end of the log: what follows would be copied while appends
// wait. Method: a log of many segments, each of which is one small piece.
func TestMoveTellsWhenItIsNearTheEnd(t *testing.T) {
	w := newWorld()
	dirs, l := w.openDirs(t, moveConfig())
	w.fill(t, l)
	m, err := l.MoveTo(dirs[1])
	must(err)
	defer m.Abort()
	pieces := 0
	for near := false; !near; pieces++ {
		n, err := m.Copy()
		must(err)
		if near = m.NearEnd(); near != (m.Lag() == 0) {
			t.Fatalf("after a piece of %d bytes, %d offsets behind: near the end is %v", n, m.Lag(), near)
		}
	}
	if pieces < 5 {
		t.Errorf("%d pieces", pieces)
	}
}

// Goal: an event loop never reads a log whose folder is being renamed: who wants to know what was aborted waits for the
// end of that. Method: at each operation on the disk while the log has no sure place, and before and after.
func TestNothingIsResidentWhileALogLeaves(t *testing.T) {
	w := newWorld()
	var l *Log
	seen := 0
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if l != nil && l.leaving.Load() != nil && l.swapping.Load() {
			seen++
			if l.Resident(0, 100, l.LogEndOffset()) {
				t.Errorf("resident at %v of %s", op.Kind, op.Name)
			}
		}
		return nil
	})
	dirs, log := w.openDirs(t, moveConfig())
	w.fill(t, log)
	l = log
	end := l.LogEndOffset()
	resident := func(l *Log) bool {
		r, err := l.Read(0, 100, true, end)
		must(err)
		r.Release()
		return l.Resident(0, 100, end)
	}
	if !resident(l) {
		t.Error("what was just read is not resident")
	}
	next := mustMove(t, l, dirs[1], nil)
	if seen < 2 {
		t.Errorf("%d operations", seen)
	}
	if !resident(next) {
		t.Error("a log that has moved is not resident")
	}
}

// What PrepareFinish asked for ends with the move.
func TestMoveThatIsNotFinishedLetsGo(t *testing.T) {
	w := newWorld()
	dirs, l := w.openDirs(t, moveConfig())
	m, err := l.MoveTo(dirs[1])
	must(err)
	m.PrepareFinish()
	if !l.Slow() {
		t.Error("appends stay on the loops")
	}
	m.Abort()
	if l.Slow() {
		t.Error("appends stay off the loops")
	}
}

// Retention that overtakes the copy has it begin again.
func TestRetentionOvertakesAMove(t *testing.T) {
	w := newWorld()
	c := moveConfig()
	c.RetentionBytes, c.RetentionAge = 1000, Forever
	dirs, l := w.openDirs(t, c)
	w.fill(t, l)
	m, err := l.MoveTo(dirs[1])
	must(err)
	l.AdvanceHighWatermark(l.LogEndOffset())
	for range 2 {
		w.clock.Advance(time.Hour)
		dirs[0].Poll(w.clock.Now())
	}
	if l.LogStartOffset() == 0 {
		t.Fatal("retention did nothing")
	}
	if _, err := m.Copy(); !MustRestart(err) {
		t.Errorf("copying gave %v", err)
	}
	m.Abort()
	want := stateOf(t, l).batches
	if got := stateOf(t, mustMove(t, l, dirs[1], nil)).batches; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// moveSweep moves a log there and back while it is appended to.
type moveSweep struct {
	*sweep
	dirs [2]*LogDir
	log  *Log
	ends []kafka.Offset // where appends were acknowledged to end, as after a kill
	done int            // moves
}

func newMoveSweep(t testing.TB, disk *vfs.Mem, hook func(vfs.Op) error) *moveSweep {
	s := &moveSweep{sweep: newSweep(t, disk, hook)}
	s.models[testTP] = &model{topicID: testTopicID, next: map[kafka.ProducerID]kafka.Sequence{}, exists: true}
	return s
}

func (s *moveSweep) script() {
	for i, name := range []string{testDir, otherDir} {
		d, err := OpenLogDir(s.w.env(), name, testOptions())
		if s.stopped(err) {
			return
		}
		s.dirs[i] = d
	}
	l, err := s.dirs[0].OpenLog(testTP, testTopicID, s.config)
	if s.stopped(err) {
		return
	}
	s.log, s.d = l, s.dirs[0]
	s.log.AssignEpoch(0)
	s.some(4)
	s.log.AssignEpoch(2)
	s.some(3)
	s.move(s.dirs[1])
	s.some(3)
	s.move(s.dirs[0])
	s.some(2)
	s.move(s.dirs[1])
	s.some(1)
	for _, d := range s.dirs {
		if s.err == nil {
			s.stopped(d.Close(3))
		}
	}
}

// some appends a few batches, of which those flushed are acknowledged with acks=all and the others with acks=1.
func (s *moveSweep) some(n int) {
	for i := range n {
		s.append(s.log, 1, 1+i%3, 150)
		s.abort(s.log, 5)
		s.append(s.log, 2, 1, 400)
		if s.err == nil {
			s.ends = append(s.ends, s.log.LogEndOffset())
		}
		if i%2 == 1 {
			s.flush(s.log)
		}
	}
}

func (s *moveSweep) move(to *LogDir) {
	if s.err != nil {
		return
	}
	m, err := s.log.MoveTo(to)
	if s.stopped(err) {
		return
	}
	for range 3 {
		if _, err := m.Copy(); s.stopped(err) {
			return
		}
		s.some(1)
	}
	if s.err != nil || s.stopped(m.Flush()) {
		return
	}
	s.some(1)
	if s.err != nil {
		return
	}
	old := s.log
	if s.stopped(m.Finish(func(l *Log) { s.log, s.d = l, to })) && s.log == old {
		return
	}
	s.note(s.log)
	s.done++
	s.poll(time.Second)
}

// verify opens disk and holds it against the model; kept says that not even the page cache was lost.
func (s *moveSweep) verify(disk *vfs.Mem, kept bool) error {
	w := newWorld()
	w.clock, w.disk, w.fs, w.log = s.w.clock, disk, disk, s.w.log
	var logs []*Log
	for _, name := range []string{testDir, otherDir} {
		d, err := OpenLogDir(w.env(), name, testOptions())
		if err != nil {
			return err
		}
		found, failures, err := d.LoadLogs(func(kafka.TopicPartition, kafka.UUID) (Config, Fate) {
			return s.config, Keep
		})
		if err != nil || len(failures) > 0 {
			return fmt.Errorf("load: %v, %w", failures, err)
		}
		logs = append(logs, found...)
	}
	m := s.models[testTP]
	switch len(logs) {
	case 0:
		if m.durable > 0 {
			return errors.New("the log is gone")
		}
		return nil
	case 2:
		keep, drop, ok := ChooseMoved(logs[0], logs[1], kafka.ZeroUUID)
		if !ok {
			return errors.New("the log is in both directories, and nothing tells why")
		}
		if err := drop.Delete(); err != nil {
			return err
		}
		logs = []*Log{keep}
	}
	l := logs[0]
	if n := len(s.ends); kept && n > 0 && l.LogEndOffset() < s.ends[n-1] {
		return fmt.Errorf("ends at %d, though appends up to %d were acknowledged", l.LogEndOffset(), s.ends[n-1])
	}
	return s.verifyLog(w, l, m)
}

func countMoveOperations(t *testing.T, match func(vfs.Op) bool) int64 {
	n := int64(0)
	disk := vfs.NewMem()
	s := newMoveSweep(t, disk, func(op vfs.Op) error {
		if match(op) {
			n++
		}
		return nil
	})
	s.script()
	if s.err != nil || s.done != 3 {
		t.Fatal(s.done, s.err)
	}
	if err := s.verify(disk, true); err != nil {
		t.Fatal(err)
	}
	return n
}

// crashStep is how many operations lie between those before which TestMoveCrashSweep stops; each run begins elsewhere.
const crashStep = 5

// Goal: no crash in a move loses an acknowledged record. Method: cut the power, and kill the process, before each
// operation that changes the disk.
func TestMoveCrashSweep(t *testing.T) {
	const draws = 3
	total := countMoveOperations(t, mutating)
	for n := rand.Int64N(crashStep); n < total; n += crashStep {
		disk := vfs.NewMem()
		s := newMoveSweep(t, disk, vfs.FailFrom(n, mutating, vfs.ErrPowerCut))
		s.script()
		if err := s.verify(reboot(disk), true); err != nil {
			t.Fatalf("killed before operation %d of %d (after: %v): %v", n, total, s.err, err)
		}
		for seed := range uint64(draws) {
			clone := disk.CrashClone(rand.New(rand.NewPCG(uint64(n), seed)))
			if err := s.verify(clone, false); err != nil {
				t.Fatalf("power cut before operation %d of %d, draw %d (after: %v): %v", n, total, seed, s.err, err)
			}
		}
	}
	t.Logf("%d crashes", total)
}

// forgetRefused takes out of the model what an append that was refused did not append.
func (s *moveSweep) forgetRefused() {
	m, end := s.models[testTP], s.log.LogEndOffset()
	m.batches = slices.DeleteFunc(m.batches, func(b seen) bool { return b.last >= end })
	m.aborted = slices.DeleteFunc(m.aborted, func(t AbortedTransaction) bool { return t.LastOffset >= end })
	clear(m.next)
	for _, p := range s.log.Producers() {
		m.next[p.ID] = p.LastSequence + 1
	}
}

// errorStep is how many operations lie between those that TestMoveErrorSweep fails; each run begins elsewhere.
const errorStep = 29

// Goal: an error of the disk in a move loses nothing, neither now nor at the next start, however that begins. Method:
// fail each operation once, abort the move, go on with what the broker goes on with, and then crash.
func TestMoveErrorSweep(t *testing.T) {
	all := func(op vfs.Op) bool { return op.Kind != vfs.OpClose && op.Kind != vfs.OpLock }
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		total := countMoveOperations(t, all)
		for n := rand.Int64N(errorStep); n < total; n += errorStep {
			disk := vfs.NewMem()
			s := newMoveSweep(t, disk, vfs.FailNth(n, all, cause)) // at its end the move just stops, as in a crash
			s.script()
			failed := s.err
			s.err = nil
			if s.log != nil && s.log.Failed() == nil && s.dirs[1] != nil {
				s.forgetRefused()
				s.some(2)
			}
			if err := s.verify(reboot(disk), true); err != nil {
				t.Fatalf("operation %d of %d failed with %v (after: %v): %v", n, total, cause, failed, err)
			}
			for seed := range uint64(2) {
				clone := disk.CrashClone(rand.New(rand.NewPCG(uint64(n), seed)))
				if err := s.verify(clone, false); err != nil {
					t.Fatalf("operation %d of %d failed with %v, then the power, draw %d (after: %v): %v",
						n, total, cause, seed, failed, err)
				}
			}
		}
	}
}

// A log knows of the epoch in which it is led, although nothing was written in it yet, after a move as before it.
func TestMoveKeepsAnEmptyEpoch(t *testing.T) {
	w := newWorld()
	dirs, l := w.openDirs(t, moveConfig())
	w.fill(t, l)
	l.AssignEpoch(9)
	want := *l.epochs.Load()
	next := mustMove(t, l, dirs[1], nil)
	if diff := cmp.Diff(want, *next.epochs.Load(), cmpState); diff != "" {
		t.Error(diff)
	}
	w.mustCoordinator(t, next, batchSpec{pid: kafka.NoProducerID, ts: w.now()})
	must(errors.Join(next.Flush(), dirs[0].checkpointAll(), dirs[1].checkpointAll()))
	must(errors.Join(dirs[0].lock.Close(), dirs[1].lock.Close())) // a crash
	_, next = w.openDirs(t, moveConfig())
	if diff := cmp.Diff(want, *next.epochs.Load(), cmpState); diff != "" {
		t.Error("after a crash:", diff)
	}
}
