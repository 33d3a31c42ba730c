package index

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"sync"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func offsetsOf(entries ...OffsetEntry) Offsets {
	var b Buffer
	for _, e := range entries {
		b.AppendOffset(e)
	}
	return b.View()
}

func timesOf(entries ...TimeEntry) Times {
	var b Buffer
	for _, e := range entries {
		b.AppendTime(e)
	}
	return b.View()
}

func transactionsOf(entries ...Transaction) Transactions {
	var b Buffer
	for _, e := range entries {
		b.AppendTransaction(e)
	}
	return b.View()
}

// TestFormats pins the bytes of an entry of each kind, and reads them back.
func TestFormats(t *testing.T) {
	offset := OffsetEntry{Relative: 0x01020304, Position: 0x05060708}
	if got := offsetsOf(offset); !bytes.Equal(got, []byte{1, 2, 3, 4, 5, 6, 7, 8}) || got.At(0) != offset {
		t.Errorf("offset entry % x", []byte(got))
	}
	time := TimeEntry{Timestamp: 0x0102030405060708, Relative: 0x090a0b0c}
	if got := timesOf(time); !bytes.Equal(got, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) || got.At(0) != time {
		t.Errorf("time entry % x", []byte(got))
	}
	transaction := Transaction{ProducerID: 0x0102030405060708, FirstOffset: 9, LastOffset: 10, LastStableOffset: 11}
	want := []byte{
		0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 11,
	}
	if got := transactionsOf(transaction); !bytes.Equal(got, want) || got.At(0) != transaction {
		t.Errorf("transaction entry % x", []byte(got))
	}
}

// TestFloors looks below, at, between and above the entries.
func TestFloors(t *testing.T) {
	offsets := offsetsOf(OffsetEntry{5, 100}, OffsetEntry{9, 200}, OffsetEntry{20, 700})
	times := timesOf(TimeEntry{50, 5}, TimeEntry{90, 9}, TimeEntry{200, 20})
	for _, c := range []struct{ at, want int64 }{
		{-1 << 40, -1}, {4, -1}, {5, 0}, {8, 0}, {9, 1}, {19, 1}, {20, 2}, {1 << 40, 2},
	} {
		if got := offsets.Floor(c.at); int64(got) != c.want {
			t.Errorf("the floor of offset %d is entry %d, want %d", c.at, got, c.want)
		}
		if got := times.FloorRelative(c.at); int64(got) != c.want {
			t.Errorf("the floor of offset %d is time entry %d, want %d", c.at, got, c.want)
		}
		if got := times.Floor(kafka.Timestamp(c.at * 10)); int64(got) != c.want {
			t.Errorf("the floor of timestamp %d is entry %d, want %d", c.at*10, got, c.want)
		}
	}
	for _, c := range []struct{ at, want int64 }{{0, -1}, {99, -1}, {100, 0}, {200, 1}, {699, 1}, {1 << 40, 2}} {
		if got := offsets.FloorPosition(c.at); int64(got) != c.want {
			t.Errorf("the floor of position %d is entry %d, want %d", c.at, got, c.want)
		}
	}
	if Offsets(nil).Floor(3) != -1 || Times(nil).Floor(3) != -1 || Offsets(nil).FloorPosition(3) != -1 {
		t.Error("an empty index has a floor")
	}
}

