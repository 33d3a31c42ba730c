package segment

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"testing"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// TestOpenRebuildsIndexes opens a closed segment whose indexes were spoilt in each way that a crash or a hand may spoil
// them. Afterwards they are what closing had left.
func TestOpenRebuildsIndexes(t *testing.T) {
	offsets, times := index.OffsetKind.Suffix, index.TimeKind.Suffix
	cases := []struct {
		name   string
		suffix string
		spoil  func([]byte) []byte // nil removes the file
	}{
		{"no offset index", offsets, nil},
		{"no time index", times, nil},
		{"an empty offset index", offsets, func([]byte) []byte { return []byte{} }},
		{"an empty time index", times, func([]byte) []byte { return []byte{} }},
		{"an offset index that ends early", offsets, func(b []byte) []byte { return b[:len(b)-16] }},
		{"a time index that ends early", times, func(b []byte) []byte { return b[:len(b)-12] }},
		{"half an offset entry", offsets, func(b []byte) []byte { return b[:len(b)-3] }},
		{"half a time entry", times, func(b []byte) []byte { return b[:len(b)-3] }},
		{"zeros behind the offset index", offsets, func(b []byte) []byte { return append(b, make([]byte, 800)...) }},
		{"zeros behind the time index", times, func(b []byte) []byte { return append(b, make([]byte, 1200)...) }},
		{"an offset entry behind the log", offsets, func(b []byte) []byte { return append(b, 0, 0, 9, 9, 0, 9, 9, 9) }},
		{"a negative position", offsets, func(b []byte) []byte { return append(b, 0, 0, 9, 9, 0xff, 9, 9, 9) }},
		{"a position inside a batch", offsets, func(b []byte) []byte { b[len(b)-1]++; return b }},
		{"another last offset", offsets, func(b []byte) []byte { b[len(b)-5]++; return b }},
		{"a time entry behind the log", times, func(b []byte) []byte {
			return append(b, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9)
		}},
		{"a time entry before the base offset", times, func(b []byte) []byte { b[len(b)-4] = 0x80; return b }},
		{"garbage of whole entries", offsets, func(b []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(b)) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			disk := memDisk(t)
			random := rand.New(rand.NewPCG(11, 0))
			s := create(t, disk, 60, testOptions())
			m := &model{base: 60}
			m.appendAll(t, random, s, drawBatches(t, random, 60, 40))
			must(t, s.Close())
			if c.spoil == nil {
				must(t, disk.Remove(path.Join(testDir, FileName(60, c.suffix))))
			} else {
				putFile(t, disk, 60, c.suffix, c.spoil(fileBytes(t, disk, 60, c.suffix)))
			}
			s = reopen(t, disk, 60, testOptions())
			if !s.body.Load().live() {
				t.Error("nothing was rebuilt")
			}
			m.check(t, s)
			readSome(t, random, s, m)
			must(t, s.Close())
			m.checkFiles(t, s)
		})
	}
}

// TestReaderRebuildsIndex spoils the middle of a sealed index, where opening does not look. Reads find out and mend it.
func TestReaderRebuildsIndex(t *testing.T) {
	for _, damage := range []struct {
		name  string
		spoil func([]byte)
	}{
		{"positions inside batches", func(b []byte) {
			for at := 7; at < len(b)-8; at += 8 {
				b[at]++
			}
		}},
		{"zeros", func(b []byte) { clear(b[8 : len(b)-8]) }},
		{"noise", func(b []byte) {
			random := rand.New(rand.NewPCG(1, 1))
			for i := range b[:len(b)-8] {
				b[i] = byte(random.Uint32())
			}
		}},
	} {
		t.Run(damage.name, func(t *testing.T) { spoilAndRead(t, damage.spoil, false) })
		t.Run(damage.name+", truncated first", func(t *testing.T) { spoilAndRead(t, damage.spoil, true) })
	}
}

