package partition

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"spate/internal/vfs"
	"spate/kafka"
)

// The sweeps of this file run one script of operations against a log directory, stop it at every I/O operation in turn,
// open what is left and compare it with a model: what was flushed is there, everything that is there was appended just
// so, and the producers know what the log holds.

// model is what a log may and must hold.
type model struct {
	topicID kafka.UUID
	batches []seen       // in the log, by offset
	durable kafka.Offset // everything below it and not deleted must survive
	start   kafka.Offset // the log start offset may be up to here
	exists  bool         // the folder must be there
	deleted bool         // the folder must not be there
	next    map[kafka.ProducerID]kafka.Sequence
	aborted []AbortedTransaction
}

// sweep is one run of the script.
type sweep struct {
	t      testing.TB
	w      *world
	d      *LogDir
	models map[kafka.TopicPartition]*model
	config Config
	err    error // the first that an operation gave; after it the script does nothing more
}

func (s *sweep) stopped(err error) bool {
	if s.err == nil {
		s.err = err
	}
	return s.err != nil
}

func (s *sweep) open() {
	if s.err != nil {
		return
	}
	d, err := OpenLogDir(s.w.env(), testDir, testOptions())
	if s.stopped(err) {
		return
	}
	s.d = d
}

func (s *sweep) log(tp kafka.TopicPartition, id kafka.UUID) *Log {
	if s.err != nil {
		return nil
	}
	m := s.models[tp]
	if m == nil || m.deleted {
		m = &model{topicID: id, next: map[kafka.ProducerID]kafka.Sequence{}}
		s.models[tp] = m
	}
	l, err := s.d.OpenLog(tp, id, s.config)
	if s.stopped(err) {
		return nil
	}
	m.exists = true
	return l
}

// logs opens or makes several logs at once.
func (s *sweep) logs(id kafka.UUID, names ...kafka.TopicPartition) []*Log {
	if s.err != nil {
		return nil
	}
	var list []NewLog
	for _, tp := range names {
		if m := s.models[tp]; m == nil || m.deleted {
			s.models[tp] = &model{topicID: id, next: map[kafka.ProducerID]kafka.Sequence{}}
		}
		list = append(list, NewLog{tp, id, s.config})
	}
	logs := make([]*Log, len(list))
	for i, o := range s.d.OpenLogs(list) {
		if o.Err == nil {
			s.models[names[i]].exists = true
		}
		s.stopped(o.Err)
		logs[i] = o.Log
	}
	return logs
}

// deleteLogs deletes several logs at once.
func (s *sweep) deleteLogs(logs []*Log) {
	if s.err != nil {
		return
	}
	for _, l := range logs {
		s.models[l.tp].exists = false
	}
	for i, err := range s.d.DeleteLogs(logs) {
		if !s.stopped(err) {
			s.models[logs[i].tp].deleted = true
		}
	}
}

// append appends a client's batch of an idempotent producer.
func (s *sweep) append(l *Log, pid kafka.ProducerID, count, bytes int) {
	if s.err != nil {
		return
	}
	m := s.models[l.tp]
	spec := batchSpec{pid: pid, sequence: m.next[pid], count: count, ts: s.w.now(), value: make([]byte, bytes)}
	b := spec.build(s.t)
	base := l.LogEndOffset()
	// The batch may be on the disk even if the append does not return.
	m.batches = append(m.batches, seen{base, base + kafka.Offset(count) - 1, l.LatestEpoch(), b.CRC()})
	_, err := l.Append(b, AppendOptions{Now: s.w.now(), ProduceVersion: 9, LeaderEpoch: l.LatestEpoch()})
	if s.stopped(err) {
		return
	}
	m.next[pid] += kafka.Sequence(count)
}

