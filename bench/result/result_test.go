package result

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRoundTrip writes a result and reads it back: nothing is lost, the histogram's curve included.
func TestRoundTrip(t *testing.T) {
	h := NewHistogram()
	for n := range 10_000 {
		h.Record(time.Duration(n+1) * 10 * time.Microsecond)
	}
	h.Record(2 * time.Hour) // counts as the end of the range
	lag := int64(7)
	r := &Result{Format: Format, Name: "one", Workload: "e2e", Began: time.Unix(1, 0).UTC(),
		Settings:     []Setting{{"rate", "1000", true}, {"acks", "all", false}},
		Latencies:    map[string]*Histogram{LatencyEndToEnd: h},
		Seconds:      []Second{{AtSeconds: 1, Length: 1, Phase: PhaseLoad, LagRecords: &lag}},
		Verification: Verification{Outcome: VerifiedOK, Text: "nothing is wrong"},
	}
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	back, err := Read(&out)
	if err != nil {
		t.Fatal(err)
	}
	if h.Count() != 10_001 || back.Latencies[LatencyEndToEnd].Percentiles() != h.Percentiles() {
		t.Errorf("%d latencies; %+v is not %+v", h.Count(), back.Latencies[LatencyEndToEnd].Percentiles(),
			h.Percentiles())
	}
	if diff := cmp.Diff(h.Curve(), back.Latencies[LatencyEndToEnd].Curve()); diff != "" {
		t.Error(diff)
	}
	back.Latencies, r.Latencies = nil, nil
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
}

// TestRead refuses what is no result, or one of another version.
func TestRead(t *testing.T) {
	for _, text := range []string{"", "[]", "{}", `{"format": 2}`, `{"format": 1, "latencies": {"ack": {"hdr": "x"}}}`} {
		if r, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read as %+v", text, r)
		}
	}
}

// TestHistogram gives the figures of a known distribution, and the text that plotters read.
func TestHistogram(t *testing.T) {
	h := NewHistogram()
	if (h.Percentiles() != Percentiles{}) || h.Curve() != nil {
		t.Errorf("an empty histogram has %+v, %v", h.Percentiles(), h.Curve())
	}
	for n := range 1000 {
		h.Record(time.Duration(n+1) * time.Millisecond)
	}
	p := h.Percentiles()
	for _, c := range []struct{ got, want int64 }{
		{p.Min, 1000}, {p.P50, 500_000}, {p.P90, 900_000}, {p.P99, 990_000}, {p.P999, 999_000}, {p.Max, 1_000_000},
	} {
		if c.got < c.want || c.got > c.want+c.want/1000+1 {
			t.Errorf("%d, want %d", c.got, c.want)
		}
	}
	var text strings.Builder
	if err := h.WriteHGRM(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Value", "Percentile", "500.", "0.990625", "#[Mean"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

// TestFailed says when a run is no success.
func TestFailed(t *testing.T) {
	ok := Verification{Outcome: VerifiedOK}
	for _, c := range []struct {
		name string
		r    Result
		want string
	}{
		{"all is well", Result{Verification: ok}, ""},
		{"not verified", Result{Verification: Verification{Outcome: VerifiedOff}}, ""},
		{"a record is lost", Result{Verification: Verification{Outcome: VerifiedFailed, Text: "1 lost"}}, "1 lost"},
		{"records were refused", Result{Verification: ok, Totals: Totals{Errors: 2},
			Errors: []ErrorCount{{"no", 2}}}, "2 errors, most often: no"},
	} {
		got := ""
		if err := c.r.Failed(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
