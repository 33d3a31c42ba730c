package classic

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"spate/coordinator"
)

// member is one member. Its place in the list is that of its joining.
type member struct {
	id               string
	instanceID       *string // of a static member
	clientID         string
	clientHost       string
	rebalanceTimeout time.Duration
	sessionTimeout   time.Duration
	protocols        []Protocol // after a load only the one that was chosen
	assignment       []byte

	isRecorded bool // in the group's last record
	isNew      bool // it does not know its id yet, because it waits in its first JoinGroup
	owesSync   bool // it has yet to send SyncGroup in this generation

	join coordinator.Token // of the JoinGroup it waits in, or Nobody
	sync coordinator.Token // of the SyncGroup it waits in, or Nobody

	deadline time.Time // when the session ends
	armed    time.Time // when its timer fires, zero if it is not set; never later than the deadline

	prev, next *member
}

// metadata is what the member says in a protocol.
func (m *member) metadata(protocol string) []byte {
	for i := range m.protocols {
		if m.protocols[i].Name == protocol {
			return m.protocols[i].Metadata
		}
	}
	return nil
}

// matches reports whether the member would say the same again, in the same order of preference.
func (m *member) matches(protocols []Protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, Protocol.equal)
}

func (p Protocol) equal(other Protocol) bool {
	return p.Name == other.Name && bytes.Equal(p.Metadata, other.Metadata)
}

// isAwaited reports whether the member waits for the group, so that its silence means nothing. A new member is not
// given this, because it may have gone away while it waited.
func (m *member) isAwaited() bool {
	return !m.isNew && (m.join != coordinator.Nobody || m.sync != coordinator.Nobody)
}

// add puts a member at the end. The first one gives the group its protocol type, and leads.
func (g *Group) add(m *member) {
	g.members[m.id] = m
	delete(g.pending, m.id)
	if m.instanceID != nil {
		g.instances[*m.instanceID] = m
	}
	m.prev, m.next = g.last, nil
	if g.last == nil {
		g.first = m
	} else {
		g.last.next = m
	}
	g.last = m
	if g.leader == nil {
		g.leader = m
	}
	g.count(m.protocols, 1)
}

// remove takes a member out, answers whoever still waits for it, and lets another one lead if it led.
func (g *Group) remove(t *turn, m *member) {
	g.answerJoin(t, m, refusedUnknown)
	g.answerSync(t, m, syncUnknown)
	g.setOwesSync(m, false)
	g.endSession(t, m)
	g.drop(m)
}

// drop takes a member that nobody waits for out of the books.
func (g *Group) drop(m *member) {
	g.count(m.protocols, -1)
	delete(g.members, m.id)
	if m.instanceID != nil && g.instances[*m.instanceID] == m {
		delete(g.instances, *m.instanceID)
	}
	if m.prev == nil {
		g.first = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		g.last = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.prev, m.next = nil, nil
	if g.leader == m {
		g.leader = g.first
	}
}

// rename gives a member another id, in the same place.
func (g *Group) rename(m *member, id string) {
	delete(g.members, m.id)
	m.id = id
	g.members[id] = m
}

// count adds or takes the member's knowledge of protocols.
func (g *Group) count(protocols []Protocol, by int) {
	for i := range protocols {
		name := protocols[i].Name
		if n := g.supported[name] + by; n == 0 {
			delete(g.supported, name)
		} else {
			g.supported[name] = n
		}
	}
}

// update takes over what a member says as it joins again.
func (g *Group) update(m *member, cmd *Join) {
	g.count(m.protocols, -1)
	m.protocols = cmd.Protocols
	g.count(m.protocols, 1)
	m.rebalanceTimeout = cmd.RebalanceTimeout
	m.sessionTimeout = cmd.SessionTimeout
}

// awaitJoin lets a member wait for the end of the rebalance. A request of the same member that waited already is
// told to try again: only one of them can have the answer.
func (g *Group) awaitJoin(t *turn, m *member, to coordinator.Token) {
	g.answerJoin(t, m, refusedSuperseded)
	m.join = to
	g.joins++
}

// answerJoin answers the member's JoinGroup, if it waits in one.
func (g *Group) answerJoin(t *turn, m *member, reply func(*member) JoinReply) {
	if m.join == coordinator.Nobody {
		return
	}
	t.out.Answer(m.join, reply(m))
	m.join = coordinator.Nobody
	g.joins--
}

// answerSync answers the member's SyncGroup, if it waits in one, and reports whether it did.
func (g *Group) answerSync(t *turn, m *member, reply SyncReply) bool {
	if m.sync == coordinator.Nobody {
		return false
	}
	t.out.Answer(m.sync, reply)
	m.sync = coordinator.Nobody
	return true
}

func (g *Group) setOwesSync(m *member, owes bool) {
	if m.owesSync == owes {
		return
	}
	m.owesSync = owes
	if owes {
		g.syncs++
	} else {
		g.syncs--
	}
}

// rebalanceTimeout is the longest that a member asks for.
func (g *Group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for m := g.first; m != nil; m = m.next {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// supports reports whether a member of this type, which knows these protocols, can be in the group.
func (g *Group) supports(protocolType string, protocols []Protocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return g.protocolType == protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool {
		return g.supported[p.Name] == len(g.members)
	})
}

// selectProtocol holds the vote: each member is for the first of its protocols that all know. A tie goes to the
// protocol of the member that has been here longest.
func (g *Group) selectProtocol() *string {
	votes := map[string]int{}
	var names []string
	for m := g.first; m != nil; m = m.next {
		for _, p := range m.protocols {
			if g.supported[p.Name] != len(g.members) {
				continue
			}
			if votes[p.Name]++; votes[p.Name] == 1 {
				names = append(names, p.Name)
			}
			break
		}
	}
	var chosen *string
	for i := range names {
		if chosen == nil || votes[names[i]] > votes[*chosen] {
			chosen = &names[i]
		}
	}
	return chosen
}

// distinct leaves the first protocol of each name, so that a member counts once.
func distinct(protocols []Protocol) []Protocol {
	seen := make(map[string]struct{}, len(protocols))
	for _, p := range protocols {
		seen[p.Name] = struct{}{}
	}
	if len(seen) == len(protocols) {
		return protocols
	}
	kept := make([]Protocol, 0, len(seen))
	for _, p := range protocols {
		if _, ok := seen[p.Name]; ok {
			delete(seen, p.Name)
			kept = append(kept, p)
		}
	}
	return kept
}

// pendingIDs lists, sorted, the ids that were given out to members who have not come back with them yet.
func (g *Group) pendingIDs() []string { return slices.Sorted(maps.Keys(g.pending)) }
