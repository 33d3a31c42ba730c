// Package clock is time and timers as an interface, so that a test or a simulation decides what time it is. It owns
// nothing but the timers that it hands out. Any goroutine may call it.
package clock

import "time"

// Clock tells the time and wakes callers. Production uses Real; machines never see a Clock, they are handed now.
type Clock interface {
	// Now is the current time; it carries a monotonic reading, so differences are safe from clock steps.
	Now() time.Time
	// AfterFunc runs f on a goroutine of its own once d has passed.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending AfterFunc.
type Timer interface {
	// Stop cancels the call and reports whether it was still pending.
	Stop() bool
	// Reset sets the timer to fire after d from now and reports whether it was still pending.
	Reset(d time.Duration) bool
}

// Real is the machine's clock.
type Real struct{}

// Now is time.Now.
func (Real) Now() time.Time { return time.Now() }

// AfterFunc is time.AfterFunc.
func (Real) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }
