package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	batch "spate/kafka/record"
)

// The cases are made, and their verdicts are checked against the validation alone, by package kafka/record.
const (
	casesFile    = "../../kafka/record/testdata/produce_cases.json"
	verdictsFile = "../../kafka/record/testdata/kafka_verdicts.json"
)

// produceCase is one partition's records to send.
type produceCase struct {
	Name    string
	Topic   string
	Version int16
	Records []byte
}

// verdict is how a broker answered a case, and what a fetch then gave.
type verdict struct {
	Name         string
	Code         int16
	Message      string        `json:",omitempty"`
	RecordErrors []recordError `json:",omitempty"`
	AppendTime   int64         `json:",omitempty"` // -1 but under LogAppendTime
	Stored       []byte        `json:",omitempty"`
}

type recordError struct {
	Index   int32
	Message string
}

// verdictTopics are the kinds of topic that the cases name.
var verdictTopics = map[string]map[string]string{
	"plain":             {},
	"compacted":         {"cleanup.policy": "compact"},
	"appendtime":        {"message.timestamp.type": "LogAppendTime"},
	"past":              {"message.timestamp.before.max.ms": "1000000000000"},
	"small":             {"max.message.bytes": "2000"},
	"smalluncompressed": {"max.message.bytes": "2000", "compression.type": "uncompressed"},
	"uncompressed":      {"compression.type": "uncompressed"},
	"gzip":              {"compression.type": "gzip"},
	"snappy":            {"compression.type": "snappy"},
	"lz4":               {"compression.type": "lz4"},
	"zstd":              {"compression.type": "zstd"},
}

// deviations are the codes that Spate answers instead of Kafka's, on purpose. Package kafka/record says why; where
// Kafka asks for a transactional id first, so does Spate, though that package does not.
var deviations = map[string]*kafka.Error{
	"offset deltas 0, 0, 0":       kafka.InvalidRecord,
	"offset deltas 0, 2, 1":       kafka.InvalidRecord,
	"offset deltas 1, 2, 3":       kafka.InvalidRecord,
	"lz4, wrong content checksum": kafka.InvalidRecord,
}

// TestVerdicts sends good and hostile batches as they are and compares the answer to each, and the batch that a fetch
// then gives, with those of Apache Kafka. With -rewrite and a Kafka's -bootstrap it records them anew.
func TestVerdicts(t *testing.T) {
	var cases []produceCase
	readJSON(t, casesFile, &cases)
	run := runID()
	c := mustDial(t)
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	for kind, configs := range verdictTopics {
		configs = maps.Clone(configs)
		configs["retention.ms"] = "-1" // the records are old
		if err := createTopic(ctx, c, "verdict-"+kind+"-"+run, 1, configs); err != nil {
			t.Fatal(err)
		}
	}
	var want []verdict
	readJSON(t, verdictsFile, &want)
	var got []verdict
	for i := range cases {
		v, err := send("verdict-"+cases[i].Topic+"-"+run, &cases[i])
		if err != nil {
			t.Fatalf("%s: %v", cases[i].Name, err)
		}
		got = append(got, v)
		if !*rewrite {
			t.Run(cases[i].Name, func(t *testing.T) { compareVerdicts(t, &cases[i], &want[i], &v) })
		}
	}
	if *rewrite {
		writeJSON(t, verdictsFile, got)
	}
	for kind := range verdictTopics {
		checkAlive(t, c, "verdict-"+kind+"-"+run)
	}
}

// checkAlive makes sure that nothing of what a topic has taken in keeps it from serving: a look-up by time, which reads
// every batch, answers, and a good batch is taken.
func checkAlive(t *testing.T, c *wireConn, topic string) {
	t.Helper()
	for _, timestamp := range []int64{-3, -2, -1, 1_700_000_000_001, 6_999_999_999_999} {
		if _, err := listOffset(c, topic, 0, timestamp); err != nil && !errors.As(err, new(*kafka.Error)) {
			t.Fatalf("%s: look up %d: %v", topic, timestamp, err)
		}
	}
	w := batch.NewBuilder(batch.BuilderOptions{Codec: batch.Zstd})
	w.Append(1_700_000_000_000, []byte("key"), []byte("value"))
	b, err := w.Build()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := send(topic, &produceCase{Name: "a good batch", Version: 9, Records: b}); err != nil || v.Code != 0 {
		t.Errorf("%s: a good batch after the others: %+v, %v", topic, v, err)
	}
}

