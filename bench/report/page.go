package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed" // the files of the page
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"spate/bench/result"
)

// uPlot draws the plots: version 1.6.32, MIT licence, files of its package on npm. A test holds their hashes.
var (
	//go:embed assets/uPlot.iife.min.js
	uPlotScript string
	//go:embed assets/uPlot.min.css
	uPlotStyle string
	//go:embed assets/uPlot.LICENSE
	uPlotLicence string
)

// The page's own files.
var (
	//go:embed assets/report.js
	script string
	//go:embed assets/report.css
	style string
	//go:embed assets/report.html.tmpl
	page string
)

var pageTemplate = template.Must(template.New("report").Parse(page))

// Section is a part of a report: runs that lie over each other.
type Section struct {
	Title string // empty where there is one section
	Runs  []*result.Result
	Table *Table // instead of the figures of the runs; nil: those
	Hint  string // said about the plots
}

// Table is a table.
type Table struct {
	ID     string
	Title  string
	Header []string
	Rows   []TableRow
}

// TableRow is a row of a table.
type TableRow struct {
	Strong bool // it stands out
	Cells  []string
}

// view is what the template shows.
type view struct {
	Title    string
	Heading  string
	Subtitle string
	Policy   string // nothing may be loaded, and no script runs but these two
	Styles   []template.CSS
	Scripts  []template.JS
	Data     template.JS // the plots of all sections, as JSON
	Sections []sectionView
}

// sectionView is a section.
type sectionView struct {
	Title   string
	Runs    []runView
	Several bool
	Table   *Table
	Hint    string
	Figures []figureView
	Tables  []Table
	Plots   []plot
}

// runView is one run at the head of the page.
type runView struct {
	Name    string
	Colour  int
	Details string
	Class   string // of the verification: ok, failed, incomplete, off
	Verdict string
	Notes   []string
	Faults  []string
	Errors  []result.ErrorCount
}

// figureView is one figure of all runs.
type figureView struct {
	Name  string
	Cells []cellView
}

// cellView is the value of one run, and how it differs from the first.
type cellView struct {
	Text   string
	Change string
	Class  string // better, worse or empty
}

// Write writes the report of one run, or of several over each other, as an HTML file that loads nothing.
func Write(w io.Writer, runs []*result.Result) error {
	if len(runs) == 0 {
		return errors.New("a report needs a result")
	}
	heading := fmt.Sprintf("Comparison of %d runs", len(runs))
	if len(runs) == 1 {
		heading = runs[0].Name
	}
	return WriteSections(w, heading, runs[0].Began, []Section{{Runs: runs}})
}

// WriteSections writes a report of several sections.
func WriteSections(w io.Writer, heading string, began time.Time, sections []Section) error {
	scripts := []string{"/*\nuPlot 1.6.32\n" + uPlotLicence + "*/\n" + uPlotScript, script}
	styles := []string{uPlotStyle, style}
	v := view{
		Title:    "spate bench: " + heading,
		Heading:  heading,
		Subtitle: began.UTC().Format("2 January 2006, 15:04 UTC"),
		Policy:   policy(scripts, styles),
	}
	var drawn []plot
	for n, s := range sections {
		section := sectionOf(s)
		for i := range section.Plots {
			if len(sections) > 1 {
				section.Plots[i].ID = fmt.Sprintf("%d-%s", n+1, section.Plots[i].ID)
			}
		}
		drawn = append(drawn, section.Plots...)
		v.Sections = append(v.Sections, section)
	}
	data, err := json.Marshal(drawn)
	if err != nil {
		return err
	}
	v.Data = template.JS(data) // json.Marshal has escaped what could end the element
	for _, s := range scripts {
		v.Scripts = append(v.Scripts, template.JS(s))
	}
	for _, s := range styles {
		v.Styles = append(v.Styles, template.CSS(s))
	}
	return pageTemplate.Execute(w, v)
}

// sectionOf makes the view of a section.
func sectionOf(s Section) sectionView {
	names := Names(s.Runs)
	v := sectionView{Title: s.Title, Several: len(s.Runs) > 1, Table: s.Table, Hint: s.Hint,
		Plots:  plots(s.Runs, names),
		Tables: tables(s.Runs, names)}
	if s.Table == nil {
		v.Figures = figureViews(s.Runs)
	}
	for n, r := range s.Runs {
		v.Runs = append(v.Runs, viewOf(r, names[n], n))
	}
	return v
}

