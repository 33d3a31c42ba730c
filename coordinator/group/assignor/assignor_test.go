package assignor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
)

// topicID is the id of the nth topic; ids order as the numbers do.
func topicID(n int) kafka.UUID { return kafka.UUID{14: byte(n >> 8), 15: byte(n)} }

// topics makes ids of numbers.
func topics(numbers ...int) []kafka.UUID {
	ids := make([]kafka.UUID, len(numbers))
	for i, n := range numbers {
		ids[i] = topicID(n)
	}
	return ids
}

// sized makes topics 1, 2, … of so many partitions.
func sized(partitions ...int) map[kafka.UUID]Topic {
	all := make(map[kafka.UUID]Topic)
	for i, n := range partitions {
		all[topicID(i+1)] = Topic{Partitions: n}
	}
	return all
}

// owns makes what a member was assigned from "1:0,1 2:3".
func owns(text string) Partitions {
	if text == "" {
		return nil
	}
	parts := make(Partitions)
	for _, field := range strings.Fields(text) {
		var topic, p int
		number, list, _ := strings.Cut(field, ":")
		fmt.Sscan(number, &topic)
		for _, one := range strings.Split(list, ",") {
			fmt.Sscan(one, &p)
			parts[topicID(topic)] = append(parts[topicID(topic)], int32(p))
		}
	}
	return parts
}

// text is an assignment as lines "member 1:0,1 2:3".
func text(a Assignment) []string {
	var lines []string
	for _, member := range slices.Sorted(maps.Keys(a)) {
		line := member
		for _, topic := range slices.SortedFunc(maps.Keys(a[member]), compareTopics) {
			list := strings.Trim(strings.ReplaceAll(fmt.Sprint(a[member][topic]), " ", ","), "[]")
			line += fmt.Sprintf(" %d:%s", int(topic[14])<<8+int(topic[15]), list)
		}
		lines = append(lines, line)
	}
	return lines
}

// member makes a dynamic member.
func member(id string, assigned string, subscribed ...int) Member {
	return Member{ID: id, Topics: topics(subscribed...), Assigned: owns(assigned)}
}

// static makes a static member.
func static(id, instance string, subscribed ...int) Member {
	return Member{ID: id, InstanceID: &instance, Topics: topics(subscribed...)}
}

// inRack puts a member in a rack.
func inRack(rack string, m Member) Member {
	m.RackID = &rack
	return m
}

