package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// counted is a keeper that allows so many segments to be open.
type counted struct {
	open, limit int
}

var errCrowded = errors.New("too many are open")

func (c *counted) Opening(*Segment) error {
	if c.open == c.limit {
		return errCrowded
	}
	c.open++
	return nil
}

func (c *counted) Closed(*Segment) { c.open-- }

// mustRest lets the segment rest, or not, as wanted.
func mustRest(t testing.TB, s *Segment, want bool) {
	t.Helper()
	closing, err := s.Rest()
	if closing != nil {
		must(t, closing())
	}
	if rests := s.body.Load().resting; rests != want || err != nil {
		t.Fatalf("rests: %v (%v), want %v", rests, err, want)
	}
}

// TestRest: what is not durable or is being read stays open, a resting segment has no file open and no block too many,
// knows its numbers, answers who asks for nothing new, and opens its file for whoever reads or appends.
func TestRest(t *testing.T) {
	disk := memDisk(t)
	opened := 0
	fault := vfs.NewFault(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpOpen && path.Ext(op.Name) == LogSuffix {
			opened++
		}
		return nil
	})
	keeper := &counted{limit: 1}
	o := testOptions()
	o.Keeper = keeper
	s := create(t, fault, 5, o)
	stamped(t, s, 100, 3, 9, 4)
	mustRest(t, s, false)
	must(t, s.Flush())
	if s.Idle() || !s.Idle() {
		t.Error("a segment that was used is idle, or one that was not used is not")
	}
	r, err := s.Read(6, 1, true, 8)
	must(t, err)
	if s.Idle() {
		t.Error("a segment that is read is idle")
	}
	mustRest(t, s, false)
	r.Release()
	mustRest(t, s, true)
	mustRest(t, s, true)
	if used := disk.UsedBytes(); used > 4096 || keeper.open != 0 {
		t.Errorf("resting it takes %d bytes, and %d files are open", used, keeper.open)
	}
	if newest, at := s.MaxTimestamp(); s.NextOffset() != 8 || s.FlushedOffset() != 8 || newest != 9 || at != 6 {
		t.Errorf("it ends at %d, flushed %d, newest %d at %d", s.NextOffset(), s.FlushedOffset(), newest, at)
	}
	if r, err := s.Read(8, 100, true, 9); err != nil || r.Length != 0 || !s.Resident(8, 100, 9) {
		t.Errorf("at the end: %v, %v", r, err)
	}
	if s.Resident(5, 100, 8) {
		t.Error("an event loop is to open the file")
	}
	must(t, s.Flush())
	if opened != 0 {
		t.Errorf("opened %d times for nothing", opened)
	}
	r, err = s.Read(5, 1000, true, 8)
	must(t, err)
	if r.NextOffset != 8 || keeper.open != 1 {
		t.Errorf("read up to %d, %d files are open", r.NextOffset, keeper.open)
	}
	r.Release()
	mustRest(t, s, true)
	stamped(t, s, 100, 11)
	must(t, s.Flush())
	mustRest(t, s, true)
	must(t, s.Close())
	if opened != 2 || keeper.open != 0 {
		t.Errorf("opened %d times, %d files are open", opened, keeper.open)
	}
	s = reopen(t, disk, 5, testOptions())
	if newest, at := s.MaxTimestamp(); s.NextOffset() != 9 || newest != 11 || at != 8 {
		t.Errorf("reopened, it ends at %d, newest %d at %d", s.NextOffset(), newest, at)
	}
	must(t, s.Close())
}

// TestRestWithLargeIndexes: what an index holds beyond a page goes to its file, and an append finds it there again.
func TestRestWithLargeIndexes(t *testing.T) {
	o := testOptions()
	o.IndexIntervalBytes = 1
	s := create(t, memDisk(t), 0, o)
	for range 600 {
		stamped(t, s, 10, 1)
	}
	must(t, s.Flush())
	mustRest(t, s, true)
	if s.body.Load().live() {
		t.Error("the indexes are in memory")
	}
	stamped(t, s, 10, 2)
	if n := s.body.Load().offsets.Live().Bytes(); n != 600*8 {
		t.Errorf("an index of %d bytes", n)
	}
	must(t, s.Close())
}

