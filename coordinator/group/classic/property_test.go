package classic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/coordinator"
)

// Goal: whatever members do, in whatever order and with whatever timers and restarts between, what holds of a group
// holds: each request is answered once, generations never go back while the coordinator lives, all members of a
// generation hear of the same one, a generation has one assignment, the books are right, no timer is left over, and
// the records give the group that wrote them. Method: random commands of clients that know what they were told, and
// some that make it up.
func TestRandomMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &population{
			world:       newWorld(storySettings(), t.Fatalf),
			owners:      map[coordinator.Token]any{},
			told:        map[int32]string{},
			assignments: map[int32]map[string]string{},
		}
		p.settings.SizeMax = rapid.IntRange(1, 6).Draw(t, "max")
		p.settings.InitialRebalanceDelay = time.Duration(rapid.IntRange(0, 3).Draw(t, "delay")) * time.Second
		p.group.settings = p.settings
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			p.act(t)
			p.check(t)
		}
		p.tooLarge = false
		p.advance(time.Hour, func(_ coordinator.TimerKey, o coordinator.Outcome) { p.hear(t, o) })
		if len(p.waiting) > 0 || len(p.timers) > 0 || p.group.Size() > 0 {
			t.Fatalf("after an hour of silence %d wait, %d timers are set, %d are members",
				len(p.waiting), len(p.timers), p.group.Size())
		}
	})
}

type population struct {
	*world
	ids         []string                    // that someone was told
	drawn       int                         // ids drawn so far
	owners      map[coordinator.Token]any   // what was asked
	told        map[int32]string            // of a generation: its protocol
	assignments map[int32]map[string]string // of a generation: who has what
	highest     int32                       // the last generation that anyone was told of since the last restart
}

var instances = []string{"i", "j", "k"}

func (p *population) act(t *rapid.T) {
	switch rapid.SampledFrom([]string{"new", "new", "again", "again", "again", "sync", "sync", "sync", "heartbeat",
		"leave", "commit", "wait", "wait", "restart", "large"}).Draw(t, "act") {
	case "new":
		p.drawn++
		join := p.join(t)
		join.NewMemberID = fmt.Sprintf("m%d", p.drawn)
		join.NeedsKnownMember, join.SkipsAssignment = rapid.Bool().Draw(t, "v4"), rapid.Bool().Draw(t, "v9")
		if rapid.Bool().Draw(t, "static") {
			join.InstanceID = &instances[rapid.IntRange(0, len(instances)-1).Draw(t, "instance")]
		}
		p.send(t, join)
	case "again":
		join := p.join(t)
		join.MemberID, join.InstanceID = p.someone(t)
		p.send(t, join)
	case "sync":
		sync := Sync{Generation: p.generation(t)}
		sync.MemberID, sync.InstanceID = p.someone(t)
		for _, id := range p.ids {
			assignment := fmt.Appendf(nil, "%s at %d", id, p.last)
			sync.Assignments = append(sync.Assignments, MemberAssignment{id, assignment})
		}
		p.send(t, sync)
	case "heartbeat":
		id, instance := p.someone(t)
		p.send(t, Heartbeat{MemberID: id, InstanceID: instance, Generation: p.generation(t)})
	case "leave":
		var leave Leave
		for range rapid.IntRange(1, 3).Draw(t, "leavers") {
			id, instance := p.someone(t)
			if instance != nil && rapid.Bool().Draw(t, "by instance") {
				id = ""
			}
			leave.Members = append(leave.Members, Leaver{MemberID: id, InstanceID: instance})
		}
		p.send(t, leave)
	case "commit":
		id, instance := p.someone(t)
		_ = p.group.CheckCommit(p.now, id, instance, p.generation(t))
	case "wait":
		d := time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second
		p.advance(d, func(_ coordinator.TimerKey, o coordinator.Outcome) { p.hear(t, o) })
	case "restart":
		p.told, p.highest = map[int32]string{}, 0
		p.hear(t, p.restart())
	case "large":
		p.tooLarge = true
	}
}

func (p *population) join(t *rapid.T) Join {
	j := Join{
		ClientID:         "client",
		SessionTimeout:   time.Duration(rapid.IntRange(5, 20).Draw(t, "session")) * time.Second,
		RebalanceTimeout: time.Duration(rapid.IntRange(5, 30).Draw(t, "rebalance")) * time.Second,
		ProtocolType:     "consumer",
	}
	if rapid.IntRange(0, 9).Draw(t, "type") == 0 {
		j.ProtocolType = "connect"
	}
	all := []string{"range", "roundrobin", "sticky"}
	for range rapid.IntRange(1, 3).Draw(t, "protocols") {
		name := rapid.SampledFrom(all).Draw(t, "protocol")
		said := []byte{0, 0, 0, 0, 0, byte(rapid.IntRange(0, 1).Draw(t, "topics")), 0, 1, 't', 255, 255, 255, 255}
		j.Protocols = append(j.Protocols, Protocol{Name: name, Metadata: said})
	}
	return j
}

