package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"spate/kafka"
)

// Goal: every record survives the way to disk and back in every version that has its fields, and bytes that do not
// fit are refused by name, without memory that the bytes did not pay for. Method: examples of every type with all
// fields set, cut, damaged and fuzzed; random records.

var (
	idA = kafka.UUID{1, 2, 3, 15: 4}
	idB = kafka.UUID{9, 8, 7, 15: 6}
)

func pointer(s string) *string { return &s }

// examples has one record of each type with every field set to something that is not its default.
func examples() []Record {
	return []Record{
		&Topic{Name: "orders", ID: idA},
		&RemoveTopic{ID: idB},
		&Partition{Index: 3, TopicID: idA, Replicas: []kafka.BrokerID{1, 2}, ISR: []kafka.BrokerID{2},
			RemovingReplicas: []kafka.BrokerID{1}, AddingReplicas: []kafka.BrokerID{4}, Leader: 2,
			LeaderRecoveryState: LeaderRecovering, LeaderEpoch: 7, PartitionEpoch: 8,
			Directories: []kafka.UUID{idA, idB}, ELR: []kafka.BrokerID{5}, LastKnownELR: []kafka.BrokerID{6}},
		&PartitionChange{Index: 3, TopicID: idA, ISR: []kafka.BrokerID{1}, Leader: 1, Replicas: []kafka.BrokerID{1, 3},
			RemovingReplicas: []kafka.BrokerID{}, AddingReplicas: []kafka.BrokerID{3},
			LeaderRecoveryState: LeaderRecovered, ELR: []kafka.BrokerID{2}, LastKnownELR: []kafka.BrokerID{},
			Directories: []kafka.UUID{idB, idA}},
		&Config{ResourceType: 2, ResourceName: "orders", Name: "retention.ms", Value: pointer("1")},
		&FeatureLevel{Name: "metadata.version", Level: 30},
		&ClientQuota{Entity: []QuotaEntity{{Type: "user", Name: pointer("a")}, {Type: "client-id"}},
			Key: "producer_byte_rate", Value: 1024.5, Remove: true},
		&ProducerIDs{BrokerID: 1, BrokerEpoch: 12, NextProducerID: 2000},
		&NoOp{QuorumChange: []byte{2, 1}},
		&RegisterBroker{BrokerID: 1, IncarnationID: idB, BrokerEpoch: 42,
			Endpoints: []Endpoint{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 65535, SecurityProtocol: 3}},
			Features:  []FeatureRange{{Name: "metadata.version", Min: 7, Max: 30}}, Rack: pointer("a"), Fenced: true,
			InControlledShutdown: true, LogDirs: []kafka.UUID{idA}, CordonedLogDirs: []kafka.UUID{idA}},
		&UnregisterBroker{BrokerID: 1, BrokerEpoch: 42},
		&FenceBroker{BrokerID: 1, BrokerEpoch: 42},
		&UnfenceBroker{BrokerID: 1, BrokerEpoch: 42},
		&BrokerRegistrationChange{
			BrokerID:             1,
			BrokerEpoch:          42,
			Fenced:               Unfence,
			InControlledShutdown: ControlledShutdown,
			LogDirs:              []kafka.UUID{idB},
			CordonedLogDirs:      []kafka.UUID{},
		},
	}
}

func TestEveryServedTypeHasAnExample(t *testing.T) {
	have := map[Type]bool{}
	for _, r := range examples() {
		have[r.Type()] = true
	}
	for typ, row := range servedTypes {
		if !have[typ] || row.make().Type() != typ || strings.HasPrefix(typ.String(), "record type") {
			t.Errorf("type %d (%s) has no example, another make, or no name", typ, typ)
		}
	}
}

func TestRecordsSurviveEncodingAndDecoding(t *testing.T) {
	for _, r := range examples() {
		got, err := Decode(Append([]byte{}, r))
		if err != nil {
			t.Errorf("%s: %v", r.Type(), err)
			continue
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%s changed (-in +out):\n%s", r.Type(), diff)
		}
	}
}

