package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
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

// TestVerdicts sends good and hostile batches as they are and compares the answer to each, and the bytes that a fetch
// then gives, with those of Apache Kafka. With -rewrite and a Kafka's -bootstrap it records them anew.
func TestVerdicts(t *testing.T) {
	var cases []produceCase
	readJSON(t, casesFile, &cases)
	b := broker(t)
	run := runID()
	c, err := dial(b)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), wireTimeout)
	defer cancel()
	for kind, configs := range verdictTopics {
		if err := createTopic(ctx, c, "verdict-"+kind+"-"+run, 1, configs); err != nil {
			t.Fatal(err)
		}
	}
	var got []verdict
	for i := range cases {
		v, err := send(b, "verdict-"+cases[i].Topic+"-"+run, &cases[i])
		if err != nil {
			t.Fatalf("%s: %v", cases[i].Name, err)
		}
		got = append(got, v)
	}
	if *rewrite {
		writeJSON(t, verdictsFile, got)
		return
	}
	var want []verdict
	readJSON(t, verdictsFile, &want)
	for i := range got {
		if d := cmp.Diff(want[i], got[i]); d != "" {
			t.Errorf("%s: Kafka's answer (-) and this (+) differ:\n%s", cases[i].Name, d)
		}
	}
}

// send produces one case on a connection of its own, which it may cost, and reads back what was stored.
func send(address, topic string, pc *produceCase) (verdict, error) {
	v := verdict{Name: pc.Name}
	c, err := dial(address)
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
		v.Stored, err = fetchOne(c, topic, answer.BaseOffset)
	}
	return v, err
}

// fetchOne gives the batch at an offset.
func fetchOne(c *wireConn, topic string, offset int64) ([]byte, error) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(11)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 10_000, 1, 1
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, 1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := c.ask(req)
	if err != nil {
		return nil, err
	}
	got := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		return nil, fmt.Errorf("fetch: code %d", got.ErrorCode)
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
