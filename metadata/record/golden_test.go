package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	batch "spate/kafka/record"

	"spate/kafka"
)

// Goal: the formats are Kafka's. Method: a metadata log and a snapshot of a real Kafka 4.3.1, in testdata with what
// Kafka's own DumpLogSegments says about each record, are decoded, compared with that, and encoded again to the same
// bytes.

// notServed are the types in the golden files that Spate neither writes nor reads yet.
var notServed = []string{"BEGIN_TRANSACTION_RECORD", "END_TRANSACTION_RECORD", "REGISTER_CONTROLLER_RECORD"}

func TestRecordsOfKafkaAreReadAndWrittenAlike(t *testing.T) {
	seen := map[Type]int{}
	for _, name := range []string{"kafka-4.3.1.log", "kafka-4.3.1.checkpoint", "kafka-4.3.1-quotas.log"} {
		want := dumped(t, name+".json")
		for _, b := range batches(t, name) {
			it := b.Records()
			for r, ok := it.Next(); ok && !b.IsControl(); r, ok = it.Next() {
				if d := checkGolden(t, r, want[r.Offset]); d != nil {
					seen[d.Type()]++
				}
			}
		}
	}
	for _, typ := range []Type{TypeRegisterBroker, TypeTopic, TypePartition, TypeConfig, TypePartitionChange,
		TypeRemoveTopic, TypeFeatureLevel, TypeClientQuota, TypeProducerIDs, TypeBrokerRegistrationChange, TypeNoOp} {
		if seen[typ] == 0 {
			t.Errorf("no %s was checked", typ)
		}
	}
}

type dump struct {
	Type    string
	Version int16
	Data    map[string]any
}

// checkGolden compares one record with Kafka's view of it; want is nil for NO_OP_RECORD, which the dump leaves out.
func checkGolden(t *testing.T, r batch.Record, want *dump) Record {
	t.Helper()
	got, err := Decode(r.Value)
	var unknown *UnknownError
	if errors.As(err, &unknown) {
		if want == nil || unknown.Type.String() != want.Type ||
			!strings.Contains(strings.Join(notServed, " "), want.Type) {
			t.Errorf("offset %d: %v", r.Offset, err)
		}
		return nil
	}
	if err != nil {
		t.Fatalf("offset %d: %v", r.Offset, err)
	}
	if again := Append(nil, got); !bytes.Equal(again, r.Value) {
		t.Errorf("offset %d: %s is written as\n%x, but Kafka wrote\n%x", r.Offset, got.Type(), again, r.Value)
	}
	if want == nil {
		want = &dump{Type: "NO_OP_RECORD", Data: map[string]any{}}
	}
	if got.Type().String() != want.Type || got.writeVersion() != want.Version {
		t.Errorf("offset %d: %s of version %d, but Kafka says %s of %d", r.Offset, got.Type(), got.writeVersion(),
			want.Type, want.Version)
	}
	if diff := cmp.Diff(want.Data, inKafkasJSON(t, got)); diff != "" {
		t.Errorf("offset %d: %s differs from what Kafka says (-Kafka +Spate):\n%s", r.Offset, got.Type(), diff)
	}
	return got
}

// batches reads a golden file.
func batches(t testing.TB, name string) (all []batch.Batch) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			t.Fatal(err)
		}
		all, data = append(all, b), rest
	}
	return all
}

// dumped reads lines of an offset and the JSON that DumpLogSegments prints.
func dumped(t *testing.T, name string) map[kafka.Offset]*dump {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	all := map[kafka.Offset]*dump{}
	for line := range strings.Lines(string(text)) {
		number, object, _ := strings.Cut(line, " ")
		offset, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		d := new(dump)
		if err := json.Unmarshal([]byte(object), d); err != nil {
			t.Fatal(err)
		}
		all[kafka.Offset(offset)] = d
	}
	return all
}

