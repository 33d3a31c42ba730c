package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"syscall"
	"testing"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// life is a segment's life as its owner sees it: what was appended, what was promised to be durable. Each step goes
// through a disk that may fail at any operation; the life ends with the first error.
type life struct {
	t       *testing.T
	random  *rand.Rand
	disk    vfs.FS
	options Options
	segment *Segment
	model   model
	durable kafka.Offset
	// before is what the log held when a truncation began that has not ended.
	before []record.Batch
}

const lifeBase = kafka.Offset(100)

// live runs the whole life: growth, flushes, sealing, reopening, truncation with and without a reader.
func (l *life) live() error {
	s, err := Create(l.disk, testDir, lifeBase, l.options)
	if err != nil {
		return err
	}
	l.segment, l.model.base, l.durable = s, lifeBase, lifeBase
	steps := []func() error{
		l.grow, l.flush, l.grow, l.grow, l.flush, l.abort, l.flush, l.seal, l.grow, l.flush, l.cut, l.grow, l.reopen,
		l.grow, l.cutUnderReader, l.grow, l.flush, l.close,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) grow() error {
	for _, b := range drawBatches(l.t, l.random, l.model.next(), 6) {
		if err := l.segment.Append(b); err != nil {
			return err
		}
		l.model.batches = append(l.model.batches, b)
	}
	return nil
}

func (l *life) flush() error {
	if err := l.segment.Flush(); err != nil {
		return err
	}
	l.durable = l.model.next()
	return nil
}

func (l *life) abort() error {
	last := l.model.next() - 1
	return l.segment.AppendAborted(index.Transaction{
		ProducerID: 1, FirstOffset: lifeBase, LastOffset: last, LastStableOffset: last + 1,
	})
}

func (l *life) seal() error {
	if err := l.segment.Seal(); err != nil {
		return err
	}
	l.durable = l.model.next()
	return nil
}

func (l *life) close() error {
	err := l.segment.Close()
	if err == nil {
		l.durable = l.model.next()
	}
	return err
}

func (l *life) reopen() error {
	if err := l.close(); err != nil {
		return err
	}
	s, err := Open(l.disk, testDir, lifeBase, l.options)
	if err == nil {
		l.segment = s
	}
	return err
}

func (l *life) cut() error {
	offset := l.model.next() - 5
	// The owner takes back its promise first, as a follower does that truncates.
	l.durable = min(l.durable, offset)
	l.before = l.model.batches
	n := 0
	for n < len(l.before) && l.before[n].LastOffset() < offset {
		n++
	}
	if n > 0 {
		l.durable = min(l.durable, l.before[n-1].NextOffset())
	}
	l.model.batches = l.before[:n:n]
	if err := l.segment.TruncateTo(offset); err != nil {
		return err
	}
	l.before = nil
	return nil
}

func (l *life) cutUnderReader() error {
	r, err := l.segment.Read(lifeBase, 1<<20, true, l.model.next())
	if err != nil {
		return err
	}
	defer r.Release()
	want := bytes.Clone(r.Bytes())
	err = l.cut()
	if !bytes.Equal(r.Bytes(), want) {
		l.t.Error("a truncation changed what a reader holds")
	}
	return err
}

// recovered checks a log that was recovered from what a crash left.
func (l *life) recovered(s *Segment) {
	l.t.Helper()
	var got []byte
	must(l.t, s.Each(lifeBase, func(b record.Batch) error {
		got = append(got, b...)
		return nil
	}))
	want := l.model.bytes()
	if l.before != nil { // the truncation may or may not have happened
		want = (&model{batches: l.before}).bytes()
	}
	if !bytes.HasPrefix(want, got) {
		l.t.Fatalf("the recovered %d bytes are no prefix of the %d that were appended", len(got), len(want))
	}
	if s.NextOffset() < l.durable {
		l.t.Fatalf("recovered up to offset %d, but up to %d it was durable", s.NextOffset(), l.durable)
	}
}

func lifeOptions() Options {
	return Options{BytesMax: 64 << 10, IndexIntervalBytes: 200, IndexBytesMax: 4 << 10}
}

// countOps is how many operations a life makes that match.
func countOps(t *testing.T, match func(vfs.Op) bool) int64 {
	t.Helper()
	n := int64(0)
	hook := func(op vfs.Op) error {
		if match(op) {
			n++
		}
		return nil
	}
	l := &life{t: t, random: rand.New(rand.NewPCG(9, 9)), disk: vfs.NewFault(memDisk(t), hook), options: lifeOptions()}
	must(t, l.live())
	return n
}

func mutates(op vfs.Op) bool { return op.Kind.Mutates() }

// TestPowerCutAtEveryWrite cuts the power at each operation that changes the disk, several times with another draw of
// what survives. What is recovered is a prefix of what was appended and holds all that was durable, and the log goes
// on.
func TestPowerCutAtEveryWrite(t *testing.T) {
	total := countOps(t, mutates)
	if total < 60 {
		t.Fatalf("only %d operations: the life is too dull", total)
	}
	const draws = uint64(6)
	for n := range total + 1 {
		for draw := range draws {
			disk := memDisk(t)
			l := &life{
				t: t, random: rand.New(rand.NewPCG(9, 9)), options: lifeOptions(),
				disk: vfs.NewFault(disk, vfs.FailFrom(n, mutates, vfs.ErrPowerCut)),
			}
			if err := l.live(); n < total && !errors.Is(err, vfs.ErrPowerCut) {
				t.Fatalf("cut at %d: the life ended with %v", n, err)
			}
			after := disk.CrashClone(rand.New(rand.NewPCG(uint64(n), draw)))
			l.disk = after
			s, _, err := Recover(after, testDir, lifeBase, l.options, l.durable, nil)
			if errors.Is(err, os.ErrNotExist) && l.durable <= lifeBase {
				continue // the file's name was never durable
			}
			if err != nil {
				t.Fatalf("cut at %d, draw %d: %v", n, draw, err)
			}
			l.recovered(s)
			goOn(t, l, s)
		}
	}
}

// goOn appends to a recovered segment, closes it and opens it again.
func goOn(t *testing.T, l *life, s *Segment) {
	t.Helper()
	m := &model{base: lifeBase}
	must(t, s.Each(lifeBase, func(b record.Batch) error {
		m.batches = append(m.batches, record.Batch(bytes.Clone(b)))
		return nil
	}))
	m.appendAll(t, l.random, s, drawBatches(t, l.random, m.next(), 4))
	must(t, s.Close())
	again := reopen(t, l.disk, lifeBase, l.options)
	m.check(t, again)
	must(t, again.Close())
}

// TestEveryOperationFails fails each operation in turn with an I/O error. The segment takes no more writes, what was
// published can still be read, and what a new process finds is at least that.
func TestEveryOperationFails(t *testing.T) {
	all := func(vfs.Op) bool { return true }
	total := countOps(t, all)
	for n := range total {
		disk := memDisk(t)
		var failed vfs.Op
		hook := vfs.FailNth(n, func(op vfs.Op) bool { failed = op; return true }, syscall.EIO)
		seen := vfs.Op{}
		l := &life{t: t, random: rand.New(rand.NewPCG(9, 9)), options: lifeOptions()}
		l.disk = vfs.NewFault(disk, func(op vfs.Op) error {
			err := hook(op)
			if err != nil {
				seen = failed
			}
			return err
		})
		err := l.live()
		if err == nil {
			// Nobody waits for these: the file is not written to any more, or is about to be read only.
			if seen.Kind != vfs.OpClose && seen.Kind != vfs.OpWriteback {
				t.Fatalf("operation %d, %s of %s, failed unnoticed", n, seen.Kind, seen.Name)
			}
			continue
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("operation %d, %s: the error is %v", n, seen.Kind, err)
		}
		if l.segment == nil {
			continue
		}
		if seen.Kind.Mutates() && seen.Kind != vfs.OpCreate && seen.Kind != vfs.OpRemove {
			again := l.segment.Append(batchOf(t, l.model.next(), 10, 1))
			if again == nil {
				t.Fatalf("an append succeeds after operation %d, %s of %s, failed", n, seen.Kind, seen.Name)
			}
		}
		_ = l.segment.Close()
		s, _, err := Recover(disk, testDir, lifeBase, l.options, l.durable, nil)
		must(t, err)
		l.recovered(s)
		if l.before == nil && s.NextOffset() < l.model.next() {
			t.Fatalf("operation %d, %s: recovered up to %d, appended up to %d",
				n, seen.Kind, s.NextOffset(), l.model.next())
		}
		must(t, s.Close())
	}
}

// TestDiskFull fills the disk at every size. Appends that do not fit leave nothing behind; reads go on, and appends too
// once there is room.
func TestDiskFull(t *testing.T) {
	for _, pages := range []int64{0, 1, 2, 3, 5, 9, 20} {
		t.Run(fmt.Sprintf("%d pages", pages), func(t *testing.T) {
			random := rand.New(rand.NewPCG(4, 4))
			disk := memDisk(t)
			s := create(t, disk, 0, testOptions())
			m := &model{}
			disk.SetCapacity(max(pages*4096, 1))
			full := 0
			for range 400 {
				b := batchOf(t, m.next(), random.IntN(900), 5)
				err := s.Append(b)
				if err == nil {
					m.batches = append(m.batches, b)
					continue
				}
				full++
				if !errors.Is(err, syscall.ENOSPC) || s.Err() != nil {
					t.Fatalf("append on a full disk: %v, then %v", err, s.Err())
				}
				if size := len(fileBytes(t, disk, 0, LogSuffix)); size != len(m.bytes()) {
					t.Fatalf("the file holds %d bytes, published are %d", size, len(m.bytes()))
				}
			}
			if full == 0 {
				t.Fatal("the disk was never full")
			}
			m.check(t, s)
			if err := s.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			disk.SetCapacity(0)
			s, _, err := Recover(disk, testDir, 0, testOptions(), 0, nil)
			must(t, err)
			m.check(t, s)
			m.appendAll(t, random, s, drawBatches(t, random, m.next(), 10))
			m.check(t, s)
			must(t, s.Close())
		})
	}
}

// TestSealWaitsForRoom seals a segment on a full disk, and again when there is room.
func TestSealWaitsForRoom(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 0, testOptions())
	m := &model{}
	random := rand.New(rand.NewPCG(5, 5))
	m.appendAll(t, random, s, drawBatches(t, random, 0, 50))
	disk.SetCapacity((int64(len(m.bytes())) + 4095) &^ 4095)
	if err := s.Seal(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("sealed on a full disk: %v", err)
	}
	m.check(t, s)
	disk.SetCapacity(0)
	m.appendAll(t, random, s, drawBatches(t, random, m.next(), 3))
	must(t, s.Seal())
	m.check(t, s)
	must(t, s.Close())
	m.check(t, reopen(t, disk, 0, testOptions()))
}

