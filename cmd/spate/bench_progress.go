package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"spate/bench"
	benchreport "spate/bench/report"
	benchresult "spate/bench/result"
)

// benchProgress prints how far a run is: a line for each second of load, and one for each phase that takes long.
type benchProgress struct {
	out    io.Writer
	began  time.Time
	phase  string
	silent time.Time // when something was said last in this phase
}

func newBenchProgress(out io.Writer) *benchProgress {
	return &benchProgress{out: out, began: time.Now()}
}

// close implements benchView: lines stay.
func (b *benchProgress) close() {}

// show prints one line at most.
func (b *benchProgress) show(p bench.Progress) {
	if p.Phase != b.phase {
		b.phase, b.silent = p.Phase, time.Now()
		return
	}
	s := p.Second
	if s != nil && s.Length < benchreport.LengthMin {
		s = nil
	}
	if s == nil && time.Since(b.silent) < time.Second {
		return
	}
	b.silent = time.Now()
	line := fmt.Sprintf("%5s  %-8s", shortDuration(time.Since(b.began).Seconds()), p.Phase)
	if s != nil {
		line += "  " + secondText(s)
	}
	if p.Fraction >= 0 && p.Phase != benchresult.PhaseDrain {
		line += fmt.Sprintf("  %3.0f%%", p.Fraction*100)
	}
	if p.Left > 0 {
		line += fmt.Sprintf(", %s left", shortDuration(p.Left.Seconds()))
	}
	fmt.Fprintln(b.out, line)
}

// secondText is a second of load in a line.
func secondText(s *benchresult.Second) string {
	parts := []string{}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if s.ProducedRecords > 0 || s.ConsumedRecords == 0 {
		add("in %s", paceText(s.ProducedRecords, s.ProducedBytes, s.Length))
	}
	if s.ConsumedRecords > 0 {
		add("out %s", paceText(s.ConsumedRecords, s.ConsumedBytes, s.Length))
	}
	for _, name := range []string{benchresult.LatencyEndToEnd, benchresult.LatencyAck} {
		if l, ok := s.Latencies[name]; ok {
			add("%s p50 %s p99 %s max %s ms", latencyTitles[name], millis(l.P50), millis(l.P99), millis(l.Max))
			break
		}
	}
	if s.LagRecords != nil && *s.LagRecords > 0 {
		add("lag %d", *s.LagRecords)
	}
	if s.BehindSeconds >= 0.05 {
		add("%.1fs behind", s.BehindSeconds)
	}
	if s.Errors > 0 {
		add("%s", plural(s.Errors, "error"))
	}
	if s.BrokerUserCores != nil {
		add("broker %.2f cores %s", *s.BrokerUserCores+*s.BrokerSystemCores, byteText(*s.BrokerMemoryBytes))
	}
	return strings.Join(parts, ", ")
}

func paceText(records, bytes int64, seconds float64) string {
	return fmt.Sprintf("%.0f/s %.1f MB/s", float64(records)/seconds, float64(bytes)/1e6/seconds)
}

// millis is a number of microseconds as milliseconds, with three digits that matter.
func millis(micros int64) string {
	switch {
	case micros < 10_000:
		return fmt.Sprintf("%.2f", float64(micros)/1000)
	case micros < 100_000:
		return fmt.Sprintf("%.1f", float64(micros)/1000)
	}
	return fmt.Sprintf("%d", micros/1000)
}
