package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/kafka/record"
)

// answered is what a Produce response says of one partition.
type answered struct {
	Error        string
	BaseOffset   int64
	AppendTime   bool // there is one
	LogStart     int64
	Message      string
	RecordErrors int
}

func produceOne(c *client, r *kmsg.ProduceRequest) answered {
	c.t.Helper()
	response := ask[*kmsg.ProduceResponse](c, r)
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		c.t.Fatalf("an answer for one partition is due: %+v", response)
	}
	return answerOf(response.Topics[0].Partitions[0])
}

func answerOf(p kmsg.ProduceResponseTopicPartition) answered {
	a := answered{
		BaseOffset: p.BaseOffset, AppendTime: p.LogAppendTime >= 0, LogStart: p.LogStartOffset,
		RecordErrors: len(p.ErrorRecords),
	}
	if err := kafka.ErrorOf(p.ErrorCode); err != nil {
		a.Error = err.Error()
	}
	if p.ErrorMessage != nil {
		a.Message = *p.ErrorMessage
	}
	return a
}

func expect(t testing.TB, got, want answered) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProduceInEveryVersionWithEveryAcks(t *testing.T) {
	for _, durability := range []string{"flush", "page-cache"} {
		t.Run(durability, func(t *testing.T) {
			n := startNode(t, with("spate.ack.durability="+durability))
			id := n.createTopic("orders", 1)
			c := n.client()
			next := int64(0)
			for version := int16(3); version <= 13; version++ {
				for _, acks := range []int16{-1, 1, 0} {
					r := produceRequest(version, acks, "orders", id, 0, batch("a", "b"))
					if acks == 0 {
						c.send(r) // no answer is due; the next request's answer shows that the order holds
						c.received++
						next += 2
						continue
					}
					want := answered{BaseOffset: next}
					if version < 5 {
						want.LogStart = -1
					}
					expect(t, produceOne(c, r), want)
					next += 2
				}
			}
			eventually(t, "all records are visible", func() bool {
				return n.replicas.TopicNamed("orders").Partition(0).HighWatermark() == kafka.Offset(next)
			})
		})
	}
}

// Each case is what Apache Kafka 4.3.1 answered to the same request, the sentence of the message apart.
func TestProduceRefusals(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 1)
	n.createTopic("small", 1, "max.message.bytes=100")
	n.createTopic("__consumer_offsets", 1)
	c := n.client()
	c.produce("orders", 0, "first")
	good := batch("a")
	corrupt := batch("a")
	corrupt[len(corrupt)-1] ^= 1
	of := func(o record.BuilderOptions) []byte { return batchOf(o, "a") }
	inTransaction := of(record.BuilderOptions{Producer: &record.Producer{ID: 5}, Transactional: true})
	txn := "txn"
	transactional := func(r *kmsg.ProduceRequest) *kmsg.ProduceRequest {
		r.TransactionID = &txn
		return r
	}
	none := answered{BaseOffset: -1, LogStart: -1}
	with := func(a answered, err *kafka.Error) answered {
		a.Error = err.Name
		return a
	}
	started := none
	started.LogStart = 0
	byID := func(id kafka.UUID, partition int32) *kmsg.ProduceRequest {
		return produceRequest(13, 1, "", id, partition, good)
	}
	byName := func(acks int16, topic string, partition int32, records []byte) *kmsg.ProduceRequest {
		return produceRequest(12, acks, topic, kafka.ZeroUUID, partition, records)
	}
	for _, test := range []struct {
		name    string
		request *kmsg.ProduceRequest
		want    answered
	}{
		{"a topic that does not exist", byName(1, "nope", 0, good), with(none, kafka.UnknownTopicOrPartition)},
		{"a topic id that does not exist", byID(kafka.UUID{1}, 0), with(none, kafka.UnknownTopicID)},
		{"no topic id", byID(kafka.ZeroUUID, 0), with(none, kafka.UnknownTopicID)},
		{"a partition that does not exist", byID(id, 1), with(none, kafka.UnknownTopicOrPartition)},
		{"a negative partition", byName(1, "orders", -1, good), with(none, kafka.UnknownTopicOrPartition)},
		{"an internal topic", byName(1, "__consumer_offsets", 0, good), with(none, kafka.InvalidTopicException)},
		{"acks 2", byName(2, "orders", 0, good), with(none, kafka.InvalidRequiredAcks)},
		{"acks -2", byName(-2, "orders", 0, good), with(none, kafka.InvalidRequiredAcks)},
		{"acks 5 for a topic that does not exist", byName(5, "nope", 0, good),
			with(none, kafka.UnknownTopicOrPartition)},
		{"no records", byName(1, "orders", 0, nil), with(none, kafka.InvalidRecord)},
		{"empty records", byName(1, "orders", 0, []byte{}), with(none, kafka.InvalidRecord)},
		{"two batches", byName(1, "orders", 0, append(batch("a"), batch("b")...)), with(none, kafka.InvalidRecord)},
		{"half a batch", byName(1, "orders", 0, good[:len(good)/2]), with(none, kafka.InvalidRecord)},
		{"a wrong checksum", byName(1, "orders", 0, corrupt), with(none, kafka.CorruptMessage)},
		{"a batch that is too large", byName(1, "small", 0, batch(strings.Repeat("x", 200))),
			with(none, kafka.MessageTooLarge)},
		{"a control batch", byName(1, "orders", 0, of(record.BuilderOptions{Control: true})),
			with(started, kafka.InvalidRecord)},
		{"a transaction without a transactional id", byName(1, "orders", 0, inTransaction),
			with(none, kafka.TransactionalIDAuthorizationFailed)},
		{"a transaction", transactional(byName(1, "orders", 0, inTransaction)), with(none, kafka.NotEnoughReplicas)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := produceOne(c, test.request)
			got.Message = ""
			expect(t, got, test.want)
		})
	}
	got := produceOne(c, transactional(byName(-1, "orders", 0, inTransaction)))
	if want := "Unable to verify the partition has been added to the transaction. " +
		"Underlying error: COORDINATOR_NOT_AVAILABLE"; got.Message != want {
		t.Errorf("the message is %q", got.Message)
	}
	if base := c.produce("orders", 0, "second"); base != 1 {
		t.Errorf("a refused request left a record: the next one has offset %d", base)
	}
}

