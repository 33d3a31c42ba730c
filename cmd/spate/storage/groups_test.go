package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spate/kafka/record"
)

// groupSegment is a segment of __consumer_offsets that Apache Kafka 4.3.1 wrote.
const groupSegment = "../../../coordinator/group/record/testdata/kafka-4.3.1/00000000000000000000.log"

// groupDir makes a data directory with one partition of __consumer_offsets.
func groupDir(t *testing.T, log []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "__consumer_offsets-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	properties, err := os.ReadFile(filepath.Join(kafkaDir, "meta.properties"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"meta.properties": properties, cleanMark: nil, "__consumer_offsets-0/00000000000000000000.log": log,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDumpOfGroups compares what Dump shows of Kafka's segment with testdata/dump_groups.txt, which was checked against
// Kafka's DumpLogSegments --offsets-decoder by eye. Package record compares the values themselves.
func TestDumpOfGroups(t *testing.T) {
	log, err := os.ReadFile(groupSegment)
	if err != nil {
		t.Fatal(err)
	}
	dir := groupDir(t, log)
	got := dumpText(t, filepath.Join(dir, "__consumer_offsets-0"))
	if *rewrite {
		if err := os.WriteFile("testdata/dump_groups.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/dump_groups.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the dump is not testdata/dump_groups.txt; go test -rewrite, and look at the difference")
	}
	entries := 0
	err = Dump(filepath.Join(dir, "__consumer_offsets-0", "00000000000000000000.log"), DumpOptions{Records: true},
		func(e Entry) error {
			line, err := json.Marshal(e)
			var object map[string]any
			if err == nil {
				err = json.Unmarshal(line, &object)
			}
			if assigned, ok := object["Assigned"].([]any); ok && len(assigned) > 0 {
				if _, ok := assigned[0].(map[string]any)["Partitions"].([]any); !ok {
					t.Errorf("%s: the assignment is not a list in the object", line)
				}
			}
			entries++
			return err
		})
	if err != nil || entries < 100 {
		t.Errorf("%d entries, %v", entries, err)
	}
	report, err := Verify([]string{dir})
	if err != nil || len(report.Damages) > 0 || report.Records != 96 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestRecordsOfGroupsThatAreWrong writes records that are not known, which are noted, and some that do not decode,
// which are damage.
func TestRecordsOfGroupsThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		name, key, value string
		damage, note     string
	}{
		{"a record of a later release", "\x00\x63\x00\x01g", "\x00\x00", "", "of type 99, which is not known here"},
		{"an offset that is cut short", "\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00", "\x00\x04\x00",
			"offset 0: value of type 1", ""},
		{"a key of one byte", "\x00", "", "offset 0: key of 1 bytes", ""},
	} {
		w := record.NewBuilder(record.BuilderOptions{})
		w.Append(1, []byte(c.key), []byte(c.value))
		batch, err := w.Build()
		if err != nil {
			t.Fatal(err)
		}
		dir := groupDir(t, bytes.Clone(batch))
		report, err := Verify([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		if found := fmt.Sprint(report.Damages); (c.damage == "") != (len(report.Damages) == 0) ||
			!strings.Contains(found, c.damage) {
			t.Errorf("%s: damages %s", c.name, found)
		}
		if found := fmt.Sprint(report.Notes); !strings.Contains(found, c.note) {
			t.Errorf("%s: notes %s", c.name, found)
		}
		if text := dumpText(t, dir); !strings.Contains(text, "record=") {
			t.Errorf("%s: %s", c.name, text)
		}
	}
}
