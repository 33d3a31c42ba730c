package runtime

import (
	"time"

	"spate/coordinator"
)

// timers are the timers of one machine: a heap by time and a map by key. A timer that is moved to later keeps its place
// in the heap until that comes up, so that a heartbeat, which moves one, costs a look into the map.
type timers struct {
	byKey map[coordinator.TimerKey]*timer
	heap  []*timer // by due, then by the order in which they were set
	count uint64
}

type timer struct {
	key   coordinator.TimerKey
	at    time.Time // when it fires
	due   time.Time // its place in the heap; never after at
	order uint64    // of two that are due at the same time, the one set first fires first
	index int
}

func newTimers() timers { return timers{byKey: map[coordinator.TimerKey]*timer{}} }

func (t *timers) len() int { return len(t.heap) }

// set sets, moves or, with a zero time, takes back the timer of a key.
func (t *timers) set(key coordinator.TimerKey, at time.Time) {
	known := t.byKey[key]
	if at.IsZero() {
		if known != nil {
			t.remove(known)
		}
		return
	}
	t.count++
	if known == nil {
		known = &timer{key: key, index: len(t.heap)}
		t.byKey[key] = known
		t.heap = append(t.heap, known)
	} else if !at.Before(known.due) {
		known.at, known.order = at, t.count
		t.fix(known)
		return
	}
	known.at, known.due, known.order = at, at, t.count
	t.fix(known)
}

// next is when the earliest timer may be due; false if there is none.
func (t *timers) next() (time.Time, bool) {
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return t.heap[0].due, true
}

// pop takes the earliest timer that is due by now. One that was set after the first setBefore settings is left: it is
// not due before the next turn.
func (t *timers) pop(now time.Time, setBefore uint64) (coordinator.TimerKey, bool) {
	for len(t.heap) > 0 {
		first := t.heap[0]
		if first.due.After(now) {
			break
		}
		if first.at.After(first.due) {
			first.due = first.at
			t.down(first)
			continue
		}
		if first.order > setBefore {
			break
		}
		t.remove(first)
		return first.key, true
	}
	return coordinator.TimerKey{}, false
}

func (t *timers) remove(gone *timer) {
	delete(t.byKey, gone.key)
	last := len(t.heap) - 1
	moved := t.heap[last]
	t.heap[last] = nil
	t.heap = t.heap[:last]
	if moved != gone {
		t.place(moved, gone.index)
		t.fix(moved)
	}
}

func (t *timers) fix(moved *timer) {
	t.down(moved)
	t.up(moved)
}

func (t *timers) place(moved *timer, index int) {
	t.heap[index] = moved
	moved.index = index
}

func (a *timer) before(b *timer) bool {
	if a.due.Equal(b.due) {
		return a.order < b.order
	}
	return a.due.Before(b.due)
}

func (t *timers) up(moved *timer) {
	i := moved.index
	for i > 0 {
		parent := (i - 1) / 2
		if !moved.before(t.heap[parent]) {
			break
		}
		t.place(t.heap[parent], i)
		i = parent
	}
	t.place(moved, i)
}

func (t *timers) down(moved *timer) {
	i := moved.index
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			break
		}
		if right := child + 1; right < len(t.heap) && t.heap[right].before(t.heap[child]) {
			child = right
		}
		if !t.heap[child].before(moved) {
			break
		}
		t.place(t.heap[child], i)
		i = child
	}
	t.place(moved, i)
}
