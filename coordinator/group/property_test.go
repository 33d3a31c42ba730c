package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
)

// Goal: whatever members of both protocols, administrators, time, restarts and changes of the cluster do to a shard,
// (1) no partition has two owners in one generation or epoch, (2) generations and epochs of a group do not go back,
// (3) an offset whose commit was acknowledged is what a fetch gives until it is deleted, and only what may delete it
// does, (4) a shard made from the log equals the live one, (5) every request is answered once, (6) timers are few, and
// when all have gone silent, nothing is left. Method: random clients that mostly follow the protocol drive a world.
func TestRandomMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		steps := rapid.IntRange(20, 150).Draw(t, "steps")
		for range steps {
			m.step()
			m.check()
		}
		m.silence()
	})
}

var (
	modelGroups = []string{"g", "h"}
	modelTopics = []string{"a", "b"}
)

const modelPartitions = 3

// model is a world with its clients, and what they have been told.
type model struct {
	*rapid.T
	w         *world
	clients   []*client
	named     int
	committed map[string]map[kafka.TopicPartition]kafka.Offset // acknowledged, by group
	deletes   bool                                             // the step may delete offsets
	epochs    map[string]int32                                 // of the groups that exist
	sizes     map[string]int                                   // of classic groups, as recorded last
	owned     map[string]map[string][]record.TopicPartitions   // by consumer group and member
	synced    map[string]string                                // group/generation/partition → member
}

// client is a member of a group, or would like to be.
type client struct {
	name       string
	group      string
	isClassic  bool
	member     string
	generation int32 // or epoch
	leads      []classic.JoinedMember
	phase      phase
	isWaiting  bool
	owns       []consumer.TopicPartitions
}

// phase is what a client does next.
type phase uint8

const (
	joining phase = iota
	syncing
	running
)

func newModel(t *rapid.T) *model {
	m := &model{T: t, w: newWorld(), committed: map[string]map[kafka.TopicPartition]kafka.Offset{},
		epochs: map[string]int32{}, sizes: map[string]int{}, synced: map[string]string{},
		owned: map[string]map[string][]record.TopicPartitions{}}
	for _, group := range modelGroups {
		m.committed[group] = map[kafka.TopicPartition]kafka.Offset{}
		m.owned[group] = map[string][]record.TopicPartitions{}
	}
	m.w.onRecords = m.seeRecords
	for _, topic := range modelTopics {
		m.w.topic(topic, modelPartitions)
	}
	return m
}

func (m *model) step() {
	m.deletes = false
	m.w.batchMax = 0
	if rapid.IntRange(0, 19).Draw(m.T, "refuse") == 0 {
		m.w.batchMax = rapid.IntRange(6, 8).Draw(m.T, "batch") // as many as the smallest changes need
	}
	switch n := rapid.IntRange(0, 29).Draw(m.T, "step"); {
	case n < 4:
		m.newClient()
	case n < 20:
		if len(m.clients) > 0 {
			m.act(rapid.SampledFrom(m.clients).Draw(m.T, "client"))
		}
	case n < 24:
		m.deletes = true // what has expired
		by := rapid.SampledFrom([]int{0, 1, 5, 5, 11, 30, 150}).Draw(m.T, "seconds")
		m.take(m.w.advance(time.Duration(by) * time.Second))
	case n == 24:
		m.restart()
	case n == 25:
		m.changeTopics()
	case n == 26:
		m.deletes = true
		group := rapid.SampledFrom(modelGroups).Draw(m.T, "group")
		m.take(m.w.submit("", group, DeleteGroup{}))
	case n == 27:
		m.deletes = true
		group := rapid.SampledFrom(modelGroups).Draw(m.T, "group")
		m.take(m.w.submit("", group, OffsetDelete{offsets.Delete{Topics: []offsets.FetchTopic{{Topic: "a",
			Partitions: []kafka.PartitionIndex{0, 1}}}}}))
	case n == 28:
		m.commit(rapid.SampledFrom(modelGroups).Draw(m.T, "group"), "", -1)
	default:
		m.garbage()
	}
}

func (m *model) newClient() {
	if len(m.clients) == 8 {
		return
	}
	m.named++
	c := &client{name: fmt.Sprintf("c%d", m.named), group: rapid.SampledFrom(modelGroups).Draw(m.T, "group"),
		isClassic: rapid.Bool().Draw(m.T, "classic")}
	if !c.isClassic {
		c.member = c.name
	}
	m.clients = append(m.clients, c)
	m.act(c)
}

