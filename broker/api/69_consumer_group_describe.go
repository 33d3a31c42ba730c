package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group"
	"spate/coordinator/group/consumer"
	"spate/coordinator/runtime"
	"spate/kafka"
)

// ConsumerGroupDescribe: consumer groups (KIP-848) with their members, and what each owns and is to own.

func consumerGroupDescribe(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.ConsumerGroupDescribeRequest)
	a.gather(len(request.Groups), func(i int, to runtime.Done) {
		if id := request.Groups[i]; !c.servesConsumerGroups() {
			to.Done(nil, kafka.UnsupportedVersion)
		} else if id == "" {
			to.Done(nil, kafka.InvalidGroupID)
		} else {
			a.node.Groups.Submit(id, group.Command{Group: id, Body: group.DescribeConsumer{}}, to)
		}
	}, func(answers []said) {
		response := request.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
		response.Groups = make([]kmsg.ConsumerGroupDescribeResponseGroup, len(answers))
		for i := range answers {
			told := &response.Groups[i]
			told.Default()
			told.Group, told.ErrorCode = request.Groups[i], a.groupCode(answers[i].err)
			if answers[i].err != nil {
				told.ErrorMessage = ownWords(answers[i].err)
				continue
			}
			describeConsumers(told, answers[i].body.(consumer.Description))
			if request.IncludeAuthorizedOperations {
				told.AuthorizedOperations = groupOperations
			}
		}
		a.Answer(response)
	})
}

func consumerGroupDescribeBlocks(_ *Context, r kmsg.Request) bool {
	return len(r.(*kmsg.ConsumerGroupDescribeRequest).Groups) > inlineMax
}

// The kinds of members, as version 1 tells them.
const (
	memberClassic  = 0
	memberConsumer = 1
)

func describeConsumers(told *kmsg.ConsumerGroupDescribeResponseGroup, d consumer.Description) {
	told.State, told.Epoch, told.AssignmentEpoch = d.State.String(), d.GroupEpoch, d.AssignmentEpoch
	told.AssignorName = d.Assignor
	for i := range d.Members {
		m := &d.Members[i]
		member := kmsg.ConsumerGroupDescribeResponseGroupMember{
			MemberID: m.MemberID, InstanceID: m.InstanceID, RackID: m.RackID, MemberEpoch: m.MemberEpoch,
			ClientID: m.ClientID, ClientHost: m.ClientHost,
			SubscribedTopics:     m.SubscribedTopics,
			SubscribedTopicRegex: kmsg.StringPtr(textOr(m.SubscribedRegex, "")), // as in Kafka, never null
			Assignment:           assignmentOf(m.Assignment), TargetAssignment: assignmentOf(m.Target),
			MemberType: memberConsumer,
		}
		if m.Classic {
			member.MemberType = memberClassic
		}
		told.Members = append(told.Members, member)
	}
}

func assignmentOf(named []consumer.NamedPartitions) (a kmsg.Assignment) {
	for _, t := range named {
		a.TopicPartitions = append(a.TopicPartitions, kmsg.AssignmentTopicPartition{
			TopicID: t.TopicID, Topic: t.Topic, Partitions: t.Partitions,
		})
	}
	return a
}