// TestShortWrite lets a part of an append reach the disk before it fails.
func TestShortWrite(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(cause.Error(), func(t *testing.T) {
			disk := memDisk(t)
			m := &model{}
			logWrites := func(op vfs.Op) bool { return op.Kind == vfs.OpWrite && path.Ext(op.Name) == LogSuffix }
			hook := vfs.FailNth(2, logWrites, &vfs.ShortWrite{N: 33, Err: cause})
			s := create(t, vfs.NewFault(disk, hook), 0, testOptions())
			random := rand.New(rand.NewPCG(6, 6))
			batches := drawBatches(t, random, 0, 4)
			must(t, s.Append(batches[0]))
			must(t, s.Append(batches[1]))
			m.batches = batches[:2:2]
			if err := s.Append(batches[2]); !errors.Is(err, cause) {
				t.Fatalf("the append ended with %v", err)
			}
			m.check(t, s)
			size := len(fileBytes(t, disk, 0, LogSuffix))
			if full := cause == syscall.ENOSPC; full != (size == len(m.bytes())) {
				t.Fatalf("the file holds %d bytes, published are %d", size, len(m.bytes()))
			}
			err := s.Append(batches[2])
			if full := cause == syscall.ENOSPC; full != (err == nil) {
				t.Fatalf("the append after it ended with %v", err)
			}
			if err == nil {
				m.batches = batches[:3:3]
			}
			m.check(t, s)
			if err := s.Close(); !errors.Is(err, s.Err()) {
				t.Fatal(err)
			}
			s, _, err = Recover(disk, testDir, 0, testOptions(), 0, nil)
			must(t, err)
			m.check(t, s)
			must(t, s.Close())
		})
	}
}
