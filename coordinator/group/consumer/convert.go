package consumer

import (
	"errors"
	"slices"
	"strings"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/assignor"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
)

// errCustomAssignor is the error of an assignment that a consumer group cannot take over: one with data of the client's
// assignor, which would be lost, or one that gives a partition to several members.
var errCustomAssignor = errors.New("the assignment is that of a custom assignor")

// Upgrade is for a Heartbeat that comes to a classic group. If a consumer member joins by it, the group becomes a
// consumer group: the records of the outcome delete the classic group, write the new one and let the member join. In
// all other cases the outcome only refuses.
func Upgrade(
	now time.Time, c *Cluster, old *classic.Group, s Settings, to coordinator.Token, h Heartbeat,
) coordinator.Outcome {
	t := &turn{now: now, c: c}
	reply, err := upgrade(t, old, s, &h)
	if err != nil {
		t.refused()
		reply = refuse(err)
	}
	return answer(t, to, reply)
}

func upgrade(t *turn, old *classic.Group, s Settings, h *Heartbeat) (HeartbeatReply, error) {
	if err := check(old.ID(), s.Assignors, h); err != nil {
		return HeartbeatReply{}, err
	}
	if h.MemberEpoch != 0 {
		return HeartbeatReply{}, refusal(kafka.GroupIDNotFound, "Group %s is not a consumer group.", old.ID())
	}
	g := New(old.ID(), s)
	var released coordinator.Outcome
	var records []coordinator.Record
	members := old.Members()
	if old.State() == classic.Empty {
		records = []coordinator.Record{old.Tombstone()}
	} else {
		if err := checkUpgrade(old, len(members), s); err != nil {
			return HeartbeatReply{}, err
		}
		converted, err := convert(t.c, old, members)
		if err != nil {
			return HeartbeatReply{}, refuseConversion(old.ID(), err)
		}
		records = append([]coordinator.Record{old.Tombstone()}, converted...)
		t.mustAssign = old.State() != classic.Stable // what the members have then is no assignment
		for _, r := range converted {
			g.Apply(r)
		}
	}
	reply, err := g.beat(t, h)
	if err != nil {
		return HeartbeatReply{}, err
	}
	// Only now is it certain that the group changes, so that those who wait are not sent away for nothing.
	released = old.Release(t.now)
	joined := t.out
	t.out = coordinator.Outcome{Records: records}
	t.out.Note(g.id, "the classic group is a consumer group now, because member "+*reply.MemberID+" has joined")
	t.out.Join(released)
	for _, m := range members {
		g.setTimer(t, TimerSession, m.MemberID, m.SessionTimeout)
	}
	t.out.Join(joined)
	return reply, nil
}

func checkUpgrade(old *classic.Group, size int, s Settings) error {
	cannot := "Cannot upgrade classic group %s to consumer group because "
	switch {
	case !s.Upgrade:
		return refusal(kafka.GroupIDNotFound, cannot+"online upgrade is disabled.", old.ID())
	case !old.IsConsumer():
		return refusal(kafka.GroupIDNotFound, cannot+"the group does not use the consumer embedded protocol.", old.ID())
	case size > s.SizeMax:
		return refusal(kafka.GroupIDNotFound,
			cannot+"the group size exceeds the consumer group maximum size.", old.ID())
	}
	return nil
}

func refuseConversion(group string, err error) error {
	cannot := "Cannot upgrade classic group %s to consumer group because "
	if errors.Is(err, errCustomAssignor) {
		return refusal(kafka.GroupIDNotFound, cannot+"an unsupported custom assignor is in use. Please refer to the "+
			"documentation or switch to a default assignor before re-attempting the upgrade.", group)
	}
	return refusal(kafka.GroupIDNotFound, cannot+"the embedded consumer protocol is malformed.", group)
}