func TestProduceWithoutAnswerClosesOnAnError(t *testing.T) {
	n := startNode(t)
	c := n.client()
	c.send(produceRequest(9, 0, "nope", kafka.ZeroUUID, 0, batch("a")))
	c.expectClosed()
}

func TestProduceRefusesOldVersionsByClosing(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	for version := int16(0); version <= 2; version++ {
		c := n.client()
		c.send(produceRequest(version, 1, "orders", kafka.ZeroUUID, 0, batch("a")))
		c.expectClosed()
	}
}

// Each partition of a request has its own fate.
func TestProduceAnswersForEachPartition(t *testing.T) {
	n := startNode(t)
	n.createTopic("a", 2)
	n.createTopic("b", 1)
	c := n.client()
	r := produceRequest(9, -1, "a", kafka.ZeroUUID, 0, batch("1"))
	corrupt := batch("2")
	corrupt[len(corrupt)-1] ^= 1
	r.Topics[0].Partitions = append(r.Topics[0].Partitions,
		kmsg.ProduceRequestTopicPartition{Partition: 1, Records: corrupt},
		kmsg.ProduceRequestTopicPartition{Partition: 2, Records: batch("3")})
	r.Topics = append(r.Topics,
		produceRequest(9, -1, "nope", kafka.ZeroUUID, 0, batch("4")).Topics[0],
		produceRequest(9, -1, "b", kafka.ZeroUUID, 0, batch("5", "6")).Topics[0])
	response := ask[*kmsg.ProduceResponse](c, r)
	var got []string
	for _, topic := range response.Topics {
		for _, p := range topic.Partitions {
			got = append(got, fmt.Sprint(topic.Topic, p.Partition, " ", kafka.ErrorOf(p.ErrorCode), " ", p.BaseOffset))
		}
	}
	want := []string{
		"a0 <nil> 0", "a1 CORRUPT_MESSAGE -1", "a2 UNKNOWN_TOPIC_OR_PARTITION -1",
		"nope0 UNKNOWN_TOPIC_OR_PARTITION -1", "b0 <nil> 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestIdempotentProducer(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	c := n.client()
	send := func(sequence kafka.Sequence, epoch kafka.ProducerEpoch) answered {
		producer := &record.Producer{ID: 7, Epoch: epoch, Sequence: sequence}
		records := batchOf(record.BuilderOptions{Producer: producer}, "x", "y")
		return produceOne(c, produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, records))
	}
	check := func() {
		t.Helper()
		expect(t, send(2, 1), answered{BaseOffset: 2, AppendTime: true}) // a duplicate: where it is, since when
		got := send(9, 1)
		got.Message = ""
		expect(t, got, answered{Error: "OUT_OF_ORDER_SEQUENCE_NUMBER", BaseOffset: -1})
		got = send(4, 0)
		got.Message = ""
		expect(t, got, answered{Error: "INVALID_PRODUCER_EPOCH", BaseOffset: -1})
	}
	expect(t, send(0, 1), answered{BaseOffset: 0})
	expect(t, send(2, 1), answered{BaseOffset: 2})
	check()
	n.restart()
	c = n.client()
	check()
	expect(t, send(4, 1), answered{BaseOffset: 4})
}

