package versus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"spate/bench/report"
	"spate/bench/report/reporttest"
	"spate/bench/result"
)

// TestSpread sums measurements up.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3, 1}},
		{[]float64{5, 1, 3}, Spread{3, 1, 5, 3}},
		{[]float64{4, 1, 3, 2}, Spread{2.5, 1, 4, 4}},
	} {
		if got := Of(c.values); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.values, got, c.want)
		}
	}
}

// TestOrder: forth and back, so that drift favours nobody.
func TestOrder(t *testing.T) {
	got := [][]int{Order(2, 0), Order(2, 1), Order(2, 2), Order(3, 1)}
	if want := [][]int{{0, 1}, {1, 0}, {0, 1}, {2, 1, 0}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestRatio: a side is ahead only where all that it reached is ahead of all that the other did.
func TestRatio(t *testing.T) {
	for _, c := range []struct {
		a, b  []float64
		want  Ratio
		known bool
	}{
		{[]float64{10, 12, 11}, []float64{10, 10, 10}, Ratio{1.1, 1, 1.2, true}, true},
		{[]float64{20, 30, 40}, []float64{10, 10, 10}, Ratio{3, 2, 4, false}, true},
		{[]float64{1, 4}, []float64{2, 2}, Ratio{1.25, 0.5, 2, true}, true},
		{[]float64{1010}, []float64{1000}, Ratio{1.01, 1.01, 1.01, true}, true},
		{[]float64{1}, []float64{0}, Ratio{}, false},
		{nil, []float64{1}, Ratio{}, false},
	} {
		if got, known := RatioOf(Of(c.a), Of(c.b)); got != c.want || known != c.known {
			t.Errorf("%v to %v: %+v, %v", c.a, c.b, got, known)
		}
	}
}

// sides of the tests.
var sides = [2]Side{{Name: "A", Bootstrap: "a:1", PID: 1}, {Name: "B", Bootstrap: "b:1"}}

// TestRun runs two workloads in turn, B twice as slow as A; what cannot be compared is left out.
func TestRun(t *testing.T) {
	var order []string
	out, err := Run(t.Context(), Options{Sides: sides, Workloads: []string{"one", "two"}, Rounds: 4,
		Run: func(_ context.Context, side Side, workload, _ int) (*result.Result, error) {
			order = append(order, fmt.Sprint(side.Name, workload))
			slower := 1 + float64(len(order))/1000
			r := reporttest.Sample("x", slower)
			if side.Name == "B" {
				r = reporttest.Sample("x", 2*slower)
				r.Totals.Client, r.Environment.Durability = nil, "page-cache"
			}
			return r, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "A0 B0 A1 B1 B0 A0 B1 A1 A0 B0 A1 B1 B0 A0 B1 A1" {
		t.Errorf("the order was %s", got)
	}
	var rows []string
	for _, r := range out.Workloads[1].Table(sides).Rows {
		rows = append(rows, strings.Join(r.Cells, " | "))
	}
	for _, want := range []string{
		"broker CPU | 0.422 cores (0.419 to 0.425) | 0.844 cores (0.840 to 0.849) | 0.50 (0.49 to 0.51) | A",
		"produced | 10,000 /s (10,000 to 10,000) | 10,000 /s (10,000 to 10,000) | 1.00 (1.00 to 1.00) | alike",
		"load generator CPU | 0.582 cores (0.582 to 0.582) | - | - | ",
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(rows, "\n"))
		}
	}
	var page, text bytes.Buffer
	if err := errors.Join(out.WriteHTML(&page), out.Write(&text)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<h1>A versus B</h1>", `<h2 class="section">two</h2>`, `id="plot-2-records"`,
		"Medians of 4 rounds", "A, round 1",
		"Not like with like: A acknowledges records when they are flushed to disk, B when they are in the page cache.",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in the page", want)
		}
	}
}

// TestVerdict: with few rounds nobody is called ahead, nor where more and less are as good.
func TestVerdict(t *testing.T) {
	slow, fast := Of([]float64{1, 1, 1, 1}), Of([]float64{2, 2, 2, 2})
	for _, c := range []struct {
		a, b   Spread
		better int
		want   string
	}{
		{slow, fast, 1, "B"}, {fast, slow, 1, "A"}, {slow, fast, -1, "A"}, {slow, fast, 0, ""},
		{slow, slow, 1, "alike"},
		{Of([]float64{1, 1, 1}), Of([]float64{2, 2, 2}), 1, ""},
	} {
		r := Row{Figure: report.Figure{Better: c.better}, A: c.a, B: c.b}
		if ratio, known := RatioOf(c.a, c.b); known {
			r.Ratio = &ratio
		}
		if got := r.Verdict(sides); got != c.want {
			t.Errorf("%v to %v, better %d: %q, want %q", c.a, c.b, c.better, got, c.want)
		}
	}
}

// TestRunEnds: an interruption leaves out the round that it cut short; lost records and failures end everything, and
// what was found before is given.
func TestRunEnds(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name   string
		last   func(*result.Result) error // what happens to the fourth run
		rounds int
		err    string
		cut    bool
	}{
		{"an interruption", func(r *result.Result) error { r.Interrupted = true; return nil }, 1, "", true},
		{"a failure", func(*result.Result) error { return broken }, 1, "one on A: broken", false},
		{"a lost record", func(r *result.Result) error {
			r.Verification = result.Verification{Outcome: result.VerifiedFailed, Text: "1 is lost"}
			return nil
		}, 1, "one on A: 1 is lost", false},
		{"a lost record, found after an interruption", func(r *result.Result) error {
			r.Interrupted = true
			r.Verification = result.Verification{Outcome: result.VerifiedFailed, Text: "1 is lost"}
			return nil
		}, 1, "one on A: 1 is lost", false},
	} {
		runs := 0
		out, err := Run(t.Context(), Options{Sides: sides, Workloads: []string{"one"}, Rounds: 5,
			Run: func(context.Context, Side, int, int) (*result.Result, error) {
				r := reporttest.Sample("x", 1)
				if runs++; runs == 4 {
					return r, c.last(r)
				}
				return r, nil
			}})
		if fmt.Sprint(err) != c.err && !(err == nil && c.err == "") {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(out.Workloads[0].Runs[0]) != c.rounds || out.Interrupted != c.cut {
			t.Errorf("%s: %d rounds, interrupted %v", c.name, len(out.Workloads[0].Runs[0]), out.Interrupted)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := Run(cancelled, Options{Sides: sides, Workloads: []string{"one"}, Rounds: 1})
	if err != nil || !out.Interrupted || len(out.Workloads) != 0 || out.WriteHTML(&bytes.Buffer{}) == nil {
		t.Errorf("%v, %+v", err, out)
	}
}
