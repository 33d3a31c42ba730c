package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// The tests of this file compact a log of random records, and hold what is left to a model that remembers every record:
// the last one of each key is there, what is there is what was written, tombstones stay for their time, and producers
// and transactions are known as if nothing had been removed.

// written is one record as it was appended.
type written struct {
	key, value []byte
	ts         kafka.Timestamp
	aborted    bool
}

// cleanModel is a log, and what was written to it.
type cleanModel struct {
	t       testing.TB
	w       *world
	l       *Log
	random  *rand.Rand
	records map[kafka.Offset]*written
	next    map[kafka.ProducerID]kafka.Sequence
	open    map[kafka.ProducerID][]kafka.Offset // of transactions
	last    map[kafka.ProducerID]kafka.Offset   // data offset
	keys    int

	dedupeBytes int64
	err         error // the first that the log gave
}

func cleanConfig() Config {
	c := smallConfig()
	c.SegmentBytes = 1200
	c.Compact, c.Delete = true, false
	c.DirtyRatioMin = 0
	c.DeleteRetention = time.Minute
	c.FileDeleteDelay = 0
	return c
}

func newCleanModel(t testing.TB, w *world, seed uint64) *cleanModel {
	return &cleanModel{t: t, w: w, random: rand.New(rand.NewPCG(seed, 1)), keys: 12, dedupeBytes: 1 << 20,
		records: map[kafka.Offset]*written{}, next: map[kafka.ProducerID]kafka.Sequence{},
		open: map[kafka.ProducerID][]kafka.Offset{}, last: map[kafka.ProducerID]kafka.Offset{}}
}

func (m *cleanModel) openLog(c Config) {
	d, err := OpenLogDir(m.w.env(), testDir, testOptions())
	if m.stop(err) {
		return
	}
	opened := d.OpenLogs([]NewLog{{testTP, testTopicID, c}})
	m.l = opened[0].Log
	m.stop(opened[0].Err)
}

func (m *cleanModel) stop(err error) bool {
	if m.err == nil {
		m.err = err
	}
	return m.err != nil
}

// batch appends one random batch: plain, of an idempotent producer, or in a transaction.
func (m *cleanModel) batch() {
	pid := kafka.NoProducerID
	transactional := false
	switch m.random.IntN(4) {
	case 0:
		pid = kafka.ProducerID(1 + m.random.IntN(2))
	case 1:
		pid, transactional = kafka.ProducerID(10+m.random.IntN(2)), true
	}
	o := record.BuilderOptions{Codec: record.Codec(m.random.IntN(5)), Transactional: transactional}
	if pid != kafka.NoProducerID {
		o.Producer = &record.Producer{ID: pid, Sequence: m.next[pid]}
	}
	b := record.NewBuilder(o)
	var added []*written
	for range 1 + m.random.IntN(4) {
		r := &written{key: fmt.Appendf(nil, "k%d", m.random.IntN(m.keys)),
			ts: m.w.now() - kafka.Timestamp(m.random.IntN(50))}
		if m.random.IntN(4) > 0 {
			r.value = fmt.Appendf(nil, "v%d-%s", m.random.IntN(1e9), strings.Repeat("x", m.random.IntN(60)))
		}
		b.Append(r.ts, r.key, r.value, record.Header{Key: []byte("h"), Value: r.value})
		added = append(added, r)
	}
	data, err := b.Build()
	if err != nil {
		m.t.Fatal(err)
	}
	base := m.l.LogEndOffset()
	for i, r := range added { // it may be on the disk even if the append does not return
		m.records[base+kafka.Offset(i)] = r
	}
	if m.stop(func() error { _, err := m.w.client(m.l, data); return err }()) {
		return
	}
	if pid != kafka.NoProducerID {
		m.next[pid] += kafka.Sequence(len(added))
		m.last[pid] = base + kafka.Offset(len(added)) - 1
	}
	for i := range added {
		if transactional {
			m.open[pid] = append(m.open[pid], base+kafka.Offset(i))
		}
	}
}

// end ends a producer's transaction.
func (m *cleanModel) end(pid kafka.ProducerID, commit bool) {
	if m.err != nil || len(m.open[pid]) == 0 {
		return
	}
	for _, offset := range m.open[pid] {
		m.records[offset].aborted = !commit
	}
	delete(m.open, pid)
	spec := batchSpec{pid: pid, ts: m.w.now(), marker: &marker{commit: commit}}
	_, err := m.l.Append(spec.build(m.t), AppendOptions{Origin: OriginCoordinator, Now: m.w.now()})
	m.stop(err)
}

