package classic

import (
	"time"

	"spate/coordinator"
	"spate/kafka"
)

// The answers to Heartbeat, boxed once: heartbeats are what a group mostly hears.
var (
	heartbeatTaken       any = HeartbeatReply{}
	heartbeatRebalancing any = HeartbeatReply{Err: kafka.RebalanceInProgress}
)

// heartbeat carries out Heartbeat.
func (g *Group) heartbeat(t *turn, to coordinator.Token, cmd *Heartbeat) {
	m, err := g.findCurrent(cmd.MemberID, cmd.InstanceID, cmd.Generation)
	if err != nil {
		t.out.Answer(to, HeartbeatReply{Err: err})
		return
	}
	g.keepSession(t, m)
	if g.state == PreparingRebalance {
		t.out.Answer(to, heartbeatRebalancing)
		return
	}
	t.out.Answer(to, heartbeatTaken)
}

// findCurrent looks a member up and checks that it knows the generation.
func (g *Group) findCurrent(memberID string, instanceID *string, generation int32) (*member, error) {
	if g.state == Dead {
		return nil, kafka.CoordinatorNotAvailable
	}
	m, err := g.find(memberID, instanceID)
	if err != nil {
		return nil, err
	}
	if generation != g.generation {
		return nil, kafka.IllegalGeneration
	}
	return m, nil
}

// CheckCommit reports whether a member, or with a negative generation someone outside the group, may commit offsets
// now. A commit is a heartbeat too, but it sets no timer, which would be lost if the offsets cannot be written: one
// that is set finds the new deadline, and where none is set the member waits for an answer that sets it.
func (g *Group) CheckCommit(now time.Time, memberID string, instanceID *string, generation int32) error {
	isOutside := generation < 0 && memberID == "" && instanceID == nil
	switch {
	case g.state == Dead:
		return kafka.CoordinatorNotAvailable
	case g.state == Empty && generation < 0:
		return nil
	case isOutside:
		return kafka.UnknownMemberID
	}
	m, err := g.findCurrent(memberID, instanceID, generation)
	if err != nil {
		return err
	}
	if g.state == CompletingRebalance {
		return kafka.RebalanceInProgress
	}
	if end := now.Add(m.sessionTimeout); end.After(m.deadline) {
		m.deadline = end
	}
	return nil
}

// CheckTransactionalCommit is CheckCommit for offsets of a transaction. Whoever names no member may commit at any time:
// the transaction keeps others out. It is no heartbeat.
func (g *Group) CheckTransactionalCommit(memberID string, instanceID *string, generation int32) error {
	isOutside := generation < 0 && memberID == "" && instanceID == nil
	switch {
	case g.state == Dead:
		return kafka.CoordinatorNotAvailable
	case g.state == Empty && generation < 0, isOutside:
		return nil
	}
	_, err := g.findCurrent(memberID, instanceID, generation)
	return err
}

func (g *Group) sessionTimer(memberID string) coordinator.TimerKey {
	return coordinator.TimerKey{Kind: TimerSession, Group: g.id, Member: memberID}
}

// keepSession starts a member's session anew.
func (g *Group) keepSession(t *turn, m *member) { g.arm(t, m, m.sessionTimeout) }

// arm moves the end of the session. Its timer is set only if it would fire too late: one that fires too early finds
// the new deadline, which spares a timer per heartbeat.
func (g *Group) arm(t *turn, m *member, timeout time.Duration) {
	m.deadline = t.now.Add(timeout)
	if m.armed.IsZero() || m.deadline.Before(m.armed) {
		m.armed = m.deadline
		t.out.SetTimer(g.sessionTimer(m.id), m.armed)
	}
}

// endSession takes the member's timer back.
func (g *Group) endSession(t *turn, m *member) {
	if !m.armed.IsZero() {
		m.armed = time.Time{}
		t.out.StopTimer(g.sessionTimer(m.id))
	}
}

// sessionFired ends a session, unless the member was heard of since or waits for the group.
func (g *Group) sessionFired(t *turn, memberID string) {
	if g.isPending(memberID) {
		delete(g.pending, memberID)
		g.completeAfterLoss(t)
		return
	}
	m := g.members[memberID]
	if m == nil {
		return
	}
	m.armed = time.Time{}
	if t.now.Before(m.deadline) {
		m.armed = m.deadline
		t.out.SetTimer(g.sessionTimer(m.id), m.armed)
		return
	}
	if m.isAwaited() {
		return // the answer that it waits for starts its session anew
	}
	g.remove(t, m)
	if g.state == Stable || g.state == CompletingRebalance {
		g.prepareRebalance(t, cause{what: "the session of a member has ended", member: m.id})
		return
	}
	g.completeAfterLoss(t)
}

// completeAfterLoss ends the wait for members if the one that was lost was the last.
func (g *Group) completeAfterLoss(t *turn) {
	if g.state == PreparingRebalance && g.allJoined() {
		g.completeJoin(t)
	}
}
