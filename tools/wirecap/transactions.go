package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// transactionalID is that of the driver's transactions.
const transactionalID = "wirecap-txn"

// fillTransaction gives a request about transactions something to ask for.
func (d *driver) fillTransaction(request kmsg.Request) {
	p := d.producer
	switch r := request.(type) {
	case *kmsg.AddPartitionsToTxnRequest:
		r.TransactionalID, r.ProducerID, r.ProducerEpoch = transactionalID, p.ProducerID, p.ProducerEpoch
		r.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{0, 1, 2}}}
		r.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
			TransactionalID: transactionalID, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch,
			VerifyOnly: true,
			Topics:     []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: []int32{0, 1}}},
		}}
	case *kmsg.AddOffsetsToTxnRequest:
		r.TransactionalID, r.ProducerID, r.ProducerEpoch = transactionalID, p.ProducerID, p.ProducerEpoch
		r.Group = "wirecap-offsets"
	case *kmsg.EndTxnRequest:
		r.TransactionalID, r.ProducerID, r.ProducerEpoch = transactionalID, p.ProducerID, p.ProducerEpoch
		r.Commit = true
	case *kmsg.WriteTxnMarkersRequest:
		r.Markers = []kmsg.WriteTxnMarkersRequestMarker{{
			ProducerID: 4711, ProducerEpoch: r.Version, CoordinatorEpoch: 3, TransactionVersion: 2,
			Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: []int32{1, 9}}},
		}}
	case *kmsg.TxnOffsetCommitRequest:
		r.TransactionalID, r.Group = transactionalID, "wirecap-offsets"
		r.ProducerID, r.ProducerEpoch, r.Generation = p.ProducerID, p.ProducerEpoch, -1
		r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic}}
		for partition := range int32(3) { // the third is unknown
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, kmsg.TxnOffsetCommitRequestTopicPartition{
				Partition: partition, Offset: 5, LeaderEpoch: 0, Metadata: kmsg.StringPtr("metadata"),
			})
		}
	case *kmsg.DescribeTransactionsRequest:
		r.TransactionalIDs = []string{transactionalID, "no-such-id"}
	case *kmsg.ListTransactionsRequest:
		r.StateFilters, r.ProducerIDFilters = []string{"Ongoing", "CompleteCommit"}, []int64{p.ProducerID, 99}
		r.DurationFilterMillis = -1
		r.TransactionalIDPattern = kmsg.StringPtr("wire.*")
	default:
		d.fillGroup(request)
	}
}

// initTransactions gets the producer of the driver's transactions.
func (d *driver) initTransactions() error {
	for {
		request := kmsg.NewPtrInitProducerIDRequest()
		request.Version, request.TransactionTimeoutMillis = 3, 60_000
		request.TransactionalID = kmsg.StringPtr(transactionalID)
		response, err := d.ask(request)
		if err != nil {
			return err
		}
		d.producer = response.(*kmsg.InitProducerIDResponse)
		err = kafka.ErrorOf(d.producer.ErrorCode)
		switch kafka.CodeOf(err) {
		case kafka.CoordinatorLoadInProgress.Code, kafka.NotCoordinator.Code, kafka.CoordinatorNotAvailable.Code,
			kafka.ConcurrentTransactions.Code:
		default:
			return err
		}
	}
}

// runTransaction consumes, produces and commits in a transaction with franz-go. It also has Kafka make its topic.
func runTransaction(ctx context.Context, bootstrap string) error {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.ClientID("franz-go"),
		kgo.TransactionalID("franz-txn"), kgo.ConsumeTopics(topic), kgo.ConsumerGroup("franz-txn"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.PollFetches(ctx).Err(); err != nil {
		return err
	}
	if err := session.Begin(); err != nil {
		return err
	}
	record := &kgo.Record{Topic: topic, Key: []byte("key"), Value: []byte("in a transaction")}
	if err := session.ProduceSync(ctx, record).FirstErr(); err != nil {
		return err
	}
	_, err = session.End(ctx, kgo.TryCommit)
	return err
}
