package consumer

import (
	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// Apply takes a record of this group: *record.ConsumerGroup, *record.PartitionMetadata, *record.Member, *record.Target,
// *record.TargetMember, *record.CurrentMember or *record.RegularExpression. Records may come again, and after a
// compaction a record may be there whose companions are gone: each stands for itself.
func (g *Group) Apply(r coordinator.Record) {
	switch r := r.(type) {
	case *record.ConsumerGroup:
		g.recorded, g.epoch, g.metadataHash = !r.Deleted, r.Epoch, r.MetadataHash
		if r.Deleted {
			g.epoch, g.metadataHash = firstEpoch, 0
		}
	case *record.PartitionMetadata:
		g.oldMetadata = !r.Deleted
	case *record.Member:
		g.applyMember(r)
	case *record.Target:
		g.targetRecorded, g.targetEpoch, g.targetTimestamp = !r.Deleted, r.Epoch, int64(r.Timestamp)
		if r.Deleted {
			g.targetEpoch, g.targetTimestamp = -1, 0
		}
	case *record.TargetMember:
		if r.Deleted {
			delete(g.target, r.MemberID)
		} else {
			g.target[r.MemberID] = mapTarget(r.Partitions)
		}
	case *record.CurrentMember:
		g.applyCurrent(r)
	case *record.RegularExpression:
		g.applyRegex(r)
	}
}

func (g *Group) applyMember(r *record.Member) {
	old := g.members[r.MemberID]
	if r.Deleted {
		g.replace(old, nil)
		return
	}
	next := *newMember(r.Group, r.MemberID)
	if old != nil {
		next = *old
	}
	next.told = *r
	if !isSortedSet(r.SubscribedTopics) {
		next.told.SubscribedTopics = sortedSet(r.SubscribedTopics)
	}
	g.replace(old, &next)
}

func (g *Group) applyCurrent(r *record.CurrentMember) {
	old := g.members[r.MemberID]
	if r.Deleted && old == nil {
		return
	}
	next := *newMember(r.Group, r.MemberID)
	if old != nil {
		next = *old
	}
	if r.Deleted {
		next.epoch, next.previous, next.assigned, next.revoking = -1, -1, nil, nil
	} else {
		next.epoch, next.previous, next.state = r.MemberEpoch, r.PreviousMemberEpoch, stateOf(r.State)
		next.assigned = normalize(r.Assigned, r.MemberEpoch)
		next.revoking = normalize(r.PendingRevocation, r.MemberEpoch)
	}
	g.replace(old, &next)
}

func stateOf(state int8) int8 {
	if state == stable || state == unrevoked || state == unreleased {
		return state
	}
	return unknown
}

func (g *Group) applyRegex(r *record.RegularExpression) {
	if old := g.resolved[r.Regex]; old != nil {
		g.countRegexTopics(old.Topics, -1)
		delete(g.resolved, r.Regex)
	}
	if !r.Deleted {
		g.countRegexTopics(r.Topics, 1)
		g.resolved[r.Regex] = r
	}
}

// replace puts a member in the place of another version of itself; nil is none.
func (g *Group) replace(old, next *member) {
	if old != nil {
		g.countMember(old, -1)
		g.release(old, old.assigned)
		g.release(old, old.revoking)
		delete(g.members, old.id)
		if id := old.told.InstanceID; id != nil && g.instances[*id] == old.id {
			delete(g.instances, *id)
		}
	}
	if next != nil {
		g.countMember(next, 1)
		g.own(next, next.assigned)
		g.own(next, next.revoking)
		g.members[next.id] = next
		if id := next.told.InstanceID; id != nil {
			g.instances[*id] = next.id
		}
	}
}

func (g *Group) countMember(m *member, by int) {
	for _, topic := range m.told.SubscribedTopics {
		g.countTopic(topic, subscribers{byName: by})
	}
	if regex := m.regex(); regex != "" {
		count(g.regexes, regex, by)
	}
	if name := m.told.ServerAssignor; name != nil {
		count(g.assignors, *name, by)
	}
	if m.told.Classic != nil {
		g.classicMembers += by
		for _, p := range m.told.Classic.SupportedProtocols {
			count(g.classicProtocols, p.Name, by)
		}
	}
}

func (g *Group) countRegexTopics(topics []string, by int) {
	for _, topic := range topics {
		g.countTopic(topic, subscribers{byRegex: by})
	}
}

func (g *Group) countTopic(topic string, by subscribers) {
	s := g.subscribed[topic]
	s.byName += by.byName
	s.byRegex += by.byRegex
	if s.byName <= 0 && s.byRegex <= 0 {
		delete(g.subscribed, topic)
	} else {
		g.subscribed[topic] = s
	}
}

func (g *Group) own(m *member, partitions owned) {
	for _, t := range partitions {
		owners := g.owners[t.TopicID]
		if owners == nil {
			owners = make(map[int32]string, len(t.Partitions))
			g.owners[t.TopicID] = owners
		}
		for _, partition := range t.Partitions {
			owners[partition] = m.id
		}
	}
}

func (g *Group) release(m *member, partitions owned) {
	for _, t := range partitions {
		owners := g.owners[t.TopicID]
		for _, partition := range t.Partitions {
			if owners[partition] == m.id {
				delete(owners, partition)
			}
		}
		if len(owners) == 0 {
			delete(g.owners, t.TopicID)
		}
	}
}

// isOwned says whether a member has the partition, or has yet to give it back.
func (g *Group) isOwned(topic kafka.UUID, partition int32) bool {
	_, ok := g.owners[topic][partition]
	return ok
}
