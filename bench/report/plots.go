package report

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"spate/bench/result"
)

// plot is one plot as the page's script draws it.
type plot struct {
	ID     string    `json:"id"`
	Title  string    `json:"title"`
	X      string    `json:"x"`    // seconds, or nines (0 is 0 %, 1 is 90 %, 2 is 99 %)
	Unit   Unit      `json:"unit"` // of the values
	Log    bool      `json:"log,omitempty"`
	Apart  bool      `json:"apart,omitempty"` // the points are events: no line joins them
	At     []float64 `json:"at"`
	Series []series  `json:"series"`
	Spans  []span    `json:"spans,omitempty"` // parts of the axis that are shaded
	Hint   string    `json:"hint,omitempty"`
	points []curve   // what At and the series are made of
}

// series is one line of a plot.
type series struct {
	Label  string     `json:"label"`
	Colour int        `json:"colour"`
	Dash   int        `json:"dash,omitempty"` // 0 whole, 1 dashed, 2 dotted
	Values []*float64 `json:"values"`         // null where there is none at this place of the axis
}

// span is a part of the axis.
type span struct {
	From  float64 `json:"from"`
	To    float64 `json:"to"`
	Label string  `json:"label"`
}

// point is a value at a place.
type point struct{ at, value float64 }

// curve is a line before all lines of a plot share one axis.
type curve struct {
	label        string
	colour, dash int
	points       []point
}

// add adds a line, unless it has no point.
func (p *plot) add(label string, colour, dash int, points []point) {
	if len(points) > 0 {
		p.points = append(p.points, curve{label, colour, dash, points})
	}
}

// done lays the lines on one axis.
func (p *plot) done() {
	places := map[float64]bool{}
	for _, c := range p.points {
		for _, pt := range c.points {
			if !places[pt.at] {
				places[pt.at] = true
				p.At = append(p.At, pt.at)
			}
		}
	}
	slices.Sort(p.At)
	for _, c := range p.points {
		values := make([]*float64, len(p.At))
		for _, pt := range c.points {
			at, _ := slices.BinarySearch(p.At, pt.at)
			values[at] = &pt.value
		}
		p.Series = append(p.Series, series{c.label, c.colour, c.dash, values})
	}
}

// plots makes all plots of some runs, leaving out those that would be empty.
func plots(runs []*result.Result, names []string) []plot {
	all := []plot{throughput(runs, names, false), throughput(runs, names, true)}
	for _, name := range result.LatencyNames {
		all = append(all, latency(runs, names, name))
	}
	all = append(all, percentiles(runs, names), steps(runs, names), cores(runs, names), memory(runs, names),
		bySecond(plot{ID: "lag", Title: "Lag of the slowest consumer", Unit: UnitCount,
			Hint: "acknowledged, and not yet consumed"}, runs, names, lagOf),
		bySecond(plot{ID: "behind", Title: "How late records were sent", Unit: UnitSeconds,
			Hint: "the broker, or the load generator, did not keep up with the rate; latencies count from when they " +
				"were due"}, runs, names, behindOf),
		bySecond(plot{ID: "errors", Title: "Errors", Unit: UnitCount}, runs, names, errorsOf))
	all = slices.DeleteFunc(all, func(p plot) bool { return len(p.Series) == 0 })
	for i, p := range all {
		if len(p.Spans) > 0 {
			all[i].Hint = strings.TrimPrefix(p.Hint+"; shaded: what is not counted", "; ")
		}
	}
	return all
}

// label names a line: what it is, and of which run where there are several.
func label(names []string, run int, what string) string {
	if len(names) == 1 {
		return what
	}
	return names[run] + ", " + what
}

// paint gives a line its colour and dash: with one run lines differ in colour; with several the runs do, and lines of
// one run differ in their dashes.
func paint(runs []*result.Result, run, line int) (colour, dash int) {
	if len(runs) == 1 {
		return line, 0
	}
	return run, line
}

// LengthMin is how long a second has to be at least: of shorter ones, such as the last of a run, rates say nothing.
const LengthMin = 0.2

// over collects a value of each second.
func over(r *result.Result, value func(result.Second) (float64, bool)) []point {
	var points []point
	for _, s := range r.Seconds {
		if v, found := value(s); found && s.Length >= LengthMin {
			points = append(points, point{round(s.AtSeconds), v})
		}
	}
	return points
}