// act lets a client do what it does next, or leave, or fall silent for ever.
func (m *model) act(c *client) {
	switch n := rapid.IntRange(0, 19).Draw(m.T, "act"); {
	case n == 0:
		m.remove(c) // the process is killed
	case n == 1 && c.member != "" && !c.isWaiting:
		m.leave(c)
	case c.isWaiting:
	case n < 5 && c.phase == running:
		m.commit(c.group, c.member, c.generation)
	case c.isClassic:
		m.actClassic(c)
	default:
		m.beat(c)
	}
}

func (m *model) remove(c *client) {
	m.clients = slices.DeleteFunc(m.clients, func(other *client) bool { return other == c })
}

func (m *model) leave(c *client) {
	m.remove(c)
	if c.isClassic {
		m.take(m.w.submit("", c.group, classic.Leave{Members: []classic.Leaver{{MemberID: c.member}}}))
		return
	}
	m.take(m.w.submit("", c.group, consumer.Heartbeat{MemberID: c.member, MemberEpoch: -1, RebalanceTimeoutMs: -1,
		APIVersion: 1}))
}

func (m *model) ask(c *client, body any) {
	c.isWaiting = true
	m.take(m.w.submit(c.name, c.group, body))
}

func (m *model) actClassic(c *client) {
	switch c.phase {
	case joining:
		m.named++
		subscribed := subscription.Subscription{Topics: modelTopics, Generation: -1}
		m.ask(
			c,
			classic.Join{
				MemberID:         c.member,
				ClientID:         "client",
				ClientHost:       "/host",
				SessionTimeout:   10 * time.Second,
				RebalanceTimeout: 20 * time.Second,
				ProtocolType:     "consumer",
				NewMemberID:      fmt.Sprintf("%s-%d", c.name, m.named),
				NeedsKnownMember: rapid.Bool().Draw(m.T, "known"),
				Protocols:        []classic.Protocol{{Name: "range", Metadata: subscribed.Append(nil)}},
			},
		)
	case syncing:
		sync := classic.Sync{MemberID: c.member, Generation: c.generation}
		for i, joined := range c.leads {
			var a subscription.Assignment
			for _, topic := range modelTopics {
				given := subscription.TopicPartitions{Topic: topic}
				for p := range int32(modelPartitions) {
					if int(p)%len(c.leads) == i {
						given.Partitions = append(given.Partitions, p)
					}
				}
				if len(given.Partitions) > 0 {
					a.Partitions = append(a.Partitions, given)
				}
			}
			sync.Assignments = append(sync.Assignments, classic.MemberAssignment{MemberID: joined.MemberID,
				Assignment: a.Append(nil)})
		}
		m.ask(c, sync)
	case running:
		m.ask(c, classic.Heartbeat{MemberID: c.member, Generation: c.generation})
	}
}

func (m *model) beat(c *client) {
	beat := consumer.Heartbeat{MemberID: c.member, MemberEpoch: c.generation, RebalanceTimeoutMs: -1, APIVersion: 1,
		ClientID: "client", ClientHost: "/host", Owned: c.owns}
	if c.phase == joining {
		beat.MemberEpoch, beat.RebalanceTimeoutMs = 0, 20_000
		beat.SubscribedTopics, beat.Owned = modelTopics, []consumer.TopicPartitions{}
		c.owns = beat.Owned
	}
	m.ask(c, beat)
}

// commit commits random offsets, which the model believes in when they are acknowledged.
func (m *model) commit(group, member string, generation int32) {
	p := kafka.TopicPartition{Topic: rapid.SampledFrom(modelTopics).Draw(m.T, "topic"),
		Partition: kafka.PartitionIndex(rapid.IntRange(0, modelPartitions-1).Draw(m.T, "partition"))}
	offset := kafka.Offset(rapid.IntRange(0, 1000).Draw(m.T, "offset"))
	var id kafka.UUID
	if topic := m.w.img.Topic(p.Topic); topic != nil {
		id = topic.ID
	}
	answers := m.w.submit("committer", group, OffsetCommit{MemberID: member, Generation: generation, APIVersion: 9,
		Commit: offsets.Commit{
			RetentionMs: offsets.NoRetention,
			Topics: []offsets.CommitTopic{{Topic: p.Topic, TopicID: id,
				Partitions: []offsets.CommitPartition{{Partition: p.Partition, Offset: offset}}}},
		}})
	for _, a := range answers {
		if a.who == "committer" && a.err == nil {
			m.committed[group][p] = offset
		}
	}
	m.take(answers)
}

func (m *model) changeTopics() {
	m.deletes = true
	name := rapid.SampledFrom(modelTopics).Draw(m.T, "topic")
	if m.w.img.Topic(name) == nil {
		m.w.topic(name, modelPartitions)
		return
	}
	m.take(m.w.drop(name, rapid.Bool().Draw(m.T, "delta")))
	m.take(m.w.advance(0))
}

