package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/txn"
	"spate/kafka"
)

// AddOffsetsToTxn: a producer is about to commit offsets of a group in its transaction. What is added is the partition
// of __consumer_offsets that keeps the group's state. A producer may ask before anybody has used a group: the topic is
// made then, because how many partitions it has says which one it is.

// addOffsetsFenced is the first version that knows PRODUCER_FENCED.
const addOffsetsFenced = 2

func addOffsetsToTxnBlocks(c *Context, _ kmsg.Request) bool {
	return c.Node.Image().Topic(kafka.ConsumerOffsetsTopic) == nil
}

func addOffsetsToTxn(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.AddOffsetsToTxnRequest)
	if c.Node.Image().Topic(kafka.ConsumerOffsetsTopic) == nil {
		c.createOffsetsTopic(context.Background())
	}
	partition := c.Node.Groups.PartitionFor(request.Group)
	if partition < 0 {
		a.refuse(kafka.CoordinatorNotAvailable, tellAddOffsetsToTxn)
		return
	}
	a.submitTxn(request.TransactionalID, txn.AddPartitions{
		ProducerID: kafka.ProducerID(request.ProducerID), Epoch: kafka.ProducerEpoch(request.ProducerEpoch),
		Partitions: []kafka.TopicPartition{{Topic: kafka.ConsumerOffsetsTopic, Partition: partition}},
	}, tellAddOffsetsToTxn)
}

func tellAddOffsetsToTxn(a *Asked, _ any, err error) kmsg.Response {
	response := a.Request.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	response.ErrorCode = a.txnCode(err, addOffsetsFenced)
	return response
}