// fill appends n batches and ends most transactions.
func (m *cleanModel) fill(n int) {
	for i := 0; i < n && m.err == nil; i++ {
		m.batch()
		if m.random.IntN(3) == 0 {
			m.end(kafka.ProducerID(10+m.random.IntN(2)), m.random.IntN(2) == 0)
		}
	}
}

// settle makes all of it durable and visible.
func (m *cleanModel) settle() {
	if m.err == nil && !m.stop(m.l.Flush()) {
		m.l.AdvanceHighWatermark(m.l.LogEndOffset())
	}
}

func (m *cleanModel) cleaner() *Cleaner {
	o := DefaultCleanerOptions()
	o.IOBufferBytes = 2000
	o.DedupeBytes = m.dedupeBytes
	return NewCleaner(m.w.env(), []*LogDir{m.l.Dir()}, o)
}

func (m *cleanModel) clean() {
	if m.err != nil {
		return
	}
	for c := m.cleaner(); c.Poll(); {
	}
	m.l.Dir().Poll(m.w.clock.Now()) // which removes the old files
	m.stop(m.l.Dir().Failed())
}

// kept is what can be read of the log.
func (m *cleanModel) kept(l *Log) (map[kafka.Offset]record.Record, error) {
	all := map[kafka.Offset]record.Record{}
	next := kafka.Offset(0)
	for offset := l.LogStartOffset(); offset < l.LogEndOffset(); {
		r, err := l.Read(offset, 500, true, l.LogEndOffset())
		if err != nil || r.Length() == 0 {
			return nil, fmt.Errorf("read at %d of %d: %d bytes, %w", offset, l.LogEndOffset(), r.Length(), err)
		}
		for rest := r.Bytes(); len(rest) > 0; {
			b, after, err := record.Next(rest)
			if err == nil {
				err = b.CheckCRC()
			}
			if err != nil || b.BaseOffset() < next {
				return nil, fmt.Errorf("at %d, after %d: %w", offset, next, err)
			}
			rest, next = after, b.NextOffset()
			if b.IsControl() {
				continue
			}
			it := b.Records()
			for r, ok := it.Next(); ok; r, ok = it.Next() {
				r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
				headers := r.Headers()
				if h, ok := headers.Next(); !ok || !bytes.Equal(h.Value, r.Value) {
					return nil, fmt.Errorf("offset %d has lost its header", r.Offset)
				}
				all[r.Offset] = r
			}
			if it.Err() != nil {
				return nil, it.Err()
			}
		}
		offset = r.NextOffset
		r.Release()
	}
	return all, nil
}

// verify compares the log with the model.
func (m *cleanModel) verify(l *Log) error {
	kept, err := m.kept(l)
	if err != nil {
		return err
	}
	last := map[string]kafka.Offset{}
	for offset, r := range m.records {
		if offset < l.LogEndOffset() && !r.aborted && offset >= last[string(r.key)] {
			last[string(r.key)] = offset
		}
	}
	for offset, r := range kept {
		w := m.records[offset]
		if w == nil || !bytes.Equal(w.key, r.Key) || !bytes.Equal(w.value, r.Value) ||
			(w.value == nil) != (r.Value == nil) || w.ts != r.Timestamp {
			return fmt.Errorf("offset %d holds %q: %q at %d, not %+v", offset, r.Key, r.Value, r.Timestamp, w)
		}
	}
	for key, offset := range last {
		if _, found := kept[offset]; found {
			continue
		}
		w := m.records[offset]
		if w == nil || string(w.key) != key {
			continue // the zero value: nothing committed has this key
		}
		if w.value != nil || int64(m.w.now()-w.ts) < time.Minute.Milliseconds() {
			return fmt.Errorf("the last record of %s, at %d, is gone: %+v", key, offset, w)
		}
		for older, r := range kept {
			if string(r.Key) == key && older < offset && !m.records[older].aborted {
				return fmt.Errorf("the tombstone of %s at %d is gone, and %d is there", key, offset, older)
			}
		}
	}
	return m.verifyState(l, kept)
}

// verifyClean checks that nothing is left below the checkpoint that a cleaning is to remove: no two records of a key,
// and none of an aborted transaction.
func (m *cleanModel) verifyClean(l *Log) error {
	kept, err := m.kept(l)
	if err != nil {
		return err
	}
	end, seen := l.dir.checkpoints.cleanedTo(l.tp), map[string]kafka.Offset{}
	for offset, r := range kept {
		if offset >= end {
			continue
		}
		if other, twice := seen[string(r.Key)]; twice || m.records[offset].aborted {
			return fmt.Errorf("%s is left at %d and %d, clean up to %d (aborted: %v)",
				r.Key, offset, other, end, m.records[offset].aborted)
		}
		seen[string(r.Key)] = offset
	}
	return nil
}

