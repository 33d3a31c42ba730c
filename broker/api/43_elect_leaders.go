package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
)

// ElectLeaders: the controller decides, partition by partition. On one node every partition that can have a leader has
// its preferred one.

func electLeaders(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.ElectLeadersRequest)
	response := request.ResponseKind().(*kmsg.ElectLeadersResponse)
	cmd := controller.ElectLeaders{Type: controller.ElectionType(request.ElectionType)}
	if request.Version == 0 {
		cmd.Type = controller.ElectPreferred // all that the version knows
	}
	if request.Topics != nil {
		cmd.Topics = make([]controller.TopicPartitions, len(request.Topics))
		for i := range request.Topics {
			cmd.Topics[i] = controller.TopicPartitions{
				Topic: request.Topics[i].Topic, Partitions: partitionIndexes(request.Topics[i].Partitions),
			}
		}
	}
	reply, err := c.decide(ctx, request.TimeoutMillis, cmd)
	if errors.Is(err, errClosing) {
		return nil, err
	}
	if err != nil {
		c.refuseElection(request, response, err)
		return response, nil
	}
	for _, t := range reply.(controller.ElectLeadersReply).Topics {
		told := kmsg.ElectLeadersResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			told.Partitions = append(told.Partitions, c.elected(int32(p.Partition), p.Err))
		}
		response.Topics = append(response.Topics, told)
	}
	return response, nil
}

func partitionIndexes(partitions []int32) []kafka.PartitionIndex {
	indexes := make([]kafka.PartitionIndex, len(partitions))
	for i, p := range partitions {
		indexes[i] = kafka.PartitionIndex(p)
	}
	return indexes
}

// elected is the answer for one partition.
func (c *Context) elected(partition int32, err error) kmsg.ElectLeadersResponseTopicPartition {
	p := kmsg.NewElectLeadersResponseTopicPartition()
	p.Partition = partition
	p.ErrorCode, p.ErrorMessage = c.refusal(err)
	return p
}

// refuseElection gives the answer and every partition of the request the same error.
func (c *Context) refuseElection(request *kmsg.ElectLeadersRequest, response *kmsg.ElectLeadersResponse, err error) {
	response.ErrorCode = c.fail(kafka.CodeOf(err))
	for i := range request.Topics {
		told := kmsg.ElectLeadersResponseTopic{Topic: request.Topics[i].Topic}
		for _, p := range request.Topics[i].Partitions {
			told.Partitions = append(told.Partitions, c.elected(p, err))
		}
		response.Topics = append(response.Topics, told)
	}
}