// abort appends a transaction of one batch and its abort marker.
func (s *sweep) abort(l *Log, pid kafka.ProducerID) {
	if s.err != nil {
		return
	}
	m := s.models[l.tp]
	base := l.LogEndOffset()
	specs := []batchSpec{
		{pid: pid, sequence: m.next[pid], transactional: true, ts: s.w.now(), value: make([]byte, 30)},
		{pid: pid, sequence: kafka.NoSequence, marker: &marker{}, ts: s.w.now()},
	}
	first := base
	for _, p := range l.Producers() {
		if p.ID == pid && p.TxnFirstOffset != kafka.NoOffset {
			first = p.TxnFirstOffset // its marker was truncated
		}
	}
	m.aborted = append(m.aborted, AbortedTransaction{ProducerID: pid, FirstOffset: first, LastOffset: base + 1,
		LastStableOffset: base + 2})
	for i, spec := range specs {
		b := spec.build(s.t)
		at := base + kafka.Offset(i)
		m.batches = append(m.batches, seen{at, at, l.LatestEpoch(), b.CRC()})
		_, err := l.Append(b, AppendOptions{Origin: OriginCoordinator, Now: s.w.now(), LeaderEpoch: l.LatestEpoch()})
		if s.stopped(err) {
			return
		}
	}
	m.next[pid]++
}

func (s *sweep) flush(l *Log) {
	if s.err != nil {
		return
	}
	l.AwaitFlush()
	s.d.PollFlush()
	s.note(l)
	s.stopped(s.d.Failed())
}

// note takes over what the log says is durable, which commits it.
func (s *sweep) note(l *Log) {
	l.AdvanceHighWatermark(l.FlushedOffset())
	m := s.models[l.tp]
	m.durable = max(m.durable, l.FlushedOffset())
}

func (s *sweep) poll(advance time.Duration) {
	if s.err != nil {
		return
	}
	s.w.clock.Advance(advance)
	for _, l := range s.d.Logs() {
		s.models[l.tp].start = max(s.models[l.tp].start, l.HighWatermark()) // retention may delete so much
	}
	s.d.Poll(s.w.clock.Now())
	for _, l := range s.d.Logs() {
		s.models[l.tp].start = l.LogStartOffset()
	}
	s.stopped(s.d.Failed())
}

func (s *sweep) truncate(l *Log, to kafka.Offset) {
	if s.err != nil {
		return
	}
	m := s.models[l.tp]
	for _, b := range m.batches { // a batch goes as a whole
		if b.base <= to && to <= b.last {
			to = b.base
		}
	}
	m.durable = min(m.durable, to)
	if s.stopped(l.TruncateTo(to)) {
		return
	}
	for len(m.batches) > 0 && m.batches[len(m.batches)-1].last >= to {
		m.batches = m.batches[:len(m.batches)-1]
	}
	m.durable = min(m.durable, l.LogEndOffset())
	m.aborted = slices.DeleteFunc(m.aborted, func(t AbortedTransaction) bool { return t.LastOffset >= to })
	clear(m.next)
	for _, p := range l.Producers() {
		m.next[p.ID] = p.LastSequence + 1
	}
}

func (s *sweep) delete(l *Log) {
	if s.err != nil {
		return
	}
	m := s.models[l.tp]
	m.exists = false
	if !s.stopped(l.Delete()) {
		m.deleted = true
	}
}

func (s *sweep) close() {
	if s.err != nil {
		return
	}
	s.stopped(s.d.Close(3))
}

var (
	tpA = kafka.TopicPartition{Topic: "a", Partition: 0}
	tpB = kafka.TopicPartition{Topic: "b", Partition: 7}
	tpC = []kafka.TopicPartition{{Topic: "c", Partition: 0}, {Topic: "c", Partition: 1}, {Topic: "c", Partition: 2}}
)

// many makes three logs at once, uses one of them, deletes them all and makes them again.
func (s *sweep) many(round int) {
	c := s.logs(kafka.UUID{4, byte(round)}, tpC...)
	if s.err != nil {
		return
	}
	c[1].AssignEpoch(0)
	s.append(c[1], 7, 2, 30)
	s.flush(c[1])
	s.deleteLogs(c)
	s.logs(kafka.UUID{5, byte(round)}, tpC...)
}