func spoilAndRead(t *testing.T, spoil func([]byte), truncating bool) {
	disk := memDisk(t)
	random := rand.New(rand.NewPCG(12, 0))
	s := create(t, disk, 60, testOptions())
	m := &model{base: 60}
	m.appendAll(t, random, s, drawBatches(t, random, 60, 60))
	must(t, s.Close())
	spoilt := fileBytes(t, disk, 60, index.OffsetKind.Suffix)
	spoil(spoilt)
	putFile(t, disk, 60, index.OffsetKind.Suffix, spoilt)
	s = reopen(t, disk, 60, testOptions())
	if s.body.Load().live() {
		t.Fatal("opening looked at the whole index")
	}
	if truncating {
		must(t, s.TruncateTo(m.next()-20))
		m.truncate(m.next() - 20)
	}
	readSome(t, random, s, m)
	m.appendAll(t, random, s, drawBatches(t, random, m.next(), 10))
	readSome(t, random, s, m)
	must(t, s.Close())
	m.checkFiles(t, s)
}

// TestOpenRefusesBrokenLog gives a *CorruptError for a log whose end is not the end of a batch, and passes other
// errors.
func TestOpenRefusesBrokenLog(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 5, testOptions())
	stamped(t, s, 100, 1, 2, 3, 4, 5, 6, 7)
	must(t, s.Close())
	log := fileBytes(t, disk, 5, LogSuffix)
	putFile(t, disk, 5, LogSuffix, log[:len(log)-1])
	_, err := Open(disk, testDir, 5, testOptions())
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || int(corrupt.Position) != len(log)/7*6 ||
		!strings.Contains(corrupt.Reason, "bytes are here") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(disk, testDir, 6, testOptions()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a segment that is not there: %v", err)
	}
}

// TestOpenDropsIndexesOfEmptyLog finds entries beside a log that holds nothing.
func TestOpenDropsIndexesOfEmptyLog(t *testing.T) {
	disk := memDisk(t)
	must(t, create(t, disk, 5, testOptions()).Close())
	s := reopen(t, disk, 5, testOptions())
	if s.body.Load().live() {
		t.Error("empty indexes of an empty log were rebuilt")
	}
	(&model{base: 5}).check(t, s)
	must(t, s.Close())
	putFile(t, disk, 5, index.OffsetKind.Suffix, []byte{0, 0, 0, 1, 0, 0, 0, 80})
	putFile(t, disk, 5, index.TimeKind.Suffix, []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0})
	s = reopen(t, disk, 5, testOptions())
	(&model{base: 5}).check(t, s)
	stamped(t, s, 10, 1)
	must(t, s.Close())
	if got := fileBytes(t, disk, 5, index.OffsetKind.Suffix); len(got) != 0 {
		t.Errorf("offset index of %d bytes", len(got))
	}
}

// TestQuietSegmentsCostNothing opens and closes a segment without writing a byte or keeping a mapping.
func TestQuietSegmentsCostNothing(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 5, testOptions())
	stamped(t, s, 100, 1, 2, 3, 4, 5, 6, 7)
	must(t, s.Close())
	maps := 0
	quiet := vfs.NewFault(disk, func(op vfs.Op) error {
		if op.Kind.Mutates() {
			t.Errorf("%s of %s", op.Kind, op.Name)
		}
		if op.Kind == vfs.OpMap {
			maps++
		}
		return nil
	})
	s = reopen(t, quiet, 5, testOptions())
	if s.body.Load().mapping.Load() != nil || maps > 1 {
		t.Errorf("%d mappings", maps)
	}
	must(t, s.Flush())
	must(t, s.Close())
}

// TestLifeEnds renames, removes and closes: files go, ranges stay, calls say that the segment is closed.
func TestLifeEnds(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 9, testOptions())
	stamped(t, s, 100, 1, 2, 3, 4, 5, 6, 7)
	must(t, s.AppendAborted(index.Transaction{ProducerID: 1, FirstOffset: 9, LastOffset: 10, LastStableOffset: 11}))
	must(t, s.Seal())
	must(t, s.RenameDeleted())
	must(t, s.RenameDeleted())
	want := []string{".index.deleted", ".log.deleted", ".timeindex.deleted", ".txnindex.deleted"}
	if got := suffixesIn(t, disk); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("files %v, want %v", got, want)
	}
	r, err := s.Read(10, 1000, true, 100)
	must(t, err)
	checkAborted(t, s, []index.Transaction{{ProducerID: 1, FirstOffset: 9, LastOffset: 10, LastStableOffset: 11}})
	must(t, s.Remove())
	must(t, s.Remove())
	if got := suffixesIn(t, disk); len(got) != 0 {
		t.Errorf("files %v", got)
	}
	if disk.UsedBytes() == 0 {
		t.Error("the room is free while a range is held")
	}
	must(t, r.Each(func(b record.Batch) error { return b.CheckCRC() }))
	r.Release()
	if disk.UsedBytes() != 0 {
		t.Errorf("%d bytes are taken", disk.UsedBytes())
	}
	checkClosed(t, s)
}

