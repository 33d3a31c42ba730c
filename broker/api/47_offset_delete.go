package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group"
	"spate/coordinator/group/offsets"
	"spate/kafka"
)

// OffsetDelete: an administrator takes committed offsets of a group away. As with OffsetCommit, the response is drafted
// first; but the coordinator is asked even if no partition is left to ask about, so that a group that does not exist is
// refused.

func offsetDelete(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.OffsetDeleteRequest)
	response := request.ResponseKind().(*kmsg.OffsetDeleteResponse)
	a.draft = response
	if request.Group == "" {
		a.refuse(kafka.InvalidGroupID, tellOffsetDelete)
		return
	}
	deletion := offsets.Delete{}
	img := c.Node.Image()
	for i := range request.Topics {
		t := &request.Topics[i]
		found, unknown := topicOf(img, t.Topic, kafka.ZeroUUID, false)
		told := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		asked := offsets.FetchTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			told.Partitions = append(told.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition})
			if has(found, p.Partition) {
				asked.Partitions = append(asked.Partitions, kafka.PartitionIndex(p.Partition))
			} else {
				told.Partitions[len(told.Partitions)-1].ErrorCode = a.code(unknown)
			}
		}
		if len(told.Partitions) > 0 || found == nil { // Kafka leaves out a topic that is there, without partitions
			response.Topics = append(response.Topics, told)
		}
		if len(asked.Partitions) > 0 {
			deletion.Topics = append(deletion.Topics, asked)
		}
	}
	a.submit(request.Group, group.OffsetDelete{Delete: deletion}, tellOffsetDelete)
}

func tellOffsetDelete(a *Asked, body any, err error) kmsg.Response {
	response := a.draft.(*kmsg.OffsetDeleteResponse)
	if err != nil {
		response.Topics, response.ErrorCode = nil, a.groupCode(err)
		return response
	}
	next := committed(body.(offsets.DeleteReply).Topics)
	for i := range response.Topics {
		for j := range response.Topics[i].Partitions {
			if p := &response.Topics[i].Partitions[j]; p.ErrorCode == kafka.NoError {
				p.ErrorCode = a.groupCode(next().Err)
			}
		}
	}
	return response
}