// script does a bit of everything, twice with a clean restart in between.
func (s *sweep) script() {
	s.open()
	a := s.log(tpA, kafka.UUID{1})
	b := s.log(tpB, kafka.UUID{2})
	for round := range 3 {
		if s.err != nil {
			return
		}
		a.AssignEpoch(kafka.LeaderEpoch(2 * round))
		b.AssignEpoch(0)
		for i := range 4 {
			s.append(a, 1, 1+i%3, 150)
			s.append(b, 2, 1, 400)
			s.abort(a, 5)
			if i%2 == 1 {
				s.flush(a)
			}
		}
		s.poll(10 * time.Second) // side files, high watermarks
		s.append(a, 3, 2, 10)
		s.flush(b)
		if round == 1 {
			s.truncate(a, a.FlushedOffset()-1)
			s.append(a, 3, 1, 20)
			s.flush(a)
		}
		s.poll(2 * time.Hour) // retention and all checkpoints
		s.append(b, 2, 1, 400)
		if round == 1 {
			s.delete(b)
			b = s.log(tpB, kafka.UUID{3})
			s.append(b, 2, 3, 50)
			s.flush(b)
		}
		if round == 2 {
			s.many(round)
		}
		s.close()
		s.open()
		a, b = s.log(tpA, kafka.UUID{1}), s.log(tpB, s.models[tpB].topicID)
	}
	s.append(a, 1, 1, 1)
	s.flush(a)
	s.close()
}

func newSweep(t testing.TB, disk *vfs.Mem, hook func(vfs.Op) error) *sweep {
	w := newWorld()
	w.disk, w.fs = disk, vfs.NewFault(disk, hook)
	c := smallConfig()
	c.SegmentBytes, c.RetentionAge, c.FileDeleteDelay = 1000, time.Hour, 30*time.Minute
	return &sweep{t: t, w: w, config: c, models: map[kafka.TopicPartition]*model{}}
}

// verify opens disk, on which nothing fails any more, and holds it against the models.
func (s *sweep) verify(disk *vfs.Mem) error {
	w := newWorld()
	w.clock, w.disk, w.fs, w.log = s.w.clock, disk, disk, s.w.log
	d, err := OpenLogDir(w.env(), testDir, testOptions())
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	logs, failures, err := d.LoadLogs(func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return s.config, Keep })
	if err != nil || len(failures) > 0 {
		return fmt.Errorf("load: %v, %w", failures, err)
	}
	for _, l := range logs {
		m := s.models[l.tp]
		if m == nil {
			return fmt.Errorf("%s was never made", l.tp)
		}
		if m.topicID != l.TopicID() && m.exists && l.TopicID() != kafka.ZeroUUID {
			return fmt.Errorf("%s has topic id %s", l.tp, l.TopicID())
		}
		if m.topicID != l.TopicID() {
			continue // of an earlier or a later topic, about which nothing was promised yet
		}
		if err := s.verifyLog(w, l, m); err != nil {
			return fmt.Errorf("%s: %w", l.tp, err)
		}
	}
	for tp, m := range s.models {
		if m.exists && d.Log(tp) == nil {
			return fmt.Errorf("%s is gone", tp)
		}
		if m.deleted && d.Log(tp) != nil {
			return fmt.Errorf("%s is back", tp)
		}
	}
	return d.Close(1)
}

