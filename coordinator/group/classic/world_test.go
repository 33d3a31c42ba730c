package classic

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/record"
)

// start is when each test's clock begins.
var start = time.Unix(1000, 0)

// world drives one group as the runtime does: it applies records as they are decided, keeps the timers, and knows which
// tokens wait for an answer. wrong is called for what the machine must never do.
type world struct {
	settings Settings
	group    *Group
	now      time.Time
	timers   map[coordinator.TimerKey]time.Time
	log      []*record.Group
	waiting  map[coordinator.Token]bool
	last     coordinator.Token
	tooLarge bool // whether the next record is refused
	stale    bool // whether timers of a refused outcome may be left over, which fire without effect
	wrong    func(format string, args ...any)
}

func newWorld(s Settings, wrong func(format string, args ...any)) *world {
	return &world{
		settings: s,
		group:    New("g", s),
		now:      start,
		timers:   map[coordinator.TimerKey]time.Time{},
		waiting:  map[coordinator.Token]bool{},
		wrong:    wrong,
	}
}

// ask lets the group decide about a command and gives what followed.
func (w *world) ask(cmd any) (coordinator.Token, coordinator.Outcome) {
	w.last++
	to := w.last
	w.waiting[to] = true
	return to, w.follow(w.group.Decide(w.now, to, cmd))
}

// follow does what an outcome says.
func (w *world) follow(o coordinator.Outcome) coordinator.Outcome {
	for _, r := range o.Replies {
		if !w.waiting[r.To] {
			w.wrong("token %d is answered, which does not wait", r.To)
		}
		delete(w.waiting, r.To)
	}
	if w.tooLarge && len(o.Records) > 0 {
		w.tooLarge, w.stale = false, true
		instead := w.follow(w.group.Refused(w.now, false))
		return coordinator.Outcome{Replies: append(o.Replies, instead.Replies...), Records: instead.Records,
			Timers: instead.Timers, Notes: instead.Notes}
	}
	for _, r := range o.Records {
		w.log = append(w.log, r.(*record.Group))
		w.group.Apply(r.(*record.Group))
	}
	for _, t := range o.Timers {
		if t.At.IsZero() {
			delete(w.timers, t.Key)
		} else {
			w.timers[t.Key] = t.At
		}
	}
	return o
}

// due is the timer that fires next, no later than until.
func (w *world) due(until time.Time) (coordinator.TimerKey, time.Time, bool) {
	keys := make([]coordinator.TimerKey, 0, len(w.timers))
	for key, at := range w.timers {
		if !at.After(until) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return coordinator.TimerKey{}, time.Time{}, false
	}
	first := slices.MinFunc(keys, func(a, b coordinator.TimerKey) int {
		return cmp.Or(w.timers[a].Compare(w.timers[b]), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Member, b.Member))
	})
	return first, w.timers[first], true
}

// advance lets time pass and hands each timer that fires to fired.
func (w *world) advance(d time.Duration, fired func(coordinator.TimerKey, coordinator.Outcome)) {
	until := w.now.Add(d)
	for {
		key, at, ok := w.due(until)
		if !ok {
			break
		}
		delete(w.timers, key)
		w.now = at
		fired(key, w.follow(w.group.Fired(w.now, key)))
	}
	w.now = until
}

// restart builds the group from its records, as a coordinator that has just become the leader does.
func (w *world) restart() coordinator.Outcome {
	w.group = w.replay()
	w.timers = map[coordinator.TimerKey]time.Time{}
	w.waiting = map[coordinator.Token]bool{}
	w.stale = false
	return w.follow(w.group.Loaded(w.now))
}

func (w *world) replay() *Group {
	g := New("g", w.settings)
	for _, r := range w.log {
		g.Apply(r)
	}
	return g
}

// checkBooks compares what the group counts with what it has, and its timers with those that are set.
func (w *world) checkBooks() {
	g := w.group
	joins, syncs, size := 0, 0, 0
	supported := map[string]int{}
	meant := map[coordinator.TimerKey]bool{}
	for m := g.first; m != nil; m = m.next {
		size++
		if m.join != coordinator.Nobody {
			joins++
		}
		if m.owesSync {
			syncs++
		}
		for _, p := range m.protocols {
			supported[p.Name]++
		}
		if g.members[m.id] != m || m.instanceID != nil && g.instances[*m.instanceID] != m {
			w.wrong("member %s is not in the books", m.id)
		}
		key := g.sessionTimer(m.id)
		if at, set := w.timers[key]; set != !m.armed.IsZero() || set && !at.Equal(m.armed) {
			w.wrong("the session timer of %s is set: %v, at %v, but the member says %v", m.id, set, at, m.armed)
		}
		if m.armed.IsZero() && !m.isAwaited() {
			w.wrong("nothing ends the session of %s", m.id)
		}
		meant[key] = true
	}
	if joins != g.joins || syncs != g.syncs || size != len(g.members) || !maps.Equal(supported, g.supported) {
		w.wrong("the books are wrong: joins %d %d, syncs %d %d, members %d %d, supported %v %v",
			joins, g.joins, syncs, g.syncs, size, len(g.members), supported, g.supported)
	}
	for id := range g.pending {
		if meant[g.sessionTimer(id)] = true; w.timers[g.sessionTimer(id)].IsZero() {
			w.wrong("nothing ends the wait for %s", id)
		}
	}
	meant[g.timer(TimerJoin)] = g.state == PreparingRebalance
	meant[g.timer(TimerSync)] = g.syncs > 0
	for _, kind := range []uint8{TimerJoin, TimerSync} {
		if _, set := w.timers[g.timer(kind)]; meant[g.timer(kind)] && !set {
			w.wrong("timer %d should be set in %s", kind, g.state)
		}
	}
	for key := range w.timers {
		if !meant[key] && !w.stale {
			w.wrong("timer %s is left over", showTimer(key))
		}
	}
}

// recorded is what the records say about a group, in words.
func recorded(g *Group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s generation=%d type=%s protocol=%s",
		g.state, g.generation, g.protocolType, showString(g.protocol))
	if g.leader != nil {
		fmt.Fprintf(&b, " leader=%s", g.leader.id)
	}
	fmt.Fprintf(&b, " topics=%v,%v since=%d\n", g.topics, g.topicsKnown, g.stateTimestamp)
	for m := g.first; m != nil; m = m.next {
		fmt.Fprintf(&b, "  %s instance=%s client=%s/%s rebalance=%s session=%s says=%q has=%q\n",
			m.id, showString(m.instanceID), m.clientID, m.clientHost, m.rebalanceTimeout, m.sessionTimeout,
			m.metadata(*g.protocol), m.assignment)
	}
	return b.String()
}

func showString(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func showTimer(key coordinator.TimerKey) string {
	switch key.Kind {
	case TimerSession:
		return "session of " + key.Member
	case TimerJoin:
		return "end of joining"
	case TimerSync:
		return "end of syncing"
	}
	return fmt.Sprintf("timer %d", key.Kind)
}
