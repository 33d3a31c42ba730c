package consumer

import (
	"fmt"
	"slices"
	"strings"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// heartbeat carries out a Heartbeat, or says why not.
func (g *Group) heartbeat(t *turn, h *Heartbeat) HeartbeatReply {
	reply, err := g.tryHeartbeat(t, h)
	if err != nil {
		t.refused()
		return refuse(err)
	}
	return reply
}

func refuse(err error) HeartbeatReply {
	message := coordinator.MessageOf(err)
	return HeartbeatReply{Err: err, Message: &message}
}

func refusal(reason *kafka.Error, format string, args ...any) error {
	return coordinator.Refuse(reason, fmt.Sprintf(format, args...))
}

func (g *Group) tryHeartbeat(t *turn, h *Heartbeat) (HeartbeatReply, error) {
	if err := check(g.id, g.settings.Assignors, h); err != nil {
		return HeartbeatReply{}, err
	}
	leaves := h.MemberEpoch < 0
	switch {
	case !leaves && h.MemberEpoch == 0:
		return g.beat(t, h)
	case g.Exists() && leaves:
		return g.leave(t, h)
	case g.Exists():
		return g.beat(t, h)
	case leaves:
		return HeartbeatReply{}, refusal(kafka.GroupIDNotFound, "Group %s not found.", g.id)
	}
	return HeartbeatReply{}, refusal(kafka.GroupIDNotFound, "Consumer group %s not found.", g.id)
}

// check refuses what no group can carry out.
func check(group string, assignors []string, h *Heartbeat) error {
	switch {
	case (h.APIVersion >= 1 || h.MemberEpoch > 0 || h.MemberEpoch == -1) && isBlank(h.MemberID):
		return refusal(kafka.InvalidRequest, "MemberId can't be empty.")
	case isBlank(group):
		return refusal(kafka.InvalidRequest, "GroupId can't be empty.")
	case h.InstanceID != nil && isBlank(*h.InstanceID):
		return refusal(kafka.InvalidRequest, "InstanceId can't be empty.")
	case h.RackID != nil && isBlank(*h.RackID):
		return refusal(kafka.InvalidRequest, "RackId can't be empty.")
	}
	if err := checkEpoch(h); err != nil {
		return err
	}
	if h.ServerAssignor != nil && !slices.Contains(assignors, *h.ServerAssignor) {
		return refusal(kafka.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			*h.ServerAssignor, strings.Join(assignors, ", "))
	}
	return nil
}

func checkEpoch(h *Heartbeat) error {
	switch {
	case h.MemberEpoch > 0 || h.MemberEpoch == -1:
	case h.MemberEpoch < leftForNow:
		return refusal(kafka.InvalidRequest, "MemberEpoch is invalid.")
	case h.MemberEpoch == leftForNow && h.InstanceID == nil:
		return refusal(kafka.InvalidRequest, "InstanceId can't be null.")
	case h.MemberEpoch == leftForNow:
	case h.RebalanceTimeoutMs == -1:
		return refusal(kafka.InvalidRequest, "RebalanceTimeoutMs must be provided in first request.")
	case h.Owned == nil || len(h.Owned) > 0:
		return refusal(kafka.InvalidRequest, "TopicPartitions must be empty when (re-)joining.")
	case h.SubscribedTopics == nil && h.SubscribedRegex == nil:
		return refusal(kafka.InvalidRequest,
			"Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	}
	return nil
}

// isBlank trims as Java does: everything up to the space.
func isBlank(s string) bool {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }) == ""
}

// beat carries out the heartbeat of a member that stays or joins.
func (g *Group) beat(t *turn, h *Heartbeat) (HeartbeatReply, error) {
	id := h.MemberID
	if err := g.checkSize(id); err != nil {
		return HeartbeatReply{}, err
	}
	if id == "" {
		id = h.NewMemberID
	}
	m, err := g.findOrMake(t, id, h)
	if err != nil {
		return HeartbeatReply{}, err
	}
	next := heard(m, h)
	s, err := g.subscribe(t, m, next)
	if err != nil {
		return HeartbeatReply{}, err
	}
	epoch, bump := g.epoch, s.bump() || t.mustAssign
	if bump || g.isOutdated(t) {
		epoch = g.updateMetadata(t, m, next, bump)
	}
	targetEpoch, target, err := g.updateTarget(t, epoch, m, next)
	if err != nil {
		return HeartbeatReply{}, err
	}
	next, err = g.reconcile(t, next, targetEpoch, target, s.changed(), h.Owned)
	if err != nil {
		return HeartbeatReply{}, err
	}
	g.setTimer(t, TimerSession, next.id, g.settings.SessionTimeout)

	reply := HeartbeatReply{
		MemberID: &next.id, MemberEpoch: next.epoch, HeartbeatInterval: g.settings.HeartbeatInterval,
	}
	isFull := h.RebalanceTimeoutMs != -1 && (h.SubscribedTopics != nil || h.SubscribedRegex != nil) && h.Owned != nil
	if h.MemberEpoch == 0 || isFull || !m.assigned.equal(next.assigned) {
		reply.Assignment = next.assigned.bare()
	}
	return reply, nil
}

func (g *Group) checkSize(memberID string) error {
	if _, ok := g.members[memberID]; ok || len(g.members) < g.settings.SizeMax {
		return nil
	}
	return refusal(kafka.GroupMaxSizeReached,
		"The consumer group has reached its maximum capacity of %d members.", g.settings.SizeMax)
}

// heard is the member with what the heartbeat says; where it says nothing new, it is the same member.
func heard(m *member, h *Heartbeat) *member {
	told := m.told
	if h.InstanceID != nil {
		told.InstanceID = h.InstanceID
	}
	if h.RackID != nil {
		told.RackID = h.RackID
	}
	if h.RebalanceTimeoutMs != -1 {
		told.RebalanceTimeoutMs = h.RebalanceTimeoutMs
	}
	if h.ServerAssignor != nil {
		told.ServerAssignor = h.ServerAssignor
	}
	if h.SubscribedTopics != nil && !slices.Equal(h.SubscribedTopics, told.SubscribedTopics) {
		told.SubscribedTopics = sortedSet(h.SubscribedTopics)
	}
	if h.SubscribedRegex != nil {
		told.SubscribedRegex = h.SubscribedRegex
	}
	told.ClientID, told.ClientHost = h.ClientID, h.ClientHost
	told.Classic = nil
	return m.tells(&told)
}

// tells is the member with another subscription.
func (m *member) tells(told *record.Member) *member {
	if equalTold(&m.told, told) {
		return m
	}
	next := *m
	next.told = *told
	return &next
}

// findOrMake gives the member that the heartbeat is from.
func (g *Group) findOrMake(t *turn, id string, h *Heartbeat) (*member, error) {
	if h.InstanceID != nil {
		return g.findOrMakeStatic(t, id, h)
	}
	m, err := g.find(id)
	if err != nil {
		if h.MemberEpoch == 0 {
			return newMember(g.id, id), nil
		}
		return nil, err
	}
	return m, checkMemberEpoch(m, h)
}

func (g *Group) find(id string) (*member, error) {
	if m := g.members[id]; m != nil {
		return m, nil
	}
	return nil, refusal(kafka.UnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
}

func (g *Group) findOrMakeStatic(t *turn, id string, h *Heartbeat) (*member, error) {
	holder := g.static(*h.InstanceID)
	switch {
	case h.MemberEpoch != 0:
		if err := g.checkInstance(holder, id, *h.InstanceID); err != nil {
			return nil, err
		}
		return holder, checkMemberEpoch(holder, h)
	case holder == nil && g.members[id] != nil:
		return g.members[id], nil
	case holder == nil:
		return newMember(g.id, id), nil
	case !holder.isClassic() && holder.epoch != leftForNow:
		return nil, refusal(kafka.UnreleasedInstanceID, "Static member %s with instance id %s cannot join the group "+
			"because the instance id is owned by %s member.", id, *h.InstanceID, holder.id)
	}
	return g.takeOver(t, holder, id), nil
}

// static is the member with that instance id, nil if there is none.
func (g *Group) static(instanceID string) *member { return g.members[g.instances[instanceID]] }

func (g *Group) checkInstance(holder *member, id, instanceID string) error {
	if holder == nil {
		return refusal(kafka.UnknownMemberID, "Instance id %s is unknown.", instanceID)
	}
	if holder.id != id {
		return refusal(kafka.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.",
			id, instanceID, holder.id)
	}
	return nil
}

// takeOver puts a new incarnation of a static member in the place of the old one, with all that is its.
func (g *Group) takeOver(t *turn, old *member, id string) *member {
	m := *old
	m.id, m.told.MemberID = id, id
	m.epoch, m.previous = 0, 0
	g.writeRemoval(t, old.id)
	t.out.Write(subscriptionRecord(&m), g.targetRecord(id, g.target[old.id]), m.current())
	return &m
}

// checkMemberEpoch fences a member that missed what happened to it. The epoch before the current one is let pass if the
// member owns nothing but what it may have: it has not had the answer to its last heartbeat.
func checkMemberEpoch(m *member, h *Heartbeat) error {
	switch {
	case h.MemberEpoch == 0 || h.MemberEpoch == m.epoch:
		return nil
	case h.MemberEpoch > m.epoch:
		return refusal(kafka.FencedMemberEpoch, "The consumer group member has a greater member epoch (%d) than the "+
			"one known by the group coordinator (%d). The member must abandon all its partitions and rejoin.",
			h.MemberEpoch, m.epoch)
	case h.MemberEpoch == m.previous && ownsNothingElse(h.Owned, m.assigned):
		return nil
	}
	return refusal(kafka.FencedMemberEpoch, "The consumer group member has a smaller member epoch (%d) than the one "+
		"known by the group coordinator (%d). The member must abandon all its partitions and rejoin.",
		h.MemberEpoch, m.epoch)
}

func ownsNothingElse(has []TopicPartitions, assigned owned) bool {
	if has == nil {
		return false
	}
	for _, topic := range has {
		may := assigned.topic(topic.TopicID).Partitions
		if len(may) == 0 {
			return false
		}
		for _, partition := range topic.Partitions {
			if _, ok := slices.BinarySearch(may, partition); !ok {
				return false
			}
		}
	}
	return true
}

// leave carries out the heartbeat of a member that leaves, for good or for now.
func (g *Group) leave(t *turn, h *Heartbeat) (HeartbeatReply, error) {
	reply := HeartbeatReply{MemberID: &h.MemberID, MemberEpoch: h.MemberEpoch}
	if h.InstanceID == nil {
		m, err := g.find(h.MemberID)
		if err != nil {
			return HeartbeatReply{}, err
		}
		g.fence(t, []*member{m})
		return reply, nil
	}
	m := g.static(*h.InstanceID)
	if err := g.checkInstance(m, h.MemberID, *h.InstanceID); err != nil {
		return HeartbeatReply{}, err
	}
	if h.MemberEpoch == leftForNow {
		gone := *m
		gone.epoch, gone.revoking, gone.assigned = leftForNow, nil, m.assigned.withEpoch(0)
		t.out.Write(gone.current())
		return reply, nil
	}
	g.fence(t, []*member{m})
	return reply, nil
}
