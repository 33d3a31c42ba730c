package classic

import (
	"spate/coordinator"
	"spate/kafka"
)

// noGeneration is what a refused member is told.
const noGeneration int32 = -1

func refusal(memberID string, err error) JoinReply {
	return JoinReply{Err: err, Generation: noGeneration, MemberID: memberID}
}

// refusedUnknown tells a member that was taken out while it waited to start anew.
func refusedUnknown(*member) JoinReply { return refusal("", kafka.UnknownMemberID) }

// refusedSuperseded tells a request that the same member has asked again elsewhere.
func refusedSuperseded(m *member) JoinReply { return refusal(m.id, kafka.RebalanceInProgress) }

// refusedFenced tells a static member that another one has taken its place.
func refusedFenced(m *member) JoinReply { return refusal(m.id, kafka.FencedInstanceID) }

// joinGroup carries out Join.
func (g *Group) joinGroup(t *turn, to coordinator.Token, cmd *Join) {
	if to == coordinator.Nobody {
		return // a member that does not wait for the generation is none
	}
	if cmd.SessionTimeout < g.settings.SessionTimeoutMin || cmd.SessionTimeout > g.settings.SessionTimeoutMax {
		t.out.Answer(to, refusal(cmd.MemberID, kafka.InvalidSessionTimeout))
		return
	}
	if !g.recorded && g.state == Empty && len(g.pending) == 0 && cmd.MemberID != "" {
		t.out.Answer(to, refusal(cmd.MemberID, kafka.UnknownMemberID)) // only an unknown member makes a group
		return
	}
	cmd.Protocols = distinct(cmd.Protocols)
	isNewGroup := !g.recorded && g.state == Empty
	g.route(t, to, cmd)
	if isNewGroup && len(t.out.Records) == 0 {
		t.out.Write(g.birth(t))
	}
}

// route finds out which kind of member joins.
func (g *Group) route(t *turn, to coordinator.Token, cmd *Join) {
	switch {
	case !g.accepts(cmd.MemberID):
		g.shed(t, cmd.MemberID)
		t.out.Answer(to, refusal("", kafka.GroupMaxSizeReached))
		if g.state == PreparingRebalance {
			g.completeIfAllJoined(t)
		}
	case g.state == Dead:
		t.out.Answer(to, refusal(cmd.MemberID, kafka.CoordinatorNotAvailable))
	case !g.supports(cmd.ProtocolType, cmd.Protocols):
		t.out.Answer(to, refusal(cmd.MemberID, kafka.InconsistentGroupProtocol))
	case cmd.MemberID == "":
		g.joinNew(t, to, cmd)
	case g.isPending(cmd.MemberID):
		if cmd.InstanceID != nil { // such an id was given to a dynamic member
			t.out.Answer(to, refusal("", kafka.UnknownServerError))
			return
		}
		g.joinFirst(t, to, cmd, cmd.MemberID)
	default:
		g.joinAgain(t, to, cmd)
	}
}

// accepts reports whether there is room. While members join, those that wait count and not those that are in the
// group: the limit may have been lowered, and then the last to come are left out.
func (g *Group) accepts(memberID string) bool {
	m := g.members[memberID]
	switch g.state {
	case PreparingRebalance:
		return m != nil && m.join != coordinator.Nobody || g.joins < g.settings.SizeMax
	case CompletingRebalance, Stable:
		return m != nil || len(g.members) < g.settings.SizeMax
	}
	return true
}

// shed forgets a member for which there is no room.
func (g *Group) shed(t *turn, memberID string) {
	if m := g.members[memberID]; m != nil {
		g.remove(t, m)
	}
	g.forgetPending(t, memberID)
}

func (g *Group) isPending(memberID string) bool {
	_, ok := g.pending[memberID]
	return ok
}

func (g *Group) forgetPending(t *turn, memberID string) {
	if g.isPending(memberID) {
		delete(g.pending, memberID)
		t.out.StopTimer(g.sessionTimer(memberID))
	}
}

// joinNew serves a member that has no id yet.
func (g *Group) joinNew(t *turn, to coordinator.Token, cmd *Join) {
	id := cmd.NewMemberID
	if id == "" || g.members[id] != nil || g.isPending(id) {
		t.out.Answer(to, refusal("", kafka.UnknownServerError))
		return
	}
	if cmd.InstanceID != nil {
		if old := g.instances[*cmd.InstanceID]; old != nil {
			g.replaceStatic(t, to, cmd, old)
			return
		}
	} else if cmd.NeedsKnownMember {
		g.pending[id] = struct{}{}
		t.out.SetTimer(g.sessionTimer(id), t.now.Add(cmd.SessionTimeout))
		t.out.Answer(to, refusal(id, kafka.MemberIDRequired))
		return
	}
	g.joinFirst(t, to, cmd, id)
}

