package segment

import (
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"spate/index"
	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// TestIndexEntries follows Kafka's rules: an entry for the batch that begins more than the interval behind the last
// entry, made of its last offset and its position; a time entry with it if the largest timestamp grew; a last one at
// the end.
func TestIndexEntries(t *testing.T) {
	const values = 100
	size := int32(len(batchOf(t, 0, values, 1)))
	cases := []struct {
		name       string
		interval   int
		timestamps []kafka.Timestamp
		offsets    [][2]int32
		times      [][2]int64
	}{
		{
			name: "no batch at all", interval: 1,
		},
		{
			name: "the first batch never has an offset entry, the largest timestamp always has one", interval: 0,
			timestamps: []kafka.Timestamp{5},
			times:      [][2]int64{{5, 0}},
		},
		{
			name: "with no interval every batch but the first has an entry", interval: 0,
			timestamps: []kafka.Timestamp{5, 6, 7},
			offsets:    [][2]int32{{1, size}, {2, 2 * size}},
			times:      [][2]int64{{6, 1}, {7, 2}},
		},
		{
			name: "a distance of just the interval makes no entry", interval: int(2 * size),
			timestamps: []kafka.Timestamp{5, 6, 7, 8, 9, 10, 11},
			offsets:    [][2]int32{{3, 3 * size}, {6, 6 * size}},
			times:      [][2]int64{{8, 3}, {11, 6}},
		},
		{
			name: "a timestamp that goes back makes no time entry", interval: 0,
			timestamps: []kafka.Timestamp{50, 60, 20, 60, 61, 30},
			offsets:    [][2]int32{{1, size}, {2, 2 * size}, {3, 3 * size}, {4, 4 * size}, {5, 5 * size}},
			times:      [][2]int64{{60, 1}, {61, 4}},
		},
		{
			name: "the largest timestamp is entered with the batch that brought it", interval: int(2 * size),
			timestamps: []kafka.Timestamp{5, 99, 7, 8, 9},
			offsets:    [][2]int32{{3, 3 * size}},
			times:      [][2]int64{{99, 1}},
		},
		{
			name: "records without a timestamp have no time entry", interval: 0,
			timestamps: []kafka.Timestamp{kafka.NoTimestamp, kafka.NoTimestamp},
			offsets:    [][2]int32{{1, size}},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			disk := memDisk(t)
			o := testOptions()
			o.IndexIntervalBytes = c.interval
			s := create(t, disk, 1000, o)
			stamped(t, s, values, c.timestamps...)
			must(t, s.Close())
			got := offsetIndex(fileBytes(t, disk, 1000, index.OffsetKind.Suffix))
			if !reflect.DeepEqual(got, c.offsets) {
				t.Errorf("offset index %v, want %v", got, c.offsets)
			}
			if got := timeIndex(fileBytes(t, disk, 1000, index.TimeKind.Suffix)); !reflect.DeepEqual(got, c.times) {
				t.Errorf("time index %v, want %v", got, c.times)
			}
		})
	}
}

// TestAppendRefuses gives the appends that a segment does not take; each leaves it as it was.
func TestAppendRefuses(t *testing.T) {
	big := batchOf(t, 12, 1000, 1)
	cases := []struct {
		name string
		data []byte
		want error
	}{
		{"an offset that is taken", batchOf(t, 11, 1, 1), ErrOrder},
		{"an offset before the base offset", batchOf(t, 9, 1, 1), ErrOrder},
		{"offsets that go back within the append", slices.Concat(batchOf(t, 14, 1, 1), batchOf(t, 13, 1, 1)), ErrOrder},
		{"an offset too far from the base offset", batchOf(t, 10+1<<31, 1, 1), ErrOrder},
		{"half a batch", big[:500], record.ErrTruncated},
		{"a batch and a half", slices.Concat(batchOf(t, 12, 1, 1), batchOf(t, 13, 1, 1)[:66]), record.ErrTruncated},
		{"more than the segment takes", slices.Concat(big, batchOf(t, 13, 4000, 1)), ErrFull},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions()
			o.BytesMax = 4096
			s := create(t, memDisk(t), 10, o)
			m := &model{base: 10, batches: []record.Batch{batchOf(t, 10, 3, 5, 6)}}
			must(t, s.Append(m.batches[0]))
			if err := s.Append(c.data); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			m.check(t, s)
			must(t, s.Err())
			m.batches = append(m.batches, big)
			must(t, s.Append(big))
			m.check(t, s)
		})
	}
}

