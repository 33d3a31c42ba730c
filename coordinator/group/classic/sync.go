package classic

import (
	"spate/coordinator"
	"spate/kafka"
)

// syncGroup carries out Sync.
func (g *Group) syncGroup(t *turn, to coordinator.Token, cmd *Sync) {
	if to == coordinator.Nobody {
		return
	}
	m, err := g.checkSync(cmd)
	if err != nil {
		t.out.Answer(to, SyncReply{Err: err})
		return
	}
	switch g.state {
	case PreparingRebalance:
		t.out.Answer(to, syncRebalancing)
	case CompletingRebalance:
		g.answerSync(t, m, syncRebalancing) // the member has asked again: only one request can have the answer
		m.sync = to
		g.synced(t, m)
		if m == g.leader {
			g.assign(t, cmd.Assignments)
		}
	default:
		g.synced(t, m)
		t.out.Answer(to, g.assigned(m.assignment))
	}
}

func (g *Group) checkSync(cmd *Sync) (*member, error) {
	switch g.state {
	case Dead:
		return nil, kafka.CoordinatorNotAvailable
	case Empty:
		return nil, kafka.UnknownMemberID
	}
	m, err := g.find(cmd.MemberID, cmd.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case cmd.Generation != g.generation:
		return nil, kafka.IllegalGeneration
	case cmd.ProtocolType != nil && *cmd.ProtocolType != g.protocolType:
		return nil, kafka.InconsistentGroupProtocol
	case cmd.Protocol != nil && g.protocol != nil && *cmd.Protocol != *g.protocol:
		return nil, kafka.InconsistentGroupProtocol
	}
	return m, nil
}

// synced notes that a member has sent SyncGroup in this generation.
func (g *Group) synced(t *turn, m *member) {
	g.setOwesSync(m, false)
	if g.syncs == 0 {
		g.disarmSync(t)
	}
}

// assign persists the leader's assignment and gives it to all that wait. Members that the leader has left out, or does
// not know, get an empty one. Apply of the record makes the group stable.
func (g *Group) assign(t *turn, assignments []MemberAssignment) {
	byMember := make(map[string][]byte, len(g.members))
	for _, a := range assignments {
		if g.members[a.MemberID] != nil {
			byMember[a.MemberID] = a.Assignment
		}
	}
	t.out.Write(g.record(byMember))
	for m := g.first; m != nil; m = m.next {
		if g.answerSync(t, m, g.assigned(byMember[m.id])) {
			g.keepSession(t, m)
		}
	}
}

func (g *Group) assigned(assignment []byte) SyncReply {
	return SyncReply{ProtocolType: &g.protocolType, Protocol: g.protocol, Assignment: assignment}
}

// assignments is what the members have now.
func (g *Group) assignments() map[string][]byte {
	all := make(map[string][]byte, len(g.members))
	for m := g.first; m != nil; m = m.next {
		all[m.id] = m.assignment
	}
	return all
}
