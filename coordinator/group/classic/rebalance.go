package classic

import (
	"fmt"
	"time"

	"spate/coordinator"
	"spate/kafka"
)

// cause is why a group rebalances, for people.
type cause struct {
	what         string
	member       string // whom it is about, if it is about one
	clientReason string // what the client said about it
}

// clientReasonBytesMax bounds what a client can have noted.
const clientReasonBytesMax = 255

func (c cause) String() string {
	text := c.what
	if c.member != "" {
		text += " (" + c.member + ")"
	}
	if c.clientReason != "" {
		text += "; client reason: " + c.clientReason[:min(len(c.clientReason), clientReasonBytesMax)]
	}
	return text
}

// rebalanceOrComplete starts a rebalance, or looks whether the one that goes on has all members now.
func (g *Group) rebalanceOrComplete(t *turn, why cause) {
	if g.state == PreparingRebalance {
		g.completeIfAllJoined(t)
		return
	}
	g.prepareRebalance(t, why)
}

// completeIfAllJoined ends the wait for members. The first rebalance of a group goes on until its timer fires, because
// nobody knows how many will come.
func (g *Group) completeIfAllJoined(t *turn) {
	if g.previous != Empty && g.allJoined() {
		g.completeJoin(t)
	}
}

func (g *Group) allJoined() bool { return g.joins == len(g.members) && len(g.pending) == 0 }

// prepareRebalance asks all members to join again.
func (g *Group) prepareRebalance(t *turn, why cause) {
	t.out.Note(g.id, fmt.Sprintf("the group rebalances after generation %d: %s", g.generation, why))
	isFirst := g.state == Empty
	if g.state == CompletingRebalance {
		for m := g.first; m != nil; m = m.next {
			m.assignment = nil
			if g.answerSync(t, m, syncRebalancing) {
				g.keepSession(t, m)
			}
		}
	}
	g.forgiveSyncs(t)
	g.transition(PreparingRebalance, timestamp(t.now))
	if isFirst {
		g.isInitial = true
		g.newMemberAdded = false
		delay := g.settings.InitialRebalanceDelay
		g.waitInitially(t, delay, max(g.rebalanceTimeout()-delay, 0))
		return
	}
	if g.allJoined() {
		g.completeJoin(t)
		return
	}
	g.isInitial = false
	g.armJoin(t, g.rebalanceTimeout())
}

// waitInitially gives more members the time to come, so that a group that starts does not rebalance for each of them.
func (g *Group) waitInitially(t *turn, delay, remaining time.Duration) {
	g.initialDelay, g.initialRemaining = delay, remaining
	g.armJoin(t, delay)
}

// joinFired ends the wait for members, or in a first rebalance lengthens it as long as members come.
func (g *Group) joinFired(t *turn) {
	switch {
	case g.state != PreparingRebalance:
	case g.isInitial && g.newMemberAdded && g.initialRemaining > 0:
		g.newMemberAdded = false
		delay := min(g.settings.InitialRebalanceDelay, g.initialRemaining)
		g.waitInitially(t, delay, max(g.initialRemaining-g.initialDelay, 0))
	default:
		g.completeJoin(t)
	}
}

// joinAgainMin is how long a group at least waits that has waited in vain: its members may allow no time at all.
const joinAgainMin = time.Second

// completeJoin makes a generation of the members that have joined. Dynamic members that have not are out; static ones
// stay until their session ends.
func (g *Group) completeJoin(t *turn) {
	g.disarmJoin(t)
	g.isInitial = false
	for m := g.first; m != nil; {
		next := m.next
		if m.join == coordinator.Nobody && m.instanceID == nil {
			g.remove(t, m)
		}
		m = next
	}
	if len(g.members) == 0 {
		t.out.Note(g.id, fmt.Sprintf("the group is empty in generation %d", g.generation+1))
		t.out.Write(g.farewell(t))
		return
	}
	if !g.electJoined() {
		g.armJoin(t, max(g.rebalanceTimeout(), joinAgainMin)) // until sessions end, or someone joins
		return
	}
	g.generation++
	g.protocol = g.selectProtocol()
	g.findTopics()
	g.transition(CompletingRebalance, timestamp(t.now))
	t.out.Note(g.id, fmt.Sprintf("generation %d begins; members: %d", g.generation, len(g.members)))
	for m := g.first; m != nil; m = m.next {
		g.setOwesSync(m, true)
		g.answerJoin(t, m, g.welcomeAll)
		m.isNew = false
		g.keepSession(t, m)
	}
	g.armSync(t, g.rebalanceTimeout())
}

// welcomeAll is the answer to a member of a new generation.
func (g *Group) welcomeAll(m *member) JoinReply {
	if m == g.leader {
		return g.welcome(m, g.joined())
	}
	return g.welcome(m, nil)
}

// electJoined makes sure that the leader is one who has joined; it reports whether there is one.
func (g *Group) electJoined() bool {
	if g.leader.join != coordinator.Nobody {
		return true
	}
	for m := g.first; m != nil; m = m.next {
		if m.join != coordinator.Nobody {
			g.leader = m
			return true
		}
	}
	return false
}

// forgiveSyncs ends the wait for SyncGroup requests.
func (g *Group) forgiveSyncs(t *turn) {
	for m := g.first; m != nil && g.syncs > 0; m = m.next {
		g.setOwesSync(m, false)
	}
	g.disarmSync(t)
}

// syncFired takes out the members that have joined a generation but never asked for their assignment.
func (g *Group) syncFired(t *turn) {
	if g.state != CompletingRebalance && g.state != Stable || g.syncs == 0 {
		return
	}
	for m := g.first; m != nil; {
		next := m.next
		if m.owesSync {
			g.remove(t, m)
		}
		m = next
	}
	g.prepareRebalance(t, cause{what: "members did not send SyncGroup in time"})
}

// The refusals of SyncGroup requests that wait.
var (
	syncUnknown     = SyncReply{Err: kafka.UnknownMemberID}
	syncFenced      = SyncReply{Err: kafka.FencedInstanceID}
	syncRebalancing = SyncReply{Err: kafka.RebalanceInProgress}
)
