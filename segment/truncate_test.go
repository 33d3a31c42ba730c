package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"spate/index"
	"spate/kafka"
	"spate/kafka/record"
)

// TestTruncateAgreesWithModel truncates a segment in every state, with and without readers, at drawn offsets. What is
// left, its indexes included, is what a segment would hold that never saw the rest.
func TestTruncateAgreesWithModel(t *testing.T) {
	for seed := range uint64(80) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			disk := memDisk(t)
			base := kafka.Offset(random.IntN(50))
			o := Options{BytesMax: 128 << 10, IndexIntervalBytes: random.IntN(900), IndexBytesMax: 1 << 20}
			s := create(t, disk, base, o)
			m := &model{base: base}
			for range 4 {
				m.appendAll(t, random, s, drawBatches(t, random, m.next(), 5+random.IntN(30)))
				s = nextState(t, random, disk, s, o)
				reader := Range{}
				if random.IntN(2) == 0 {
					r, err := s.Read(base, 1<<20, true, m.next())
					must(t, err)
					reader = r
				}
				held := bytes.Clone(reader.Bytes())
				offset := base + kafka.Offset(random.IntN(int(m.next()-base)+5)-2)
				must(t, s.TruncateTo(offset))
				m.truncate(offset)
				m.check(t, s)
				readSome(t, random, s, m)
				if !bytes.Equal(held, reader.Bytes()) {
					t.Fatal("a range changed under its reader")
				}
				reader.Release()
			}
			must(t, s.Close())
			m.checkFiles(t, s)
		})
	}
}

func (m *model) truncate(offset kafka.Offset) {
	n := 0
	for n < len(m.batches) && m.batches[n].LastOffset() < offset {
		n++
	}
	m.batches = m.batches[:n]
}

// checkFiles compares the files of a closed segment with those of one that got the model's batches and nothing else.
func (m *model) checkFiles(t *testing.T, s *Segment) {
	t.Helper()
	fresh := memDisk(t)
	other := create(t, fresh, m.base, s.options)
	for _, b := range m.batches {
		must(t, other.Append(b))
	}
	must(t, other.Close())
	for _, suffix := range []string{LogSuffix, index.OffsetKind.Suffix, index.TimeKind.Suffix} {
		got, want := fileBytes(t, s.disk, m.base, suffix), fileBytes(t, fresh, m.base, suffix)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes differ from %d", suffix, len(got), len(want))
		}
	}
}

// TestTruncateUnderReader keeps the old file for those who read it and leaves no other behind.
func TestTruncateUnderReader(t *testing.T) {
	disk := memDisk(t)
	s := create(t, disk, 0, testOptions())
	stamped(t, s, 500, 1, 2, 3, 4)
	r, err := s.Read(0, 1<<20, true, 4)
	must(t, err)
	whole := bytes.Clone(r.Bytes())
	must(t, s.TruncateTo(2))
	for _, value := range []kafka.Timestamp{13, 14, 15} {
		must(t, s.Append(batchOf(t, s.NextOffset(), 400, value)))
	}
	must(t, s.Flush())
	if !bytes.Equal(r.Bytes(), whole) {
		t.Error("the range changed")
	}
	if err := r.Each(func(b record.Batch) error { return b.CheckCRC() }); err != nil {
		t.Error(err)
	}
	r.Release()
	r.Release() // of an empty range: nothing
	list, err := disk.ReadDir(testDir)
	must(t, err)
	for _, e := range list {
		if strings.Contains(e.Name(), CleanedSuffix) {
			t.Errorf("%s stayed behind", e.Name())
		}
	}
	must(t, s.Close())
	if ts, _ := reopen(t, disk, 0, testOptions()).MaxTimestamp(); ts != 15 {
		t.Errorf("max timestamp %d", ts)
	}
}

// TestTruncateAborted drops aborted transactions whose marker is cut, also after the index was sealed.
func TestTruncateAborted(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		t.Run(fmt.Sprintf("sealed %v", sealed), func(t *testing.T) {
			disk := memDisk(t)
			s := create(t, disk, 0, testOptions())
			stamped(t, s, 10, 1, 2, 3, 4, 5, 6, 7, 8)
			first := index.Transaction{ProducerID: 1, FirstOffset: 0, LastOffset: 3, LastStableOffset: 4}
			second := index.Transaction{ProducerID: 2, FirstOffset: 4, LastOffset: 6, LastStableOffset: 7}
			must(t, s.AppendAborted(first))
			must(t, s.AppendAborted(second))
			if sealed {
				must(t, s.Seal())
			}
			must(t, s.TruncateTo(6))
			third := index.Transaction{ProducerID: 3, FirstOffset: 5, LastOffset: 7, LastStableOffset: 8}
			stamped(t, s, 10, 9, 10)
			must(t, s.AppendAborted(third))
			want := []index.Transaction{first, third}
			checkAborted(t, s, want)
			must(t, s.Close())
			s = reopen(t, disk, 0, testOptions())
			checkAborted(t, s, want)
			must(t, s.TruncateTo(0))
			checkAborted(t, s, nil)
			must(t, s.Close())
			_, err := disk.Stat(path.Join(testDir, FileName(0, index.TransactionKind.Suffix)))
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an empty transaction index has a file: %v", err)
			}
		})
	}
}

// TestAbortedAfterSealing adds to a sealed index of aborted transactions, also to one with something unreadable behind.
func TestAbortedAfterSealing(t *testing.T) {
	first := index.Transaction{ProducerID: 1, FirstOffset: 0, LastOffset: 1, LastStableOffset: 2}
	second := index.Transaction{ProducerID: 2, FirstOffset: 1, LastOffset: 2, LastStableOffset: 3}
	for name, behind := range map[string]int{"whole": 0, "with zeros behind": 100} {
		t.Run(name, func(t *testing.T) {
			disk := memDisk(t)
			s := create(t, disk, 0, testOptions())
			stamped(t, s, 10, 1, 2, 3)
			must(t, s.AppendAborted(first))
			must(t, s.Close())
			suffix := index.TransactionKind.Suffix
			putFile(t, disk, 0, suffix, append(fileBytes(t, disk, 0, suffix), make([]byte, behind)...))
			s = reopen(t, disk, 0, testOptions())
			must(t, s.AppendAborted(second))
			checkAborted(t, s, []index.Transaction{first, second})
			must(t, s.Flush())
			if got := len(fileBytes(t, disk, 0, suffix)); got != 2*index.TransactionEntryBytes {
				t.Errorf("after a flush the file holds %d bytes", got)
			}
			must(t, s.Close())
			checkAborted(t, reopen(t, disk, 0, testOptions()), []index.Transaction{first, second})
		})
	}
}

func checkAborted(t *testing.T, s *Segment, want []index.Transaction) {
	t.Helper()
	got, _, err := s.Aborted(nil, 0, 1000)
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("aborted %v, want %v", got, want)
	}
}
