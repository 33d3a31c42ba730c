package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"spate/bench"
	benchreport "spate/bench/report"
	benchresult "spate/bench/result"
)

// benchView shows how far a run is. Its methods are called by one goroutine at a time.
type benchView interface {
	show(p bench.Progress)
	close() // takes away what is not to stay
}

// newBenchView makes the view that fits: a terminal gets one that is painted anew every second; a file, or a terminal
// that cannot be painted, gets lines.
func newBenchView(out io.Writer, title string) benchView {
	if !isTerminal(out) || os.Getenv("TERM") == "dumb" {
		return newBenchProgress(out)
	}
	width := func() int { return widthOf(out) }
	return &liveView{out: out, title: title, width: width, now: time.Now, began: time.Now()}
}

// liveView paints the present state of a run over that of a second before.
type liveView struct {
	out   io.Writer
	title string
	width func() int // of the terminal, which may change; 0: not known
	now   func() time.Time
	began time.Time

	painted int // lines that are on the screen
	second  *benchresult.Second
	errors  int64
	flows   [2][]float64 // records a second in and out, the last historyMax seconds
}

const (
	historyMax   = 40
	barMin       = 8
	barMax       = 40
	besideBar    = 36 // characters of the phase, the percentage and the time
	widthDefault = 80
)

// show implements benchView.
func (v *liveView) show(p bench.Progress) {
	if s := p.Second; s != nil {
		v.errors += s.Errors
		if s.Length >= benchreport.LengthMin {
			v.keep(s)
		}
	}
	v.paint(v.lines(p))
}

// keep makes a second the one that is shown.
func (v *liveView) keep(s *benchresult.Second) {
	v.second = s
	for way, records := range []int64{s.ProducedRecords, s.ConsumedRecords} {
		v.flows[way] = append(v.flows[way], float64(records)/s.Length)
		v.flows[way] = v.flows[way][max(0, len(v.flows[way])-historyMax):]
	}
}

// close implements benchView.
func (v *liveView) close() { v.paint(nil) }

// paint replaces what is on the screen. All goes out in one write, so that nothing flickers.
func (v *liveView) paint(lines []string) {
	if v.painted == 0 && len(lines) == 0 {
		return
	}
	width := v.columns()
	var b strings.Builder
	if v.painted > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA", v.painted)
	}
	for _, line := range lines {
		b.WriteString(clip(line, width-1) + eraseToEnd + "\n")
	}
	b.WriteString(eraseBelow)
	v.painted = len(lines)
	_, _ = io.WriteString(v.out, b.String()) // a terminal that is gone is told by the result
}

// columns is how wide the terminal is now.
func (v *liveView) columns() int {
	if width := v.width(); width > 0 {
		return width
	}
	return widthDefault
}

// eraseBelow clears everything from the cursor on.
const eraseBelow = "\x1b[J"

// clip ends a line where the terminal does: one that wraps would be two.
func clip(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:max(0, width)])
}

// lines are what the screen shows.
func (v *liveView) lines(p bench.Progress) []string {
	lines := []string{escaped(v.title), v.bar(p)}
	s := v.second
	if s == nil {
		return lines
	}
	for way, flow := range []struct {
		name           string
		records, bytes int64
	}{{"produced", s.ProducedRecords, s.ProducedBytes}, {"consumed", s.ConsumedRecords, s.ConsumedBytes}} {
		if highest(v.flows[way]) > 0 {
			lines = append(lines, fmt.Sprintf("  %-10s  %9.0f /s  %7.1f MB/s  %s", flow.name,
				float64(flow.records)/s.Length, float64(flow.bytes)/1e6/s.Length, sparks(v.flows[way])))
		}
	}
	for _, name := range benchresult.LatencyNames {
		if l, found := s.Latencies[name]; found && l.Count > 0 {
			lines = append(lines, fmt.Sprintf("  %-10s  p50 %-6s p99 %-6s p99.9 %-6s max %-6s ms",
				latencyTitles[name], millis(l.P50), millis(l.P99), millis(l.P999), millis(l.Max)))
		}
	}
	state := fmt.Sprintf("  errors %d", v.errors)
	if s.LagRecords != nil {
		state += fmt.Sprintf("   lag %d", *s.LagRecords)
	}
	if s.Target > 0 {
		state += fmt.Sprintf("   asked for %.0f /s, late by %.1f s", s.Target, s.BehindSeconds)
	}
	lines = append(lines, state)
	if s.BrokerUserCores != nil && s.BrokerSystemCores != nil && s.BrokerMemoryBytes != nil {
		lines = append(lines, fmt.Sprintf("  broker      %.2f cores  %s        load generator %.2f cores",
			*s.BrokerUserCores+*s.BrokerSystemCores, byteText(*s.BrokerMemoryBytes), s.ClientCores))
	}
	return lines
}

// bar is the phase, how much of it is done, and how long the rest takes.
func (v *liveView) bar(p bench.Progress) string {
	line := fmt.Sprintf("  %-10s  ", p.Phase)
	if p.Fraction >= 0 {
		size := min(barMax, max(barMin, v.columns()-besideBar))
		done := int(p.Fraction*float64(size) + 0.5)
		line += strings.Repeat("█", done) + strings.Repeat("░", size-done) + fmt.Sprintf(" %3.0f %%", p.Fraction*100)
	}
	if p.Left > 0 {
		line += fmt.Sprintf("  %s left", shortDuration(p.Left.Seconds()))
	} else {
		line += fmt.Sprintf("  %s so far", shortDuration(v.now().Sub(v.began).Seconds()))
	}
	return line
}

// sparks draws the last seconds beside each other, the highest as high as a line.
func sparks(values []float64) string {
	const steps = "▁▂▃▄▅▆▇█"
	top := highest(values)
	var b strings.Builder
	for _, v := range values {
		step := 0
		if top > 0 {
			step = min(7, int(v/top*8))
		}
		b.WriteString(string([]rune(steps)[step]))
	}
	return b.String()
}

// highest is the largest of some values that are not negative.
func highest(values []float64) float64 {
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	return top
}
