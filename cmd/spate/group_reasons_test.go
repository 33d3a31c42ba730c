package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// at is a partition of topic orders that holds records from 0 to end.
func at(partition int32, committed, end int64, member string) lagView {
	l := lagView{
		Topic:     "orders",
		Partition: partition,
		Committed: committed,
		Start:     0,
		End:       end,
		Stable:    end,
		Member:    member,
	}
	if committed >= 0 {
		lag := max(0, end-committed)
		l.Lag = &lag
	}
	return l
}

// having is a member that is subscribed to orders and has partitions of it.
func having(id string, partitions ...int32) memberView {
	m := memberView{ID: id, Subscribed: []string{"orders"}, Assigned: map[string][]int32{}}
	if len(partitions) > 0 {
		m.Assigned["orders"] = partitions
	}
	return m
}

// seen is a group of consumers as it was looked at after so many seconds.
func seen(seconds int, state string, members []memberView, partitions ...lagView) *groupView {
	g := &groupView{
		Name: "g", State: state, ProtocolType: "consumer", Members: members, Partitions: partitions,
		at: time.Unix(int64(seconds), 0), topics: map[string]int32{"orders": int32(len(partitions))},
	}
	g.sum()
	return g
}

// TestReasons: each way of being stuck has its sentence.
func TestReasons(t *testing.T) {
	one := []memberView{having("m1", 0)}
	moved := at(0, 5, 9, "m1")
	moved.Start = 9
	late := at(0, 7, 5, "m1")
	held := at(0, 5, 9, "m1")
	held.Stable, held.Transaction = 5, "of producer id 8"
	offline := at(0, 5, -1, "m1")
	for _, c := range []struct {
		name          string
		before, after *groupView
		want          []string
	}{
		{"all is well", nil, seen(0, "Stable", one, at(0, 5, 5, "m1")), nil},
		{
			"behind, seen once", nil, seen(0, "Stable", one, at(0, 5, 9, "m1")),
			[]string{"it is behind; --sample 10s tells whether its members consume"},
		},
		{"no members and nothing to do", nil, seen(0, "Empty", nil, at(0, 5, 5, "")), nil},
		{
			"no members", nil, seen(0, "Empty", nil, at(0, 5, 9, "")),
			[]string{"no members: nobody consumes this group's records; start a consumer with this group id"},
		},
		{
			"no members, seen twice", seen(0, "Empty", nil, at(0, 5, 9, "")), seen(10, "Empty", nil, at(0, 5, 12, "")),
			[]string{
				"no members: nobody consumes this group's records; start a consumer with this group id",
				"in 10s 3 records arrived",
			},
		},
		{
			"a member too many", nil,
			seen(0, "Stable", []memberView{having("m1", 0), having("m2"), having("m3")}, at(0, 5, 5, "m1")),
			[]string{"empty assignment: 2 members of 3 have no partition (m2, m3): the subscribed topics have " +
				"only 1 partition " +
				"for 3 members"},
		},
		{
			"idle for another reason", nil,
			seen(0, "Stable", []memberView{having("m1", 0, 1), having("m2")}, at(0, 5, 5, "m1"), at(1, 5, 5, "m1")),
			[]string{"empty assignment: 1 member of 2 has no partition (m2)"},
		},
		{
			"a topic that is not there", nil,
			seen(0, "Stable", []memberView{{ID: "m1", Subscribed: []string{"refunds"}}}),
			[]string{
				"members are subscribed to topic refunds, which does not exist",
				"empty assignment: 1 member of 1 has no partition (m1): the subscribed topics have only 0 " +
					"partitions for 1 member",
			},
		},
		{
			"waiting for members", nil, seen(0, "PreparingRebalance", one),
			[]string{"rebalancing: it waits for its members to join again; one that does not poll holds this up " +
				"until its " +
				"max.poll.interval.ms has passed"},
		},
		{
			"waiting for the leader", nil, seen(0, "CompletingRebalance", one),
			[]string{"rebalancing: it waits for its leader to say who gets which partition"},
		},
		{
			"waiting for the coordinator", nil, seen(0, "Assigning", one),
			[]string{"rebalancing: the new assignment is being computed"},
		},
		{
			"waiting for a member to give back", nil,
			seen(0, "Reconciling", []memberView{
				{ID: "m1", Assigned: map[string][]int32{"orders": {0, 1}}, Target: map[string][]int32{"orders": {0}}},
				{ID: "m2", Target: map[string][]int32{"orders": {1}}},
			}, at(0, 5, 5, "m1"), at(1, 5, 5, "m1")),
			[]string{"rebalancing: member m1 has still to give back orders:1"},
		},
		{
			"taking over", nil,
			seen(0, "Reconciling", []memberView{{ID: "m2", Target: map[string][]int32{"orders": {0}}}},
				at(0, 5, 5, "")),
			[]string{"rebalancing: members are taking over their new partitions"},
		},
		{
			"an open transaction", nil, seen(0, "Stable", one, held),
			[]string{
				"orders-0: an open transaction (of producer id 8) holds the last stable offset at 5, 4 records " +
					"below the end: " +
					"a read_committed consumer waits there until it ends",
				"it is behind; --sample 10s tells whether its members consume",
			},
		},
		{
			"records that are gone", nil, seen(0, "Stable", one, moved),
			[]string{
				"deleted before they were consumed, by retention or by hand: orders-0 (4 records); the consumer " +
					"goes on as its " +
					"auto.offset.reset says",
				"it is behind; --sample 10s tells whether its members consume",
			},
		},
		{
			"an offset of another log", nil, seen(0, "Stable", one, late),
			[]string{"orders-0: the committed offset is past the end: the topic was made anew, or its log was cut; " +
				"reset-offsets sets it right"},
		},
		{
			"an offline partition", nil, seen(0, "Stable", one, offline),
			[]string{"orders-0: the leader does not answer; the partition is offline or does not exist"},
		},
		{
			"never committed", nil, seen(0, "Stable", one, at(0, -1, 9, "m1")),
			[]string{"no committed offset: orders-0 (9 records); who reads there begins as its auto.offset.reset says"},
		},
		{
			"not consuming", seen(0, "Stable", one, at(0, 5, 9, "m1")), seen(10, "Stable", one, at(0, 5, 12, "m1")),
			[]string{
				"in 10s it committed 0 records, and 3 records arrived",
				"not consuming: member m1 had records to read in orders-0, and committed nothing there (two " +
					"looks, 10s apart): " +
					"it does not poll, is busy with one record, or commits less often",
			},
		},
		{
			"what has only just arrived is nobody's fault", seen(0, "Stable", one, at(0, 9, 9, "m1")),
			seen(10, "Stable", one, at(0, 9, 12, "m1")), []string{"in 10s it committed 0 records, and 3 records " +
				"arrived"},
		},
		{
			"a member that has only just got the partition", seen(0, "Stable", one, at(0, 5, 9, "m2")),
			seen(10, "Stable", one, at(0, 5, 9, "m1")), []string{"in 10s it committed 0 records, and 0 records " +
				"arrived"},
		},
		{
			"catching up", seen(0, "Stable", one, at(0, 0, 100, "m1")), seen(10, "Stable", one, at(0, 30, 110, "m1")),
			[]string{"in 10s it committed 30 records, and 10 records arrived; at this pace it has caught up in 40s"},
		},
		{
			"falling behind", seen(0, "Stable", one, at(0, 0, 100, "m1")), seen(10, "Stable", one, at(0, 5, 110, "m1")),
			[]string{"in 10s it committed 5 records, and 10 records arrived; it falls behind"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.after.reasons(c.before)
			if len(got) == 0 && len(c.want) == 0 {
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReasonsAreBounded: a group with a thousand faults is described in a screen.
func TestReasonsAreBounded(t *testing.T) {
	var members []memberView
	var partitions []lagView
	for i := range int32(1000) {
		p := at(i, 5, 9, fmt.Sprintf("m%03d", i))
		p.Stable, p.Transaction = 5, "x"
		partitions = append(partitions, p)
		members = append(members, having(p.Member, i), having(fmt.Sprintf("idle%03d", i)))
	}
	after := seen(10, "Stable", members, partitions...)
	got := after.reasons(seen(0, "Stable", members, partitions...))
	if len(got) > 30 {
		t.Errorf("%d sentences", len(got))
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{"and 992 such partitions more", "idle003, and 996 more)", "such members more"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestDescriptions prints views as people and programs see them.
func TestDescriptions(t *testing.T) {
	epoch := int32(3)
	seconds := 12.34
	behind := at(1, 5, 9, "m2")
	behind.LagSeconds = &seconds
	m2 := having("m2", 1, 2)
	m2.InstanceID, m2.Epoch, m2.Host, m2.ClientID = "i2", &epoch, "/10.0.0.2", "c2"
	m2.Target = map[string][]int32{"orders": {1}}
	zero := 0.0
	caughtUp := at(0, 9, 9, "m1")
	caughtUp.LagSeconds = &zero
	g := seen(0, "Reconciling", []memberView{having("m1", 0), m2}, caughtUp, behind, at(2, -1, 7, "m2"))
	g.Type, g.Assignor, g.Epoch, g.Coordinator = "consumer", "uniform", &epoch, 1
	for name, c := range map[string]struct {
		flags describeFlags
		want  string
	}{
		"offsets": {describeFlags{}, `group g  type consumer  state Reconciling  assignor uniform  members 2  lag 4 records, 12.3 s, and not known in 1 partition
  TOPIC   PARTITION  CURRENT  END  LAG  SECONDS  MEMBER  HOST  CLIENT
  orders  0          9        9    0    0        m1      -     -
  orders  1          5        9    4    12.3     m2      -     -
  orders  2          -        7    -    -        m2      -     -
  ! rebalancing: member m1 has still to give back orders:0
  ! rebalancing: member m2 has still to give back orders:2
  ! no committed offset: orders-2 (7 records); who reads there begins as its auto.offset.reset says
`},
		"members": {describeFlags{members: true}, `group g  type consumer  state Reconciling  assignor uniform  members 2  lag 4 records, 12.3 s, and not known in 1 partition
  MEMBER  INSTANCE  HOST       CLIENT  EPOCH  PARTITIONS  ASSIGNED    TARGET
  m1      -         -          -       -      1           orders:0    -
  m2      i2        /10.0.0.2  c2      3      2           orders:1,2  orders:1
  ! rebalancing: member m1 has still to give back orders:0
  ! rebalancing: member m2 has still to give back orders:2
  ! no committed offset: orders-2 (7 records); who reads there begins as its auto.offset.reset says
`},
		"states": {describeFlags{state: true}, `GROUP  TYPE      STATE        ASSIGNOR  EPOCH  MEMBERS  LAG  SECONDS  COORDINATOR
g      consumer  Reconciling  uniform   3      2        4    12.3     1
`},
	} {
		var out strings.Builder
		if err := c.flags.show(&out, []*groupView{g}, false); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, out.String()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	var out strings.Builder
	if err := (&describeFlags{}).show(&out, nil, true); err != nil || out.String() != "[]\n" {
		t.Errorf("no groups as JSON: %q, %v", out.String(), err)
	}
	for want, s := range map[string]float64{"0": 0, "0.1": 0.001, "99.9": 99.9, "100": 100.4} {
		if got := secondsText(s); got != want {
			t.Errorf("%v s: got %s, want %s", s, got, want)
		}
	}
}
