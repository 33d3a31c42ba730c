package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group/classic"
	"spate/kafka"
)

// SyncGroup: the leader of a classic group hands in what each member is to do, and every member hears its part. The
// answer comes when the leader has spoken.

// syncNamesProtocol is the first version that must name protocol type and protocol (KIP-559).
const syncNamesProtocol = 5

func syncGroup(_ *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.SyncGroupRequest)
	switch {
	case request.Version >= syncNamesProtocol && (request.ProtocolType == nil || request.Protocol == nil):
		a.refuse(kafka.InconsistentGroupProtocol, tellSync)
		return
	case request.Group == "":
		a.refuse(kafka.InvalidGroupID, tellSync)
		return
	}
	sync := classic.Sync{
		MemberID: request.MemberID, InstanceID: request.InstanceID, Generation: request.Generation,
		ProtocolType: request.ProtocolType, Protocol: request.Protocol,
		Assignments: make([]classic.MemberAssignment, len(request.GroupAssignment)),
	}
	for i := range request.GroupAssignment {
		assigned := &request.GroupAssignment[i]
		sync.Assignments[i] = classic.MemberAssignment{
			MemberID: assigned.MemberID, Assignment: clone(assigned.MemberAssignment),
		}
	}
	request.GroupAssignment = nil // holds views of the frame
	a.submit(request.Group, sync, tellSync)
}

func tellSync(a *Asked, body any, err error) kmsg.Response {
	response := a.Request.ResponseKind().(*kmsg.SyncGroupResponse)
	reply, _ := body.(classic.SyncReply)
	if err != nil {
		reply = classic.SyncReply{Err: err}
	}
	response.ErrorCode = a.groupCode(reply.Err)
	response.ProtocolType, response.Protocol = reply.ProtocolType, reply.Protocol
	response.MemberAssignment = reply.Assignment
	return response
}
