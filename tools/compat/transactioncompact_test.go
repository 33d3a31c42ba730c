package compat

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestTransactionsAreCompacted has transactions of both versions fill compacted topics, some of them aborted, one open
// for long, and has them compacted, step by step, by Apache Kafka and by the broker under test. What is left must be
// the same by Kafka's dump tool: the records, the markers, what delete horizon they have, and the aborted transactions
// of the index. Under read_committed each key has the last value that was committed, also where the broker changes the
// codec. Beside that, retention and DeleteRecords take away the beginning of an open transaction.
func TestTransactionsAreCompacted(t *testing.T) {
	t.Parallel()
	settings := groupSettings()
	for key, value := range map[string]string{
		"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1",
		"log.cleaner.backoff.ms": "100", "log.retention.check.interval.ms": "200", "log.segment.delete.delay.ms": "0",
	} {
		settings[key] = value
	}
	var found [2]map[string][]string
	var running sync.WaitGroup
	for i, tg := range []*target{startKafka(t, settings), startTarget(t, settings)} {
		s := startScript(t, tg)
		running.Go(func() {
			c := newTransactionCompaction(s)
			c.compact()
			c.retain()
			found[i] = c.found
		})
	}
	running.Wait()
	if t.Failed() {
		return
	}
	late := map[string]bool{}
	for _, name := range []string{"once", "twice", "while a transaction is open", "when it has ended", "offsets"} {
		for i := range found {
			lateMarkers(found[i][name], late)
		}
		want, got := withoutLate(found[0][name], late), withoutLate(found[1][name], late)
		t.Logf("%s: %d lines; %d markers are left out", name, len(want), len(late))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: Apache Kafka's (-), that of the broker under test (+):\n%s", name, d)
		}
	}
	// So that the comparison means something.
	for name, parts := range map[string][]string{
		"once":  {"endTxnMarker: COMMIT", "endTxnMarker: ABORT", "deleteHorizonMs: OptionalLong[TIME]", "version: 0 "},
		"twice": {"endTxnMarker: COMMIT", "deleteHorizonMs: OptionalLong[TIME]"},
	} {
		for _, part := range parts {
			if !strings.Contains(strings.Join(found[1][name], "\n"), part) {
				t.Errorf("%s: the dump says nothing of %q:\n%q", name, part, found[1][name])
			}
		}
	}
}

// The topics of a transactionCompaction.
const (
	keptTopic  = "kept"    // compacted, in the producers' codec
	codecTopic = "changed" // compacted, in another one
	goneTopic  = "gone"    // its oldest segments are deleted
)

// transactionCompaction is one broker's part in TestTransactionsAreCompacted.
type transactionCompaction struct {
	*script
	newer, older, open *transactionWriter
	random             *rand.Rand
	round              int
	want               map[string]string // what is committed, by key
	found              map[string][]string
}

func newTransactionCompaction(s *script) *transactionCompaction {
	s.t.Helper()
	c := &transactionCompaction{script: s, random: rand.New(rand.NewPCG(1, 1)), want: map[string]string{},
		found: map[string][]string{}}
	more := []kgo.Opt{kgo.TransactionTimeout(10 * time.Minute), kgo.ProducerBatchCompression(kgo.NoCompression())}
	compacted := map[string]string{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1", "delete.retention.ms": "0",
	}
	c.make(keptTopic, compacted)
	compacted["compression.type"] = "zstd"
	c.make(codecTopic, compacted)
	c.make(goneTopic, map[string]string{"retention.bytes": "-1"})
	c.newer, c.older, c.open = s.writer("newer", true, more...), s.writer("older", false, more...),
		s.writer("open", true, more...)
	return c
}

func (c *transactionCompaction) make(topic string, configs map[string]string) {
	c.t.Helper()
	all := map[string]*string{"segment.bytes": kadm.StringPtr("1048576"), "file.delete.delay.ms": kadm.StringPtr("0")}
	for key, value := range configs {
		all[key] = &value
	}
	if _, err := c.admin.CreateTopic(c.t.Context(), 1, 1, all, topic); err != nil {
		c.t.Fatal(err)
	}
	c.settle()
}

func (c *transactionCompaction) alter(topic, name, value string) {
	c.t.Helper()
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}
	answers, err := c.admin.AlterTopicConfigs(c.t.Context(), change, topic)
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.settle()
}

// value makes a content of which some twenty fill a segment.
func (c *transactionCompaction) value(key string) []byte {
	content := make([]byte, 24<<10)
	for i := range content {
		content[i] = byte(c.random.Uint32())
	}
	return fmt.Appendf(nil, "%s in round %d %x", key, c.round, content)
}