// convert makes the records of a consumer group whose members are those of a classic group and own what they own there.
func convert(c *Cluster, old *classic.Group, members []classic.Member) ([]coordinator.Record, error) {
	slices.SortFunc(members, func(a, b classic.Member) int { return strings.Compare(a.MemberID, b.MemberID) })
	scratch := New(old.ID(), Settings{})
	claims := make([][]subscription.TopicPartitions, len(members))
	for i := range members {
		s, err := subscription.Parse(chosenMetadata(old, &members[i]))
		if err != nil {
			return nil, err
		}
		m, err := convertMember(c, old, &members[i], &s)
		if err != nil {
			return nil, err
		}
		for _, topic := range m.assigned {
			for _, partition := range topic.Partitions {
				if scratch.isOwned(topic.TopicID, partition) {
					return nil, errCustomAssignor
				}
			}
		}
		scratch.replace(nil, m)
		claims[i] = s.Owned
	}
	for i := range members {
		scratch.claim(scratch.members[members[i].MemberID], toOwned(c, claims[i]), old.Generation())
	}
	scratch.epoch, scratch.targetEpoch = old.Generation(), old.Generation()
	return scratch.records(c), nil
}

// claim adds what a member said it owns when it last joined. In the middle of a rebalance the classic group has
// forgotten what it had assigned, and right after one the member may not have given back yet what it lost by it.
func (g *Group) claim(m *member, claimed []TopicPartitions, epoch int32) {
	var more owned
	for _, topic := range claimed {
		for _, partition := range topic.Partitions {
			if !g.isOwned(topic.TopicID, partition) {
				more = append(more, record.TopicPartitions{
					TopicID: topic.TopicID, Partitions: []int32{partition}, AssignmentEpochs: []int32{epoch},
				})
			}
		}
	}
	if len(more) > 0 {
		next := *m
		next.assigned = normalize(slices.Concat(m.assigned, more), epoch)
		g.replace(m, &next)
	}
}

// records are those of a group that has just been converted: what its members have is their target.
func (g *Group) records(c *Cluster) []coordinator.Record {
	var told, targets, current []coordinator.Record
	for _, id := range sortedKeys(g.members) {
		m := g.members[id]
		told = append(told, subscriptionRecord(m))
		target := make([]record.TopicPartitions, len(m.assigned))
		for i, topic := range m.assigned {
			target[i] = record.TopicPartitions{TopicID: topic.TopicID, Partitions: topic.Partitions}
		}
		targets = append(targets, &record.TargetMember{Group: g.id, MemberID: id, Partitions: target})
		current = append(current, m.current())
	}
	hash := c.metadataHash(g.topicsWith(nil))
	group := &record.ConsumerGroup{Group: g.id, Epoch: g.epoch, MetadataHash: hash}
	target := &record.Target{Group: g.id, Epoch: g.targetEpoch}
	return slices.Concat(told, []coordinator.Record{group}, targets, []coordinator.Record{target}, current)
}

func convertMember(
	c *Cluster, old *classic.Group, cm *classic.Member, s *subscription.Subscription,
) (m *member, err error) {
	epoch := old.Generation()
	m = newMember(old.ID(), cm.MemberID)
	m.epoch, m.previous = epoch, epoch
	if m.assigned, err = convertAssignment(c, cm.Assignment, epoch); err != nil {
		return nil, err
	}
	m.told.InstanceID = cm.InstanceID
	if s.Rack != nil && *s.Rack != "" {
		m.told.RackID = s.Rack
	}
	m.told.RebalanceTimeoutMs = int32(cm.RebalanceTimeout.Milliseconds())
	m.told.ClientID, m.told.ClientHost = cm.ClientID, cm.ClientHost
	m.told.SubscribedTopics = sortedSet(s.Topics)
	m.told.Classic = classicMember(cm.SessionTimeout, cm.Protocols)
	return m, nil
}

// chosenMetadata is what the member says in the group's protocol, or in the one that it likes best if the group has not
// chosen since it joined.
func chosenMetadata(old *classic.Group, m *classic.Member) []byte {
	if chosen := old.Protocol(); chosen != nil {
		for _, p := range m.Protocols {
			if p.Name == *chosen {
				return p.Metadata
			}
		}
	}
	if len(m.Protocols) == 0 {
		return nil
	}
	return m.Protocols[0].Metadata
}

