package clock

import (
	"sort"
	"sync"
	"time"
)

// Manual is a clock for tests and simulations: time stands still until Advance moves it. Any goroutine may call it.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	pending []*manualTimer // sorted by deadline, then by the order in which they were armed
}

// manualTimer is one AfterFunc. The fields below belong to its clock's lock.
type manualTimer struct {
	clock    *Manual
	f        func()
	deadline time.Time
}

// NewManual returns a clock that shows start.
func NewManual(start time.Time) *Manual { return &Manual{now: start} }

// Now is the time that Advance has reached.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// AfterFunc has f called by the Advance that reaches d from now, on the goroutine of that Advance.
func (m *Manual) AfterFunc(d time.Duration, f func()) Timer {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &manualTimer{clock: m, f: f}
	m.armLocked(t, d)
	return t
}

// Advance moves time forward by d and calls, in the order of their deadlines, every function that falls due, with Now
// at its deadline. A function that arms another timer within d has that one called too.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	end := m.now.Add(d)
	for len(m.pending) > 0 && !m.pending[0].deadline.After(end) {
		t := m.pending[0]
		m.pending = append(m.pending[:0], m.pending[1:]...)
		if t.deadline.After(m.now) {
			m.now = t.deadline
		}
		m.mu.Unlock()
		t.f()
		m.mu.Lock()
	}
	if end.After(m.now) {
		m.now = end
	}
	m.mu.Unlock()
}

// Pending is the number of timers that have not fired.
func (m *Manual) Pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending)
}

// Stop cancels the call and reports whether it was still pending.
func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.clock.disarmLocked(t)
}

// Reset sets the timer to fire d from now and reports whether it was still pending.
func (t *manualTimer) Reset(d time.Duration) bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	was := t.clock.disarmLocked(t)
	t.clock.armLocked(t, d)
	return was
}

func (m *Manual) armLocked(t *manualTimer, d time.Duration) {
	t.deadline = m.now.Add(d)
	at := sort.Search(len(m.pending), func(i int) bool { return m.pending[i].deadline.After(t.deadline) })
	m.pending = append(m.pending, nil)
	copy(m.pending[at+1:], m.pending[at:])
	m.pending[at] = t
}

func (m *Manual) disarmLocked(t *manualTimer) bool {
	for i, p := range m.pending {
		if p == t {
			m.pending = append(m.pending[:i], m.pending[i+1:]...)
			return true
		}
	}
	return false
}