// TestFull says when to roll: by size, by distance of offsets, by a full index; never an empty segment.
func TestFull(t *testing.T) {
	o := Options{BytesMax: 1000, IndexIntervalBytes: 0, IndexBytesMax: 1 << 20}
	s := create(t, memDisk(t), 10, o)
	if s.Full(5000, 10) {
		t.Error("an empty segment is full: the next one would be just as empty")
	}
	if !s.Full(1, 10+1<<31) || s.Full(1, 10+1<<31-1) {
		t.Error("the distance of offsets is wrong")
	}
	b := batchOf(t, 10, 400, 5)
	must(t, s.Append(b))
	if s.Full(1000-len(b), 11) || !s.Full(1001-len(b), 11) {
		t.Error("the size is wrong")
	}

	byOffsets := create(t, memDisk(t), 0, Options{BytesMax: 1 << 20, IndexBytesMax: 5*index.OffsetEntryBytes + 7})
	stamped(t, byOffsets, 1, 9, 9, 9, 9, 9)
	if byOffsets.Full(1, 5) {
		t.Error("an offset index with a free entry is full")
	}
	stamped(t, byOffsets, 1, 9)
	if !byOffsets.Full(1, 6) {
		t.Error("an offset index of 5 entries is not full")
	}

	// 4 time entries and 6 offset entries fit, and the last time entry is kept free.
	byTimes := create(t, memDisk(t), 0, Options{BytesMax: 1 << 20, IndexBytesMax: 4 * index.TimeEntryBytes})
	stamped(t, byTimes, 1, 1, 2, 3)
	if byTimes.Full(1, 3) {
		t.Error("a time index with a free entry is full")
	}
	stamped(t, byTimes, 1, 4)
	if !byTimes.Full(1, 4) {
		t.Error("a time index of 3 entries, and one to keep, is not full")
	}
	must(t, byTimes.Close())
	if !byTimes.Full(0, 4) {
		t.Error("a closed segment is not full")
	}
}

// TestAllocationGrowsWithTheSegment watches how much is reserved ahead: 64 KiB at first, then an eighth of what there
// is, never past the largest size; sealing gives it back.
// A segment takes what its limit allows now, and what was written under a higher one can be read.
func TestTheLimitCanChange(t *testing.T) {
	disk := memDisk(t)
	o := testOptions()
	o.BytesMax = 1000
	s := create(t, disk, 0, o)
	first, second := batchOf(t, 0, 600, 1), batchOf(t, 1, 600, 1)
	must(t, s.Append(first))
	read := func(want int) {
		t.Helper()
		r, err := s.Read(0, 1<<20, true, 1<<20)
		must(t, err)
		defer r.Release()
		if r.Length != want {
			t.Errorf("%d bytes, want %d", r.Length, want)
		}
	}
	read(len(first)) // maps what the first limit allows
	if err := s.Append(second); !errors.Is(err, ErrFull) || !s.Full(len(second), 1) {
		t.Fatal(err)
	}
	s.SetBytesMax(10_000)
	if s.Full(len(second), 1) {
		t.Error("full below a higher limit")
	}
	must(t, s.Append(second))
	read(len(first) + len(second))
	s.SetBytesMax(700)
	if !s.Full(1, 2) {
		t.Error("not full above a lower limit")
	}
	read(len(first) + len(second))
	s.SetBytesMax(1 << 62)
	if s.Full(1, 2) {
		t.Error("full below the largest position")
	}
	must(t, s.Close())
}

