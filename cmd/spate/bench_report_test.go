package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spate/bench"
	"spate/bench/report/reporttest"
	benchresult "spate/bench/result"
	"spate/bench/versus"
)

// writeResults writes results into files, which it names.
func writeResults(t *testing.T, runs ...*benchresult.Result) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for _, r := range runs {
		path := filepath.Join(dir, r.Name+".json")
		if err := writeFile(path, r.Write); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// TestBenchReport makes a page of a result, and tells what is none.
func TestBenchReport(t *testing.T) {
	paths := writeResults(t, reporttest.Sample("one", 1), reporttest.Damaged("two"))
	page := strings.TrimSuffix(paths[0], ".json") + ".html"
	if got := must(t, "", "bench", "report", paths[0]); got != page+"\n" {
		t.Errorf("it says %q", got)
	}
	other := filepath.Join(filepath.Dir(page), "both.html")
	must(t, "", "bench", "report", paths[0], paths[1], "--html", other)
	for path, want := range map[string]string{page: "<h1>one</h1>", other: "<h1>Comparison of 2 runs</h1>"} {
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, no %q", path, err, want)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"report"}, exitUsage, "usage: spate bench report RESULT.json"},
		{[]string{"report", "/nowhere.json"}, exitUsage, "no such file"},
		{[]string{"report", page}, exitFailure, "not a result of spate bench"},
		{[]string{"report", paths[0], "--html", "/nowhere/x.html"}, exitUsage, "there is no directory /nowhere"},
		{[]string{"report", paths[0], "-o", "json"}, exitUsage, "unknown shorthand flag: 'o'"},
		{[]string{"compare", paths[0]}, exitUsage, "requires at least 2 arg(s)"},
		{[]string{"compare", paths[0], paths[1], "-o", "xml"}, exitUsage, `--output "xml": must be text or json`},
		{[]string{"e2e", "--html", "/nowhere/x.html"}, exitUsage, "there is no directory /nowhere"},
		{[]string{"versus", "produce"}, exitUsage, `--a "": must be [NAME=]HOST:PORT[,PID]`},
		{[]string{"versus", "--a", "x:1,y", "--b", "x:1", "produce"}, exitUsage, `"y" is not the id of a process`},
		{[]string{"versus", "--a", "x:1,99999999", "--b", "x:1", "produce"}, exitUsage,
			"process 99999999 cannot be read"},
		{[]string{"versus", "--a", "x:1", "--b", "x:1", "prduce"}, exitUsage, `workload "prduce": there are`},
		{[]string{"versus", "--a", "x:1", "--b", "x:1", "e2e rte=1"}, exitUsage, "did you mean rate?"},
		{[]string{"versus", "--a", "x:1", "--b", "x:1", "e2e fast"}, exitUsage, `e2e fast: "fast": must be key=value`},
		{[]string{"versus", "--a", "x:1", "--b", "x:1", "e2e", "--set", "fast"}, exitUsage, `--set "fast": must be`},
		{[]string{"versus", "--a", "x:1", "--b", "x:1", "./no.yaml"}, exitUsage, "no such file"},
		{[]string{"versus", "--a", "x:1", "--b", "x:1", "e2e", "--rounds", "0"}, exitUsage,
			"--rounds 0: must be 1 or more"},
		{[]string{"versus", "--a", "127.0.0.1:1", "--b", "127.0.0.1:1", "e2e"}, exitFailure, "start a broker"},
	} {
		r := spate(t, "", append([]string{"bench"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.err, c.err) {
			t.Errorf("%v: status %d, want %d with %q\n%s", c.args, r.code, c.code, c.err, r.err)
		}
	}
}

// TestBenchCompare puts runs beside each other, as text, JSON and a page.
func TestBenchCompare(t *testing.T) {
	paths := writeResults(t, reporttest.Sample("one", 1), reporttest.Damaged("two"))
	page := filepath.Join(t.TempDir(), "x.html")
	out := must(t, "", "bench", "compare", paths[0], paths[1], "--html", page)
	for _, want := range []string{
		"                                      one             two\n",
		"broker CPU                            40.8 s/GB       61.2 s/GB  +50.0 %\n",
		"highest rate with endToEnd p99 < 5ms  -               20,000 /s\n",
		"two FAILED: 2 records are lost\ntwo was interrupted\nnote on two: The load generator used",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
	var c comparison
	out = must(t, "", "bench", "compare", paths[0], paths[1], "-o", "json")
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range c.Figures {
		if f.Key == "search.rate" {
			found = len(f.Values) == 2 && f.Values[0] == nil && *f.Values[1] == 20_000
		}
	}
	if !found || strings.Join(c.Runs, " ") != "one two" {
		t.Errorf("%+v", c)
	}
}

// TestBenchVersusItself runs a broker against itself. What the figures are is printed and not judged: other tests run
// beside it. That they are complete is.
func TestBenchVersusItself(t *testing.T) {
	b, _ := startBroker(t, nil)
	dir := t.TempDir()
	file, page := filepath.Join(dir, "v.json"), filepath.Join(dir, "v.html")
	side := fmt.Sprintf("%s,%d", b.Bootstrap, b.PID)
	r := spate(t, "", "bench", "versus", "--a", "this="+side, "--b", side, "e2e rate=200 name=small",
		"produce records=500", "--set", "duration=400ms", "--set", "warm-up=0s", "--rounds", "2", "--result", file,
		"--html", page)
	if r.code != 0 {
		t.Fatalf("status %d\n%s%s", r.code, r.out, r.err)
	}
	t.Logf("\n%s", r.out)
	for _, want := range []string{"small: medians of 2 rounds", "produce records=500: medians of 2 rounds",
		"this / B", "4 rounds or more tell which side is ahead"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q", want)
		}
	}
	var order []string
	for line := range strings.Lines(r.err) {
		title, _, _ := strings.Cut(line, ": in ")
		order = append(order, strings.TrimSpace(title))
	}
	want := "round 1 of 2: small on this|round 1 of 2: small on B|round 1 of 2: produce records=500 on this|" +
		"round 1 of 2: produce records=500 on B|round 2 of 2: small on B|round 2 of 2: small on this|" +
		"round 2 of 2: produce records=500 on B|round 2 of 2: produce records=500 on this"
	if got := strings.Join(order, "|"); got != want {
		t.Errorf("the order was %s", got)
	}
	text, err := os.ReadFile(file)
	var out versus.Outcome
	if err != nil || json.Unmarshal(text, &out) != nil || len(out.Workloads) != 2 {
		t.Fatalf("%v, %d workloads", err, len(out.Workloads))
	}
	for _, w := range out.Workloads {
		for _, row := range w.Rows {
			if row.A.Count != 2 || row.B.Count != 2 || row.A.Min > row.A.Median || row.A.Median > row.A.Max {
				t.Errorf("%s, %s: %+v", w.Name, row.Key, row)
			}
			if q := row.Ratio; q != nil && (math.IsNaN(q.Ratio) || q.Min > q.Ratio || q.Ratio > q.Max) {
				t.Errorf("%s, %s: %+v", w.Name, row.Key, q)
			}
		}
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "<h1>this versus B</h1>") {
		t.Errorf("the page: %v", err)
	}
}

// TestLiveView: what a terminal shows of a run, second by second; lines end where it does, and nothing stays.
func TestLiveView(t *testing.T) {
	var out strings.Builder
	now := time.Unix(100, 0)
	v := &liveView{out: &out, title: "e2e at \x1b[31mhost:1", width: func() int { return 76 }, began: now,
		now: func() time.Time { return now.Add(9 * time.Second) }}
	shown := func(p bench.Progress) string {
		out.Reset()
		v.show(p)
		return out.String()
	}
	got := shown(bench.Progress{Phase: benchresult.PhasePrepare, Fraction: -1})
	want := "e2e at \\x1b[31mhost:1\x1b[K\n  prepare       9s so far\x1b[K\n\x1b[J"
	if got != want {
		t.Errorf("got %q", got)
	}
	lag, cores, memory := int64(7), 0.25, int64(32<<20)
	s := &benchresult.Second{Length: 1, Phase: benchresult.PhaseLoad, Target: 1000, ProducedRecords: 1000,
		ProducedBytes: 1_024_000, ConsumedRecords: 500, ConsumedBytes: 512_000, Errors: 2, LagRecords: &lag,
		Latencies: map[string]benchresult.Percentiles{
			"ack": {Count: 9, P50: 410, P99: 5200, P999: 61_000, Max: 250_000}},
		BrokerUserCores: &cores, BrokerSystemCores: &cores, BrokerMemoryBytes: &memory, ClientCores: 0.3}
	half := *s
	half.ProducedRecords = 500
	shown(bench.Progress{Phase: benchresult.PhaseLoad, Fraction: 0.25, Second: &half, Left: 30 * time.Second})
	got = shown(bench.Progress{Phase: benchresult.PhaseLoad, Fraction: 0.5, Second: s, Left: 20 * time.Second})
	want = "\r\x1b[7A" + strings.Join([]string{
		"e2e at \\x1b[31mhost:1",
		"  load        " + strings.Repeat("█", 20) + strings.Repeat("░", 20) + "  50 %  20s left",
		"  produced         1000 /s      1.0 MB/s  ▅█",
		"  consumed          500 /s      0.5 MB/s  ██",
		"  ack         p50 0.41   p99 5.20   p99.9 61.0   max 250    ms",
		"  errors 4   lag 7   asked for 1000 /s, late by 0.0 s",
		"  broker      0.50 cores  32.0 MiB        load generator 0.30 cores",
	}, "\x1b[K\n") + "\x1b[K\n\x1b[J"
	if got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	out.Reset()
	v.close()
	if got := out.String(); got != "\r\x1b[7A\x1b[J" {
		t.Errorf("at the end: %q", got)
	}
	out.Reset()
	v.close()
	if out.Len() != 0 {
		t.Errorf("closed twice: %q", out.String())
	}
	v.width = func() int { return 60 }
	short := &benchresult.Second{Length: 0.01, ProducedRecords: 7} // too short to tell a rate
	got = shown(bench.Progress{Phase: benchresult.PhaseLoad, Fraction: 0.5, Left: time.Hour, Second: short})
	bar := strings.Repeat("█", 12) + strings.Repeat("░", 12) + "  50 %  1h00m left\x1b[K\n"
	if !strings.Contains(got, bar) || !strings.Contains(got, " 1000 /s") {
		t.Errorf("on a terminal of 60 characters: %q", got)
	}
	v.width = func() int { return 12 }
	got = shown(bench.Progress{Phase: benchresult.PhaseDrain, Fraction: 1})
	if !strings.HasPrefix(got, "\r\x1b[7Ae2e at \\x1b\x1b[K\n") {
		t.Errorf("on a narrow terminal: %q", got)
	}
}