// TestAssign shows what each assignor does with small groups.
func TestAssign(t *testing.T) {
	tests := []struct {
		name     string
		assignor string
		spec     Spec
		want     []string
	}{
		{"a group without members has no assignment", Uniform, Spec{Topics: sized(3)}, nil},
		{"range of a group without members too", Range, Spec{Topics: sized(3)}, nil},
		{
			"members without subscriptions get nothing", Uniform,
			Spec{Members: []Member{member("a", ""), member("b", "")}}, []string{"a", "b"},
		},
		{
			"uniform: a first assignment", Uniform,
			Spec{Members: []Member{member("b", "", 1, 2), member("a", "", 1, 2)}, Topics: sized(3, 2)},
			[]string{"a 1:0,1", "b 1:2 2:0,1"},
		},
		{
			"uniform: more members than partitions", Uniform,
			Spec{Members: []Member{member("a", "", 1), member("b", "", 1), member("c", "", 1)}, Topics: sized(2)},
			[]string{"a", "b 1:0", "c 1:1"},
		},
		{
			"uniform: one more member takes only its share", Uniform,
			Spec{
				Members: []Member{member("a", "1:0,1,2", 1), member("b", "1:3,4,5", 1), member("c", "", 1)},
				Topics:  sized(6),
			},
			[]string{"a 1:0,1", "b 1:3,4", "c 1:2,5"},
		},
		{
			"uniform: who owns more keeps the odd partition, whatever its name", Uniform,
			Spec{Members: []Member{member("a", "1:0", 1), member("b", "1:1,2", 1)}, Topics: sized(3)},
			[]string{"a 1:0", "b 1:1,2"},
		},
		{
			"uniform: a member that left", Uniform,
			Spec{Members: []Member{member("b", "1:2,3", 1), member("c", "1:4,5", 1)}, Topics: sized(6)},
			[]string{"b 1:0,2,3", "c 1:1,4,5"},
		},
		{
			"uniform: a topic that is no longer subscribed is given back", Uniform,
			Spec{
				Members: []Member{member("a", "1:0,1 2:0", 2), member("b", "2:1", 2)},
				Topics:  sized(2, 3),
			},
			[]string{"a 2:0", "b 2:1,2"},
		},
		{
			"uniform: nonsense in the old target does no harm", Uniform,
			Spec{
				Members: []Member{member("a", "1:0,7,-1", 1), member("b", "1:0,0,1", 1)},
				Topics:  sized(4),
			},
			[]string{"a 1:0,2", "b 1:1,3"},
		},
		{
			"uniform: different subscriptions", Uniform,
			Spec{
				Members: []Member{member("a", "", 1, 2), member("b", "", 2), member("c", "", 1)},
				Topics:  sized(3, 3),
			},
			[]string{"a 1:0,2", "b 2:0,1,2", "c 1:1"},
		},
		{
			"uniform: different subscriptions, and one member owns too much", Uniform,
			Spec{
				Members: []Member{member("a", "1:0,1,2,3 2:0", 1, 2), member("b", "", 1), member("c", "2:1", 2)},
				Topics:  sized(4, 2),
			},
			[]string{"a 1:0,1", "b 1:2,3", "c 2:0,1"},
		},
		{
			"range: static members first, by instance", Range,
			Spec{
				Members: []Member{static("a", "z", 1), static("b", "y", 1), member("0", "", 1)},
				Topics:  sized(7),
			},
			[]string{"0 1:5,6", "a 1:3,4", "b 1:0,1,2"},
		},
		{
			"range: topics with equally many partitions go together", Range,
			Spec{
				Members: []Member{member("a", "1:1", 1, 2), member("b", "", 1, 2)},
				Topics:  sized(3, 3),
			},
			[]string{"a 1:0,1 2:0,1", "b 1:2 2:2"},
		},
		{
			"range: each topic is shared by its own subscribers", Range,
			Spec{
				Members: []Member{member("a", "", 1), member("b", "", 1, 2), member("c", "", 2), member("d", "")},
				Topics:  sized(3, 3),
			},
			[]string{"a 1:0,1", "b 1:2 2:0,1", "c 2:2", "d"},
		},
		{
			"range: more members than partitions", Range,
			Spec{Members: []Member{member("a", "", 1), member("b", "", 1)}, Topics: sized(1)},
			[]string{"a 1:0", "b"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Assign(test.assignor, test.spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, text(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAssignRefuses: names and topics that do not exist.
func TestAssignRefuses(t *testing.T) {
	if _, err := Assign("sticky", Spec{}); err == nil || err.Error() != `unknown assignor: "sticky"` {
		t.Error(err)
	}
	_, err := Assign(Uniform, Spec{Members: []Member{member("a", "", 1)}})
	want := "a member is subscribed to a topic that does not exist: member a, topic AAAAAAAAAAAAAAAAAAAAAQ"
	if err == nil || err.Error() != want {
		t.Error(err)
	}
}

// TestUnchangedPartsAreShared: a member that keeps what it has gets its own map back, and nobody's map is altered.
func TestUnchangedPartsAreShared(t *testing.T) {
	spec := Spec{
		Members: []Member{member("a", "1:0,1,2", 1), member("b", "1:3,4,5,6", 1), member("c", "1:7", 1)},
		Topics:  sized(8),
	}
	before := []string{fmt.Sprint(spec.Members[0].Assigned), fmt.Sprint(spec.Members[1].Assigned)}
	got, err := Assign(Uniform, spec)
	if err != nil {
		t.Fatal(err)
	}
	if &got["a"][topicID(1)][0] != &spec.Members[0].Assigned[topicID(1)][0] {
		t.Error("a's partitions were copied")
	}
	after := []string{fmt.Sprint(spec.Members[0].Assigned), fmt.Sprint(spec.Members[1].Assigned)}
	if !slices.Equal(before, after) {
		t.Errorf("the spec was altered: %v became %v", before, after)
	}
}

// TestRacks: racks decide which of the free partitions a member gets, never how many, and move nothing.
func TestRacks(t *testing.T) {
	replicas := func(racks ...string) [][]string { // one partition a word, its racks separated by +
		var all [][]string
		for _, r := range racks {
			all = append(all, strings.Split(r, "+"))
		}
		return all
	}
	tests := []struct {
		name       string
		members    []Member
		partitions int
		racks      [][]string
		want       []string
	}{
		{
			"members read from their own rack",
			[]Member{inRack("x", member("a", "", 1)), inRack("y", member("b", "", 1))},
			4, replicas("y", "x", "y", "x"),
			[]string{"a 1:1,3", "b 1:0,2"},
		},
		{
			"a partition that could go elsewhere makes room for one that cannot",
			[]Member{inRack("x", member("a", "", 1)), inRack("y", member("b", "", 1)), inRack("z", member("c", "", 1))},
			3, replicas("x+y", "y+z", "x+y"),
			[]string{"a 1:0", "b 1:2", "c 1:1"},
		},
		{
			"a partition that has taken the last place of a rack moves on for one that has no other",
			[]Member{inRack("y", member("a", "", 1)), inRack("z", member("b", "", 1)), inRack("x", member("c", "", 1))},
			4, replicas("x+y", "x+y", "x+z", "x+z"),
			[]string{"a 1:1", "b 1:2", "c 1:0,3"},
		},
		{
			"balance comes first",
			[]Member{inRack("x", member("a", "", 1)), inRack("y", member("b", "", 1))},
			4, replicas("x", "x", "x", "x"),
			[]string{"a 1:0,1", "b 1:2,3"},
		},
		{
			"stickiness comes before racks",
			[]Member{inRack("x", member("a", "1:0,2", 1)), inRack("y", member("b", "1:1,3", 1))},
			4, replicas("y", "x", "y", "x"),
			[]string{"a 1:0,2", "b 1:1,3"},
		},
		{
			"who must give gives what is not local",
			[]Member{inRack("x", member("a", "1:0,1,2,3", 1)), inRack("y", member("b", "", 1))},
			4, replicas("y", "x", "y", "x"),
			[]string{"a 1:1,3", "b 1:0,2"},
		},
		{
			"members and partitions without racks share the rest",
			[]Member{member("a", "", 1), inRack("y", member("b", "", 1))},
			4, replicas("y", "y"),
			[]string{"a 1:2,3", "b 1:0,1"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := Spec{
				Members: test.members,
				Topics:  map[kafka.UUID]Topic{topicID(1): {Partitions: test.partitions, Racks: test.racks}},
			}
			got, err := Assign(Uniform, spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, text(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRacksWithDifferentSubscriptions: the same holds where members are subscribed to different topics.
func TestRacksWithDifferentSubscriptions(t *testing.T) {
	racks := [][]string{{"y"}, {"x"}, {"y"}, {"x"}}
	spec := Spec{
		Members: []Member{
			inRack("x", member("a", "", 1)), inRack("y", member("b", "", 1)), inRack("x", member("c", "1:0,1,2,3", 1)),
			member("d", "", 2),
		},
		Topics: map[kafka.UUID]Topic{topicID(1): {Partitions: 6, Racks: racks}, topicID(2): {Partitions: 1}},
	}
	got, err := Assign(Uniform, spec)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a 1:3,4", "b 1:2,5", "c 1:0,1", "d 2:0"}
	if diff := cmp.Diff(want, text(got)); diff != "" {
		t.Error(diff)
	}
}
