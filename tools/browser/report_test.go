package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"spate/bench/report"
	"spate/bench/report/reporttest"
	"spate/bench/result"
	"spate/internal/proc"
)

// seen is what the page says about its plots.
type seen struct {
	Plots []struct {
		ID     string
		Width  int // of the canvas
		Height int
		Inked  int // pixels that are not blank
		Lines  int // with at least one point
		Points int // of the line with the most
	}
	Errors []string
	Boxes  int // places for plots
	Wide   int // pixels by which the page is wider than the window
	Theme  string
}

// look reads what was drawn: the plots' data by the object that the page keeps for tests, and the canvases themselves.
const look = `(() => {
	const r = window.spateReport;
	return {
		Plots: r.plots.map(({ id, plot }) => {
			const c = plot.ctx.canvas, pixels = plot.ctx.getImageData(0, 0, c.width, c.height).data;
			let inked = 0;
			for (let i = 3; i < pixels.length; i += 4) inked += pixels[i] > 0;
			const points = plot.data.slice(1).map((values) => values.filter((v) => v != null).length);
			return { ID: id, Width: c.clientWidth, Height: c.clientHeight, Inked: inked,
				Lines: points.filter((n) => n > 0).length, Points: Math.max(...points) };
		}),
		Errors: r.errors,
		Boxes: document.querySelectorAll(".plot").length,
		Wide: document.documentElement.scrollWidth - innerWidth,
		Theme: document.documentElement.dataset.theme,
	};
})()`

// check fails the test unless everything is drawn as it should be.
func (s seen) check(t *testing.T, width int) {
	t.Helper()
	if len(s.Errors) > 0 {
		t.Errorf("errors: %q", s.Errors)
	}
	if len(s.Plots) != s.Boxes || s.Boxes == 0 {
		t.Errorf("%d plots in %d places", len(s.Plots), s.Boxes)
	}
	if s.Wide > 0 {
		t.Errorf("the page is %d pixels wider than the window", s.Wide)
	}
	for _, p := range s.Plots {
		if p.Width < 200 || p.Width > width || p.Height < 100 {
			t.Errorf("%s: %d by %d pixels", p.ID, p.Width, p.Height)
		}
		if p.Inked < 1000 || p.Lines == 0 || p.Points == 0 {
			t.Errorf("%s: %d pixels are drawn, %d lines, %d points", p.ID, p.Inked, p.Lines, p.Points)
		}
	}
}

// points is how many points a plot's longest line has.
func (s seen) points(id string) int {
	for _, p := range s.Plots {
		if p.ID == id {
			return p.Points
		}
	}
	return 0
}

// writeReport writes a report into a file and gives its address.
func writeReport(t *testing.T, runs ...*result.Result) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Write(file, runs); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

// TestReport opens reports at three widths, in both themes, and looks whether every plot is drawn with its points, the
// page fits, nothing is complained of, and nothing was asked of the network.
func TestReport(t *testing.T) {
	drawn := 0
	for _, c := range []struct {
		name string
		runs []*result.Result
		want map[string]int // points of plots
	}{
		{"one", []*result.Result{reporttest.Sample("End to end at 10,000/s", 1)},
			map[string]int{"records": 60, "latency-endToEnd": 60, "memory": 60, "percentiles": 40}},
		{"damaged", []*result.Result{reporttest.Damaged("Highest rate within 5 ms")},
			map[string]int{"records": 60, "steps": 3, "errors": 60}},
		{"three", []*result.Result{reporttest.Sample("Spate", 1), reporttest.Sample("Apache Kafka", 3),
			reporttest.Sample("Spate, page cache", 0.8)}, map[string]int{"cpu": 60, "percentiles": 40}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := open(t)
			url := writeReport(t, c.runs...)
			for _, width := range []int{1440, 800, 390} {
				p.do(t, chromedp.EmulateViewport(int64(width), 900), chromedp.Navigate(url))
				light := ask(t, p, chromedp.Evaluate[seen](look))
				light.check(t, width)
				for id, want := range c.want {
					if got := light.points(id); got < want {
						t.Errorf("%s has %d points, want %d", id, got, want)
					}
				}
				p.shoot(t, fmt.Sprintf("%s-%d-light", c.name, width))
				p.do(t, chromedp.Click(chromedp.CSS("#theme")))
				dark := ask(t, p, chromedp.Evaluate[seen](look))
				dark.check(t, width)
				if light.Theme != "light" || dark.Theme != "dark" {
					t.Errorf("themes %s, %s", light.Theme, dark.Theme)
				}
				p.shoot(t, fmt.Sprintf("%s-%d-dark", c.name, width))
				drawn += len(light.Plots) + len(dark.Plots)
			}
			p.clean(t)
		})
	}
	t.Logf("%d plots were drawn", drawn)
}