// add writes keys into both compacted topics, the same, in a transaction.
func (c *transactionCompaction) add(w *transactionWriter, isCommitted bool, keys ...string) {
	c.t.Helper()
	for _, key := range keys {
		value := c.value(key)
		if strings.HasPrefix(key, "deleted") {
			value = nil
		}
		for _, topic := range []string{keptTopic, codecTopic} {
			w.add(&kgo.Record{Topic: topic, Key: []byte(key), Value: value})
		}
		if isCommitted {
			c.want[key] = string(value)
		}
	}
}

// fill writes about one segment: transactions that are overwritten by later ones in part or as a whole, aborted ones,
// and tombstones.
func (c *transactionCompaction) fill() {
	c.t.Helper()
	c.round++
	own := fmt.Sprint("own-", c.round)
	for n := range 2 {
		c.add(c.newer, true, "a", "b", fmt.Sprint("c-", n))
		c.newer.end(kgo.TryCommit)
		c.add(c.older, false, "a", "b", "never-"+own)
		c.older.end(kgo.TryAbort)
		c.add(c.older, true, "d", "e")
		c.older.end(kgo.TryCommit)
		c.add(c.newer, true, own, "deleted-"+own)
		c.newer.end(kgo.TryCommit)
		c.add(c.newer, false, "a", "f")
		c.newer.end(kgo.TryAbort)
	}
}

// clean has both topics compacted as far as may be, and notes what is left of one.
func (c *transactionCompaction) clean(name string) {
	c.t.Helper()
	for _, topic := range []string{keptTopic, codecTopic} {
		c.alter(topic, "min.cleanable.dirty.ratio", "0.0001")
		stable, err := c.admin.ListCommittedOffsets(c.t.Context(), topic)
		if err != nil {
			c.t.Fatal(err)
		}
		at, _ := stable.Lookup(topic, 0)
		c.cleaned(topic, at.Offset)
		c.alter(topic, "min.cleanable.dirty.ratio", "1")
	}
	c.found[name] = c.left()
}

// cleaned waits until all segments are clean that end at or below an offset.
func (c *transactionCompaction) cleaned(topic string, stable int64) {
	c.t.Helper()
	deadline := time.Now().Add(awaitWithin)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		want := int64(0)
		for _, file := range glob(c.t, filepath.Join(c.target.dir, topic+"-0"), "*.log") {
			if base := number(strings.TrimSuffix(filepath.Base(file), ".log")); base <= stable {
				want = base
			}
		}
		text, err := os.ReadFile(filepath.Join(c.target.dir, "cleaner-offset-checkpoint"))
		if err == nil && strings.Contains(string(text), fmt.Sprintf("\n%s 0 %d\n", topic, want)) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s is not cleaned to %d: %s, %v", topic, want, text, err)
		}
	}
}

var (
	emptyBatch = regexp.MustCompile(
		`^baseOffset: .* count: 0 .*(producerId: \S+) .*isTransactional: true isControl: false`)
	markerBatch  = regexp.MustCompile(`^baseOffset: (\d+) .*(producerId: \S+) .*isControl: true`)
	abortedEntry = regexp.MustCompile(`^version: 0 .* lastOffset: (\d+) `)
	recordLine   = regexp.MustCompile(`^\| offset: (\d+) `)
	batchPlaces  = regexp.MustCompile(`position: \d+ `)
	// With a delete horizon the records' times are told from it on.
	sizesByTime    = regexp.MustCompile(`(OptionalLong\[TIME\] CreateTime: TIME )size: \d+ `)
	deleteHorizons = regexp.MustCompile(`OptionalLong\[\d+\]`)
	aboutFiles     = regexp.MustCompile(`(?m)^(Dumping|Log starting offset|Non-consecutive|  -?\d+ is followed).*\n`)
)

// lateMarkers finds the markers of transactions of which a batch is left that has lost its records: it tells where a
// producer or a segment ends, which is each cleaner's own affair. As long as it is there the marker must stay too.
func lateMarkers(lines []string, late map[string]bool) {
	empty := map[string]bool{} // producers
	for _, line := range lines {
		if m := emptyBatch.FindStringSubmatch(line); m != nil {
			empty[m[1]] = true
		} else if m := markerBatch.FindStringSubmatch(line); m != nil {
			late[m[1]] = late[m[1]] || empty[m[2]]
			delete(empty, m[2])
		}
	}
	maps.DeleteFunc(late, func(_ string, is bool) bool { return !is })
}

// withoutLate leaves out those markers, and batches without records.
func withoutLate(lines []string, late map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		for _, form := range []*regexp.Regexp{markerBatch, abortedEntry, recordLine} {
			if m := form.FindStringSubmatch(line); m != nil && late[m[1]] {
				return true
			}
		}
		return strings.Contains(line, " count: 0 ")
	})
}

