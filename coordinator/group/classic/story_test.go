package classic

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
)

// Goal: what each command and timer does can be read aloud. Method: stories in testdata, run with -rewrite after a
// change that is meant. A story is the life of one group; each step prints the records, the replies and the timers.
//
//	settings [delay=3s] [max=3]       first, if the limits matter
//	join new=A | member=A [instance=i] [session=10s] [rebalance=60s] [type=consumer] [protocols=(range:t1+t2,x!raw)]
//	     [v=9] [client=c] [reason=why]
//	sync member=A generation=1 [instance=i] [type=t] [protocol=p] [assign=(A:x,B:y)]
//	heartbeat member=A generation=1 [instance=i]
//	leave                             one member a line: [member=A] [instance=i] [reason=why]
//	commit [member=A] [instance=i] [generation=1]
//	wait 3s                           timers fire
//	too-large                         the next record does not fit into a batch
//	restart                           the group is built from its records
//	delete                            the deletion record is applied
//	release | adopt generation=7      conversion into and out of a consumer group
//	describe | topics | waiting

func TestStories(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		s := &story{world: newWorld(storySettings(), t.Errorf)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out := s.step(t, d)
			if s.released || s.group.state == Dead {
				return out
			}
			s.checkBooks()
			return out + fmt.Sprintf("%s, generation %d\n", s.group.State(), s.group.Generation())
		})
	}
}

func storySettings() Settings {
	return Settings{
		SessionTimeoutMin:     6 * time.Second,
		SessionTimeoutMax:     30 * time.Minute,
		InitialRebalanceDelay: 3 * time.Second,
		SizeMax:               1000,
	}
}

type story struct {
	*world
	released bool
}

func (s *story) step(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "settings":
		return s.limits(t, d)
	case "join":
		return s.command(s.join(t, d))
	case "sync":
		return s.command(s.sync(t, d))
	case "heartbeat":
		h := Heartbeat{MemberID: text(d, "member"), InstanceID: optional(d, "instance"), Generation: number(t, d)}
		return s.command(h)
	case "leave":
		return s.command(leave(d.Input))
	case "commit":
		return showError(s.group.CheckCommit(s.now, text(d, "member"), optional(d, "instance"), number(t, d)))
	case "wait":
		return s.wait(t, d)
	case "too-large":
		s.tooLarge = true
		return ""
	case "restart":
		return s.show(s.restart())
	case "delete":
		if err := s.group.CheckDelete(); err != nil {
			return showError(err)
		}
		return s.show(s.follow(coordinator.Outcome{Records: []coordinator.Record{s.group.Tombstone()}}))
	case "release":
		s.released = true
		return s.show(s.follow(s.group.Release(s.now)))
	case "adopt":
		return s.adopt(number(t, d))
	case "rebalance":
		return s.show(s.follow(s.group.Rebalance(s.now, "a test wants it")))
	}
	return s.look(t, d)
}

// look is the steps that change nothing.
func (s *story) look(t *testing.T, d *datadriven.TestData) string {
	g := s.group
	switch d.Cmd {
	case "describe":
		return describe(g.Describe()) + fmt.Sprintf("simple %v, consumer %v, record %v, since %s\n",
			g.IsSimple(), g.IsConsumer(), g.HasRecord(), showTimestamp(g.StateTimestamp()))
	case "topics":
		topics, known := g.SubscribedTopics()
		return fmt.Sprintf("known %v: %v; orders %v, bills %v\n",
			known, topics, g.Subscribes("orders"), g.Subscribes("bills"))
	case "waiting":
		return fmt.Sprintf("%d wait\n", len(s.waiting))
	}
	t.Fatalf("%s: no such step", d.Cmd)
	return ""
}

func (s *story) limits(t *testing.T, d *datadriven.TestData) string {
	settings := storySettings()
	if delay := text(d, "delay"); delay != "" {
		settings.InitialRebalanceDelay = duration(t, delay)
	}
	d.MaybeScanArgs(t, "max", &settings.SizeMax)
	s.settings, s.group.settings = settings, settings
	return ""
}

func (s *story) command(cmd any) string {
	_, o := s.ask(cmd)
	return s.show(o)
}

