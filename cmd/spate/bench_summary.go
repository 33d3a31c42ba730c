package main

import (
	"fmt"
	"io"
	"strings"

	benchreport "spate/bench/report"
	benchresult "spate/bench/result"
)

var latencyTitles = map[string]string{benchresult.LatencyAck: "ack", benchresult.LatencyEndToEnd: "end to end",
	benchresult.LatencyCommit: "commit", benchresult.LatencyRebalance: "rebalance"}

// printBench prints a result for people.
func printBench(out io.Writer, r *benchresult.Result) error {
	fmt.Fprintf(out, "%s\n\n", escaped(benchTitle(r)))
	flows := &table{indent: "  ", header: []string{"", "RECORDS", "RECORDS/S", "MB/S"}}
	for _, f := range []struct {
		name string
		flow benchresult.Flow
	}{{"produced", r.Totals.Produced}, {"consumed", r.Totals.Consumed}} {
		if f.flow.Records > 0 {
			flows.add(f.name, fmt.Sprint(f.flow.Records), fmt.Sprintf("%.0f", f.flow.RecordsPerSecond),
				fmt.Sprintf("%.2f", f.flow.BytesPerSecond/1e6))
		}
	}
	if len(flows.rows) == 0 {
		fmt.Fprintln(out, "  nothing was produced or consumed")
	} else if err := flows.print(out, 0); err != nil {
		return err
	}
	if err := printLatencies(out, r); err != nil {
		return err
	}
	if err := printSteps(out, r); err != nil {
		return err
	}
	fmt.Fprintln(out)
	printCounts(out, r)
	for _, f := range r.Verification.Faults {
		fmt.Fprintf(out, "    %s: %s\n", f.Kind, escaped(f.Text))
	}
	for _, e := range r.Errors {
		fmt.Fprintf(out, "  %s: %s\n", plural(e.Count, "error"), escaped(e.Text))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "  note: %s\n", escaped(note))
	}
	return nil
}

// benchTitle says what ran.
func benchTitle(r *benchresult.Result) string {
	value := map[string]string{}
	given := []string{}
	for _, s := range r.Settings {
		value[s.Key] = s.Value
		if s.Given && s.Key != "name" {
			given = append(given, s.Key+"="+s.Value)
		}
	}
	title := r.Name
	if r.Name != r.Workload {
		title += " (" + r.Workload + ")"
	}
	title += ": "
	if len(given) > 0 {
		title += strings.Join(given, " ")
	} else {
		title += "defaults"
	}
	title += fmt.Sprintf(", at %s", r.Environment.Bootstrap)
	if r.Environment.Software != "" {
		title += fmt.Sprintf(" (%s", r.Environment.Software)
		if when := benchreport.Durability(r); when != "" {
			title += ", acknowledged when " + when
		}
		title += ")"
	}
	if r.Interrupted {
		title += ", INTERRUPTED"
	}
	return title
}

func printLatencies(out io.Writer, r *benchresult.Result) error {
	if len(r.Latencies) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	t := &table{indent: "  ", header: []string{"LATENCY, MS", "P50", "P90", "P99", "P99.9", "P99.99", "MAX"}}
	for _, name := range benchresult.LatencyNames {
		if h := r.Latencies[name]; h != nil {
			p := h.Percentiles()
			t.add(latencyTitles[name], millis(p.P50), millis(p.P90), millis(p.P99), millis(p.P999), millis(p.P9999),
				millis(p.Max))
		}
	}
	return t.print(out, 0)
}

// printSteps prints the parts of a run, and what a search has found.
func printSteps(out io.Writer, r *benchresult.Result) error {
	if len(r.Steps) > 0 {
		fmt.Fprintln(out)
		t := &table{indent: "  ", header: []string{"STEP (LATENCY IN MS)", "RATE", "ACHIEVED", "ACK P99", "E2E P50",
			"E2E P99", "E2E P99.9", "E2E MAX", ""}}
		for n, s := range r.Steps {
			name := fmt.Sprint(n + 1)
			if s.Name != "" {
				name = s.Name
			}
			ack, end := s.Latencies[benchresult.LatencyAck], s.Latencies[benchresult.LatencyEndToEnd]
			row := []string{name, fmt.Sprintf("%.0f", s.Rate), fmt.Sprintf("%.0f", s.Achieved)}
			for _, cell := range []struct {
				of    benchresult.Percentiles
				value int64
			}{{ack, ack.P99}, {end, end.P50}, {end, end.P99}, {end, end.P999}, {end, end.Max}} {
				text := ""
				if cell.of.Count > 0 {
					text = millis(cell.value)
				}
				row = append(row, text)
			}
			verdict := " "
			if s.Met != nil && *s.Met {
				verdict = "met"
			} else if s.Met != nil {
				verdict = "not met: " + s.Why
			}
			t.add(append(row, verdict)...)
		}
		if err := t.print(out, 0); err != nil {
			return err
		}
	}
	if s := r.Search; s != nil {
		found := fmt.Sprintf("%.0f records/s is the highest rate with %s", s.Rate, s.Objective)
		switch {
		case s.Rate == 0:
			found = fmt.Sprintf("no rate met %s", s.Objective)
		case s.Failed == 0:
			found += "; none that was tried failed"
		}
		if !s.Whole {
			found += " so far; the search was not finished"
		}
		fmt.Fprintf(out, "\n  %s\n", found)
	}
	return nil
}

// printCounts prints what there is one of.
func printCounts(out io.Writer, r *benchresult.Result) {
	t := r.Totals
	if t.Committed+t.Aborted > 0 {
		fmt.Fprintf(out, "  transactions  %d committed, %d aborted, %.0f/s\n", t.Committed, t.Aborted,
			float64(t.Committed+t.Aborted)/max(t.Elapsed, 1e-3))
	}
	if t.Rebalances > 0 {
		fmt.Fprintf(out, "  rebalances    %d, in which partitions were given to members %d times; %s given again\n",
			t.Rebalances, t.PartitionMoves, plural(r.Verification.Redelivered, "record"))
	}
	for _, u := range []struct {
		name  string
		usage *benchresult.Usage
	}{{"broker", t.Broker}, {"this tool", t.Client}} {
		if u.usage == nil {
			continue
		}
		fmt.Fprintf(out, "  %-12s  %.2f CPU-s (%.2f user, %.2f system)", u.name, u.usage.CPUSeconds(),
			u.usage.UserSeconds, u.usage.SystemSeconds)
		if u.usage.CPUSecondsPerGB > 0 {
			fmt.Fprintf(out, ", %.2f CPU-s/GB, %.1f µs a record", u.usage.CPUSecondsPerGB, u.usage.CPUMicrosPerRecord)
		}
		fmt.Fprintf(out, ", %s at most\n", byteText(u.usage.MemoryBytesMax))
	}
	fmt.Fprintf(out, "  %-12s  %s\n", "verification", map[string]string{
		benchresult.VerifiedOK: "ok: ", benchresult.VerifiedFailed: "FAILED: ",
		benchresult.VerifiedIncomplete: "incomplete: ",
	}[r.Verification.Outcome]+escaped(r.Verification.Text))
}