func (s *sweep) verifyLog(w *world, l *Log, m *model) error {
	if l.LogEndOffset() < m.durable || l.LogStartOffset() > m.start && l.LogStartOffset() > 0 && len(m.batches) > 0 {
		return fmt.Errorf("holds [%d, %d), but %d is durable and the start at most %d",
			l.LogStartOffset(), l.LogEndOffset(), m.durable, m.start)
	}
	if l.FlushedOffset() != l.LogEndOffset() || l.HighWatermark() > l.LogEndOffset() {
		return fmt.Errorf("flushed %d, high watermark %d, end %d",
			l.FlushedOffset(), l.HighWatermark(), l.LogEndOffset())
	}
	expected := m.batches
	for len(expected) > 0 && expected[0].last < l.LogStartOffset() {
		expected = expected[1:]
	}
	got := readAll(s.t, l, l.LogEndOffset(), 1<<20)
	if len(got) > len(expected) {
		return fmt.Errorf("holds %d batches, more than the %d that were appended", len(got), len(expected))
	}
	for i := range got {
		if got[i] != expected[i] {
			return fmt.Errorf("batch %d is %+v, not %+v", i, got[i], expected[i])
		}
	}
	if n := len(got); n > 0 && got[n-1].last+1 != l.LogEndOffset() {
		return fmt.Errorf("ends at %d behind the batch %+v", l.LogEndOffset(), got[n-1])
	}
	aborted, err := l.AbortedTransactions(nil, l.LogStartOffset(), l.LogEndOffset())
	if err != nil {
		return err
	}
	notInLog := func(t AbortedTransaction) bool {
		return t.FirstOffset < l.LogStartOffset() || t.LastOffset >= l.LogEndOffset()
	}
	expectedAborted := slices.DeleteFunc(slices.Clone(m.aborted), notInLog)
	if aborted = slices.DeleteFunc(aborted, notInLog); !slices.Equal(aborted, expectedAborted) {
		return fmt.Errorf("the aborted transactions are %v, not %v", aborted, expectedAborted)
	}
	if err := transactionsFollowTheLog(l); err != nil {
		return err
	}
	for _, p := range l.Producers() { // a producer can go on
		spec := batchSpec{pid: p.ID, epoch: p.Epoch, sequence: p.LastSequence + 1, ts: w.now(),
			transactional: p.TxnFirstOffset != kafka.NoOffset}
		if a, err := w.client(l, spec.build(s.t)); err != nil || a.Duplicate {
			return fmt.Errorf("producer %d cannot go on: %+v, %w", p.ID, a, err)
		}
	}
	return l.Flush()
}

// transactionsFollowTheLog compares the transactions that are open with those that the batches tell of, and the last
// stable offset with both: it is never past a record of an open transaction.
func transactionsFollowTheLog(l *Log) error {
	start, told := l.LogStartOffset(), newProducers()
	for _, s := range (*l.segments.Load())[find(*l.segments.Load(), start):] {
		if err := replaySegment(&told, s, start, nil); err != nil {
			return err
		}
	}
	// A transaction whose first records are deleted stays open until its marker comes; the rest tells of a later one.
	var known []openTxn
	for _, t := range l.producers.open {
		if t.firstOffset >= start {
			known = append(known, t)
			continue
		}
		told.open = slices.DeleteFunc(told.open, func(rest openTxn) bool { return rest.producer == t.producer })
	}
	if !slices.Equal(told.open, known) {
		return fmt.Errorf("the open transactions are %v, the log from %d on has %v", l.producers.open, start, told.open)
	}
	stable := l.HighWatermark()
	if len(told.open) > 0 {
		stable = min(stable, told.open[0].firstOffset)
	}
	if l.LastStableOffset() > stable {
		return fmt.Errorf("the last stable offset is %d, past %d", l.LastStableOffset(), stable)
	}
	return nil
}

func mutating(op vfs.Op) bool { return op.Kind.Mutates() }

// count runs the script undisturbed and gives how many operations match.
func countOperations(t *testing.T, match func(vfs.Op) bool) int64 {
	n := int64(0)
	disk := vfs.NewMem()
	s := newSweep(t, disk, func(op vfs.Op) error {
		if match(op) {
			n++
		}
		return nil
	})
	s.script()
	if s.err != nil {
		t.Fatal(s.err)
	}
	if err := s.verify(disk); err != nil {
		t.Fatal(err)
	}
	return n
}

// step is how many operations a sweep goes on at a time: it tries all of them, or a sample.
func step() int64 {
	if testing.Short() || raceEnabled {
		return 7
	}
	return 1
}