// tables makes all tables of some runs, leaving out those that would be empty.
func tables(runs []*result.Result, names []string) []Table {
	all := []Table{latencyTable(runs, names), stepTable(runs, names), settingTable(runs, names),
		environmentTable(runs, names)}
	return slices.DeleteFunc(all, func(t Table) bool { return len(t.Rows) == 0 })
}

// policy forbids the page everything but its own scripts and styles, by their hashes.
func policy(scripts, styles []string) string {
	hashes := func(texts []string) string {
		var all strings.Builder
		for _, text := range texts {
			sum := sha256.Sum256([]byte(text))
			all.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
		}
		return all.String()
	}
	return "default-src 'none'; script-src" + hashes(scripts) + "; style-src" + hashes(styles) +
		"; base-uri 'none'; form-action 'none'"
}

// Names are the names of the runs, with numbers where two are alike.
func Names(runs []*result.Result) []string {
	count := map[string]int{}
	for _, r := range runs {
		count[r.Name]++
	}
	seen := map[string]int{}
	var names []string
	for _, r := range runs {
		name := r.Name
		if count[name] > 1 {
			seen[name]++
			name = fmt.Sprintf("%s (%d)", name, seen[name])
		}
		names = append(names, name)
	}
	return names
}

// Durability says when a run's records were acknowledged; empty where the cluster does not tell.
func Durability(r *result.Result) string {
	switch d := r.Environment.Durability; d {
	case "flush":
		return "flushed to disk"
	case "page-cache":
		return "in the page cache"
	default:
		return d
	}
}

// viewOf is the head of one run.
func viewOf(r *result.Result, name string, n int) runView {
	v := runView{Name: name, Colour: n, Class: r.Verification.Outcome, Verdict: r.Verification.Text, Notes: r.Notes,
		Errors: r.Errors}
	var details []string
	for _, d := range []string{r.Workload, r.Environment.Software, r.Environment.Bootstrap, Durability(r)} {
		if d != "" && !slices.Contains(details, d) {
			details = append(details, d)
		}
	}
	v.Details = strings.Join(append(details, fmt.Sprintf("%s s of load", significant(r.LoadSeconds))), " · ")
	if r.Interrupted {
		v.Notes = append([]string{"The run was interrupted: this is what was found until then."}, v.Notes...)
	}
	for _, f := range r.Verification.Faults {
		v.Faults = append(v.Faults, f.Text)
	}
	return v
}

// noise is how much a figure may differ from the first without being called better or worse.
const noise = 0.05

// figureViews are the figures, with changes where there are several runs.
func figureViews(runs []*result.Result) []figureView {
	var views []figureView
	for _, row := range Rows(runs) {
		v := figureView{Name: row.Name}
		for n, value := range row.Values {
			cell := cellView{Text: row.Text(value)}
			if n > 0 {
				cell.Change = Change(row.Values[0], value)
				change := value/row.Values[0] - 1
				switch {
				case cell.Change == "" || math.Abs(change) < noise || row.Better == 0:
				case change > 0 == (row.Better > 0):
					cell.Class = "better"
				default:
					cell.Class = "worse"
				}
			}
			v.Cells = append(v.Cells, cell)
		}
		views = append(views, v)
	}
	return views
}

