package main

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// groupOf is the group whose member joined with a version of JoinGroup.
func groupOf(version int16) string { return "wirecap-" + strconv.Itoa(int(version)) }

// settled is the version of JoinGroup whose member stays in its group, for the requests that ask about one.
const settled = 9

// fillGroup gives a request about groups something to ask for.
func (d *driver) fillGroup(request kmsg.Request) {
	switch r := request.(type) {
	case *kmsg.FindCoordinatorRequest:
		r.CoordinatorKey, r.CoordinatorKeys = groupOf(r.Version), []string{groupOf(r.Version), "other"}
	case *kmsg.JoinGroupRequest:
		r.Group, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = groupOf(r.Version), 60_000, 60_000
		r.ProtocolType, r.Reason = "consumer", kmsg.StringPtr("a reason")
		r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscription()}}
		if r.Version >= 5 {
			r.InstanceID = kmsg.StringPtr("instance")
		}
	case *kmsg.HeartbeatRequest:
		r.Group, r.Generation, r.MemberID = groupOf(settled), 1, d.members[settled]
		r.InstanceID = kmsg.StringPtr("instance")
	case *kmsg.SyncGroupRequest:
		r.Group, r.Generation, r.MemberID = groupOf(settled), 1, d.members[settled]
		r.ProtocolType, r.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		r.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{
			{MemberID: d.members[settled], MemberAssignment: assignment()},
		}
	case *kmsg.LeaveGroupRequest:
		r.Group, r.MemberID = groupOf(r.Version), d.members[r.Version]
		r.Members = []kmsg.LeaveGroupRequestMember{
			{MemberID: d.members[r.Version], Reason: kmsg.StringPtr("done")}, {InstanceID: kmsg.StringPtr("nobody")},
		}
	case *kmsg.DescribeGroupsRequest:
		r.Groups, r.IncludeAuthorizedOperations = []string{groupOf(settled), "no-such-group"}, true
	case *kmsg.ListGroupsRequest:
		r.StatesFilter, r.TypesFilter = []string{"Stable", "Empty"}, []string{"classic", "consumer"}
	case *kmsg.DeleteGroupsRequest:
		r.Groups = []string{groupOf(r.Version), groupOf(settled)}
	case *kmsg.ConsumerGroupHeartbeatRequest:
		r.Group, r.RebalanceTimeoutMillis = "wirecap-consumers", 60_000
		r.SubscribedTopicNames, r.Topics = []string{topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		if r.Version > 0 {
			r.MemberID, r.RackID, r.InstanceID = "wirecap", kmsg.StringPtr("rack"), kmsg.StringPtr("one")
			r.SubscribedTopicRegex, r.ServerAssignor = kmsg.StringPtr("wire.*"), kmsg.StringPtr("range")
		}
	case *kmsg.ConsumerGroupDescribeRequest:
		r.Groups, r.IncludeAuthorizedOperations = []string{"wirecap-consumers", "no-such-group"}, true
	default:
		d.fillOffsets(request)
	}
}

// fillOffsets gives a request about committed offsets, or about configs, something to ask for.
func (d *driver) fillOffsets(request kmsg.Request) {
	switch r := request.(type) {
	case *kmsg.OffsetCommitRequest:
		r.Group, r.Generation, r.RetentionTimeMillis = "wirecap-offsets", -1, -1
		r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: d.topicID}}
		for partition := range int32(3) { // the third is unknown
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, kmsg.OffsetCommitRequestTopicPartition{
				Partition: partition, Offset: int64(r.Version), LeaderEpoch: 0, Metadata: kmsg.StringPtr("metadata"),
			})
		}
	case *kmsg.OffsetFetchRequest:
		r.Group, r.RequireStable = "wirecap-offsets", r.Version >= 7
		r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{0, 1, 2}}}
		r.Groups = []kmsg.OffsetFetchRequestGroup{
			{Group: r.Group, MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{
				{Topic: topic, TopicID: d.topicID, Partitions: []int32{0, 1, 2}},
			}},
			{Group: r.Group, MemberEpoch: -1}, // all topics
		}
	case *kmsg.OffsetDeleteRequest:
		r.Group = "wirecap-offsets"
		r.Topics = []kmsg.OffsetDeleteRequestTopic{{
			Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 7}},
		}}
	case *kmsg.IncrementalAlterConfigsRequest:
		r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{
			alter(kmsg.ConfigResourceTypeGroupConfig, "g", kmsg.IncrementalAlterConfigOpSet,
				"consumer.session.timeout.ms", "50000"),
			alter(kmsg.ConfigResourceTypeTopic, topic, kmsg.IncrementalAlterConfigOpDelete, "retention.ms", ""),
			alter(kmsg.ConfigResourceTypeTopic, "no-such-topic", kmsg.IncrementalAlterConfigOpSet, "retention.ms", "1"),
		}
	case *kmsg.ListConfigResourcesRequest:
		r.ResourceTypes = []int8{int8(kmsg.ConfigResourceTypeGroupConfig), int8(kmsg.ConfigResourceTypeTopic)}
	default:
		d.fillAdmin(request)
	}
}

func alter(kind kmsg.ConfigResourceType, name string, op kmsg.IncrementalAlterConfigOp,
	key, value string) kmsg.IncrementalAlterConfigsRequestResource {
	change := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Op: op, Value: &value}
	if value == "" {
		change.Value = nil
	}
	return kmsg.IncrementalAlterConfigsRequestResource{
		ResourceType: kind, ResourceName: name,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{change},
	}
}

// joinAgain keeps the id that a new member has got, and goes back with it where the version asks for that.
func (d *driver) joinAgain(request kmsg.Request, response kmsg.Response) error {
	join, is := request.(*kmsg.JoinGroupRequest)
	if !is {
		return nil
	}
	joined := response.(*kmsg.JoinGroupResponse)
	d.members[join.Version] = joined.MemberID
	if joined.ErrorCode != kafka.MemberIDRequired.Code {
		return kafka.ErrorOf(joined.ErrorCode)
	}
	join.MemberID = joined.MemberID
	response, err := d.ask(join)
	if err != nil {
		return err
	}
	return kafka.ErrorOf(response.(*kmsg.JoinGroupResponse).ErrorCode)
}

// subscription is what a consumer of the topic says when it joins.
func subscription() []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Version, s.Topics = 3, []string{topic}
	return s.AppendTo(nil)
}

// assignment is both partitions of the topic.
func assignment() []byte {
	a := kmsg.NewConsumerMemberAssignment()
	a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: topic, Partitions: []int32{0, 1}}}
	return a.AppendTo(nil)
}
