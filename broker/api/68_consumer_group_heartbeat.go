package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator"
	"spate/coordinator/group/consumer"
	"spate/kafka"
)

// ConsumerGroupHeartbeat: the one request of a member of a consumer group (KIP-848), with which it joins, says what it
// subscribes to and owns, hears what it is to own, and leaves.

func consumerGroupHeartbeat(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.ConsumerGroupHeartbeatRequest)
	if !c.servesConsumerGroups() {
		a.refuse(kafka.UnsupportedVersion, tellConsumerHeartbeat)
		return
	}
	if request.Group == "" {
		a.refuse(coordinator.Refuse(kafka.InvalidRequest, "GroupId can't be empty."), tellConsumerHeartbeat)
		return
	}
	beat := consumer.Heartbeat{
		MemberID: request.MemberID, MemberEpoch: request.MemberEpoch,
		InstanceID: request.InstanceID, RackID: request.RackID,
		RebalanceTimeoutMs: request.RebalanceTimeoutMillis,
		SubscribedTopics:   request.SubscribedTopicNames, SubscribedRegex: request.SubscribedTopicRegex,
		ServerAssignor: request.ServerAssignor,
		ClientID:       string(c.Header.ClientID), ClientHost: c.clientHost(), APIVersion: request.Version,
	}
	if request.Topics != nil {
		beat.Owned = make([]consumer.TopicPartitions, len(request.Topics))
	}
	for i := range request.Topics {
		beat.Owned[i] = consumer.TopicPartitions{
			TopicID: request.Topics[i].TopicID, Partitions: request.Topics[i].Partitions,
		}
	}
	if beat.MemberID == "" {
		id, err := kafka.NewUUID(c.Node.Rand)
		if err != nil {
			a.refuse(err, tellConsumerHeartbeat)
			return
		}
		beat.NewMemberID = id.String()
	}
	a.submit(request.Group, beat, tellConsumerHeartbeat)
}

// servesConsumerGroups tells whether groups of the consumer protocol may do anything: they are there, and rest, where
// it has been switched off or the cluster has gone back to a level without them.
func (c *Context) servesConsumerGroups() bool {
	protocols := c.Node.Config.Get().List("group.coordinator.rebalance.protocols")
	return c.Node.Image().Feature("group.version") > 0 && slices.Contains(protocols, "consumer")
}

func tellConsumerHeartbeat(a *Asked, body any, err error) kmsg.Response {
	response := a.Request.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	reply, _ := body.(consumer.HeartbeatReply)
	if err == nil {
		err = reply.Err
	}
	if err != nil {
		response.ErrorCode, response.ErrorMessage = a.groupCode(err), reply.Message
		if response.ErrorMessage == nil {
			response.ErrorMessage = ownWords(err)
		}
		return response
	}
	response.MemberID, response.MemberEpoch = reply.MemberID, reply.MemberEpoch
	response.HeartbeatIntervalMillis = int32(reply.HeartbeatInterval.Milliseconds())
	if reply.Assignment == nil {
		return response
	}
	response.Assignment = &kmsg.ConsumerGroupHeartbeatResponseAssignment{}
	for _, t := range reply.Assignment {
		response.Assignment.Topics = append(response.Assignment.Topics,
			kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: t.TopicID, Partitions: t.Partitions})
	}
	return response
}
