package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group/classic"
	"spate/kafka"
)

// LeaveGroup: members leave, or an administrator removes them. Versions before 3 are about one member, whose error is
// that of the response.

// leaveBatch is the first version that names several members.
const leaveBatch = 3

func leaveGroup(_ *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.LeaveGroupRequest)
	if request.Group == "" {
		a.refuse(kafka.InvalidGroupID, tellLeave)
		return
	}
	leave := classic.Leave{}
	for _, m := range leaversOf(request) {
		leave.Members = append(leave.Members, classic.Leaver{
			MemberID: m.MemberID, InstanceID: m.InstanceID, Reason: m.Reason,
		})
	}
	a.submit(request.Group, leave, tellLeave)
}

func leaversOf(request *kmsg.LeaveGroupRequest) []kmsg.LeaveGroupRequestMember {
	if request.Version < leaveBatch {
		return []kmsg.LeaveGroupRequestMember{{MemberID: request.MemberID}}
	}
	return request.Members
}

func tellLeave(a *Asked, body any, err error) kmsg.Response {
	request := asRequest[*kmsg.LeaveGroupRequest](a)
	response := request.ResponseKind().(*kmsg.LeaveGroupResponse)
	reply, _ := body.(classic.LeaveReply)
	if err == nil {
		err = reply.Err
	}
	if kafka.CodeOf(err) == kafka.UnknownMemberID.Code { // there is no such group: that is said of each member
		reply.Members = nil
		for _, m := range leaversOf(request) {
			reply.Members = append(reply.Members, classic.LeftMember{
				MemberID: m.MemberID, InstanceID: m.InstanceID, Err: kafka.UnknownMemberID,
			})
		}
		err = nil
	}
	response.ErrorCode = a.groupCode(err)
	if err != nil {
		return response
	}
	for i := range reply.Members {
		m := &reply.Members[i]
		code := a.groupCode(m.Err)
		if request.Version < leaveBatch {
			response.ErrorCode = code
			break
		}
		response.Members = append(response.Members, kmsg.LeaveGroupResponseMember{
			MemberID: m.MemberID, InstanceID: m.InstanceID, ErrorCode: code,
		})
	}
	return response
}