// TestValid cuts an index where it stops making sense.
func TestValid(t *testing.T) {
	zeros := make([]byte, 80)
	offsets := []struct {
		name string
		data []byte
		want int // entries
	}{
		{"no entry", nil, 0},
		{"rising entries", offsetsOf(OffsetEntry{0, 1}, OffsetEntry{1, 2}, OffsetEntry{7, 999}), 3},
		{"zeros behind them", slices.Concat(offsetsOf(OffsetEntry{3, 1}), zeros), 1},
		{"a part of an entry behind them", slices.Concat(offsetsOf(OffsetEntry{3, 1}), zeros[:7]), 1},
		{"the same offset twice", offsetsOf(OffsetEntry{3, 1}, OffsetEntry{3, 2}), 1},
		{"the same position twice", offsetsOf(OffsetEntry{3, 1}, OffsetEntry{4, 1}), 1},
		{"an offset that goes back", offsetsOf(OffsetEntry{3, 1}, OffsetEntry{4, 2}, OffsetEntry{2, 3}), 2},
		{"a position behind the log", offsetsOf(OffsetEntry{3, 1}, OffsetEntry{4, 1000}), 1},
		{"a negative offset", offsetsOf(OffsetEntry{-2, 1}), 0},
		{"a negative position", offsetsOf(OffsetEntry{2, -1}), 0},
		{"position 0", offsetsOf(OffsetEntry{0, 0}), 0},
	}
	for _, c := range offsets {
		if got := Offsets(c.data).Valid(1000).Len(); got != c.want {
			t.Errorf("offsets, %s: %d entries are valid, want %d", c.name, got, c.want)
		}
	}
	times := []struct {
		name string
		data []byte
		want int
	}{
		{"no entry", nil, 0},
		{"rising entries", timesOf(TimeEntry{0, 0}, TimeEntry{1, 2}, TimeEntry{1 << 60, 1 << 30}), 3},
		{"zeros behind them", slices.Concat(timesOf(TimeEntry{1, 1}), zeros), 1},
		{"the same timestamp twice", timesOf(TimeEntry{1, 1}, TimeEntry{1, 2}), 1},
		{"the same offset twice", timesOf(TimeEntry{1, 1}, TimeEntry{2, 1}), 1},
		{"a timestamp that goes back", timesOf(TimeEntry{5, 1}, TimeEntry{4, 2}), 1},
		{"no timestamp", timesOf(TimeEntry{kafka.NoTimestamp, 2}), 0},
		{"a negative offset", timesOf(TimeEntry{1, -1}), 0},
		{"a part of an entry", timesOf(TimeEntry{1, 1})[:11], 0},
	}
	for _, c := range times {
		if got := Times(c.data).Valid().Len(); got != c.want {
			t.Errorf("times, %s: %d entries are valid, want %d", c.name, got, c.want)
		}
	}
	otherVersion := transactionsOf(Transaction{1, 101, 102, 103})
	otherVersion[1] = 1
	transactions := []struct {
		name string
		data []byte
		want int
	}{
		{"no entry", nil, 0},
		{"overlapping transactions", transactionsOf(Transaction{1, 100, 105, 100}, Transaction{2, 99, 106, 107}), 2},
		{"zeros behind them", slices.Concat(transactionsOf(Transaction{1, 100, 105, 100}), zeros), 1},
		{"another version", otherVersion, 0},
		{"a marker before its transaction", transactionsOf(Transaction{1, 106, 105, 100}), 0},
		{"a marker before the segment", transactionsOf(Transaction{1, 90, 99, 100}), 0},
		{"markers that go back", transactionsOf(Transaction{1, 100, 105, 100}, Transaction{2, 101, 104, 100}), 1},
		{"a negative offset", transactionsOf(Transaction{1, -1, 105, 100}), 0},
	}
	for _, c := range transactions {
		if got := Transactions(c.data).Valid(100).Len(); got != c.want {
			t.Errorf("transactions, %s: %d entries are valid, want %d", c.name, got, c.want)
		}
	}
}

