package bench

import (
	"testing"
	"time"

	"spate/bench/result"
)

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
