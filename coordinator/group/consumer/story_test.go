package consumer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/subscription"
	"spate/kafka"
)

// Goal: what each request does to a consumer group can be read aloud. Method: stories in testdata, run with -rewrite
// after a change that is meant. A story is one group from its first member on; each step prints the records, the timers
// and the replies. After each step the group is also built from its log, and from its log as compacted, and compared.
//
//	settings [session=45s] [interval=1s] [max=2] [migration=disabled|upgrade|downgrade|both] [assignors=range]
//	topic NAME partitions=N [replicas=1,2]; drop NAME; broker ID [rack=r]
//	beat MEMBER epoch=N [instance=i] [topics=a+b] [regex=r] [owned=a:0,1;b:2|owned=-] [timeout=60s] [assignor=range]
//	     [rack=r] [v=1] [client=c]        a member that joins gives timeout=60s and owned=- unless it says otherwise
//	join MEMBER [instance=i] [topics=a] [owned=a:0] [protocols=range,cooperative] [type=consumer] [known] [user=x]
//	sync MEMBER generation=N [instance=i] [protocol=range] [type=consumer] [userdata]: a leader's: MEMBER a:0+1 a line
//	heartbeat MEMBER generation=N
//	leave MEMBER... [instance=i]
//	wait 5s                               time passes, and timers fire
//	commit MEMBER epoch=N [v=9] [txn] a:0,1
//	fetch MEMBER|- epoch=N
//	describe; state; restart; deleted
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &story{world: newWorld()}
		s.world.complain = t.Fatalf
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.world.complain = func(format string, args ...any) { d.Fatalf(t, format, args...) }
			return s.step(t, d)
		})
	})
}

type story struct {
	*world
	drawn int
}

func (s *story) step(t *testing.T, d *datadriven.TestData) string {
	a := arguments{d}
	switch d.Cmd {
	case "settings":
		s.configure(t, a)
		return ""
	case "topic":
		var replicas []kafka.BrokerID
		for _, id := range a.list("replicas") {
			replicas = append(replicas, kafka.BrokerID(number(t, id)))
		}
		s.topic(a.first(), a.number(t, "partitions", 1), replicas...)
		return ""
	case "drop":
		s.world.drop(a.first())
		return ""
	case "broker":
		s.broker(kafka.BrokerID(number(t, a.first())), a.optional("rack"))
		return ""
	case "beat":
		return s.show(s.ask(s.heartbeat(t, a)))
	case "join":
		return s.show(s.ask(s.join(t, a)))
	case "sync":
		return s.show(s.ask(classic.Sync{
			MemberID: a.first(), InstanceID: a.optional("instance"), Generation: int32(a.number(t, "generation", 0)),
			Protocol: a.optional("protocol"), ProtocolType: a.optional("type"), Assignments: s.assignments(t, a),
		}))
	case "heartbeat":
		return s.show(s.ask(classic.Heartbeat{
			MemberID: a.first(), InstanceID: a.optional("instance"), Generation: int32(a.number(t, "generation", 0)),
		}))
	case "leave":
		var leavers []classic.Leaver
		for _, arg := range d.CmdArgs {
			if len(arg.Vals) == 0 {
				leavers = append(leavers, classic.Leaver{MemberID: arg.Key, InstanceID: a.optional("instance")})
			}
		}
		if len(leavers) == 0 {
			leavers = []classic.Leaver{{InstanceID: a.optional("instance")}}
		}
		return s.show(s.ask(classic.Leave{Members: leavers}))
	case "wait":
		return s.wait(t, a.first())
	case "restart":
		return s.show(s.restart())
	}
	return s.query(t, a)
}

