package quota

import "net/netip"

// Connections measures how fast connections come in: all together, and from each address that has a quota.
type Connections struct {
	window Window
	all    Rate
	byIP   map[netip.Addr]*Rate
	sweep  int // at so many addresses those are forgotten that have been quiet
}

// sweepMin is how many addresses are kept before any is forgotten.
const sweepMin = 1 << 10

// NewConnections measures over that window.
func NewConnections(w Window) *Connections {
	return &Connections{window: w, byIP: map[netip.Addr]*Rate{}, sweep: sweepMin}
}

// Verdict is what becomes of a newcomer.
type Verdict struct {
	WaitMs   int32 // it and all after it are taken only then
	RefuseMs int32 // not 0: it is not served, and its connection is closed only then
}

// Admit counts a newcomer, of whom the broker takes at most so many a second and its address may send at most ipLimit.
// No wait is longer than a sample. One that is refused does not count.
func (c *Connections) Admit(ip netip.Addr, limit, ipLimit int, nowMs int64) (v Verdict) {
	if limit < Unlimited {
		c.all.Record(c.window, 1, nowMs)
		v.WaitMs = c.bounded(c.all.ThrottleMs(c.window, float64(limit), nowMs))
	}
	if ipLimit >= Unlimited {
		return v
	}
	rate := c.of(ip, nowMs)
	rate.Record(c.window, 1, nowMs)
	if v.RefuseMs = c.bounded(rate.ThrottleMs(c.window, float64(ipLimit), nowMs)); v.RefuseMs == 0 {
		return v
	}
	rate.Record(c.window, -1, nowMs)
	if limit < Unlimited {
		c.all.Record(c.window, -1, nowMs)
		v.WaitMs = 0
	}
	return v
}

func (c *Connections) bounded(ms int32) int32 { return int32(min(int64(ms), c.window.SampleMs)) }

// of is the measure of an address. Those that have been quiet for a window are as if they had never been, so they are
// forgotten when there are many: as often as their number has doubled.
func (c *Connections) of(ip netip.Addr, nowMs int64) *Rate {
	if rate := c.byIP[ip]; rate != nil {
		return rate
	}
	if len(c.byIP) >= c.sweep {
		for other, rate := range c.byIP {
			if rate.Idle(c.window, nowMs) {
				delete(c.byIP, other)
			}
		}
		c.sweep = max(sweepMin, 2*len(c.byIP))
	}
	rate := new(Rate)
	c.byIP[ip] = rate
	return rate
}
