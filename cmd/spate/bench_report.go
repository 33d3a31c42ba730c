package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	benchreport "spate/bench/report"
	benchresult "spate/bench/result"
)

// newBenchReport is "spate bench report".
func newBenchReport() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "report RESULT.json... [--html FILE.html]",
		Short: "Make an HTML page of results, with plots; it is one file and needs no network",
		Long: `Makes an HTML page of a result that a run wrote with --result: throughput and latency over time, the latency by
percentile, processor time and memory, settings and environment, and what the verification found. Several results lie
over each other. The page is one file and loads nothing. Without --html it lies beside the first result.`,
		Example: "  spate bench e2e --rate 10000 --result e2e.json\n  spate bench report e2e.json --html e2e.html",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			runs, err := readResults(args)
			if err != nil {
				return err
			}
			if path == "" {
				path = strings.TrimSuffix(args[0], filepath.Ext(args[0])) + ".html"
			}
			if err := checkDirectories(path); err != nil {
				return err
			}
			if err := writeHTML(path, runs); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
			return err
		},
	}
	cmd.Flags().StringVar(&path, "html", "", "the file to write")
	return cmd
}

// newBenchCompare is "spate bench compare".
func newBenchCompare() *cobra.Command {
	var output, path string
	cmd := &cobra.Command{
		Use:   "compare RESULT.json RESULT.json... [flags]",
		Short: "Put the results of runs beside each other",
		Long: `Puts the figures of several runs beside each other, with how much each differs from the first. One run of each says
little about small differences: "spate bench versus" repeats runs in turn and shows how far they spread.`,
		Example: "  spate bench compare monday.json tuesday.json --html days.html",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := parseOutput(output)
			if err != nil {
				return err
			}
			if err := checkDirectories(path); err != nil {
				return err
			}
			runs, err := readResults(args)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), comparisonOf(runs))
			} else {
				err = printComparison(cmd.OutOrStdout(), runs)
			}
			if path != "" {
				err = errors.Join(err, writeHTML(path, runs))
			}
			return err
		},
	}
	addOutput(cmd, &output)
	cmd.Flags().StringVar(&path, "html", "", "write a page with plots of the runs over each other to this file")
	return cmd
}

// readResults reads results from files.
func readResults(paths []string) ([]*benchresult.Result, error) {
	var runs []*benchresult.Result
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, usageError{err}
		}
		r, err := benchresult.Read(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// writeHTML writes a page of runs into a file.
func writeHTML(path string, runs []*benchresult.Result) error {
	return writeFile(path, func(w io.Writer) error { return benchreport.Write(w, runs) })
}

// checkDirectories says of files that are to be written that there is no directory for them: before the work, not
// after it.
func checkDirectories(paths ...string) error {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return usageError{fmt.Errorf("%s: there is no directory %s", path, filepath.Dir(path))}
		}
	}
	return nil
}

// comparison is what compare prints as JSON.
type comparison struct {
	Runs    []string           `json:"runs"`
	Figures []comparisonFigure `json:"figures"`
}

// comparisonFigure is one figure of all runs; null where a run has none.
type comparisonFigure struct {
	benchreport.Figure
	Values []*float64 `json:"values"`
}

// comparisonOf makes the JSON.
func comparisonOf(runs []*benchresult.Result) comparison {
	c := comparison{Runs: benchreport.Names(runs), Figures: []comparisonFigure{}}
	for _, row := range benchreport.Rows(runs) {
		f := comparisonFigure{Figure: row.Figure}
		for _, v := range row.Values {
			if math.IsNaN(v) {
				f.Values = append(f.Values, nil)
			} else {
				f.Values = append(f.Values, &v)
			}
		}
		c.Figures = append(c.Figures, f)
	}
	return c
}

// printComparison prints the figures of runs, and what is wrong with a run.
func printComparison(out io.Writer, runs []*benchresult.Result) error {
	names := benchreport.Names(runs)
	t := &table{header: append([]string{""}, names...)}
	for _, row := range benchreport.Rows(runs) {
		cells := []string{row.Name}
		for n, v := range row.Values {
			cell := row.Text(v)
			if change := benchreport.Change(row.Values[0], v); n > 0 && change != "" {
				cell += "  " + change
			}
			cells = append(cells, cell)
		}
		t.add(cells...)
	}
	if err := t.print(out, 0); err != nil {
		return err
	}
	for n, r := range runs {
		if err := r.Failed(); err != nil {
			fmt.Fprintf(out, "%s FAILED: %s\n", names[n], escaped(err.Error()))
		}
		if r.Interrupted {
			fmt.Fprintf(out, "%s was interrupted\n", names[n])
		}
		for _, note := range r.Notes {
			fmt.Fprintf(out, "note on %s: %s\n", names[n], escaped(note))
		}
	}
	return nil
}