// TestRestAgreesWithModel: whoever lets a segment rest between any two calls gets the same answers.
func TestRestAgreesWithModel(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 11))
		disk := memDisk(t)
		s := create(t, disk, 100, testOptions())
		m := &model{base: 100}
		for range 40 {
			switch random.IntN(8) {
			case 0, 1, 2:
				m.appendAll(t, random, s, drawBatches(t, random, m.next(), 1+random.IntN(9)))
			case 3:
				to := m.base + kafka.Offset(random.IntN(int(m.next()-m.base)+1))
				must(t, s.TruncateTo(to))
				for len(m.batches) > 0 && m.batches[len(m.batches)-1].LastOffset() >= to {
					m.batches = m.batches[:len(m.batches)-1]
				}
			case 4:
				must(t, s.Seal())
			case 5:
				must(t, s.Close())
				s = reopen(t, disk, 100, testOptions())
			default:
				m.check(t, s)
			}
			if random.IntN(2) == 0 {
				must(t, s.Flush())
				mustRest(t, s, true)
			}
		}
		m.check(t, s)
		must(t, s.Close())
	}
}

// TestNoFileToOpen: a file that may not be opened, or is not there any more, is an error for who wanted it, and of the
// segment nothing is lost.
func TestNoFileToOpen(t *testing.T) {
	disk := memDisk(t)
	var fail error
	fault := vfs.NewFault(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpOpen {
			return fail
		}
		return nil
	})
	keeper := &counted{limit: 1}
	o := testOptions()
	o.Keeper = keeper
	s := create(t, fault, 0, o)
	stamped(t, s, 100, 1, 2)
	must(t, s.Flush())
	batch := batchOf(t, 2, 10, 3)
	tryBoth := func(want error) {
		t.Helper()
		mustRest(t, s, true)
		if _, err := s.Read(0, 100, true, 2); !errors.Is(err, want) {
			t.Errorf("a read gives %v, want %v", err, want)
		}
		if err := s.Append(batch); !errors.Is(err, want) {
			t.Errorf("an append gives %v, want %v", err, want)
		}
		if s.Err() != nil || keeper.open != keeper.limit%2 {
			t.Errorf("the segment has failed (%v), or %d files are open", s.Err(), keeper.open)
		}
	}
	keeper.limit = 0
	tryBoth(errCrowded)
	keeper.limit, fail = 2, syscall.EMFILE
	tryBoth(syscall.EMFILE)
	fail = nil
	must(t, s.Append(batch))
	must(t, s.Flush())
	mustRest(t, s, true)
	var corrupt *CorruptError
	name := path.Join(testDir, FileName(0, LogSuffix))
	must(t, disk.Rename(name, name+".away"))
	if _, err := s.Read(0, 100, true, 2); !errors.As(err, &corrupt) {
		t.Errorf("without a file a read gives %v", err)
	}
	f, err := disk.OpenFile(name+".away", openFlags, 0)
	must(t, err)
	must(t, f.Truncate(20))
	must(t, f.Close())
	must(t, disk.Rename(name+".away", name))
	if err := s.Append(batchOf(t, 3, 10, 3)); !errors.As(err, &corrupt) {
		t.Errorf("with a file cut short an append gives %v", err)
	}
	s.Abandon()
	if keeper.open != 0 {
		t.Errorf("%d files are open", keeper.open)
	}
}

// TestDoomedSegmentsStayShut: once a segment is renamed its old name is another file's, which is never read in its
// stead.
func TestDoomedSegmentsStayShut(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 0, testOptions())
	stamped(t, s, 100, 1, 2)
	must(t, s.Flush())
	mustRest(t, s, true)
	must(t, s.RenameDeleted())
	other := create(t, disk, 0, testOptions())
	if _, err := s.Read(0, 100, true, 2); !errors.Is(err, ErrClosed) {
		t.Errorf("a read gives %v", err)
	}
	must(t, s.Remove())
	if _, err := disk.Stat(path.Join(testDir, FileName(0, LogSuffix)+DeletedSuffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the deleted file: %v", err)
	}
	must(t, other.Close())
}

