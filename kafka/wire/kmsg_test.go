package wire

// Conversions between this package's Produce and Fetch values and kmsg's, and a generator of random kmsg values: what
// the differential, golden and fuzz tests share.

import (
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"spate/kafka"
)

func textOf(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func toKmsgProduce(version int16, p *ProduceRequest) *kmsg.ProduceRequest {
	k := kmsg.NewPtrProduceRequest()
	k.Version, k.TransactionID, k.Acks, k.TimeoutMillis = version, textOf(p.TransactionalID), p.Acks, p.TimeoutMs
	for _, t := range p.Topics {
		kt := kmsg.NewProduceRequestTopic()
		kt.Topic, kt.TopicID = string(t.Name), t.ID
		for _, q := range t.Partitions {
			kp := kmsg.NewProduceRequestTopicPartition()
			kp.Partition, kp.Records = int32(q.Index), q.Records
			kt.Partitions = append(kt.Partitions, kp)
		}
		k.Topics = append(k.Topics, kt)
	}
	return k
}

func toKmsgFetch(version int16, f *FetchRequest) *kmsg.FetchRequest {
	k := kmsg.NewPtrFetchRequest()
	k.Version, k.ClusterID = version, textOf(f.ClusterID)
	if version < 15 {
		k.ReplicaID = int32(f.ReplicaID)
	} else {
		k.ReplicaState.ID, k.ReplicaState.Epoch = int32(f.ReplicaID), int64(f.ReplicaEpoch)
	}
	k.MaxWaitMillis, k.MinBytes, k.MaxBytes = f.MaxWaitMs, f.MinBytes, f.MaxBytes
	k.IsolationLevel, k.SessionID, k.SessionEpoch = int8(f.IsolationLevel), f.SessionID, f.SessionEpoch
	for _, t := range f.Topics {
		kt := kmsg.NewFetchRequestTopic()
		kt.Topic, kt.TopicID = string(t.Name), t.ID
		for _, q := range t.Partitions {
			kt.Partitions = append(kt.Partitions, kmsg.FetchRequestTopicPartition{
				Partition: int32(q.Index), CurrentLeaderEpoch: int32(q.CurrentLeaderEpoch),
				FetchOffset: int64(q.FetchOffset), LastFetchedEpoch: int32(q.LastFetchedEpoch),
				LogStartOffset: int64(q.LogStartOffset), PartitionMaxBytes: q.MaxBytes,
				ReplicaDirectoryID: q.DirectoryID, HighWatermark: int64(q.HighWatermark),
			})
		}
		k.Topics = append(k.Topics, kt)
	}
	for _, t := range f.Forgotten {
		kt := kmsg.NewFetchRequestForgottenTopic()
		kt.Topic, kt.TopicID = string(t.Name), t.ID
		for _, q := range t.Partitions {
			kt.Partitions = append(kt.Partitions, int32(q))
		}
		k.ForgottenTopics = append(k.ForgottenTopics, kt)
	}
	k.Rack = string(f.RackID)
	return k
}

func fromKmsgProduceResponse(k *kmsg.ProduceResponse) *ProduceResponse {
	p := &ProduceResponse{ThrottleMs: k.ThrottleMillis}
	for _, kt := range k.Topics {
		t := ProduceTopicResponse{Name: []byte(kt.Topic), ID: kt.TopicID}
		for _, kp := range kt.Partitions {
			q := ProducePartitionResponse{
				Index: kafka.PartitionIndex(kp.Partition), ErrorCode: kp.ErrorCode,
				BaseOffset: kafka.Offset(kp.BaseOffset), LogAppendTime: kafka.Timestamp(kp.LogAppendTime),
				LogStartOffset: kafka.Offset(kp.LogStartOffset), ErrorMessage: orEmpty(kp.ErrorMessage),
				Leader: fromKmsgLeader(kp.CurrentLeader.LeaderID, kp.CurrentLeader.LeaderEpoch),
			}
			for _, e := range kp.ErrorRecords {
				q.RecordErrors = append(q.RecordErrors, RecordError{e.RelativeOffset, orEmpty(e.ErrorMessage)})
			}
			t.Partitions = append(t.Partitions, q)
		}
		p.Topics = append(p.Topics, t)
	}
	for _, b := range k.Brokers {
		p.Endpoints = append(p.Endpoints, NodeEndpoint{kafka.BrokerID(b.NodeID), b.Host, b.Port, orEmpty(b.Rack)})
	}
	return p
}

func fromKmsgLeader(id, epoch int32) CurrentLeader {
	if id == -1 && epoch == -1 {
		return CurrentLeader{}
	}
	return CurrentLeader{true, kafka.BrokerID(id), kafka.LeaderEpoch(epoch)}
}

func fromKmsgEpoch(epoch int32, end int64) EpochEndOffset {
	if epoch == -1 && end == -1 {
		return EpochEndOffset{}
	}
	return EpochEndOffset{true, kafka.LeaderEpoch(epoch), kafka.Offset(end)}
}

// encodeFetchResponse encodes k with the encoder of this package and puts the records where they belong.
func encodeFetchResponse(k *kmsg.FetchResponse, correlationID int32) []byte {
	type insertion struct {
		at      int
		records []byte
	}
	var insertions []insertion
	var e FetchResponseEncoder
	e.Begin(nil, k.Version, FetchResponseHead{
		correlationID, k.ThrottleMillis, k.ErrorCode, k.SessionID, len(k.Topics),
	})
	for _, kt := range k.Topics {
		e.Topic([]byte(kt.Topic), kt.TopicID, len(kt.Partitions))
		for i := range kt.Partitions {
			kp := &kt.Partitions[i]
			result, recordsBytes := fromKmsgFetchPartition(kp), len(kp.RecordBatches)
			if kp.RecordBatches == nil {
				recordsBytes = NullRecords
			}
			e.Partition(result, recordsBytes)
			insertions = append(insertions, insertion{e.Len(), kp.RecordBatches})
			e.EndPartition()
		}
		e.EndTopic()
	}
	var endpoints []NodeEndpoint
	for _, b := range k.Brokers {
		endpoints = append(endpoints, NodeEndpoint{kafka.BrokerID(b.NodeID), b.Host, b.Port, orEmpty(b.Rack)})
	}
	buf := e.End(endpoints)
	var frame []byte
	from := 0
	for _, in := range insertions {
		frame = append(append(frame, buf[from:in.at]...), in.records...)
		from = in.at
	}
	return append(frame, buf[from:]...)
}

func fromKmsgFetchPartition(k *kmsg.FetchResponseTopicPartition) *FetchPartitionResult {
	p := &FetchPartitionResult{
		Index: kafka.PartitionIndex(k.Partition), ErrorCode: k.ErrorCode,
		HighWatermark: kafka.Offset(k.HighWatermark), LastStableOffset: kafka.Offset(k.LastStableOffset),
		LogStartOffset: kafka.Offset(k.LogStartOffset), PreferredReadReplica: kafka.BrokerID(k.PreferredReadReplica),
		DivergingEpoch: fromKmsgEpoch(k.DivergingEpoch.Epoch, k.DivergingEpoch.EndOffset),
		Leader:         fromKmsgLeader(k.CurrentLeader.LeaderID, k.CurrentLeader.LeaderEpoch),
		SnapshotID:     fromKmsgEpoch(k.SnapshotID.Epoch, k.SnapshotID.EndOffset),
	}
	if k.AbortedTransactions != nil {
		p.Aborted = []AbortedTransaction{}
	}
	for _, a := range k.AbortedTransactions {
		p.Aborted = append(p.Aborted, AbortedTransaction{kafka.ProducerID(a.ProducerID), kafka.Offset(a.FirstOffset)})
	}
	return p
}

// fillRandom sets every field under v that kmsg encodes to a random value, except for unknown tagged fields.
func fillRandom(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(drawInt(t, v.Type().Bits()))
	case reflect.String:
		v.SetString(rapid.StringN(0, 8, 40).Draw(t, "string"))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			fillRandom(t, v.Elem())
		}
	case reflect.Array: // of a topic id
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rapid.Byte().Draw(t, "id")))
		}
	case reflect.Slice:
		fillRandomSlice(t, v)
	case reflect.Struct:
		fillRandomStruct(t, v)
	}
}

