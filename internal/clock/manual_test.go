package clock

import (
	"slices"
	"sync"
	"testing"
	"time"
)

var start = time.Unix(1_000_000_000, 0)

// TestManualFiresInOrder: functions are called in the order of their deadlines, then of arming, with the clock at their
// deadline, and only when it gets there.
func TestManualFiresInOrder(t *testing.T) {
	m := NewManual(start)
	var got []string
	arm := func(name string, d time.Duration) Timer {
		return m.AfterFunc(d, func() { got = append(got, name+m.Now().Sub(start).String()) })
	}
	expect := func(want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Fatalf("called %v, expected %v", got, want)
		}
		got = nil
	}
	arm("b", 2*time.Second)
	arm("a", time.Second)
	arm("c", 2*time.Second)
	arm("late", time.Minute)
	arm("now", 0)
	expect()
	m.Advance(0)
	expect("now0s")
	m.Advance(time.Second)
	expect("a1s")
	m.Advance(999 * time.Millisecond)
	expect()
	m.Advance(time.Millisecond)
	expect("b2s", "c2s")
	if m.Pending() != 1 || !m.Now().Equal(start.Add(2*time.Second)) {
		t.Fatalf("%d pending at %v", m.Pending(), m.Now())
	}
	m.Advance(time.Hour)
	expect("late1m0s")
}

// TestManualPeriodic: a function that arms itself again is called as often as time that passes at once has room for.
func TestManualPeriodic(t *testing.T) {
	m := NewManual(start)
	calls := 0
	var timer Timer
	timer = m.AfterFunc(time.Second, func() {
		calls++
		timer.Reset(time.Second)
	})
	m.Advance(10*time.Second + 500*time.Millisecond)
	if calls != 10 {
		t.Fatalf("%d calls in ten seconds", calls)
	}
}

// TestManualStopAndReset: as those of time.Timer.
func TestManualStopAndReset(t *testing.T) {
	m := NewManual(start)
	calls := 0
	timer := m.AfterFunc(time.Second, func() { calls++ })
	if !timer.Stop() || timer.Stop() {
		t.Fatal("a timer is pending until it is stopped")
	}
	if timer.Reset(time.Second) {
		t.Fatal("a stopped timer was pending")
	}
	m.Advance(500 * time.Millisecond)
	if !timer.Reset(time.Second) {
		t.Fatal("a timer was not pending")
	}
	m.Advance(999 * time.Millisecond)
	if calls != 0 {
		t.Fatal("called too early")
	}
	m.Advance(time.Millisecond)
	if calls != 1 || timer.Stop() || m.Pending() != 0 {
		t.Fatalf("%d calls, %d pending", calls, m.Pending())
	}
}

// TestManualFromManyGoroutines: for the race detector.
func TestManualFromManyGoroutines(t *testing.T) {
	m := NewManual(start)
	var group sync.WaitGroup
	var mu sync.Mutex
	calls := 0
	for range 4 {
		group.Go(func() {
			for range 100 {
				m.AfterFunc(time.Millisecond, func() { mu.Lock(); calls++; mu.Unlock() })
				m.Advance(time.Millisecond)
				_ = m.Now()
			}
		})
	}
	group.Wait()
	m.Advance(time.Second)
	if calls != 400 {
		t.Fatalf("%d calls", calls)
	}
}
