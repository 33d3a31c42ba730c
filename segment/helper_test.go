package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// testDir is where the segments of tests on a memory disk live.
const testDir = "/data/topic-0"

// testOptions have a small interval, so that a few batches make a few index entries.
func testOptions() Options {
	return Options{BytesMax: 1 << 20, IndexIntervalBytes: 300, IndexBytesMax: 64 << 10}
}

func memDisk(t testing.TB) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	must(t, disk.MkdirAll(testDir, 0o755))
	for dir := testDir; dir != "/"; dir = path.Dir(dir) {
		must(t, disk.SyncDir(path.Dir(dir)))
	}
	return disk
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, disk vfs.FS, base kafka.Offset, o Options) *Segment {
	t.Helper()
	s, err := Create(disk, testDir, base, o)
	must(t, err)
	return s
}

func reopen(t testing.TB, disk vfs.FS, base kafka.Offset, o Options) *Segment {
	t.Helper()
	s, err := Open(disk, testDir, base, o)
	must(t, err)
	return s
}

// batchOf makes a batch of records with those timestamps and values of so many bytes.
func batchOf(t testing.TB, base kafka.Offset, valueBytes int, timestamps ...kafka.Timestamp) record.Batch {
	t.Helper()
	w := record.NewBuilder(record.BuilderOptions{BaseOffset: base, LeaderEpoch: 7})
	for i, ts := range timestamps {
		value := bytes.Repeat([]byte{byte(int(base) + i)}, valueBytes)
		w.Append(ts, nil, value)
	}
	b, err := w.Build()
	must(t, err)
	return b
}

// stamped appends batches of one record each, one batch an append, with those timestamps.
func stamped(t testing.TB, s *Segment, valueBytes int, timestamps ...kafka.Timestamp) {
	t.Helper()
	for _, ts := range timestamps {
		must(t, s.Append(batchOf(t, s.NextOffset(), valueBytes, ts)))
	}
}

// drawBatches makes n batches from base on, with gaps between them at times, as compaction leaves them.
func drawBatches(t testing.TB, random *rand.Rand, base kafka.Offset, n int) []record.Batch {
	t.Helper()
	list := make([]record.Batch, n)
	ts := kafka.Timestamp(1000)
	for i := range list {
		if random.IntN(5) == 0 {
			base += kafka.Offset(random.IntN(4))
		}
		records := make([]kafka.Timestamp, 1+random.IntN(3))
		for j := range records {
			ts += kafka.Timestamp(random.IntN(20) - 6)
			records[j] = ts
		}
		list[i] = batchOf(t, base, random.IntN(200), records...)
		base = list[i].NextOffset()
	}
	return list
}

// model is a segment as a list.
type model struct {
	base    kafka.Offset
	batches []record.Batch
}

func (m *model) next() kafka.Offset {
	if len(m.batches) == 0 {
		return m.base
	}
	return m.batches[len(m.batches)-1].NextOffset()
}

func (m *model) bytes() []byte {
	var all []byte
	for _, b := range m.batches {
		all = append(all, b...)
	}
	return all
}

// read is Segment.Read, done the long way.
func (m *model) read(offset kafka.Offset, bytesMax int, minOne bool, end kafka.Offset) modelRange {
	r := modelRange{next: offset}
	if offset >= end {
		return r
	}
	position := 0
	for _, b := range m.batches {
		position += len(b)
		if b.LastOffset() < offset {
			continue
		}
		if b.BaseOffset() >= end || len(r.data)+len(b) > bytesMax && !(minOne && len(r.data) == 0) {
			break
		}
		r.data = append(r.data, b...)
		r.next = b.NextOffset()
		r.position = position - len(r.data)
	}
	return r
}

// modelRange is what a read of the model gives.
type modelRange struct {
	data     []byte
	position int
	next     kafka.Offset
}

