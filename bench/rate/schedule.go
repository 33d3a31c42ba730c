// Package rate says when records are due, and which rate to try next. A schedule knows nothing of the broker: a record
// that could not be sent in time is still due when it was, which is what keeps an open loop honest. It is pure.
//
//tidy:pure
package rate

import (
	"math"
	"time"
)

// Schedule is a rate that stays as it is, or that grows or falls in a straight line.
type Schedule struct {
	From, To float64 // records a second, at the start and at the end; more than 0 together
	Length   time.Duration
}

// Count is how many records are due in all.
func (s Schedule) Count() int64 {
	return int64(math.Round((s.From + s.To) / 2 * s.Length.Seconds()))
}

// Due is when record n, counted from 0, is to be sent, since the start.
func (s Schedule) Due(n int64) time.Duration {
	growth := (s.To - s.From) / s.Length.Seconds() // a second, each second
	if growth == 0 {
		return time.Duration(float64(n) / s.From * float64(time.Second))
	}
	// n = From*t + growth*t*t/2, solved for t; the form that loses no digits where growth is small.
	root := math.Sqrt(max(0, s.From*s.From+2*growth*float64(n)))
	return time.Duration(2 * float64(n) / (s.From + root) * float64(time.Second))
}

// At is the rate at a moment since the start.
func (s Schedule) At(since time.Duration) float64 {
	share := min(1, max(0, since.Seconds()/s.Length.Seconds()))
	return s.From + (s.To-s.From)*share
}