func rackless(rack *string) Record {
	return &RegisterBroker{Endpoints: []Endpoint{}, Features: []FeatureRange{}, Rack: rack}
}

func TestNullsAndEmptyListsAreKeptApart(t *testing.T) {
	for name, r := range map[string]Record{
		"a change of nothing":                   NewPartitionChange(idA, 0),
		"an ISR that becomes empty":             &PartitionChange{ISR: []kafka.BrokerID{}, LeaderRecoveryState: -1},
		"a broker without rack and cordons":     rackless(nil),
		"a broker with an empty rack":           rackless(pointer("")),
		"a config that is removed":              &Config{ResourceType: 2, ResourceName: "t", Name: "n"},
		"a config that is set to nothing":       &Config{ResourceType: 2, Name: "n", Value: pointer("")},
		"a quota of an empty name":              &ClientQuota{Entity: []QuotaEntity{{Name: pointer("")}}},
		"a NoOp without a change of the quorum": &NoOp{},
	} {
		got, err := Decode(Append(nil, r))
		if diff := cmp.Diff(r, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-in +out):\n%s", name, err, diff)
		}
	}
}

// since says from which version on a field exists; the others exist from version 0.
var since = map[string]int16{
	"Partition.Directories": 1, "Partition.ELR": 2, "Partition.LastKnownELR": 2,
	"PartitionChange.Directories": 1, "PartitionChange.ELR": 2, "PartitionChange.LastKnownELR": 2,
	"RegisterBroker.InControlledShutdown": 1, "RegisterBroker.LogDirs": 3, "RegisterBroker.CordonedLogDirs": 4,
	"BrokerRegistrationChange.InControlledShutdown": 1, "BrokerRegistrationChange.LogDirs": 2,
	"BrokerRegistrationChange.CordonedLogDirs": 3,
}

func TestEveryVersionHoldsTheFieldsThatItHas(t *testing.T) {
	for _, r := range examples() {
		for version := range servedTypes[r.Type()].maxVersion + 1 {
			value := binary.AppendUvarint(binary.AppendUvarint([]byte{frameVersion}, uint64(r.Type())), uint64(version))
			got, err := Decode(r.append(value, version))
			if err != nil {
				t.Errorf("%s of version %d: %v", r.Type(), version, err)
				continue
			}
			want := reflect.New(reflect.TypeOf(r).Elem())
			want.Elem().Set(reflect.ValueOf(r).Elem())
			for i := range want.Elem().NumField() {
				if name := want.Type().Elem().Name() + "." + want.Elem().Type().Field(i).Name; since[name] > version {
					want.Elem().Field(i).SetZero()
				}
			}
			if diff := cmp.Diff(want.Interface(), got); diff != "" {
				t.Errorf("%s of version %d (-want +got):\n%s", r.Type(), version, diff)
			}
		}
	}
}

func TestUnknownRecordsAreNamed(t *testing.T) {
	for want, value := range map[string][]byte{
		"REGISTER_CONTROLLER_RECORD (type 27) of version 0": {1, 27, 0, 1, 2},
		"record type 300 (type 300) of version 0":           {1, 0xac, 2, 0},
		"TOPIC_RECORD (type 2) of version 1":                {1, 2, 1},
		"PARTITION_RECORD (type 3) of version 3":            {1, 3, 3},
	} {
		_, err := Decode(value)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || err.Error() != "metadata record "+want+" is not known to this program" {
			t.Errorf("%x gives %v, want %s", value, err, want)
		}
	}
}

