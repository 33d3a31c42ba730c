package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// Three batches of a log that begins at offset 10, with the offsets [10, 11], [12] and [15]: 13 and 14 were compacted.
func threeBatches(t testing.TB) [3]record.Batch {
	t.Helper()
	return [3]record.Batch{batchOf(t, 10, 20, 100, 101), batchOf(t, 12, 30, 102), batchOf(t, 15, 5, 90)}
}

// TestScanValid cuts and damages a log in every way that matters.
func TestScanValid(t *testing.T) {
	three := threeBatches(t)
	log := slices.Concat(three[0], three[1], three[2])
	one, two := len(three[0]), len(three[0])+len(three[1])
	changed := func(at int, value byte) record.Batch {
		c := bytes.Clone(log)
		c[at] = value
		return c
	}
	withOffset := func(o kafka.Offset) record.Batch {
		c := bytes.Clone(log)
		record.Batch(c[one:two]).SetBaseOffset(o)
		return c
	}
	negative := bytes.Clone(log)
	binary.BigEndian.PutUint32(negative[one+23:], ^uint32(0))
	record.Batch(negative[one:two]).UpdateCRC()

	whole := Scan{Bytes: kafka.Position(len(log)), NextOffset: 16, Batches: 3}
	first := Scan{Bytes: kafka.Position(one), NextOffset: 12, Batches: 1}
	second := Scan{Bytes: kafka.Position(two), NextOffset: 13, Batches: 2}
	farthest := Scan{Bytes: kafka.Position(two), NextOffset: 10 + 1<<31, Batches: 2}
	last := Scan{Bytes: kafka.Position(len(log) - one), NextOffset: 16, Batches: 2}

	cases := []struct {
		name   string
		data   []byte
		want   Scan
		reason string // a part of it
	}{
		{"an empty file is valid", nil, Scan{NextOffset: 10}, ""},
		{"whole batches with a gap between offsets are valid", log, whole, ""},
		{"a first offset past the base offset is valid", log[one:], last, ""},
		{"the largest offset is valid", withOffset(10 + 1<<31 - 1)[:two], farthest, ""},
		{"a header cut short is cut off", log[:two+11], second, "less than the 12"},
		{"a batch cut short is cut off", log[:len(log)-1], second, "bytes are here"},
		{"zeros behind the data are cut off", slices.Concat(log, make([]byte, 700)), whole, "length 0"},
		{"a changed value takes what follows along", changed(two-1, 0xee), first, "crc"},
		{"another magic is cut off", changed(one+16, 1), first, "magic"},
		{"an offset that goes back is cut off", withOffset(11), first, "lowest that may follow"},
		{"an offset too far from the base offset is cut off", withOffset(10 + 1<<31), first, "too far"},
		{"an offset at the end of the numbers is cut off", withOffset(1<<63 - 1), first, "too far"},
		{"a negative last offset delta is cut off", negative, first, "delta is -1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ScanValid(c.data, 10, nil)
			must(t, err)
			reason := got.Reason
			got.Reason = ""
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if c.reason == "" && reason != "" || !strings.Contains(reason, c.reason) {
				t.Errorf("the reason is %q, want %q", reason, c.reason)
			}
		})
	}
	if scan, _ := ScanValid(log, 11, nil); scan.Bytes != 0 || !strings.Contains(scan.Reason, "lowest") {
		t.Errorf("a batch before the base offset: %+v", scan)
	}
}

// TestRecoverCuts recovers a torn log: the file is cut, the cut is reported, stale indexes and transactions are gone.
func TestRecoverCuts(t *testing.T) {
	three := threeBatches(t)
	log := slices.Concat(three[0], three[1], three[2])
	disk := memDisk(t)
	putFile(t, disk, 10, LogSuffix, log[:len(log)-3])
	putFile(t, disk, 10, index.OffsetKind.Suffix, bytes.Repeat([]byte{1}, 80))
	putFile(t, disk, 10, index.TimeKind.Suffix, bytes.Repeat([]byte{2}, 77))
	putFile(t, disk, 10, index.TransactionKind.Suffix, bytes.Repeat([]byte{3}, 34))
	o := testOptions()
	o.IndexIntervalBytes = 1
	var visited []kafka.Offset
	s, r, err := Recover(disk, testDir, 10, o, 13, func(b record.Batch) error {
		visited = append(visited, b.BaseOffset())
		return nil
	})
	must(t, err)
	kept := len(three[0]) + len(three[1])
	want := Recovery{
		ValidBytes: kafka.Position(kept), CutBytes: int64(len(log) - 3 - kept), Reason: r.Reason,
		NextOffset: 13, Batches: 2,
	}
	if r != want || !strings.Contains(r.Reason, "bytes are here") {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if len(visited) != 2 || visited[0] != 10 || visited[1] != 12 {
		t.Errorf("visited %v", visited)
	}
	(&model{base: 10, batches: three[:2]}).check(t, s)
	must(t, s.Close())
	if got := fileBytes(t, disk, 10, LogSuffix); !bytes.Equal(got, log[:kept]) {
		t.Errorf("the file holds %d bytes, want %d", len(got), kept)
	}
	offsets := offsetIndex(fileBytes(t, disk, 10, index.OffsetKind.Suffix))
	if len(offsets) != 1 || offsets[0] != [2]int32{2, int32(len(three[0]))} {
		t.Errorf("offset index %v", offsets)
	}
	times := timeIndex(fileBytes(t, disk, 10, index.TimeKind.Suffix))
	if len(times) != 1 || times[0] != [2]int64{102, 2} {
		t.Errorf("time index %v", times)
	}
	_, err = disk.Stat(testDir + "/" + FileName(10, index.TransactionKind.Suffix))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the transaction index is still there: %v", err)
	}
}