// BenchmarkUse is what an append and a read cost beside their system calls, and what one more costs that finds the
// file closed.
func BenchmarkUse(b *testing.B) {
	for _, rests := range []bool{false, true} {
		b.Run(fmt.Sprintf("rests=%v", rests), func(b *testing.B) {
			s, err := Create(vfs.OS{}, b.TempDir(), 0, benchOptions())
			check(b, err)
			check(b, s.Append(batchOf(b, 0, 100, 1)))
			check(b, s.Flush())
			b.ReportAllocs()
			for b.Loop() {
				r, err := s.Read(0, 1000, true, 1)
				check(b, err)
				err = r.Each(func(record.Batch) error { return nil })
				check(b, err)
				r.Release()
				if rests {
					closing, err := s.Rest()
					check(b, err)
					check(b, closing())
				}
			}
			check(b, s.Close())
		})
	}
}

// asking is a disk that has a question asked before or after one of the renamings and removals. The operation goes on
// when it is answered, or waits for the operation itself.
type asking struct {
	vfs.FS
	ask    func() error // nil: nothing is counted yet
	at     int          // where to ask, from 0: twice the number of the operation, and one more for after it
	count  int
	answer chan error
}

// Rename may ask before and after.
func (a *asking) Rename(from, to string) error {
	return a.between(func() error { return a.FS.Rename(from, to) })
}

// Remove may ask before and after.
func (a *asking) Remove(name string) error {
	return a.between(func() error { return a.FS.Remove(name) })
}

func (a *asking) between(do func() error) error {
	a.step()
	err := do()
	a.step()
	return err
}

func (a *asking) step() {
	if a.ask == nil {
		return
	}
	if a.count++; a.count != a.at+1 {
		return
	}
	a.answer = make(chan error, 1)
	go func() { a.answer <- a.ask() }()
	for stacks := make([]byte, 1<<20); len(a.answer) == 0; runtime.Gosched() {
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "[sync.Mutex.Lock") && strings.Contains(stack, "index.(*File).mapFile") {
				return
			}
		}
	}
}

// TestAbortedWhileSegmentGoes: who asks for aborted transactions while the files are renamed or removed is told all of
// them, or that the segment is gone; never that there are none. Method: ask before and after each step, of a segment
// whose index nobody has read yet.
func TestAbortedWhileSegmentGoes(t *testing.T) {
	for name, leave := range map[string]func(*Segment) error{
		"renamed": (*Segment).RenameDeleted, "removed": (*Segment).Remove,
	} {
		t.Run(name, func(t *testing.T) {
			for at, count := 0, 1; at < count; at++ {
				disk := &asking{FS: memDisk(t), at: at}
				s := withAborted(t, disk)
				disk.ask = func() error { return oneAborted(s) }
				must(t, leave(s))
				if err := <-disk.answer; err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("at step %d: %v", at, err)
				}
				if count = disk.count; count < 2*len(suffixes) {
					t.Errorf("%d steps", count)
				}
			}
		})
	}
}

// TestAbortedOfARemovedSegment: the same where all of the removing comes between two steps of the question: it has the
// segment, and not yet the index.
func TestAbortedOfARemovedSegment(t *testing.T) {
	var s *Segment
	mem := memDisk(t)
	disk := vfs.NewFault(mem, func(op vfs.Op) error {
		if s != nil && op.Kind == vfs.OpOpen && path.Ext(op.Name) == index.TransactionKind.Suffix {
			s.Abandon() // and then Remove removes the files
			return mem.Remove(op.Name)
		}
		return nil
	})
	made := withAborted(t, disk)
	s = made
	if err := oneAborted(made); !errors.Is(err, ErrClosed) {
		t.Errorf("told %v", err)
	}
}

// withAborted makes a sealed segment with an aborted transaction.
func withAborted(t *testing.T, disk vfs.FS) *Segment {
	t.Helper()
	s := create(t, disk, 0, testOptions())
	stamped(t, s, 100, 3)
	must(t, s.AppendAborted(index.Transaction{ProducerID: 7, LastStableOffset: 1}))
	must(t, s.Seal())
	return s
}

// oneAborted asks for the aborted transactions and wants one.
func oneAborted(s *Segment) error {
	list, _, err := s.Aborted(nil, 0, 10)
	if err == nil && len(list) != 1 {
		return fmt.Errorf("%d aborted transactions", len(list))
	}
	return err
}
