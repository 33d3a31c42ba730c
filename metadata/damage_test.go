package metadata

import (
	"errors"
	"os"
	"path"
	"strings"
	"testing"

	"spate/internal/vfs"
	"spate/kafka/record"
	"spate/segment"
)

// Goal: a torn tail is cut, damage before it is an error that says what is missing, and nothing is repaired by
// guessing. Method: a closed log is changed by hand, one way at a time.

const firstLog = testFolder + "/00000000000000000000.log"

// closedLog is the disk of a node with one topic that was closed.
func closedLog(t *testing.T, o Options) *vfs.Mem {
	t.Helper()
	disk := newDisk(t)
	n := polled(t, disk, o)
	must(t, n, register(1))
	must(t, n, create("kept"))
	must(t, n, create("kept-too"))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

func change(t *testing.T, disk vfs.FS, name string, f func([]byte) []byte) {
	t.Helper()
	data, err := vfs.ReadFile(disk, name)
	if err == nil {
		err = vfs.ReplaceFile(disk, name, f(data))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestATornTailIsCut(t *testing.T) {
	for name, tail := range map[string][]byte{
		"zeros":           make([]byte, 100),
		"a batch's start": {0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0},
		"noise":           []byte(strings.Repeat("noise", 99)),
	} {
		disk := closedLog(t, testOptions())
		change(t, disk, firstLog, func(data []byte) []byte { return append(data, tail...) })
		n := polled(t, disk, testOptions())
		must(t, n, create("after"))
		if n.Image().Topic("kept-too") == nil || n.Image().TopicCount() != 3 {
			t.Errorf("%s: topics %v", name, topicNames(n.Image()))
		}
		n.Close()
	}
}

func TestDamageIsRefused(t *testing.T) {
	rolled := testOptions()
	rolled.SegmentBytes = 1 // a segment for every append
	for name, c := range map[string]struct {
		options Options
		damage  func(t *testing.T, disk *vfs.Mem)
		want    string
	}{
		"a flipped bit below the high watermark": {testOptions(), func(t *testing.T, disk *vfs.Mem) {
			change(t, disk, firstLog, func(data []byte) []byte { data[len(data)-1] ^= 1; return data })
		}, "was durable"},
		"a log that is shorter than what was durable": {testOptions(), func(t *testing.T, disk *vfs.Mem) {
			change(t, disk, firstLog, func(data []byte) []byte { return data[:100] })
		}, "was durable"},
		"a log that is gone": {testOptions(), func(t *testing.T, disk *vfs.Mem) {
			drop(t, disk, firstLog)
		}, "there is no segment, but the log was durable from offset 0"},
		"a vote that is gone": {testOptions(), func(t *testing.T, disk *vfs.Mem) {
			drop(t, disk, path.Join(testFolder, quorumStateFile))
		}, "quorum-state has epoch 0, but the log has 1"},
		"a vote that is damaged": {testOptions(), func(t *testing.T, disk *vfs.Mem) {
			change(t, disk, path.Join(testFolder, quorumStateFile), func([]byte) []byte { return []byte("{}") })
		}, "data/__cluster_metadata-0/quorum-state: data_version 0"},
		"a first segment that is gone": {rolled, func(t *testing.T, disk *vfs.Mem) {
			drop(t, disk, firstLog)
		}, "the log begins at offset 1, but the snapshot ends at 0"},
		"a middle segment that is gone": {rolled, func(t *testing.T, disk *vfs.Mem) {
			drop(t, disk, testFolder+"/00000000000000000001.log")
		}, "but everything below offset 2 was durable"},
		"a middle segment that is damaged": {rolled, func(t *testing.T, disk *vfs.Mem) {
			change(t, disk, testFolder+"/00000000000000000001.log",
				func(data []byte) []byte { return data[:len(data)-1] })
		}, "but everything below offset 2 was durable"},
		"a record of a later program": {testOptions(), func(t *testing.T, disk *vfs.Mem) {
			change(t, disk, firstLog, appendUnknown)
		}, "REGISTER_CONTROLLER_RECORD (type 27) of version 0"},
	} {
		disk := closedLog(t, c.options)
		c.damage(t, disk)
		n, err := OpenPolled(testEnv(disk), c.options)
		if err == nil {
			n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	disk := closedLog(t, testOptions())
	change(t, disk, firstLog, func(data []byte) []byte { data[70] ^= 1; return data })
	var corrupt *segment.CorruptError
	if _, err := OpenPolled(testEnv(disk), testOptions()); !errors.As(err, &corrupt) {
		t.Errorf("damage is %v", err)
	}
}

// appendUnknown adds a batch with two records of a type that is not served.
func appendUnknown(log []byte) []byte {
	w := record.NewBuilder(record.BuilderOptions{LeaderEpoch: 1})
	w.Append(5, nil, []byte{1, 27, 0, 1, 2, 3})
	w.Append(5, nil, []byte{1, 27, 0, 1, 2, 3})
	b := record.Batch(build(w))
	for rest := log; len(rest) > 0; {
		var last record.Batch
		last, rest, _ = record.Next(rest)
		b.SetBaseOffset(last.NextOffset())
	}
	return append(log, b...)
}

func drop(t *testing.T, disk *vfs.Mem, name string) {
	t.Helper()
	if err := disk.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasNeverFinishedIsRemoved(t *testing.T) {
	disk := closedLog(t, testOptions())
	for _, name := range []string{"quorum-state.tmp", snapshotName(9, 1) + ".tmp", "00000000000000000000.log.deleted"} {
		f, err := disk.OpenFile(path.Join(testFolder, name), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	n := polled(t, disk, testOptions())
	n.Close()
	for _, name := range files(t, disk) {
		if strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".deleted") {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestALogOfManySegmentsIsReadInOrder(t *testing.T) {
	o := testOptions()
	o.SegmentBytes = 1
	disk := closedLog(t, o)
	segments, _ := logFiles(t, disk)
	if len(segments) < 5 {
		t.Errorf("segments %v", segments)
	}
	n := polled(t, disk, o)
	if n.Image().TopicCount() != 2 {
		t.Errorf("topics %v", topicNames(n.Image()))
	}
}
