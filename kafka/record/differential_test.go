package record

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// kmsgContent decodes an uncompressed batch with franz-go's codec, which is generated from Kafka's definitions.
func kmsgContent(t testing.TB, b Batch, payload []byte) content {
	t.Helper()
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	c := content{
		Attributes: Attributes(rb.Attributes), First: kafka.Offset(rb.FirstOffset),
		Last: kafka.Offset(rb.FirstOffset) + kafka.Offset(rb.LastOffsetDelta), Max: kafka.Timestamp(rb.MaxTimestamp),
		ProducerID: kafka.ProducerID(rb.ProducerID), ProducerEpoch: kafka.ProducerEpoch(rb.ProducerEpoch),
		Sequence: kafka.Sequence(rb.FirstSequence),
	}
	for range rb.NumRecords {
		n, at := varint(payload, 0)
		var r kmsg.Record
		if err := r.ReadFrom(payload[:at+int(n)]); err != nil {
			t.Fatalf("kmsg: %v", err)
		}
		payload = payload[at+int(n):]
		p := plainRecord{
			Offset:    c.First + kafka.Offset(r.OffsetDelta),
			Timestamp: kafka.Timestamp(rb.FirstTimestamp + r.TimestampDelta64),
			Key:       r.Key, Value: r.Value,
		}
		if Attributes(rb.Attributes)&logAppendTimeBit != 0 {
			p.Timestamp = c.Max
		}
		for _, h := range r.Headers {
			p.Headers = append(p.Headers, Header{Key: []byte(h.Key), Value: h.Value})
		}
		c.Records = append(c.Records, p)
	}
	return c
}

func TestBatchesAgreeWithKmsg(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		o := BuilderOptions{
			BaseOffset: kafka.Offset(random.Int64N(1 << 50)), LeaderEpoch: kafka.LeaderEpoch(random.Int32N(99)),
			Transactional: random.IntN(2) == 0, LogAppendTime: random.IntN(2) == 0,
		}
		if random.IntN(2) == 0 {
			o.Producer = &Producer{kafka.ProducerID(random.Int64N(1 << 40)), 7, kafka.Sequence(random.Int32())}
		}
		b := batchOf(t, o, variety(random, 1+random.IntN(30)))
		if want, got := kmsgContent(t, b, b.Payload()), outlineOf(t, b); !reflect.DeepEqual(want, got) {
			t.Fatal(cmp.Diff(want, got))
		}
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		if rb.Length != b.Length() || uint32(rb.CRC) != b.CRC() || rb.PartitionLeaderEpoch != int32(b.LeaderEpoch()) ||
			rb.FirstTimestamp != int64(b.BaseTimestamp()) || !bytes.Equal(rb.Records, b.Payload()) {
			t.Fatalf("kmsg reads %+v", rb)
		}
		if !bytes.Equal(rb.AppendTo(nil), b) {
			t.Fatal("kmsg writes the batch otherwise")
		}
	}
}