func TestMalformedRecordsAreRefused(t *testing.T) {
	topic := Append(nil, &Topic{Name: "orders", ID: idA})
	replace := func(at int, with ...byte) []byte {
		return append(append(bytes.Clone(topic[:at]), with...), topic[at+1:]...)
	}
	fenced := func(tagged ...byte) []byte { // what follows broker 1, epoch 1
		return append([]byte{1, 17, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, tagged...)
	}
	for name, c := range map[string]struct {
		value []byte
		want  string
	}{
		"nothing":                       {nil, "record frame: an unsigned varint is cut short"},
		"a frame of another version":    {[]byte{2, 2, 0}, "record frame: version 2, want 1"},
		"a type out of range":           {[]byte{1, 0x80, 0x80, 2, 0}, "record frame: type 32768 version 0 is out"},
		"a varint without an end":       {[]byte{1, 255, 255, 255, 255, 255, 255}, "record frame: an unsigned varint"},
		"a varint above 32 bits":        {[]byte{1, 255, 255, 255, 255, 127}, "record frame: an unsigned varint"},
		"a null name":                   {replace(3, 0), "TOPIC_RECORD: a field that is never null is null"},
		"a name longer than the record": {replace(3, 0x7f), "TOPIC_RECORD: 126 elements of 1 bytes are wanted"},
		"bytes after the last field":    {append(bytes.Clone(topic), 0), "1 bytes follow the last field"},
		"a tag without a value":         {replace(len(topic)-1, 1), "TOPIC_RECORD: an unsigned varint is cut short"},
		"tags out of order":             {replace(len(topic)-1, 2, 5, 0, 5, 0), "TOPIC_RECORD: tag 5 follows tag 5"},
		"a tagged value that is short":  {fenced(1, 0, 0), "RECORD: tag 0: 1 bytes are wanted"},
		"a tagged value that is long":   {fenced(1, 0, 2, 1, 1), "RECORD: tag 0: 1 bytes follow"},
		"a fencing without a meaning":   {fenced(1, 0, 1, 2), "fenced 2, inControlledShutdown 0"},
		"a shutdown without a meaning": {Append(nil, &BrokerRegistrationChange{InControlledShutdown: -1}),
			"inControlledShutdown -1"},
		"a broker that migrates": {[]byte{1, 0, 4, 0, 0, 0, 5, 1}, "broker 5 migrates from ZooKeeper"},
	} {
		_, err := Decode(c.value)
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s gives %v, want %s", name, err, c.want)
		}
	}
}