// TestReportPointer: the values under the pointer are shown, in all plots over time at once, and a window that becomes
// narrower has narrower plots.
func TestReportPointer(t *testing.T) {
	p := open(t)
	p.do(t, chromedp.EmulateViewport(1440, 900), chromedp.Navigate(writeReport(t, reporttest.Sample("one", 1))))
	legends := ask(t, p, chromedp.Evaluate[[]string](`(() => {
		const over = document.querySelector("#plot-records .u-over"), at = over.getBoundingClientRect();
		over.dispatchEvent(new MouseEvent("mousemove",
			{ clientX: at.left + at.width / 2, clientY: at.top + 50, bubbles: true }));
		return ["records", "latency-endToEnd", "memory"].map((id) =>
			document.querySelector("#plot-" + id + " .u-legend").textContent);
	})()`))
	p.do(t, chromedp.EmulateViewport(700, 900),
		chromedp.Poll[chromedp.Void](`document.querySelector("#plot-records canvas").clientWidth < 700`))
	ask(t, p, chromedp.Evaluate[seen](look)).check(t, 700)
	for i, want := range []string{"10k/s", " ms", " MiB"} {
		if len(legends) <= i || !strings.Contains(legends[i], want) || strings.Contains(legends[i], "–") {
			t.Errorf("under the pointer: %q, want %q in each", legends, want)
		}
	}
	p.clean(t)
}

// TestBlindness: a page that asks the network, complains or fails is found out; so the other tests are not blind.
func TestBlindness(t *testing.T) {
	for script, want := range map[string]string{
		"new Image().src = 'http://127.0.0.1:1/x'": "http://127.0.0.1:1/x",
		"console.error('broken')":                  "broken",
		"throw new Error('thrown')":                "Uncaught",
	} {
		path := filepath.Join(t.TempDir(), "page.html")
		page := "<!doctype html><title>x</title><script>" + script + "</script>"
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		p := open(t)
		p.do(t, chromedp.Navigate("file://"+path))
		if got := p.complaints(); !strings.Contains(strings.Join(got, "; "), want) {
			t.Errorf("%s: found %q, want %q", script, got, want)
		}
	}
}

// TestReportOfRun looks at the pages of real runs, as a user gets them, and at that of a comparison of a broker with
// itself.
func TestReportOfRun(t *testing.T) {
	binary, err := proc.Binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b, err := proc.Start(proc.Options{DataDir: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Kill()
	side := fmt.Sprintf("%s,%d", b.Bootstrap, b.PID)
	for name, args := range map[string][]string{
		"run": {"e2e", "-b", b.Bootstrap, "--pid", fmt.Sprint(b.PID), "--rate", "500", "--duration", "4s"},
		"groups": {"groups", "-b", b.Bootstrap, "--pid", fmt.Sprint(b.PID), "--rate", "500", "--duration", "8s",
			"--churn", "2s", "--warm-up", "1s"},
		"versus": {"versus", "--a", side, "--b", side, "e2e rate=200 duration=2s warm-up=0s",
			"produce records=1000 warm-up=0s", "--rounds", "1"},
	} {
		page := filepath.Join(dir, name+".html")
		args = append(append([]string{"bench"}, args...), "--html", page)
		command := exec.CommandContext(t.Context(), binary, args...)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		p := open(t)
		for _, width := range []int{1440, 800, 390} {
			p.do(t, chromedp.EmulateViewport(int64(width), 900), chromedp.Navigate("file://"+page))
			ask(t, p, chromedp.Evaluate[seen](look)).check(t, width)
			p.shoot(t, fmt.Sprintf("%s-%d", name, width))
		}
		p.clean(t)
	}
}