// query answers the commands that change nothing.
func (s *story) query(t *testing.T, a arguments) string {
	switch a.Cmd {
	case "commit":
		return s.commit(t, a)
	case "fetch":
		var id *string
		if a.first() != "-" {
			id = new(a.first())
		}
		return showError(s.group.CheckFetch(id, int32(a.number(t, "epoch", -1)))) + "\n"
	case "describe":
		return s.describe()
	case "state":
		if s.classic != nil {
			return "classic " + s.classic.State().String() + "\n"
		}
		return dump(s.group, s.topics)
	case "deleted":
		if err := s.group.CheckDelete(); err != nil {
			return err.Error() + "\n"
		}
		return s.show(s.carryOut(coordinator.Outcome{Records: s.group.Tombstones()}))
	}
	t.Fatalf("unknown command %q", a.Cmd)
	return ""
}

func (s *story) configure(t *testing.T, a arguments) {
	s.settings.SessionTimeout = a.duration(t, "session", s.settings.SessionTimeout)
	s.settings.AssignmentInterval = a.duration(t, "interval", s.settings.AssignmentInterval)
	s.settings.SizeMax = a.number(t, "max", s.settings.SizeMax)
	if assignors := a.list("assignors"); assignors != nil {
		s.settings.Assignors = assignors
	}
	if policy := a.optional("migration"); policy != nil {
		s.settings.Upgrade = *policy == "upgrade" || *policy == "both"
		s.settings.Downgrade = *policy == "downgrade" || *policy == "both"
	}
	if s.group != nil {
		s.group.Configure(s.settings)
	}
}

func (s *story) heartbeat(t *testing.T, a arguments) Heartbeat {
	h := Heartbeat{
		MemberID: a.first(), MemberEpoch: int32(a.number(t, "epoch", 0)), InstanceID: a.optional("instance"),
		RackID: a.optional("rack"), RebalanceTimeoutMs: -1, SubscribedTopics: a.list("topics"),
		SubscribedRegex: a.optional("regex"), ServerAssignor: a.optional("assignor"),
		ClientID: "c", ClientHost: "/h", APIVersion: int16(a.number(t, "v", 1)),
	}
	if client := a.optional("client"); client != nil {
		h.ClientID = *client
	}
	if h.MemberID == "-" {
		h.MemberID = ""
		s.drawn++
		h.NewMemberID = fmt.Sprintf("new%d", s.drawn)
	}
	owned := a.optional("owned")
	if h.MemberEpoch == 0 {
		h.RebalanceTimeoutMs, h.Owned = 60000, []TopicPartitions{}
	}
	if owned != nil {
		h.Owned = []TopicPartitions{}
		for topic, partitions := range s.partitions(t, *owned) {
			h.Owned = append(h.Owned, TopicPartitions{TopicID: topic, Partitions: partitions})
		}
	}
	if timeout := a.optional("timeout"); timeout != nil {
		h.RebalanceTimeoutMs = int32(a.duration(t, "timeout", 0).Milliseconds())
	}
	return h
}

// partitions reads a:0,1;b:2, or - for none.
func (s *story) partitions(t *testing.T, text string) map[kafka.UUID][]int32 {
	ids := map[string]kafka.UUID{}
	for id, name := range s.topics {
		ids[name] = id
	}
	all := map[kafka.UUID][]int32{}
	for part := range strings.SplitSeq(text, ";") {
		if part == "-" {
			continue
		}
		name, numbers, _ := strings.Cut(part, ":")
		for n := range strings.SplitSeq(numbers, "+") {
			all[ids[name]] = append(all[ids[name]], int32(number(t, n)))
		}
	}
	return all
}

func (s *story) join(t *testing.T, a arguments) classic.Join {
	j := classic.Join{
		MemberID: a.first(), InstanceID: a.optional("instance"), ClientID: "c", ClientHost: "/h",
		SessionTimeout: 30 * time.Second, RebalanceTimeout: 60 * time.Second, ProtocolType: "consumer",
		NeedsKnownMember: a.HasArg("known"),
	}
	j.SessionTimeout = a.duration(t, "session", j.SessionTimeout)
	if j.MemberID == "-" {
		j.MemberID = ""
		s.drawn++
		j.NewMemberID = fmt.Sprintf("new%d", s.drawn)
	}
	if kind := a.optional("type"); kind != nil {
		j.ProtocolType = *kind
	}
	told := subscription.Subscription{
		Version: 3, Topics: a.list("topics"), Generation: -1, Rack: a.optional("rack"),
	}
	if owned := a.optional("owned"); owned != nil {
		partitions := s.partitions(t, *owned)
		for _, id := range sortedIDs(partitions) {
			told.Owned = append(told.Owned,
				subscription.TopicPartitions{Topic: s.topics[id], Partitions: partitions[id]})
		}
	}
	protocols := a.list("protocols")
	if protocols == nil {
		protocols = []string{"range"}
	}
	for _, name := range protocols {
		j.Protocols = append(j.Protocols, classic.Protocol{Name: name, Metadata: told.Append(nil)})
	}
	if a.HasArg("malformed") {
		j.Protocols[0].Metadata = []byte{0}
	}
	return j
}