func checkClosed(t *testing.T, s *Segment) {
	t.Helper()
	_, readErr := s.Read(9, 10, true, 100)
	_, _, abortedErr := s.Aborted(nil, 0, 100)
	for what, err := range map[string]error{
		"append": s.Append(batchOf(t, s.NextOffset(), 1, 1)), "read": readErr, "flush": s.Flush(), "seal": s.Seal(),
		"truncate": s.TruncateTo(9), "rename": s.RenameDeleted(), "aborted": abortedErr,
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, s.Close())
	ts, at := s.MaxTimestamp()
	if s.Bytes() != 0 || s.NextOffset() != s.base || s.FlushedOffset() != s.base || s.BaseOffset() != 9 ||
		ts != kafka.NoTimestamp || at != s.base || s.FirstTimestamp() != kafka.NoTimestamp || !s.Resident(9, 1, 10) {
		t.Error("a closed segment still has data")
	}
}

func suffixesIn(t *testing.T, disk vfs.FS) []string {
	t.Helper()
	list, err := disk.ReadDir(testDir)
	must(t, err)
	var suffixes []string
	for _, e := range list {
		base, suffix, ok := ParseFileName(e.Name())
		if !ok || base != 9 {
			t.Errorf("a file %s", e.Name())
		}
		suffixes = append(suffixes, suffix)
	}
	return suffixes
}

// TestDeletedSegmentWritesNothing closes a segment that was renamed: its indexes are not worth the room.
func TestDeletedSegmentWritesNothing(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 9, testOptions())
	stamped(t, s, 100, 1, 2, 3)
	must(t, s.RenameDeleted())
	must(t, s.Close())
	if got := suffixesIn(t, disk); len(got) != 1 || got[0] != ".log.deleted" {
		t.Errorf("files %v", got)
	}
}

// TestAbandon ends a segment and leaves its files as they are.
func TestAbandon(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 9, testOptions())
	stamped(t, s, 100, 1, 2, 3)
	s.Abandon()
	s.Abandon()
	checkClosed(t, s)
	if got := suffixesIn(t, disk); len(got) != 1 || got[0] != LogSuffix {
		t.Errorf("files %v", got)
	}
}

// TestLiveLogThatChanged reports damage to what was appended: the index is right, the log is not.
func TestLiveLogThatChanged(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 9, testOptions())
	stamped(t, s, 400, 1, 2, 3, 4, 5)
	size := int64(s.Bytes()) / 5
	f, err := disk.OpenFile(path.Join(testDir, FileName(9, LogSuffix)), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, size), 2*size)
	must(t, err)
	_, err = s.Read(11, 10, true, 14)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || int64(corrupt.Position) != 2*size ||
		!strings.Contains(err.Error(), "is corrupt at") {
		t.Errorf("got %v", err)
	}
	if s.Resident(11, 10, 14) {
		t.Error("a loop is told to go on")
	}
}

// TestTooLargeFile refuses a log whose positions do not fit an index.
func TestTooLargeFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(path.Join(dir, FileName(0, LogSuffix)), nil, 0o644))
	must(t, os.Truncate(path.Join(dir, FileName(0, LogSuffix)), 1<<31))
	_, err := Open(vfs.OS{}, dir, 0, testOptions())
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Position != 1<<31-1 {
		t.Errorf("got %v", err)
	}
}

