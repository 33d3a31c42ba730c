package runtime

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/coordinator"
)

func key(i int) coordinator.TimerKey {
	return coordinator.TimerKey{Kind: 1, Group: fmt.Sprint("group-", i/10), Member: fmt.Sprint("member-", i)}
}

// Goal: timers fire in the order of their times, and of setting where these are equal; one that was moved or taken back
// fires at its last time, or not at all. Method: against a list that is searched.
func TestTimersAgainstAList(t *testing.T) {
	type entry struct {
		key   coordinator.TimerKey
		at    time.Time
		order int
	}
	rapid.Check(t, func(t *rapid.T) {
		timers, now := newTimers(), time.Unix(0, 0)
		var model []entry
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := key(rapid.IntRange(0, 20).Draw(t, "key"))
			known := slices.IndexFunc(model, func(e entry) bool { return e.key == k })
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1, 2:
				at := now.Add(time.Duration(rapid.IntRange(-5, 20).Draw(t, "after")) * time.Second)
				if at.IsZero() {
					continue
				}
				timers.set(k, at)
				if known >= 0 {
					model = slices.Delete(model, known, known+1)
				}
				model = append(model, entry{k, at, i})
			case 3:
				timers.set(k, time.Time{})
				if known >= 0 {
					model = slices.Delete(model, known, known+1)
				}
			default:
				now = now.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "pass")) * time.Second)
				slices.SortFunc(model, func(a, b entry) int { return cmp.Or(a.at.Compare(b.at), a.order-b.order) })
				for len(model) > 0 && !model[0].at.After(now) {
					if got, due := timers.pop(now, timers.count); !due || got != model[0].key {
						t.Fatalf("popped %v %t, want %v", got, due, model[0].key)
					}
					model = model[1:]
				}
				if got, due := timers.pop(now, timers.count); due {
					t.Fatalf("popped %v, which is not due", got)
				}
			}
			if timers.len() != len(model) {
				t.Fatalf("%d timers, want %d", timers.len(), len(model))
			}
			if next, any := timers.next(); any && len(model) > 0 {
				first := slices.MinFunc(model, func(a, b entry) int { return a.at.Compare(b.at) })
				if next.After(first.at) {
					t.Fatalf("the next is looked for at %v, after %v", next, first.at)
				}
			}
		}
	})
}

// Goal: a heartbeat, which moves a timer, costs no memory, however many timers there are.
func TestMovingATimerAllocatesNothing(t *testing.T) {
	timers, now := newTimers(), time.Unix(0, 0)
	keys := make([]coordinator.TimerKey, 100_000)
	for i := range keys {
		keys[i] = key(i)
		timers.set(keys[i], now.Add(time.Duration(i)*time.Millisecond))
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i = (i + 7919) % len(keys)
		now = now.Add(time.Millisecond)
		timers.set(keys[i], now.Add(45*time.Second))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMoveTimer(b *testing.B) {
	timers, now := newTimers(), time.Unix(0, 0)
	keys := make([]coordinator.TimerKey, 100_000)
	for i := range keys {
		keys[i] = key(i)
		timers.set(keys[i], now.Add(45*time.Second))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(30 * time.Microsecond) // 100,000 heartbeats in three seconds
		timers.set(keys[i*7919%len(keys)], now.Add(45*time.Second))
		if k, due := timers.pop(now, timers.count); due {
			timers.set(k, now.Add(45*time.Second))
		}
	}
}