// someone is as a rule a member, under its own name.
func (p *population) someone(t *rapid.T) (string, *string) {
	if members := p.group.Members(); len(members) > 0 && rapid.IntRange(0, 9).Draw(t, "who") > 0 {
		m := members[rapid.IntRange(0, len(members)-1).Draw(t, "member")]
		return m.MemberID, m.InstanceID
	}
	if len(p.ids) > 0 {
		return rapid.SampledFrom(p.ids).Draw(t, "id"), nil
	}
	return "nobody", nil
}

func (p *population) generation(t *rapid.T) int32 {
	if rapid.IntRange(0, 9).Draw(t, "fresh") > 0 {
		return p.group.Generation()
	}
	return p.group.Generation() + int32(rapid.IntRange(-1, 1).Draw(t, "off by"))
}

func (p *population) send(t *rapid.T, cmd any) {
	before := p.group.Generation()
	to, o := p.ask(cmd)
	p.owners[to] = cmd
	p.hear(t, o)
	if p.group.Generation() < before {
		t.Fatalf("generation %d after %d", p.group.Generation(), before)
	}
}

// hear checks what was told and written.
func (p *population) hear(t *rapid.T, o coordinator.Outcome) {
	for _, r := range o.Records {
		p.hearRecord(t, recordOf(r))
	}
	wasTooLarge := slices.ContainsFunc(o.Notes, func(n coordinator.Note) bool {
		return strings.HasSuffix(n.Text, "its record could not be written")
	})
	for _, r := range o.Replies {
		switch reply := r.Body.(type) {
		case JoinReply:
			p.hearJoin(t, reply)
		case SyncReply:
			asked := p.owners[r.To].(Sync)
			if reply.Err != nil || wasTooLarge {
				continue
			}
			if has := p.assignments[asked.Generation][asked.MemberID]; has != string(reply.Assignment) {
				t.Fatalf("%s has %q in generation %d, and is told %q",
					asked.MemberID, has, asked.Generation, reply.Assignment)
			}
		}
	}
}

func (p *population) hearRecord(t *rapid.T, r *recordGroup) {
	has := map[string]string{}
	for _, m := range r.Members {
		has[m.MemberID] = string(m.Assignment)
		if m.InstanceID == nil {
			if before, ok := p.assignments[r.Generation]; ok && before[m.MemberID] != has[m.MemberID] {
				t.Fatalf("generation %d gave %s first %q, then %q",
					r.Generation, m.MemberID, before[m.MemberID], m.Assignment)
			}
		}
	}
	p.assignments[r.Generation] = has
}

func (p *population) hearJoin(t *rapid.T, reply JoinReply) {
	if reply.MemberID != "" && !slices.Contains(p.ids, reply.MemberID) {
		p.ids = append(p.ids, reply.MemberID)
	}
	if reply.Err != nil {
		return
	}
	if reply.Generation < p.highest {
		t.Fatalf("%s is told of generation %d after %d", reply.MemberID, reply.Generation, p.highest)
	}
	p.highest = reply.Generation
	if said, ok := p.told[reply.Generation]; ok && said != *reply.Protocol {
		t.Fatalf("generation %d has the protocols %s and %s", reply.Generation, said, *reply.Protocol)
	}
	p.told[reply.Generation] = *reply.Protocol
	if (reply.Leader == reply.MemberID) != (len(reply.Members) > 0) {
		t.Fatalf("%s is told of leader %s and of %d members", reply.MemberID, reply.Leader, len(reply.Members))
	}
	if len(reply.Members) > 0 && len(reply.Members) != p.group.Size() {
		t.Fatalf("the leader is told of %d members of %d", len(reply.Members), p.group.Size())
	}
}

func (p *population) check(t *rapid.T) {
	p.checkBooks()
	if s := p.group.State(); s != Stable && s != Empty || s == Empty && p.stale {
		return // on the way, or the record of the empty group was too large
	}
	if live, replayed := recorded(p.group), recorded(p.replay()); live != replayed {
		t.Fatalf("the group is\n%sits records give\n%s", live, replayed)
	}
}