// TestOverlapping gives what a reader of committed records must leave out. Producer 1 aborts [10, 15], producer 2
// [12, 20], producer 3 [30, 31]; up to offset 12 all was decided when the first marker came.
func TestOverlapping(t *testing.T) {
	v := transactionsOf(Transaction{1, 10, 15, 12}, Transaction{2, 12, 20, 21}, Transaction{3, 30, 31, 32})
	for _, c := range []struct {
		from, to kafka.Offset
		want     []kafka.ProducerID
		all      bool
	}{
		{0, 5, nil, true},
		{0, 11, []kafka.ProducerID{1}, true},
		{0, 12, []kafka.ProducerID{1}, true},
		{0, 13, []kafka.ProducerID{1, 2}, true},
		{15, 16, []kafka.ProducerID{1, 2}, true},
		{16, 17, []kafka.ProducerID{2}, true},
		{21, 25, nil, true},
		{21, 32, []kafka.ProducerID{3}, true},
		{10, 33, []kafka.ProducerID{1, 2, 3}, false},
		{32, 40, nil, false},
	} {
		list, all := v.Overlapping(nil, c.from, c.to)
		var got []kafka.ProducerID
		for _, each := range list {
			got = append(got, each.ProducerID)
		}
		if !slices.Equal(got, c.want) || all != c.all {
			t.Errorf("[%d, %d): %v %v, want %v %v", c.from, c.to, got, all, c.want, c.all)
		}
	}
	for offset, want := range map[kafka.Offset]int{15: 0, 16: 1, 20: 1, 21: 2, 100: 3} {
		if got := v.Before(offset).Len(); got != want {
			t.Errorf("%d markers before %d, want %d", got, offset, want)
		}
	}
}

// TestBufferGrowsUnderReaders reads a view while entries are added; the race detector watches. A view never changes.
func TestBufferGrowsUnderReaders(t *testing.T) {
	var b Buffer
	var group sync.WaitGroup
	const total = 5000
	for range 3 {
		group.Go(func() {
			for n := 0; n < total; {
				v := Offsets(b.View())
				if v.Len() < n {
					t.Errorf("%d entries after %d", v.Len(), n)
					return
				}
				n = v.Len()
				if n > 0 && v.At(n-1) != (OffsetEntry{int32(n), int32(2 * n)}) {
					t.Errorf("entry %d is %v", n-1, v.At(n-1))
					return
				}
			}
		})
	}
	for i := int32(1); i <= total; i++ {
		b.AppendOffset(OffsetEntry{i, 2 * i})
	}
	group.Wait()
	if b.Bytes() != total*OffsetEntryBytes || (&Buffer{}).Bytes() != 0 || (&Buffer{}).View() != nil {
		t.Error("the sizes are wrong")
	}
	copied := NewBuffer(b.View())
	copied.AppendOffset(OffsetEntry{1 << 30, 1 << 30})
	if !bytes.Equal(copied.View()[:b.Bytes()], b.View()) || copied.Bytes() != b.Bytes()+OffsetEntryBytes {
		t.Error("a copy differs")
	}
	if n := testing.AllocsPerRun(1000, func() { b.AppendTime(TimeEntry{}) }); n >= 1 {
		t.Errorf("an entry allocates %v times", n)
	}
}

const dir = "/log"

func newDisk(t testing.TB) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	must(t, disk.MkdirAll(dir, 0o755))
	return disk
}

// TestFileLife takes an index through growth, sealing, reopening and growth again. Views stay good until Close.
func TestFileLife(t *testing.T) {
	disk := newDisk(t)
	name := path.Join(dir, "0.index")
	must(t, vfs.ReplaceFile(disk, name, []byte("somebody else's")))
	var b Buffer
	f := NewFile(disk, name, OffsetKind, &b)
	stored := func() int {
		data, err := vfs.ReadFile(disk, name)
		must(t, err)
		return len(data)
	}
	must(t, f.Persist())
	for i := int32(1); i <= 514; i++ {
		b.AppendOffset(OffsetEntry{i, i})
		must(t, f.Persist())
		if want := 513; i == 513 && stored() != (want-1)*8 || i == 514 && stored() != (want-1)*8 {
			t.Fatalf("with %d entries %d bytes are stored", i, stored())
		}
	}
	created, err := f.Sync()
	must(t, err)
	again, err := f.Sync()
	must(t, err)
	if !created || again || stored() != 514*8 || f.Live() != &b || !f.Resident() {
		t.Errorf("created %v, again %v, %d bytes", created, again, stored())
	}
	f.Seal()
	if f.Live() != nil || f.Resident() {
		t.Error("a sealed index is in memory")
	}
	sealed, err := f.View()
	must(t, err)
	if !bytes.Equal(sealed, b.View()) || !f.Resident() {
		t.Error("the sealed index differs")
	}
	revived := NewBuffer(sealed)
	f.Revive(revived)
	revived.AppendOffset(OffsetEntry{1000, 1000})
	created, err = f.Sync()
	must(t, err)
	f.Seal()
	longer, err := f.View()
	must(t, err)
	if created || len(longer) != 515*8 || !bytes.Equal(sealed, b.View()) {
		t.Errorf("created %v, %d bytes; or an older view changed", created, len(longer))
	}
	tail, err := f.Tail()
	must(t, err)
	if Offsets(tail).At(0) != (OffsetEntry{1000, 1000}) || f.Path() != name {
		t.Errorf("tail %v of %s", tail, f.Path())
	}
	must(t, f.Rename(name+".deleted"))
	must(t, f.Close())
	if view, err := f.View(); err != nil || len(view) != 515*8 {
		t.Errorf("reopened: %d bytes, %v", len(view), err)
	}
	must(t, f.Close())
}

