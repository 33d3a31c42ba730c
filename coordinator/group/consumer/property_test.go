package consumer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/subscription"
	"spate/kafka"
)

// Goal: whatever happens to requests, answers, members, topics and the coordinator, no partition is with two members at
// once, epochs never go back, a replay of the log gives the same group, and a group whose members behave settles with
// every partition at work. Method: clients of both protocols that believe what they are told and act on it at a time of
// their own; a member that the group has put out does not count, for its client has lost its session.

// place is one partition.
type place struct {
	topic     string
	partition int32
}

type places map[place]bool

// client is a consumer as it sees itself.
type client struct {
	name     string
	classic  bool
	id       string
	instance *string
	topics   []string
	regex    *string

	epoch int32 // or generation; 0: has to join
	owns  places
	// wants is what it was told to have; nil once it has acted on it.
	wants  places
	unsure bool // an answer was lost, or there is something new: the next heartbeat says everything
	rejoin bool // there is something new that a classic member has to join for

	pending *coordinator.Reply // an answer on its way
	waits   coordinator.Token  // for an answer that is parked, 0 for none
	synced  bool               // a classic member that has its assignment
}

type players struct {
	*world
	t        *rapid.T
	clients  []*client
	protocol string // of the classic clients
	made     int
	epoch    int32 // of the group, as last seen
	epochs   map[string]int32
}

func TestRandomMembersNeverShareAPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &players{world: newWorld(), t: t, epochs: map[string]int32{}}
		p.complain = t.Fatalf
		p.protocol = rapid.SampledFrom([]string{"range", "cooperative-sticky"}).Draw(t, "protocol")
		p.settings.AssignmentInterval = rapid.SampledFrom([]time.Duration{0, 2 * time.Second}).Draw(t, "interval")
		p.topic("a", 3)
		p.topic("b", 2)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			p.step()
			p.check()
		}
		p.converge()
	})
}

func (p *players) step() {
	t := p.t
	if len(p.clients) == 0 {
		p.start()
		return
	}
	c := p.clients[rapid.IntRange(0, len(p.clients)-1).Draw(t, "client")]
	switch rapid.IntRange(0, 15).Draw(t, "action") {
	case 0:
		if len(p.clients) < 5 {
			p.start()
		}
	case 1, 2, 3:
		p.send(c)
	case 4:
		p.send(c)
		p.lose(c)
		p.send(c) // the same again, as far as nothing was told in between
	case 5, 6, 7:
		p.receive(c)
	case 8:
		p.lose(c)
	case 9, 10:
		p.act(c)
	case 11:
		p.leave(c)
	case 12:
		p.changeTopics()
	case 13:
		if c.regex == nil {
			c.topics = rapid.SampledFrom([][]string{{"a"}, {"b"}, {"a", "b"}, {"a", "c"}}).Draw(t, "topics")
			c.unsure, c.rejoin = true, true
		}
	case 14:
		p.pass(rapid.SampledFrom([]time.Duration{time.Second, 12 * time.Second, 50 * time.Second}).Draw(t, "time"))
	case 15:
		p.restart()
		p.epoch = 0 // a classic group writes its generation when it is complete only
		for _, c := range p.clients {
			c.waits, c.pending = 0, nil
			c.unsure = true
			// The rebalance after a conversion is forgotten with the coordinator, as in Kafka: another has to come.
			c.rejoin = p.world.classic != nil
		}
	}
	p.pass(0)
}

func (p *players) start() {
	p.made++
	c := &client{
		name: fmt.Sprintf("m%d", p.made), owns: places{}, topics: []string{"a", "b"},
		classic: rapid.Bool().Draw(p.t, "classic"),
	}
	if !c.classic {
		switch rapid.IntRange(0, 3).Draw(p.t, "kind") {
		case 0:
			c.regex, c.topics = new("[ab]"), []string{}
		case 1:
			c.instance = new(fmt.Sprintf("i%d", p.made))
		}
	} else if rapid.IntRange(0, 3).Draw(p.t, "kind") == 0 {
		c.instance = new(fmt.Sprintf("i%d", p.made))
	}
	c.id = c.name
	if c.classic {
		c.id = ""
	}
	p.clients = append(p.clients, c)
}

func (p *players) changeTopics() {
	for _, c := range p.clients { // a leader of the classic protocol watches the metadata
		c.rejoin = true
	}
	switch rapid.IntRange(0, 3).Draw(p.t, "change") {
	case 0:
		p.topic("c", 2)
	case 1:
		if p.img.Topic("c") != nil {
			p.drop("c")
			p.prune("c")
		}
	case 2:
		if n := len(p.img.Topic("a").Partitions); n < 6 {
			p.topic("a", n+1)
		}
	case 3:
		p.drop("b")
		p.prune("b")
		p.topic("b", 2)
	}
}

