package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group"
	"spate/coordinator/group/classic"
	"spate/kafka"
)

// DescribeGroups: groups and their members as the classic protocol sees them. Before version 6, a group that does not
// exist is one that is dead.

// describeNotFound is the first version that says so when a group does not exist (KIP-1043).
const describeNotFound = 6

func describeGroups(_ *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.DescribeGroupsRequest)
	a.gatherGroups(request.Groups, group.Describe{}, func(answers []said) {
		response := request.ResponseKind().(*kmsg.DescribeGroupsResponse)
		response.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(answers))
		for i := range answers {
			told := &response.Groups[i]
			told.Default()
			told.Group = request.Groups[i]
			a.tellDescribed(told, answers[i])
			if request.IncludeAuthorizedOperations && told.ErrorCode == kafka.NoError {
				told.AuthorizedOperations = groupOperations
			}
		}
		a.Answer(response)
	})
}

func describeGroupsBlocks(_ *Context, r kmsg.Request) bool {
	return len(r.(*kmsg.DescribeGroupsRequest).Groups) > inlineMax
}

// tellDescribed writes the answer about one group.
func (a *Asked) tellDescribed(told *kmsg.DescribeGroupsResponseGroup, answer said) {
	isUnknown := kafka.CodeOf(answer.err) == kafka.GroupIDNotFound.Code
	if isUnknown {
		told.State = classic.Dead.String()
	}
	switch {
	case isUnknown && a.Request.GetVersion() < describeNotFound:
		return
	case answer.err != nil:
		told.ErrorCode, told.ErrorMessage = a.groupCode(answer.err), ownWords(answer.err)
		return
	}
	d := answer.body.(classic.Description)
	told.State, told.ProtocolType, told.Protocol = d.State.String(), d.ProtocolType, d.Protocol
	for i := range d.Members {
		m := &d.Members[i]
		told.Members = append(told.Members, kmsg.DescribeGroupsResponseGroupMember{
			MemberID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			ProtocolMetadata: m.Metadata, MemberAssignment: m.Assignment,
		})
	}
}