// kafkasNames are the JSON names that do not follow from the field's name.
var kafkasNames = map[string]string{
	"Topic.ID": "topicId", "RemoveTopic.ID": "topicId", "Partition.Index": "partitionId",
	"PartitionChange.Index": "partitionId", "Partition.ELR": "eligibleLeaderReplicas",
	"PartitionChange.ELR": "eligibleLeaderReplicas", "Partition.LastKnownELR": "lastKnownElr",
	"PartitionChange.LastKnownELR": "lastKnownElr", "FeatureLevel.Level": "featureLevel",
	"FeatureRange.Min": "minSupportedVersion", "FeatureRange.Max": "maxSupportedVersion", "Partition.ISR": "isr",
	"QuotaEntity.Type": "entityType", "QuotaEntity.Name": "entityName",
	"PartitionChange.ISR": "isr", "RegisterBroker.Endpoints": "endPoints",
}

// kafkasDefaults are the values of tagged fields that Kafka leaves out.
var kafkasDefaults = map[string]any{
	"Partition.LeaderRecoveryState": LeaderRecovered, "PartitionChange.Leader": NoLeaderChange,
	"PartitionChange.LeaderRecoveryState":           NoRecoveryChange,
	"BrokerRegistrationChange.Fenced":               NoChange,
	"BrokerRegistrationChange.InControlledShutdown": NoChange,
}

// inKafkasJSON is the record as Kafka's JsonConverter shows it, by reflection over its fields.
func inKafkasJSON(t *testing.T, r Record) map[string]any {
	t.Helper()
	object := fields(reflect.ValueOf(r).Elem())
	if _, ok := r.(*RegisterBroker); ok {
		object["isMigratingZkBroker"] = false
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var plain map[string]any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

func fields(v reflect.Value) map[string]any {
	object := map[string]any{}
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		full := v.Type().Name() + "." + name
		if kafkasDefaults[full] == f.Interface() || f.Kind() == reflect.Slice && f.IsNil() {
			continue // only tagged fields are ever left out or null
		}
		shown, ok := kafkasNames[full]
		if !ok {
			shown = strings.Replace(strings.ToLower(name[:1])+name[1:], "ID", "Id", 1)
		}
		object[shown] = value(f)
	}
	return object
}

func value(f reflect.Value) any {
	switch {
	case f.Type() == reflect.TypeFor[kafka.UUID]():
		return fmt.Sprint(f.Interface())
	case f.Kind() == reflect.Struct:
		return fields(f)
	case f.Kind() == reflect.Slice:
		list := []any{}
		for i := range f.Len() {
			list = append(list, value(f.Index(i)))
		}
		return list
	}
	return f.Interface()
}

func TestControlRecordsAreKafkas(t *testing.T) {
	logControl := controlValues(t, "kafka-4.3.1.log")
	snapshotControl := controlValues(t, "kafka-4.3.1.checkpoint")
	change := AppendLeaderChange(nil, LeaderChange{Leader: 1, Voters: []kafka.BrokerID{1}})
	if want := logControl[batch.ControlLeaderChange]; !bytes.Equal(change, want) {
		t.Errorf("a leader change is written as %x, but Kafka writes %x", change, want)
	}
	if footer := AppendSnapshotFooter(nil); !bytes.Equal(footer, snapshotControl[batch.ControlSnapshotFooter]) {
		t.Errorf(
			"a snapshot footer is written as %x, but Kafka writes %x",
			footer,
			snapshotControl[batch.ControlSnapshotFooter],
		)
	}
	want := snapshotControl[batch.ControlSnapshotHeader]
	header, err := DecodeSnapshotHeader(want)
	if err != nil || header.Quorum != nil {
		t.Fatalf("Kafka's snapshot header gives %+v, %v", header, err)
	}
	if again := AppendSnapshotHeader(nil, header); !bytes.Equal(again, want) {
		t.Errorf("a snapshot header is written as %x, but Kafka writes %x", again, want)
	}
}

func controlValues(t *testing.T, name string) map[batch.ControlType][]byte {
	t.Helper()
	values := map[batch.ControlType][]byte{}
	for _, b := range batches(t, name) {
		it := b.Records()
		for r, ok := it.Next(); ok && b.IsControl(); r, ok = it.Next() {
			typ, err := r.ControlType()
			if err != nil {
				t.Fatal(err)
			}
			values[typ] = bytes.Clone(r.Value)
		}
	}
	return values
}
