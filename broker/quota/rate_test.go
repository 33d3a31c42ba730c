package quota

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Goal: rates, tokens and waits are those of Kafka's clients. Method: a model that goes through the
// steps of Kafka's metrics; examples; and the law that who waits as told keeps to the limit.

var kafkas = Window{Samples: 11, SampleMs: 1000}

// model is the statistic in Kafka's metrics step by step: samples that are made as values come, used again in turn, and
// emptied when they are looked at and have got no value for a window.
type model struct {
	all     []*sample
	current int
}

func (m *model) at(nowMs int64) *sample {
	if len(m.all) == 0 {
		m.all = append(m.all, &sample{startMs: nowMs, lastMs: nowMs})
	}
	return m.all[m.current]
}

func (m *model) record(w Window, value float64, nowMs int64) {
	s := m.at(nowMs)
	if nowMs-s.startMs >= w.SampleMs {
		m.current = (m.current + 1) % (w.Samples + 1)
		if m.current >= len(m.all) {
			m.all = append(m.all, &sample{})
		}
		s = m.all[m.current]
		*s = sample{startMs: nowMs, lastMs: nowMs}
	}
	s.sum += value
	s.lastMs = nowMs
}

func (m *model) measure(w Window, nowMs int64) (perSecond float64, overMs int64) {
	sum := 0.0
	for _, s := range m.all {
		if nowMs-s.lastMs >= int64(w.Samples)*w.SampleMs {
			*s = sample{startMs: nowMs, lastMs: nowMs}
		}
		sum += s.sum
	}
	oldest := slices.MinFunc(append([]*sample{{startMs: nowMs}}, m.all...), func(a, b *sample) int {
		return cmp.Compare(a.startMs, b.startMs)
	})
	overMs = nowMs - oldest.startMs
	full, least := overMs/w.SampleMs, int64(w.Samples-1)
	if full < least {
		overMs += (least - full) * w.SampleMs
	}
	overMs = max(overMs, 1)
	return sum / (float64(overMs) / 1000), overMs
}

func TestRatesAreThoseOfTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := Window{Samples: rapid.IntRange(1, 12).Draw(t, "samples"),
			SampleMs: rapid.Int64Range(1, 3).Draw(t, "seconds") * 1000}
		var r Rate
		var m model
		now := rapid.Int64Range(0, 1e12).Draw(t, "begin")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.OneOf(rapid.Int64Range(0, 1500), rapid.Int64Range(0, 2*w.Ms())).Draw(t, "pause")
			if rapid.Bool().Draw(t, "record") {
				value := rapid.Float64Range(0, 1e6).Draw(t, "value")
				r.Record(w, value, now)
				m.record(w, value, now)
			}
			got, gotMs := r.Measure(w, now)
			want, wantMs := m.measure(w, now)
			if math.Abs(got-want) > 1e-6*max(want, 1) || gotMs != wantMs {
				t.Fatalf("at %d: %v over %d ms, want %v over %d ms", now, got, gotMs, want, wantMs)
			}
			if len(r.samples) > w.Samples+1 {
				t.Fatalf("%d samples are kept", len(r.samples))
			}
		}
	})
}

// TestWaitsKeepToTheLimit: over the whole time, waits included, no more is let through than the limit allows, and two
// windows' worth: one that is let through at once, and one when that is forgotten.
func TestWaitsKeepToTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Float64Range(0.5, 1e6).Draw(t, "limit")
		var r Rate
		now, total := int64(1e9), 0.0
		begin := now
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now += rapid.Int64Range(0, 300).Draw(t, "pause")
			value := rapid.Float64Range(0, 3).Draw(t, "seconds' worth") * limit
			total += value
			r.Record(kafkas, value, now)
			wait := r.ThrottleMs(kafkas, limit, now)
			if wait < 0 {
				t.Fatalf("wait of %d ms", wait)
			}
			now += int64(wait)
			if most := limit * (float64(now-begin)/1000 + 2*float64(kafkas.Samples)); total > most*(1+1e-3) {
				t.Fatalf("%v in %d ms at %v a second", total, now-begin, limit)
			}
		}
	})
}

func TestThrottleTimes(t *testing.T) {
	for _, c := range []struct {
		name  string
		value float64
		limit float64
		want  int32
	}{
		{"nothing", 0, 1000, 0},
		{"all that a first burst may be", 10_000, 1000, 0},
		{"a little more than that", 10_001, 1000, 1},
		{"twice that", 20_000, 1000, 10_000},
		{"very much more", 1e30, 1, math.MaxInt32},
		{"no limit at all", 1, math.NaN(), 0},
		{"a limit of nothing", 1, 0, math.MaxInt32},
	} {
		var r Rate
		r.Record(kafkas, c.value, 5_000_000)
		if got := r.ThrottleMs(kafkas, c.limit, 5_000_000); got != c.want {
			t.Errorf("%s: %d ms, want %d", c.name, got, c.want)
		}
	}
}