// prune takes a deleted topic from the clients: there is nothing left to read.
func (p *players) prune(topic string) {
	isGone := func(at place, _ bool) bool { return at.topic == topic }
	for _, c := range p.clients {
		maps.DeleteFunc(c.owns, isGone)
		maps.DeleteFunc(c.wants, isGone)
		if c.classic { // its assignments name topics, so that one on its way may mean the topic that is gone
			p.lose(c)
		}
	}
}

// pass lets time pass, and delivers what timers answer.
func (p *players) pass(d time.Duration) {
	until := p.now.Add(d)
	for {
		key, ok := p.next(until)
		if !ok {
			break
		}
		p.deliver(p.fire(key))
	}
	p.now = until
}

// deliver puts answers on their way.
func (p *players) deliver(out coordinator.Outcome) {
	for _, reply := range out.Replies {
		for _, c := range p.clients {
			if c.waits != 0 && c.waits == reply.To {
				c.waits, c.pending = 0, &reply
			}
		}
	}
}

func (p *players) send(c *client) {
	if c.waits != 0 || c.pending != nil {
		return
	}
	if c.classic && c.rejoin && c.id != "" { // a static member that comes back is not asked at once
		c.epoch, c.rejoin = 0, false
	}
	var cmd any
	switch {
	case !c.classic:
		cmd = p.heartbeatOf(c)
	case c.epoch == 0:
		cmd = p.joinOf(c)
	case !c.synced:
		cmd = classic.Sync{MemberID: c.id, InstanceID: c.instance, Generation: c.epoch}
	default:
		cmd = classic.Heartbeat{MemberID: c.id, InstanceID: c.instance, Generation: c.epoch}
	}
	c.waits = p.token + 1
	p.trace("%s sends %+v", c.name, cmd)
	p.deliver(p.ask(cmd))
}

// trace is printed when the test fails.
func (p *players) trace(format string, args ...any) { p.t.Logf(format, args...) }

// heartbeatOf makes a heartbeat. While the client is about to act on what it was told, it does not say what it owns: it
// could take later what it has said it does not own.
func (p *players) heartbeatOf(c *client) Heartbeat {
	h := Heartbeat{
		MemberID: c.id, MemberEpoch: c.epoch, InstanceID: c.instance, RebalanceTimeoutMs: -1, APIVersion: 1,
	}
	if c.wants == nil {
		h.Owned = p.owned(c)
	}
	if c.epoch == 0 || c.unsure {
		h.RebalanceTimeoutMs, h.SubscribedTopics, h.SubscribedRegex = 30000, c.topics, c.regex
	}
	if c.epoch == 0 {
		h.Owned, c.wants = []TopicPartitions{}, nil
		clear(c.owns)
	}
	c.unsure = c.unsure && h.Owned == nil
	return h
}

func (p *players) owned(c *client) []TopicPartitions {
	var list []TopicPartitions
	for _, at := range sortedPlaces(c.owns) {
		list = append(list, TopicPartitions{TopicID: p.img.Topic(at.topic).ID, Partitions: []int32{at.partition}})
	}
	if list == nil {
		list = []TopicPartitions{}
	}
	return list
}

func (p *players) joinOf(c *client) classic.Join {
	if p.protocol == "range" { // eager: gives back all before it joins
		clear(c.owns)
	}
	c.wants, c.synced = nil, false
	told := subscription.Subscription{Version: 1, Topics: c.topics}
	for _, at := range sortedPlaces(c.owns) {
		told.Owned = append(told.Owned,
			subscription.TopicPartitions{Topic: at.topic, Partitions: []int32{at.partition}})
	}
	p.made++
	return classic.Join{
		MemberID: c.id, InstanceID: c.instance, NewMemberID: fmt.Sprintf("%s-%d", c.name, p.made),
		ProtocolType:   "consumer",
		SessionTimeout: 10 * time.Second, RebalanceTimeout: 30 * time.Second,
		Protocols: []classic.Protocol{{Name: p.protocol, Metadata: told.Append(nil)}},
	}
}

func (p *players) lose(c *client) {
	if c.pending == nil {
		return
	}
	c.pending, c.unsure = nil, true
	if c.classic && !c.synced {
		c.epoch = 0 // a join or sync that was not answered is tried from the start
	}
}

