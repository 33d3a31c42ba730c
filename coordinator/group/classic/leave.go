package classic

import (
	"spate/coordinator"
	"spate/kafka"
)

// leaveGroup carries out Leave: each member by itself, and then one rebalance for all.
func (g *Group) leaveGroup(t *turn, to coordinator.Token, leavers []Leaver) {
	if g.state == Dead {
		t.out.Answer(to, LeaveReply{Err: kafka.CoordinatorNotAvailable})
		return
	}
	reply := LeaveReply{Members: make([]LeftMember, 0, len(leavers))}
	someLeft, why := false, cause{what: "members leave"}
	for _, l := range leavers {
		err := g.leave(t, l)
		reply.Members = append(reply.Members, LeftMember{MemberID: l.MemberID, InstanceID: l.InstanceID, Err: err})
		if err != nil {
			continue
		}
		someLeft = true
		if len(leavers) == 1 {
			why.member = l.MemberID
		}
		if l.Reason != nil {
			why.clientReason = *l.Reason
		}
	}
	if someLeft {
		switch g.state {
		case Stable, CompletingRebalance:
			g.prepareRebalance(t, why)
		case PreparingRebalance:
			g.completeIfAllJoined(t)
		}
	}
	t.out.Answer(to, reply)
}

// leave takes one member out. Without a member id, an administrator removes a static member by its instance.
func (g *Group) leave(t *turn, l Leaver) error {
	if l.MemberID == "" {
		if l.InstanceID == nil || g.instances[*l.InstanceID] == nil {
			return kafka.UnknownMemberID
		}
		g.remove(t, g.instances[*l.InstanceID])
		return nil
	}
	if g.isPending(l.MemberID) {
		g.forgetPending(t, l.MemberID)
		return nil
	}
	m, err := g.find(l.MemberID, l.InstanceID)
	if err != nil {
		return err
	}
	g.remove(t, m)
	return nil
}