// latencyTable are the percentiles of all latencies.
func latencyTable(runs []*result.Result, names []string) Table {
	t := Table{ID: "latencies", Title: "Latencies",
		Header: []string{"", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"}}
	for _, name := range result.LatencyNames {
		for n, r := range runs {
			if h := r.Latencies[name]; h != nil && h.Count() > 0 {
				p := h.Percentiles()
				cells := []string{label(names, n, latencyTitles[name]), grouped(float64(p.Count))}
				for _, v := range []float64{float64(p.Min), p.Mean, float64(p.P50), float64(p.P90), float64(p.P99),
					float64(p.P999), float64(p.P9999), float64(p.Max)} {
					cells = append(cells, microsText(v))
				}
				t.Rows = append(t.Rows, TableRow{Cells: cells})
			}
		}
	}
	return t
}

// stepTable are the steps of runs that had several rates.
func stepTable(runs []*result.Result, names []string) Table {
	t := Table{ID: "steps", Title: "Steps",
		Header: []string{"step", "asked for", "reached", "latency", "p50", "p99", "p99.9", "late by", "objective"}}
	for n, r := range runs {
		for i, s := range r.Steps {
			name := s.Name
			if name == "" {
				name = fmt.Sprint(i + 1)
			}
			cells := []string{label(names, n, name), grouped(s.Rate) + " /s", grouped(s.Achieved) + " /s"}
			cells = append(cells, slices.Repeat([]string{"-"}, 4)...)
			for _, name := range result.LatencyNames {
				if p := s.Latencies[name]; p.Count > 0 {
					copy(cells[3:], []string{latencyTitles[name], microsText(float64(p.P50)),
						microsText(float64(p.P99)), microsText(float64(p.P999))})
				}
			}
			met := "-"
			if s.Met != nil {
				met = "met"
				if !*s.Met {
					met = "not met: " + s.Why
				}
			}
			t.Rows = append(t.Rows, TableRow{Cells: append(cells, microsText(s.BehindSeconds*1e6), met)})
		}
	}
	return t
}

// settingTable are the settings of the workload. Those that were given stand out; of several runs those that differ.
func settingTable(runs []*result.Result, names []string) Table {
	t := Table{ID: "settings", Title: "Settings", Header: append([]string{""}, heads(names, "value")...)}
	var keys []string
	for _, r := range runs {
		for _, s := range r.Settings {
			if !slices.Contains(keys, s.Key) {
				keys = append(keys, s.Key)
			}
		}
	}
	for _, key := range keys {
		row := TableRow{Cells: []string{key}}
		for _, r := range runs {
			value := "-"
			for _, s := range r.Settings {
				if s.Key == key {
					value = cmp.Or(s.Value, "-")
					row.Strong = row.Strong || len(runs) == 1 && s.Given
				}
			}
			row.Cells = append(row.Cells, value)
		}
		row.Strong = row.Strong || differ(row.Cells[1:])
		t.Rows = append(t.Rows, row)
	}
	return t
}

// heads are the heads of the columns behind the first.
func heads(names []string, single string) []string {
	if len(names) == 1 {
		return []string{single}
	}
	return names
}

// differ reports whether cells are not all alike.
func differ(cells []string) bool {
	return slices.ContainsFunc(cells, func(c string) bool { return c != cells[0] })
}

// environmentTable is where the runs took place.
func environmentTable(runs []*result.Result, names []string) Table {
	t := Table{ID: "environment", Title: "Environment", Header: append([]string{""}, heads(names, "")...)}
	for _, line := range []struct {
		name string
		of   func(*result.Result) string
	}{
		{"began", func(r *result.Result) string { return r.Began.UTC().Format("2006-01-02 15:04:05 UTC") }},
		{"cluster", func(r *result.Result) string { return r.Environment.ClusterID }},
		{"brokers", func(r *result.Result) string { return count(int64(r.Environment.Brokers)) }},
		{"broker", func(r *result.Result) string { return r.Environment.Software }},
		{"address", func(r *result.Result) string { return r.Environment.Bootstrap }},
		{"acknowledged when", Durability},
		{"broker's process", func(r *result.Result) string { return count(int64(r.Environment.BrokerPID)) }},
		{"topic configs", func(r *result.Result) string {
			var configs []string
			for _, c := range r.Environment.Topics {
				configs = append(configs, c.Key+"="+c.Value)
			}
			return strings.Join(configs, ", ")
		}},
		{"load generator", func(r *result.Result) string {
			return strings.TrimSpace(r.Environment.Tool + " " + r.Environment.Go)
		}},
		{"on the broker's machine", func(r *result.Result) string {
			if r.Environment.BrokerIsSameMachine {
				return "yes: it takes processor time from the broker"
			}
			return ""
		}},
		{"host", func(r *result.Result) string { return r.Environment.Host }},
		{"kernel", func(r *result.Result) string { return r.Environment.Kernel }},
		{"processors", func(r *result.Result) string {
			return strings.TrimSpace(fmt.Sprintf("%d %s", r.Environment.CPUs, r.Environment.CPU))
		}},
		{"memory", func(r *result.Result) string {
			if r.Environment.MemoryBytes == 0 {
				return ""
			}
			return significant(float64(r.Environment.MemoryBytes)/(1<<30)) + " GiB"
		}},
	} {
		row := TableRow{Cells: []string{line.name}}
		for _, r := range runs {
			row.Cells = append(row.Cells, line.of(r))
		}
		if strings.Join(row.Cells[1:], "") == "" {
			continue
		}
		row.Strong = line.name != "began" && differ(row.Cells[1:])
		t.Rows = append(t.Rows, row)
	}
	return t
}

// count is a number that is not there when it is zero.
func count(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
