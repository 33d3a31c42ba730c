package consumer

import (
	"time"

	"spate/coordinator"
	"spate/coordinator/group/assignor"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// The kinds of timers of a consumer group. When TimerDowngraded fires, the group has become a classic one: the shard
// calls the classic group's Loaded, so that its members have deadlines, and starts a rebalance if the key's Member says
// RebalanceDowngraded.
const (
	TimerSession    uint8 = 10 // a member has not been heard of
	TimerRebalance  uint8 = 11 // a member has not given back what it had to
	TimerJoin       uint8 = 12 // a member of the classic protocol was told to rejoin, and has not
	TimerSync       uint8 = 13 // a member of the classic protocol has joined and not fetched its assignment
	TimerRegex      uint8 = 14 // regular expressions are to be resolved, at once but after the answer
	TimerDowngraded uint8 = 19
)

// RebalanceDowngraded is the Member of a TimerDowngraded that calls for a rebalance.
const RebalanceDowngraded = "rebalance"

// State is what the group is about.
type State uint8

// The states of a consumer group.
const (
	Empty State = iota
	Assigning
	Reconciling
	Stable
	Dead
)

var stateNames = [...]string{"Empty", "Assigning", "Reconciling", "Stable", "Dead"}

// String gives Kafka's word.
func (s State) String() string { return stateNames[s] }

// firstEpoch is the epoch of a group, and of its target assignment, before the first record.
const firstEpoch int32 = 1

// Group is one consumer group. It exists in the log once it has a ConsumerGroup record.
type Group struct {
	id       string
	settings Settings

	// Written by Apply only.
	recorded         bool // there is a ConsumerGroup record
	epoch            int32
	metadataHash     int64
	targetRecorded   bool // there is a Target record
	targetEpoch      int32
	targetTimestamp  int64 // in milliseconds; 0: not known
	members          map[string]*member
	target           map[string]assignor.Partitions
	resolved         map[string]*record.RegularExpression // by regular expression
	oldMetadata      bool                                 // there is a PartitionMetadata record of an older Kafka
	instances        map[string]string                    // member ids of static members by instance id
	subscribed       map[string]subscribers               // by topic
	regexes          map[string]int                       // members by regular expression
	assignors        map[string]int                       // votes by assignor
	classicMembers   int
	classicProtocols map[string]int                  // members of the classic protocol by embedded protocol
	owners           map[kafka.UUID]map[int32]string // which member has each partition or has yet to give it back

	// Volatile: lost when the shard moves, and harmless when lost.
	seen       uint64          // the version of the cluster that the metadata hash was last checked against
	seenEpoch  int32           // the group's epoch after that; the group is behind it if its record was not written
	regexTimer time.Time       // when TimerRegex was set, zero after it has fired
	joining    map[string]bool // members whose TimerJoin is set, which must not be put off
}

// subscribers counts who subscribes to a topic.
type subscribers struct {
	byName  int // members
	byRegex int // regular expressions
}

// New makes a group without members and without a record.
func New(id string, s Settings) *Group {
	return &Group{
		id: id, settings: s, epoch: firstEpoch, targetEpoch: firstEpoch,
		members: map[string]*member{}, target: map[string]assignor.Partitions{},
		resolved: map[string]*record.RegularExpression{}, instances: map[string]string{},
		subscribed: map[string]subscribers{}, regexes: map[string]int{}, assignors: map[string]int{},
		classicProtocols: map[string]int{}, owners: map[kafka.UUID]map[int32]string{},
		joining: map[string]bool{},
	}
}

// Configure replaces the settings, when the group's or the broker's configs have changed.
func (g *Group) Configure(s Settings) { g.settings = s }

// turn gathers what follows from one command. It is thrown away when the command is refused.
type turn struct {
	now time.Time
	c   *Cluster
	out coordinator.Outcome
	// mustAssign makes the group's epoch move on even if nothing is new.
	mustAssign bool
}

// Decide carries out a Heartbeat of this package, or a Join, Sync, Heartbeat or Leave of package classic.
func (g *Group) Decide(now time.Time, c *Cluster, to coordinator.Token, cmd any) coordinator.Outcome {
	t := &turn{now: now, c: c}
	switch cmd := cmd.(type) {
	case Heartbeat:
		return answer(t, to, g.heartbeat(t, &cmd))
	case classic.Join:
		return answer(t, to, g.joinClassic(t, &cmd))
	case classic.Sync:
		return answer(t, to, g.syncClassic(t, &cmd))
	case classic.Heartbeat:
		return answer(t, to, g.heartbeatClassic(t, &cmd))
	case classic.Leave:
		return answer(t, to, g.leaveClassic(t, &cmd))
	}
	t.out.Refuse(to, kafka.InvalidRequest)
	return t.out
}

func answer(t *turn, to coordinator.Token, reply any) coordinator.Outcome {
	t.out.Answer(to, reply)
	return t.out
}

// refused takes back what the command has gathered so far.
func (t *turn) refused() { t.out = coordinator.Outcome{} }

// Fired carries on when a timer of the kinds 10 to 18 has fired.
func (g *Group) Fired(now time.Time, c *Cluster, key coordinator.TimerKey) coordinator.Outcome {
	t := &turn{now: now, c: c}
	m := g.members[key.Member]
	switch key.Kind {
	case TimerRegex:
		g.regexTimer = time.Time{}
		g.resolve(t)
	case TimerSession:
		g.fenceOne(t, m, "its session has ended")
	case TimerSync:
		g.fenceOne(t, m, "it has not fetched its assignment in time")
	case TimerJoin:
		delete(g.joining, key.Member)
		g.fenceOne(t, m, "it has not joined again in time")
	case TimerRebalance:
		// A member that moved on has had its timer taken back; a static one that left for now has its session.
		if m != nil && m.state == unrevoked && m.epoch != leftForNow {
			g.fenceOne(t, m, "it has not given its partitions back in time")
		}
	}
	return t.out
}

// Loaded sets the timers after a replay.
func (g *Group) Loaded(now time.Time) coordinator.Outcome {
	t := &turn{now: now}
	for _, id := range sortedKeys(g.members) {
		m := g.members[id]
		g.setTimer(t, TimerSession, id, g.settings.SessionTimeout)
		if m.state == unrevoked {
			g.setTimer(t, TimerRebalance, id, milliseconds(m.told.RebalanceTimeoutMs))
		}
	}
	return t.out
}

// Exists says whether anything of the group is in the log. While a compacted log is replayed, its ConsumerGroup record
// may come after the others.
func (g *Group) Exists() bool {
	return g.recorded || g.targetRecorded || g.oldMetadata ||
		len(g.members) > 0 || len(g.target) > 0 || len(g.resolved) > 0
}

// State is the group's state.
func (g *Group) State() State {
	switch {
	case len(g.members) == 0:
		return Empty
	case g.epoch > g.targetEpoch:
		return Assigning
	}
	for _, m := range g.members {
		if !m.reconciled(g.targetEpoch) {
			return Reconciling
		}
	}
	return Stable
}

// MemberCount is the number of members.
func (g *Group) MemberCount() int { return len(g.members) }

// Subscribes says whether a member subscribes to the topic, by name or by a regular expression.
func (g *Group) Subscribes(topic string) bool {
	_, ok := g.subscribed[topic]
	return ok
}

func milliseconds(n int32) time.Duration { return time.Duration(n) * time.Millisecond }

func (g *Group) timer(kind uint8, memberID string) coordinator.TimerKey {
	return coordinator.TimerKey{Kind: kind, Group: g.id, Member: memberID}
}

func (g *Group) setTimer(t *turn, kind uint8, memberID string, after time.Duration) {
	t.out.SetTimer(g.timer(kind, memberID), t.now.Add(after))
}

func (g *Group) stopTimers(t *turn, memberID string) {
	for _, kind := range []uint8{TimerSession, TimerRebalance, TimerSync} {
		t.out.StopTimer(g.timer(kind, memberID))
	}
	g.stopJoinTimer(t, memberID)
}

// setJoinTimer is for a member that has to rejoin; being told again does not give it more time.
func (g *Group) setJoinTimer(t *turn, m *member) {
	if !g.joining[m.id] {
		g.joining[m.id] = true
		g.setTimer(t, TimerJoin, m.id, milliseconds(m.told.RebalanceTimeoutMs))
	}
}

func (g *Group) stopJoinTimer(t *turn, memberID string) {
	if g.joining[memberID] {
		delete(g.joining, memberID)
		t.out.StopTimer(g.timer(TimerJoin, memberID))
	}
}
