package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The files that most cases damage.
const (
	firstLog  = "golden-0/00000000000000000000.log"
	lastLog   = "golden-0/00000000000000000130.log"
	recovery  = "recovery-point-offset-checkpoint"
	cleanMark = ".kafka_cleanshutdown"
	unflushed = "0\n3\n__cluster_metadata 0 57\n__transaction_state 0 13\ngolden 0 200\n"
	lastBatch = 4440 // where the last batch of lastLog begins
)

// edit changes a file's bytes.
func edit(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flip changes one byte.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x40; return b }
}

// cut keeps the first n bytes.
func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

// become replaces the whole content.
func become(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }

// TestDamageIsNamed damages one file at a time and wants one line for it that names the place and the reason.
func TestDamageIsNamed(t *testing.T) {
	for _, c := range []struct {
		name, file string
		change     func([]byte) []byte
		want       string
	}{
		{"a flipped byte in a record", firstLog, flip(700), "position 0: the checksum is "},
		{"a flipped byte in the last batch", lastLog, flip(lastBatch + 70), "position 4440: the checksum is "},
		{"a log that ends inside a batch", lastLog, cut(lastBatch + 70),
			"position 4440: the file ends inside a batch: it has 78 bytes and 70 are left; offsets 257 to 257 had " +
				"been flushed"},
		{"a log that ends inside a header", lastLog, cut(lastBatch + 5),
			"position 4440: the file ends inside a batch: 5 bytes are left"},
		{"a log that lost its last batch", lastLog, cut(lastBatch), "the log ends at offset 257, but "},
		{"a length that cannot be", lastLog, func(b []byte) []byte {
			binary.BigEndian.PutUint32(b[lastBatch+8:], 0xffffffff)
			return b
		}, "position 4440: a batch cannot have 11 bytes"},
		{"an offset that goes back", lastLog, func(b []byte) []byte {
			binary.BigEndian.PutUint64(b[lastBatch:], 200)
			return b
		}, "position 4440: a batch has base offset 200, but 257 is the next"},
		{"another leader epoch", lastLog, func(b []byte) []byte {
			binary.BigEndian.PutUint32(b[lastBatch+12:], 3)
			return b
		}, "position 4440: the batch at offset 257 has leader epoch 3, but leader-epoch-checkpoint says 0"},
		{"a segment that begins too early", firstLog, func(b []byte) []byte {
			binary.BigEndian.PutUint64(b[len(b)-652:], 125)
			return b
		}, "the segment begins at offset 130, but the one before it ends at 135"},
		{"an offset index that points astray", "golden-0/00000000000000000000.index", flip(7),
			".index: position 0: no batch begins at "},
		{"an offset index with another offset", "golden-0/00000000000000000000.index", flip(3),
			".index: position 0: the batch at "},
		{"an offset index past the log", "golden-0/00000000000000000130.index", func(b []byte) []byte {
			return append(b, 0, 0, 1, 0, 0, 1, 0, 0)
		}, ".index: position 32: the entry points past the end of the log"},
		{"an index that ends inside an entry", "golden-0/00000000000000000000.index", cut(13),
			".index: position 8: the file ends inside an entry"},
		{"a time index with another time", "golden-0/00000000000000000130.timeindex", flip(7),
			".timeindex: position 0: the largest timestamp up to offset 159 is 1795360023192, not 1795360023256"},
		{"a time index whose offsets go back", "golden-0/00000000000000000130.timeindex", flip(8),
			".timeindex: position 0: the entry points past the end of the log"},
		{"a transaction index of another producer", "golden-0/00000000000000000130.txnindex", flip(9),
			".txnindex: position 0: no marker of producer 69 is at offset 253"},
		{"a transaction index of another version", "golden-0/00000000000000000130.txnindex", flip(1),
			".txnindex: position 0: version 64 is not 0"},
		{"a transaction that ends before it begins", "golden-0/00000000000000000130.txnindex", flip(14),
			".txnindex: position 0: the transaction begins at offset "},
		{"a producer snapshot with a flipped byte", "golden-0/00000000000000000258.snapshot", flip(40),
			".snapshot: position 2: the checksum is "},
		{"a producer snapshot that is cut", "golden-0/00000000000000000258.snapshot", cut(5),
			".snapshot: position 5: a snapshot has at least 10 bytes"},
		{"a leader epoch that goes back", "golden-0/leader-epoch-checkpoint", become("0\n2\n1 0\n0 5\n"),
			`leader-epoch-checkpoint: position 4: "0 5": does not rise over epoch 1 at 0`},
		{"a checkpoint of another version", recovery, become("1\n0\n"), recovery +
			`: position 1: version "1" is not 0`},
		{"a checkpoint with the wrong count", recovery, become("0\n5\na 0 1\n"), recovery +
			": position 2: 1 entries follow"},
		{"a checkpoint with half a line", recovery, become("0\n1\ngolden 0\n"), recovery +
			`: position 3: "golden 0": must be`},
		{"a checkpoint that names a partition twice", recovery, become("0\n2\na 0 1\na 0 1\n"),
			recovery + `: position 4: "a 0 1": a-0 is there twice`},
		{"a checkpoint with a negative offset", recovery, become("0\n1\na 0 -1\n"), recovery + ": position 3: "},
		{"a high watermark past the log", "replication-offset-checkpoint", become("0\n1\ngolden 0 300\n"),
			"the log ends at offset 258, but replication-offset-checkpoint has 300: records are missing"},
		{"no meta.properties", "meta.properties", nil, "meta.properties: position 0: it is missing"},
		{"another meta.properties", "meta.properties", become("version=2\n"),
			`meta.properties: position 1: version "2" is not 1`},
		{"a meta.properties without a directory", "meta.properties", become("version=1\ncluster.id=x\nnode.id=1\n"),
			"meta.properties: position 1: directory.id is missing"},
		{"a meta.properties that is none", "meta.properties", become("\x00"), "meta.properties: position 1: "},
		{"another partition.metadata", "golden-0/partition.metadata", become("version: 1\ntopic_id: x"),
			"partition.metadata: position 1: must be the lines"},
		{"a topic id that is none", "golden-0/partition.metadata", become("version: 0\ntopic_id: x"),
			`partition.metadata: position 2: "topic_id: x" is not`},
		{"a quorum-state that is no JSON", "__cluster_metadata-0/quorum-state", become("{"),
			"quorum-state: position 0: "},
		{"a snapshot without footer", "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", cut(166),
			".checkpoint: position 166: a snapshot has a header first and a footer last; one is missing"},
		{"a snapshot with a flipped byte", "bootstrap.checkpoint", flip(200), "bootstrap.checkpoint: position "},
		{"a metadata record that does not decode", "__cluster_metadata-0/00000000000000000000.log", breakMetadata,
			"00000000000000000000.log: position 504: offset 12: "},
	} {
		dir := copyDir(t)
		path := filepath.Join(dir, c.file)
		if c.change == nil {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else {
			edit(t, path, c.change)
		}
		report, err := Verify([]string{dir})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		found := slices.ContainsFunc(report.Damages, func(d *Damage) bool {
			return strings.Contains(d.Error(),
				c.want)
		})
		if !found {
			t.Errorf("%s:\n got  %v\n want %s", c.name, report.Damages, c.want)
		}
	}
}

// breakMetadata makes the frame version of the NO_OP record at offset 12 a wrong one, under a right checksum.
func breakMetadata(b []byte) []byte {
	batch := asBatch(b[504:576])
	batch[67] = 9 // behind the batch header: length, attributes, two deltas, key length, value length
	batch.UpdateCRC()
	return b
}

// TestAfterAnUncleanShutdown: past the recovery point a torn end is a note, and everywhere else damage.
func TestAfterAnUncleanShutdown(t *testing.T) {
	for _, c := range []struct {
		name, file   string
		change       func([]byte) []byte
		damage, note string
	}{
		{"nothing is wrong", lastLog, func(b []byte) []byte { return b }, "", ""},
		{"a torn end", lastLog, cut(lastBatch + 70), "", "position 4440: the file ends inside a batch"},
		{"zeros at the end", lastLog, func(b []byte) []byte { return append(b, make([]byte, 500)...) }, "",
			"position 4518: a batch cannot have 12 bytes; there was no clean shutdown, the next start cuts it off"},
		{"the last batch half written", lastLog, flip(lastBatch + 70), "", "position 4440: the checksum is "},
		{"a batch before whole ones", lastLog, flip(3700), "position 3659: the checksum is ", ""},
		{"a batch below the recovery point", lastLog, cut(1400), "offsets 150 to 199 had been flushed", ""},
		{"a segment below the recovery point", firstLog, cut(8000), "the file ends inside a batch", ""},
		{"an index ahead of its log", "golden-0/00000000000000000130.index", func(b []byte) []byte {
			return append(b, 0, 0, 1, 0, 0, 1, 0, 0)
		}, "", "it has entries past the end of the log; the next start rebuilds it"},
		{"epochs that the checkpoint does not have yet", lastLog, func(b []byte) []byte {
			binary.BigEndian.PutUint32(b[lastBatch+12:], 3)
			return b
		}, "", ""},
	} {
		dir := copyDir(t)
		if err := os.Remove(filepath.Join(dir, cleanMark)); err != nil {
			t.Fatal(err)
		}
		edit(t, filepath.Join(dir, recovery), become(unflushed))
		edit(t, filepath.Join(dir, "replication-offset-checkpoint"), become("0\n0\n"))
		edit(t, filepath.Join(dir, c.file), c.change)
		report, err := Verify([]string{dir})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		notes := slices.DeleteFunc(report.Notes, func(n Note) bool {
			return strings.Contains(n.Text,
				"not known here")
		})
		if c.damage == "" && len(report.Damages) > 0 || !strings.Contains(fmt.Sprint(report.Damages), c.damage) {
			t.Errorf("%s: damages: got %v, want %q", c.name, report.Damages, c.damage)
		}
		if c.note == "" && len(notes) > 0 || !strings.Contains(fmt.Sprint(notes), c.note) {
			t.Errorf("%s: notes: got %v, want %q", c.name, notes, c.note)
		}
	}
}

// TestOutsideADataDirectory: where nothing tells how it was shut down, a torn end is damage.
func TestOutsideADataDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "golden-0")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(kafkaDir, "golden-0"))); err != nil {
		t.Fatal(err)
	}
	if report, err := Verify([]string{dir}); err != nil || len(report.Damages) > 0 {
		t.Errorf("whole: %v, %v", report.Damages, err)
	}
	edit(t, filepath.Join(dir, filepath.Base(lastLog)), cut(lastBatch+70))
	if report, err := Verify([]string{dir}); err != nil || len(report.Damages) != 1 {
		t.Errorf("torn: %v, %v", report.Damages, err)
	}
}