// restart loses all answers that are under way.
func (m *model) restart() {
	m.w.restart()
	for _, c := range m.clients {
		c.isWaiting = false
	}
}

// garbage is what a client that has lost its mind says.
func (m *model) garbage() {
	group := rapid.SampledFrom(modelGroups).Draw(m.T, "group")
	member := rapid.SampledFrom([]string{"", "c1", "c2", "c1-2", "nobody"}).Draw(m.T, "member")
	number := rapid.Int32Range(-3, 9).Draw(m.T, "number")
	body := rapid.SampledFrom([]any{
		classic.Heartbeat{MemberID: member, Generation: number},
		classic.Sync{MemberID: member, Generation: number},
		classic.Join{MemberID: member, ProtocolType: "consumer"},
		classic.Join{
			MemberID:       member,
			NewMemberID:    "strange",
			ProtocolType:   "connect",
			SessionTimeout: 6 * time.Second,
			Protocols:      []classic.Protocol{{Name: "range", Metadata: []byte{1}}},
		},
		classic.Leave{Members: []classic.Leaver{{MemberID: "nobody"}}},
		consumer.Heartbeat{MemberID: member, MemberEpoch: number, APIVersion: 1},
		consumer.Heartbeat{MemberID: "late", MemberEpoch: 0, RebalanceTimeoutMs: 5, APIVersion: 1,
			SubscribedTopics: []string{"a"}, Owned: []consumer.TopicPartitions{}},
		OffsetFetch{MemberID: &member, MemberEpoch: number},
		Describe{}, DescribeConsumer{},
	}).Draw(m.T, "garbage")
	m.take(m.w.submit("", group, body))
}

// take hands answers to the clients.
func (m *model) take(answers []answered) {
	for _, a := range answers {
		at := slices.IndexFunc(m.clients, func(c *client) bool { return c.name == a.who })
		if at < 0 {
			continue
		}
		c := m.clients[at]
		c.isWaiting = false
		switch body := a.body.(type) {
		case classic.JoinReply:
			m.takeJoin(c, body)
		case classic.SyncReply:
			m.takeSync(c, body)
		case classic.HeartbeatReply:
			c.goOn(body.Err)
		case consumer.HeartbeatReply:
			m.takeBeat(c, body)
		default: // refused as a whole
			if c.isClassic {
				c.goOn(a.err)
			} else {
				c.phase, c.generation, c.owns = joining, 0, nil
			}
		}
	}
}

// goOn lets a classic client join anew if it has to.
func (c *client) goOn(err error) {
	switch {
	case err == nil:
	case errors.Is(err, kafka.RebalanceInProgress):
		c.phase = joining
	default:
		c.phase, c.member = joining, ""
	}
}

func (m *model) takeJoin(c *client, reply classic.JoinReply) {
	switch {
	case reply.Err == nil:
		c.member, c.generation, c.phase, c.leads = reply.MemberID, reply.Generation, syncing, nil
		if reply.Leader == reply.MemberID {
			c.leads = reply.Members
		}
	case errors.Is(reply.Err, kafka.MemberIDRequired):
		c.member = reply.MemberID
	default:
		c.goOn(reply.Err)
	}
}

func (m *model) takeSync(c *client, reply classic.SyncReply) {
	c.goOn(reply.Err)
	if reply.Err != nil {
		return
	}
	c.phase = running
	if len(reply.Assignment) == 0 {
		return
	}
	a, err := subscription.ParseAssignment(reply.Assignment)
	if err != nil {
		m.Fatalf("%s was given %x: %v", c.name, reply.Assignment, err)
	}
	if m.w.shard.classic[c.group] == nil {
		return // the members of a consumer group come by their own steps to a new epoch
	}
	for _, topic := range a.Partitions {
		for _, p := range topic.Partitions {
			key := fmt.Sprintf("%s generation %d %s-%d", c.group, c.generation, topic.Topic, p)
			if owner, ok := m.synced[key]; ok && owner != c.member {
				m.Fatalf("%s has two owners: %s and %s", key, owner, c.member)
			}
			m.synced[key] = c.member
		}
	}
}

func (m *model) takeBeat(c *client, reply consumer.HeartbeatReply) {
	if reply.Err != nil {
		c.phase, c.generation, c.owns = joining, 0, nil
		return
	}
	if c.phase == running && reply.MemberEpoch < c.generation {
		m.Fatalf("%s goes from epoch %d to %d", c.name, c.generation, reply.MemberEpoch)
	}
	c.phase, c.generation = running, reply.MemberEpoch
	if reply.Assignment != nil {
		c.owns = reply.Assignment
	}
}