func (s *story) wait(t *testing.T, d *datadriven.TestData) string {
	var b strings.Builder
	s.advance(duration(t, d.CmdArgs[0].Key), func(key coordinator.TimerKey, o coordinator.Outcome) {
		fmt.Fprintf(&b, "%s: %s fires\n", s.clock(s.now), showTimer(key))
		b.WriteString(s.show(o))
	})
	return b.String() + s.clock(s.now) + "\n"
}

func (s *story) join(t *testing.T, d *datadriven.TestData) Join {
	j := Join{
		MemberID:         text(d, "member"),
		NewMemberID:      text(d, "new"),
		InstanceID:       optional(d, "instance"),
		ClientID:         or(text(d, "client"), "client"),
		ClientHost:       "/127.0.0.1",
		SessionTimeout:   duration(t, or(text(d, "session"), "10s")),
		RebalanceTimeout: duration(t, or(text(d, "rebalance"), "60s")),
		ProtocolType:     "consumer",
		Reason:           text(d, "reason"),
	}
	version := 9
	d.MaybeScanArgs(t, "v", &version)
	j.NeedsKnownMember, j.SkipsAssignment = version >= 4, version >= 9
	if d.HasArg("type") {
		j.ProtocolType = text(d, "type")
	}
	protocols := []string{"range:orders"}
	for _, arg := range d.CmdArgs {
		if arg.Key == "protocols" {
			protocols = arg.Vals
		}
	}
	for _, p := range protocols {
		if name, raw, isRaw := strings.Cut(p, "!"); isRaw {
			j.Protocols = append(j.Protocols, Protocol{Name: name, Metadata: []byte(raw)})
		} else if name, topics, ok := strings.Cut(p, ":"); ok {
			says := subscription.Subscription{Version: 1, Topics: strings.Split(topics, "+")}
			j.Protocols = append(j.Protocols, Protocol{Name: name, Metadata: says.Append(nil)})
		}
	}
	return j
}

func (s *story) sync(t *testing.T, d *datadriven.TestData) Sync {
	sync := Sync{
		MemberID:     text(d, "member"),
		InstanceID:   optional(d, "instance"),
		Generation:   number(t, d),
		ProtocolType: optional(d, "type"),
		Protocol:     optional(d, "protocol"),
	}
	for _, arg := range d.CmdArgs {
		if arg.Key != "assign" {
			continue
		}
		for _, a := range arg.Vals {
			member, assignment, _ := strings.Cut(a, ":")
			sync.Assignments = append(sync.Assignments, MemberAssignment{member, []byte(assignment)})
		}
	}
	return sync
}

func leave(input string) (l Leave) {
	for line := range strings.Lines(input) {
		var one Leaver
		for _, word := range strings.Fields(line) {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "member":
				one.MemberID = value
			case "instance":
				one.InstanceID = &value
			case "reason":
				one.Reason = &value
			}
		}
		l.Members = append(l.Members, one)
	}
	return l
}

// adopt makes a classic group of the members that this one has, as if they came out of a consumer group.
func (s *story) adopt(generation int32) string {
	members := s.group.Members()
	s.released = false
	s.group = Adopt("g", s.settings, s.now, generation, members, func(m Member, metadata []byte) []byte {
		return fmt.Appendf(nil, "%s of %s", m.MemberID, showMetadata(metadata))
	})
	s.timers = map[coordinator.TimerKey]time.Time{}
	o := coordinator.Outcome{Records: []coordinator.Record{s.group.Record()}}
	o.Join(s.group.Loaded(s.now))
	return s.show(s.follow(o))
}

func text(d *datadriven.TestData, key string) string {
	if s := optional(d, key); s != nil {
		return *s
	}
	return ""
}

