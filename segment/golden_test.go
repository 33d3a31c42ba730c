package segment

import (
	"bytes"
	"os"
	"path"
	"strings"
	"testing"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// Segments that Apache Kafka 4.3.1 wrote and closed, with index.interval.bytes=500: batches in every codec with
// timestamps that go back at times, and aborted transactions, two of which overlap.
var goldenSegments = []struct {
	dir     string
	base    kafka.Offset
	next    kafka.Offset
	batches int
	aborted int
}{
	{dir: "plain", base: 37, next: 178, batches: 64},
	{dir: "transactions", base: 0, next: 29, batches: 29, aborted: 10},
}

const goldenInterval = 500

// goldenDisk is a memory disk that holds the files of a golden segment.
func goldenDisk(t testing.TB, dir string) (*vfs.Mem, map[string][]byte) {
	t.Helper()
	disk, files := memDisk(t), map[string][]byte{}
	list, err := os.ReadDir(path.Join("testdata", "kafka-4.3.1", dir))
	must(t, err)
	for _, e := range list {
		data, err := os.ReadFile(path.Join("testdata", "kafka-4.3.1", dir, e.Name()))
		must(t, err)
		must(t, vfs.ReplaceFile(disk, path.Join(testDir, e.Name()), data))
		files[e.Name()] = data
	}
	return disk, files
}

func goldenOptions() Options {
	return Options{BytesMax: 1 << 20, IndexIntervalBytes: goldenInterval, IndexBytesMax: 1 << 20}
}

// sameFiles compares the files on the disk with Kafka's, byte for byte.
func sameFiles(t *testing.T, disk vfs.FS, files map[string][]byte, except string) {
	t.Helper()
	for name, want := range files {
		if except != "" && strings.HasSuffix(name, except) {
			continue
		}
		got, err := vfs.ReadFile(disk, path.Join(testDir, name))
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes differ from Kafka's %d", name, len(got), len(want))
		}
	}
}

// TestOpenReadsWhatKafkaClosed opens Kafka's files, reads everything and leaves the files alone.
func TestOpenReadsWhatKafkaClosed(t *testing.T) {
	for _, g := range goldenSegments {
		t.Run(g.dir, func(t *testing.T) {
			disk, files := goldenDisk(t, g.dir)
			s := reopen(t, disk, g.base, goldenOptions())
			if s.body.Load().live() {
				t.Error("the indexes were rebuilt")
			}
			m := &model{base: g.base}
			must(t, s.Each(g.base, func(b record.Batch) error {
				m.batches = append(m.batches, record.Batch(bytes.Clone(b)))
				return nil
			}))
			m.check(t, s)
			if s.NextOffset() != g.next || len(m.batches) != g.batches {
				t.Errorf("next offset %d after %d batches", s.NextOffset(), len(m.batches))
			}
			aborted, all, err := s.Aborted(nil, g.base, g.next+1)
			must(t, err)
			if len(aborted) != g.aborted || all {
				t.Errorf("%d aborted transactions, all: %v", len(aborted), all)
			}
			must(t, s.Close())
			sameFiles(t, disk, files, "")
		})
	}
}

// TestIndexesAreKafkas makes the indexes of Kafka's log in each of the ways there are, and compares the bytes.
func TestIndexesAreKafkas(t *testing.T) {
	for _, g := range goldenSegments {
		t.Run(g.dir+", by appending", func(t *testing.T) {
			kafkas, files := goldenDisk(t, g.dir)
			disk := memDisk(t)
			s := create(t, disk, g.base, goldenOptions())
			log := fileBytes(t, kafkas, g.base, LogSuffix)
			_, err := ScanValid(log, g.base, func(_ kafka.Position, b record.Batch) error { return s.Append(b) })
			must(t, err)
			must(t, s.Close())
			sameFiles(t, disk, files, index.TransactionKind.Suffix)
		})
		t.Run(g.dir+", by recovery", func(t *testing.T) {
			disk, files := goldenDisk(t, g.dir)
			s, r, err := Recover(disk, testDir, g.base, goldenOptions(), g.next, nil)
			must(t, err)
			want := Recovery{
				ValidBytes: kafka.Position(len(files[FileName(g.base, LogSuffix)])),
				NextOffset: g.next, Batches: g.batches,
			}
			if r != want {
				t.Errorf("recovered %+v, want %+v", r, want)
			}
			must(t, s.Close())
			sameFiles(t, disk, files, index.TransactionKind.Suffix)
		})
		t.Run(g.dir+", by rebuilding", func(t *testing.T) {
			disk, files := goldenDisk(t, g.dir)
			must(t, disk.Remove(path.Join(testDir, FileName(g.base, index.OffsetKind.Suffix))))
			must(t, reopen(t, disk, g.base, goldenOptions()).Close())
			sameFiles(t, disk, files, "")
		})
		t.Run(g.dir+", in two halves", func(t *testing.T) {
			disk, files := goldenDisk(t, g.dir)
			s := reopen(t, disk, g.base, goldenOptions())
			var cut []byte
			must(t, s.Each(g.next-9, func(b record.Batch) error {
				cut = append(cut, b...)
				return nil
			}))
			must(t, s.TruncateTo(g.next-9))
			must(t, s.Append(cut))
			must(t, s.Close())
			sameFiles(t, disk, files, index.TransactionKind.Suffix)
		})
	}
}