// assignments reads what a leader assigns, one member a line: MEMBER a:0+1;b:2
func (s *story) assignments(t *testing.T, a arguments) []classic.MemberAssignment {
	var all []classic.MemberAssignment
	for line := range strings.Lines(a.Input) {
		member, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		share := subscription.Assignment{Version: 1}
		if a.HasArg("userdata") {
			share.UserData = []byte("x")
		}
		partitions := s.partitions(t, text)
		for _, id := range sortedIDs(partitions) {
			share.Partitions = append(share.Partitions,
				subscription.TopicPartitions{Topic: s.topics[id], Partitions: partitions[id]})
		}
		all = append(all, classic.MemberAssignment{MemberID: member, Assignment: share.Append(nil)})
	}
	return all
}

func (s *story) commit(t *testing.T, a arguments) string {
	check, err := s.group.CheckCommit(Committer{
		MemberID: strings.Trim(a.first(), "-"), MemberEpoch: int32(a.number(t, "epoch", -1)),
		Transactional: a.HasArg("txn"), APIVersion: int16(a.number(t, "v", 9)),
	})
	if err != nil {
		return showError(err) + "\n"
	}
	var b strings.Builder
	for line := range strings.Lines(a.Input) {
		partitions := s.partitions(t, strings.TrimSpace(line))
		for _, id := range sortedIDs(partitions) {
			for _, p := range partitions[id] {
				fmt.Fprintf(&b, "%s-%d %s\n", s.topics[id], p, showError(check.Partition(s.topics[id], id, p)))
			}
		}
	}
	return b.String()
}

func (s *story) describe() string {
	d := s.group.Describe(s.cluster)
	var b strings.Builder
	fmt.Fprintf(&b, "%s epoch=%d target=%d assignor=%s\n", d.State, d.GroupEpoch, d.AssignmentEpoch, d.Assignor)
	show := func(list []NamedPartitions) string {
		var parts []string
		for _, p := range list {
			parts = append(parts, fmt.Sprint(p.Topic, p.Partitions))
		}
		return strings.Join(parts, " ")
	}
	for _, m := range d.Members {
		fmt.Fprintf(&b, "  %s epoch=%d topics=%v regex=%q has %s target %s classic=%v\n", m.MemberID, m.MemberEpoch,
			m.SubscribedTopics, *m.SubscribedRegex, show(m.Assignment), show(m.Target), m.Classic)
	}
	return b.String()
}

// wait lets time pass and fires what is due on the way.
func (s *story) wait(t *testing.T, text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	until := s.now.Add(d)
	var b strings.Builder
	for {
		key, ok := s.next(until)
		if !ok {
			s.now = until
			return b.String()
		}
		fmt.Fprintf(&b, "%s fires\n", showTimer(key))
		b.WriteString(s.show(s.fire(key)))
	}
}

