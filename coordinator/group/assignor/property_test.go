package assignor

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"spate/kafka"
)

// drawTopics draws up to six topics, some with racks.
func drawTopics(t *rapid.T) map[kafka.UUID]Topic {
	all := make(map[kafka.UUID]Topic)
	for n := range rapid.IntRange(1, 6).Draw(t, "topics") {
		topic := Topic{Partitions: rapid.IntRange(0, 20).Draw(t, "partitions")}
		if rapid.Bool().Draw(t, "racks") {
			for range rapid.IntRange(0, topic.Partitions).Draw(t, "known racks") {
				racks := rapid.SliceOfNDistinct(rapid.SampledFrom(racksDrawn), 0, 3, rapid.ID[string])
				topic.Racks = append(topic.Racks, racks.Draw(t, "racks of a partition"))
			}
		}
		all[topicID(n+1)] = topic
	}
	return all
}

// racksDrawn are the racks of members and replicas.
var racksDrawn = []string{"x", "y", "z", "far"}

// drawMember draws a member; equally means that it is subscribed to all topics.
func drawMember(t *rapid.T, id string, all map[kafka.UUID]Topic, equally bool) Member {
	m := Member{ID: id}
	if rapid.Bool().Draw(t, "static") {
		instance := fmt.Sprintf("i%d", rapid.IntRange(0, 1_000_000).Draw(t, "instance"))
		m.InstanceID = &instance
	}
	if rapid.Bool().Draw(t, "has rack") {
		rack := rapid.SampledFrom(racksDrawn).Draw(t, "rack")
		m.RackID = &rack
	}
	for _, topic := range slices.SortedFunc(maps.Keys(all), compareTopics) {
		if equally || rapid.Bool().Draw(t, "subscribes") {
			m.Topics = append(m.Topics, topic)
		}
	}
	return m
}