// round makes places of several runs fall together where they are within a tenth of a second.
func round(at float64) float64 { return math.Round(at*10) / 10 }

// spans shades the warm-up and the drain of a single run, and names its steps.
func spans(runs []*result.Result) []span {
	if len(runs) > 1 {
		return nil
	}
	var found []span
	for _, s := range runs[0].Seconds {
		name := ""
		if s.Phase != result.PhaseLoad {
			name = s.Phase
		}
		from := max(0, round(s.AtSeconds-s.Length))
		if n := len(found); n > 0 && found[n-1].Label == name {
			found[n-1].To = round(s.AtSeconds)
		} else {
			found = append(found, span{from, round(s.AtSeconds), name})
		}
	}
	return slices.DeleteFunc(found, func(s span) bool { return s.Label == "" })
}

// throughput is records or bytes a second, both ways, with the rate that was asked for.
func throughput(runs []*result.Result, names []string, bytes bool) plot {
	p := plot{ID: "records", Title: "Throughput, records", X: "seconds", Unit: UnitPerSecond, Spans: spans(runs)}
	if bytes {
		p.ID, p.Title, p.Unit = "bytes", "Throughput, bytes of keys and values", UnitRate
	}
	for n, r := range runs {
		line := 0
		add := func(what string, value func(result.Second) float64) {
			points := over(r, func(s result.Second) (float64, bool) { return value(s) / s.Length, true })
			if slices.ContainsFunc(points, func(pt point) bool { return pt.value > 0 }) {
				colour, dash := paint(runs, n, line)
				p.add(label(names, n, what), colour, dash, points)
				line++
			}
		}
		if bytes {
			add("produced", func(s result.Second) float64 { return float64(s.ProducedBytes) })
			add("consumed", func(s result.Second) float64 { return float64(s.ConsumedBytes) })
			continue
		}
		add("produced", func(s result.Second) float64 { return float64(s.ProducedRecords) })
		add("consumed", func(s result.Second) float64 { return float64(s.ConsumedRecords) })
		if len(runs) == 1 {
			target := over(r, func(s result.Second) (float64, bool) { return s.Target, s.Target > 0 })
			p.add("asked for", 7, 1, target)
		}
	}
	p.done()
	return p
}

// latencyLine is a line of a latency over time.
type latencyLine struct {
	name string
	of   func(result.Percentiles) int64
}

var percentileLines = []latencyLine{
	{"p50", func(p result.Percentiles) int64 { return p.P50 }},
	{"p99", func(p result.Percentiles) int64 { return p.P99 }},
	{"p99.9", func(p result.Percentiles) int64 { return p.P999 }},
	{"max", func(p result.Percentiles) int64 { return p.Max }},
}

// latency is one of the latencies over time.
func latency(runs []*result.Result, names []string, name string) plot {
	title := latencyTitles[name]
	p := plot{ID: "latency-" + name, Title: "Latency, " + title, X: "seconds", Unit: UnitMicros, Log: true,
		Spans: spans(runs)}
	lines := percentileLines
	if name == result.LatencyRebalance { // a second has few of them, if any
		p.Apart, p.Hint = true, "how long partitions had no owner that got one in that second"
		lines = lines[3:]
	}
	if len(runs) > 1 {
		lines = lines[:min(2, len(lines))]
	}
	for n, r := range runs {
		for line, q := range lines {
			colour, dash := paint(runs, n, line)
			p.add(label(names, n, q.name), colour, dash, over(r, func(s result.Second) (float64, bool) {
				found := s.Latencies[name]
				return float64(q.of(found)), found.Count > 0
			}))
		}
	}
	p.done()
	return p
}

// ofLatencies adds a line of each latency of all runs, where it has points.
func (p *plot) ofLatencies(runs []*result.Result, names []string, what string,
	points func(r *result.Result, latency string) []point,
) {
	for n, r := range runs {
		line := 0
		for _, name := range result.LatencyNames {
			if found := points(r, name); len(found) > 0 {
				colour, dash := paint(runs, n, line)
				p.add(label(names, n, latencyTitles[name]+what), colour, dash, found)
				line++
			}
		}
	}
	p.done()
}

