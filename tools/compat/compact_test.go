package compat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// compactedKeys is how many keys the test of compaction writes, each many times.
const compactedKeys = 40

// TestDumpCompacted writes a few keys over and over in every codec to Spate and to Apache Kafka, and waits until each
// has compacted its log. A consumer reads the last value of each key; Kafka's own tool looks at what is left on both
// disks, and must not find anything in Spate's that it does not find in Kafka's.
func TestDumpCompacted(t *testing.T) {
	if *bootstrap != "" {
		t.Skip("for a broker of its own")
	}
	settings := map[string]string{"log.cleaner.backoff.ms": "50"}
	own := compacted(t, startSpate(t, settings))
	theirs := compacted(t, startKafka(t, settings))
	t.Logf("Kafka's: %v\nSpate's: %v", theirs, own)
	for kind, n := range own {
		if theirs[kind] == 0 && !sometimes[kind] {
			t.Errorf("%s: %d times in Spate's log, never in Kafka's", kind, n)
		}
	}
	for _, kind := range []string{"a batch without records", "a delete horizon"} {
		if own[kind] == 0 || theirs[kind] == 0 {
			t.Errorf("%s: %d times in Spate's log, %d in Kafka's", kind, own[kind], theirs[kind])
		}
	}
}

// compacted has the broker compact a log, and gives what the dump tool says of it, by kind.
func compacted(t *testing.T, tg *target) map[string]int {
	t.Helper()
	c, err := dial(tg.bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*clientTimeout)
	defer cancel()
	err = createTopic(ctx, c, "compacted", 1, map[string]string{"segment.bytes": "1048576", "cleanup.policy": "compact",
		"min.cleanable.dirty.ratio": "0.01", "file.delete.delay.ms": "0"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, codec := range allCodecs {
		produceAlone(ctx, t, tg.bootstrap, "deleted with "+codec, "", want)
		produceKeys(ctx, t, tg.bootstrap, codec, want)
	}
	folder := filepath.Join(tg.dir, "compacted-0")
	err = waitFor(ctx, func() (bool, error) {
		text, err := os.ReadFile(filepath.Join(tg.dir, "cleaner-offset-checkpoint"))
		logs := glob(t, folder, "*.log")
		active := strings.TrimLeft(strings.TrimSuffix(filepath.Base(logs[len(logs)-1]), ".log"), "0")
		return err == nil && strings.Contains(string(text), "\ncompacted 0 "+active+"\n"), nil
	})
	if err != nil {
		t.Fatal(err, glob(t, folder, "*"))
	}
	checkCompacted(ctx, t, tg.bootstrap, want)
	if err := tg.stop(); err != nil {
		t.Fatal(err)
	}
	binary, err := proc.Binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range glob(t, folder, "*.log") {
		if out, err := exec.Command(binary, "dump", log).CombinedOutput(); err != nil {
			t.Errorf("spate dump: %v\n%.500s", err, out)
		}
	}
	return dumpCompacted(t, folder)
}

// produceKeys writes every key many times, and notes its last value.
func produceKeys(ctx context.Context, t *testing.T, address, codec string, want map[string]string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic("compacted"),
		kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerBatchMaxBytes(16<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var sent []*kgo.Record
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60 * compactedKeys {
		key := fmt.Sprintf("key-%d", i%compactedKeys)
		content := make([]byte, 600) // which no codec makes much smaller, so that each fills segments
		for j := range content {
			content[j] = byte(random.Uint32())
		}
		value := fmt.Sprintf("%s %d %x", codec, i, content)
		want[key] = value
		sent = append(sent, &kgo.Record{Key: []byte(key), Value: []byte(value)})
	}
	if err := client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// produceAlone writes one record, a tombstone if value is empty, of a producer of its own.
func produceAlone(ctx context.Context, t *testing.T, address, key, value string, want map[string]string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic("compacted"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := &kgo.Record{Key: []byte(key)}
	if value != "" {
		r.Value = []byte(value)
	}
	if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	want[key] = value
}

// checkCompacted reads the log from its start and compares the last value of each key.
func checkCompacted(ctx context.Context, t *testing.T, address string, want map[string]string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics("compacted"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	last, got, n := int64((60*compactedKeys+1)*len(allCodecs)-1), map[string]string{}, 0
	for at := int64(-1); at < last; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got[string(r.Key)], at, n = string(r.Value), r.Offset, n+1
		})
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %.40q, want %.40q", key, got[key], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	if n > int(last)/2 {
		t.Errorf("%d of %d records are left", n, last+1)
	}
}

// compactedLines are what the tool says of a compacted log, by kind, beside what it says of every log.
var compactedLines = map[string]*regexp.Regexp{
	"a batch with records": regexp.MustCompile(`^baseOffset: \d+ lastOffset: \d+ count: [1-9]`),
	"a batch without records": regexp.MustCompile(
		`^baseOffset: \d+ lastOffset: \d+ count: 0 baseSequence: \d+ .* compresscodec: none crc: \d+ isvalid: true$`),
	"a delete horizon": regexp.MustCompile(`^baseOffset: .* deleteHorizonMs: OptionalLong\[\d+\] `),
	"a tombstone":      regexp.MustCompile(`^\| offset: .* valueSize: -1 `),
	"offsets that are missing": regexp.MustCompile(
		`^Non-consecutive offsets in \S+\.log$|^  -?\d+ is followed by \d+$`),
	"a time entry for a batch without records": regexp.MustCompile(
		`^Found timestamp mismatch in :\S+\.timeindex$|^  Index timestamp: \d+, log timestamp: -1$`),
	"an index without an entry": regexp.MustCompile(`^\S+\.(time)?index is empty\.$`),
}

// sometimes are the kinds that Kafka's log shows too, but only if a cleaned segment happens to end with the header of a
// producer's last batch. Each of Spate's ends with a batch, whatever is left of it.
var sometimes = map[string]bool{"a time entry for a batch without records": true, "an index without an entry": true}

// dumpCompacted has Kafka's tool walk over the segments and check their indexes.
func dumpCompacted(t *testing.T, folder string) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	files := strings.Join(append(glob(t, folder, "*.log"), append(glob(t, folder, "*.index"),
		glob(t, folder, "*.timeindex")...)...), ",")
	cmd, err := proc.KafkaTool(ctx, "DumpLogSegments", "--files", files, "--deep-iteration")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("DumpLogSegments: %v\n%.2000s", err, out)
	}
	kinds := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		known := false
		for kind, pattern := range compactedLines {
			if pattern.MatchString(line) {
				kinds[kind]++
				known = true
			}
		}
		for _, p := range []*regexp.Regexp{dumpFile, dumpStart, dumpRecord, dumpOffsetEntry, dumpTimeEntry} {
			known = known || p.MatchString(line)
		}
		if !known {
			t.Errorf("DumpLogSegments says: %s", line)
		}
	}
	return kinds
}
