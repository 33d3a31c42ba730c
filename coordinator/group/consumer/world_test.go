package consumer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
	"spate/metadata/image"
	metadata "spate/metadata/record"
)

// world is a shard with one group and a cluster to read from: it carries outcomes out, keeps the log, and checks after
// each turn that a replay of the log gives the same group.
type world struct {
	now      time.Time
	img      *image.Image
	cluster  *Cluster
	topics   map[kafka.UUID]string // names, also of deleted topics
	lastID   uint32
	settings Settings

	group     *Group         // nil if the group is none or a classic one
	classic   *classic.Group // nil if the group is none or a consumer group
	log       []coordinator.Record
	timers    map[coordinator.TimerKey]time.Time
	token     coordinator.Token
	complain  func(format string, args ...any)
	unchecked bool // replays are not compared
}

const groupID = "g"

func newWorld() *world {
	w := &world{
		now: time.UnixMilli(100_000_000), img: image.Empty("cluster"), topics: map[kafka.UUID]string{},
		timers:   map[coordinator.TimerKey]time.Time{},
		complain: func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) },
		settings: Settings{
			SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second,
			RegexRefreshInterval: 10 * time.Minute, SizeMax: 100, Assignors: []string{"uniform", "range"},
			Upgrade: true, Downgrade: true,
			Classic: classic.Settings{
				SessionTimeoutMin: 6 * time.Second, SessionTimeoutMax: 30 * time.Minute, SizeMax: 100,
			},
		},
	}
	w.cluster = NewCluster(w.img)
	return w
}

// change applies records to the metadata.
func (w *world) change(records ...metadata.Record) {
	b := image.NewBuilder(w.img)
	for _, r := range records {
		if err := b.Apply(r); err != nil {
			w.complain("metadata: %v", err)
		}
	}
	b.AdvanceTo(w.img.EndOffset()+kafka.Offset(len(records)), 1)
	next, delta := b.Build()
	w.img = next
	w.cluster.Follow(next, delta)
}

func (w *world) broker(id kafka.BrokerID, rack *string) {
	w.change(&metadata.RegisterBroker{BrokerID: id, IncarnationID: kafka.UUID{byte(id)}, Rack: rack})
}

// topic makes a topic, or gives it more partitions. replicas are those of each partition.
func (w *world) topic(name string, partitions int, replicas ...kafka.BrokerID) {
	var records []metadata.Record
	id, have := kafka.ZeroUUID, 0
	if t := w.img.Topic(name); t != nil {
		id, have = t.ID, len(t.Partitions)
	} else {
		w.lastID++
		id[0] = 't'
		binary.BigEndian.PutUint32(id[12:], w.lastID)
		w.topics[id] = name
		records = append(records, &metadata.Topic{Name: name, ID: id})
	}
	for i := have; i < partitions; i++ {
		records = append(records, &metadata.Partition{
			Index: kafka.PartitionIndex(i), TopicID: id, Replicas: replicas, ISR: replicas,
			Directories: make([]kafka.UUID, len(replicas)), Leader: kafka.NoBroker,
		})
	}
	w.change(records...)
}

func (w *world) drop(name string) {
	w.change(&metadata.RemoveTopic{ID: w.img.Topic(name).ID})
}

// ask hands a command to the group, as a shard does, and gives the outcome after it was carried out.
func (w *world) ask(cmd any) coordinator.Outcome {
	w.token++
	switch cmd := cmd.(type) {
	case Heartbeat:
		if w.classic != nil {
			return w.carryOut(Upgrade(w.now, w.cluster, w.classic, w.settings, w.token, cmd))
		}
		if w.group == nil {
			return w.carryOut(New(groupID, w.settings).Decide(w.now, w.cluster, w.token, cmd))
		}
	case classic.Join:
		if w.group == nil || w.group.State() == Empty {
			var out coordinator.Outcome
			if w.group != nil {
				w.carryOut(coordinator.Outcome{Records: w.group.Tombstones()})
			}
			if w.classic == nil {
				w.classic = classic.New(groupID, w.settings.Classic)
			}
			out.Join(w.classic.Decide(w.now, w.token, cmd))
			return w.carryOut(out)
		}
	}
	switch {
	case w.group != nil:
		return w.carryOut(w.group.Decide(w.now, w.cluster, w.token, cmd))
	case w.classic != nil:
		return w.carryOut(w.classic.Decide(w.now, w.token, cmd))
	}
	return w.carryOut(New(groupID, w.settings).Decide(w.now, w.cluster, w.token, cmd))
}

func (w *world) carryOut(out coordinator.Outcome) coordinator.Outcome {
	for _, r := range out.Records {
		w.log = append(w.log, r)
		w.apply(r)
	}
	for _, timer := range out.Timers {
		if timer.At.IsZero() {
			delete(w.timers, timer.Key)
		} else {
			w.timers[timer.Key] = timer.At
		}
	}
	if len(out.Records) > 0 && !w.unchecked {
		w.checkReplay()
	}
	return out
}

