package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
	"spate/replica"
)

// DescribeProducers: the idempotent and transactional producers that a partition remembers. There may be many of them,
// so that the answer is made on a worker.

func describeProducers(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DescribeProducersRequest)
	response := request.ResponseKind().(*kmsg.DescribeProducersResponse)
	seen := map[*replica.Replica]bool{}
	for i := range request.Topics {
		asked := &request.Topics[i]
		told := kmsg.DescribeProducersResponseTopic{Topic: asked.Topic}
		refused := c.checkProducersTopic(asked.Topic)
		for _, index := range asked.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = index
			if refused != nil {
				p.ErrorCode, p.ErrorMessage = c.refusal(refused)
			} else {
				c.tellProducers(&p, asked.Topic, seen)
			}
			told.Partitions = append(told.Partitions, p)
		}
		response.Topics = append(response.Topics, told)
	}
	return response, nil
}

// checkProducersTopic says why nothing is told of a topic.
func (c *Context) checkProducersTopic(topic string) error {
	if err := controller.CheckTopicName(topic); err != nil {
		return err
	}
	if c.Node.Image().Topic(topic) == nil {
		return &controller.Refusal{Code: kafka.UnknownTopicOrPartition,
			Message: "This server does not host this topic-partition."}
	}
	return nil
}

// tellProducers fills in the producers of one partition, or why they are not known. seen is what the answer has
// already.
func (c *Context) tellProducers(
	told *kmsg.DescribeProducersResponseTopicPartition, topic string, seen map[*replica.Replica]bool,
) {
	r, err := c.Node.hosted(topic, kafka.PartitionIndex(told.Partition))
	if err == nil {
		_, err = r.Lead(kafka.NoLeaderEpoch)
	}
	switch {
	case err != nil:
		told.ErrorCode = c.fail(kafka.CodeOf(err))
		return
	case seen[r]:
		told.ErrorCode = c.fail(kafka.InvalidRequest.Code)
		return
	}
	seen[r] = true
	for _, p := range r.View().Log.Producers() {
		told.ActiveProducers = append(told.ActiveProducers,
			kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
				ProducerID: int64(p.ID), ProducerEpoch: int32(p.Epoch), LastSequence: int32(p.LastSequence),
				LastTimestamp: int64(p.LastTimestamp), CoordinatorEpoch: p.CoordinatorEpoch,
				CurrentTxnStartOffset: int64(p.TxnFirstOffset),
			})
	}
}
