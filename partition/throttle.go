package partition

import (
	"math"
	"sync"
	"time"
)

// Throttle holds several goroutines together to a rate in bytes a second, which may change while they wait. Who was
// idle has no claim to more later. The zero Throttle is ready.
type Throttle struct {
	mu      sync.Mutex
	at      time.Time
	taken   float64 // bytes so far
	granted float64 // of them, up to at
}

// Take takes bytes, and gives what Left is to be asked with.
func (t *Throttle) Take(now time.Time, rate float64, bytes int) (ticket float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now, rate)
	t.taken += float64(bytes)
	return t.taken
}

// Left is how long it takes at the present rate until what was taken is granted; not at all without a rate.
func (t *Throttle) Left(now time.Time, rate float64, ticket float64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now, rate)
	if rate <= 0 || ticket <= t.granted {
		return 0
	}
	return time.Duration(math.Ceil(min((ticket-t.granted)/rate, time.Hour.Seconds()) * float64(time.Second)))
}

func (t *Throttle) advance(now time.Time, rate float64) {
	if rate <= 0 {
		t.granted = t.taken
	}
	if passed := now.Sub(t.at).Seconds(); passed > 0 {
		t.granted, t.at = min(t.granted+passed*rate, t.taken), now
	}
}
