package classic

import (
	"time"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// Release ends the group's life as a classic one: it becomes a consumer group. Whoever waits is told to join again,
// and no timer stays set. The group is of no use after it.
func (g *Group) Release(now time.Time) coordinator.Outcome {
	t := turn{now: now}
	for m := g.first; m != nil; m = m.next {
		g.answerJoin(&t, m, refusedSuperseded)
		g.answerSync(&t, m, syncRebalancing)
		g.endSession(&t, m)
	}
	for _, id := range g.pendingIDs() {
		g.forgetPending(&t, id)
	}
	g.disarmJoin(&t)
	g.disarmSync(&t)
	return t.out
}

// Adopt makes a classic group of the members that are left of a consumer group, all of which speak the classic
// protocol, in a generation that is the consumer group's epoch. assign encodes what a member has, for the protocol
// metadata with which it had joined. The first member leads. The result still has to be written (Record), its sessions
// started (Loaded) and, unless its members are as the consumer group had them, rebalanced (Rebalance).
func Adopt(
	id string, s Settings, now time.Time, generation int32, members []Member,
	assign func(m Member, metadata []byte) []byte,
) *Group {
	g := New(id, s)
	g.protocolType, g.generation = ConsumerProtocolType, generation
	for i := range members {
		m := &members[i]
		g.add(&member{
			id:               m.MemberID,
			instanceID:       m.InstanceID,
			clientID:         m.ClientID,
			clientHost:       m.ClientHost,
			rebalanceTimeout: m.RebalanceTimeout,
			sessionTimeout:   m.SessionTimeout,
			protocols:        distinct(m.Protocols),
			isRecorded:       true,
		})
	}
	if g.protocol = g.selectProtocol(); g.protocol == nil {
		g.protocol = new(string)
	}
	for i := range members {
		m := g.members[members[i].MemberID]
		m.assignment = assign(members[i], m.metadata(*g.protocol))
	}
	g.transition(Stable, timestamp(now))
	g.findTopics()
	return g
}

// Record is the group as its last rebalance has left it. The group must have members and be stable.
func (g *Group) Record() *record.Group { return g.record(g.assignments()) }

// Rebalance asks the members to join again, and notes why.
func (g *Group) Rebalance(now time.Time, why string) coordinator.Outcome {
	t := turn{now: now}
	if g.state == Stable || g.state == CompletingRebalance {
		g.prepareRebalance(&t, cause{what: why})
	}
	return t.out
}

// Tombstone is the record that deletes the group.
func (g *Group) Tombstone() *record.Group { return &record.Group{Group: g.id, Deleted: true} }

// CheckDelete reports whether the group may be deleted.
func (g *Group) CheckDelete() error {
	switch g.state {
	case Dead:
		return kafka.GroupIDNotFound
	case Empty:
		return nil
	}
	return kafka.NonEmptyGroup
}