func (p *players) receive(c *client) {
	if c.pending == nil {
		return
	}
	reply := *c.pending
	c.pending = nil
	p.trace("%s gets %T %+v %v", c.name, reply.Body, reply.Body, reply.Err)
	switch r := reply.Body.(type) {
	case HeartbeatReply:
		if r.Err != nil {
			p.rejected(c, r.Err)
			return
		}
		c.epoch = r.MemberEpoch
		if r.Assignment != nil {
			c.wants = places{}
			for _, topic := range r.Assignment {
				for _, n := range topic.Partitions {
					if t := p.img.TopicByID(topic.TopicID); t != nil {
						c.wants[place{t.Name, n}] = true
					}
				}
			}
		}
	case classic.JoinReply:
		p.joined(c, r)
	case classic.SyncReply:
		if r.Err != nil {
			p.rejected(c, r.Err)
			return
		}
		c.synced, c.wants = true, p.places(r.Assignment)
	case classic.HeartbeatReply:
		if r.Err != nil {
			p.rejected(c, r.Err)
		}
	default:
		p.rejected(c, reply.Err)
	}
}

// rejected is what a client does about an error.
func (p *players) rejected(c *client, err error) {
	c.epoch, c.wants, c.synced = 0, nil, false
	switch {
	case errors.Is(err, kafka.RebalanceInProgress), errors.Is(err, kafka.UnreleasedInstanceID):
		return
	case errors.Is(err, kafka.IllegalGeneration), errors.Is(err, kafka.UnknownMemberID),
		errors.Is(err, kafka.FencedMemberEpoch), errors.Is(err, kafka.GroupIDNotFound),
		errors.Is(err, kafka.FencedInstanceID):
		clear(c.owns)
		if c.classic && errors.Is(err, kafka.UnknownMemberID) {
			c.id = ""
		}
		return
	}
	p.t.Fatalf("%s: unexpected error %v", c.name, err)
}

func (p *players) joined(c *client, r classic.JoinReply) {
	if r.Err != nil {
		if r.MemberID != "" {
			c.id = r.MemberID
		}
		p.rejected(c, r.Err)
		return
	}
	c.id, c.epoch = r.MemberID, r.Generation
	if r.Leader != r.MemberID {
		return
	}
	// The leader assigns, in the classic group.
	sync := classic.Sync{MemberID: c.id, InstanceID: c.instance, Generation: c.epoch, Assignments: p.assign(r.Members)}
	c.waits = p.token + 1
	p.deliver(p.ask(sync))
}

