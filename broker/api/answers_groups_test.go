package api_test

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// versionsIn writes ranges like 2..5 out.
func versionsIn(words []string) (versions []string) {
	for _, word := range words {
		from, to, isRange := strings.Cut(word, "..")
		if !isRange {
			versions = append(versions, word)
			continue
		}
		first, _ := strconv.Atoi(from)
		last, _ := strconv.Atoi(to)
		for v := first; v <= last; v++ {
			versions = append(versions, strconv.Itoa(v))
		}
	}
	return versions
}

// coordinate makes sure, before the first request that a coordinator answers, that there are coordinators, and in a
// Kafka no groups of earlier stories.
func (s *story) coordinate(request kmsg.Request) {
	switch request.(type) {
	case kmsg.GroupCoordinatorRequest, *kmsg.ListGroupsRequest, *kmsg.ConsumerGroupDescribeRequest:
	default:
		return
	}
	if s.coordinated {
		return
	}
	s.coordinated = true
	find := kmsg.NewPtrFindCoordinatorRequest()
	s.await("there are coordinators", func() bool {
		return s.exchange(find).(*kmsg.FindCoordinatorResponse).ErrorCode == kafka.NoError
	})
	if *kafkaAddress == "" {
		return
	}
	s.await("all groups are deleted", func() bool { return s.deleteGroups() == 0 })
	for _, topic := range s.topics() {
		s.probe(topic)
	}
}

// empty takes all members out of a group, of either protocol.
func (s *story) empty(group string) {
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group = 5, group
	classic := kmsg.NewPtrDescribeGroupsRequest()
	classic.Groups = []string{group}
	for _, m := range s.exchange(classic).(*kmsg.DescribeGroupsResponse).Groups[0].Members {
		leave.Members = append(leave.Members, kmsg.LeaveGroupRequestMember{MemberID: m.MemberID})
	}
	consumer := kmsg.NewPtrConsumerGroupDescribeRequest()
	consumer.Version, consumer.Groups = 1, []string{group}
	for _, m := range s.exchange(consumer).(*kmsg.ConsumerGroupDescribeResponse).Groups[0].Members {
		leave.Members = append(leave.Members, kmsg.LeaveGroupRequestMember{MemberID: m.MemberID})
	}
	s.exchange(leave)
}

// isHidden tells whether a topic or a resource is the topic of the groups, unless the story has asked for it.
func (s *story) isHidden(fields map[string]any) bool {
	return s.hidesOffsets && (fields["Topic"] == kafka.ConsumerOffsetsTopic ||
		fields["Name"] == kafka.ConsumerOffsetsTopic || fields["ResourceName"] == kafka.ConsumerOffsetsTopic)
}

// probe waits until a coordinator has heard of a topic, which in Kafka comes later than that a client has.
func (s *story) probe(topic string) {
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Version, beat.Group, beat.MemberID, beat.RebalanceTimeoutMillis = 1, "probe", "probe", 10_000
	beat.SubscribedTopicNames = []string{topic}
	beat.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	s.await("coordinators know of "+topic, func() bool {
		beat.MemberEpoch = 0
		joined := s.exchange(beat).(*kmsg.ConsumerGroupHeartbeatResponse)
		beat.MemberEpoch = -1
		s.exchange(beat)
		return joined.Assignment != nil && len(joined.Assignment.Topics) > 0
	})
	deletion := kmsg.NewPtrDeleteGroupsRequest()
	deletion.Groups = []string{"probe"}
	s.exchange(deletion)
}

// isCoordinatorAway tells whether an answer says that its coordinator is not ready yet: nothing that a story is about.
func isCoordinatorAway(response kmsg.Response) bool {
	text := compact(response)
	for _, away := range []*kafka.Error{
		kafka.CoordinatorLoadInProgress, kafka.CoordinatorNotAvailable, kafka.NotCoordinator,
	} {
		if strings.Contains(text, `"ErrorCode":`+strconv.Itoa(int(away.Code))+`,`) {
			return true
		}
	}
	return false
}

// keepMember notes the member id of an answer.
func (s *story) keepMember(name string, response kmsg.Response) {
	if name == "" {
		return
	}
	switch r := response.(type) {
	case *kmsg.JoinGroupResponse:
		s.members[name] = r.MemberID
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if r.MemberID != nil {
			s.members[name] = *r.MemberID
		}
	}
}

// memberPattern is the random part of a member id: Kafka's and that of Java.
var memberPattern = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// maskMembers puts the story's names for member ids.
func (s *story) maskMembers(text string) string {
	for _, name := range slices.Sorted(maps.Keys(s.members)) {
		if id := s.members[name]; len(id) > 8 {
			text = strings.ReplaceAll(text, id, "@"+name)
		}
	}
	return memberPattern.ReplaceAllString(text, "uuid")
}

// subscription is what a consumer that subscribes to topics says in JoinGroup: version 0 of its protocol.
func subscription(topics ...string) []byte {
	b := []byte{0, 0, 0, 0, 0, byte(len(topics))}
	for _, topic := range topics {
		b = append(append(b, 0, byte(len(topic))), topic...)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff)
}
