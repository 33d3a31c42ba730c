package assignor

import (
	"cmp"
	"container/heap"
	"slices"
)

// passesMax bounds how often spreadByTopic goes over all topics. Where the subscribers of each topic have the same
// subscriptions one pass is enough; where they overlap, each pass roughly halves what is left.
const passesMax = 16

// spreadByTopic is for members with different subscriptions: among the subscribers of each topic the sizes differ by
// one at most, as far as the partitions of that topic can bring it about.
func (b *board) spreadByTopic() {
	order := b.topicOrder()
	for _, t := range order {
		b.handOut(t)
	}
	for range passesMax {
		moved := false
		for _, t := range order {
			moved = b.level(t) || moved
		}
		if !moved {
			return
		}
	}
}

// topicOrder puts first the topics whose partitions have the least choice: many partitions for each subscriber, then
// few subscribers.
func (b *board) topicOrder() []int {
	order := make([]int, len(b.topics))
	for t := range order {
		order[t] = t
	}
	slices.SortStableFunc(order, func(x, y int) int {
		xPartitions, xSubscribers := len(b.topics[x].owners), len(b.topics[x].subscribers)
		yPartitions, ySubscribers := len(b.topics[y].owners), len(b.topics[y].subscribers)
		if c := cmp.Compare(yPartitions*xSubscribers, xPartitions*ySubscribers); c != 0 {
			return c
		}
		return cmp.Compare(xSubscribers, ySubscribers)
	})
	return order
}

// handOut gives each partition of a topic that has no owner to the subscriber that owns least.
func (b *board) handOut(t int) {
	topic := &b.topics[t]
	var free []seat
	for p, owner := range topic.owners {
		if owner == nobody {
			free = append(free, seat{int32(t), int32(p)})
		}
	}
	if len(free) == 0 {
		return
	}
	least := newRanking(topic.subscribers, b.sizes, ascending)
	turns := make([]int32, len(free))
	for i := range turns {
		turns[i] = least.first()
		b.sizes[turns[i]]++
		least.fix()
	}
	if !b.racks {
		for i, m := range turns {
			topic.owners[free[i].partition] = m
		}
		return
	}
	counts := make(map[int32]int)
	for _, m := range turns {
		b.sizes[m]-- // allot counts them again
		counts[m]++
	}
	needs := make([]need, 0, len(counts))
	for _, m := range topic.subscribers {
		if counts[m] > 0 {
			needs = append(needs, need{m, counts[m]})
		}
	}
	b.allot(free, needs)
}

// level moves partitions of a topic from the subscribers that own most to those that own least, until no move makes it
// more even. It reports whether it moved any.
func (b *board) level(t int) bool {
	topic := &b.topics[t]
	if len(topic.subscribers) < 2 {
		return false
	}
	owned := make(map[int32][]int32) // partitions of this topic by owner
	for p, m := range topic.owners {
		owned[m] = append(owned[m], int32(p))
	}
	givers := slices.DeleteFunc(slices.Clone(topic.subscribers), func(m int32) bool { return owned[m] == nil })
	most := newRanking(givers, b.sizes, descending)
	least := newRanking(topic.subscribers, b.sizes, ascending)
	moved := false
	for most.Len() > 0 {
		giver, taker := most.first(), least.first()
		if b.sizes[giver]-b.sizes[taker] <= 1 {
			break // and every other giver owns no more than this one
		}
		i := b.worstFor(t, owned[giver], giver, taker)
		topic.owners[owned[giver][i]] = taker
		owned[giver] = slices.Delete(owned[giver], i, i+1)
		b.sizes[giver]--
		b.sizes[taker]++
		moved = true
		least.fix()
		least.fixMember(giver)
		if len(owned[giver]) == 0 {
			heap.Pop(most)
		} else {
			most.fix()
		}
		// What it took is not in owned: it never gives here, because nobody comes to own less than it did before.
		most.fixMember(taker)
	}
	return moved
}

// worstFor picks which of the giver's partitions goes to the taker: one in the taker's rack, or at least not in the
// giver's, and otherwise the last.
func (b *board) worstFor(t int, partitions []int32, giver, taker int32) int {
	last := len(partitions) - 1
	if !b.racks {
		return last
	}
	best, bestScore := last, -2
	for i := last; i >= 0; i-- {
		score := 0
		if b.isLocal(taker, t, partitions[i]) {
			score++
		}
		if b.isLocal(giver, t, partitions[i]) {
			score--
		}
		if score > bestScore {
			best, bestScore = i, score
		}
	}
	return best
}

// direction is the order of a ranking.
type direction int

const (
	ascending  direction = 1
	descending direction = -1
)

// ranking is a heap of members by how much they own. Among equals comes first who came first when the ranking was made;
// then the order was by size and by member, as in Kafka.
type ranking struct {
	members []int32
	seats   []int32 // of each of members: its place in the order at the beginning
	places  map[int32]int
	sizes   []int // the board's
	order   direction
}

// newRanking makes a ranking of members, which are in ascending order.
func newRanking(members []int32, sizes []int, order direction) *ranking {
	r := &ranking{
		members: slices.Clone(members), seats: make([]int32, len(members)),
		places: make(map[int32]int, len(members)), sizes: sizes, order: order,
	}
	slices.SortStableFunc(r.members, func(a, b int32) int { return cmp.Compare(sizes[a], sizes[b]) })
	if order == descending {
		slices.Reverse(r.members)
	}
	for i, m := range r.members { // sorted, so it is a heap
		r.seats[i] = int32(i)
		r.places[m] = i
	}
	return r
}

// first is the member that comes first.
func (r *ranking) first() int32 { return r.members[0] }

// fix moves the first member to where its new size belongs.
func (r *ranking) fix() { heap.Fix(r, 0) }

// fixMember moves a member, if it is in the ranking, to where its new size belongs.
func (r *ranking) fixMember(m int32) {
	if place, ok := r.places[m]; ok {
		heap.Fix(r, place)
	}
}

// Len implements heap.Interface.
func (r *ranking) Len() int { return len(r.members) }

// Less implements heap.Interface.
func (r *ranking) Less(i, j int) bool {
	if c := cmp.Compare(r.sizes[r.members[i]], r.sizes[r.members[j]]) * int(r.order); c != 0 {
		return c < 0
	}
	return r.seats[i] < r.seats[j]
}

// Swap implements heap.Interface.
func (r *ranking) Swap(i, j int) {
	r.members[i], r.members[j] = r.members[j], r.members[i]
	r.seats[i], r.seats[j] = r.seats[j], r.seats[i]
	r.places[r.members[i]], r.places[r.members[j]] = i, j
}

// Push implements heap.Interface; members are only there from the beginning.
func (r *ranking) Push(any) {}

// Pop implements heap.Interface.
func (r *ranking) Pop() any {
	last := len(r.members) - 1
	m := r.members[last]
	r.members, r.seats = r.members[:last], r.seats[:last]
	delete(r.places, m)
	return m
}