// verifyState looks at transactions, producers and single reads.
func (m *cleanModel) verifyState(l *Log, kept map[kafka.Offset]record.Record) error {
	aborted, err := l.AbortedTransactions(nil, l.LogStartOffset(), l.LogEndOffset())
	if err != nil {
		return err
	}
	for offset := range kept {
		if m.records[offset].aborted && !slices.ContainsFunc(aborted, func(t AbortedTransaction) bool {
			return t.FirstOffset <= offset && offset < t.LastOffset
		}) && l.LastStableOffset() > offset {
			return fmt.Errorf("offset %d is of an aborted transaction that no index tells of: %v", offset, aborted)
		}
	}
	for _, p := range l.Producers() {
		if m.err == nil && p.LastSequence >= 0 && p.LastSequence != m.next[p.ID]-1 {
			return fmt.Errorf("producer %d is at %d, not %d", p.ID, p.LastSequence, m.next[p.ID]-1)
		}
	}
	for offset := l.LogStartOffset(); offset < l.LogEndOffset(); offset++ {
		r, err := l.Read(offset, 1, true, l.LogEndOffset())
		if err != nil {
			return err
		}
		b, _, err := record.Next(r.Bytes())
		r.Release()
		if err != nil || b.LastOffset() < offset {
			return fmt.Errorf("a read at %d gives [%d, %d], %w", offset, b.BaseOffset(), b.LastOffset(), err)
		}
	}
	return nil
}

// TestCompactionKeepsWhatCounts fills, cleans, waits, restarts and crashes a log in random order.
func TestCompactionKeepsWhatCounts(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld()
			m := newCleanModel(t, w, seed)
			if seed%2 > 0 { // too few for all keys: a cleaning ends in the middle of a batch
				m.dedupeBytes = (2 + int64(m.random.IntN(8))) * offsetSlotBytes
			}
			m.openLog(cleanConfig())
			for range 12 {
				switch m.random.IntN(6) {
				case 0, 1, 2:
					m.fill(20)
					m.settle()
					m.clean()
				case 3:
					w.clock.Advance(40 * time.Second)
				case 4:
					m.settle()
					m.l = w.restart(t, m.l)
				case 5:
					m.settle()
					removeSnapshots(t, w) // all that is known of producers comes from the batches then
					m.l = w.crash(t, m.l)
				}
				if m.err != nil {
					t.Fatal(m.err)
				}
				if err := errors.Join(m.verify(m.l), m.verifyClean(m.l)); err != nil {
					t.Fatal(err)
				}
			}
			if m.l.Dir().Stats().ReclaimedBytes.Load() == 0 && m.l.Dir().Stats().CleanedBytes.Load() > 0 {
				t.Error("nothing was reclaimed")
			}
		})
	}
}

// removeSnapshots removes the producer snapshots.
func removeSnapshots(t testing.TB, w *world) {
	t.Helper()
	folder := testDir + "/" + testTP.String()
	entries, err := w.disk.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), snapshotSuffix) {
			must(w.disk.Remove(folder + "/" + e.Name()))
		}
	}
}

// cleanScript is what the sweeps interrupt: two cleanings, the second of which drops tombstones.
func cleanScript(t testing.TB, disk *vfs.Mem, hook func(vfs.Op) error) *cleanModel {
	w := newWorld()
	w.disk, w.fs = disk, vfs.NewFault(disk, hook)
	m := newCleanModel(t, w, 5)
	m.openLog(cleanConfig())
	for range 3 {
		if m.err == nil {
			m.fill(25)
			m.end(10, true)
			m.end(11, false)
			m.settle()
			m.clean()
			w.clock.Advance(2 * time.Minute)
		}
	}
	return m
}

