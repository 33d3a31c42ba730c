package consumer

import (
	"fmt"
	"slices"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/assignor"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// updateTarget computes the target assignment anew if the group is in a later epoch, and gives its epoch and the
// member's part.
func (g *Group) updateTarget(t *turn, epoch int32, m, next *member) (int32, assignor.Partitions, error) {
	replaced := g.replacedBy(next)
	if g.targetEpoch >= epoch || !g.mayAssign(t.now) {
		if replaced != "" {
			return g.targetEpoch, g.target[replaced], nil
		}
		return g.targetEpoch, g.target[next.id], nil
	}
	assignment, err := assignor.Assign(g.preferredAssignor(m, next), g.spec(t.c, next, replaced))
	if err != nil {
		return 0, nil, coordinator.Refuse(kafka.UnknownServerError,
			fmt.Sprintf("Failed to compute a new target assignment for epoch %d: %s", epoch, err))
	}
	for _, id := range sortedKeys(assignment) {
		before, known := g.target[id]
		if !known || !equalTargets(before, assignment[id]) {
			t.out.Write(g.targetRecord(id, assignment[id]))
		}
	}
	t.out.Write(&record.Target{Group: g.id, Epoch: epoch, Timestamp: kafka.Timestamp(t.now.UnixMilli())})
	return epoch, assignment[next.id], nil
}

// replacedBy is the member id that a static member had before, if it has another one now.
func (g *Group) replacedBy(m *member) string {
	if m.told.InstanceID == nil {
		return ""
	}
	if id := g.instances[*m.told.InstanceID]; id != m.id {
		return id
	}
	return ""
}

// mayAssign says whether the last target assignment is old enough for another one. One of the future is: the clock has
// gone back since, and a group must not wait until it is there again.
func (g *Group) mayAssign(now time.Time) bool {
	age := now.UnixMilli() - g.targetTimestamp
	return g.targetTimestamp == 0 || age < 0 || age >= g.settings.AssignmentInterval.Milliseconds()
}

// preferredAssignor is the one with most votes, or the first of those that the broker offers.
func (g *Group) preferredAssignor(m, next *member) string {
	votes := func(name string) int {
		n := g.assignors[name]
		if told := m.told.ServerAssignor; told != nil && *told == name {
			n--
		}
		if told := next.told.ServerAssignor; told != nil && *told == name {
			n++
		}
		return n
	}
	names := append(sortedKeys(g.assignors), g.settings.Assignors...)
	slices.Sort(names)
	best, most := "", 0
	for _, name := range slices.Backward(slices.Compact(names)) { // of equals uniform, as in Kafka
		if n := votes(name); n > most {
			best, most = name, n
		}
	}
	if best == "" && len(g.settings.Assignors) > 0 {
		return g.settings.Assignors[0]
	}
	return best
}

// spec is the group as an assignor sees it, with the member as it will be.
func (g *Group) spec(c *Cluster, next *member, replaced string) assignor.Spec {
	spec := assignor.Spec{
		Members: make([]assignor.Member, 0, len(g.members)+1),
		Topics:  make(map[kafka.UUID]assignor.Topic, len(g.subscribed)),
	}
	racks := g.tellsRacks(next)
	var subscriptions topicCache
	add := func(m *member, assigned assignor.Partitions) {
		ids := subscriptions.ids(g, c, m)
		spec.Members = append(spec.Members, assignor.Member{
			ID: m.id, InstanceID: m.told.InstanceID, RackID: m.told.RackID, Topics: ids, Assigned: assigned,
		})
		for _, id := range ids {
			if _, ok := spec.Topics[id]; !ok {
				spec.Topics[id] = c.assignable(id, racks)
			}
		}
	}
	for id, m := range g.members {
		if id != next.id && id != replaced {
			add(m, g.target[id])
		}
	}
	if replaced != "" {
		add(next, g.target[replaced])
	} else {
		add(next, g.target[next.id])
	}
	return spec
}

// tellsRacks says whether a member has told where it is; only then do assignors look where the replicas are.
func (g *Group) tellsRacks(next *member) bool {
	if next.told.RackID != nil {
		return true
	}
	for _, m := range g.members {
		if m.told.RackID != nil {
			return true
		}
	}
	return false
}

// topicCache remembers the last subscription that was looked up, because members of a group mostly have the same.
type topicCache struct {
	names []string
	regex string
	found []kafka.UUID
	full  bool
}

func (l *topicCache) ids(g *Group, c *Cluster, m *member) []kafka.UUID {
	if !l.full || l.regex != m.regex() || !slices.Equal(l.names, m.told.SubscribedTopics) {
		l.names, l.regex, l.full = m.told.SubscribedTopics, m.regex(), true
		l.found = g.topicIDs(c, m)
	}
	return l.found
}

// topicIDs are the topics that a member subscribes to and that exist, sorted.
func (g *Group) topicIDs(c *Cluster, m *member) []kafka.UUID {
	names := m.told.SubscribedTopics
	if r := g.resolved[m.regex()]; r != nil && len(r.Topics) > 0 {
		names = sortedSet(slices.Concat(names, r.Topics))
	}
	return c.topicIDs(names)
}