// TestLeavingsAreNotes: what waits for its removal, and what no broker wrote.
func TestLeavingsAreNotes(t *testing.T) {
	dir := copyDir(t)
	for _, name := range []string{"old-0.0123456789abcdef0123456789abcdef-delete", "lost+found", ".snapshots",
		"other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"meta.properties.tmp", "golden-0/00000000000000000000.log.deleted",
		"golden-0/00000000000000000900.index", "README"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Verify([]string{dir})
	if err != nil || len(report.Damages) > 0 {
		t.Fatal(report.Damages, err)
	}
	var files []string
	for _, n := range report.Notes {
		if !strings.Contains(n.Text, "not known here") {
			files = append(files, strings.TrimPrefix(n.File, dir+"/"))
		}
	}
	want := []string{"golden-0/00000000000000000000.log.deleted", "golden-0/00000000000000000900.index",
		"meta.properties.tmp",
		"old-0.0123456789abcdef0123456789abcdef-delete", "other"}
	if !slices.Equal(files, want) {
		t.Errorf("got %q, want %q", files, want)
	}
}

// TestEveryFlippedByteIsFound flips bytes of a partition's logs, and each byte of its indexes and snapshots, in turn.
// Only what has no other copy may pass: the first and the last stable offset of an aborted transaction.
func TestEveryFlippedByteIsFound(t *testing.T) {
	dir := copyDir(t)
	files, err := Files(filepath.Join(dir, "golden-0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		kind := Classify(file)
		if kind == PartitionMetadata || kind == EpochCheckpoint {
			continue // text: another digit is as good
		}
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		missed, step := 0, 1
		if kind == Log {
			step = 41 // over 32 batches this meets most bytes of the header; each flip reads the partition
		}
		for at := 0; at < len(whole); at += step {
			edit(t, file, flip(at))
			report, err := Verify([]string{filepath.Join(dir, "golden-0")})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Damages) == 0 {
				missed++
			}
			edit(t, file, flip(at))
		}
		allowed := 0
		if kind == TransactionIndex {
			allowed = len(whole) / transactionEntryBytes * 16 // last stable offset, and a first offset that is smaller
		}
		if missed > allowed {
			t.Errorf("%s: %d of %d flipped bytes were not found", filepath.Base(file), missed, len(whole))
		}
	}
}

// FuzzFiles feeds any bytes as a file of each kind to dump and verify: no panic, and errors that are damage.
func FuzzFiles(f *testing.F) {
	kinds := []string{firstLog, "golden-0/00000000000000000000.index", "golden-0/00000000000000000130.timeindex",
		"golden-0/00000000000000000130.txnindex", "golden-0/00000000000000000258.snapshot",
		"golden-0/leader-epoch-checkpoint",
		recovery, "golden-0/partition.metadata", "meta.properties", "__cluster_metadata-0/quorum-state",
		"bootstrap.checkpoint", "__cluster_metadata-0/00000000000000000000.log", cleanMark}
	for i, name := range kinds {
		content, err := os.ReadFile(filepath.Join(kafkaDir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), content)
	}
	dir := copyDir(f)
	f.Fuzz(func(t *testing.T, kind uint8, content []byte) {
		name := filepath.Join(dir, kinds[int(kind)%len(kinds)])
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		defer edit(t, name, become(string(whole)))
		edit(t, name, become(string(content)))
		err = Dump(name, DumpOptions{Records: true}, func(e Entry) error {
			if e.Text() == "" && len(e.Fields) > 0 {
				t.Error("an entry without text")
			}
			return nil
		})
		var d *Damage
		if err != nil && !errors.As(err, &d) && !strings.Contains(err.Error(), "position") {
			t.Errorf("dump: %v", err)
		}
		if _, err := Verify([]string{name}); err != nil {
			t.Errorf("verify: %v", err)
		}
	})
}

// TestDumpOfDamage shows what is whole and ends with an error that names the place.
func TestDumpOfDamage(t *testing.T) {
	for _, c := range []struct {
		name, file string
		change     func([]byte) []byte
		entries    int // that are still shown, at least
		want       string
	}{
		{"a log that ends inside a batch", lastLog, cut(lastBatch + 70), 20,
			"position 4440: the file ends inside a batch"},
		{"a batch with a wrong checksum", lastLog, flip(lastBatch + 70), 20, "position 4440: the checksum is "},
		{"records that do not parse", lastLog, breakRecord, 20, "position 4440: "},
		{"an index that ends inside an entry", "golden-0/00000000000000000130.index", cut(13), 1,
			".index: position 8: the file ends inside an entry"},
		{"a time index that ends inside an entry", "golden-0/00000000000000000130.timeindex", cut(13), 1,
			".timeindex: position 12: the file ends inside an entry"},
		{"a transaction index that ends inside an entry", "golden-0/00000000000000000130.txnindex", cut(40), 1,
			".txnindex: position 34: the file ends inside an entry"},
		{"a wrong snapshot", "golden-0/00000000000000000258.snapshot", flip(1), 0, "position 0: version 65 is not 1"},
		{"a wrong checkpoint", recovery, become("0\nx\n"), 0, "position 2: 0 entries follow"},
		{"wrong epochs", "golden-0/leader-epoch-checkpoint", become("0\n1\nx 0\n"), 0, `position 3: "x 0": must be`},
		{"a wrong meta.properties", "meta.properties", become("version=1\nnode.id=x\ncluster.id=c\ndirectory.id=d\n"),
			0,
			`node.id "x" is not a number`},
		{"a wrong directory id", "meta.properties", become("version=1\nnode.id=1\ncluster.id=c\ndirectory.id=d\n"), 0,
			"directory.id: "},
		{"a wrong partition.metadata", "golden-0/partition.metadata", become(""), 0, "position 1: must be the lines"},
		{"a wrong quorum-state", "__cluster_metadata-0/quorum-state", become("x"), 0, "position 0: "},
		{"a wrong mark of a clean shutdown", cleanMark, become("x"), 0, "position 0: "},
	} {
		path := filepath.Join(copyDir(t), c.file)
		edit(t, path, c.change)
		entries := 0
		err := Dump(path, DumpOptions{Records: true}, func(Entry) error {
			entries++
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), c.want) || entries < c.entries {
			t.Errorf("%s: %d entries, %v", c.name, entries, err)
		}
	}
}

// breakRecord gives the record of the last batch a length that cannot be, under a right checksum.
func breakRecord(b []byte) []byte {
	batch := asBatch(b[lastBatch:])
	batch[61] = 0x7e
	batch.UpdateCRC()
	return b
}

// TestMoreDamage are cases that need more than one edit.
func TestMoreDamage(t *testing.T) {
	dir := copyDir(t)
	// A snapshot that knows more than the log, as its name says.
	snapshot := filepath.Join(dir, "golden-0", "00000000000000000258.snapshot")
	if err := os.Rename(snapshot, filepath.Join(dir, "golden-0", "00000000000000000200.snapshot")); err != nil {
		t.Fatal(err)
	}
	// Epochs that begin above the first offset: there is nothing to compare the first segment with.
	edit(t, filepath.Join(dir, "golden-0", "leader-epoch-checkpoint"), become("0\n1\n0 130\n"))
	// A producer epoch checkpoint without entries, and a metadata snapshot whose first record is no control record.
	edit(t, filepath.Join(dir, "__transaction_state-0", "leader-epoch-checkpoint"), become("0\n0\n"))
	report, err := Verify([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Damages) != 1 || !strings.Contains(report.Damages[0].Error(),
		"00000000000000000200.snapshot: position 194: producer 4 wrote offset 249, past the snapshot's 200") {
		t.Errorf("got %v", report.Damages)
	}
}

// TestTooLargeToBeTrue: a small file of a size that no broker writes is not read into memory.
func TestTooLargeToBeTrue(t *testing.T) {
	path := filepath.Join(copyDir(t), "golden-0", "leader-epoch-checkpoint")
	if err := os.Truncate(path, smallBytesMax+1); err != nil { // sparse: it takes no room
		t.Fatal(err)
	}
	report, err := Verify([]string{path})
	if err != nil || len(report.Damages) != 1 || report.Damages[0].Reason != "larger than any file of its kind" {
		t.Errorf("got %v, %v", report.Damages, err)
	}
}