func TestAllocationGrowsWithTheSegment(t *testing.T) {
	disk := memDisk(t)
	type reservation struct{ off, length int64 }
	var list []reservation
	fault := vfs.NewFault(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpAllocate {
			list = append(list, reservation{op.Off, op.Length})
		}
		return nil
	})
	o := testOptions()
	o.BytesMax = 2 << 20
	s := create(t, fault, 0, o)
	if disk.UsedBytes() != 0 {
		t.Errorf("an empty segment takes %d bytes", disk.UsedBytes())
	}
	for !s.Full(30<<10, s.NextOffset()) {
		stamped(t, s, 30<<10-80, 1)
	}
	for i, r := range list {
		end := r.off + r.length
		ahead := int64(allocateBytesMin)
		if r.off/allocateFraction > ahead {
			ahead = r.off / allocateFraction
		}
		if end > o.BytesMax || end < o.BytesMax && (r.length < ahead-30<<10 || r.length > ahead+30<<10) {
			t.Errorf("reservation %d of %d bytes at %d", i, r.length, r.off)
		}
		if i > 0 && r.off != list[i-1].off+list[i-1].length {
			t.Errorf("reservation %d begins at %d", i, r.off)
		}
	}
	if len(list) < 10 || len(list) > 40 {
		t.Errorf("%d reservations", len(list))
	}
	must(t, s.Seal())
	if used, size := disk.UsedBytes(), int64(s.Bytes()); used > size+3*4096 {
		t.Errorf("sealed, %d bytes take %d", size, used)
	}
}

// TestWritebackStartsEarly watches which ranges are written out: all that no flush has covered, page by page and once.
func TestWritebackStartsEarly(t *testing.T) {
	type span struct{ off, length int64 }
	var list []span
	failing := false
	s := create(t, vfs.NewFault(memDisk(t), func(op vfs.Op) error {
		if op.Kind == vfs.OpWriteback {
			list = append(list, span{op.Off, op.Length})
			if failing {
				return syscall.EIO
			}
		}
		return nil
	}), 0, Options{BytesMax: 64 << 20, IndexIntervalBytes: 4096, IndexBytesMax: 1 << 20})
	batch := batchOf(t, 0, 1_000_000, 1)
	appendOne := func() error {
		batch.SetBaseOffset(s.NextOffset())
		return s.Append(batch)
	}
	for range 10 {
		must(t, appendOne())
	}
	if len(list) != 2 || list[0].off != 0 || list[1].off != list[0].length || list[0].length%4096 != 0 ||
		list[1].length < writebackBytes {
		t.Fatalf("written out: %v", list)
	}
	must(t, s.Flush())
	for range 4 {
		must(t, appendOne())
	}
	if len(list) != 2 {
		t.Fatalf("written out after a flush: %v", list)
	}
	failing = true
	must(t, appendOne()) // it is published; its writeback fails
	if err := appendOne(); !errors.Is(err, syscall.EIO) || !errors.Is(s.Flush(), syscall.EIO) {
		t.Errorf("after a failed writeback: %v", err)
	}
}