func TestWhatIsTakenBackDoesNotCount(t *testing.T) {
	var r, other Rate
	for now := int64(0); now < 30_000; now += 300 {
		r.Record(kafkas, 10, now)
		other.Record(kafkas, 10, now)
		r.Record(kafkas, 1e6, now)
		r.Record(kafkas, -1e6, now)
		got, _ := r.Measure(kafkas, now)
		if want, _ := other.Measure(kafkas, now); math.Abs(got-want) > 1e-6 {
			t.Fatalf("at %d: %v, want %v", now, got, want)
		}
	}
}

func TestTheQuietAreAsNew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Rate
		now := int64(1e9)
		for range rapid.IntRange(1, 20).Draw(t, "values") {
			now += rapid.Int64Range(0, 5000).Draw(t, "pause")
			r.Record(kafkas, 7, now)
			if r.Idle(kafkas, now) {
				t.Fatal("idle with a value of now")
			}
		}
		if r.Idle(kafkas, now+kafkas.Ms()-1) || !r.Idle(kafkas, now+kafkas.Ms()) {
			t.Fatal("a rate is not idle just after a window")
		}
		now += kafkas.Ms() + rapid.Int64Range(0, 5000).Draw(t, "silence")
		var fresh Rate
		for range 5 {
			now += rapid.Int64Range(0, 2000).Draw(t, "step")
			got, _ := r.Measure(kafkas, now)
			want, _ := fresh.Measure(kafkas, now)
			if got != want {
				t.Fatalf("%v, but a new rate has %v", got, want)
			}
		}
	})
}

func TestBuckets(t *testing.T) {
	var b Bucket
	now := int64(1e12)
	if got := b.Tokens(kafkas, 2, now); got != 22 {
		t.Fatalf("a new bucket has %v tokens", got)
	}
	b.Take(kafkas, 2, 30, now)
	if got, wait := b.Tokens(kafkas, 2, now), b.ThrottleMs(kafkas, 2, now); got != -8 || wait != 4000 {
		t.Fatalf("%v tokens, a wait of %d ms", got, wait)
	}
	now += 3999
	if wait := b.ThrottleMs(kafkas, 2, now); wait != 1 || b.Idle(kafkas, 2, now) {
		t.Fatalf("a wait of %d ms", wait)
	}
	now += 1
	if wait := b.ThrottleMs(kafkas, 2, now); wait != 0 || math.Abs(b.Tokens(kafkas, 2, now)) > 1e-9 {
		t.Fatalf("a wait of %d ms", wait)
	}
	now += 11_000
	if !b.Idle(kafkas, 2, now) {
		t.Fatalf("a bucket is not full after a window: %v", b.Tokens(kafkas, 2, now))
	}
	b.Take(kafkas, 2, -5, now)
	if got := b.Tokens(kafkas, 2, now); got != 22 {
		t.Fatalf("a bucket holds %v tokens", got)
	}
	// A lower limit empties what is above its burst.
	if got := b.Tokens(kafkas, 1, now); got != 11 {
		t.Fatalf("%v tokens under a lower limit", got)
	}
}

// TestBucketsAreThoseOfTheModel counts from the begin: what came in, never more than the bucket holds, less what went.
func TestBucketsAreThoseOfTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Float64Range(0.1, 100).Draw(t, "limit")
		var b Bucket
		now, tokens, last := int64(0), limit*11, int64(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += rapid.Int64Range(0, 20_000).Draw(t, "pause")
			n := rapid.Float64Range(0, 50).Draw(t, "n")
			tokens = min(limit*11, tokens+limit*float64(now-last)/1000) - n
			last = now
			b.Take(kafkas, limit, n, now)
			if got := b.Tokens(kafkas, limit, now); math.Abs(got-tokens) > 1e-6 {
				t.Fatalf("%v tokens, want %v", got, tokens)
			}
			if wait := b.ThrottleMs(kafkas, limit, now); (wait > 0) != (tokens < 0) &&
				math.Abs(tokens)/limit*1000 >= 0.5 {
				t.Fatalf("%v tokens, and a wait of %d ms", tokens, wait)
			}
		}
	})
}

func TestMeasuresDoNotAllocate(t *testing.T) {
	var r Rate
	now := int64(0)
	r.Record(kafkas, 1, now)
	if n := testing.AllocsPerRun(1000, func() {
		now += 700
		r.Record(kafkas, 1, now)
		r.ThrottleMs(kafkas, 1, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRate(b *testing.B) {
	var r Rate
	now := int64(0)
	for b.Loop() {
		now++
		r.Record(kafkas, 1, now)
		r.ThrottleMs(kafkas, 1e9, now)
	}
}
