package compat

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestTransactionLog plays one script of transactions against Apache Kafka and against the broker under test, and has
// Kafka's DumpLogSegments read what both have written: the log of the coordinator, the records and the control batches
// of the partitions, their indexes of aborted transactions, the snapshots of producers, and the offsets of groups. It
// must not complain, and the texts must be the same, but for producer ids, checksums and times.
func TestTransactionLog(t *testing.T) {
	t.Parallel()
	settings := groupSettings()
	for key, value := range map[string]string{
		"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
	} {
		settings[key] = value
	}
	var dumps [2]map[string][]string
	var running sync.WaitGroup
	for i, tg := range []*target{startKafka(t, settings), startTarget(t, settings)} {
		s := startScript(t, tg)
		running.Go(func() { dumps[i] = transactionDumps(s) })
	}
	running.Wait()
	if t.Failed() {
		return
	}
	for _, name := range dumpNames {
		t.Logf("%s: %d lines", name, len(dumps[0][name]))
		if d := cmp.Diff(dumps[0][name], dumps[1][name]); d != "" {
			t.Errorf("%s: Apache Kafka's (-), that of the broker under test (+):\n%s", name, d)
		}
	}
	for name, want := range dumpedAtLeast {
		text := strings.Join(dumps[1][name], "\n")
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: the dump says nothing of %q:\n%.3000s", name, part, text)
			}
		}
	}
}

// What is dumped of each broker, and what must be among it, so that the comparison means something.
var (
	dumpNames     = []string{"coordinator", "partition 0", "partition 1", "aborted", "producers", "groups"}
	dumpedAtLeast = map[string][]string{
		"coordinator": {`"transactionalId":"older"`, `"transactionalId":"newer"`, `"transactionStatus":0`,
			`"transactionStatus":1`, `"transactionStatus":2`, `"transactionStatus":3`, `"transactionStatus":4`,
			`"transactionStatus":5`, `"transactionTimeoutMs":15000`},
		"partition 0": {"endTxnMarker: COMMIT coordinatorEpoch: 0", "endTxnMarker: ABORT coordinatorEpoch: 0"},
		"partition 1": {"endTxnMarker: COMMIT coordinatorEpoch: 0", "endTxnMarker: ABORT coordinatorEpoch: 0"},
		"aborted":     {"version: 0 producerId: "},
		"producers":   {"currentTxnFirstOffset: OptionalLong["},
		"groups":      {"isControl: true"},
	}
)

// transactionDumps plays the script and gives what the tool says, by name.
func transactionDumps(s *script) map[string][]string {
	s.topic("t", 2, 0)
	for _, isTwo := range []bool{false, true} {
		w := s.writer("older", isTwo)
		w.write(0, 1)
		w.end(kgo.TryCommit)
		w.write(1)
		w.write(0, 0)
		w.end(kgo.TryAbort)
		w.write(0)
		w.commitOffsets("group", 7)
		w.end(kgo.TryCommit)
		w.write(1)
		w.commitOffsets("group", 8)
		w.end(kgo.TryAbort)
		w.write(0, 1) // left open, which the next producer ends
		w = s.writer("older", isTwo)
		w.write(1)
		w.end(kgo.TryCommit)
		s.writer("older", isTwo, kgo.TransactionTimeout(transactionTooLong)).write(0)
		s.ends("older", "CompleteAbort") // nobody but the coordinator ends it
	}
	w := s.writer("newer", true)
	w.write(0, 1)
	names := make(map[string][]string)
	dir := s.target.dir
	files := func(folder, pattern string) string {
		return strings.Join(glob(s.t, filepath.Join(dir, folder), pattern), ",")
	}
	dumpTo := func(name string, args ...string) {
		e := s.run("org.apache.kafka.tools.DumpLogSegments", args)
		if e.Status != 0 || e.Err != "" {
			s.t.Errorf("DumpLogSegments %q: status %d\n%s\n%s", args, e.Status, e.Err, e.Out)
		}
		names[name] = s.maskTransactions(e.Out)
	}
	dumpTo("coordinator", "--transaction-log-decoder", "--files", files("__transaction_state-0", "*.log"))
	dumpTo("groups", "--offsets-decoder", "--files", files("__consumer_offsets-0", "*.log"))
	dumpTo("partition 0", "--print-data-log", "--files", files("t-0", "*.log"))
	dumpTo("partition 1", "--print-data-log", "--files", files("t-1", "*.log"))
	dumpTo("aborted", "--files", files("t-0", "*.txnindex")+","+files("t-1", "*.txnindex"))
	// A clean end writes snapshots.
	if err := s.target.stop(); err != nil {
		s.t.Error(err)
	}
	dumpTo("producers", "--files", files("t-0", "*.snapshot")+","+files("t-1", "*.snapshot"))
	return names
}

// transactionWriter is a producer that writes one record at a time, so that chance decides nothing.
type transactionWriter struct {
	*script
	id     string
	isTwo  bool
	client *kgo.Client
	count  int
}