// TestPowerCutSweep cuts the power before each operation that changes the disk, and opens what a few draws of the cut
// leave.
func TestPowerCutSweep(t *testing.T) {
	const draws = 5
	total := countOperations(t, mutating)
	for n := int64(0); n < total; n += step() {
		disk := vfs.NewMem()
		s := newSweep(t, disk, vfs.FailFrom(n, mutating, vfs.ErrPowerCut))
		s.script()
		if s.err == nil {
			t.Fatalf("operation %d of %d was not reached", n, total)
		}
		for seed := range uint64(draws) {
			clone := disk.CrashClone(rand.New(rand.NewPCG(uint64(n), seed)))
			if err := s.verify(clone); err != nil {
				t.Fatalf("power cut before operation %d of %d, draw %d (after: %v): %v", n, total, seed, s.err, err)
			}
		}
	}
	t.Logf("%d power cuts, %d draws each", total, draws)
}

// TestKillSweep kills the process before each operation that changes the disk: what was written is all there.
func TestKillSweep(t *testing.T) {
	total := countOperations(t, mutating)
	for n := int64(0); n < total; n += step() {
		disk := vfs.NewMem()
		s := newSweep(t, disk, vfs.FailFrom(n, mutating, vfs.ErrPowerCut))
		s.script()
		if err := s.verify(reboot(disk)); err != nil {
			t.Fatalf("killed before operation %d of %d (after: %v): %v", n, total, s.err, err)
		}
	}
}

// reboot gives the disk as it is, without the locks of the process that died.
func reboot(disk *vfs.Mem) *vfs.Mem {
	clone := vfs.NewMem()
	copyTree(disk, clone, "/")
	return clone
}

func copyTree(from, to *vfs.Mem, folder string) {
	entries, err := from.ReadDir(folder)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		name := folder + "/" + e.Name()
		if e.IsDir() {
			must(to.MkdirAll(name, 0o755))
			copyTree(from, to, name)
			continue
		}
		text, err := vfs.ReadFile(from, name)
		must(err)
		must(vfs.ReplaceFile(to, name, text))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// TestNthErrorSweep fails each operation, reads and all, once with an I/O error: nothing panics, an error in the log
// itself is never papered over, and what is then on the disk is as after a crash.
func TestNthErrorSweep(t *testing.T) {
	all := func(op vfs.Op) bool { return op.Kind != vfs.OpClose && op.Kind != vfs.OpLock }
	total := countOperations(t, all)
	for n := int64(0); n < total; n += step() {
		disk := vfs.NewMem()
		s := newSweep(t, disk, vfs.FailNth(n, all, syscall.EIO))
		s.script()
		if err := s.verify(reboot(disk)); err != nil {
			t.Fatalf("operation %d of %d failed (after: %v): %v", n, total, s.err, err)
		}
	}
}

// TestNthFullSweep fails each operation that needs room once with ENOSPC. The directory stays online, but for a
// truncation, which cannot be left half done.
func TestNthFullSweep(t *testing.T) {
	needsRoom := func(op vfs.Op) bool {
		switch op.Kind {
		case vfs.OpCreate, vfs.OpMkdir, vfs.OpWrite, vfs.OpAllocate:
			return true
		}
		return false
	}
	total := countOperations(t, needsRoom)
	offline := 0
	for n := int64(0); n < total; n += step() {
		disk := vfs.NewMem()
		s := newSweep(t, disk, vfs.FailNth(n, needsRoom, syscall.ENOSPC))
		s.script()
		if s.d != nil && s.d.Failed() != nil {
			offline++
			if s.d.Stats().Truncations.Load() > 0 || !errors.Is(s.d.Failed(), syscall.ENOSPC) {
				t.Fatalf("operation %d of %d: %v", n, total, s.d.Failed())
			}
		}
		if err := s.verify(reboot(disk)); err != nil {
			t.Fatalf("no room for operation %d of %d (after: %v): %v", n, total, s.err, err)
		}
	}
	if offline > 5 {
		t.Errorf("the directory went offline %d times", offline)
	}
}