// left is what Kafka's tool says of a compacted log: batches, records, and the aborted transactions.
func (c *transactionCompaction) left() []string {
	c.t.Helper()
	folder := filepath.Join(c.target.dir, keptTopic+"-0")
	var all []string
	for _, pattern := range []string{"*.log", "*.txnindex"} {
		e := c.run("org.apache.kafka.tools.DumpLogSegments",
			[]string{"--deep-iteration", "--files", strings.Join(glob(c.t, folder, pattern), ",")})
		complaints := firstOffsets.ReplaceAllString(e.Err, "")
		if e.Status != 0 || aboutFiles.ReplaceAllString(complaints, "") != "" {
			c.t.Errorf("DumpLogSegments: status %d\n%s", e.Status, e.Err)
		}
		text := aboutFiles.ReplaceAllString(e.Out, "")
		text = deleteHorizons.ReplaceAllString(batchPlaces.ReplaceAllString(text, ""), "OptionalLong[TIME]")
		text = strings.Join(c.maskTransactions(text), "\n")
		all = append(all, strings.Split(sizesByTime.ReplaceAllString(text, "$1"), "\n")...)
	}
	return all
}

// read compares what readers of committed records have of each key with what was committed.
func (c *transactionCompaction) read() {
	c.t.Helper()
	for _, topic := range []string{keptTopic, codecTopic} {
		records, _, err := readTopic(c.t.Context(), c.target.bootstrap, topic, kgo.ReadCommitted())
		if err != nil {
			c.t.Fatal(err)
		}
		got := map[string]string{}
		for _, r := range records {
			got[string(r.Key)] = string(r.Value)
		}
		for key, want := range c.want {
			if got[key] != want {
				c.t.Errorf("%s: %s is %.40q, want %.40q", topic, key, got[key], want)
			}
		}
		for key := range got {
			if _, is := c.want[key]; !is {
				c.t.Errorf("%s: %s was never committed", topic, key)
			}
		}
	}
}

// compact goes through the stages in which the cleaner meets transactions.
func (c *transactionCompaction) compact() {
	c.t.Helper()
	for range 3 {
		c.fill()
	}
	c.clean("once")
	c.read()
	c.fill() // what is rolled now is cleaned together with what was cleaned before
	c.fill()
	c.clean("twice")
	c.read()
	c.add(c.open, true, "a", "open")
	c.fill()
	c.fill()
	c.clean("while a transaction is open")
	c.open.end(kgo.TryCommit)
	c.fill()
	c.clean("when it has ended")
	c.read()
}

// retain has the beginning of an open transaction deleted, by retention and on request, and ends it.
func (c *transactionCompaction) retain() {
	c.t.Helper()
	note := func(what string) {
		var line []string
		for _, list := range []func() (kadm.ListedOffsets, error){
			func() (kadm.ListedOffsets, error) { return c.admin.ListStartOffsets(c.t.Context(), goneTopic) },
			func() (kadm.ListedOffsets, error) { return c.admin.ListCommittedOffsets(c.t.Context(), goneTopic) },
			func() (kadm.ListedOffsets, error) { return c.admin.ListEndOffsets(c.t.Context(), goneTopic) },
		} {
			offsets, err := list()
			if err != nil {
				c.t.Fatal(err)
			}
			o, _ := offsets.Lookup(goneTopic, 0)
			line = append(line, strconv.FormatInt(o.Offset, 10))
		}
		c.found["offsets"] = append(c.found["offsets"], what+": "+strings.Join(line, " "))
	}
	add := func(w *transactionWriter) { w.add(&kgo.Record{Topic: goneTopic, Value: c.value("")}) }
	add(c.older)
	c.older.end(kgo.TryCommit)
	add(c.open)
	for range 70 {
		add(c.newer)
	}
	c.newer.end(kgo.TryCommit)
	note("open")
	c.alter(goneTopic, "retention.bytes", "1048576")
	c.wait("retention", func(ctx context.Context) bool {
		starts, err := c.admin.ListStartOffsets(ctx, goneTopic)
		o, _ := starts.Lookup(goneTopic, 0)
		return err == nil && o.Offset > 2
	})
	note("retained")
	add(c.open)
	add(c.older)
	c.older.end(kgo.TryCommit)
	ends, err := c.admin.ListEndOffsets(c.t.Context(), goneTopic)
	if err != nil {
		c.t.Fatal(err)
	}
	end, _ := ends.Lookup(goneTopic, 0)
	before := kadm.Offsets{}
	before.AddOffset(goneTopic, 0, end.Offset-1, -1)
	if _, err := c.admin.DeleteRecords(c.t.Context(), before); err != nil {
		c.t.Fatal(err)
	}
	note("deleted")
	c.open.end(kgo.TryAbort)
	note("aborted")
}
