package rate

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSchedule: a steady rate is even, a ramp has the right number by half of its time.
func TestSchedule(t *testing.T) {
	steady := Schedule{1000, 1000, 5 * time.Second}
	for n, want := range map[int64]time.Duration{0: 0, 1: time.Millisecond, 4999: 4999 * time.Millisecond} {
		if got := steady.Due(n); got != want {
			t.Errorf("record %d is due at %v, want %v", n, got, want)
		}
	}
	if steady.Count() != 5000 {
		t.Errorf("%d records, want 5000", steady.Count())
	}
	ramp := Schedule{0, 1000, 10 * time.Second} // 5000 in all; a quarter of them in the first half
	if got := ramp.Due(1250); ramp.Count() != 5000 || got < 4999*time.Millisecond || got > 5001*time.Millisecond {
		t.Errorf("%d records, record 1250 is due at %v", ramp.Count(), got)
	}
	if ramp.At(0) != 0 || ramp.At(5*time.Second) != 500 || ramp.At(time.Hour) != 1000 {
		t.Errorf("%v, %v, %v", ramp.At(0), ramp.At(5*time.Second), ramp.At(time.Hour))
	}
}

// TestScheduleProperty: no record is due before the one before it, none before the start, and none after the end.
func TestScheduleProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{rapid.Float64Range(1, 1e5).Draw(t, "from"), rapid.Float64Range(1, 1e5).Draw(t, "to"),
			time.Duration(rapid.IntRange(1, 10_000).Draw(t, "ms")) * time.Millisecond}
		count := s.Count()
		step := max(1, count/1000)
		last := time.Duration(0)
		for n := int64(0); n < count; n += step {
			due := s.Due(n)
			if due < last || due > s.Length+time.Microsecond {
				t.Fatalf("record %d of %d is due at %v, the one before at %v", n, count, due, last)
			}
			last = due
		}
	})
}

// TestSearch finds the highest rate of a system that has one, from any start, within the precision.
func TestSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Float64Range(2, 1e6).Draw(t, "limit")
		start := rapid.Float64Range(1, 1e6).Draw(t, "start")
		s := NewSearch(start, 0, 0.05)
		tries := 0
		for next, ok := s.Next(); ok; next, ok = s.Next() {
			tries++
			s.Report(next <= limit)
		}
		met, failed := s.Best()
		if met > limit || failed <= limit || met < 0.94*limit-2 || tries > 80 {
			t.Errorf("from %v: %v met it and %v failed after %d tries, the limit is %v", start, met, failed, tries,
				limit)
		}
	})
}

// TestSearchEnds: with a maximum that holds, with a system that never does it, and with a hiccup.
func TestSearchEnds(t *testing.T) {
	for _, c := range []struct {
		name        string
		max         float64
		try         func(rate float64, n int) bool
		met, failed float64
	}{
		{"every rate is met", 5000, func(float64, int) bool { return true }, 5000, 0},
		{"no rate is met", 5000, func(float64, int) bool { return false }, 0, 1.5625},
		{"a rate fails once, and not again", 1600, func(_ float64, n int) bool { return n != 2 }, 1600, 0},
	} {
		s := NewSearch(100, c.max, 0.05)
		n := 0
		for next, ok := s.Next(); ok; next, ok = s.Next() {
			s.Report(c.try(next, n))
			n++
		}
		if met, failed := s.Best(); met != c.met || failed != c.failed {
			t.Errorf("%s: %v met it, %v failed, want %v, %v", c.name, met, failed, c.met, c.failed)
		}
	}
}
