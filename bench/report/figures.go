package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"spate/bench/result"
)

// Unit is how a figure is written.
type Unit string

// The units of figures.
const (
	UnitCount     Unit = ""
	UnitPerSecond Unit = "records/s"
	UnitRate      Unit = "bytes/s"
	UnitMicros    Unit = "µs"
	UnitSeconds   Unit = "s"
	UnitPerGB     Unit = "s/GB"
	UnitPerRecord Unit = "µs/record"
	UnitCores     Unit = "cores"
	UnitBytes     Unit = "bytes"
)

// Figure is one number of a run.
type Figure struct {
	Key    string `json:"key"`  // the same in all runs, for programs
	Name   string `json:"name"` // for people
	Unit   Unit   `json:"unit"`
	Better int    `json:"better"` // 1: more is better; -1: less is; 0: neither
	value  float64
}

// latencyTitles are the latencies for people.
var latencyTitles = map[string]string{
	result.LatencyAck:       "acknowledgement",
	result.LatencyEndToEnd:  "end to end",
	result.LatencyCommit:    "commit",
	result.LatencyRebalance: "rebalance",
}

// Figures are the numbers of a run that are worth comparing, in the order in which they are shown.
func Figures(r *result.Result) []Figure {
	var found []Figure
	add := func(key, name string, unit Unit, better int, value float64) {
		found = append(found, Figure{key, name, unit, better, value})
	}
	t := r.Totals
	for _, way := range []struct {
		key, name string
		flow      result.Flow
	}{{"produced", "produced", t.Produced}, {"consumed", "consumed", t.Consumed}} {
		if way.flow.Records > 0 {
			add(way.key+".recordsPerSecond", way.name, UnitPerSecond, 1, way.flow.RecordsPerSecond)
			add(way.key+".bytesPerSecond", way.name, UnitRate, 1, way.flow.BytesPerSecond)
		}
	}
	if r.Search != nil {
		add("search.rate", "highest rate with "+r.Search.Objective, UnitPerSecond, 1, r.Search.Rate)
	}
	for _, name := range result.LatencyNames {
		h := r.Latencies[name]
		if h == nil || h.Count() == 0 {
			continue
		}
		p := h.Percentiles()
		for _, q := range []struct {
			name  string
			value int64
		}{{"p50", p.P50}, {"p99", p.P99}, {"p99.9", p.P999}, {"max", p.Max}} {
			add(name+"."+q.name, latencyTitles[name]+" "+q.name, UnitMicros, -1, float64(q.value))
		}
	}
	if b := t.Broker; b != nil {
		if t.Produced.Records+t.Consumed.Records > 0 { // also where it is zero: the kernel counts in ticks of 10 ms
			add("broker.cpuSecondsPerGB", "broker CPU", UnitPerGB, -1, b.CPUSecondsPerGB)
			add("broker.cpuMicrosPerRecord", "broker CPU", UnitPerRecord, -1, b.CPUMicrosPerRecord)
		}
		if t.Elapsed > 0 {
			add("broker.cores", "broker CPU", UnitCores, -1, b.CPUSeconds()/t.Elapsed)
		}
		add("broker.memoryBytesMax", "broker memory, at most", UnitBytes, -1, float64(b.MemoryBytesMax))
	}
	if c := t.Client; c != nil && t.Elapsed > 0 {
		add("client.cores", "load generator CPU", UnitCores, 0, c.CPUSeconds()/t.Elapsed)
	}
	for _, n := range []struct {
		key, name string
		better    int
		value     int64
	}{
		{"transactionsCommitted", "transactions committed", 1, t.Committed},
		{"transactionsAborted", "transactions aborted", 0, t.Aborted},
		{"rebalances", "rebalances", 0, t.Rebalances},
		{"partitionMoves", "partitions given to members", 0, t.PartitionMoves},
		{"redelivered", "records given again", 0, r.Verification.Redelivered},
		{"errors", "errors", -1, t.Errors},
	} {
		if n.value > 0 {
			add(n.key, n.name, UnitCount, n.better, float64(n.value))
		}
	}
	return found
}

// Row is one figure of several runs beside each other.
type Row struct {
	Figure
	Values []float64 // of each run; NaN where it has none
}

// Rows puts the figures of runs beside each other.
func Rows(runs []*result.Result) []Row {
	var rows []Row
	for n, r := range runs {
		next := 0 // figures that only later runs have stand where those have them
		for _, f := range Figures(r) {
			at := slices.IndexFunc(rows, func(row Row) bool { return row.Key == f.Key })
			if at < 0 {
				at = next
				empty := slices.Repeat([]float64{math.NaN()}, len(runs))
				rows = slices.Insert(rows, at, Row{Figure: f, Values: empty})
			}
			rows[at].Values[n] = f.value
			next = at + 1
		}
	}
	return rows
}

// Text is a value in the figure's unit; a dash where there is none.
func (f Figure) Text(value float64) string {
	if math.IsNaN(value) {
		return "-"
	}
	switch f.Unit {
	case UnitMicros:
		return microsText(value)
	case UnitRate:
		return significant(value/1e6) + " MB/s"
	case UnitBytes:
		return significant(value/(1<<20)) + " MiB"
	case UnitCount:
		return grouped(value)
	case UnitPerSecond:
		return grouped(value) + " /s"
	case UnitPerRecord:
		return significant(value) + " µs/record"
	}
	return significant(value) + " " + string(f.Unit)
}

// Change is a value beside that of the first run: +3.1 %, or empty where that says nothing.
func Change(first, value float64) string {
	if math.IsNaN(first) || math.IsNaN(value) || first == 0 {
		return ""
	}
	ratio := value / first
	if ratio >= 10 {
		return fmt.Sprintf("%.0f times", ratio)
	}
	return fmt.Sprintf("%+.1f %%", 100*(ratio-1))
}

// microsText is a latency for people.
func microsText(micros float64) string {
	switch {
	case micros >= 1e6:
		return significant(micros/1e6) + " s"
	case micros >= 1e3:
		return significant(micros/1e3) + " ms"
	}
	return significant(micros) + " µs"
}

// significant is a number with three digits that count; more before the point where it has them.
func significant(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || a == 0:
		return grouped(v)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a >= 0.1:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case a >= 0.01:
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// grouped is a whole number with commas between thousands.
func grouped(v float64) string {
	digits := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	var b strings.Builder
	if v < 0 {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
