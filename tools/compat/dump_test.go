package compat

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// The lines that DumpLogSegments writes about a log that is in order. Any other line is a complaint.
var (
	dumpFile  = regexp.MustCompile(`^Dumping (\S+)$`)
	dumpStart = regexp.MustCompile(`^Log starting offset: (\d+)$`)
	dumpBatch = regexp.MustCompile(`^baseOffset: (\d+) lastOffset: (\d+) count: (\d+) baseSequence: (-?\d+) ` +
		`lastSequence: (-?\d+) producerId: (-?\d+) producerEpoch: (-?\d+) partitionLeaderEpoch: (\d+) ` +
		`isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: (\d+) ` +
		`CreateTime: (\d+) size: (\d+) magic: 2 compresscodec: (\w+) crc: (\d+) isvalid: true$`)
	dumpRecord = regexp.MustCompile(`^\| offset: (\d+) CreateTime: (\d+) keySize: (-?\d+) valueSize: (-?\d+) ` +
		`sequence: (-?\d+) headerKeys: \[\](?: key: (.*?))?(?: payload: (.*))?$`)
	dumpOffsetEntry = regexp.MustCompile(`^offset: (\d+) position: (\d+)$`)
	dumpTimeEntry   = regexp.MustCompile(`^timestamp: (\d+) offset: (\d+)$`)
	dumpSane        = regexp.MustCompile(`^\S+ passed sanity check\.$`)
	dumpSnapshot    = regexp.MustCompile(`^producerId: \d+ producerEpoch: \d+ coordinatorEpoch: -?\d+ ` +
		`currentTxnFirstOffset: OptionalLong.empty lastTimestamp: \d+ firstSequence: \d+ lastSequence: \d+ ` +
		`lastOffset: \d+ offsetDelta: \d+ timestamp: \d+$`)
)

// dumped is what the dump of a partition's files says.
type dumped struct {
	batches, records int
	next             int64 // the offset after the last
	codecs           map[string]bool
	files            int
}

// TestDumpLogSegments has Kafka's own tool read the files that Spate writes: segments that were rolled and the one in
// use, of a running broker, of one that was stopped, of one that was killed, and after each restart.
func TestDumpLogSegments(t *testing.T) {
	if *bootstrap != "" {
		checkDump(t, *bootstrap, *dataDir)
		return
	}
	dir := t.TempDir()
	b := startBroker(t, dir)
	topic, want := produceSegments(t, b.Bootstrap)
	checkLogs(t, filepath.Join(dir, topic+"-0"), want)
	checkIndexes(t, filepath.Join(dir, topic+"-0"))
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	checkLogs(t, filepath.Join(dir, topic+"-0"), want)
	checkIndexes(t, filepath.Join(dir, topic+"-0"))

	b = startBroker(t, dir)
	want = append(want, produceMore(t, b.Bootstrap, topic, len(want), "gzip", true, 50)...)
	b.Kill()
	b = startBroker(t, dir)
	want = append(want, produceMore(t, b.Bootstrap, topic, len(want), "none", false, 50)...)
	checkLogs(t, filepath.Join(dir, topic+"-0"), want)
	checkIndexes(t, filepath.Join(dir, topic+"-0"))
	checkMetadataLog(t, dir)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	checkMetadataLog(t, dir)
}

// checkDump looks at the logs of the broker and directory that the flags name. The tool does not like the index files
// that Kafka itself has in use, with room ahead.
func checkDump(t *testing.T, address, dir string) {
	if dir == "" {
		t.Skip("-data says where the files of the broker at -bootstrap are")
	}
	topic, want := produceSegments(t, address)
	checkLogs(t, filepath.Join(dir, topic+"-0"), want)
}

func startBroker(t *testing.T, dir string) *proc.Broker {
	t.Helper()
	b, err := proc.Start(proc.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	return b
}

// produceSegments makes a topic of small segments and fills several, in every codec, idempotent and not.
func produceSegments(t *testing.T, address string) (topic string, want []record) {
	t.Helper()
	c, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), wireTimeout)
	defer cancel()
	topic = "dump-" + runID()
	if err := createTopic(ctx, c, topic, 1, map[string]string{"segment.bytes": "1048576"}); err != nil {
		t.Fatal(err)
	}
	for i, codec := range append(allCodecs, "none") {
		want = append(want, produceMore(t, address, topic, len(want), codec, i < len(allCodecs), 1200)...)
	}
	return topic, want
}

