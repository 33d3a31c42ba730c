package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata"
)

// DescribeQuorum: who keeps the metadata log. The one voter is this node.

// metadataTopic is the topic that the metadata log is known as; its only partition is 0.
const metadataTopic = "__cluster_metadata"

// describeQuorumBlocks tells whether there is much to refuse.
func describeQuorumBlocks(_ *Context, r kmsg.Request) bool {
	request := r.(*kmsg.DescribeQuorumRequest)
	asked := len(request.Topics)
	for i := range request.Topics {
		asked += len(request.Topics[i].Partitions)
	}
	return asked > inlineMax
}

func describeQuorum(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DescribeQuorumRequest)
	response := request.ResponseKind().(*kmsg.DescribeQuorumResponse)
	response.ErrorMessage = new(string) // empty, not null, as all messages here
	if !asksForMetadataLog(request) {
		c.refuseQuorum(request, response, kafka.UnknownTopicOrPartition,
			"This server does not host this topic-partition.")
		return response, nil
	}
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.ErrorMessage = new(string)
	quorum, err := c.Node.Metadata.Quorum()
	if err != nil {
		c.refuseQuorum(request, response, kafka.NotLeaderOrFollower,
			"For requests intended only for the leader, this error indicates that the broker is not the current "+
				"leader. For requests intended for any replica, this error indicates that the broker is not a "+
				"replica of the topic partition.")
		return response, nil
	}
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = int32(quorum.Leader), int32(quorum.Epoch), int64(quorum.HighWatermark)
	p.CurrentVoters = []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{c.voter(quorum)}
	response.Topics = []kmsg.DescribeQuorumResponseTopic{
		{Topic: metadataTopic, Partitions: []kmsg.DescribeQuorumResponseTopicPartition{p}},
	}
	response.Nodes = c.quorumNodes(quorum.Leader)
	return response, nil
}

// asksForMetadataLog tells whether the request is for the metadata log, and for nothing else.
func asksForMetadataLog(request *kmsg.DescribeQuorumRequest) bool {
	return len(request.Topics) == 1 && request.Topics[0].Topic == metadataTopic &&
		len(request.Topics[0].Partitions) == 1 && request.Topics[0].Partitions[0].Partition == 0
}

// voter is the state of the leader's own log, which is always the newest.
func (c *Context) voter(quorum metadata.Quorum) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	now := c.Node.Clock.Now().UnixMilli()
	v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	v.ReplicaID, v.ReplicaDirectoryID = int32(quorum.Leader), quorum.DirectoryID
	v.LogEndOffset, v.LastFetchTimestamp, v.LastCaughtUpTimestamp = int64(quorum.HighWatermark), now, now
	return v
}

// quorumNodes tells where the voter can be reached: at the listener that the client uses.
func (c *Context) quorumNodes(id kafka.BrokerID) []kmsg.DescribeQuorumResponseNode {
	b := c.Node.Image().Broker(id)
	if b == nil {
		return nil
	}
	e, ok := b.Endpoint(c.Conn.Listener())
	if !ok {
		return nil
	}
	return []kmsg.DescribeQuorumResponseNode{{NodeID: int32(id), Listeners: []kmsg.DescribeQuorumResponseNodeListener{
		{Name: e.Name, Host: e.Host, Port: e.Port},
	}}}
}

// refuseQuorum gives every partition of the request the same error.
func (c *Context) refuseQuorum(
	request *kmsg.DescribeQuorumRequest, response *kmsg.DescribeQuorumResponse, err *kafka.Error, message string,
) {
	for i := range request.Topics {
		told := kmsg.DescribeQuorumResponseTopic{Topic: request.Topics[i].Topic}
		for _, asked := range request.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition, p.ErrorCode, p.ErrorMessage = asked.Partition, c.fail(err.Code), &message
			told.Partitions = append(told.Partitions, p)
		}
		response.Topics = append(response.Topics, told)
	}
}
