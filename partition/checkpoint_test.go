package partition

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
)

// TestCheckpointGolden reads Kafka's three files; what is written back has the same lines (Kafka's order is that of a
// hash map, ours is sorted).
func TestCheckpointGolden(t *testing.T) {
	for name, want := range map[string]offsetCheckpoint{
		recoveryPointFile: {{Topic: "golden", Partition: 0}: 1560, {Topic: "golden", Partition: 1}: 1491},
		logStartFile:      {{Topic: "golden", Partition: 0}: 5},
		highWatermarkFile: {{Topic: "golden", Partition: 0}: 1560, {Topic: "probe", Partition: 0}: 22},
	} {
		text, err := os.ReadFile("testdata/kafka-4.3.1/" + name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseOffsetCheckpoint(text)
		if err != nil {
			t.Fatal(err)
		}
		for tp, offset := range want {
			if c[tp] != offset {
				t.Errorf("%s: %s is at %d, want %d", name, tp, c[tp], offset)
			}
		}
		lines := func(text string) []string { return slices.Sorted(slices.Values(strings.Split(text, "\n"))) }
		if diff := cmp.Diff(lines(string(text)), lines(string(c.appendTo(nil)))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestCheckpointEmpty(t *testing.T) {
	for _, text := range []string{"", "0\n0\n"} {
		c, err := parseOffsetCheckpoint([]byte(text))
		if err != nil || len(c) != 0 {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}

func TestCheckpointRefused(t *testing.T) {
	for name, text := range map[string]string{
		"another version":       "1\n0\n",
		"no version":            "topic 0 1\n",
		"two fields":            "0\n1\ntopic 0\n",
		"four fields":           "0\n1\ntopic 0 1 2\n",
		"no topic":              "0\n1\n 0 1\n",
		"a negative partition":  "0\n1\ntopic -1 1\n",
		"a word for an offset":  "0\n1\ntopic 0 x\n",
		"a partition twice":     "0\n2\ntopic 0 1\ntopic 0 2\n",
		"fewer than announced":  "0\n3\ntopic 0 1\n",
		"more than announced":   "0\n1\ntopic 0 1\ntopic 1 2\n",
		"an offset too large":   "0\n1\ntopic 0 9223372036854775808\n",
		"an impossible count":   "0\n99999999999\n",
		"a count that is blank": "0\n\n",
	} {
		if c, err := parseOffsetCheckpoint([]byte(text)); err == nil {
			t.Errorf("%s: read as %v", name, c)
		}
	}
}

// FuzzCheckpoint: what is accepted comes back the same.
func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("0\n2\ntopic 0 0\nother-topic 5 17\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseOffsetCheckpoint(text)
		if err != nil {
			return
		}
		again, err := parseOffsetCheckpoint(c.appendTo(nil))
		if err != nil || !cmp.Equal(c, again) {
			t.Fatalf("%v came back as %v, %v", c, again, err)
		}
	})
}

func TestFolderNames(t *testing.T) {
	for name, want := range map[string]kafka.TopicPartition{
		"topic-0":              {Topic: "topic", Partition: 0},
		"a-b-c-12":             {Topic: "a-b-c", Partition: 12},
		"__cluster_metadata-0": {Topic: "__cluster_metadata", Partition: 0},
		"x.y-delete-3":         {Topic: "x.y-delete", Partition: 3},
	} {
		if tp, ok := parseFolder(name); !ok || tp != want || tp.String() != name {
			t.Errorf("%s is read as %v, %v", name, tp, ok)
		}
	}
	for _, name := range []string{
		"topic", "-0", "topic-", "topic-x", "topic-+1", "topic--1x", "topic-99999999999", "lost+found",
	} {
		if tp, ok := parseFolder(name); ok {
			t.Errorf("%s is read as %v", name, tp)
		}
	}
	long := kafka.TopicPartition{Topic: strings.Repeat("t", 249), Partition: 7}
	name, err := outgoingName(&counter{}, long, deleteSuffix)
	if err != nil || len(name) > nameBytesMax || !outgoing(name, deleteSuffix) || outgoing(name, straySuffix) {
		t.Errorf("%s, %v", name, err)
	}
	if _, ok := parseFolder(name); ok {
		t.Errorf("%s looks like a partition", name)
	}
	short, err := outgoingName(&counter{}, kafka.TopicPartition{Topic: "t", Partition: 1}, straySuffix)
	if err != nil || short != "t-1.000102030405060708090a0b0c0d0e0f-stray" {
		t.Errorf("%s, %v", short, err)
	}
}