// reopened verifies the log on a disk that a crash left.
func (m *cleanModel) reopened(disk *vfs.Mem) error {
	durable := kafka.Offset(0)
	if m.l != nil {
		durable = m.l.FlushedOffset()
	}
	w := newWorld()
	w.disk, w.fs, w.clock = disk, disk, m.w.clock
	after := *m
	after.w, after.err = w, errInterrupted // the model may be ahead of the log
	d, err := OpenLogDir(w.env(), testDir, testOptions())
	if err != nil {
		return err
	}
	_, failures, err := d.LoadLogs(func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return cleanConfig(), Keep })
	if err != nil || len(failures) > 0 {
		return fmt.Errorf("%v %w", failures, err)
	}
	l := d.Log(testTP)
	if l == nil {
		if durable > 0 {
			return fs.ErrNotExist
		}
		return d.Close(1)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	if l.LogEndOffset() < durable {
		return fmt.Errorf("the log ends at %d, but %d was durable", l.LogEndOffset(), durable)
	}
	for _, name := range leftovers(disk) {
		return fmt.Errorf("%s is left", name)
	}
	if err := after.verify(l); err != nil {
		return err
	}
	after.l, after.err = l, nil
	after.clean()
	if after.err != nil {
		return after.err
	}
	after.err = errInterrupted
	if err := after.verify(l); err != nil {
		return fmt.Errorf("cleaned again: %w", err)
	}
	return d.Close(1)
}

// leftovers are files of a replacement that was not finished.
func leftovers(disk *vfs.Mem) (names []string) {
	entries, err := disk.ReadDir(testDir + "/" + testTP.String())
	must(err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".swap") || strings.HasSuffix(e.Name(), ".cleaned") {
			names = append(names, e.Name())
		}
	}
	return names
}

// countCleaning is how many operations of the script match.
func countCleaning(t *testing.T, match func(vfs.Op) bool) (total int64) {
	disk := vfs.NewMem()
	m := cleanScript(t, disk, func(op vfs.Op) error {
		if match(op) {
			total++
		}
		return nil
	})
	if m.err != nil || m.l.Dir().Stats().ReclaimedBytes.Load() == 0 {
		t.Fatal(m.err, m.l.Dir().Stats().ReclaimedBytes.Load())
	}
	if err := m.verify(m.l); err != nil {
		t.Fatal(err)
	}
	return total
}

// TestCleaningPowerCutSweep cuts the power before each operation that changes the disk.
func TestCleaningPowerCutSweep(t *testing.T) {
	total := countCleaning(t, mutating)
	for n := int64(0); n < total; n += step() {
		disk := vfs.NewMem()
		m := cleanScript(t, disk, vfs.FailFrom(n, mutating, vfs.ErrPowerCut))
		for seed := range uint64(5) {
			clone := disk.CrashClone(rand.New(rand.NewPCG(uint64(n), seed)))
			if err := m.reopened(clone); err != nil {
				t.Fatalf("power cut before operation %d of %d, draw %d (after: %v): %v", n, total, seed, m.err, err)
			}
		}
		if err := m.reopened(reboot(disk)); err != nil {
			t.Fatalf("killed before operation %d of %d (after: %v): %v", n, total, m.err, err)
		}
	}
	t.Logf("%d power cuts", total)
}

// TestCleaningNthErrorSweep fails each operation once.
func TestCleaningNthErrorSweep(t *testing.T) {
	all := func(op vfs.Op) bool { return op.Kind != vfs.OpClose && op.Kind != vfs.OpLock }
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		total := countCleaning(t, all)
		for n := int64(0); n < total; n += step() {
			disk := vfs.NewMem()
			m := cleanScript(t, disk, vfs.FailNth(n, all, errno))
			if err := m.reopened(reboot(disk)); err != nil {
				t.Fatalf("%v in operation %d of %d (after: %v): %v", errno, n, total, m.err, err)
			}
		}
	}
}