func TestRecordErrors(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1, "message.timestamp.before.max.ms=3600000", "message.timestamp.after.max.ms=3600000")
	b := record.NewBuilder(record.BuilderOptions{})
	for _, ts := range []int64{time.Now().UnixMilli(), 5, 6} {
		b.Append(kafka.Timestamp(ts), nil, []byte("v"))
	}
	old, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := n.client()
	response := ask[*kmsg.ProduceResponse](c, produceRequest(8, 1, "orders", kafka.ZeroUUID, 0, old))
	p := response.Topics[0].Partitions[0]
	if p.ErrorCode != kafka.InvalidTimestamp.Code || len(p.ErrorRecords) != 2 || p.ErrorRecords[0].RelativeOffset != 1 {
		t.Fatalf("%+v", p)
	}
	if p.ErrorMessage == nil || p.ErrorRecords[0].ErrorMessage == nil {
		t.Fatal("a message is due")
	}
	got := produceOne(c, produceRequest(7, 1, "orders", kafka.ZeroUUID, 0, old))
	expect(t, got, answered{Error: "INVALID_TIMESTAMP", BaseOffset: -1}) // version 7 cannot say more
}

func TestLogAppendTime(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1, "message.timestamp.type=LogAppendTime")
	c := n.client()
	expect(t, produceOne(c, produceRequest(9, 1, "orders", kafka.ZeroUUID, 0, batch("a"))), answered{AppendTime: true})
}

// Requests are answered in their order, although those that wait for the disk are mixed with those that do not.
func TestAnswersKeepTheOrderOfRequests(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	c := n.client()
	var requests []kmsg.Request
	for i := range 60 {
		acks := int16(-1)
		if i%3 == 0 {
			acks = 1
		}
		if i%5 == 0 {
			requests = append(requests, kmsg.NewPtrMetadataRequest())
		} else {
			requests = append(requests, produceRequest(9, acks, "orders", kafka.ZeroUUID, 0, batch("a")))
		}
		c.send(requests[i])
	}
	next := int64(0)
	for _, r := range requests {
		response, ok := c.receive(r).(*kmsg.ProduceResponse)
		if !ok {
			continue
		}
		if base := response.Topics[0].Partitions[0].BaseOffset; base != next {
			t.Fatalf("base offset %d, want %d", base, next)
		}
		next++
	}
}

func TestMinInsyncReplicasNeverExceedsTheReplicas(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1, "min.insync.replicas=2")
	n.client().produce("orders", 0, "a") // as Kafka does: one replica is all there are
}

func TestDeletedTopicAnswersThoseWhoWait(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 1)
	c := n.client()
	f := fetchRequest(13, "", id, 0, 0)
	f.MaxWaitMillis = 60_000
	c.send(f)
	eventually(t, "the fetch waits", func() bool { return n.node.Fetches.Len() == 1 })
	n.deleteTopic("orders")
	p := c.receive(f).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if p.ErrorCode != kafka.UnknownTopicOrPartition.Code && p.ErrorCode != kafka.UnknownTopicID.Code {
		t.Fatalf("%v", kafka.ErrorOf(p.ErrorCode))
	}
	again := n.createTopic("orders", 1)
	if again == id {
		t.Fatal("the new topic has the id of the old one")
	}
	if base := c.produce("orders", 0, "a"); base != 0 {
		t.Fatalf("the new topic begins at %d", base)
	}
}