// writer makes a producer of the older or the newer version of transactions, and takes the transactional id.
func (s *script) writer(id string, isTwo bool, more ...kgo.Opt) *transactionWriter {
	s.t.Helper()
	options := []kgo.Opt{kgo.SeedBrokers(s.target.bootstrap), kgo.TransactionalID(id),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(transactionTimeout)}
	if !isTwo {
		options = append(options, kgo.MaxVersions(kversion.V3_7_0()))
	}
	client, err := kgo.NewClient(append(options, more...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	if _, _, err := client.ProducerID(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return &transactionWriter{script: s, id: id, isTwo: isTwo, client: client}
}

// write adds a record to each of these partitions in turn; the first begins the transaction.
func (w *transactionWriter) write(to ...int32) {
	w.t.Helper()
	for _, p := range to {
		w.add(&kgo.Record{Topic: "t", Partition: p, Value: fmt.Append(nil, w.count)})
	}
}

// add writes a record; the first begins the transaction.
func (w *transactionWriter) add(r *kgo.Record) {
	w.t.Helper()
	if w.count == 0 {
		if err := w.client.BeginTransaction(); err != nil {
			w.t.Fatal(err)
		}
	}
	w.count++
	if err := w.client.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// end ends the transaction, and waits until all have learned it.
func (w *transactionWriter) end(how kgo.TransactionEndTry) {
	w.t.Helper()
	if err := w.client.EndTransaction(w.t.Context(), how); err != nil {
		w.t.Fatal(err)
	}
	w.count = 0
	state := "CompleteAbort"
	if how == kgo.TryCommit {
		state = "CompleteCommit"
	}
	w.ends(w.id, state)
}

// ends waits for the end of a transaction.
func (s *script) ends(id, state string) {
	s.t.Helper()
	s.wait("the transaction to be "+state, func(ctx context.Context) bool {
		d, err := s.admin.DescribeTransactions(ctx, id)
		return err == nil && d[id].State == state
	})
}

// commitOffsets commits an offset of both partitions for a group, in the transaction.
func (w *transactionWriter) commitOffsets(group string, offset int64) {
	w.t.Helper()
	id, epoch, err := w.client.ProducerID(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	carrier := w.carrier()
	defer carrier.Close()
	if !w.isTwo {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = w.id, id, epoch, group
		response, err := add.RequestWith(w.t.Context(), carrier)
		if err == nil {
			err = kerr.ErrorForCode(response.ErrorCode)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = w.id, id, epoch, group
	commit.Generation = -1
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = "t"
	for p := range int32(2) {
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = p, offset
		topic.Partitions = append(topic.Partitions, partition)
	}
	commit.Topics = append(commit.Topics, topic)
	response, err := commit.RequestWith(w.t.Context(), carrier)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range response.Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			w.t.Fatal(err)
		}
	}
}

// carrier is a client without a producer, for requests of the version of transactions.
func (w *transactionWriter) carrier() *kgo.Client {
	options := []kgo.Opt{kgo.SeedBrokers(w.target.bootstrap)}
	if !w.isTwo {
		options = append(options, kgo.MaxVersions(kversion.V3_7_0()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

const (
	transactionTimeout = 10 * time.Minute // which nothing of the script takes
	// transactionTooLong is that of a transaction that is to take too long, but not before its record is written.
	transactionTooLong = 15 * time.Second
)

var (
	transactionTimes = regexp.MustCompile(`\b1[6-9]\d{11}\b`)
	checksums        = regexp.MustCompile(`crc: \d+`)
	partitionIDs     = regexp.MustCompile(`\[\d+(,\d+)*\]`)
	partitionLists   = regexp.MustCompile(`:\[\{"topic":.*?\}\]`)
	producerIDs      = regexp.MustCompile(`(producerId|producer_id)([:=] ?)(\d+)`)
)

// maskTransactions hides what no two runs have in common. Producer ids are told by the order in which they come; the
// partitions of a transaction are sorted, because Kafka writes them in the order of a hash map.
func (s *script) maskTransactions(text string) []string {
	text = strings.ReplaceAll(text, s.target.dir, "DIR")
	text = transactionTimes.ReplaceAllString(text, "TIME")
	text = checksums.ReplaceAllString(text, "crc: SUM")
	var known []string
	text = producerIDs.ReplaceAllStringFunc(text, func(found string) string {
		m := producerIDs.FindStringSubmatch(found)
		if !slices.Contains(known, m[3]) {
			known = append(known, m[3])
		}
		return fmt.Sprintf("%s%sNUMBER%d", m[1], m[2], slices.Index(known, m[3]))
	})
	lists := func(in string, separator string) string {
		items := strings.Split(in, separator)
		slices.Sort(items)
		return strings.Join(items, separator)
	}
	text = partitionIDs.ReplaceAllStringFunc(text, func(found string) string {
		return `[` + lists(strings.Trim(found, "[]"), ",") + `]`
	})
	text = partitionLists.ReplaceAllStringFunc(text, func(found string) string {
		inner := strings.TrimSuffix(strings.TrimPrefix(found, `:[{`), `}]`)
		return `:[{` + lists(inner, `},{`) + `}]`
	})
	return strings.Split(strings.TrimSpace(text), "\n")
}