// write appends one record, a tombstone if value is empty.
func (m *cleanModel) write(pid kafka.ProducerID, transactional bool, key, value string) kafka.Offset {
	m.t.Helper()
	o := record.BuilderOptions{Transactional: transactional}
	if pid != kafka.NoProducerID {
		o.Producer = &record.Producer{ID: pid, Sequence: m.next[pid]}
		m.next[pid]++
	}
	var content []byte
	if value != "" {
		content = []byte(value)
	}
	b := record.NewBuilder(o)
	b.Append(m.w.now(), []byte(key), content, record.Header{Key: []byte("h"), Value: content})
	data, err := b.Build()
	if err == nil {
		_, err = m.w.client(m.l, data)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	offset := m.l.LogEndOffset() - 1
	m.records[offset] = &written{key: []byte(key), value: content, ts: m.w.now()}
	if transactional {
		m.open[pid] = append(m.open[pid], offset)
	}
	return offset
}

// roll writes until a new segment has begun.
func (m *cleanModel) roll() {
	for n := len(*m.l.segments.Load()); len(*m.l.segments.Load()) == n; {
		m.write(kafka.NoProducerID, false, "filler", strings.Repeat("x", 300))
	}
}

// Goal: a committed transaction counts even if its producer aborted one that an earlier cleaning has seen.
func TestCommittedAfterAbortedInTheCleanPartCounts(t *testing.T) {
	m := newCleanModel(t, newWorld(), 1)
	m.openLog(cleanConfig())
	m.write(10, true, "a", "aborted")
	m.end(10, false)
	m.roll()
	m.settle()
	m.clean()
	old := m.write(kafka.NoProducerID, false, "k", "old")
	m.write(10, true, "k", "")
	m.end(10, true)
	m.roll()
	m.settle()
	m.clean()
	kept, err := m.kept(m.l)
	if _, found := kept[old]; err != nil || m.err != nil || found {
		t.Errorf("the record that a committed tombstone overrules is there: %v, %v, %v", found, err, m.err)
	}
	m.w.clock.Advance(2 * time.Minute)
	m.roll()
	m.settle()
	m.clean()
	if err := m.verify(m.l); err != nil {
		t.Error(err)
	}
}

// Goal: what lies behind a hole that Kafka's compaction left is kept by a recovery that has to look at everything.
// Method: a sealed segment is taken away, and the recovery points are lost; then the high watermarks too, which Kafka
// writes seldom: what the cleaner has been through is enough to know.
func TestRecoveryKeepsWhatLiesBehindAHole(t *testing.T) {
	t.Run("below the high watermark", func(t *testing.T) { recoverBehindAHole(t, recoveryPointFile) })
	t.Run("cleaned", func(t *testing.T) { recoverBehindAHole(t, recoveryPointFile, highWatermarkFile) })
}

func recoverBehindAHole(t *testing.T, lost ...string) {
	w := newWorld()
	m := newCleanModel(t, w, 2)
	m.openLog(cleanConfig())
	for range 4 {
		m.roll()
	}
	m.settle()
	bases := (*m.l.segments.Load())
	gone, end := bases[1].BaseOffset(), m.l.LogEndOffset()
	must(m.l.Dir().checkpointAll())
	w.disk = reboot(w.disk)
	w.fs = w.disk
	folder := testDir + "/" + testTP.String()
	for _, suffix := range segmentSuffixes {
		_ = w.disk.Remove(folder + "/" + segment.FileName(gone, suffix))
	}
	must(w.disk.SyncDir(folder))
	for _, name := range lost {
		must(w.disk.Remove(testDir + "/" + name))
	}
	cleaned := offsetCheckpoint{testTP: bases[2].BaseOffset()}
	must(replaceFile(w.disk, testDir+"/"+cleanerFile, cleaned.appendTo(nil)))
	d, err := OpenLogDir(w.env(), testDir, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	_, failures, err := d.LoadLogs(func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return cleanConfig(), Keep })
	if err != nil || len(failures) > 0 {
		t.Fatal(failures, err)
	}
	if got := d.Log(testTP).LogEndOffset(); got != end {
		t.Errorf("the log ends at %d, not at %d: a hole cost acknowledged records", got, end)
	}
}

// Goal: a full disk ends a cleaning, and not the log directory, up to the moment where the replacement has begun.
func TestCleaningOnAFullDiskLeavesTheDirectory(t *testing.T) {
	cleaning := func(op vfs.Op) bool {
		return mutating(op) && (strings.Contains(op.Name, ".cleaned") || op.Kind == vfs.OpRename &&
			(strings.HasSuffix(op.Name, ".log") || strings.HasSuffix(op.Name, "index")))
	}
	total := countCleaning(t, cleaning)
	for n := int64(0); n < total; n++ {
		disk := vfs.NewMem()
		var failed vfs.Op
		nth := vfs.FailNth(n, cleaning, syscall.ENOSPC)
		m := cleanScript(t, disk, func(op vfs.Op) error {
			err := nth(op)
			if err != nil {
				failed = op
			}
			return err
		})
		if m.err != nil || m.l.Dir().Failed() != nil {
			t.Fatalf("%+v: %v %v", failed, m.err, m.l.Dir().Failed())
		}
		if err := m.verify(m.l); err != nil {
			t.Fatalf("%+v: %v", failed, err)
		}
		if err := m.reopened(reboot(disk)); err != nil {
			t.Fatalf("%+v: %v", failed, err)
		}
	}
	t.Logf("%d full disks", total)
}