func (w *world) apply(r coordinator.Record) {
	if r, ok := r.(*record.Group); ok {
		if r.Deleted {
			w.classic = nil
			return
		}
		if w.classic == nil {
			w.classic = classic.New(groupID, w.settings.Classic)
		}
		w.classic.Apply(r)
		return
	}
	if w.group == nil {
		w.group = New(groupID, w.settings)
	}
	w.group.Apply(r)
	if !w.group.Exists() {
		w.group = nil
	}
}

// checkReplay builds the group from its log, once as it is and once as a compaction would leave it, and compares.
func (w *world) checkReplay() {
	want := dump(w.group, w.topics)
	replayed, compacted := &world{settings: w.settings}, &world{settings: w.settings}
	last := map[string]int{}
	for i, r := range w.log {
		last[string(r.AppendKey(nil))] = i
		replayed.apply(r)
	}
	for i, r := range w.log {
		_, kept := r.AppendValue(nil)
		if last[string(r.AppendKey(nil))] == i && kept {
			compacted.apply(r)
		}
	}
	if got := dump(replayed.group, w.topics); got != want {
		w.complain("replay differs:\n%s\nlive:\n%s", got, want)
	}
	if got := dump(compacted.group, w.topics); got != want {
		w.complain("replay of the compacted log differs:\n%s\nlive:\n%s", got, want)
	}
}

// restart builds the group from its log and forgets all that is volatile.
func (w *world) restart() coordinator.Outcome {
	w.group, w.classic = nil, nil
	clear(w.timers)
	for _, r := range w.log {
		w.apply(r)
	}
	switch {
	case w.group != nil:
		return w.carryOut(w.group.Loaded(w.now))
	case w.classic != nil:
		return w.carryOut(w.classic.Loaded(w.now))
	}
	return coordinator.Outcome{}
}

// next is the timer that fires first, until a time.
func (w *world) next(until time.Time) (coordinator.TimerKey, bool) {
	var due []coordinator.TimerKey
	for key, at := range w.timers {
		if !at.After(until) {
			due = append(due, key)
		}
	}
	slices.SortFunc(due, func(a, b coordinator.TimerKey) int {
		return cmp.Or(w.timers[a].Compare(w.timers[b]),
			cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Member, b.Member))
	})
	if len(due) == 0 {
		return coordinator.TimerKey{}, false
	}
	return due[0], true
}

// fire fires a timer, and advances the clock to it.
func (w *world) fire(key coordinator.TimerKey) coordinator.Outcome {
	if at := w.timers[key]; at.After(w.now) {
		w.now = at
	}
	delete(w.timers, key)
	switch {
	case key.Kind == TimerDowngraded && w.classic != nil:
		out := w.carryOut(w.classic.Loaded(w.now))
		if key.Member == RebalanceDowngraded {
			out.Join(w.carryOut(w.classic.Rebalance(w.now, "the last consumer member left")))
		}
		return out
	case key.Kind < TimerSession && w.classic != nil:
		return w.carryOut(w.classic.Fired(w.now, key))
	case key.Kind >= TimerSession && w.group != nil:
		return w.carryOut(w.group.Fired(w.now, w.cluster, key))
	}
	return coordinator.Outcome{}
}

// dump is all that replays have to agree on.
func dump(g *Group, topics map[kafka.UUID]string) string {
	if g == nil {
		return "none\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s epoch=%d target=%d members=%d classic=%d\n",
		g.State(), g.epoch, g.targetEpoch, len(g.members), g.classicMembers)
	for _, id := range sortedKeys(g.members) {
		m := g.members[id]
		fmt.Fprintf(&b, "  %s\n  %s\n", showRecord(subscriptionRecord(m), topics), showRecord(m.current(), topics))
	}
	for _, id := range sortedKeys(g.target) {
		fmt.Fprintf(&b, "  %s\n", showRecord(g.targetRecord(id, g.target[id]), topics))
	}
	for _, regex := range sortedKeys(g.resolved) {
		fmt.Fprintf(&b, "  %s\n", showRecord(g.resolved[regex], topics))
	}
	for _, topic := range sortedIDs(g.owners) {
		for _, partition := range sortedKeys(g.owners[topic]) {
			fmt.Fprintf(&b, "  owner %s-%d %s\n", topics[topic], partition, g.owners[topic][partition])
		}
	}
	for _, topic := range sortedKeys(g.subscribed) {
		fmt.Fprintf(&b, "  subscribed %s %v\n", topic, g.subscribed[topic])
	}
	fmt.Fprintf(&b, "  regexes=%v assignors=%v protocols=%v instances=%v\n",
		g.regexes, g.assignors, g.classicProtocols, g.instances)
	return b.String()
}

