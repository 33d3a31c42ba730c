package consumer

import (
	"slices"

	"spate/coordinator"
	"spate/coordinator/group/assignor"
	"spate/coordinator/group/record"
	"spate/kafka"
)

func subscriptionRecord(m *member) *record.Member {
	told := m.told
	return &told
}

func (g *Group) targetRecord(memberID string, target assignor.Partitions) *record.TargetMember {
	return &record.TargetMember{Group: g.id, MemberID: memberID, Partitions: listTarget(target)}
}

func (g *Group) writeRemoval(t *turn, memberID string) {
	t.out.Write(
		&record.CurrentMember{Group: g.id, MemberID: memberID, Deleted: true},
		&record.TargetMember{Group: g.id, MemberID: memberID, Deleted: true},
		&record.Member{Group: g.id, MemberID: memberID, Deleted: true},
	)
}

// fenceOne takes a member out that was too slow, nil if it is gone already.
func (g *Group) fenceOne(t *turn, m *member, why string) {
	if m != nil {
		t.out.Note(g.id, "member "+m.id+" is put out: "+why)
		g.fence(t, []*member{m})
	}
}

// fence takes members out. If only members of the classic protocol remain, the group becomes a classic one, unless one
// of them says something malformed: then it stays what it is.
func (g *Group) fence(t *turn, gone []*member) {
	if len(gone) == 0 || g.downgradesWithout(gone) && g.downgrade(t, gone, nil, true) == nil {
		return
	}
	regexes := map[string]int{}
	topics := map[string]int{}
	for _, m := range gone {
		g.writeRemoval(t, m.id)
		g.stopTimers(t, m.id)
		if regex := m.regex(); regex != "" {
			regexes[regex]++
		}
		addTopics(topics, m.told.SubscribedTopics, -1)
	}
	for _, regex := range sortedKeys(regexes) {
		if g.regexes[regex] == regexes[regex] {
			g.dropRegex(t, topics, regex)
		}
	}
	t.out.Write(&record.ConsumerGroup{
		Group: g.id, Epoch: g.epoch + 1, MetadataHash: t.c.metadataHash(g.topicsWith(topics)),
	})
}

// dropRegex takes a regular expression out that nobody subscribes to any more.
func (g *Group) dropRegex(t *turn, topics map[string]int, regex string) {
	t.out.Write(&record.RegularExpression{Group: g.id, Regex: regex, Deleted: true})
	if r := g.resolved[regex]; r != nil {
		addTopics(topics, r.Topics, -1)
	}
}

// Tombstones are the records that delete the group.
func (g *Group) Tombstones() []coordinator.Record {
	return g.tombstones(func(memberID string) string { return memberID })
}

// tombstones lets the caller name members otherwise: a static member that is replaced in the same turn never was in the
// log under its new id, but its records of this turn are before the tombstones.
func (g *Group) tombstones(name func(memberID string) string) []coordinator.Record {
	ids := sortedKeys(g.members)
	var records []coordinator.Record
	for _, id := range ids {
		records = append(records, &record.CurrentMember{Group: g.id, MemberID: name(id), Deleted: true})
	}
	for _, id := range g.targetIDs() {
		records = append(records, &record.TargetMember{Group: g.id, MemberID: name(id), Deleted: true})
	}
	records = append(records, &record.Target{Group: g.id, Deleted: true})
	for _, id := range ids {
		records = append(records, &record.Member{Group: g.id, MemberID: name(id), Deleted: true})
	}
	for _, regex := range sortedKeys(g.resolved) {
		records = append(records, &record.RegularExpression{Group: g.id, Regex: regex, Deleted: true})
	}
	return append(records,
		&record.PartitionMetadata{Group: g.id, Deleted: true},
		&record.ConsumerGroup{Group: g.id, Deleted: true})
}

// targetIDs are the members, and those that have a target assignment though they are none, which a compacted log may
// leave.
func (g *Group) targetIDs() []string {
	ids := append(sortedKeys(g.members), sortedKeys(g.target)...)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// CheckDelete is nil if the group may be deleted.
func (g *Group) CheckDelete() error {
	if len(g.members) > 0 {
		return kafka.NonEmptyGroup
	}
	return nil
}