// TestReclaim leaves unmapping and closing to whom it is told.
func TestReclaim(t *testing.T) {
	disk := memDisk(t)
	var later []func()
	o := testOptions()
	o.Reclaim = func(f func()) { later = append(later, f) }
	s := create(t, disk, 0, o)
	stamped(t, s, 100, 1, 2, 3)
	r, err := s.Read(0, 1000, true, 3)
	must(t, err)
	must(t, s.Remove())
	held := r.Bytes()
	r.Release()
	if len(later) != 1 || held[16] != 2 {
		t.Fatalf("%d calls, magic %d", len(later), held[16])
	}
	later[0]()
	if held[16] == 2 || disk.UsedBytes() != 0 {
		t.Error("nothing was reclaimed")
	}
}

// TestFileNames keeps Kafka's form in both directions.
func TestFileNames(t *testing.T) {
	for _, base := range []kafka.Offset{0, 7, 1234567890123, 1<<63 - 1} {
		name := FileName(base, ".timeindex")
		got, suffix, ok := ParseFileName(name + DeletedSuffix)
		if !ok || got != base || suffix != ".timeindex.deleted" || len(name) != 30 {
			t.Errorf("%s: %d %s %v", name, got, suffix, ok)
		}
	}
	for _, name := range []string{"", "leader-epoch-checkpoint", "0000000000000000000.log", "0000000000000000000x.log",
		"-0000000000000000001.log", "99999999999999999999.log"} {
		if _, _, ok := ParseFileName(name); ok {
			t.Errorf("%s is taken for a segment's file", name)
		}
	}
}

// TestOpenOnRealDisk goes through the life of a segment on the machine's own file system.
func TestOpenOnRealDisk(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 8))
	s, err := Create(vfs.OS{}, dir, 0, testOptions())
	must(t, err)
	m := &model{}
	for range 3 {
		m.appendAll(t, random, s, drawBatches(t, random, m.next(), 60))
		m.check(t, s)
		readSome(t, random, s, m)
		must(t, s.Seal())
		readSome(t, random, s, m)
		must(t, s.Close())
		s, err = Open(vfs.OS{}, dir, 0, testOptions())
		must(t, err)
		m.check(t, s)
	}
	r, err := s.Read(0, 1<<20, true, m.next())
	must(t, err)
	at := make([]byte, r.Length)
	f := os.NewFile(uintptr(r.FD()), "log")
	if _, err := f.ReadAt(at, int64(r.Position)); err != nil || !bytes.Equal(at, r.Bytes()) {
		t.Errorf("the descriptor gives other bytes than the mapping: %v", err)
	}
	must(t, s.TruncateTo(m.next()/2)) // under the reader
	m.truncate(m.next() / 2)
	m.check(t, s)
	if !bytes.Equal(at, r.Bytes()) {
		t.Error("a range changed under its reader")
	}
	must(t, s.Remove())
}

// TestIndexFileVanishes removes the index files of a segment that is open and sealed: reads, look-ups, truncation and
// appends go on, and the files come back.
func TestIndexFileVanishes(t *testing.T) {
	for _, suffix := range []string{index.OffsetKind.Suffix, index.TimeKind.Suffix} {
		for name, use := range map[string]func(*Segment, *model) error{
			"read":      func(s *Segment, m *model) error { m.checkRead(t, s, 20, 500, true, 30); return nil },
			"timestamp": func(s *Segment, _ *model) error { _, _, err := s.OffsetForTimestamp(1000, 0); return err },
			"truncate":  func(s *Segment, m *model) error { m.truncate(30); return s.TruncateTo(30) },
			"append":    func(*Segment, *model) error { return nil },
		} {
			t.Run(name+" without "+suffix, func(t *testing.T) {
				disk := memDisk(t)
				random := rand.New(rand.NewPCG(11, 0))
				s := create(t, disk, 0, testOptions())
				m := &model{}
				m.appendAll(t, random, s, drawBatches(t, random, 0, 40))
				must(t, s.Seal())
				must(t, disk.Remove(path.Join(testDir, FileName(0, suffix))))
				must(t, use(s, m))
				m.check(t, s)
				m.appendAll(t, random, s, drawBatches(t, random, m.next(), 3))
				m.check(t, s)
				must(t, s.Close())
				m.checkFiles(t, s)
			})
		}
	}
}