// percentiles is the curve of all latencies of the whole runs.
func percentiles(runs []*result.Result, names []string) plot {
	p := plot{ID: "percentiles", Title: "Latency by percentile", X: "nines", Unit: UnitMicros, Log: true,
		Hint: "of the whole run, without the warm-up"}
	p.ofLatencies(runs, names, "", func(r *result.Result, latency string) []point {
		if h := r.Latencies[latency]; h != nil {
			return nines(h.Curve())
		}
		return nil
	})
	return p
}

// nines lays a percentile curve on an axis on which each nine takes the same room. The maximum, which is beyond all
// nines, stands where the last of its records does.
func nines(of []result.Point) []point {
	var points []point
	for _, pt := range of {
		beyond := max(1-pt.Quantile, 1/float64(2*max(1, pt.Count)))
		at := math.Round(-math.Log10(beyond)*1000) / 1000
		if n := len(points); n > 0 && points[n-1].at >= at {
			points[n-1].value = float64(pt.Micros)
			continue
		}
		points = append(points, point{at, float64(pt.Micros)})
	}
	return points
}

// steps is the latency by rate of runs that had several.
func steps(runs []*result.Result, names []string) plot {
	p := plot{ID: "steps", Title: "Latency by rate", X: "rate", Unit: UnitMicros, Log: true,
		Hint: "p99 of each step, by the rate that was reached"}
	p.ofLatencies(runs, names, " p99", func(r *result.Result, latency string) (points []point) {
		for _, s := range r.Steps {
			if found := s.Latencies[latency]; found.Count > 0 && s.Name == "" { // else more differs than the rate
				points = append(points, point{math.Round(s.Achieved), float64(found.P99)})
			}
		}
		if len(points) < 2 {
			return nil
		}
		slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
		return points
	})
	return p
}

// cores is the processor time of the broker and of the load generator.
func cores(runs []*result.Result, names []string) plot {
	p := plot{ID: "cpu", Title: "Processors", X: "seconds", Unit: UnitCores, Spans: spans(runs),
		Hint: "1 is one core"}
	for n, r := range runs {
		sum := over(r, func(s result.Second) (float64, bool) {
			if s.BrokerUserCores == nil || s.BrokerSystemCores == nil {
				return 0, false
			}
			return *s.BrokerUserCores + *s.BrokerSystemCores, true
		})
		client := over(r, func(s result.Second) (float64, bool) { return s.ClientCores, true })
		if len(runs) > 1 {
			p.add(label(names, n, "broker"), n, 0, sum)
			p.add(label(names, n, "load generator"), n, 2, client)
			continue
		}
		p.add("broker", 0, 0, sum)
		p.add("broker, in the kernel", 1, 0, over(r, func(s result.Second) (float64, bool) {
			return deref(s.BrokerSystemCores), s.BrokerSystemCores != nil
		}))
		p.add("load generator", 7, 1, client)
	}
	p.done()
	return p
}

// memory is the broker's memory without page cache.
func memory(runs []*result.Result, names []string) plot {
	p := plot{ID: "memory", Title: "Memory of the broker", X: "seconds", Unit: UnitBytes, Spans: spans(runs),
		Hint: "resident, without page cache"}
	for n, r := range runs {
		p.add(label(names, n, "memory"), n, 0, over(r, func(s result.Second) (float64, bool) {
			if s.BrokerMemoryBytes == nil {
				return 0, false
			}
			return float64(*s.BrokerMemoryBytes), true
		}))
	}
	p.done()
	return p
}

func lagOf(s result.Second) (float64, bool) {
	if s.LagRecords == nil {
		return 0, false
	}
	return float64(*s.LagRecords), true
}

func behindOf(s result.Second) (float64, bool) { return s.BehindSeconds, s.Target > 0 }

func errorsOf(s result.Second) (float64, bool) { return float64(s.Errors), true }

// bySecond draws a value of each second, where it is anything but zero at some time.
func bySecond(p plot, runs []*result.Result, names []string, value func(result.Second) (float64, bool)) plot {
	p.X, p.Spans = "seconds", spans(runs)
	some := false
	for n, r := range runs {
		points := over(r, value)
		some = some || slices.ContainsFunc(points, func(pt point) bool { return pt.value > 0 })
		p.add(label(names, n, p.ID), n, 0, points)
	}
	if some {
		p.done()
	}
	return p
}

func deref(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}
