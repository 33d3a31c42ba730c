package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/image"
)

// ListPartitionReassignments: the partitions whose replicas are on the move.

func listPartitionReassignmentsBlocks(c *Context, r kmsg.Request) bool {
	request := r.(*kmsg.ListPartitionReassignmentsRequest)
	if request.Topics == nil {
		return c.Node.Image().PartitionCount() > inlineMax
	}
	asked := len(request.Topics)
	for i := range request.Topics {
		asked += len(request.Topics[i].Partitions)
	}
	return asked > inlineMax
}

func listPartitionReassignments(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.ListPartitionReassignmentsRequest)
	response := request.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	img := c.Node.Image()
	add := func(topic string, moving []kmsg.ListPartitionReassignmentsResponseTopicPartition) {
		if len(moving) > 0 {
			response.Topics = append(response.Topics,
				kmsg.ListPartitionReassignmentsResponseTopic{Topic: topic, Partitions: moving})
		}
	}
	if request.Topics == nil {
		for t := range img.Topics() {
			var moving []kmsg.ListPartitionReassignmentsResponseTopicPartition
			for index, p := range t.Partitions {
				moving = appendMoving(moving, int32(index), p)
			}
			add(t.Name, moving)
		}
	}
	for i := range request.Topics {
		t := &request.Topics[i]
		var moving []kmsg.ListPartitionReassignmentsResponseTopicPartition
		for _, index := range t.Partitions {
			moving = appendMoving(moving, index, img.Partition(t.Topic, kafka.PartitionIndex(index)))
		}
		add(t.Topic, moving)
	}
	return response, nil
}

// appendMoving appends a partition if it is there and on the move.
func appendMoving(
	moving []kmsg.ListPartitionReassignmentsResponseTopicPartition, index int32, p *image.Partition,
) []kmsg.ListPartitionReassignmentsResponseTopicPartition {
	if p == nil || len(p.AddingReplicas)+len(p.RemovingReplicas) == 0 {
		return moving
	}
	return append(moving, kmsg.ListPartitionReassignmentsResponseTopicPartition{
		Partition: index, Replicas: numbersOf(p.Replicas),
		AddingReplicas: numbersOf(p.AddingReplicas), RemovingReplicas: numbersOf(p.RemovingReplicas),
	})
}

func numbersOf(brokers []kafka.BrokerID) []int32 {
	ids := make([]int32, len(brokers))
	for i, id := range brokers {
		ids[i] = int32(id)
	}
	return ids
}