// produceMore adds n records of about a KiB that hardly compress, in small batches.
func produceMore(t *testing.T, address, topic string, from int, codec string, idempotent bool, n int) []record {
	t.Helper()
	options := []kgo.Opt{
		kgo.SeedBrokers(address), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerBatchMaxBytes(16 << 10),
	}
	if !idempotent {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	random := rand.New(rand.NewPCG(uint64(from), uint64(n)))
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	records, sent := make([]record, n), make([]*kgo.Record, n)
	for i := range records {
		value := bytes.Repeat([]byte("."), 500+random.IntN(1000))
		for j := range value[:len(value)*3/4] { // the rest compresses, or franz-go sends the batch as it is
			value[j] = letters[random.IntN(len(letters))]
		}
		records[i] = record{Offset: int64(from + i), Key: fmt.Appendf(nil, "%s-%d", codec, i), Value: value}
		switch i % 50 {
		case 7:
			records[i].Key = nil
		case 9:
			records[i].Value = nil
		}
		sent[i] = &kgo.Record{Key: records[i].Key, Value: records[i].Value}
	}
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	if err := client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for i := range sent {
		if sent[i].Offset != records[i].Offset {
			t.Fatalf("record %d was given offset %d", records[i].Offset, sent[i].Offset)
		}
		records[i].Timestamp = sent[i].Timestamp.UnixMilli()
	}
	return records
}

// checkLogs dumps the segments of a partition.
func checkLogs(t *testing.T, dir string, want []record) {
	t.Helper()
	logs := glob(t, dir, "*.log")
	if len(logs) < 5 {
		t.Fatalf("%d segments in %s", len(logs), dir)
	}
	for _, flag := range []string{"--deep-iteration", "--print-data-log"} {
		var d dumped
		d.read(t, dump(t, "--files", strings.Join(logs, ","), flag), want, flag == "--print-data-log")
		if d.files != len(logs) || d.records != len(want) || d.next != int64(len(want)) {
			t.Errorf("%s: %d records up to %d in %d files, want %d in %d",
				flag, d.records, d.next, d.files, len(want), len(logs))
		}
		for _, codec := range allCodecs {
			if !d.codecs[codec] {
				t.Errorf("%s: no batch in %s", flag, codec)
			}
		}
	}
}

// checkIndexes dumps the indexes and the snapshots of a partition in every way that the tool knows.
func checkIndexes(t *testing.T, dir string) {
	t.Helper()
	sealed := len(glob(t, dir, "*.log")) - 1
	indexes := append(glob(t, dir, "*.index"), glob(t, dir, "*.timeindex")...)
	if len(indexes) < 2*sealed {
		t.Fatalf("%d index files beside %d sealed segments", len(indexes), sealed)
	}
	files := strings.Join(indexes, ",")
	onlyLines(t, dump(t, "--files", files, "--verify-index-only"), dumpFile)
	onlyLines(t, dump(t, "--files", files, "--index-sanity-check"), dumpFile, dumpSane)
	all := append(indexes, glob(t, dir, "*.snapshot")...)
	entries := onlyLines(t, dump(t, "--files", strings.Join(all, ",")),
		dumpFile, dumpOffsetEntry, dumpTimeEntry, dumpSnapshot)
	// A sealed segment of 1 MiB in batches of 16 KiB has an entry for each batch but the first.
	if entries[dumpOffsetEntry] < 40*sealed || entries[dumpTimeEntry] < sealed {
		t.Errorf("%d offset and %d time index entries beside %d sealed segments",
			entries[dumpOffsetEntry], entries[dumpTimeEntry], sealed)
	}
	if snapshots := len(all) - len(indexes); entries[dumpSnapshot] == 0 && snapshots > 0 {
		t.Errorf("no producer in %d snapshots", snapshots)
	}
}

// checkMetadataLog has the tool decode the log of the cluster's metadata.
func checkMetadataLog(t *testing.T, dir string) {
	t.Helper()
	logs := glob(t, filepath.Join(dir, "__cluster_metadata-0"), "*.log")
	if len(logs) == 0 {
		t.Fatal("no metadata log")
	}
	out := string(dump(t, "--cluster-metadata-decoder", "--files", strings.Join(logs, ",")))
	for _, complaint := range []string{"isvalid: false", "Could not", "Found ", "Mismatch", "Non-", "rror"} {
		if strings.Contains(out, complaint) {
			t.Errorf("%q in the dump of the metadata log:\n%.4000s", complaint, out)
		}
	}
	for _, kind := range []string{"TOPIC_RECORD", "PARTITION_RECORD", "CONFIG_RECORD", "REGISTER_BROKER_RECORD"} {
		if !strings.Contains(out, `"type":"`+kind+`"`) {
			t.Errorf("no %s in the dump of the metadata log:\n%.4000s", kind, out)
		}
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// dump runs the tool; anything on standard error is a complaint too.
func dump(t *testing.T, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	cmd, err := proc.KafkaTool(ctx, "DumpLogSegments", args...)
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if left := firstOffsets.ReplaceAllFunc(complaints.Bytes(), notAComplaint); err != nil || len(left) > 0 {
		t.Fatalf("DumpLogSegments %s: %v\n%.4000s\n%.4000s", strings.Join(args, " "), err, left, out)
	}
	return out
}

// firstOffsets is what the tool says about every segment that does not begin at offset 0, Kafka's own too: it expects
// each file to begin there.
var firstOffsets = regexp.MustCompile(`Non-consecutive offsets in \S+/(\d{20})\.log\n  -1 is followed by (\d+)\n`)

// notAComplaint drops the sentence where the offset is the one that the file is named for.
func notAComplaint(sentence []byte) []byte {
	m := firstOffsets.FindSubmatch(sentence)
	if number(string(m[1])) == number(string(m[2])) {
		return nil
	}
	return sentence
}

// onlyLines counts the lines of each form; one of no form is a complaint.
func onlyLines(t *testing.T, out []byte, forms ...*regexp.Regexp) map[*regexp.Regexp]int {
	t.Helper()
	counts := map[*regexp.Regexp]int{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		i := slices.IndexFunc(forms, func(f *regexp.Regexp) bool { return f.Match(lines.Bytes()) })
		if i < 0 {
			t.Fatalf("DumpLogSegments complains: %.1000s", lines.Text())
		}
		counts[forms[i]]++
	}
	return counts
}

// read takes in the dump of segments in their order and compares every batch and record.
func (d *dumped) read(t *testing.T, out []byte, want []record, printed bool) {
	t.Helper()
	d.codecs = map[string]bool{}
	left := int64(0) // records of the current batch that are still to come
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := dumpRecord.FindStringSubmatch(line); m != nil && left > 0 {
			d.record(t, m, want, printed)
			left--
			continue
		}
		if left > 0 {
			t.Fatalf("%d records are missing before: %.500s", left, line)
		}
		switch {
		case dumpFile.MatchString(line):
			d.files++
		case dumpStart.MatchString(line):
			if got := number(dumpStart.FindStringSubmatch(line)[1]); got != d.next {
				t.Fatalf("a segment starts at %d where %d is next", got, d.next)
			}
		case dumpBatch.MatchString(line):
			m := dumpBatch.FindStringSubmatch(line)
			first, last, count := number(m[1]), number(m[2]), number(m[3])
			if first != d.next || last-first+1 != count {
				t.Fatalf("a batch from %d to %d of %d records where %d is next", first, last, count, d.next)
			}
			d.codecs[m[12]] = true
			d.batches++
			left = count
		default:
			t.Fatalf("DumpLogSegments complains: %.1000s", line)
		}
	}
	if lines.Err() != nil || left > 0 {
		t.Fatal(lines.Err(), left)
	}
}

func (d *dumped) record(t *testing.T, m []string, want []record, printed bool) {
	t.Helper()
	offset := number(m[1])
	if offset != d.next || offset >= int64(len(want)) {
		t.Fatalf("record %d where %d is next, of %d", offset, d.next, len(want))
	}
	w := &want[offset]
	length := func(b []byte) int64 {
		if b == nil {
			return -1
		}
		return int64(len(b))
	}
	if number(m[2]) != w.Timestamp || number(m[3]) != length(w.Key) || number(m[4]) != length(w.Value) {
		t.Fatalf("record %d: %q; want time %d, %d and %d bytes",
			offset, m[0], w.Timestamp, length(w.Key), length(w.Value))
	}
	if printed && (m[6] != string(w.Key) || m[7] != string(w.Value)) {
		t.Fatalf("record %d has key %q and value %.80q, want %q and %.80q", offset, m[6], m[7], w.Key, w.Value)
	}
	d.next++
	d.records++
}

// number reads what a regular expression has found to be one.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}