// TestFileReplace writes a new file and leaves the old one to those who map it.
func TestFileReplace(t *testing.T) {
	disk := newDisk(t)
	name := path.Join(dir, "0.timeindex")
	must(t, vfs.ReplaceFile(disk, name, timesOf(TimeEntry{1, 1}, TimeEntry{2, 2})))
	f := OpenFile(disk, name, TimeKind)
	old, err := f.View()
	must(t, err)
	f.Replace(NewBuffer(timesOf(TimeEntry{3, 3})))
	created, err := f.Sync()
	must(t, err)
	data, err := vfs.ReadFile(disk, name)
	if err != nil || !created || Times(data).At(0).Timestamp != 3 || len(data) != 12 {
		t.Errorf("created %v, % x, %v", created, data, err)
	}
	if Times(old).At(0).Timestamp != 1 {
		t.Error("the old view changed")
	}
	f.Seal()
	must(t, f.Close())
}

// TestOptionalFile has no file while it has no entries, and takes one away.
func TestOptionalFile(t *testing.T) {
	disk := newDisk(t)
	name := path.Join(dir, "0.txnindex")
	f := OpenFile(disk, name, TransactionKind)
	if view, err := f.View(); err != nil || view != nil || !f.Resident() {
		t.Errorf("without a file: %v, %v", view, err)
	}
	if _, err := f.Tail(); !errors.Is(err, ErrUnusable) {
		t.Errorf("the tail of no file: %v", err)
	}
	must(t, vfs.ReplaceFile(disk, name, []byte("old")))
	if _, err := f.Tail(); !errors.Is(err, ErrUnusable) {
		t.Errorf("the tail of a part of an entry: %v", err)
	}
	var b Buffer
	f = NewFile(disk, name, TransactionKind, &b)
	created, err := f.Sync()
	must(t, err)
	if _, err := disk.Stat(name); created || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("created %v, %v", created, err)
	}
	b.AppendTransaction(Transaction{1, 2, 3, 4})
	created, err = f.Sync()
	must(t, err)
	if data, err := vfs.ReadFile(disk, name); err != nil || !created || len(data) != TransactionEntryBytes {
		t.Errorf("created %v, %d bytes, %v", created, len(data), err)
	}
	if _, err := OpenFile(disk, name, TransactionKind).Tail(); err != nil {
		t.Error(err)
	}
}

