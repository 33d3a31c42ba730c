package segment

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// TestReadersBesideEverything lets readers, a flusher and one who lets the segment rest whenever nobody uses it run
// beside an appender that also seals, truncates and at last removes the segment. Every range that a reader gets is
// whole batches of rising offsets with their checksums, and the race detector watches the bytes of the memory disk.
func TestReadersBesideEverything(t *testing.T) {
	for _, disk := range []struct {
		name string
		fs   vfs.FS
		dir  string
	}{{"memory", memDisk(t), testDir}, {"real", vfs.OS{}, t.TempDir()}} {
		t.Run(disk.name, func(t *testing.T) {
			o := Options{BytesMax: 1 << 20, IndexIntervalBytes: 500, IndexBytesMax: 64 << 10}
			s, err := Create(disk.fs, disk.dir, 0, o)
			must(t, err)
			var done atomic.Bool
			var group sync.WaitGroup
			for i := range 3 {
				group.Go(func() { readUntil(t, &done, s, uint64(i)) })
			}
			group.Go(func() {
				for !done.Load() {
					if err := s.Flush(); err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
						return
					}
				}
			})
			var appender sync.Mutex
			rests := 0
			group.Go(func() {
				for !done.Load() {
					if !appender.TryLock() {
						continue
					}
					closing, err := s.Rest()
					appender.Unlock()
					if err == nil && closing != nil {
						err = closing()
						rests++
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
			random := rand.New(rand.NewPCG(1, 7))
			locked := func(f func()) {
				appender.Lock()
				defer appender.Unlock()
				f()
			}
			for round := range 6 {
				for range 60 {
					batch := batchOf(t, s.NextOffset(), random.IntN(800), kafka.Timestamp(round), 5)
					locked(func() { must(t, s.Append(batch)) })
				}
				locked(func() { must(t, s.Seal()) })
				locked(func() { must(t, s.TruncateTo(kafka.Offset(random.IntN(int(s.NextOffset()))))) })
			}
			must(t, s.RenameDeleted())
			must(t, s.Remove())
			done.Store(true)
			group.Wait()
			t.Logf("it rested %d times", rests)
		})
	}
}

func readUntil(t *testing.T, done *atomic.Bool, s *Segment, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 7))
	for !done.Load() {
		offset := kafka.Offset(random.IntN(int(s.NextOffset()) + 1))
		s.Resident(offset, 3000, 1<<40)
		r, err := s.Read(offset, 3000, true, s.FlushedOffset()+kafka.Offset(random.IntN(9)))
		if errors.Is(err, ErrClosed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		last := offset - 1
		err = r.Each(func(b record.Batch) error {
			if b.LastOffset() <= last {
				t.Errorf("a batch up to %d after offset %d", b.LastOffset(), last)
			}
			last = b.LastOffset()
			return b.CheckCRC()
		})
		if err != nil {
			t.Error(err)
		}
		r.Release()
		if _, _, err := s.OffsetForTimestamp(4, offset); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

// TestRangeOutlivesItsSegment holds ranges while the segment is truncated, closed and its file is replaced.
func TestRangeOutlivesItsSegment(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 0, testOptions())
	stamped(t, s, 100, 1, 2, 3, 4)
	var ranges []Range
	var contents [][]byte
	hold := func() {
		r, err := s.Read(0, 1<<20, true, s.NextOffset())
		must(t, err)
		ranges, contents = append(ranges, r), append(contents, bytes.Clone(r.Bytes()))
	}
	hold()
	must(t, s.TruncateTo(3))
	hold()
	must(t, s.TruncateTo(1))
	hold()
	must(t, s.Close())
	for i := range ranges {
		if !bytes.Equal(ranges[i].Bytes(), contents[i]) || len(contents[i]) == 0 {
			t.Errorf("range %d changed", i)
		}
		if ranges[i].FD() != -1 {
			t.Error("a memory disk has a descriptor")
		}
		ranges[i].Release()
	}
	if (&Range{}).FD() != -1 {
		t.Error("an empty range has a descriptor")
	}
}

// TestReleaseTwice is a bug of the caller, and is not passed over.
func TestReleaseTwice(t *testing.T) {
	s := create(t, memDisk(t), 0, testOptions())
	stamped(t, s, 1, 1)
	r, err := s.Read(0, 100, true, 1)
	must(t, err)
	other := r
	r.Release()
	other.Release() // takes the segment's own reference
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_ = s.Close()
}
