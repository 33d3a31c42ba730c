package classic

import (
	"time"

	"spate/coordinator"
	"spate/kafka"
)

// Settings are the limits of classic groups.
type Settings struct {
	SessionTimeoutMin     time.Duration
	SessionTimeoutMax     time.Duration
	InitialRebalanceDelay time.Duration // how long a group that was empty waits for more members
	SizeMax               int           // members in one group
}

// State is where a group is in its life.
type State uint8

// The states of a group.
const (
	Empty               State = iota // no members; perhaps offsets
	PreparingRebalance               // members are asked to join again
	CompletingRebalance              // all have joined; the leader assigns
	Stable
	Dead // deleted
)

// String is the state's name as Kafka says it.
func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// The kinds of this machine's timers.
const (
	TimerSession uint8 = 1 // of a member, or of a member id that has not joined yet
	TimerJoin    uint8 = 2 // the end of waiting for members to join
	TimerSync    uint8 = 3 // the end of waiting for members to sync
)

// ConsumerProtocolType is the protocol type of groups whose members consume topics.
const ConsumerProtocolType = "consumer"

// newMemberJoinTimeout bounds the wait of a new member for the end of a rebalance. It cannot send heartbeats before,
// and a client that gave up and asked again would else stay in the group under each of its ids. The value is Kafka's.
const newMemberJoinTimeout = 5 * time.Minute

// Group is one classic group.
type Group struct {
	id       string
	settings Settings

	state          State
	previous       State // the state before, which tells the first rebalance from others
	stateTimestamp kafka.Timestamp
	protocolType   string
	protocol       *string // chosen in the last rebalance; nil in an empty group
	generation     int32
	leader         *member
	recorded       bool // some record of this group was applied

	members   map[string]*member
	first     *member // the members form a list in the order in which they joined
	last      *member
	instances map[string]*member // the static members
	pending   map[string]struct{}
	supported map[string]int // how many members know a protocol
	joins     int            // members that wait in JoinGroup
	syncs     int            // members that have yet to send SyncGroup in this generation

	topics      []string // that the members of a consumer group subscribe to, sorted, as of this generation
	topicsKnown bool

	joinArmed bool // whether the timers of the group are set
	syncArmed bool

	// While a group that was empty waits for more members:
	isInitial        bool
	newMemberAdded   bool
	initialDelay     time.Duration // the current wait
	initialRemaining time.Duration // what is left of the rebalance timeout after it
}

// turn is one call of the machine: what it knows and what follows.
type turn struct {
	now time.Time
	out coordinator.Outcome
}

// New is a group that does not exist yet: it is empty and has no record.
func New(id string, s Settings) *Group {
	return &Group{
		id:             id,
		settings:       s,
		previous:       Dead,
		stateTimestamp: kafka.NoTimestamp,
		members:        map[string]*member{},
		instances:      map[string]*member{},
		pending:        map[string]struct{}{},
		supported:      map[string]int{},
	}
}

// Decide carries out one command, which is a Join, Sync, Heartbeat or Leave.
func (g *Group) Decide(now time.Time, to coordinator.Token, cmd any) coordinator.Outcome {
	t := turn{now: now}
	switch cmd := cmd.(type) {
	case Heartbeat:
		g.heartbeat(&t, to, &cmd)
	case Join:
		g.joinGroup(&t, to, &cmd)
	case Sync:
		g.syncGroup(&t, to, &cmd)
	case Leave:
		g.leaveGroup(&t, to, cmd.Members)
	default:
		t.out.Refuse(to, kafka.InvalidRequest)
	}
	return t.out
}

// Fired carries out what a timer was set for. A timer that no longer means anything does nothing.
func (g *Group) Fired(now time.Time, key coordinator.TimerKey) coordinator.Outcome {
	t := turn{now: now}
	switch key.Kind {
	case TimerSession:
		g.sessionFired(&t, key.Member)
	case TimerJoin:
		g.joinArmed = false
		g.joinFired(&t)
	case TimerSync:
		g.syncArmed = false
		g.syncFired(&t)
	}
	return t.out
}

// Loaded starts the sessions of a group that was just built from its records: its members get the whole of their
// session timeout to find their coordinator. A group above the allowed size rebalances, which sheds the last to come.
func (g *Group) Loaded(now time.Time) coordinator.Outcome {
	t := turn{now: now}
	for m := g.first; m != nil; m = m.next {
		g.keepSession(&t, m)
	}
	if len(g.members) > g.settings.SizeMax {
		g.prepareRebalance(&t, cause{what: "the loaded group is over its capacity"})
	}
	return t.out
}

// Refused takes back what the last Decide or Fired had meant to happen with a record that was not written, because it
// is larger than a record may be or the disk is full. Those whom that outcome would have answered have their refusals;
// its timers were not set, so all are set anew, and ids that were given out are forgotten. The members rebalance.
// isFull says that the disk is full; otherwise a small record can be written.
func (g *Group) Refused(now time.Time, isFull bool) coordinator.Outcome {
	t := turn{now: now}
	for m := g.first; m != nil; m = m.next {
		m.armed = time.Time{}
		g.keepSession(&t, m)
	}
	for _, id := range g.pendingIDs() {
		g.forgetPending(&t, id)
	}
	switch {
	case g.state == CompletingRebalance || g.state == Stable:
		g.prepareRebalance(&t, cause{what: "its record could not be written"})
	case g.state != PreparingRebalance:
	case len(g.members) == 0 && isFull:
		g.transition(Empty, timestamp(now)) // as the record would have said
	case len(g.members) == 0:
		t.out.Write(g.farewell(&t)) // so that a load finds the group as it is
	default:
		g.isInitial = false
		g.armJoin(&t, g.rebalanceTimeout())
	}
	return t.out
}

// timer is the key of a timer of the whole group.
func (g *Group) timer(kind uint8) coordinator.TimerKey {
	return coordinator.TimerKey{Kind: kind, Group: g.id}
}

func (g *Group) armJoin(t *turn, timeout time.Duration) {
	t.out.SetTimer(g.timer(TimerJoin), t.now.Add(timeout))
	g.joinArmed = true
}

func (g *Group) disarmJoin(t *turn) {
	if g.joinArmed {
		t.out.StopTimer(g.timer(TimerJoin))
		g.joinArmed = false
	}
}

func (g *Group) armSync(t *turn, timeout time.Duration) {
	t.out.SetTimer(g.timer(TimerSync), t.now.Add(timeout))
	g.syncArmed = true
}

func (g *Group) disarmSync(t *turn) {
	if g.syncArmed {
		t.out.StopTimer(g.timer(TimerSync))
		g.syncArmed = false
	}
}

// transition changes the state; the machine's callers know that it is allowed.
func (g *Group) transition(to State, at kafka.Timestamp) {
	g.previous, g.state, g.stateTimestamp = g.state, to, at
}

func timestamp(at time.Time) kafka.Timestamp { return kafka.Timestamp(at.UnixMilli()) }