// seeRecords follows what is written: the epochs, who owns what, and which offsets go.
func (m *model) seeRecords(records []coordinator.Record) {
	before := maps.Clone(m.epochs)
	isNew := map[string]bool{} // a group without members makes way for another
	sizeBefore := map[string]int{}
	for group, members := range m.owned {
		sizeBefore[group] = len(members)
	}
	for _, r := range records {
		switch r := r.(type) {
		case *record.OffsetCommit:
			if !r.Deleted {
				continue
			}
			if !m.deletes {
				m.Fatalf("the offset of %s for %s-%d is deleted", r.Group, r.Topic, r.Partition)
			}
			delete(m.committed[r.Group], kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition})
		case *record.Group:
			m.seeGroup(r.Group, r.Generation, r.Deleted)
			isNew[r.Group] = isNew[r.Group] || r.Deleted && m.sizes[r.Group] == 0
			m.sizes[r.Group] = len(r.Members)
		case *record.ConsumerGroup:
			m.seeGroup(r.Group, r.Epoch, r.Deleted)
			isNew[r.Group] = isNew[r.Group] || r.Deleted && sizeBefore[r.Group] == 0
		case *record.CurrentMember:
			delete(m.owned[r.Group], r.MemberID)
			if !r.Deleted {
				m.owned[r.Group][r.MemberID] = slices.Concat(r.Assigned, r.PendingRevocation)
			}
		}
	}
	for group, epoch := range m.epochs {
		if !isNew[group] && epoch < before[group] {
			m.Fatalf("%s goes from %d to %d by %s", group, before[group], epoch, aboutAll(records))
		}
	}
	m.checkOwners()
}

func aboutAll(records []coordinator.Record) string {
	var lines []string
	for _, r := range records {
		_, kept := r.AppendValue(nil)
		lines = append(lines, fmt.Sprintf("%T %s kept=%v", r, about(r), kept))
	}
	return strings.Join(lines, "\n")
}

func (m *model) seeGroup(group string, epoch int32, isDeleted bool) {
	if isDeleted {
		delete(m.epochs, group)
		for key := range m.synced { // generations begin anew
			if strings.HasPrefix(key, group+" ") {
				delete(m.synced, key)
			}
		}
		return
	}
	m.epochs[group] = epoch
}

// checkOwners looks for partitions that two members of a consumer group have, or have still to give back.
func (m *model) checkOwners() {
	for group, members := range m.owned {
		owners := map[string]string{}
		for member, topics := range members {
			for _, topic := range topics {
				for _, p := range topic.Partitions {
					key := fmt.Sprintf("%s-%d", topic.TopicID, p)
					if other, ok := owners[key]; ok {
						m.Fatalf("%s of %s has two owners: %s and %s", key, group, other, member)
					}
					owners[key] = member
				}
			}
		}
	}
}

func (m *model) check() {
	for group, want := range m.committed {
		got := map[kafka.TopicPartition]kafka.Offset{}
		for _, topic := range m.w.shard.offsets.Fetch(group, offsets.Fetch{All: true}).Topics {
			for _, p := range topic.Partitions {
				got[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = p.Offset
			}
		}
		if !maps.Equal(want, got) {
			m.Fatalf("%s has %v, but %v was acknowledged", group, got, want)
		}
	}
	if complaint := m.w.compareWithReplay(); complaint != "" {
		m.Fatal(complaint)
	}
	if most := 3*m.named + 10; len(m.w.timers) > most {
		m.Fatalf("%d timers are set", len(m.w.timers))
	}
}

// silence lets all clients fall silent: everything expires, and all who wait are answered.
func (m *model) silence() {
	m.deletes = true
	m.w.batchMax = 0
	m.clients = nil
	m.w.advance(20 * time.Minute)
	if len(m.w.waiting) > 0 {
		m.Fatalf("%v are still waiting", m.w.waiting)
	}
	if ids := m.w.shard.ids(); len(ids) > 0 {
		m.Fatalf("%v are still there:\n%s", ids, snapshot(m.w.shard, func(string) bool { return false }))
	}
	for key := range m.w.timers {
		if key.Kind < timerExpiry {
			m.Errorf("timer %+v is still set", key)
		}
	}
	if len(m.w.shard.sweeps.queue) > 0 {
		m.Errorf("a sweep is still under way")
	}
	if r := m.w.shard.Report().(Report); r != (Report{}) {
		m.Errorf("the report is %+v", r)
	}
}
