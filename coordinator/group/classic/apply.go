package classic

import (
	"slices"
	"time"

	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
)

// record is the group with these assignments, as a leader's SyncGroup makes it.
func (g *Group) record(assignments map[string][]byte) *record.Group {
	leader := g.leader.id
	protocol := *g.protocol
	r := &record.Group{
		Group:          g.id,
		ProtocolType:   g.protocolType,
		Generation:     g.generation,
		Protocol:       &protocol,
		Leader:         &leader,
		StateTimestamp: g.stateTimestamp,
		Members:        make([]record.GroupMember, 0, len(g.members)),
	}
	for m := g.first; m != nil; m = m.next {
		r.Members = append(r.Members, record.GroupMember{
			MemberID:           m.id,
			InstanceID:         m.instanceID,
			ClientID:           m.clientID,
			ClientHost:         m.clientHost,
			RebalanceTimeoutMs: int32(m.rebalanceTimeout.Milliseconds()),
			SessionTimeoutMs:   int32(m.sessionTimeout.Milliseconds()),
			Subscription:       m.metadata(protocol),
			Assignment:         assignments[m.id],
		})
	}
	return r
}

// birth is the record of a group that begins to exist: its first member is still joining.
func (g *Group) birth(t *turn) *record.Group {
	return &record.Group{Group: g.id, Generation: g.generation, StateTimestamp: timestamp(t.now)}
}

// farewell is the record of a generation without members.
func (g *Group) farewell(t *turn) *record.Group {
	return &record.Group{
		Group:          g.id,
		ProtocolType:   g.protocolType,
		Generation:     g.generation + 1,
		StateTimestamp: timestamp(t.now),
	}
}

// Apply makes the recorded state the group's state. Members of the record that are here keep what no record holds, and
// recorded members that it has not any more are gone.
func (g *Group) Apply(r *record.Group) {
	if r.Deleted {
		g.recorded = false
		g.transition(Dead, kafka.NoTimestamp)
		return
	}
	g.recorded = true
	if len(r.Members) == 0 && g.first != nil && !g.first.isRecorded {
		return // the group begins to exist, and its first member is still joining
	}
	g.protocolType, g.protocol, g.generation = r.ProtocolType, r.Protocol, r.Generation
	if g.protocol == nil && len(r.Members) > 0 {
		g.protocol = new(string) // no machine writes such a record, but a file may hold it
	}
	g.applyMembers(r)
	if len(r.Members) == 0 {
		g.transition(Empty, r.StateTimestamp)
	} else {
		g.transition(Stable, r.StateTimestamp)
	}
	g.findTopics()
}

// applyMembers makes the members those of the record, in its order.
func (g *Group) applyMembers(r *record.Group) {
	here := g.members
	g.members = make(map[string]*member, len(r.Members))
	g.instances = map[string]*member{}
	g.supported = map[string]int{}
	g.first, g.last, g.leader = nil, nil, nil
	for i := range r.Members {
		rm := &r.Members[i]
		if g.members[rm.MemberID] != nil {
			continue // as above
		}
		m := here[rm.MemberID]
		if m == nil {
			m = &member{id: rm.MemberID}
		}
		m.apply(rm, *g.protocol)
		g.add(m)
	}
	if r.Leader != nil && g.members[*r.Leader] != nil {
		g.leader = g.members[*r.Leader]
	}
}

// apply takes over one member of a record.
func (m *member) apply(rm *record.GroupMember, protocol string) {
	m.isRecorded = true
	m.instanceID, m.clientID, m.clientHost = rm.InstanceID, rm.ClientID, rm.ClientHost
	m.sessionTimeout = time.Duration(rm.SessionTimeoutMs) * time.Millisecond
	m.rebalanceTimeout = time.Duration(rm.RebalanceTimeoutMs) * time.Millisecond
	if rm.RebalanceTimeoutMs < 0 { // of a record that is older than rebalance timeouts
		m.rebalanceTimeout = m.sessionTimeout
	}
	m.assignment = rm.Assignment
	said := Protocol{Name: protocol, Metadata: rm.Subscription}
	if !slices.ContainsFunc(m.protocols, said.equal) {
		m.protocols = []Protocol{said}
	}
}

// findTopics finds out what the members of a consumer group subscribe to. If one of them says it in bytes that cannot
// be read, nobody knows.
func (g *Group) findTopics() {
	g.topics, g.topicsKnown = nil, false
	if g.protocolType != ConsumerProtocolType {
		return
	}
	topics := map[string]struct{}{}
	for m := g.first; m != nil; m = m.next {
		subscribed, err := subscription.ParseTopics(m.metadata(*g.protocol))
		if err != nil {
			return
		}
		for _, topic := range subscribed {
			topics[topic] = struct{}{}
		}
	}
	g.topicsKnown = true
	for topic := range topics {
		g.topics = append(g.topics, topic)
	}
	slices.Sort(g.topics)
}
