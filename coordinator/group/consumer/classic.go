package consumer

import (
	"slices"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
)

// Members of the classic protocol live in a consumer group as the others do: the broker assigns, a join is answered at
// once, and a heartbeat that is answered with REBALANCE_IN_PROGRESS makes the member join again, by which it says what
// it has given back and learns what it gets.

// joinClassic carries out a JoinGroup.
func (g *Group) joinClassic(t *turn, j *classic.Join) classic.JoinReply {
	limits := g.settings.Classic
	if j.SessionTimeout < limits.SessionTimeoutMin || j.SessionTimeout > limits.SessionTimeoutMax {
		return refuseJoin(j.MemberID, kafka.InvalidSessionTimeout)
	}
	reply, err := g.tryJoin(t, j)
	if err != nil {
		t.refused()
		return refuseJoin("", err)
	}
	return reply
}

func refuseJoin(memberID string, err error) classic.JoinReply {
	return classic.JoinReply{Err: err, Generation: -1, MemberID: memberID}
}

func (g *Group) tryJoin(t *turn, j *classic.Join) (classic.JoinReply, error) {
	id := j.MemberID
	if id == "" {
		id = j.NewMemberID
	}
	if err := g.admit(id, j); err != nil {
		return classic.JoinReply{}, err
	}
	if j.NeedsKnownMember && j.MemberID == "" && j.InstanceID == nil {
		return refuseJoin(id, kafka.MemberIDRequired), nil
	}
	told, err := subscription.Parse(j.Protocols[0].Metadata)
	if err != nil {
		return classic.JoinReply{}, coordinator.Refuse(kafka.UnknownServerError, err.Error())
	}
	m, err := g.findOrMakeClassic(t, id, j, len(told.Owned) > 0)
	if err != nil {
		return classic.JoinReply{}, err
	}
	next := joined(m, j, &told)
	s, err := g.subscribe(t, m, next)
	if err != nil {
		return classic.JoinReply{}, err
	}
	epoch := g.epoch
	if s.changed() || g.isOutdated(t) {
		epoch = g.updateMetadata(t, m, next, s.changed())
	}
	next, err = g.settle(t, j, epoch, m, next, s.changed(), toOwned(t.c, told.Owned))
	if err != nil {
		return classic.JoinReply{}, err
	}
	return classic.JoinReply{
		MemberID: next.id, Generation: next.epoch,
		ProtocolType: new(classic.ConsumerProtocolType), Protocol: new(j.Protocols[0].Name),
	}, nil
}

// settle leads a member that has joined towards its target, or makes the group a classic one if the member has taken
// the place of the last that was not.
func (g *Group) settle(
	t *turn, j *classic.Join, epoch int32, m, next *member, subscriptionChanged bool, has []TopicPartitions,
) (*member, error) {
	if j.InstanceID != nil && g.downgradesReplacing(g.static(*j.InstanceID)) {
		holder := g.static(*j.InstanceID)
		// While members still move, the target is not what they own, so that they have to say what they do.
		rebalance := g.targetEpoch < epoch || !g.isSettledBut(holder)
		if !rebalance {
			var err error
			next, err = g.reconcile(t, next, g.targetEpoch, g.target[holder.id], subscriptionChanged, has)
			if err != nil {
				return nil, err
			}
		}
		return next, g.downgrade(t, nil, next, rebalance)
	}
	targetEpoch, target, err := g.updateTarget(t, epoch, m, next)
	if err != nil {
		return nil, err
	}
	next, err = g.reconcile(t, next, targetEpoch, target, subscriptionChanged, has)
	if err != nil {
		return nil, err
	}
	g.stopJoinTimer(t, next.id)
	g.setTimer(t, TimerSession, next.id, j.SessionTimeout)
	g.setTimer(t, TimerSync, next.id, j.RebalanceTimeout)
	return next, nil
}

// isSettledBut says whether all other members own what the target assignment gives them.
func (g *Group) isSettledBut(but *member) bool {
	for _, m := range g.members {
		if m != but && !m.reconciled(g.targetEpoch) {
			return false
		}
	}
	return true
}