func TestEveryCutIsRefused(t *testing.T) {
	for _, r := range examples() {
		whole := Append(nil, r)
		for n := range whole {
			if _, err := Decode(whole[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes is accepted", r.Type(), n, len(whole))
			}
		}
	}
}

func TestTagsOfLaterProgramsAreSkipped(t *testing.T) {
	value := Append(nil, &FeatureLevel{Name: "f", Level: 1})
	value = append(value[:len(value)-1], 2, 0, 1, 0xee, 0x90, 0x4e, 2, 0xaa, 0xbb) // tags 0 and 10,000
	got, err := Decode(value)
	if diff := cmp.Diff(Record(&FeatureLevel{Name: "f", Level: 1}), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestLyingCountsCostNoMemory sends counts of millions in a few bytes.
func TestLyingCountsCostNoMemory(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<31)
	partition := append(append([]byte{1, 3, 2}, make([]byte, 20)...), huge...)
	broker := append(append([]byte{1, 0, 4}, make([]byte, 29)...), huge...)
	tagged := append(
		append([]byte{1, 5, 2}, make([]byte, 20)...),
		append([]byte{1, 0, 9}, append(huge, 1, 2, 3, 4)...)...)
	quota := append([]byte{1, 14, 0}, huge...)
	padded := func(value []byte) []byte { return append(bytes.Clone(value), make([]byte, 1000)...) }
	for _, value := range [][]byte{partition, broker, tagged, quota, padded(partition), padded(quota)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			if _, err := Decode(value); err == nil {
				t.Fatalf("%x is accepted", value)
			}
		}
		runtime.ReadMemStats(&after)
		if used := (after.TotalAlloc - before.TotalAlloc) / 100; used > 2048 {
			t.Errorf("%x takes %d bytes", value[:min(len(value), 40)], used)
		}
	}
}

func TestSnapshotHeaderCarriesTheQuorum(t *testing.T) {
	in := SnapshotHeader{LastTimestamp: 5, Quorum: []byte("raft")}
	value := AppendSnapshotHeader(nil, in)
	out, err := DecodeSnapshotHeader(value)
	if diff := cmp.Diff(in, out); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	value[1] = 1
	if _, err := DecodeSnapshotHeader(value); err == nil ||
		!strings.Contains(err.Error(), "snapshot header: version 1") {
		t.Errorf("a header of another version gives %v", err)
	}
	if _, err := DecodeSnapshotHeader(value[:8]); err == nil {
		t.Error("a header that is cut is accepted")
	}
}

func brokers() *rapid.Generator[[]kafka.BrokerID] {
	return rapid.Map(rapid.SliceOfN(rapid.Int32(), 0, 5), func(ids []int32) []kafka.BrokerID {
		out := make([]kafka.BrokerID, len(ids))
		for i, id := range ids {
			out[i] = kafka.BrokerID(id)
		}
		return out
	})
}

func orNil[T any](g *rapid.Generator[[]T]) *rapid.Generator[[]T] {
	return rapid.OneOf(g, rapid.Just([]T(nil)))
}

func TestRandomPartitionsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &Partition{
			Index: kafka.PartitionIndex(
				rapid.Int32().Draw(t, "index"),
			), TopicID: idA, Replicas: brokers().Draw(t, "replicas"),
			ISR: brokers().Draw(t, "isr"), RemovingReplicas: brokers().Draw(t, "removing"),
			AddingReplicas: brokers().Draw(t, "adding"), Leader: kafka.BrokerID(rapid.Int32().Draw(t, "leader")),
			LeaderRecoveryState: rapid.Int8().
				Draw(t, "state"),
			LeaderEpoch:    kafka.LeaderEpoch(rapid.Int32().Draw(t, "epoch")),
			PartitionEpoch: rapid.Int32().Draw(t, "partition epoch"), Directories: []kafka.UUID{},
			ELR: orNil(brokers()).Draw(t, "elr"), LastKnownELR: orNil(brokers()).Draw(t, "last known elr"),
		}
		change := &PartitionChange{
			Index: in.Index, TopicID: idB, ISR: orNil(brokers()).Draw(t, "isr2"), Leader: in.Leader,
			Replicas: in.ELR, RemovingReplicas: in.LastKnownELR, LeaderRecoveryState: in.LeaderRecoveryState,
		}
		for _, r := range []Record{in, change} {
			out, err := Decode(Append(nil, r))
			if diff := cmp.Diff(r, out); err != nil || diff != "" {
				t.Fatalf("%v\n%s", err, diff)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, r := range examples() {
		f.Add(Append(nil, r))
	}
	for _, b := range batches(f, "kafka-4.3.1.log") {
		it := b.Records()
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			f.Add(bytes.Clone(r.Value))
		}
	}
	f.Add([]byte{1, 17, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1, 1}) // a tag that spells out a default
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := Decode(value)
		if err != nil {
			return
		}
		again, err := Decode(Append(nil, r))
		if diff := cmp.Diff(r, again, cmpopts.EquateNaNs()); err != nil || diff != "" {
			t.Fatalf("%x: what was read is not what is written: %v\n%s", value, err, diff)
		}
	})
}

func FuzzDecodeSnapshotHeader(f *testing.F) {
	f.Add(AppendSnapshotHeader(nil, SnapshotHeader{LastTimestamp: 5, Quorum: []byte("raft")}))
	f.Fuzz(func(t *testing.T, value []byte) {
		h, err := DecodeSnapshotHeader(value)
		if err != nil {
			return
		}
		again, err := DecodeSnapshotHeader(AppendSnapshotHeader(nil, h))
		if diff := cmp.Diff(h, again); err != nil || diff != "" {
			t.Fatalf("%x: %v\n%s", value, err, diff)
		}
	})
}