// joinFirst adds a member.
func (g *Group) joinFirst(t *turn, to coordinator.Token, cmd *Join, id string) {
	if len(g.members) == 0 {
		g.protocolType = cmd.ProtocolType
	}
	if g.state == PreparingRebalance && g.previous == Empty {
		g.newMemberAdded = true
	}
	m := &member{
		id:               id,
		instanceID:       cmd.InstanceID,
		clientID:         cmd.ClientID,
		clientHost:       cmd.ClientHost,
		rebalanceTimeout: cmd.RebalanceTimeout,
		sessionTimeout:   cmd.SessionTimeout,
		protocols:        cmd.Protocols,
		isNew:            true,
	}
	g.add(m)
	g.awaitJoin(t, m, to)
	g.arm(t, m, newMemberJoinTimeout)
	g.rebalanceOrComplete(t, cause{"a new member joins", id, cmd.Reason})
}

// joinAgain serves a member that says its id.
func (g *Group) joinAgain(t *turn, to coordinator.Token, cmd *Join) {
	m, err := g.find(cmd.MemberID, cmd.InstanceID)
	if err != nil {
		t.out.Answer(to, refusal(cmd.MemberID, err))
		return
	}
	if g.state == PreparingRebalance {
		g.rejoin(t, to, cmd, m, "a member joins again")
		return
	}
	switch isLeader := g.leader == m; {
	case !m.matches(cmd.Protocols):
		g.rejoin(t, to, cmd, m, "a member changes what it subscribes to")
	case isLeader && g.state == Stable:
		// Only the leader sees changes that no member's metadata shows, such as more partitions of a topic.
		g.rejoin(t, to, cmd, m, "the leader joins again")
	case isLeader:
		t.out.Answer(to, g.welcome(m, g.joined()))
	default:
		// The answer to its earlier request was lost, or it has nothing new to say.
		t.out.Answer(to, g.welcome(m, nil))
	}
}

// rejoin takes what the member says now into a rebalance.
func (g *Group) rejoin(t *turn, to coordinator.Token, cmd *Join, m *member, what string) {
	g.update(m, cmd)
	g.awaitJoin(t, m, to)
	g.rebalanceOrComplete(t, cause{what, m.id, cmd.Reason})
}

// replaceStatic lets a static member that has lost its id, for example in a restart, take the place of its former
// self, which is fenced. A stable group goes on without a rebalance if the vote stays as it was.
func (g *Group) replaceStatic(t *turn, to coordinator.Token, cmd *Join, m *member) {
	old := m.id
	g.answerJoin(t, m, refusedFenced)
	g.answerSync(t, m, syncFenced)
	g.endSession(t, m)
	g.rename(m, cmd.NewMemberID)
	m.isNew = false
	g.update(m, cmd)
	g.arm(t, m, m.sessionTimeout)

	why := cause{"a static member was replaced", m.id, cmd.Reason}
	switch g.state {
	case Stable:
		if chosen := g.selectProtocol(); g.protocol == nil || *chosen != *g.protocol {
			g.awaitJoin(t, m, to)
			why.what = "a static member was replaced and changes the protocol"
			g.prepareRebalance(t, why)
			return
		}
		t.out.Write(g.record(g.assignments()))
		t.out.Answer(to, g.welcomeBack(m, cmd, old))
	case CompletingRebalance:
		// The leader may be assigning to the old id right now.
		g.awaitJoin(t, m, to)
		g.prepareRebalance(t, why)
	default:
		g.awaitJoin(t, m, to)
		g.completeIfAllJoined(t)
	}
}

// welcomeBack gives a replaced static member the current generation. If it leads, it must not assign again: it is told
// so, or, where the protocol has no word for that, it is told that its former self is the leader.
func (g *Group) welcomeBack(m *member, cmd *Join, oldID string) JoinReply {
	if g.leader != m {
		return g.welcome(m, nil)
	}
	if cmd.SkipsAssignment {
		reply := g.welcome(m, g.joined())
		reply.SkipAssignment = true
		return reply
	}
	reply := g.welcome(m, nil)
	reply.Leader = oldID
	return reply
}

// welcome tells a member about the generation.
func (g *Group) welcome(m *member, members []JoinedMember) JoinReply {
	return JoinReply{
		Generation:   g.generation,
		ProtocolType: &g.protocolType,
		Protocol:     g.protocol,
		Leader:       g.leader.id,
		MemberID:     m.id,
		Members:      members,
	}
}

// joined is what the leader gets to assign from.
func (g *Group) joined() []JoinedMember {
	all := make([]JoinedMember, 0, len(g.members))
	for m := g.first; m != nil; m = m.next {
		all = append(all, JoinedMember{MemberID: m.id, InstanceID: m.instanceID, Metadata: m.metadata(*g.protocol)})
	}
	return all
}

// find looks a member up by the names that it gives.
func (g *Group) find(memberID string, instanceID *string) (*member, error) {
	if instanceID != nil {
		m := g.instances[*instanceID]
		if m == nil {
			return nil, kafka.UnknownMemberID
		}
		if m.id != memberID {
			return nil, kafka.FencedInstanceID
		}
	}
	if m := g.members[memberID]; m != nil {
		return m, nil
	}
	return nil, kafka.UnknownMemberID
}