// compareVerdicts holds an answer to Kafka's.
func compareVerdicts(t *testing.T, c *produceCase, want, got *verdict) {
	if deviation, ok := deviations[c.Name]; ok && got.Code == deviation.Code {
		return
	}
	b, _, err := batch.Next(c.Records)
	if compressed := err == nil && b.Codec() != batch.None; want.Code != 0 && got.Code == 0 && compressed {
		// A topic that keeps the producer's codec and needs nothing of the records does not decompress them.
		if c.Topic == "plain" && want.RecordErrors == nil {
			return
		}
	}
	if want.Code == kafka.UnknownServerError.Code && got.Code != 0 {
		return // an exception that Kafka does not handle; any code that says what is wrong will do
	}
	if got.Code != want.Code {
		t.Fatalf("code %d %q, want %d %q", got.Code, got.Message, want.Code, want.Message)
	}
	if indexes(got) != indexes(want) {
		t.Errorf("record errors %+v, want %+v", got.RecordErrors, want.RecordErrors)
	}
	if (got.AppendTime < 0) != (want.AppendTime < 0) {
		t.Errorf("append time %d, want one like %d", got.AppendTime, want.AppendTime)
	}
	if want.Code == 0 {
		if d := cmp.Diff(storedOf(t, want), storedOf(t, got)); d != "" {
			t.Errorf("Kafka stores (-), this broker (+):\n%s", d)
		}
	}
}

func indexes(v *verdict) string {
	var all []int32
	for _, e := range v.RecordErrors {
		all = append(all, e.Index)
	}
	return fmt.Sprint(all)
}

// stored is what a fetch gave, without what depends on the broker's history and clock.
type stored struct {
	Attributes batch.Attributes
	Delta      int32
	Max        kafka.Timestamp // 0 under LogAppendTime
	Producer   batch.Producer
	Records    []string
}

func storedOf(t *testing.T, v *verdict) stored {
	t.Helper()
	b, _, err := batch.Next(v.Stored)
	if err == nil {
		err = b.CheckCRC()
	}
	if err != nil {
		t.Fatal(err)
	}
	s := stored{
		Attributes: b.Attributes(), Delta: b.LastOffsetDelta(), Max: b.MaxTimestamp(),
		Producer: batch.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch(), Sequence: b.BaseSequence()},
	}
	appendTime := b.TimestampType() == batch.LogAppendTime
	if appendTime {
		if b.MaxTimestamp() != kafka.Timestamp(v.AppendTime) {
			t.Errorf("the batch has append time %d, the answer %d", b.MaxTimestamp(), v.AppendTime)
		}
		s.Max = 0
	}
	it := b.Records()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		ts := r.Timestamp
		if appendTime {
			ts = 0
		}
		line := fmt.Sprintf("%d @%d %v=%q %v=%q", r.OffsetDelta, ts, r.Key == nil, r.Key, r.Value == nil, r.Value)
		headers := r.Headers()
		for h, ok := headers.Next(); ok; h, ok = headers.Next() {
			line += fmt.Sprintf(" %q: %v=%q", h.Key, h.Value == nil, h.Value)
		}
		s.Records = append(s.Records, line)
	}
	if it.Err() != nil { // a compressed batch that neither broker looked into
		s.Records = []string{it.Err().Error()}
	}
	return s
}

// send produces one case on a connection of its own, which it may cost, and reads back what was stored.
func send(topic string, pc *produceCase) (verdict, error) {
	v := verdict{Name: pc.Name}
	c, err := dial(underTest.bootstrap)
	if err != nil {
		return v, err
	}
	defer c.Close()
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(pc.Version)
	req.Acks, req.TimeoutMillis = -1, 30_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = pc.Records
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := c.ask(req)
	if err != nil {
		return v, fmt.Errorf("the connection ended: %w", err)
	}
	answer := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	v.Code, v.AppendTime = answer.ErrorCode, answer.LogAppendTime
	if answer.ErrorMessage != nil {
		v.Message = *answer.ErrorMessage
	}
	for _, e := range answer.ErrorRecords {
		r := recordError{Index: e.RelativeOffset}
		if e.ErrorMessage != nil {
			r.Message = *e.ErrorMessage
		}
		v.RecordErrors = append(v.RecordErrors, r)
	}
	if v.Code == 0 {
		v.Stored, err = fetch(c, topic, 0, answer.BaseOffset, 1)
	}
	return v, err
}

// fetch gives the batches from an offset on, the first one whole.
func fetch(c *wireConn, topic string, partition int32, offset int64, bytesMax int32) ([]byte, error) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(11)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 10_000, 1, bytesMax
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, bytesMax
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := c.ask(req)
	if err != nil {
		return nil, err
	}
	got := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		return nil, fmt.Errorf("fetch from %s at %d: code %d", topic, offset, got.ErrorCode)
	}
	return got.RecordBatches, nil
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func writeJSON(t *testing.T, file string, v any) {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