func optional(d *datadriven.TestData, key string) *string {
	for _, arg := range d.CmdArgs {
		if arg.Key == key {
			value := strings.Join(arg.Vals, " ")
			return &value
		}
	}
	return nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func number(t *testing.T, d *datadriven.TestData) int32 {
	n := -1
	d.MaybeScanArgs(t, "generation", &n)
	return int32(n)
}

func duration(t *testing.T, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *story) clock(at time.Time) string { return fmt.Sprintf("%gs", at.Sub(start).Seconds()) }

func showTimestamp(ts kafka.Timestamp) string {
	if ts == kafka.NoTimestamp {
		return "-"
	}
	return fmt.Sprintf("%gs", float64(int64(ts)-start.UnixMilli())/1000)
}

// show prints an outcome.
func (s *story) show(o coordinator.Outcome) string {
	var b strings.Builder
	for _, n := range o.Notes {
		fmt.Fprintf(&b, "note: %s\n", n.Text)
	}
	for _, r := range o.Records {
		b.WriteString(showRecord(r.(*record.Group)))
	}
	for _, r := range o.Replies {
		fmt.Fprintf(&b, "#%d: %s", r.To, showReply(r))
	}
	for _, timer := range o.Timers {
		if timer.At.IsZero() {
			fmt.Fprintf(&b, "timer: no %s\n", showTimer(timer.Key))
		} else {
			fmt.Fprintf(&b, "timer: %s at %s\n", showTimer(timer.Key), s.clock(timer.At))
		}
	}
	return b.String()
}

func showRecord(r *record.Group) string {
	if r.Deleted {
		return "record: deleted\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "record: generation=%d type=%q protocol=%s leader=%s since=%s\n", r.Generation, r.ProtocolType,
		showString(r.Protocol), showString(r.Leader), showTimestamp(r.StateTimestamp))
	for _, m := range r.Members {
		fmt.Fprintf(&b, "  %s instance=%s client=%s%s rebalance=%d session=%d says=%s has=%q\n", m.MemberID,
			showString(m.InstanceID), m.ClientID, m.ClientHost, m.RebalanceTimeoutMs, m.SessionTimeoutMs,
			showMetadata(m.Subscription), m.Assignment)
	}
	return b.String()
}

func showMetadata(b []byte) string {
	if says, err := subscription.Parse(b); err == nil {
		return fmt.Sprint(says.Topics)
	}
	return fmt.Sprintf("%q", b)
}

func showError(err error) string {
	var code *kafka.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &code):
		return code.Name + "\n"
	}
	return "not a protocol error: " + err.Error() + "\n"
}

func showReply(r coordinator.Reply) string {
	if r.Err != nil {
		return "refused: " + showError(r.Err)
	}
	switch reply := r.Body.(type) {
	case JoinReply:
		return showJoin(reply)
	case SyncReply:
		if reply.Err != nil {
			return "sync " + showError(reply.Err)
		}
		return fmt.Sprintf("sync type=%s protocol=%s has=%q\n",
			showString(reply.ProtocolType), showString(reply.Protocol), reply.Assignment)
	case HeartbeatReply:
		return "heartbeat " + or(showError(reply.Err), "ok\n")
	case LeaveReply:
		out := "leave " + or(showError(reply.Err), "ok\n")
		for _, m := range reply.Members {
			out += fmt.Sprintf("  member=%q instance=%s %s",
				m.MemberID, showString(m.InstanceID), or(showError(m.Err), "ok\n"))
		}
		return out
	}
	return fmt.Sprintf("unknown reply %T\n", r.Body)
}

func showJoin(reply JoinReply) string {
	if reply.Err != nil {
		return fmt.Sprintf("join member=%q generation=%d %s", reply.MemberID, reply.Generation, showError(reply.Err))
	}
	out := fmt.Sprintf("join member=%s generation=%d type=%s protocol=%s leader=%s", reply.MemberID, reply.Generation,
		showString(reply.ProtocolType), showString(reply.Protocol), reply.Leader)
	if reply.SkipAssignment {
		out += " skip"
	}
	out += "\n"
	for _, m := range reply.Members {
		out += fmt.Sprintf("  %s instance=%s says=%s\n", m.MemberID, showString(m.InstanceID), showMetadata(m.Metadata))
	}
	return out
}

func describe(d Description) string {
	out := fmt.Sprintf("%s type=%q protocol=%q\n", d.State, d.ProtocolType, d.Protocol)
	for _, m := range d.Members {
		out += fmt.Sprintf("  %s instance=%s client=%s%s says=%s has=%q\n", m.MemberID,
			showString(m.InstanceID), m.ClientID, m.ClientHost, showMetadata(m.Metadata), m.Assignment)
	}
	return out
}
