package bench

import (
	"runtime"
	"testing"
	"time"

	"spate/bench/result"
)

// TestNoteOnCores: of a short moment the kernel's ticks do not tell how busy the load generator was.
func TestNoteOnCores(t *testing.T) {
	for took, notes := range map[time.Duration]int{10 * time.Millisecond: 0, time.Second: 1} {
		r := &run{meter: newMeter(0, nil), result: &result.Result{Totals: result.Totals{
			Client: &result.Usage{UserSeconds: 2 * float64(runtime.GOMAXPROCS(0)) * took.Seconds()}}}}
		r.meter.last.at = r.meter.counting.at.Add(took)
		if r.notes(); len(r.result.Notes) != notes {
			t.Errorf("%v: %q", took, r.result.Notes)
		}
	}
}

// TestStepLatenciesStay: what is given of a step does not change with what is counted while it is looked at: members of
// a group come and go at any time.
func TestStepLatenciesStay(t *testing.T) {
	m := newMeter(0, nil)
	recorder := m.recorders[result.LatencyRebalance]
	recorder.record(time.Millisecond)
	m.sample()
	given := m.stepLatencies()[result.LatencyRebalance]
	recorder.record(time.Second)
	m.sample() // as the ticker does
	if p := given.Percentiles(); p.Count != 1 || p.Max > 2000 {
		t.Errorf("%+v", p)
	}
	if p := m.stepLatencies()[result.LatencyRebalance].Percentiles(); p.Count != 2 {
		t.Errorf("%+v", p)
	}
}
