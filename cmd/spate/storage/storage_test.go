package storage

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"spate/kafka/record"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// kafkaDir is a data directory that Kafka 4.3.1 wrote and shut down cleanly: a topic of two segments with batches of
// each codec, transactions committed and aborted, the coordinator's topic, and the metadata log.
const kafkaDir = "testdata/kafka-4.3.1"

// copyDir copies kafkaDir, so that a test may damage it.
func copyDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(kafkaDir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestKafkasDirectoryIsWhole verifies what Kafka wrote, by every kind of path.
func TestKafkasDirectoryIsWhole(t *testing.T) {
	for path, want := range map[string]Report{
		"":                                       {Partitions: 3, Segments: 4, Batches: 80, Records: 321, Bytes: 18463},
		"golden-0":                               {Partitions: 1, Segments: 2, Batches: 33, Records: 254, Bytes: 12569},
		"golden-0/00000000000000000130.log":      {Segments: 1, Batches: 20, Records: 124, Bytes: 4518},
		"golden-0/00000000000000000000.index":    {Segments: 1, Batches: 13, Records: 130, Bytes: 8051},
		"golden-0/00000000000000000130.txnindex": {Segments: 1, Batches: 20, Records: 124, Bytes: 4518},
		"golden-0/00000000000000000258.snapshot": {},
		"golden-0/leader-epoch-checkpoint":       {},
		"bootstrap.checkpoint":                   {},
		"replication-offset-checkpoint":          {},
	} {
		got, err := Verify([]string{filepath.Join(kafkaDir, path)})
		if err != nil || len(got.Damages) > 0 {
			t.Errorf("%s: %v, %v", path, got.Damages, err)
			continue
		}
		for _, n := range got.Notes { // Kafka has metadata records that this program does not
			if !strings.Contains(n.Text, "which is not known here") {
				t.Errorf("%s: %v", path, n)
			}
		}
		got.Damages, got.Notes = nil, nil
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v, want %+v", path, *got, want)
		}
	}
}

// TestPathsWithoutADirectory: the same from inside, where the names of the directories are not in the path.
func TestPathsWithoutADirectory(t *testing.T) {
	dir := copyDir(t)
	for _, c := range []struct{ in, path string }{
		{"", "."}, {"golden-0", "."}, {"golden-0", ".."}, {"", "golden-0"}, {"golden-0", "00000000000000000000.log"},
		{"__cluster_metadata-0", "00000000000000000000.log"},
	} {
		t.Chdir(filepath.Join(dir, c.in))
		report, err := Verify([]string{c.path})
		if err != nil || len(report.Damages) > 0 || report.Records == 0 {
			t.Errorf("%s in %q: %+v, %v", c.path, c.in, report, err)
		}
	}
}

// dumpText is everything that Dump shows of a directory.
func dumpText(t *testing.T, dir string) string {
	t.Helper()
	files, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		fmt.Fprintf(&text, "# %s (%s)\n", strings.TrimPrefix(file, dir+"/"), Classify(file))
		err := Dump(file, DumpOptions{Records: true}, func(e Entry) error {
			_, err := fmt.Fprintln(&text, e.Text())
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	return text.String()
}

// TestDumpOfKafkasDirectory compares what Dump shows with testdata/dump.txt, which was checked against Kafka's
// DumpLogSegments by eye.
func TestDumpOfKafkasDirectory(t *testing.T) {
	got := dumpText(t, kafkaDir)
	if *rewrite {
		if err := os.WriteFile("testdata/dump.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/dump.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the dump is not testdata/dump.txt; go test -rewrite, and look at the difference")
	}
}

// TestDumpAsJSON checks that each entry is one JSON object.
func TestDumpAsJSON(t *testing.T) {
	files, err := Files(kafkaDir)
	if err != nil {
		t.Fatal(err)
	}
	entries := 0
	for _, file := range files {
		err := Dump(file, DumpOptions{Records: true}, func(e Entry) error {
			entries++
			line, err := json.Marshal(e)
			var object map[string]any
			if err == nil {
				err = json.Unmarshal(line, &object)
			}
			if err == nil && len(object) == 0 {
				t.Errorf("%s: an empty object", file)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if entries < 400 {
		t.Errorf("%d entries", entries)
	}
}

// TestClassify tells files by their names.
func TestClassify(t *testing.T) {
	for name, want := range map[string]Kind{
		"00000000000000000000.log":                   Log,
		"a/00000000000000000130.index":               OffsetIndex,
		"00000000000000000130.timeindex":             TimeIndex,
		"00000000000000000130.txnindex":              TransactionIndex,
		"00000000000000000130.snapshot":              ProducerSnapshot,
		"00000000000000000130-0000000002.checkpoint": MetadataSnapshot,
		"bootstrap.checkpoint":                       MetadataSnapshot,
		"leader-epoch-checkpoint":                    EpochCheckpoint,
		"recovery-point-offset-checkpoint":           OffsetCheckpoint,
		"partition.metadata":                         PartitionMetadata,
		"meta.properties":                            MetaProperties,
		"quorum-state":                               QuorumState,
		".kafka_cleanshutdown":                       CleanShutdown,
		".lock":                                      Lock,
		"00000000000000000130.log.deleted":           Leftover,
		"leader-epoch-checkpoint.tmp":                Leftover,
		"130.log":                                    Unknown,
		"-0000000000000000130.log":                   Unknown,
		"0000000000000000000x.log":                   Unknown,
		"x.checkpoint":                               Unknown,
		"":                                           Unknown,
	} {
		if got := Classify(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// TestPathsThatAreNothing: an error, and no report of damage.
func TestPathsThatAreNothing(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "nothing"), dir, "storage_test.go"} {
		if report, err := Verify([]string{path}); err == nil || len(report.Damages) > 0 {
			t.Errorf("%s: %v, %v", path, report.Damages, err)
		}
	}
	if err := Dump("storage_test.go", DumpOptions{}, nil); err == nil {
		t.Error("dump of a Go file: no error")
	}
}

// TestEmitErrorsEndTheDump: an output that is closed ends the work.
func TestEmitErrorsEndTheDump(t *testing.T) {
	files, err := Files(kafkaDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		calls := 0
		err := Dump(file, DumpOptions{Records: true}, func(Entry) error {
			calls++
			return io.ErrClosedPipe
		})
		if calls > 1 || calls == 1 && err == nil {
			t.Errorf("%s: %d calls, %v", file, calls, err)
		}
	}
}

// TestEntryText checks how odd values stand in a line.
func TestEntryText(t *testing.T) {
	name := "x"
	e := entry(1, "a", []byte("x\x00 y"), "b", []byte(nil), "c", "two words", "d", "", "e", &name, "f",
		(*string)(nil), "g", 7)
	if got, want := e.Text(), `  a="x\x00 y" b=null c="two words" d="" e=x f=null g=7`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	line, err := json.Marshal(entry(0, "a", []byte("\xff"), "b", []byte(nil), "c", []byte("x")))
	if want := `{"a":{"base64":"/w=="},"b":null,"c":"x"}`; err != nil || string(line) != want {
		t.Errorf("got %s, %v, want %s", line, err, want)
	}
}

// asBatch views bytes as a batch.
func asBatch(b []byte) record.Batch { return record.Batch(b) }