// checkRead compares one read with the model's. Where the next read begins may lie past the model's by a gap.
func (m *model) checkRead(t testing.TB, s *Segment, offset kafka.Offset, bytesMax int, minOne bool, end kafka.Offset) {
	t.Helper()
	r, err := s.Read(offset, bytesMax, minOne, end)
	what := fmt.Sprintf("read(%d, %d, %v, %d)", offset, bytesMax, minOne, end)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	want := m.read(offset, bytesMax, minOne, end)
	if !bytes.Equal(r.Bytes(), want.data) || r.Length != len(want.data) || int(r.Position) != want.position {
		t.Fatalf("%s: %d bytes at %d, want %d at %d", what, r.Length, r.Position, len(want.data), want.position)
	}
	if r.NextOffset < want.next || r.Length == 0 && r.NextOffset != offset {
		t.Fatalf("%s: next offset %d, want %d", what, r.NextOffset, want.next)
	}
	for _, b := range m.batches {
		if b.BaseOffset() >= want.next && b.BaseOffset() < r.NextOffset {
			t.Fatalf("%s: next offset %d skips the batch at %d", what, r.NextOffset, b.BaseOffset())
		}
	}
	r.Release()
}

// check compares the whole segment with the model.
func (m *model) check(t testing.TB, s *Segment) {
	t.Helper()
	if s.NextOffset() != m.next() || int(s.Bytes()) != len(m.bytes()) {
		t.Fatalf("next offset %d with %d bytes, want %d with %d", s.NextOffset(), s.Bytes(), m.next(), len(m.bytes()))
	}
	m.checkRead(t, s, m.base, 1<<30, true, 1<<60)
	newest, at := kafka.NoTimestamp, m.base
	for _, b := range m.batches {
		if b.MaxTimestamp() > newest {
			newest, at = b.MaxTimestamp(), b.LastOffset()
		}
	}
	if ts, offset := s.MaxTimestamp(); ts != newest || offset != at {
		t.Fatalf("max timestamp %d at %d, want %d at %d", ts, offset, newest, at)
	}
	first := kafka.NoTimestamp
	if len(m.batches) > 0 {
		first = m.batches[0].MaxTimestamp()
	}
	if ts := s.FirstTimestamp(); ts != first {
		t.Fatalf("first timestamp %d, want %d", ts, first)
	}
}

// appendAll appends the batches, several to an append at times, to the segment and the model.
func (m *model) appendAll(t testing.TB, random *rand.Rand, s *Segment, batches []record.Batch) {
	t.Helper()
	for len(batches) > 0 {
		n := min(len(batches), 1+random.IntN(3))
		var data []byte
		for _, b := range batches[:n] {
			data = append(data, b...)
		}
		must(t, s.Append(data))
		m.batches = append(m.batches, batches[:n]...)
		batches = batches[n:]
	}
}

// fileBytes is the content of one of a segment's files.
func fileBytes(t testing.TB, disk vfs.FS, base kafka.Offset, suffix string) []byte {
	t.Helper()
	data, err := vfs.ReadFile(disk, path.Join(testDir, FileName(base, suffix)))
	must(t, err)
	return data
}

// putFile replaces the content of one of a segment's files.
func putFile(t testing.TB, disk vfs.FS, base kafka.Offset, suffix string, data []byte) {
	t.Helper()
	must(t, vfs.ReplaceFile(disk, path.Join(testDir, FileName(base, suffix)), data))
}

// offsetIndex is an offset index as a list of pairs.
func offsetIndex(data []byte) [][2]int32 {
	var list [][2]int32
	for ; len(data) >= 8; data = data[8:] {
		list = append(list, [2]int32{int32(binary.BigEndian.Uint32(data)), int32(binary.BigEndian.Uint32(data[4:]))})
	}
	return list
}

// timeIndex is a time index as a list of pairs.
func timeIndex(data []byte) [][2]int64 {
	var list [][2]int64
	for ; len(data) >= 12; data = data[12:] {
		list = append(list, [2]int64{int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint32(data[8:]))})
	}
	return list
}
