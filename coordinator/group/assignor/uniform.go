package assignor

import (
	"slices"

	"spate/kafka"
)

// assignUniform spreads the partitions evenly. Balance comes before stickiness, and stickiness before racks: a
// partition changes hands only where the sizes ask for it, and racks choose only among the partitions that do.
func assignUniform(spec Spec) Assignment {
	if len(spec.Members) == 0 {
		return Assignment{}
	}
	b := newBoard(spec)
	if sameTopics(b.members) {
		b.spreadEqually()
	} else {
		b.spreadByTopic()
	}
	return b.assignment()
}

// nobody owns a partition that is not given out yet.
const nobody int32 = -1

// board is the state of one uniform assignment. Members and topics go by their place in the sorted lists.
type board struct {
	members []*Member
	topics  []topicBoard
	numbers map[kafka.UUID]int // the place of a topic in topics
	sizes   []int              // of each member: how many partitions it owns
	racks   bool               // some member and some partition have a known rack
}

// topicBoard is one topic of a board.
type topicBoard struct {
	id          kafka.UUID
	racks       [][]string
	owners      []int32 // of each partition, or nobody
	subscribers []int32 // in ascending order
}

// seat is one partition on a board.
type seat struct{ topic, partition int32 }

// newBoard lays out the topics, with each partition at the member that has it now and may keep it.
func newBoard(spec Spec) *board {
	b := &board{
		members: byID(spec.Members),
		numbers: make(map[kafka.UUID]int, len(spec.Topics)),
		sizes:   make([]int, len(spec.Members)),
	}
	b.layTopics(spec.Topics)
	memberRack, replicaRack := false, false
	for i, m := range b.members {
		memberRack = memberRack || m.RackID != nil
		for _, id := range m.Topics {
			t := &b.topics[b.numbers[id]]
			t.subscribers = append(t.subscribers, int32(i))
			replicaRack = replicaRack || len(t.racks) > 0
			for _, p := range m.Assigned[id] {
				// The target before this one can be of a topic that had more partitions, never of two owners; a log
				// that says so all the same must not break the sizes.
				if p >= 0 && int(p) < len(t.owners) && t.owners[p] == nobody {
					t.owners[p] = int32(i)
					b.sizes[i]++
				}
			}
		}
	}
	b.racks = memberRack && replicaRack
	return b
}

// layTopics lays out the topics that someone is subscribed to, without owners.
func (b *board) layTopics(topics map[kafka.UUID]Topic) {
	var ids []kafka.UUID
	for i, m := range b.members {
		if i > 0 && slices.Equal(m.Topics, b.members[i-1].Topics) {
			continue
		}
		for _, id := range m.Topics {
			if _, seen := b.numbers[id]; !seen {
				b.numbers[id] = 0
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, compareTopics)
	b.topics = make([]topicBoard, len(ids))
	for i, id := range ids {
		b.numbers[id] = i
		owners := make([]int32, topics[id].Partitions)
		for p := range owners {
			owners[p] = nobody
		}
		b.topics[i] = topicBoard{id: id, racks: topics[id].Racks, owners: owners}
	}
}

// spreadEqually is for members that are all subscribed to the same topics: sizes differ by one at most, and exactly as
// many partitions move as that takes.
func (b *board) spreadEqually() {
	total := 0
	for i := range b.topics {
		total += len(b.topics[i].owners)
	}
	quotas := b.quotas(total)
	b.takeBack(quotas)
	var free []seat
	for t := range b.topics {
		for p, owner := range b.topics[t].owners {
			if owner == nobody {
				free = append(free, seat{int32(t), int32(p)})
			}
		}
	}
	needs := make([]need, 0, len(quotas))
	for m, quota := range quotas {
		if missing := quota - b.sizes[m]; missing > 0 {
			needs = append(needs, need{int32(m), missing})
		}
	}
	b.allot(free, needs)
}

// quotas says how many partitions each member gets. The ones that remain after an even division go first to members
// that own more than the even share: each of those keeps a partition that would move otherwise. Then the last members
// get one, as in Kafka.
func (b *board) quotas(total int) []int {
	share, extra := total/len(b.members), total%len(b.members)
	quotas := make([]int, len(b.members))
	for m := range quotas {
		quotas[m] = share
		if extra > 0 && b.sizes[m] > share {
			quotas[m]++
			extra--
		}
	}
	for m := len(quotas) - 1; m >= 0; m-- {
		if extra > 0 && quotas[m] == share {
			quotas[m]++
			extra--
		}
	}
	return quotas
}

// takeBack takes from each member what it owns beyond its quota: partitions of other racks first, then the last ones.
func (b *board) takeBack(quotas []int) {
	excess := make([]int, len(quotas))
	for m := range quotas {
		excess[m] = b.sizes[m] - quotas[m]
	}
	for _, local := range []bool{false, true} {
		for t := len(b.topics) - 1; t >= 0; t-- {
			topic := &b.topics[t]
			for p := len(topic.owners) - 1; p >= 0; p-- {
				m := topic.owners[p]
				if m != nobody && excess[m] > 0 && (local || !b.isLocal(m, t, int32(p))) {
					topic.owners[p] = nobody
					b.sizes[m]--
					excess[m]--
				}
			}
		}
	}
}

// give makes a member the owner of a partition that has none.
func (b *board) give(m int32, s seat) {
	b.topics[s.topic].owners[s.partition] = m
	b.sizes[m]++
}

// assignment reads the result off the board.
func (b *board) assignment() Assignment {
	parts := make([]Partitions, len(b.members))
	for m := range parts {
		parts[m] = make(Partitions)
	}
	for t := range b.topics {
		topic := &b.topics[t]
		for p, m := range topic.owners {
			if m != nobody {
				parts[m][topic.id] = append(parts[m][topic.id], int32(p))
			}
		}
	}
	assignment := make(Assignment, len(b.members))
	for m, member := range b.members {
		assignment[member.ID] = parts[m]
		if equal(parts[m], member.Assigned) {
			assignment[member.ID] = member.Assigned
		}
	}
	return assignment
}

// equal reports whether two sets of partitions are the same. Having been assigned nothing, as a nil map, is not: a
// result is never nil.
func equal(a, b Partitions) bool {
	if len(a) != len(b) || b == nil {
		return false
	}
	for topic, partitions := range a {
		if !slices.Equal(partitions, b[topic]) {
			return false
		}
	}
	return true
}
