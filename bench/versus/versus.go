package versus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"spate/bench/report"
	"spate/bench/result"
)

// Format is the version of the JSON of an outcome.
const Format = 1

// Side is one of the two brokers.
type Side struct {
	Name      string `json:"name"`
	Bootstrap string `json:"bootstrap"`
	PID       int    `json:"pid,omitempty"` // of the broker on this machine; 0: its processor time is not measured
}

// Options say what is to be compared.
type Options struct {
	Sides     [2]Side
	Workloads []string // by name
	Rounds    int      // each workload runs so often on each side
	// Run makes one run of a workload on a side.
	Run func(ctx context.Context, side Side, workload, round int) (*result.Result, error)
}

// Outcome is what a comparison found out.
type Outcome struct {
	Format    int        `json:"format"`
	Sides     [2]Side    `json:"sides"`
	Rounds    int        `json:"rounds"`
	Workloads []Workload `json:"workloads"`
	// Interrupted: what follows is what was found until then.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Workload is one workload on both sides.
type Workload struct {
	Name string              `json:"name"`
	Rows []Row               `json:"rows"`
	Runs [2][]*result.Result `json:"runs"` // of each side, by round
}

// Row is one figure on both sides.
type Row struct {
	report.Figure
	A      Spread       `json:"a"`
	B      Spread       `json:"b"`
	Values [2][]float64 `json:"values"`
	// Ratio is that of A to B; nil where a side lacks the figure or it is zero.
	Ratio *Ratio `json:"ratio,omitempty"`
}

// Run runs everything: round by round, in each round every workload, on A and B, in the next on B and A. A run that an
// interruption cut short is left out with its round. A run that found records lost ends the comparison, a
// short one too.
func Run(ctx context.Context, o Options) (*Outcome, error) {
	out := &Outcome{Format: Format, Sides: o.Sides, Rounds: o.Rounds}
	for _, name := range o.Workloads {
		out.Workloads = append(out.Workloads, Workload{Name: name})
	}
	for round := range o.Rounds {
		for n := range o.Workloads {
			pair, err := o.pair(ctx, n, round)
			if err != nil {
				return out.done(), err
			}
			if pair[0] == nil || pair[1] == nil {
				out.Interrupted = true
				return out.done(), nil
			}
			for side, r := range pair {
				out.Workloads[n].Runs[side] = append(out.Workloads[n].Runs[side], r)
			}
		}
	}
	return out.done(), nil
}

// pair is a round of one workload: a run on each side. One that is missing was interrupted.
func (o Options) pair(ctx context.Context, workload, round int) (pair [2]*result.Result, err error) {
	for _, side := range Order(len(o.Sides), round) {
		if ctx.Err() != nil {
			return pair, nil
		}
		r, err := o.Run(ctx, o.Sides[side], workload, round)
		if err == nil && (!r.Interrupted || r.Verification.Outcome == result.VerifiedFailed) {
			err = r.Failed()
		}
		if err != nil {
			return pair, fmt.Errorf("%s on %s: %w", o.Workloads[workload], o.Sides[side].Name, err)
		}
		if r.Interrupted {
			return pair, nil
		}
		r.Name = fmt.Sprintf("%s, round %d", o.Sides[side].Name, round+1)
		pair[side] = r
	}
	return pair, nil
}

// done fills in the rows, and leaves out workloads of which no round is whole.
func (out *Outcome) done() *Outcome {
	var whole []Workload
	for _, w := range out.Workloads {
		if len(w.Runs[0]) > 0 {
			w.Rows = Rows(w.Runs)
			whole = append(whole, w)
		}
	}
	out.Workloads = whole
	return out
}

// Rows are the figures of both sides. One that neither side has in every round is left out.
func Rows(runs [2][]*result.Result) []Row {
	var rows []Row
	for _, both := range report.Rows(append(append([]*result.Result{}, runs[0]...), runs[1]...)) {
		row := Row{Figure: both.Figure}
		for n, v := range both.Values {
			if !math.IsNaN(v) {
				side := n / len(runs[0])
				row.Values[side] = append(row.Values[side], v)
			}
		}
		if len(row.Values[0]) != len(runs[0]) && len(row.Values[1]) != len(runs[1]) {
			continue
		}
		row.A, row.B = Of(row.Values[0]), Of(row.Values[1])
		if r, known := RatioOf(row.A, row.B); known {
			row.Ratio = &r
		}
		rows = append(rows, row)
	}
	return rows
}

// Text shows a spread in the figure's unit: the median, the smallest and the largest.
func (r Row) Text(s Spread) string {
	if s.Count == 0 {
		return "-"
	}
	median, least, most := r.Figure.Text(s.Median), r.Figure.Text(s.Min), r.Figure.Text(s.Max)
	if s.Count == 1 {
		return median
	}
	unit := median[strings.LastIndexByte(median, ' ')+1:]
	if strings.HasSuffix(least, " "+unit) && strings.HasSuffix(most, " "+unit) { // it is said once
		least, most = strings.TrimSuffix(least, " "+unit), strings.TrimSuffix(most, " "+unit)
	}
	return fmt.Sprintf("%s (%s to %s)", median, least, most)
}

// RatioText shows the ratio and its bounds.
func (r Row) RatioText() string {
	if r.Ratio == nil {
		return "-"
	}
	if r.A.Count == 1 {
		return fmt.Sprintf("%.2f", r.Ratio.Ratio)
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Ratio.Ratio, r.Ratio.Min, r.Ratio.Max)
}

// RoundsMin is how many rounds it takes to call a side ahead. Of two sides that are the same, all that one reached is
// ahead of all that the other did in every third comparison of 2 rounds, in every tenth of 3, in one of 35 of 4.
const RoundsMin = 4

// Verdict says which side is ahead of all that the other reached; empty with fewer than RoundsMin rounds, and where
// neither more nor less is better.
func (r Row) Verdict(sides [2]Side) string {
	switch {
	case r.Ratio == nil || r.Better == 0 || min(r.A.Count, r.B.Count) < RoundsMin:
		return ""
	case r.Ratio.Alike:
		return "alike"
	case r.Ratio.Ratio > 1 == (r.Better > 0):
		return sides[0].Name
	}
	return sides[1].Name
}

// Write writes an outcome as JSON.
func (out *Outcome) Write(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(out)
}

// Table is a workload for people: each figure of both sides, how they relate, and which side is ahead.
func (w Workload) Table(sides [2]Side) report.Table {
	t := report.Table{ID: "versus", Header: []string{"", sides[0].Name, sides[1].Name,
		sides[0].Name + " / " + sides[1].Name, "ahead"}}
	for _, r := range w.Rows {
		t.Rows = append(t.Rows, report.TableRow{
			Cells: []string{r.Name, r.Text(r.A), r.Text(r.B), r.RatioText(), r.Verdict(sides)},
		})
	}
	return t
}

// Note says that the sides promise different things with an acknowledgement; empty where they do not, or do not tell.
func (w Workload) Note(sides [2]Side) string {
	a, b := report.Durability(w.Runs[0][0]), report.Durability(w.Runs[1][0])
	if a == b || a == "" || b == "" {
		return ""
	}
	return fmt.Sprintf("Not like with like: %s acknowledges records when they are %s, %s when they are %s.",
		sides[0].Name, a, sides[1].Name, b)
}

// WriteHTML writes an outcome as an HTML file that loads nothing: of each workload the figures of all rounds, and plots
// of the first.
func (out *Outcome) WriteHTML(w io.Writer) error {
	if len(out.Workloads) == 0 {
		return errors.New("no round was finished: there is nothing to report")
	}
	var sections []report.Section
	for _, one := range out.Workloads {
		t := one.Table(out.Sides)
		hint := fmt.Sprintf("Medians of %d rounds, in parentheses the smallest and the largest.", len(one.Runs[0]))
		if len(one.Runs[0]) == 1 {
			hint = "One round."
		}
		if len(one.Runs[0]) < RoundsMin {
			hint += fmt.Sprintf(" %d or more tell which side is ahead.", RoundsMin)
		}
		s := report.Section{Title: one.Name, Table: &t, Runs: []*result.Result{one.Runs[0][0], one.Runs[1][0]},
			Hint: strings.TrimSpace(one.Note(out.Sides) + " " + hint + " Below: the first round.")}
		sections = append(sections, s)
	}
	heading := out.Sides[0].Name + " versus " + out.Sides[1].Name
	return report.WriteSections(w, heading, out.Workloads[0].Runs[0][0].Began, sections)
}
