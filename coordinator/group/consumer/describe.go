package consumer

import (
	"spate/coordinator/group/record"
)

// Describe shows the group.
func (g *Group) Describe(c *Cluster) Description {
	nobody := &member{}
	d := Description{
		State: g.State(), GroupEpoch: g.epoch, AssignmentEpoch: g.targetEpoch,
		Assignor: g.preferredAssignor(nobody, nobody),
		Members:  make([]MemberDescription, 0, len(g.members)),
	}
	for _, id := range sortedKeys(g.members) {
		m := g.members[id]
		d.Members = append(d.Members, MemberDescription{
			MemberID: id, InstanceID: m.told.InstanceID, RackID: m.told.RackID, MemberEpoch: m.epoch,
			ClientID: m.told.ClientID, ClientHost: m.told.ClientHost,
			SubscribedTopics: m.told.SubscribedTopics, SubscribedRegex: m.told.SubscribedRegex,
			Assignment: named(c, m.assigned.merge(m.revoking)), Target: named(c, listTarget(g.target[id])),
			Classic: m.isClassic(),
		})
	}
	return d
}

// named gives topics their names; those that are gone have none and are left out.
func named(c *Cluster, partitions []record.TopicPartitions) []NamedPartitions {
	var all []NamedPartitions
	for _, p := range partitions {
		if topic := c.img.TopicByID(p.TopicID); topic != nil {
			all = append(all, NamedPartitions{TopicID: p.TopicID, Topic: topic.Name, Partitions: p.Partitions})
		}
	}
	return all
}