// TestRecoverNeverCutsWhatWasDurable refuses a log that lacks records which were flushed, and leaves the file alone.
func TestRecoverNeverCutsWhatWasDurable(t *testing.T) {
	three := threeBatches(t)
	log := slices.Concat(three[0], three[1], three[2])
	damaged := bytes.Clone(log)
	damaged[len(three[0])+70] ^= 1
	cases := []struct {
		name      string
		data      []byte
		durableTo kafka.Offset
		position  int
		reason    string
	}{
		{"a damaged batch below the flushed offset", damaged, 13, len(three[0]), "crc"},
		{"a damaged batch far below the flushed offset", damaged, 16, len(three[0]), "crc"},
		{"a file that ends early", log[:len(three[0])], 13, len(three[0]), "the file ends at offset 12"},
		{"an empty file", nil, 11, 0, "the file ends at offset 10"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			disk := memDisk(t)
			putFile(t, disk, 10, LogSuffix, c.data)
			_, _, err := Recover(disk, testDir, 10, testOptions(), c.durableTo, nil)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("got %v", err)
			}
			if corrupt.Position != kafka.Position(c.position) || corrupt.BaseOffset != 10 ||
				!strings.Contains(corrupt.Reason, c.reason) ||
				!strings.HasSuffix(corrupt.File, FileName(10, LogSuffix)) {
				t.Errorf("got %+v: %v", corrupt, err)
			}
			if !bytes.Equal(fileBytes(t, disk, 10, LogSuffix), c.data) {
				t.Error("the file was changed")
			}
		})
	}
	disk := memDisk(t)
	putFile(t, disk, 10, LogSuffix, damaged)
	s, r, err := Recover(disk, testDir, 10, testOptions(), 12, nil)
	must(t, err)
	if r.NextOffset != 12 || r.Reason == "" {
		t.Errorf("damage at the flushed offset is a torn tail: %+v", r)
	}
	must(t, s.Close())
}