// change makes the next Spec of a group: its assignment becomes the target, members leave and come, topics grow.
func change(t *rapid.T, spec Spec, target Assignment, next *int, equally bool) Spec {
	changed := Spec{Topics: maps.Clone(spec.Topics)}
	for _, topic := range slices.SortedFunc(maps.Keys(changed.Topics), compareTopics) {
		if grown := changed.Topics[topic]; rapid.IntRange(0, 5).Draw(t, "grows") == 0 {
			grown.Partitions += rapid.IntRange(0, 5).Draw(t, "by")
			changed.Topics[topic] = grown
		}
	}
	for _, m := range spec.Members {
		if rapid.IntRange(0, 4).Draw(t, "leaves") > 0 {
			m.Assigned = target[m.ID]
			if !equally && rapid.IntRange(0, 4).Draw(t, "subscribes anew") == 0 {
				m.Topics = drawMember(t, m.ID, changed.Topics, equally).Topics
			}
			changed.Members = append(changed.Members, m)
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "joins") {
		*next++
		id := fmt.Sprintf("m%03d", (*next*7919)%1000) // new members come anywhere in the order
		changed.Members = append(changed.Members, drawMember(t, id, changed.Topics, equally))
	}
	return changed
}

// size is how many partitions a member has.
func size(p Partitions) int {
	n := 0
	for _, partitions := range p {
		n += len(partitions)
	}
	return n
}

// owners says who has each partition, and fails where a partition has two owners or one that may not have it.
func owners(t *rapid.T, spec Spec, assignment Assignment) map[seatOf]string {
	if len(assignment) != len(spec.Members) {
		t.Fatalf("%d members, %d parts", len(spec.Members), len(assignment))
	}
	owner := make(map[seatOf]string)
	for _, m := range spec.Members {
		parts := assignment[m.ID]
		if parts == nil {
			t.Fatalf("member %s has no part", m.ID)
		}
		for topic, partitions := range parts {
			if !slices.Contains(m.Topics, topic) || len(partitions) == 0 || !slices.IsSorted(partitions) {
				t.Fatalf("member %s: topic %s has %v", m.ID, topic, partitions)
			}
			for _, p := range partitions {
				at := seatOf{topic, p}
				if owner[at] != "" || p < 0 || int(p) >= spec.Topics[topic].Partitions {
					t.Fatalf("%v is assigned to %s and %s", at, owner[at], m.ID)
				}
				owner[at] = m.ID
			}
		}
	}
	return owner
}

// seatOf is one partition.
type seatOf struct {
	topic     kafka.UUID
	partition int32
}

// checkComplete fails unless each partition of a subscribed topic has an owner, and no other has.
func checkComplete(t *rapid.T, spec Spec, owner map[seatOf]string) {
	want := 0
	subscribed := make(map[kafka.UUID]bool)
	for _, m := range spec.Members {
		for _, topic := range m.Topics {
			if !subscribed[topic] {
				subscribed[topic] = true
				want += spec.Topics[topic].Partitions
			}
		}
	}
	if len(owner) != want {
		t.Fatalf("%d partitions have an owner, want %d", len(owner), want)
	}
}

// checkShuffled fails unless the order of the members makes no difference.
func checkShuffled(t *rapid.T, name string, spec Spec, want Assignment) {
	shuffled := Spec{Topics: spec.Topics, Members: rapid.Permutation(spec.Members).Draw(t, "order")}
	got, err := Assign(name, shuffled)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(text(got)) != fmt.Sprint(text(want)) {
		t.Fatalf("another order of members gave %v, not %v", text(got), text(want))
	}
}

// run draws a group and lets it live for some changes; check sees each assignment.
func run(t *rapid.T, name string, equally bool, check func(Spec, Assignment, map[seatOf]string)) {
	spec := Spec{Topics: drawTopics(t)}
	target, next := Assignment{}, 0
	for range rapid.IntRange(1, 6).Draw(t, "changes") {
		spec = change(t, spec, target, &next, equally)
		assignment, err := Assign(name, spec)
		if err != nil {
			t.Fatal(err)
		}
		owner := owners(t, spec, assignment)
		checkComplete(t, spec, owner)
		checkShuffled(t, name, spec, assignment)
		check(spec, assignment, owner)
		target = assignment
	}
}

// moves counts the partitions that a member of the group had and has no longer.
func moves(spec Spec, owner map[seatOf]string) int {
	n := 0
	for _, m := range spec.Members {
		for topic, partitions := range m.Assigned {
			for _, p := range partitions {
				if owner[seatOf{topic, p}] != m.ID {
					n++
				}
			}
		}
	}
	return n
}

// TestUniformEquallySubscribed: sizes differ by one at most, and exactly as many partitions move as that takes.
func TestUniformEquallySubscribed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run(t, Uniform, true, func(spec Spec, assignment Assignment, owner map[seatOf]string) {
			if len(spec.Members) == 0 {
				return
			}
			share, extra := len(owner)/len(spec.Members), len(owner)%len(spec.Members)
			before := make([]int, 0, len(spec.Members))
			for _, m := range spec.Members {
				if n := size(assignment[m.ID]); n < share || n > share+1 {
					t.Fatalf("member %s has %d of %d partitions", m.ID, n, len(owner))
				}
				before = append(before, size(m.Assigned))
			}
			slices.SortFunc(before, func(a, b int) int { return b - a })
			fewest := 0 // moves, when the largest keep the odd partitions
			for i, n := range before {
				keeps := share
				if i < extra {
					keeps++
				}
				fewest += max(0, n-keeps)
			}
			if got := moves(spec, owner); got != fewest {
				t.Fatalf("%d partitions moved, %d had to", got, fewest)
			}
			checkRacks(t, spec, owner)
		})
	})
}

// checkRacks fails if two members that each got a new partition would both rather have the other's: no swap of new
// partitions may bring more of them home.
func checkRacks(t *rapid.T, spec Spec, owner map[seatOf]string) {
	members := make(map[string]Member)
	had := make(map[seatOf]string)
	for _, m := range spec.Members {
		members[m.ID] = m
		for topic, partitions := range m.Assigned {
			for _, p := range partitions {
				had[seatOf{topic, p}] = m.ID
			}
		}
	}
	local := func(m Member, at seatOf) int {
		racks := spec.Topics[at.topic].Racks
		if m.RackID != nil && int(at.partition) < len(racks) && slices.Contains(racks[at.partition], *m.RackID) {
			return 1
		}
		return 0
	}
	var fresh []seatOf
	for at, id := range owner {
		if had[at] != id {
			fresh = append(fresh, at)
		}
	}
	for i, a := range fresh {
		for _, b := range fresh[i+1:] {
			mine, theirs := members[owner[a]], members[owner[b]]
			// A partition may have been taken from the one that it would go back to.
			if had[a] == theirs.ID || had[b] == mine.ID {
				continue
			}
			if local(mine, b)+local(theirs, a) > local(mine, a)+local(theirs, b) {
				t.Fatalf("%s has %v and %s has %v; the other way more are local", mine.ID, a, theirs.ID, b)
			}
		}
	}
}