func drawInt(t *rapid.T, bits int) int64 {
	limit := int64(1) << (bits - 1)
	return rapid.OneOf(
		rapid.SampledFrom([]int64{-1, 0, 1, limit - 1, -limit}), rapid.Int64Range(-limit, limit-1),
	).Draw(t, "int")
}

func fillRandomSlice(t *rapid.T, v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if rapid.IntRange(0, 3).Draw(t, "null") > 0 {
			v.SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
		}
		return
	}
	n := rapid.IntRange(-1, 3).Draw(t, "elements")
	if n == -1 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		fillRandom(t, v.Index(i))
	}
}

func fillRandomStruct(t *rapid.T, v reflect.Value) {
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
			fillRandom(t, v.Field(i))
		}
	}
}

// dropUnknownTags empties the unknown tagged fields under request.
func dropUnknownTags(request kmsg.Request) {
	eachTags(reflect.ValueOf(request).Elem(), func(tags *kmsg.Tags) { *tags = kmsg.Tags{} })
}

// eachTags calls do for the unknown tagged fields of every structure under v.
func eachTags(v reflect.Value, do func(*kmsg.Tags)) {
	switch {
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			eachTags(v.Index(i), do)
		}
	case v.Kind() == reflect.Pointer && !v.IsNil() && v.Type().Elem().Kind() == reflect.Struct:
		eachTags(v.Elem(), do)
	case v.Kind() == reflect.Struct && v.Type() == reflect.TypeFor[kmsg.Tags]():
		do(v.Addr().Interface().(*kmsg.Tags))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			eachTags(v.Field(i), do)
		}
	}
}

// versions gives every version that the table serves of key.
func versions(key int16) (v []int16) {
	row := Lookup(key)
	for version := row.Min; version <= row.Max; version++ {
		v = append(v, version)
	}
	return v
}
