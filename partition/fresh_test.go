package partition

import (
	"testing"
	"time"

	"spate/kafka"
)

func TestFresh(t *testing.T) {
	var f fresh
	at := func(ms int) time.Time {
		return time.UnixMilli(1_800_000_000_000).Add(time.Duration(ms) * time.Millisecond)
	}
	check := func(ms int, offset kafka.Offset, want bool) {
		t.Helper()
		if f.has(offset, at(ms)) != want {
			t.Errorf("after %d ms, offset %d: %v", ms, offset, !want)
		}
	}
	check(0, 0, false) // nothing was ever appended
	f.note(100, at(0))
	check(1, 99, false)
	check(1, 100, true)
	f.note(200, at(500)) // in the same window
	check(501, 100, true)
	check(1999, 100, true)
	check(2000, 200, false) // the end of a log that rests
	f.note(300, at(1500))   // the window after it
	check(1501, 99, false)
	check(1501, 100, true)
	f.note(400, at(2600)) // the next one: what came in the first is not fresh any more
	check(2601, 299, false)
	check(2601, 300, true)
	f.note(500, at(9000)) // after a rest
	check(9001, 499, false)
	check(9001, 500, true)
	f.note(600, at(4000)) // the clock was set back
	check(4001, 599, false)
	check(4001, 600, true)
	check(6000, 600, false)
}