// TestWritebackElsewhere: the appender says once that there is something to write out, and does not do it itself.
func TestWritebackElsewhere(t *testing.T) {
	written, asked := 0, 0
	o := Options{BytesMax: 64 << 20, IndexIntervalBytes: 4096, IndexBytesMax: 1 << 20}
	o.Writeback = func(*Segment) { asked++ }
	s := create(t, vfs.NewFault(memDisk(t), func(op vfs.Op) error {
		if op.Kind == vfs.OpWriteback {
			written += int(op.Length)
		}
		return nil
	}), 0, o)
	for range 10 {
		stamped(t, s, 1_000_000, 1)
	}
	if asked != 1 || written != 0 {
		t.Fatalf("asked %d times, %d bytes are written out", asked, written)
	}
	s.StartWriteback()
	if want := int(s.Bytes()) &^ 4095; written != want {
		t.Errorf("%d bytes are written out of %d", written, want)
	}
	if s.StartWriteback(); written > int(s.Bytes()) {
		t.Errorf("%d bytes are written out of %d", written, s.Bytes())
	}
	for range 5 {
		stamped(t, s, 1_000_000, 1)
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	must(t, s.Close())
	s.StartWriteback() // too late, which does no harm
	if written > 10_001_000 {
		t.Errorf("%d bytes are written out", written)
	}
}

// TestFailedSegmentTakesNoWrites ends all writing after an error that is not a full disk, and keeps reading.
func TestFailedSegmentTakesNoWrites(t *testing.T) {
	disk := memDisk(t)
	failing := false
	s := create(t, vfs.NewFault(disk, func(op vfs.Op) error {
		if failing && op.Kind == vfs.OpDatasync {
			return syscall.EIO
		}
		return nil
	}), 0, testOptions())
	m := &model{}
	random := rand.New(rand.NewPCG(1, 2))
	m.appendAll(t, random, s, drawBatches(t, random, 0, 5))
	failing = true
	if err := s.Flush(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("flush: %v", err)
	}
	failing = false // a second fdatasync would succeed, and lie
	for name, call := range map[string]func() error{
		"append":   func() error { return s.Append(batchOf(t, m.next(), 1, 1)) },
		"flush":    s.Flush,
		"seal":     s.Seal,
		"truncate": func() error { return s.TruncateTo(1) },
		"abort":    func() error { return s.AppendAborted(index.Transaction{}) },
		"err":      s.Err,
	} {
		if err := call(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.check(t, s)
	if err := s.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	if _, err := disk.Stat(path.Join(testDir, FileName(0, index.OffsetKind.Suffix))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed segment wrote an index: %v", err)
	}
}

// TestCreateKeepsWhatIsThere does not touch a segment of that name.
func TestCreateKeepsWhatIsThere(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 3, testOptions())
	stamped(t, s, 1, 1)
	if _, err := Create(disk, testDir, 3, testOptions()); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v", err)
	}
	if s.Bytes() == 0 || len(fileBytes(t, disk, 3, LogSuffix)) != int(s.Bytes()) {
		t.Error("the log was touched")
	}
}

// TestAppendAndReadDoNotAllocate pins the steady state on a real disk.
func TestAppendAndReadDoNotAllocate(t *testing.T) {
	o := Options{BytesMax: 64 << 20, IndexIntervalBytes: 4096, IndexBytesMax: 10 << 20, Clock: clock.Real{}}
	s, err := Create(vfs.OS{}, t.TempDir(), 0, o)
	must(t, err)
	b := batchOf(t, 0, 5000, 1, 2)
	appendOne := func() {
		b.SetBaseOffset(s.NextOffset())
		must(t, s.Append(b))
	}
	for range 50 {
		appendOne()
	}
	if n := testing.AllocsPerRun(500, appendOne); n > 0 {
		t.Errorf("an append allocates %v times", n)
	}
	must(t, s.Flush())
	offset := kafka.Offset(0)
	read := func() {
		if !s.Resident(offset, 30000, 1<<40) {
			t.Error("not resident")
		}
		r, err := s.Read(offset, 30000, true, s.FlushedOffset())
		must(t, err)
		if !r.Warm() {
			t.Error("not warm")
		}
		offset = r.NextOffset
		r.Release()
	}
	s.Read(0, 1, true, 1) // maps the log
	if n := testing.AllocsPerRun(200, read); n > 0 {
		t.Errorf("a read allocates %v times", n)
	}
	must(t, s.Seal())
	offset = 0
	s.Read(0, 1, true, 1) // maps the index
	if n := testing.AllocsPerRun(200, read); n > 0 {
		t.Errorf("a read of a sealed segment allocates %v times", n)
	}
}