// TestRecoverPassesErrors gives back what the visitor or the disk says.
func TestRecoverPassesErrors(t *testing.T) {
	disk := memDisk(t)
	if _, _, err := Recover(disk, testDir, 10, testOptions(), 10, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	putFile(t, disk, 10, LogSuffix, threeBatches(t)[0])
	stop := errors.New("stop")
	_, _, err := Recover(disk, testDir, 10, testOptions(), 10, func(record.Batch) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("the visitor's error became %v", err)
	}
}

// FuzzScanValid checks what scanning promises: whole batches with rising offsets, each with its checksum, and a prefix
// that scans to the same end.
func FuzzScanValid(f *testing.F) {
	three := threeBatches(f)
	log := []byte(slices.Concat(three[0], three[1], three[2]))
	f.Add(log, int64(10))
	f.Add(log[:len(log)-9], int64(0))
	f.Add(append(bytes.Clone(log), 0, 0, 0), int64(10))
	f.Add(bytes.Repeat([]byte{0xff}, 90), int64(-5))
	f.Fuzz(func(t *testing.T, data []byte, base int64) {
		at, next := kafka.Position(0), kafka.Offset(base)
		scan, err := ScanValid(data, kafka.Offset(base), func(position kafka.Position, b record.Batch) error {
			if position != at || b.BaseOffset() < next || b.LastOffset() < b.BaseOffset() || b.CheckCRC() != nil {
				t.Fatalf("batch at %d of [%d, %d] where offset %d and position %d were next", position, b.BaseOffset(),
					b.LastOffset(), next, at)
			}
			at, next = at+kafka.Position(len(b)), b.NextOffset()
			return nil
		})
		if err != nil || scan.Bytes != at || scan.NextOffset != next {
			t.Fatalf("%+v, %v: visited up to %d at %d", scan, err, next, at)
		}
		if (scan.Reason == "") != (int(scan.Bytes) == len(data)) {
			t.Fatalf("%d of %d bytes are valid, the reason is %q", scan.Bytes, len(data), scan.Reason)
		}
		again, _ := ScanValid(data[:scan.Bytes], kafka.Offset(base), nil)
		if scan.Reason = ""; again != scan {
			t.Fatalf("the prefix scans to %+v, not to %+v", again, scan)
		}
	})
}

// FuzzOpen opens a segment with any bytes for a log and indexes. It opens or says why not; an opened one can be walked
// from any offset without a panic, and reads agree with a walk over all of its batches.
func FuzzOpen(f *testing.F) {
	disk, files := goldenDisk(f, "plain")
	_ = disk
	log, offsets := files[FileName(37, LogSuffix)], files[FileName(37, index.OffsetKind.Suffix)]
	times := files[FileName(37, index.TimeKind.Suffix)]
	f.Add(log, offsets, times, uint16(50))
	f.Add(log, offsets[:40], times, uint16(90))
	f.Add(log, append(offsets[8:16:16], offsets[88:]...), times[144:], uint16(90))
	f.Add(log[:5000], offsets, times[:12], uint16(0))
	f.Add([]byte{}, []byte{}, []byte{}, uint16(3))
	f.Fuzz(func(t *testing.T, log, offsets, times []byte, at uint16) {
		disk := memDisk(t)
		putFile(t, disk, 37, LogSuffix, log)
		putFile(t, disk, 37, index.OffsetKind.Suffix, offsets)
		putFile(t, disk, 37, index.TimeKind.Suffix, times)
		o := goldenOptions()
		o.BytesMax = 1 << 16
		s, err := Open(disk, testDir, 37, o)
		if err != nil {
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatal(err)
			}
			return
		}
		m := &model{base: 37}
		rest := log
		for len(rest) > 0 {
			b, after, err := record.Next(rest)
			if err != nil {
				break
			}
			m.batches, rest = append(m.batches, b), after
		}
		random := rand.New(rand.NewPCG(uint64(at), 1))
		for range 10 {
			offset := kafka.Offset(37 + random.IntN(200) - 5)
			end := offset + kafka.Offset(random.IntN(100))
			r, err := s.Read(offset, int(at), true, end)
			if err != nil {
				continue // a damaged middle
			}
			want := m.read(offset, int(at), true, end).data
			if len(rest) == 0 && risingOffsets(m.batches) && !bytes.Equal(r.Bytes(), want) {
				t.Fatalf("read(%d, %d, %d): %d bytes at %d, want %d",
					offset, at, end, r.Length, r.Position, len(want))
			}
			r.Release()
		}
		_, _, _ = s.OffsetForTimestamp(kafka.Timestamp(1700000000000+int64(at)), 37)
		_ = s.TruncateTo(kafka.Offset(at))
		_ = s.Close()
	})
}

func risingOffsets(batches []record.Batch) bool {
	next := kafka.Offset(37)
	for _, b := range batches {
		if misplaced(b, 37, next) != "" {
			return false
		}
		next = b.NextOffset()
	}
	return true
}

// TestMappedFault cuts the file under a mapping, which is what a failing disk looks like to a reader: an error, and no
// crash of the process.
func TestMappedFault(t *testing.T) {
	dir := t.TempDir()
	o := testOptions()
	s, err := Create(vfs.OS{}, dir, 0, o)
	must(t, err)
	stamped(t, s, 3000, 1, 2, 3, 4, 5, 6, 7, 8)
	r, err := s.Read(0, 1<<20, true, 8)
	must(t, err)
	must(t, os.Truncate(dir+"/"+FileName(0, LogSuffix), 0))
	var fault *vfs.FaultError
	if err := r.Each(func(b record.Batch) error { return b.CheckCRC() }); !errors.As(err, &fault) {
		t.Errorf("walking a range: %v", err)
	}
	r.Release()
	if _, err := s.Read(6, 100, true, 8); !errors.As(err, &fault) {
		t.Errorf("reading: %v", err)
	}
	if _, _, err := s.OffsetForTimestamp(5, 0); !errors.As(err, &fault) {
		t.Errorf("looking for a timestamp: %v", err)
	}
	s.Resident(6, 100, 8)
	if err := s.TruncateTo(6); !errors.As(err, &fault) {
		t.Errorf("truncating: %v", err)
	}
}
