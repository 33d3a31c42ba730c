package consumer

import (
	"fmt"
	"testing"
	"time"
)

// Goal: what a group costs the shard that serves it. Method: benchmarks of the three costly cases, and a pinned number
// of allocations for the one that happens all the time.

// filled is a world with a stable group.
func filled(members, partitions int) *world {
	w := newWorld()
	w.unchecked = true
	w.settings.SizeMax = members
	w.topic("t", partitions)
	for i := range members {
		w.ask(joining(i))
	}
	w.balance(members)
	return w
}

func joining(i int) Heartbeat {
	return Heartbeat{
		MemberID: memberName(i), RebalanceTimeoutMs: 60000, SubscribedTopics: []string{"t"}, Owned: []TopicPartitions{},
		ClientID: "c", ClientHost: "/h", APIVersion: 1,
	}
}

func memberName(i int) string { return fmt.Sprintf("member-%04d", i) }

// balance lets every member give back and take until the group is stable.
func (w *world) balance(members int) {
	for w.group.State() != Stable {
		for i := range members {
			m := w.group.members[memberName(i)]
			w.ask(Heartbeat{
				MemberID: m.id, MemberEpoch: m.epoch, RebalanceTimeoutMs: -1, Owned: m.assigned.bare(),
				ClientID: "c", ClientHost: "/h", APIVersion: 1,
			})
		}
	}
}

func steady(w *world) Heartbeat { return steadyOf(w, 0) }

// steadyOf is the heartbeat of a member that has nothing new to say.
func steadyOf(w *world, i int) Heartbeat {
	m := w.group.members[memberName(i)]
	return Heartbeat{
		MemberID: m.id, MemberEpoch: m.epoch, RebalanceTimeoutMs: -1, ClientID: "c", ClientHost: "/h", APIVersion: 1,
	}
}

func TestStableHeartbeatAllocations(t *testing.T) {
	w := filled(3, 12)
	var cmd any = steady(w)
	w.group.Decide(w.now, w.cluster, 1, cmd)
	// The turn, the reply, and the slices of replies and timers of its outcome.
	if n := testing.AllocsPerRun(100, func() { w.group.Decide(w.now, w.cluster, 1, cmd) }); n > 5 {
		t.Errorf("a heartbeat of a stable group allocates %v times", n)
	}
}

func BenchmarkStableHeartbeat(b *testing.B) {
	w := filled(100, 1000)
	var cmd any = steady(w)
	b.ReportAllocs()
	for b.Loop() {
		w.group.Decide(w.now, w.cluster, 1, cmd)
	}
}

// BenchmarkJoinStorm is 1,000 members that join a topic of 1,000 partitions one after the other.
func BenchmarkJoinStorm(b *testing.B) {
	const members, partitions = 1000, 1000
	for b.Loop() {
		w := newWorld()
		w.unchecked = true
		w.settings.SizeMax = members
		w.topic("t", partitions)
		for i := range members {
			w.ask(joining(i))
		}
	}
}

// BenchmarkRegexOfManyTopics resolves a regular expression against 10,000 topics.
func BenchmarkRegexOfManyTopics(b *testing.B) {
	w := newWorld()
	for i := range 10_000 {
		w.topic(fmt.Sprintf("orders.%05d", i), 1)
	}
	regex := "orders\\.0[0-9]+"
	w.ask(Heartbeat{
		MemberID: "a", RebalanceTimeoutMs: 60000, SubscribedRegex: &regex, Owned: []TopicPartitions{}, APIVersion: 1,
	})
	w.now = w.now.Add(time.Minute)
	key := w.group.timer(TimerRegex, "")
	for b.Loop() {
		w.group.Fired(w.now, w.cluster, key)
	}
}