// admit refuses whom the group cannot take.
func (g *Group) admit(id string, j *classic.Join) error {
	if !g.settings.Upgrade && !g.settings.Downgrade {
		return refusal(kafka.InconsistentGroupProtocol, "Cannot join the consumer group %s with the classic protocol "+
			"because the group migration is disabled.", g.id)
	}
	if err := g.checkSize(id); err != nil {
		return err
	}
	knownByAll := func(p classic.Protocol) bool { return g.classicProtocols[p.Name] == g.classicMembers }
	if j.ProtocolType != classic.ConsumerProtocolType || !slices.ContainsFunc(j.Protocols, knownByAll) {
		return refusal(kafka.InconsistentGroupProtocol, "Member %s's protocols are not supported.", id)
	}
	return nil
}

// findOrMakeClassic gives the member that a JoinGroup is from. Kafka makes a member for any id; here one that says it
// owns something was put out before and does not know yet, so that another may have its partitions: it is told, as in a
// classic group, and gives them up.
func (g *Group) findOrMakeClassic(t *turn, id string, j *classic.Join, ownsSomething bool) (*member, error) {
	if j.InstanceID == nil || (j.MemberID == "" && g.static(*j.InstanceID) == nil) {
		m := g.members[id]
		switch {
		case m == nil && ownsSomething:
			return nil, refusal(kafka.UnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
		case m == nil:
			return newMember(g.id, id), nil
		}
		return m, nil
	}
	holder := g.static(*j.InstanceID)
	if j.MemberID == "" {
		return g.takeOver(t, holder, id), nil
	}
	return holder, g.checkInstance(holder, id, *j.InstanceID)
}

// joined is the member with what its JoinGroup says.
func joined(m *member, j *classic.Join, s *subscription.Subscription) *member {
	told := m.told
	if j.InstanceID != nil {
		told.InstanceID = j.InstanceID
	}
	if s.Rack != nil && *s.Rack != "" {
		told.RackID = s.Rack
	}
	if timeout := int32(j.RebalanceTimeout.Milliseconds()); timeout != -1 {
		told.RebalanceTimeoutMs = timeout
	}
	told.SubscribedTopics = sortedSet(s.Topics)
	told.SubscribedRegex = new("")
	told.ClientID, told.ClientHost = j.ClientID, j.ClientHost
	told.Classic = classicMember(j.SessionTimeout, j.Protocols)
	return m.tells(&told)
}

func classicMember(sessionTimeout time.Duration, protocols []classic.Protocol) *record.ClassicMember {
	c := &record.ClassicMember{SessionTimeoutMs: int32(sessionTimeout.Milliseconds())}
	for _, p := range protocols {
		c.SupportedProtocols = append(c.SupportedProtocols, record.ClassicProtocol{Name: p.Name, Metadata: p.Metadata})
	}
	return c
}

// toOwned names topics by their ids; those that are gone are left out.
func toOwned(c *Cluster, topics []subscription.TopicPartitions) []TopicPartitions {
	has := []TopicPartitions{}
	for _, t := range topics {
		if topic := c.img.Topic(t.Topic); topic != nil {
			has = append(has, TopicPartitions{TopicID: topic.ID, Partitions: t.Partitions})
		}
	}
	return has
}

// findClassic gives the member of the classic protocol that a request is from.
func (g *Group) findClassic(id string, instanceID *string, generation int32) (*member, error) {
	m := g.members[id]
	if instanceID != nil {
		m = g.static(*instanceID)
	}
	switch {
	case m == nil && instanceID != nil:
		return nil, refusal(kafka.UnknownMemberID, "Member with instance id %s is not a member of group %s.",
			*instanceID, g.id)
	case m == nil:
		return nil, refusal(kafka.UnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
	case m.id != id:
		return nil, g.checkInstance(m, id, *instanceID)
	case !m.isClassic():
		return nil, refusal(kafka.UnknownMemberID, "Member %s does not use the classic protocol.", m.id)
	case m.epoch != generation:
		return nil, refusal(kafka.IllegalGeneration,
			"The request generation id %d is not equal to the member epoch %d of member %s.", generation, m.epoch, m.id)
	}
	return m, nil
}

// syncClassic carries out a SyncGroup.
func (g *Group) syncClassic(t *turn, s *classic.Sync) classic.SyncReply {
	m, err := g.findClassic(s.MemberID, s.InstanceID, s.Generation)
	if err == nil {
		err = checkProtocol(m, s)
	}
	if err != nil {
		return classic.SyncReply{Err: err}
	}
	if g.targetEpoch > m.epoch && m.state != unrevoked {
		g.setJoinTimer(t, m)
		return classic.SyncReply{Err: refusal(kafka.RebalanceInProgress,
			"A new rebalance is triggered in group %s and member %s should rejoin to catch up.", g.id, m.id)}
	}
	t.out.StopTimer(g.timer(TimerSync, m.id))
	g.setTimer(t, TimerSession, m.id, milliseconds(m.told.Classic.SessionTimeoutMs))
	version, err := protocolVersion(m)
	if err != nil {
		t.refused()
		return classic.SyncReply{Err: err}
	}
	return classic.SyncReply{
		ProtocolType: s.ProtocolType, Protocol: s.Protocol,
		Assignment: encodeAssignment(t.c, version, m.assigned),
	}
}

// checkProtocol refuses a SyncGroup that names another protocol than the answer to JoinGroup did.
func checkProtocol(m *member, s *classic.Sync) error {
	if s.ProtocolType != nil && *s.ProtocolType != classic.ConsumerProtocolType {
		return refusal(kafka.InconsistentGroupProtocol, "The protocol type %s from member %s request is not equal to "+
			"the group protocol type %s.", *s.ProtocolType, m.id, classic.ConsumerProtocolType)
	}
	name := ""
	if protocols := m.told.Classic.SupportedProtocols; len(protocols) > 0 {
		name = protocols[0].Name
	}
	if s.Protocol != nil && *s.Protocol != name {
		return refusal(kafka.InconsistentGroupProtocol, "The protocol name %s from member %s request is not equal to "+
			"the protocol name %s returned in the join response.", *s.Protocol, m.id, name)
	}
	return nil
}

// protocolVersion is the version of the consumer protocol that a member of the classic protocol speaks.
func protocolVersion(m *member) (int16, error) {
	var metadata []byte
	if protocols := m.told.Classic.SupportedProtocols; len(protocols) > 0 {
		metadata = protocols[0].Metadata
	}
	version, err := subscription.ParseVersion(metadata)
	if err != nil {
		return 0, coordinator.Refuse(kafka.UnknownServerError, err.Error())
	}
	return version, nil
}

// encodeAssignment makes the bytes that a member of the classic protocol takes its assignment from.
func encodeAssignment(c *Cluster, version int16, partitions []record.TopicPartitions) []byte {
	a := subscription.Assignment{Version: min(version, subscription.VersionMax)}
	for _, p := range partitions {
		if topic := c.img.TopicByID(p.TopicID); topic != nil {
			a.Partitions = append(a.Partitions,
				subscription.TopicPartitions{Topic: topic.Name, Partitions: p.Partitions})
		}
	}
	return a.Append(nil)
}

// heartbeatClassic carries out a Heartbeat of the classic protocol: it tells the member to join again when there is
// something to give back or to get.
func (g *Group) heartbeatClassic(t *turn, h *classic.Heartbeat) classic.HeartbeatReply {
	m, err := g.findClassic(h.MemberID, h.InstanceID, h.Generation)
	if err != nil {
		return classic.HeartbeatReply{Err: err}
	}
	g.setTimer(t, TimerSession, m.id, milliseconds(m.told.Classic.SessionTimeoutMs))
	if m.epoch < g.targetEpoch || m.state == unrevoked || (m.state == unreleased && !g.waits(m)) {
		g.setJoinTimer(t, m)
		return classic.HeartbeatReply{Err: kafka.RebalanceInProgress}
	}
	return classic.HeartbeatReply{}
}

// waits says whether something that the member is to have is still with another.
func (g *Group) waits(m *member) bool {
	for topic, partitions := range g.target[m.id] {
		for _, partition := range partitions {
			if _, has := m.assigned.epoch(topic, partition); !has && g.isOwned(topic, partition) {
				return true
			}
		}
	}
	return false
}

// leaveClassic carries out a LeaveGroup, which may name members of either protocol.
func (g *Group) leaveClassic(t *turn, l *classic.Leave) classic.LeaveReply {
	var reply classic.LeaveReply
	var gone []*member
	for _, leaver := range l.Members {
		m, err := g.findLeaver(leaver)
		reply.Members = append(reply.Members,
			classic.LeftMember{MemberID: leaver.MemberID, InstanceID: leaver.InstanceID, Err: err})
		if err == nil && !slices.Contains(gone, m) {
			gone = append(gone, m)
		}
	}
	g.fence(t, gone)
	return reply
}

func (g *Group) findLeaver(l classic.Leaver) (*member, error) {
	if l.InstanceID == nil {
		return g.find(l.MemberID)
	}
	m := g.static(*l.InstanceID)
	if m != nil && l.MemberID == "" {
		return m, nil
	}
	return m, g.checkInstance(m, l.MemberID, *l.InstanceID)
}
