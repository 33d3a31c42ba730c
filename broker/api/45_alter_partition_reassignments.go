package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
)

// AlterPartitionReassignments: the controller decides, partition by partition. On one node a partition can be nowhere
// else than it is.

func alterPartitionReassignments(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.AlterPartitionAssignmentsRequest)
	response := request.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	response.AllowReplicationFactorChange = request.Version == 0 || request.AllowReplicationFactorChange
	cmd := controller.AlterReassignments{KeepsFactor: !response.AllowReplicationFactorChange}
	for i := range request.Topics {
		asked := &request.Topics[i]
		t := controller.ReassignedTopic{Topic: asked.Topic}
		for _, p := range asked.Partitions {
			t.Partitions = append(t.Partitions, controller.Reassignment{
				Partition: kafka.PartitionIndex(p.Partition), Replicas: brokerIDs(p.Replicas),
			})
		}
		cmd.Topics = append(cmd.Topics, t)
	}
	reply, err := c.decide(ctx, request.TimeoutMillis, cmd)
	if errors.Is(err, errClosing) {
		return nil, err
	}
	if err != nil {
		c.refuseReassignment(request, response, err)
		return response, nil
	}
	if len(request.Topics) == 0 {
		response.ErrorMessage = new(string) // empty, as from Kafka
	}
	for _, t := range reply.(controller.AlterReassignmentsReply).Topics {
		told := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			told.Partitions = append(told.Partitions, c.reassigned(int32(p.Partition), p.Err))
		}
		response.Topics = append(response.Topics, told)
	}
	return response, nil
}

// reassigned is the answer for one partition.
func (c *Context) reassigned(partition int32, err error) kmsg.AlterPartitionAssignmentsResponseTopicPartition {
	p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
	p.Partition = partition
	p.ErrorCode, p.ErrorMessage = c.refusal(err)
	return p
}

// refuseReassignment gives the answer and every partition of the request the same error.
func (c *Context) refuseReassignment(
	request *kmsg.AlterPartitionAssignmentsRequest, response *kmsg.AlterPartitionAssignmentsResponse, err error,
) {
	response.ErrorCode, response.ErrorMessage = c.refusal(err)
	for i := range request.Topics {
		told := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: request.Topics[i].Topic}
		for _, p := range request.Topics[i].Partitions {
			told.Partitions = append(told.Partitions, c.reassigned(p.Partition, err))
		}
		response.Topics = append(response.Topics, told)
	}
}
