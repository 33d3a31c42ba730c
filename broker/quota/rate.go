package quota

import "math"

// Window is what rates are measured over: so many samples, each of so many milliseconds.
type Window struct {
	Samples  int
	SampleMs int64
}

// Ms is the whole window in milliseconds: who did nothing for so long is as one who was never there.
func (w Window) Ms() int64 { return int64(w.Samples) * w.SampleMs }

// Rate measures a rate. The zero value is ready. A sample lasts from the first value in it until a value comes later
// than its time, so a rate that nobody asked for costs nothing; one sample more than the window has is kept, for the
// oldest overlaps its begin.
type Rate struct {
	samples []sample
	current int
}

type sample struct {
	startMs int64
	lastMs  int64 // when a value was last added
	sum     float64
}

// Record adds a value, which may be negative to take back another.
func (r *Rate) Record(w Window, value float64, nowMs int64) {
	s := r.now(w, nowMs)
	s.sum += value
	s.lastMs = nowMs
}

// now is the sample that a value of this moment belongs to.
func (r *Rate) now(w Window, nowMs int64) *sample {
	if len(r.samples) == 0 {
		r.samples = append(make([]sample, 0, w.Samples+1), sample{startMs: nowMs, lastMs: nowMs})
	}
	s := &r.samples[r.current]
	if nowMs-s.startMs < w.SampleMs {
		return s
	}
	r.current = (r.current + 1) % (w.Samples + 1)
	if r.current == len(r.samples) {
		r.samples = append(r.samples, sample{})
	}
	s = &r.samples[r.current]
	*s = sample{startMs: nowMs, lastMs: nowMs}
	return s
}

// Measure is the rate a second, and over how many milliseconds it is measured.
func (r *Rate) Measure(w Window, nowMs int64) (perSecond float64, overMs int64) {
	sum, oldest := 0.0, nowMs
	for i := range r.samples {
		s := &r.samples[i]
		if nowMs-s.lastMs >= w.Ms() {
			*s = sample{startMs: nowMs, lastMs: nowMs}
		}
		sum += s.sum
		oldest = min(oldest, s.startMs)
	}
	// A window that has only just begun counts as if all but its last sample were over.
	overMs = nowMs - oldest
	if whole := overMs / w.SampleMs; whole < int64(w.Samples-1) {
		overMs += (int64(w.Samples-1) - whole) * w.SampleMs
	}
	overMs = max(overMs, 1)
	return sum / (float64(overMs) / 1000), overMs
}

// Idle tells whether the rate is as one that was never recorded.
func (r *Rate) Idle(w Window, nowMs int64) bool {
	for i := range r.samples {
		if nowMs-r.samples[i].lastMs < w.Ms() {
			return false
		}
	}
	return true
}

// ThrottleMs is for how long nothing may be added for the rate to fall to the limit: 0 where it is not above it.
func (r *Rate) ThrottleMs(w Window, limit float64, nowMs int64) int32 {
	perSecond, overMs := r.Measure(w, nowMs)
	if !(perSecond > limit) {
		return 0
	}
	return milliseconds((perSecond - limit) / limit * float64(overMs))
}

// milliseconds rounds as Java does, and stays within what an answer can say.
func milliseconds(ms float64) int32 {
	return int32(min(max(math.Floor(ms+0.5), 0), math.MaxInt32))
}

// Bucket holds tokens, which come in at the limit's rate and go with what is done. It holds those of a whole window
// at most, and may be overdrawn. The zero value is a full one.
type Bucket struct {
	tokens float64
	lastMs int64 // when it was filled last
	used   bool  // else it is full
}

// Take takes tokens out, or puts them back where n is negative.
func (b *Bucket) Take(w Window, limit, n float64, nowMs int64) {
	b.tokens = min(b.Tokens(w, limit, nowMs)-n, burst(w, limit))
}

// Tokens is how many there are; below 0, how many are owed.
func (b *Bucket) Tokens(w Window, limit float64, nowMs int64) float64 {
	if !b.used {
		b.used, b.tokens, b.lastMs = true, burst(w, limit), nowMs
	}
	b.tokens = min(b.tokens+limit*float64(nowMs-b.lastMs)/1000, burst(w, limit))
	b.lastMs = nowMs
	return b.tokens
}

// ThrottleMs is for how long nothing may be taken until no token is owed: 0 where none is.
func (b *Bucket) ThrottleMs(w Window, limit float64, nowMs int64) int32 {
	owed := -b.Tokens(w, limit, nowMs)
	if !(owed > 0) {
		return 0
	}
	return milliseconds(owed / limit * 1000)
}

// Idle tells whether the bucket is as one that nothing was ever taken from, as long as the limit stays.
func (b *Bucket) Idle(w Window, limit float64, nowMs int64) bool {
	return b.Tokens(w, limit, nowMs) >= burst(w, limit)
}

func burst(w Window, limit float64) float64 { return float64(w.Ms()) / 1000 * limit }