// assign deals the partitions out, but for those that another member has not given back.
func (p *players) assign(members []classic.JoinedMember) []classic.MemberAssignment {
	slices.SortFunc(members, func(a, b classic.JoinedMember) int { return compare(a.MemberID, b.MemberID) })
	owner := map[place]int{}
	told := make([]subscription.Subscription, len(members))
	for i, m := range members {
		told[i], _ = subscription.Parse(m.Metadata)
		for _, t := range told[i].Owned {
			for _, n := range t.Partitions {
				owner[place{t.Topic, n}] = i
			}
		}
	}
	shares := make([]subscription.Assignment, len(members))
	for topic := range p.img.Topics() {
		var able []int
		for i := range members {
			if slices.Contains(told[i].Topics, topic.Name) {
				able = append(able, i)
			}
		}
		for n := range topic.Partitions {
			if len(able) == 0 {
				continue
			}
			i := able[n%len(able)]
			if has, ok := owner[place{topic.Name, int32(n)}]; ok && has != i {
				continue
			}
			shares[i].Partitions = append(shares[i].Partitions,
				subscription.TopicPartitions{Topic: topic.Name, Partitions: []int32{int32(n)}})
		}
	}
	all := make([]classic.MemberAssignment, len(members))
	for i, m := range members {
		all[i] = classic.MemberAssignment{MemberID: m.MemberID, Assignment: shares[i].Append(nil)}
	}
	return all
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (p *players) places(assignment []byte) places {
	all := places{}
	if len(assignment) == 0 {
		return all
	}
	a, err := subscription.ParseAssignment(assignment)
	if err != nil {
		p.t.Fatalf("assignment: %v", err)
	}
	for _, t := range a.Partitions {
		for _, n := range t.Partitions {
			if p.img.Topic(t.Topic) != nil {
				all[place{t.Topic, n}] = true
			}
		}
	}
	return all
}

// act makes the client do what it was told: give back first, and take what is new when nothing is to be given back.
func (p *players) act(c *client) {
	if c.wants == nil {
		return
	}
	revokes := false
	for at := range c.owns {
		if !c.wants[at] {
			delete(c.owns, at)
			revokes = true
		}
	}
	p.trace("%s has %v, wants %v", c.name, sortedPlaces(c.owns), sortedPlaces(c.wants))
	if revokes && !c.classic {
		return // says so in its next heartbeat; takes what is new in a later step
	}
	maps.Copy(c.owns, c.wants)
	c.wants = nil
	if revokes && p.protocol != "range" {
		c.epoch, c.synced = 0, false // the cooperative protocol joins again after giving back
	}
}

func (p *players) leave(c *client) {
	if c.waits != 0 {
		return
	}
	c.pending = nil
	clear(c.owns)
	switch {
	case c.instance != nil:
		p.restartClient(c)
		return
	case c.classic:
		p.deliver(p.ask(classic.Leave{Members: []classic.Leaver{{MemberID: c.id}}}))
	default:
		p.deliver(p.ask(Heartbeat{MemberID: c.id, MemberEpoch: -1, APIVersion: 1}))
	}
	p.clients = slices.DeleteFunc(p.clients, func(other *client) bool { return other == c })
}

// restartClient stops a static member, which comes back with another id and perhaps the other protocol.
func (p *players) restartClient(c *client) {
	if !c.classic {
		p.deliver(p.ask(Heartbeat{MemberID: c.id, MemberEpoch: leftForNow, InstanceID: c.instance, APIVersion: 1}))
	}
	p.made++
	c.id, c.epoch, c.wants, c.synced = fmt.Sprintf("%s-%d", c.name, p.made), 0, nil, false
	if c.classic = rapid.Bool().Draw(p.t, "classic"); c.classic {
		c.id = ""
	}
	p.trace("%s restarts, classic=%v", c.name, c.classic)
}

// isMember says whether the group counts on the client.
func (p *players) isMember(c *client) bool {
	if p.group != nil {
		return p.group.members[c.id] != nil
	}
	if p.world.classic != nil {
		return slices.ContainsFunc(p.world.classic.Members(), func(m classic.Member) bool { return m.MemberID == c.id })
	}
	return false
}

func (p *players) check() {
	owner := map[place]string{}
	for _, c := range p.clients {
		if !p.isMember(c) {
			continue
		}
		for at := range c.owns {
			if other := owner[at]; other != "" {
				p.t.Fatalf("%s-%d is with %s and %s", at.topic, at.partition, other, c.name)
			}
			owner[at] = c.name
		}
	}
	p.checkEpochs()
}

func (p *players) checkEpochs() {
	var epoch int32
	switch {
	case p.group != nil:
		epoch = p.group.epoch
		if p.group.targetEpoch > epoch {
			p.t.Fatalf("target epoch %d is after the group's %d", p.group.targetEpoch, epoch)
		}
		for id, m := range p.group.members {
			if m.epoch > 0 && m.epoch < p.epochs[id] {
				p.t.Fatalf("epoch of %s went from %d to %d", id, p.epochs[id], m.epoch)
			}
			p.epochs[id] = m.epoch
			if m.epoch > p.group.targetEpoch {
				p.t.Fatalf("%s is in epoch %d, the target in %d", id, m.epoch, p.group.targetEpoch)
			}
		}
	case p.world.classic != nil:
		epoch = p.world.classic.Generation()
	}
	isEmpty := (p.group == nil || len(p.group.members) == 0) &&
		(p.world.classic == nil || len(p.world.classic.Members()) == 0)
	if isEmpty { // an empty group of one kind may become a new one of the other
		p.epoch = 0
		clear(p.epochs)
		return
	}
	if epoch < p.epoch {
		p.t.Fatalf("the group went from epoch %d to %d", p.epoch, epoch)
	}
	p.epoch = epoch
}

// converge lets the clients behave until every partition is at work and nothing is left to do, which has to be soon.
func (p *players) converge() {
	const rounds = 150 // of a second each: enough for all timeouts
	for range rounds {
		for _, c := range slices.Clone(p.clients) {
			p.send(c)
			p.receive(c)
			p.act(c)
			p.act(c)
			p.check()
		}
		p.pass(time.Second)
		if p.unsettled() == "" {
			return
		}
	}
	p.t.Fatalf("after %d rounds: %s\n%s", rounds, p.unsettled(), dump(p.group, p.topics))
}

// unsettled says what is not as it is to be in the end.
func (p *players) unsettled() string {
	want, got := places{}, places{}
	for _, c := range p.clients {
		for _, topic := range p.topicsOf(c) {
			if t := p.img.Topic(topic); t != nil {
				for n := range t.Partitions {
					want[place{topic, int32(n)}] = true
				}
			}
		}
		maps.Copy(got, c.owns)
	}
	switch {
	case !maps.Equal(want, got):
		return fmt.Sprintf("at work %v, want %v", sortedPlaces(got), sortedPlaces(want))
	case len(p.clients) == 0:
	case p.group != nil && p.group.State() != Stable:
		return p.group.State().String()
	case p.group == nil && p.world.classic.State() != classic.Stable:
		return "classic " + p.world.classic.State().String()
	}
	return ""
}

func (p *players) topicsOf(c *client) []string {
	if c.regex != nil {
		return []string{"a", "b"}
	}
	return c.topics
}

func sortedPlaces(set places) []place {
	list := make([]place, 0, len(set))
	for at := range set {
		list = append(list, at)
	}
	slices.SortFunc(list, func(a, b place) int {
		if a.topic != b.topic {
			return compare(a.topic, b.topic)
		}
		return int(a.partition - b.partition)
	})
	return list
}
