package assignor

import (
	"cmp"
	"slices"
)

// detoursMax bounds how many partitions are led through a second rack to make room for another. What is left then
// goes to members of other racks, which costs traffic and nothing else.
const detoursMax = 4096

// need is how many partitions a member still has to get.
type need struct {
	member int32
	count  int
}

// isLocal reports whether a replica of the partition is in the member's rack.
func (b *board) isLocal(m int32, t int, p int32) bool {
	if !b.racks {
		return false
	}
	rack, racks := b.members[m].RackID, b.topics[t].racks
	return rack != nil && int(p) < len(racks) && slices.Contains(racks[p], *rack)
}

// allot gives free partitions to the members that need some; the needs add up to the number of partitions. Members in
// the rack of a replica come first: as many partitions as possible stay in their rack. The rest goes in order.
func (b *board) allot(free []seat, needs []need) {
	if b.racks {
		free = b.allotLocally(free, needs)
	}
	for i := range needs {
		for ; needs[i].count > 0 && len(free) > 0; needs[i].count-- {
			b.give(needs[i].member, free[0])
			free = free[1:]
		}
	}
}

// allotLocally gives as many partitions as possible to members in the rack of one of their replicas, takes them off
// the needs, and returns the others.
func (b *board) allotLocally(free []seat, needs []need) []seat {
	flow := newRackFlow(b, needs)
	for i, s := range free {
		flow.add(i, b.topics[s.topic].racks, s.partition)
	}
	flow.solve()
	given := make([]bool, len(free))
	for i := range needs {
		rack, ok := flow.rackOf(b.members[needs[i].member])
		if !ok {
			continue
		}
		pool := flow.pool(rack)
		for ; needs[i].count > 0 && len(*pool) > 0; needs[i].count-- {
			at := (*pool)[0]
			*pool = (*pool)[1:]
			b.give(needs[i].member, free[at])
			given[at] = true
		}
	}
	var rest []seat
	for i, s := range free {
		if !given[i] {
			rest = append(rest, s)
		}
	}
	return rest
}

// rackFlow matches partitions with racks: a partition may go to the racks of its replicas, and a rack takes as many as
// its members need together. Partitions with the same racks are one class.
type rackFlow struct {
	numbers map[string]int // of the racks in which a member needs partitions
	room    []int          // of each rack: how many more it takes
	classes []rackClass
	byKey   map[string]int // class by its racks
	pools   [][]int        // of each rack: its partitions, in order
}

// rackClass are the partitions whose replicas are in the same racks.
type rackClass struct {
	racks   []int
	waiting []int         // partitions that have no rack yet, in order
	taken   map[int][]int // partitions by the rack that takes them
}

// newRackFlow makes an empty flow to the racks of those that need partitions.
func newRackFlow(b *board, needs []need) *rackFlow {
	f := &rackFlow{numbers: make(map[string]int), byKey: make(map[string]int)}
	for _, n := range needs {
		rack := b.members[n.member].RackID
		if rack == nil {
			continue
		}
		number, ok := f.numbers[*rack]
		if !ok {
			number = len(f.room)
			f.numbers[*rack] = number
			f.room = append(f.room, 0)
		}
		f.room[number] += n.count
	}
	return f
}

// rackOf is the number of a member's rack.
func (f *rackFlow) rackOf(m *Member) (int, bool) {
	if m.RackID == nil {
		return 0, false
	}
	number, ok := f.numbers[*m.RackID]
	return number, ok
}

// add adds a partition, known by its place in the caller's list.
func (f *rackFlow) add(at int, racks [][]string, partition int32) {
	if int(partition) >= len(racks) {
		return
	}
	var numbers []int
	for _, rack := range racks[partition] {
		if number, ok := f.numbers[rack]; ok {
			numbers = append(numbers, number)
		}
	}
	if len(numbers) == 0 {
		return
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	key := make([]byte, 0, 4*len(numbers))
	for _, n := range numbers {
		key = append(key, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	class, ok := f.byKey[string(key)]
	if !ok {
		class = len(f.classes)
		f.byKey[string(key)] = class
		f.classes = append(f.classes, rackClass{racks: numbers, taken: make(map[int][]int)})
	}
	f.classes[class].waiting = append(f.classes[class].waiting, at)
}

// solve finds a rack for as many partitions as possible: those with the fewest racks choose first, and where the racks
// of one are full, others are led elsewhere to make room.
func (f *rackFlow) solve() {
	slices.SortStableFunc(f.classes, func(a, b rackClass) int { return cmp.Compare(len(a.racks), len(b.racks)) })
	for c := range f.classes {
		class := &f.classes[c]
		for len(class.waiting) > 0 {
			roomiest := slices.MaxFunc(class.racks, func(a, b int) int { return cmp.Compare(f.room[a], f.room[b]) })
			if f.room[roomiest] == 0 {
				break
			}
			f.take(class, roomiest)
		}
	}
	detours := 0
	for c := range f.classes {
		for len(f.classes[c].waiting) > 0 && detours < detoursMax && f.detour(c) {
			detours++
		}
	}
	f.pools = make([][]int, len(f.room))
	for c := range f.classes {
		for _, rack := range f.classes[c].racks {
			f.pools[rack] = append(f.pools[rack], f.classes[c].taken[rack]...)
		}
	}
	for _, pool := range f.pools {
		slices.Sort(pool)
	}
}

// take gives the class's first waiting partition to a rack with room.
func (f *rackFlow) take(class *rackClass, rack int) {
	class.taken[rack] = append(class.taken[rack], class.waiting[0])
	class.waiting = class.waiting[1:]
	f.room[rack]--
}

// pool is the list of partitions for a rack's members.
func (f *rackFlow) pool(rack int) *[]int { return &f.pools[rack] }

// detour makes room for one waiting partition of a class: it looks for the shortest chain of racks in which each can
// give a partition on to the next, up to a rack with room.
func (f *rackFlow) detour(class int) bool {
	type step struct{ from, class int } // the rack before this one, and the class whose partition moves from there
	const start = -1
	steps := make(map[int]step)
	var queue []int
	for _, rack := range f.classes[class].racks {
		steps[rack] = step{start, class}
		queue = append(queue, rack)
	}
	for ; len(queue) > 0; queue = queue[1:] {
		rack := queue[0]
		if f.room[rack] > 0 {
			f.room[rack]--
			for steps[rack].from != start {
				s := steps[rack]
				movers := f.classes[s.class].taken[s.from]
				last := len(movers) - 1
				f.classes[s.class].taken[rack] = append(f.classes[s.class].taken[rack], movers[last])
				f.classes[s.class].taken[s.from] = movers[:last]
				rack = s.from
			}
			c := &f.classes[class]
			c.taken[rack] = append(c.taken[rack], c.waiting[0])
			c.waiting = c.waiting[1:]
			return true
		}
		for c := range f.classes {
			if len(f.classes[c].taken[rack]) == 0 {
				continue
			}
			for _, next := range f.classes[c].racks {
				if _, seen := steps[next]; !seen {
					steps[next] = step{rack, c}
					queue = append(queue, next)
				}
			}
		}
	}
	return false
}
