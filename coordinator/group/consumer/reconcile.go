package consumer

import (
	"slices"

	"spate/coordinator/group/assignor"
	"spate/kafka"
)

// reconcile leads a member one step towards its part of the target assignment. has is what the member says that it
// owns, nil if it does not say.
//
// A member first gives back what is not in its part, and stays in its epoch until it has. Then it moves to the target's
// epoch and gets what is free; what another member has still to give back, it gets in a later step.
func (g *Group) reconcile(
	t *turn, m *member, epoch int32, target assignor.Partitions, subscriptionChanged bool, has []TopicPartitions,
) (*member, error) {
	if !subscriptionChanged && m.reconciled(epoch) {
		return m, nil
	}
	s := step{g: g, m: m, epoch: epoch, target: target, has: has, topics: g.topicIDs(t.c, m)}
	next, err := s.next(subscriptionChanged)
	if err != nil || next == m || next.hasSamePlace(m) {
		return m, err
	}
	t.out.Write(next.current())
	if !next.isClassic() {
		if next.state == unrevoked {
			g.setTimer(t, TimerRebalance, next.id, milliseconds(next.told.RebalanceTimeoutMs))
		} else {
			t.out.StopTimer(g.timer(TimerRebalance, next.id))
		}
	}
	return next, nil
}

// step is one step of one member.
type step struct {
	g      *Group
	m      *member
	epoch  int32 // of the target assignment
	target assignor.Partitions
	has    []TopicPartitions
	topics []kafka.UUID // that the member subscribes to, sorted
}

func (s *step) next(subscriptionChanged bool) (*member, error) {
	m := s.m
	switch m.state {
	case stable:
		if m.epoch != s.epoch {
			return s.advance(m.epoch), nil
		}
		if subscriptionChanged {
			return s.dropUnsubscribed(), nil
		}
		return m, nil
	case unrevoked:
		if !s.stillHas(m.revoking) {
			return s.advance(m.epoch), nil
		}
		if subscriptionChanged {
			return s.dropUnsubscribed(), nil
		}
		return m, nil
	case unreleased:
		return s.advance(m.epoch), nil
	}
	if s.has == nil || len(s.has) > 0 {
		return nil, refusal(kafka.FencedMemberEpoch, "The consumer group member is in a unknown state. "+
			"The member must abandon all its partitions and rejoin.")
	}
	return s.advance(s.epoch), nil
}

// stillHas says whether the member still owns any of the partitions; it does as long as it does not say otherwise.
func (s *step) stillHas(revoking owned) bool {
	if s.has == nil {
		return true
	}
	for _, topic := range s.has {
		pending := revoking.topic(topic.TopicID).Partitions
		for _, partition := range topic.Partitions {
			if _, ok := slices.BinarySearch(pending, partition); ok {
				return true
			}
		}
	}
	return false
}

func (s *step) subscribes(topic kafka.UUID) bool {
	_, ok := slices.BinarySearchFunc(s.topics, topic, compareIDs)
	return ok
}

// dropUnsubscribed takes topics back that the member does not subscribe to any more, before there is a new target.
func (s *step) dropUnsubscribed() *member {
	m := s.m
	var kept, dropped owned
	for _, topic := range m.assigned {
		if s.subscribes(topic.TopicID) {
			kept = append(kept, topic)
		} else {
			dropped = append(dropped, topic)
		}
	}
	if len(dropped) == 0 {
		return m
	}
	revoking := m.revoking.merge(dropped)
	if s.stillHas(revoking) {
		return m.moved(m.epoch, unrevoked, kept, revoking)
	}
	return m.moved(m.epoch, m.state, kept, m.revoking)
}

// advance leads the member towards the target from an epoch of its own.
func (s *step) advance(from int32) *member {
	kept, revoking := s.split()
	if len(revoking) > 0 && s.stillHas(revoking) {
		return s.m.moved(from, unrevoked, kept, revoking)
	}
	assigned, complete := s.fill(kept)
	if !complete {
		return s.m.moved(s.epoch, unreleased, assigned, nil)
	}
	return s.m.moved(s.epoch, stable, assigned, nil)
}

// split says what the member keeps of what it has, and what it has to give back.
func (s *step) split() (kept, revoking owned) {
	for _, topic := range s.m.assigned {
		var wanted []int32
		if s.subscribes(topic.TopicID) {
			wanted = s.target[topic.TopicID]
		}
		if slices.Equal(wanted, topic.Partitions) {
			kept = append(kept, topic)
			continue
		}
		for i, partition := range topic.Partitions {
			if _, ok := slices.BinarySearch(wanted, partition); ok {
				kept = kept.add(topic.TopicID, partition, topic.AssignmentEpochs[i])
			} else {
				revoking = revoking.add(topic.TopicID, partition, topic.AssignmentEpochs[i])
			}
		}
	}
	return kept, revoking
}

// fill adds what the member is to have and nobody has, or the member itself is giving back; complete is false if
// something remains for later.
func (s *step) fill(kept owned) (assigned owned, complete bool) {
	complete = true
	for _, id := range sortedIDs(s.target) {
		if !s.subscribes(id) {
			continue
		}
		have := kept.topic(id)
		if slices.Equal(have.Partitions, s.target[id]) {
			assigned = append(assigned, have)
			continue
		}
		for _, partition := range s.target[id] {
			if epoch, ok := kept.epoch(id, partition); ok {
				assigned = assigned.add(id, partition, epoch)
				continue
			}
			if s.isFree(id, partition) {
				assigned = assigned.add(id, partition, s.epoch)
			} else {
				complete = false
			}
		}
	}
	return assigned, complete
}

func (s *step) isFree(topic kafka.UUID, partition int32) bool {
	if !s.g.isOwned(topic, partition) {
		return true
	}
	_, own := s.m.revoking.epoch(topic, partition)
	return own
}