// showRecord prints a record in one line.
func showRecord(r coordinator.Record, topics map[kafka.UUID]string) string {
	if _, kept := r.AppendValue(nil); !kept {
		return "delete " + showKey(r)
	}
	switch r := r.(type) {
	case *record.Member:
		return showMember(r)
	case *record.ConsumerGroup:
		return fmt.Sprintf("group epoch=%d topics=%s", r.Epoch, showHash(r.MetadataHash))
	case *record.Target:
		return fmt.Sprintf("target epoch=%d at=%d", r.Epoch, r.Timestamp)
	case *record.TargetMember:
		return fmt.Sprintf("target %s %s", r.MemberID, showPartitions(r.Partitions, topics))
	case *record.CurrentMember:
		s := fmt.Sprintf("current %s epoch=%d previous=%d %s %s", r.MemberID, r.MemberEpoch, r.PreviousMemberEpoch,
			map[int8]string{stable: "stable", unrevoked: "unrevoked", unreleased: "unreleased"}[r.State],
			showPartitions(r.Assigned, topics))
		if len(r.PendingRevocation) > 0 {
			s += " revoking " + showPartitions(r.PendingRevocation, topics)
		}
		return s
	case *record.RegularExpression:
		return fmt.Sprintf("regex %s topics=%s version=%d at=%d",
			r.Regex, strings.Join(r.Topics, ","), r.Version, r.Timestamp)
	case *record.Group:
		s := fmt.Sprintf("classic generation=%d", r.Generation)
		if r.Protocol != nil && r.Leader != nil {
			s += fmt.Sprintf(" protocol=%s leader=%s", *r.Protocol, *r.Leader)
		}
		for _, m := range r.Members {
			s += fmt.Sprintf("\n  %s %s", m.MemberID, showAssignment(m.Assignment))
		}
		return s
	}
	return fmt.Sprintf("%T", r)
}

// showAssignment prints what a member of the classic protocol is given.
func showAssignment(b []byte) string {
	a, err := subscription.ParseAssignment(b)
	if err != nil {
		return err.Error()
	}
	if len(a.Partitions) == 0 {
		return "-"
	}
	var parts []string
	for _, t := range a.Partitions {
		parts = append(parts, t.Topic+":"+strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Partitions), " ", ","), "[]"))
	}
	return strings.Join(parts, " ")
}

func showHash(hash int64) string {
	if hash == 0 {
		return "none"
	}
	return fmt.Sprintf("%04x", uint16(hash))
}

func showKey(r coordinator.Record) string {
	switch r := r.(type) {
	case *record.Member:
		return "member " + r.MemberID
	case *record.ConsumerGroup:
		return "group"
	case *record.Target:
		return "target"
	case *record.TargetMember:
		return "target " + r.MemberID
	case *record.CurrentMember:
		return "current " + r.MemberID
	case *record.RegularExpression:
		return "regex " + r.Regex
	case *record.PartitionMetadata:
		return "partition-metadata"
	case *record.Group:
		return "classic"
	}
	return fmt.Sprintf("%T", r)
}

func showMember(r *record.Member) string {
	s := fmt.Sprintf("member %s topics=%s", r.MemberID, strings.Join(r.SubscribedTopics, ","))
	if r.SubscribedRegex != nil && *r.SubscribedRegex != "" {
		s += " regex=" + *r.SubscribedRegex
	}
	for _, field := range []struct {
		name  string
		value *string
	}{{"instance", r.InstanceID}, {"rack", r.RackID}, {"assignor", r.ServerAssignor}} {
		if field.value != nil {
			s += " " + field.name + "=" + *field.value
		}
	}
	s += fmt.Sprintf(" timeout=%dms client=%s%s", r.RebalanceTimeoutMs, r.ClientID, r.ClientHost)
	if r.Classic != nil {
		s += fmt.Sprintf(" classic session=%dms", r.Classic.SessionTimeoutMs)
		for _, p := range r.Classic.SupportedProtocols {
			s += " " + p.Name
		}
	}
	return s
}

func showPartitions(list []record.TopicPartitions, topics map[kafka.UUID]string) string {
	if len(list) == 0 {
		return "-"
	}
	var parts []string
	for _, t := range list {
		var numbers []string
		for i, partition := range t.Partitions {
			number := fmt.Sprint(partition)
			if t.AssignmentEpochs != nil {
				number += fmt.Sprintf("@%d", t.AssignmentEpochs[i])
			}
			numbers = append(numbers, number)
		}
		parts = append(parts, topics[t.TopicID]+":"+strings.Join(numbers, ","))
	}
	return strings.Join(parts, " ")
}
