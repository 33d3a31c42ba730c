package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group/classic"
	"spate/kafka"
)

// Heartbeat: a member of a classic group says that it is alive, and hears whether to join again.

func heartbeat(_ *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.HeartbeatRequest)
	if request.Group == "" {
		a.refuse(kafka.InvalidGroupID, tellHeartbeat)
		return
	}
	a.submit(request.Group, classic.Heartbeat{
		MemberID: request.MemberID, InstanceID: request.InstanceID, Generation: request.Generation,
	}, tellHeartbeat)
}

func tellHeartbeat(a *Asked, body any, err error) kmsg.Response {
	response := a.Request.ResponseKind().(*kmsg.HeartbeatResponse)
	if err == nil {
		err = body.(classic.HeartbeatReply).Err
	}
	if kafka.CodeOf(err) == kafka.CoordinatorLoadInProgress.Code {
		return response // as in Kafka: nobody loses membership while the coordinator loads, so all is well
	}
	response.ErrorCode = a.groupCode(err)
	return response
}