// TestAsManyLocalPartitionsAsPossible: of a first assignment, no other with the same sizes has more partitions in the
// rack of their member. The comparison is with the largest matching of partitions and places, one by one.
func TestAsManyLocalPartitionsAsPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{Topics: drawTopics(t)}
		for i := range rapid.IntRange(1, 8).Draw(t, "members") {
			spec.Members = append(spec.Members, drawMember(t, fmt.Sprintf("m%d", i), spec.Topics, true))
		}
		assignment, err := Assign(Uniform, spec)
		if err != nil {
			t.Fatal(err)
		}
		var places []*string // the rack of each place that a member has
		got := 0
		for _, m := range spec.Members {
			for topic, partitions := range assignment[m.ID] {
				for _, p := range partitions {
					places = append(places, m.RackID)
					if racks := spec.Topics[topic].Racks; m.RackID != nil && int(p) < len(racks) &&
						slices.Contains(racks[p], *m.RackID) {
						got++
					}
				}
			}
		}
		if want := largestMatching(spec, places); got != want {
			t.Fatalf("%d partitions are local, %d can be", got, want)
		}
	})
}

// largestMatching is how many partitions can have a place in a rack of theirs.
func largestMatching(spec Spec, places []*string) int {
	taken := make(map[int]*[]string) // place: the racks of the partition that has it
	var seat func(racks *[]string, seen map[int]bool) bool
	seat = func(racks *[]string, seen map[int]bool) bool {
		for i, rack := range places {
			if rack == nil || seen[i] || !slices.Contains(*racks, *rack) {
				continue
			}
			seen[i] = true
			if taken[i] == nil || seat(taken[i], seen) {
				taken[i] = racks
				return true
			}
		}
		return false
	}
	n := 0
	for _, topic := range spec.Topics {
		for p := range topic.Racks {
			if seat(&topic.Racks[p], make(map[int]bool)) {
				n++
			}
		}
	}
	return n
}

// TestUniformDifferentlySubscribed: no single move of a partition to another subscriber of its topic makes the sizes
// more even, and a group in which nothing changed stays as it is.
func TestUniformDifferentlySubscribed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run(t, Uniform, false, func(spec Spec, assignment Assignment, owner map[seatOf]string) {
			for at, id := range owner {
				for _, m := range spec.Members {
					if slices.Contains(m.Topics, at.topic) && size(assignment[id])-size(assignment[m.ID]) > 1 {
						t.Fatalf("%v should move from %s (%d) to %s (%d)", at, id, size(assignment[id]), m.ID,
							size(assignment[m.ID]))
					}
				}
			}
			again := Spec{Topics: spec.Topics}
			for _, m := range spec.Members {
				m.Assigned = assignment[m.ID]
				again.Members = append(again.Members, m)
			}
			repeated, err := Assign(Uniform, again)
			if err != nil || fmt.Sprint(text(repeated)) != fmt.Sprint(text(assignment)) {
				t.Fatalf("nothing changed, but %v became %v", text(assignment), text(repeated))
			}
		})
	})
}

// TestRangeRules: consecutive partitions, sizes by Kafka's rule, and the same members for equal topics.
func TestRangeRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		equally := rapid.Bool().Draw(t, "equally")
		run(t, Range, equally, func(spec Spec, assignment Assignment, _ map[seatOf]string) {
			for topic, d := range spec.Topics {
				var subscribers []*Member
				for _, m := range staticFirst(spec.Members) {
					if slices.Contains(m.Topics, topic) {
						subscribers = append(subscribers, m)
					}
				}
				next := int32(0)
				for i, m := range subscribers {
					count := d.Partitions / len(subscribers)
					if i < d.Partitions%len(subscribers) {
						count++
					}
					got := assignment[m.ID][topic]
					if len(got) != count {
						t.Fatalf("%s has %v of %d, want %d", m.ID, got, d.Partitions, count)
					}
					for _, p := range got {
						if p != next {
							t.Fatalf("%s has %v, want from %d", m.ID, got, next)
						}
						next++
					}
				}
			}
		})
	})
}

// TestStaticMembersKeepTheirRange: a static member that comes back under another id gets what it had.
func TestStaticMembersKeepTheirRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{Topics: drawTopics(t)}
		for i := range rapid.IntRange(1, 8).Draw(t, "members") {
			m := drawMember(t, fmt.Sprintf("m%d", i), spec.Topics, true)
			instance := fmt.Sprintf("i%d", i)
			m.InstanceID = &instance
			spec.Members = append(spec.Members, m)
		}
		before, err := Assign(Range, spec)
		if err != nil {
			t.Fatal(err)
		}
		back := slices.Clone(spec.Members)
		i := rapid.IntRange(0, len(back)-1).Draw(t, "who restarts")
		back[i].ID = fmt.Sprintf("another%d", rapid.Int().Draw(t, "id"))
		after, err := Assign(Range, Spec{Members: back, Topics: spec.Topics})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(before[spec.Members[i].ID]) != fmt.Sprint(after[back[i].ID]) {
			t.Fatal("a restart moved partitions")
		}
	})
}
