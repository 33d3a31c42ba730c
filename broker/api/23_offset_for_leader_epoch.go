package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// OffsetForLeaderEpoch: where a leader epoch ends in the log, so that a consumer or follower whose records are of that
// epoch can tell whether its log has been cut (KIP-101, KIP-320).

// offsetForLeaderEpochBlocks tells whether there are many partitions to look up.
func offsetForLeaderEpochBlocks(_ *Context, r kmsg.Request) bool {
	asked := 0
	for _, t := range r.(*kmsg.OffsetForLeaderEpochRequest).Topics {
		asked += len(t.Partitions)
	}
	return asked > inlineMax
}

func offsetForLeaderEpoch(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.OffsetForLeaderEpochRequest)
	response := request.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for i := range request.Topics {
		asked := &request.Topics[i]
		told := kmsg.OffsetForLeaderEpochResponseTopic{Topic: asked.Topic}
		for j := range asked.Partitions {
			told.Partitions = append(told.Partitions, c.epochEnd(asked.Topic, &asked.Partitions[j]))
		}
		response.Topics = append(response.Topics, told)
	}
	return response, nil
}

func (c *Context) epochEnd(topic string,
	p *kmsg.OffsetForLeaderEpochRequestTopicPartition) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	told := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
	told.Partition = p.Partition
	told.LeaderEpoch, told.EndOffset = int32(kafka.NoLeaderEpoch), int64(kafka.NoOffset)
	r, err := c.Node.hosted(topic, kafka.PartitionIndex(p.Partition))
	if err != nil {
		told.ErrorCode = c.fail(kafka.CodeOf(err))
		return told
	}
	v, err := inEpoch(r.Lead, p.CurrentLeaderEpoch)
	if err != nil {
		told.ErrorCode = c.fail(kafka.CodeOf(err))
		return told
	}
	epoch, end := v.Log.EpochEndOffset(kafka.LeaderEpoch(p.LeaderEpoch))
	told.LeaderEpoch, told.EndOffset = int32(epoch), int64(end)
	return told
}
