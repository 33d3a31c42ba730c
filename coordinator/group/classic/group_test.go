package classic

import (
	"fmt"
	"testing"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
)

type recordGroup = record.Group

func recordOf(r coordinator.Record) *recordGroup { return r.(*record.Group) }

func crowdJoin(i int) Join {
	said := subscription.Subscription{Version: 3, Topics: []string{"orders"}, Generation: -1}.Append(nil)
	return Join{
		NewMemberID:      fmt.Sprintf("member-%d", i),
		ClientID:         "client",
		ClientHost:       "/127.0.0.1",
		SessionTimeout:   30 * time.Minute,
		RebalanceTimeout: 5 * time.Minute,
		ProtocolType:     "consumer",
		Protocols:        []Protocol{{"range", said}, {"cooperative-sticky", said}},
	}
}

// settle lets the initial rebalance end and all members sync.
func settle(tb testing.TB, w *world, n int) {
	for w.group.State() == PreparingRebalance {
		key, at, ok := w.due(w.now.Add(time.Hour))
		if !ok {
			tb.Fatal("nothing ends the rebalance")
		}
		delete(w.timers, key)
		w.now = at
		w.follow(w.group.Fired(at, key))
	}
	sync(w, n)
	if w.group.State() != Stable || w.group.Size() != n || len(w.waiting) > 0 {
		tb.Fatalf("%s with %d members, %d wait", w.group.State(), w.group.Size(), len(w.waiting))
	}
}

func sync(w *world, n int) {
	generation := w.group.Generation()
	for i := range n {
		w.ask(Sync{MemberID: fmt.Sprintf("member-%d", n-1-i), Generation: generation})
	}
}

func stable(tb testing.TB, n int) *world {
	settings := storySettings()
	settings.SizeMax = n
	w := newWorld(settings, tb.Fatalf)
	for i := range n {
		w.ask(crowdJoin(i))
	}
	settle(tb, w, n)
	return w
}

// Goal: a crowd of 10,000 members costs each of them what it costs one. Method: the whole life of such a group, which
// takes minutes where a join looks at all members, must fit into the time of a test; the books are checked at its end.
func TestTenThousandMembers(t *testing.T) {
	const n = 10_000
	w := stable(t, n)
	w.checkBooks()
	var leave Leave
	for i := range n {
		leave.Members = append(leave.Members, Leaver{MemberID: fmt.Sprintf("member-%d", i)})
	}
	if _, o := w.ask(leave); len(o.Records) != 1 {
		t.Fatalf("the group that all have left writes %d records", len(o.Records))
	}
	if w.group.State() != Empty || len(w.timers) > 0 {
		t.Fatalf("%s with %d timers", w.group.State(), len(w.timers))
	}
}

// Goal: a group whose members allow no time for a rebalance, or less than none, costs no more than others: it does not
// ask again and again, with no time in between, for a static member that is away. Method: one of two static members
// leaves, and the other is silent until its session ends.
func TestNoTimeForARebalance(t *testing.T) {
	for _, timeout := range []time.Duration{0, -time.Millisecond} {
		w := newWorld(storySettings(), t.Errorf)
		join := func(id, instance string, timeout time.Duration) {
			w.ask(Join{NewMemberID: id, InstanceID: &instance, SessionTimeout: 10 * time.Second,
				RebalanceTimeout: timeout, ProtocolType: "consumer", Protocols: []Protocol{{Name: "range"}}})
		}
		join("a", "first", time.Minute)
		join("b", "second", time.Minute)
		w.advance(6*time.Second, func(coordinator.TimerKey, coordinator.Outcome) {})
		w.ask(Sync{MemberID: "b", Generation: 1})
		w.ask(Sync{MemberID: "a", Generation: 1})
		join("c", "first", timeout)
		join("d", "second", timeout)
		if w.group.State() != Stable || w.group.Size() != 2 {
			t.Fatalf("%s with %d members", w.group.State(), w.group.Size())
		}
		w.ask(Leave{Members: []Leaver{{MemberID: "d"}}})
		fired := 0
		for w.group.State() != Empty && fired < 100 {
			key, at, ok := w.due(w.now.Add(time.Hour))
			if !ok {
				t.Fatal("nothing ends the rebalance")
			}
			delete(w.timers, key)
			w.now = at
			w.follow(w.group.Fired(at, key))
			fired++
		}
		if fired > 20 {
			t.Errorf("with a rebalance timeout of %s timers fired %d times", timeout, fired)
		}
	}
}