// show prints an outcome.
func (s *story) show(out coordinator.Outcome) string {
	var b strings.Builder
	for _, note := range out.Notes {
		fmt.Fprintf(&b, "note: %s\n", note.Text)
	}
	for _, r := range out.Records {
		fmt.Fprintf(&b, "%s\n", showRecord(r, s.topics))
	}
	for _, timer := range out.Timers {
		if timer.At.IsZero() {
			fmt.Fprintf(&b, "stop %s\n", showTimer(timer.Key))
		} else {
			fmt.Fprintf(&b, "timer %s in %v\n", showTimer(timer.Key), timer.At.Sub(s.now))
		}
	}
	for _, reply := range out.Replies {
		to := ""
		if reply.To != s.token {
			to = fmt.Sprintf(" (to %d)", reply.To)
		}
		fmt.Fprintf(&b, "=>%s %s\n", to, s.showReply(reply))
	}
	return b.String()
}

func (s *story) showReply(reply coordinator.Reply) string {
	if reply.Err != nil {
		return showError(reply.Err)
	}
	switch r := reply.Body.(type) {
	case HeartbeatReply:
		if r.Err != nil {
			return kafka.ErrorOf(kafka.CodeOf(r.Err)).Error() + ": " + *r.Message
		}
		text := fmt.Sprintf("%s epoch=%d every %v", *r.MemberID, r.MemberEpoch, r.HeartbeatInterval)
		if r.Assignment != nil {
			var parts []string
			for _, p := range r.Assignment {
				parts = append(parts, s.topics[p.TopicID]+fmt.Sprint(p.Partitions))
			}
			text += " has " + strings.Join(append(parts, "."), " ")
		}
		return text
	case classic.JoinReply:
		if r.Err != nil {
			return fmt.Sprintf("%s member=%s", showError(r.Err), r.MemberID)
		}
		return fmt.Sprintf("%s generation=%d %s %s leader=%q",
			r.MemberID, r.Generation, *r.ProtocolType, *r.Protocol, r.Leader)
	case classic.SyncReply:
		if r.Err != nil {
			return showError(r.Err)
		}
		return showAssignment(r.Assignment)
	case classic.HeartbeatReply:
		return showError(r.Err)
	case classic.LeaveReply:
		var parts []string
		for _, m := range r.Members {
			parts = append(parts, fmt.Sprintf("%s: %s", m.MemberID, showError(m.Err)))
		}
		return strings.Join(append(parts, showError(r.Err)), "; ")
	}
	return fmt.Sprintf("%T", reply.Body)
}

func showError(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

func showTimer(key coordinator.TimerKey) string {
	names := map[uint8]string{
		TimerSession: "session", TimerRebalance: "rebalance", TimerJoin: "join", TimerSync: "sync", TimerRegex: "regex",
		TimerDowngraded: "downgraded", 1: "classic-session", 2: "classic-join", 3: "classic-sync",
	}
	return strings.TrimSpace(names[key.Kind] + " " + key.Member)
}

// arguments reads the arguments of a step.
type arguments struct{ *datadriven.TestData }

func (a arguments) first() string {
	if len(a.CmdArgs) == 0 || len(a.CmdArgs[0].Vals) > 0 {
		return ""
	}
	return a.CmdArgs[0].Key
}

func (a arguments) list(name string) []string {
	i := slices.IndexFunc(a.CmdArgs, func(arg datadriven.CmdArg) bool { return arg.Key == name })
	if i < 0 || len(a.CmdArgs[i].Vals) == 0 {
		return nil
	}
	if a.CmdArgs[i].Vals[0] == "-" {
		return []string{}
	}
	return strings.Split(a.CmdArgs[i].Vals[0], "+")
}

func (a arguments) optional(name string) *string {
	i := slices.IndexFunc(a.CmdArgs, func(arg datadriven.CmdArg) bool { return arg.Key == name })
	if i < 0 {
		return nil
	}
	if len(a.CmdArgs[i].Vals) == 0 {
		return new("")
	}
	return new(strings.Join(a.CmdArgs[i].Vals, ","))
}

func (a arguments) number(t *testing.T, name string, missing int) int {
	text := a.optional(name)
	if text == nil {
		return missing
	}
	return number(t, *text)
}

func (a arguments) duration(t *testing.T, name string, missing time.Duration) time.Duration {
	text := a.optional(name)
	if text == nil {
		return missing
	}
	d, err := time.ParseDuration(*text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func number(t *testing.T, text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