// TestSyncIsDurable cuts the power after Sync, and then fails each operation: an index that reports success is whole.
func TestSyncIsDurable(t *testing.T) {
	for n := int64(0); ; n++ {
		disk := newDisk(t)
		must(t, disk.SyncDir("/"))
		var b Buffer
		mutates := func(op vfs.Op) bool { return op.Kind.Mutates() || op.Kind == vfs.OpClose }
		f := NewFile(vfs.NewFault(disk, vfs.FailNth(n, mutates, os.ErrInvalid)), path.Join(dir, "i"), OffsetKind, &b)
		for i := int32(1); i <= 600; i++ {
			b.AppendOffset(OffsetEntry{i, i})
		}
		persisted := f.Persist()
		b.AppendOffset(OffsetEntry{601, 601})
		_, err := f.Sync()
		if err != nil {
			_, err = f.Sync() // the failure is over
		}
		must(t, err)
		must(t, disk.SyncDir(dir))
		for seed := range uint64(20) {
			after := disk.CrashClone(rand.New(rand.NewPCG(seed, 1)))
			if data, err := vfs.ReadFile(after, path.Join(dir, "i")); err != nil || !bytes.Equal(data, b.View()) {
				t.Fatalf("operation %d failed: %d of %d bytes survive, %v", n, len(data), b.Bytes(), err)
			}
		}
		if persisted == nil && n > 8 {
			return
		}
	}
}

// TestMappingErrors passes what the disk says.
func TestMappingErrors(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpOpen, vfs.OpSize, vfs.OpMap, vfs.OpRead} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			disk := newDisk(t)
			must(t, vfs.ReplaceFile(disk, path.Join(dir, "i"), make([]byte, 16)))
			fault := vfs.NewFault(disk, func(op vfs.Op) error {
				if op.Kind == kind {
					return os.ErrInvalid
				}
				return nil
			})
			f := OpenFile(fault, path.Join(dir, "i"), OffsetKind)
			_, viewErr := f.View()
			_, tailErr := f.Tail()
			if errors.Is(viewErr, os.ErrInvalid) != (kind != vfs.OpRead) ||
				errors.Is(tailErr, os.ErrInvalid) != (kind != vfs.OpMap) {
				t.Errorf("view: %v, tail: %v", viewErr, tailErr)
			}
		})
	}
}

// FuzzViews searches any bytes: no panic, and what is valid obeys the rules that searches rest on.
func FuzzViews(f *testing.F) {
	f.Add([]byte(offsetsOf(OffsetEntry{1, 5}, OffsetEntry{4, 70})), int64(3))
	f.Add([]byte(timesOf(TimeEntry{1, 1}, TimeEntry{2, 2})), int64(2))
	f.Add([]byte(transactionsOf(Transaction{1, 2, 3, 4})), int64(1))
	f.Fuzz(func(t *testing.T, data []byte, at int64) {
		offsets := Offsets(data)
		if i := offsets.Floor(at); i >= 0 && int64(offsets.At(i).Relative) > at {
			t.Errorf("the floor of %d is %v", at, offsets.At(i))
		}
		if i := offsets.FloorPosition(at); i >= 0 && int64(offsets.At(i).Position) > at {
			t.Errorf("the floor of position %d is %v", at, offsets.At(i))
		}
		valid := offsets.Valid(kafka.Position(at))
		for i := range valid.Len() {
			if e := valid.At(i); valid.Floor(int64(e.Relative)) != i || valid.FloorPosition(int64(e.Position)) != i {
				t.Errorf("entry %d is not found again", i)
			}
		}
		times := Times(data)
		if i := times.Floor(kafka.Timestamp(at)); i >= 0 && times.At(i).Timestamp > kafka.Timestamp(at) {
			t.Errorf("the floor of timestamp %d is %v", at, times.At(i))
		}
		validTimes := times.Valid()
		for i := range validTimes.Len() {
			e := validTimes.At(i)
			if validTimes.Floor(e.Timestamp) != i || validTimes.FloorRelative(int64(e.Relative)) != i {
				t.Errorf("time entry %d is not found again", i)
			}
		}
		transactions := Transactions(data).Valid(kafka.Offset(at))
		for i := range transactions.Len() {
			e := transactions.At(i)
			list, _ := transactions.Overlapping(nil, e.LastOffset, e.LastOffset+1)
			if !slices.Contains(list, e) || transactions.Before(e.LastOffset).Len() != i {
				t.Errorf("transaction %d is not found again", i)
			}
		}
	})
}