func convertAssignment(c *Cluster, assignment []byte, epoch int32) (owned, error) {
	if len(assignment) == 0 {
		return nil, nil
	}
	a, err := subscription.ParseAssignment(assignment)
	if err != nil {
		return nil, err
	}
	if len(a.UserData) > 0 {
		return nil, errCustomAssignor
	}
	var list []record.TopicPartitions
	for _, t := range a.Partitions {
		if topic := c.img.Topic(t.Topic); topic != nil {
			list = append(list, record.TopicPartitions{TopicID: topic.ID, Partitions: t.Partitions})
		}
	}
	return normalize(list, epoch), nil
}

// downgradesWithout says whether the group becomes a classic one when the members leave.
func (g *Group) downgradesWithout(gone []*member) bool {
	classicGone := 0
	for _, m := range gone {
		if m.isClassic() {
			classicGone++
		}
	}
	remain := len(g.members) - len(gone)
	return g.classicMembers-classicGone == remain && remain > 0 &&
		g.settings.Downgrade && remain <= g.settings.Classic.SizeMax
}

// downgradesReplacing says whether the group becomes a classic one when a member of the classic protocol takes the
// place of the static member, nil if there is none.
func (g *Group) downgradesReplacing(holder *member) bool {
	return holder != nil && !holder.isClassic() && g.classicMembers == len(g.members)-1 &&
		g.settings.Downgrade && len(g.members) <= g.settings.Classic.SizeMax
}

// downgrade makes a classic group of the members that remain. A member that joins has taken the place of the static
// member with its instance id; nil is none.
//
// Kafka writes the target assignment even where members still own something else. Here they keep what they own until
// the rebalance that follows, so that it is known if the group becomes a consumer group again before.
func (g *Group) downgrade(t *turn, gone []*member, joining *member, rebalance bool) error {
	replaced := ""
	if joining != nil {
		replaced = g.instances[*joining.told.InstanceID]
	}
	var members []classic.Member
	shares := map[string][]record.TopicPartitions{}
	add := func(m *member, target assignor.Partitions) {
		members = append(members, classicView(m))
		shares[m.id] = listTarget(target)
		if rebalance {
			shares[m.id] = m.assigned.merge(m.revoking)
		}
	}
	for _, id := range sortedKeys(g.members) {
		if m := g.members[id]; id != replaced && !slices.Contains(gone, m) {
			add(m, g.target[id])
		}
	}
	if joining != nil {
		add(joining, g.target[replaced])
	}
	var malformed error
	group := classic.Adopt(g.id, g.settings.Classic, t.now, g.epoch, members,
		func(m classic.Member, metadata []byte) []byte {
			version, err := subscription.ParseVersion(metadata)
			if err != nil {
				malformed = err
			}
			return encodeAssignment(t.c, version, shares[m.MemberID])
		})
	if malformed != nil {
		return refusal(kafka.GroupIDNotFound, "Cannot downgrade the classic group %s: %s.", g.id, malformed)
	}
	t.out.Write(g.tombstones(func(id string) string {
		if joining != nil && id == replaced {
			return joining.id
		}
		return id
	})...)
	t.out.Write(group.Record())
	t.out.Note(g.id, "the consumer group is a classic group now, because no member of the consumer protocol is left")
	g.finish(t, joining, rebalance)
	return nil
}

// finish takes the timers of the consumer group back and lets the shard start those of the classic group.
func (g *Group) finish(t *turn, joining *member, rebalance bool) {
	for _, id := range sortedKeys(g.members) {
		g.stopTimers(t, id)
	}
	if joining != nil {
		g.stopTimers(t, joining.id)
	}
	t.out.StopTimer(g.timer(TimerRegex, ""))
	what := ""
	if rebalance {
		what = RebalanceDowngraded
	}
	t.out.SetTimer(g.timer(TimerDowngraded, what), t.now)
}

func classicView(m *member) classic.Member {
	view := classic.Member{
		MemberID: m.id, InstanceID: m.told.InstanceID, ClientID: m.told.ClientID, ClientHost: m.told.ClientHost,
		RebalanceTimeout: milliseconds(m.told.RebalanceTimeoutMs),
		SessionTimeout:   milliseconds(m.told.Classic.SessionTimeoutMs),
	}
	for _, p := range m.told.Classic.SupportedProtocols {
		view.Protocols = append(view.Protocols, classic.Protocol{Name: p.Name, Metadata: p.Metadata})
	}
	return view
}
