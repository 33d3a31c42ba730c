package metrics

import (
	"slices"
	"sync/atomic"
	"time"
)

// Counter is a number that only grows.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Value is the count so far.
func (c *Counter) Value() uint64 { return c.n.Load() }

// Gauge is a number that goes up and down.
type Gauge struct{ n atomic.Int64 }

// Set replaces the value.
func (g *Gauge) Set(n int64) { g.n.Store(n) }

// Add changes the value by n, which may be negative.
func (g *Gauge) Add(n int64) { g.n.Add(n) }

// Value is the value now.
func (g *Gauge) Value() int64 { return g.n.Load() }

// Histogram counts durations in fixed buckets. Observe does not allocate or lock; a reader may see an observation in
// its bucket before it is in the sum.
type Histogram struct {
	sum     atomic.Uint64 // nanoseconds
	buckets [len(bounds) + 1]atomic.Uint64
}

// bounds are the upper limits of the buckets, inclusive: 1, 2.5 and 5 of each decade from a microsecond, which an
// append to memory takes, to ten seconds, past which a request has timed out in spirit.
var bounds = [...]time.Duration{
	1 * time.Microsecond, 2500 * time.Nanosecond, 5 * time.Microsecond,
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	1 * time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Observe counts one duration; a negative one, which a clock step can make, counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	low, high := 0, len(bounds)
	for low < high {
		if middle := (low + high) / 2; bounds[middle] < d {
			low = middle + 1
		} else {
			high = middle
		}
	}
	h.buckets[low].Add(1)
	h.sum.Add(uint64(d))
}

// Snapshot reads the histogram.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Bounds: slices.Clone(bounds[:]), Counts: make([]uint64, len(h.buckets))}
	for i := range h.buckets {
		s.Counts[i] = h.buckets[i].Load()
	}
	s.Sum = time.Duration(h.sum.Load())
	return s
}

// Snapshot is what a histogram held at one moment.
type Snapshot struct {
	Bounds []time.Duration // upper limits, inclusive, growing
	Counts []uint64        // one for each bound, not cumulated, and one for what lies past the last
	Sum    time.Duration
}
