package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"spate/bench/report/reporttest"
	"spate/bench/result"
)

// TestAssets: the files of uPlot are those of its package on npm, version 1.6.32.
func TestAssets(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"uPlot.iife.min.js", uPlotScript, "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"},
		{"uPlot.min.css", uPlotStyle, "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"},
		{"uPlot.LICENSE", uPlotLicence, "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"},
	} {
		if sum := sha256.Sum256([]byte(c.text)); hex.EncodeToString(sum[:]) != c.want {
			t.Errorf("%s: %x", c.name, sum)
		}
	}
}

// write makes a report.
func write(t *testing.T, runs ...*result.Result) string {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, runs); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestWrite: a report shows every part of a result, loads nothing, and what comes from a broker stays text.
func TestWrite(t *testing.T) {
	whole := write(t, reporttest.Sample("one", 1))
	for _, want := range []string{"<h1>one</h1>", "all 600000 records arrived once", "10,000 " +
		"/s", "5L6g3nShT-eMCtK--X86sw",
		`id="plot-records"`, `id="plot-latency-endToEnd"`, `id="plot-percentiles"`, `id="plot-cpu"`, `id="plot-memory"`,
		`id="plot-lag"`, `id="plot-behind"`, `<tr class="strong"><th>rate</th>`, "Leon Sorokin", "retention.ms=3600000"} {
		if !strings.Contains(whole, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, unwanted := range []string{`id="plot-errors"`, `id="plot-steps"`, `class="table-steps"`, "interrupted"} {
		if strings.Contains(whole, unwanted) {
			t.Errorf("%q, though there is none", unwanted)
		}
	}
	damaged := write(t, reporttest.Damaged("two"))
	for _, want := range []string{`class="run failed"`, "2 records are lost", "The run was interrupted",
		"The load generator used", "2 × " +
			"NOT_LEADER_OR_FOLLOWER", `id="plot-errors"`, `id="plot-steps"`, "not met: p99 of 6.9 ms",
		"2041 &lt;/script&gt;&lt;b&gt;", "highest rate with endToEnd p99 &lt; 5ms"} {
		if !strings.Contains(damaged, want) {
			t.Errorf("no %q", want)
		}
	}
	several := write(t, reporttest.Sample("</script>", 1), reporttest.Sample("b", 2))
	for _, text := range []string{whole, damaged, several} {
		loads := regexp.MustCompile(`(?i)(src|href)=|@import|url\(`)
		if found := loads.FindString(strings.ReplaceAll(text, uPlotScript, "")); found != "" {
			t.Errorf("the page has %s", found)
		}
		opened, closed := strings.Count(text, "<script"), strings.Count(text, "</script>")
		if opened != 3 || closed != 3 {
			t.Errorf("%d scripts begin, %d end", opened, closed)
		}
	}
	if err := Write(&bytes.Buffer{}, nil); err == nil {
		t.Error("a report of nothing")
	}
	if text := write(t, &result.Result{Name: "empty"}); !strings.Contains(text, "<h1>empty</h1>") {
		t.Error("no report of a run that was interrupted before anything was measured")
	}
}

// TestRows puts runs beside each other: what only one has is a dash for the others, and stands in its place.
func TestRows(t *testing.T) {
	a, b := reporttest.Sample("a", 1), reporttest.Sample("b", 2)
	a.Totals.Broker, b.Totals.Consumed = nil, result.Flow{}
	a.Latencies, b.Latencies = nil, nil
	var got []string
	for _, row := range Rows([]*result.Result{a, b}) {
		line := row.Name
		for _, v := range row.Values {
			line += " | " + row.Text(v)
		}
		got = append(got, line+" | "+Change(row.Values[0], row.Values[1]))
	}
	want := []string{
		"produced | 10,000 /s | 10,000 /s | +0.0 %",
		"produced | 10.2 MB/s | 10.2 MB/s | +0.0 %",
		"broker CPU | - | 81.6 s/GB | ",
		"broker CPU | - | 83.6 µs/record | ",
		"broker CPU | - | 0.836 cores | ",
		"broker memory, at most | - | 72.5 MiB | ",
		"consumed | 10,000 /s | - | ",
		"consumed | 10.2 MB/s | - | ",
		"load generator CPU | 0.582 cores | 0.582 cores | +0.0 %",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// TestText writes figures for people.
func TestText(t *testing.T) {
	for _, c := range []struct {
		unit  Unit
		value float64
		want  string
	}{
		{UnitMicros, 0, "0 µs"}, {UnitMicros, 7, "7.00 µs"}, {UnitMicros, 412, "412 " +
			"µs"}, {UnitMicros, 1234, "1.23 ms"},
		{UnitMicros, 45_678, "45.7 ms"}, {UnitMicros, 2_000_000, "2.00 " +
			"s"}, {UnitPerSecond, 1_234_567.8, "1,234,568 /s"},
		{UnitRate, 484e6, "484 MB/s"}, {UnitBytes, 379 << 20, "379 MiB"}, {UnitPerGB, 0.5678, "0.568 s/GB"},
		{UnitCores, 1.5, "1.50 " +
			"cores"}, {UnitCount, 999, "999"}, {UnitCount, 1000, "1,000"}, {UnitCount, math.NaN(), "-"},
	} {
		if got := (Figure{Unit: c.unit}).Text(c.value); got != c.want {
			t.Errorf("%v %v: %q, want %q", c.value, c.unit, got, c.want)
		}
	}
	for _, c := range []struct {
		first, value float64
		want         string
	}{{100, 103.14, "+3.1 %"}, {100, 50, "-50.0 %"}, {1, 30, "30 times"}, {0, 1, ""}, {math.NaN(), 1, ""}} {
		if got := Change(c.first, c.value); got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.first, c.value, got, c.want)
		}
	}
}

// TestNines: each nine takes the same room, the maximum stands behind the last of them, and no place comes twice.
func TestNines(t *testing.T) {
	got := nines([]result.Point{{Quantile: 0, Micros: 1, Count: 1}, {Quantile: 0.9, Micros: 2, Count: 900},
		{Quantile: 0.9, Micros: 3, Count: 901}, {Quantile: 0.999, Micros: 4, Count: 999},
		{Quantile: 1, Micros: 9, Count: 1000}})
	want := []point{{0, 1}, {1, 3}, {3, 4}, {3.301, 9}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if math.Abs(got[i].at-want[i].at) > 1e-9 || got[i].value != want[i].value {
			t.Errorf("point %d: %v, want %v", i, got[i], want[i])
		}
	}
}

// TestPlots: lines of several runs share an axis, with gaps where a run has no second of that time.
func TestPlots(t *testing.T) {
	a, b := reporttest.Sample("a", 1), reporttest.Sample("b", 1)
	b.Seconds = b.Seconds[:10]
	b.Seconds[3].AtSeconds += 0.5
	for _, p := range plots([]*result.Result{a, b}, []string{"a", "b"}) {
		for _, s := range p.Series {
			if len(s.Values) != len(p.At) {
				t.Errorf("%s, %s: %d values at %d places", p.ID, s.Label, len(s.Values), len(p.At))
			}
		}
		if p.ID == "records" {
			if len(p.At) != 61 || len(p.Series) != 4 || p.Series[2].Label != "b, "+
				"produced" || p.Series[2].Values[60] != nil ||
				p.Series[2].Values[0] == nil {
				t.Errorf("%d places, %d lines, the third: %+v", len(p.At), len(p.Series), p.Series[2])
			}
		}
		for i := 1; i < len(p.At); i++ {
			if p.At[i] <= p.At[i-1] {
				t.Errorf("%s: the axis goes from %v to %v", p.ID, p.At[i-1], p.At[i])
			}
		}
	}
}

// TestRebalances: what a second has few of is drawn as points, which nothing joins, and what the group got is a figure.
func TestRebalances(t *testing.T) {
	r := reporttest.Sample("groups", 1)
	r.Seconds[10].Latencies[result.LatencyRebalance] = result.Percentiles{Count: 2, P50: 3, Max: 5}
	r.Totals.PartitionMoves, r.Verification.Redelivered = 4, 6
	all := plots([]*result.Result{r}, []string{"groups"})
	at := slices.IndexFunc(all, func(p plot) bool { return p.ID == "latency-rebalance" })
	if at < 0 || !all[at].Apart || len(all[at].Series) != 1 || all[at].Series[0].Label != "max" ||
		len(all[at].At) != 1 || *all[at].Series[0].Values[0] != 5 {
		t.Errorf("%d: %+v", at, all[max(at, 0)])
	}
	var page bytes.Buffer
	if err := Write(&page, []*result.Result{r}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`>4</span><span class="name">partitions given to members<`,
		`>6</span><span class="name">records given again<`} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %s", want)
		}
	}
}
