package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group/classic"
	"spate/kafka"
)

// JoinGroup: a member of a classic group joins, or joins again because a rebalance is under way. The answer comes when
// the members that the coordinator knows have joined, or their time is up.

// Versions of the JoinGroup API with a meaning of their own.
const (
	joinRebalanceTimeout = 1 // before, the session timeout stands for it
	joinNeedsKnownMember = 4 // a first request without member id gets one with MEMBER_ID_REQUIRED (KIP-394)
	joinProtocolType     = 7 // from here on there may be no protocol; before, it is an empty word
	joinSkipsAssignment  = 9 // a static leader may be told not to assign (KIP-814)
)

func joinGroup(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.JoinGroupRequest)
	if request.Group == "" {
		a.refuse(kafka.InvalidGroupID, tellJoinRefused)
		return
	}
	join := classic.Join{
		MemberID: request.MemberID, InstanceID: request.InstanceID,
		ClientID: string(c.Header.ClientID), ClientHost: c.clientHost(),
		SessionTimeout:   time.Duration(request.SessionTimeoutMillis) * time.Millisecond,
		RebalanceTimeout: time.Duration(request.RebalanceTimeoutMillis) * time.Millisecond,
		ProtocolType:     request.ProtocolType,
		Protocols:        make([]classic.Protocol, len(request.Protocols)),
		Reason:           textOr(request.Reason, ""),
		NeedsKnownMember: request.Version >= joinNeedsKnownMember,
		SkipsAssignment:  request.Version >= joinSkipsAssignment,
	}
	if request.Version < joinRebalanceTimeout {
		join.RebalanceTimeout = join.SessionTimeout
	}
	for i := range request.Protocols {
		join.Protocols[i] = classic.Protocol{
			Name: request.Protocols[i].Name, Metadata: clone(request.Protocols[i].Metadata),
		}
		request.Protocols[i].Metadata = nil // a view of the frame
	}
	if join.MemberID == "" {
		var err error
		if join.NewMemberID, err = c.memberID(join.InstanceID); err != nil {
			a.refuse(err, tellJoinRefused)
			return
		}
	}
	a.submit(request.Group, join, tellJoin)
}

// tellJoinRefused is tellJoin for what no coordinator has seen: the member keeps the id that it has.
func tellJoinRefused(a *Asked, _ any, err error) kmsg.Response {
	response := tellJoin(a, nil, err).(*kmsg.JoinGroupResponse)
	response.MemberID = asRequest[*kmsg.JoinGroupRequest](a).MemberID
	return response
}

func tellJoin(a *Asked, body any, err error) kmsg.Response {
	request := asRequest[*kmsg.JoinGroupRequest](a)
	response := request.ResponseKind().(*kmsg.JoinGroupResponse)
	reply, _ := body.(classic.JoinReply)
	if err != nil {
		reply = classic.JoinReply{Err: err, Generation: -1}
	}
	response.ErrorCode = a.groupCode(reply.Err)
	response.Generation = reply.Generation
	response.ProtocolType, response.Protocol = reply.ProtocolType, reply.Protocol
	response.LeaderID, response.MemberID = reply.Leader, reply.MemberID
	response.SkipAssignment = reply.SkipAssignment
	if request.Version < joinProtocolType && response.Protocol == nil {
		response.Protocol = new(string)
	}
	if request.Version >= joinProtocolType && textOr(response.Protocol, "") == "" {
		response.Protocol = nil
	}
	for i := range reply.Members {
		m := &reply.Members[i]
		response.Members = append(response.Members, kmsg.JoinGroupResponseMember{
			MemberID: m.MemberID, InstanceID: m.InstanceID, ProtocolMetadata: m.Metadata,
		})
	}
	return response
}