// Goal: a heartbeat costs one allocation, the list of its one reply.
func TestHeartbeatAllocations(t *testing.T) {
	w := stable(t, 3)
	var cmd any = Heartbeat{MemberID: "member-1", Generation: 1}
	if n := testing.AllocsPerRun(100, func() { w.group.Decide(w.now, 1, cmd) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// Goal: records that no machine writes, but a file may hold, make some group and no panic.
func TestApplyOddRecords(t *testing.T) {
	text := func(s string) *string { return &s }
	for _, r := range []record.Group{
		{Members: []record.GroupMember{{MemberID: "a"}}},
		{Leader: text("b"), Protocol: text("p"), Members: []record.GroupMember{{MemberID: "a"}}},
		{Leader: text("a"), Protocol: text("p"), ProtocolType: "consumer", Members: []record.GroupMember{
			{MemberID: "a", InstanceID: text("i"), SessionTimeoutMs: 7000, RebalanceTimeoutMs: -1},
			{MemberID: "a"}, {MemberID: "b", InstanceID: text("i")}}},
		{Protocol: text("p"), Leader: text("a"), Generation: -5},
	} {
		r.Group, r.StateTimestamp = "g", kafka.NoTimestamp
		w := newWorld(storySettings(), t.Errorf)
		w.log = []*record.Group{&r}
		w.restart()
		for _, m := range w.group.Members() {
			w.ask(Join{MemberID: m.MemberID, SessionTimeout: 7 * time.Second, ProtocolType: r.ProtocolType,
				Protocols: m.Protocols})
			if m.SessionTimeout == 7*time.Second && m.RebalanceTimeout != m.SessionTimeout {
				t.Errorf("the rebalance timeout of an old record is %s", m.RebalanceTimeout)
			}
		}
		w.group.Describe()
		w.advance(time.Hour, func(coordinator.TimerKey, coordinator.Outcome) {})
		if w.group.Size() > 0 {
			t.Errorf("%v leaves %d members", r, w.group.Size())
		}
	}
}

// Goal: what is no command of this machine is refused, and what nobody waits for changes nothing.
func TestForeignCommands(t *testing.T) {
	g := New("g", storySettings())
	o := g.Decide(start, 1, "join")
	if len(o.Replies) != 1 || kafka.CodeOf(o.Replies[0].Err) != kafka.InvalidRequest.Code {
		t.Errorf("%+v", o)
	}
	for _, cmd := range []any{crowdJoin(1), Sync{MemberID: "a"}} {
		if o := g.Decide(start, coordinator.Nobody, cmd); len(o.Records)+len(o.Replies)+len(o.Timers) > 0 {
			t.Errorf("%+v", o)
		}
	}
	keys := []coordinator.TimerKey{g.timer(TimerJoin), g.timer(TimerSync), g.sessionTimer("a"), {Kind: 99}}
	for _, key := range keys {
		if o := g.Fired(start, key); len(o.Records)+len(o.Replies)+len(o.Timers) > 0 {
			t.Errorf("%v: %+v", key, o)
		}
	}
	if g.ID() != "g" || g.Protocol() != nil || g.ProtocolType() != "" || g.HasRecord() {
		t.Errorf("%s %v %q %v", g.ID(), g.Protocol(), g.ProtocolType(), g.HasRecord())
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	w := stable(b, 1000)
	var cmd any = Heartbeat{MemberID: "member-500", Generation: 1}
	b.ReportAllocs()
	for b.Loop() {
		w.group.Decide(w.now, 1, cmd)
	}
}

// BenchmarkRebalance lets 1,000 members join again and sync.
func BenchmarkRebalance(b *testing.B) {
	const n = 1000
	w := stable(b, n)
	joins := make([]Join, n)
	for i := range joins {
		joins[i] = crowdJoin(i)
		joins[i].MemberID, joins[i].NewMemberID = joins[i].NewMemberID, ""
	}
	b.ReportAllocs()
	for b.Loop() {
		w.log = nil
		for i := range joins {
			w.ask(joins[i]) // the leader is the first
		}
		sync(w, n)
	}
	if w.group.State() != Stable || w.group.Size() != n {
		b.Fatal(w.group.State())
	}
}
