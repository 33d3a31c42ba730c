package record

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
	kafkarecord "spate/kafka/record"
)

// pair is a record as it lies in a log; value is nil for a tombstone.
type pair struct{ key, value []byte }

// The segments that Apache Kafka 4.3.1 wrote: one for transactions of all versions, in all states, and for ids that
// expired; one for a producer whose epochs are used up, without most of the records on the way there.
var segments = []string{"protocols", "epochs"}

func goldenPairs(t testing.TB, segment string) []pair {
	t.Helper()
	buf, err := os.ReadFile(filepath.Join("testdata", "kafka-4.3.1", segment, "00000000000000000000.log"))
	if err != nil {
		t.Fatal(err)
	}
	var pairs []pair
	for len(buf) > 0 {
		var b kafkarecord.Batch
		if b, buf, err = kafkarecord.Next(buf); err != nil {
			t.Fatal(err)
		}
		records := b.Records()
		for r, ok := records.Next(); ok; r, ok = records.Next() {
			pairs = append(pairs, pair{bytes.Clone(r.Key), bytes.Clone(r.Value)})
		}
		if err := records.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return pairs
}

func encode(t *Transaction) pair {
	value, kept := t.AppendValue([]byte{})
	if !kept {
		value = nil
	}
	return pair{t.AppendKey(nil), value}
}

// TestKafkasRecordsComeOutAsTheyWent decodes what Kafka wrote and encodes it again: the bytes are the same. What the
// segments have is counted, so that nothing goes unseen.
func TestKafkasRecordsComeOutAsTheyWent(t *testing.T) {
	states, versions, tombstones, nexts := map[State]int{}, map[int16]int{}, 0, 0
	for _, segment := range segments {
		for i, p := range goldenPairs(t, segment) {
			r, err := Decode(p.key, p.value)
			if err != nil {
				t.Fatalf("%s: record %d: %v\n%x", segment, i, err, p.value)
			}
			got := encode(r)
			isSame := bytes.Equal(got.key, p.key) && bytes.Equal(got.value, p.value)
			if !isSame || (got.value == nil) != (p.value == nil) {
				t.Errorf("%s: record %d, %+v:\nkey   %x\nwant  %x\nvalue %x\nwant  %x",
					segment, i, r, got.key, p.key, got.value, p.value)
			}
			if r.Deleted {
				tombstones++
				continue
			}
			states[r.State]++
			versions[r.Version]++
			if r.NextProducerID != kafka.NoProducerID {
				nexts++
			}
		}
	}
	for s := Empty; s <= CompleteAbort; s++ {
		if states[s] == 0 {
			t.Errorf("there is no record of state %s", s)
		}
	}
	if versions[0] == 0 || versions[1] == 0 || tombstones == 0 || nexts == 0 {
		t.Errorf("versions %v, %d tombstones, %d with a next producer id", versions, tombstones, nexts)
	}
}

type object = map[string]any

// TestKafkasDecoderReadsTheSame compares what is decoded here with what Kafka's own DumpLogSegments
// --transaction-log-decoder printed for the same segments.
func TestKafkasDecoderReadsTheSame(t *testing.T) {
	for _, segment := range segments {
		printed, err := os.ReadFile(filepath.Join("testdata", "kafka-4.3.1", segment, "transaction-log-decoder.txt"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(printed)), "\n")
		pairs := goldenPairs(t, segment)
		if len(lines) != len(pairs) {
			t.Fatalf("%s: %d lines for %d records", segment, len(lines), len(pairs))
		}
		for i, p := range pairs {
			r, err := Decode(p.key, p.value)
			if err != nil {
				t.Fatal(err)
			}
			key, value, _ := strings.Cut(strings.TrimPrefix(lines[i], "key: "), " payload: ")
			wantValue := any(nil)
			if value != "<DELETE>" {
				wantValue = parse(t, value)
			}
			gotKey, gotValue := asKafkaPrints(r)
			if diff := cmp.Diff(parse(t, key), plain(t, gotKey)); diff != "" {
				t.Errorf("%s: key of record %d: %s", segment, i, diff)
			}
			if diff := cmp.Diff(wantValue, plain(t, gotValue)); diff != "" {
				t.Errorf("%s: value of record %d: %s", segment, i, diff)
			}
		}
	}
}

// parse reads JSON with numbers as they are written.
func parse(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func plain(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

// asKafkaPrints is a record as Kafka's tool prints it.
func asKafkaPrints(r *Transaction) (key, value any) {
	key = object{"type": "0", "data": object{"transactionalId": r.ID}}
	if r.Deleted {
		return key, nil
	}
	data := object{
		"producerId": r.ProducerID, "producerEpoch": r.Epoch, "transactionTimeoutMs": r.TimeoutMs,
		"transactionStatus": r.State, "transactionLastUpdateTimestampMs": r.LastUpdate,
		"transactionStartTimestampMs": r.Start, "transactionPartitions": nil,
	}
	if r.State != Empty {
		topics := []object{}
		for _, topic := range r.Topics {
			topics = append(topics, object{"topic": topic.Name, "partitionIds": topic.Partitions})
		}
		data["transactionPartitions"] = topics
	}
	if r.PreviousProducerID != kafka.NoProducerID {
		data["previousProducerId"] = r.PreviousProducerID
	}
	if r.NextProducerID != kafka.NoProducerID {
		data["nextProducerId"] = r.NextProducerID
	}
	if r.ClientVersion != 0 {
		data["clientTransactionVersion"] = r.ClientVersion
	}
	version := "1"
	if r.Version == VersionFixed {
		version = "0"
	}
	return key, object{"version": version, "data": data}
}
