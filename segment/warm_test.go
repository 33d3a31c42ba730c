package segment

import (
	"testing"
	"time"

	"spate/internal/clock"
	"spate/kafka"
)

func TestWarm(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	w := warm{clock: c}
	check := func(what string, from, to int64, want bool) {
		t.Helper()
		if w.has(from, to) != want {
			t.Errorf("%s: [%d, %d): %v", what, from, to, !want)
		}
	}
	check("nothing was ever written", 0, 1, false)
	if w.recent() {
		t.Error("nothing was ever written")
	}
	w.note(100_000, 120_000) // pages 24 to 29
	check("the pages of what was written", 98_304, 122_880, true)
	check("the page before", 98_303, 120_000, false)
	check("the page behind", 100_000, 122_881, false)
	c.Advance(500 * time.Millisecond)
	w.note(120_000, 130_000)
	w.note(90_000, 98_304)
	check("it grows at both ends", 90_000, 130_000, true)
	c.Advance(1400 * time.Millisecond)
	check("it lasts", 90_000, 130_000, true)
	if !w.recent() {
		t.Error("it is not recent")
	}
	w.note(130_000, 140_000) // so late that it takes the place of what was there
	check("what is new", 130_000, 140_000, true)
	check("what is old", 120_000, 130_000, false)
	c.Advance(2 * time.Second)
	check("it ends", 130_000, 140_000, false)
	if w.recent() {
		t.Error("it is recent for ever")
	}
	w.note(0, positionMax)
	check("the largest log", 0, positionMax, true)
	w.note(200_000, 200_001)
	check("within it", 0, positionMax, true)
	w.clock = clock.NewManual(c.Now().Add(-time.Second))
	check("the clock was set back", 0, 1, false)
	w.note(0, 10)
	check("the clock was set back, and it went on", 0, 10, true)
	w.note(1<<20, 1<<20+10)
	check("elsewhere", 0, 10, false)
	check("elsewhere", 1<<20, 1<<20+10, true)
	if w = (warm{}); w.has(0, 0) || w.recent() {
		t.Error("warm without a clock")
	}
}

// TestReadsRemember: what was appended is warm, later what was asked about, and what lies ahead of it.
func TestReadsRemember(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	o := testOptions()
	o.Clock, o.BytesMax = c, 4<<20
	s := create(t, memDisk(t), 0, o)
	for range 300 {
		stamped(t, s, 10_000, 1)
	}
	check := func(what string, offset kafka.Offset, want bool) {
		t.Helper()
		r, err := s.Read(offset, 20_000, true, s.NextOffset())
		must(t, err)
		if r.Warm() != want {
			t.Errorf("%s: offset %d: %v", what, offset, !want)
		}
		r.Release()
		if r.Warm() {
			t.Error("warm without a range")
		}
	}
	check("just appended", 299, true)
	check("just appended", 0, true)
	c.Advance(2 * time.Second)
	check("later", 299, false)
	stamped(t, s, 10_000, 1)
	check("the last", 300, true)
	check("one before", 290, false)
	if !s.Resident(0, 20_000, s.NextOffset()) {
		t.Fatal("a disk in memory has cold pages")
	}
	check("asked about", 0, true)
	check("ahead of it", 100, true)
	check("further ahead", 110, false)
	if must(t, s.TruncateTo(50)); !s.Resident(20, 20_000, s.NextOffset()) {
		t.Fatal("a disk in memory has cold pages")
	}
	check("after a truncation", 20, true)
	must(t, s.Close())
}
