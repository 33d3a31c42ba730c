package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"spate/bench"
	benchresult "spate/bench/result"
	"spate/bench/spec"
	"spate/bench/versus"
)

// versusFlags are the flags of "spate bench versus".
type versusFlags struct {
	a, b   string
	rounds int
	sets   []string
	output string
	result string
	html   string
	quiet  bool
}

// newBenchVersus is "spate bench versus".
func newBenchVersus() *cobra.Command {
	f := &versusFlags{}
	cmd := &cobra.Command{
		Use:   "versus --a [NAME=]HOST:PORT[,PID] --b [NAME=]HOST:PORT[,PID] WORKLOAD... [flags]",
		Short: "Run workloads on two brokers in turn, and compare medians and spreads",
		Long: `Runs each workload on broker A, then on B, in the next round on B, then on A, so that a machine that becomes slower
or faster favours neither. It prints the median of each figure, the smallest and the largest, and the ratio of A to B.
A side is called ahead where all that it reached is ahead of all that the other did, and the medians differ by 2 % or
more; else they are alike. That takes 4 rounds: with fewer, chance alone does it too often. With the process ids of
brokers on this machine their processor time and memory are figures, too.

A WORKLOAD is a kind of workload or a YAML file, with keys behind it where there are any, as one argument:
"e2e rate=1000 duration=20s". "spate bench --help" lists the kinds; each kind's --help lists its keys.

A broker against itself shows what differences mean nothing on a machine: --a and --b can be the same.`,
		Example: `  spate bench versus --a spate=127.0.0.1:9092,1234 --b kafka=127.0.0.1:9192,5678 produce 'e2e rate=10000'`,
		Args:    cobra.MinimumNArgs(1),
		RunE:    f.run,
	}
	cmd.Flags().StringVar(&f.a, "a", "", "broker A: [NAME=]HOST:PORT[,PID]")
	cmd.Flags().StringVar(&f.b, "b", "", "broker B")
	cmd.Flags().IntVar(&f.rounds, "rounds", 4, "how often each workload runs on each broker; two A B B A are 4")
	cmd.Flags().StringArrayVar(&f.sets, "set", nil, "key=value, of all workloads")
	cmd.Flags().StringVar(&f.result, "result", "", "write everything, each run too, to this file, as JSON")
	cmd.Flags().StringVar(&f.html, "html", "", "write a page with plots to this file")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print no progress")
	addOutput(cmd, &f.output)
	return cmd
}

// run compares two brokers and prints what it found.
func (f *versusFlags) run(cmd *cobra.Command, args []string) error {
	asJSON, err := parseOutput(f.output)
	if err != nil {
		return err
	}
	if f.rounds < 1 {
		return usageError{fmt.Errorf("--rounds %d: must be 1 or more", f.rounds)}
	}
	if err := checkDirectories(f.result, f.html); err != nil {
		return err
	}
	a, errA := parseSide("a", f.a)
	b, errB := parseSide("b", f.b)
	workloads, err := f.workloads(args)
	if err := errors.Join(errA, errB, err); err != nil {
		return usageError{err}
	}
	for _, side := range []versus.Side{a, b} {
		client, err := (&clientFlags{bootstrap: side.Bootstrap}).connect(cmd.Context())
		if err != nil {
			return err
		}
		client.Close()
	}
	out, err := f.measure(cmd, [2]versus.Side{a, b}, workloads)
	if asJSON {
		err = errors.Join(err, out.Write(cmd.OutOrStdout()))
	} else {
		err = errors.Join(err, printVersus(cmd.OutOrStdout(), out))
	}
	if f.result != "" {
		err = errors.Join(err, writeFile(f.result, out.Write))
	}
	if f.html != "" {
		err = errors.Join(err, writeFile(f.html, out.WriteHTML))
	}
	return err
}

// parseSide reads [NAME=]HOST:PORT[,PID].
func parseSide(flag, text string) (versus.Side, error) {
	side := versus.Side{Name: strings.ToUpper(flag)}
	address := text
	if name, rest, named := strings.Cut(text, "="); named {
		side.Name, address = name, rest
	}
	address, pid, given := strings.Cut(address, ",")
	side.Bootstrap = address
	if given {
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 0 {
			return side, fmt.Errorf("--%s %q: %q is not the id of a process", flag, text, pid)
		}
		if _, err := bench.SpentBy(n); err != nil {
			return side, fmt.Errorf("--%s %q: the processor time of process %d cannot be read: %w", flag, text, n, err)
		}
		side.PID = n
	}
	if address == "" || side.Name == "" {
		return side, fmt.Errorf("--%s %q: must be [NAME=]HOST:PORT[,PID]", flag, text)
	}
	return side, nil
}

// workloads reads the arguments: a kind or a file, and keys. No two have the same name.
func (f *versusFlags) workloads(args []string) ([]spec.Workload, error) {
	var workloads []spec.Workload
	names := map[string]int{}
	for _, arg := range args {
		w, err := parseWorkload(arg, f.sets)
		if err != nil {
			return nil, err
		}
		if names[w.Name]++; names[w.Name] > 1 {
			w.Name = fmt.Sprintf("%s (%d)", w.Name, names[w.Name])
		}
		workloads = append(workloads, w)
	}
	return workloads, nil
}

// parseWorkload reads one workload: its name is what was written, unless it has one.
func parseWorkload(arg string, sets []string) (spec.Workload, error) {
	words := strings.Fields(arg)
	if len(words) == 0 {
		return spec.Workload{}, errors.New("a workload is empty")
	}
	kind, given := words[0], map[string]string{}
	if !slices.Contains(spec.Kinds(), kind) && strings.ContainsAny(kind, "./") {
		var err error
		if kind, given, err = workloadFile(kind); err != nil {
			return spec.Workload{}, err
		}
	}
	if err := setKeys(given, sets); err != nil {
		return spec.Workload{}, fmt.Errorf("--set %w", err)
	}
	if err := setKeys(given, words[1:]); err != nil {
		return spec.Workload{}, fmt.Errorf("%s: %w", arg, err)
	}
	if _, named := given["name"]; !named {
		given["name"] = strings.Join(words, " ")
	}
	w, err := spec.Parse(kind, given)
	if err != nil {
		return w, fmt.Errorf("%s: %w", arg, err)
	}
	return w, nil
}

// measure makes the runs. What they found out is given beside an error, too.
func (f *versusFlags) measure(cmd *cobra.Command, sides [2]versus.Side, workloads []spec.Workload) (*versus.Outcome,
	error) {
	giveUp, ended := secondInterrupt()
	defer ended()
	var names []string
	for _, w := range workloads {
		names = append(names, w.Name)
	}
	status := cmd.ErrOrStderr()
	out, err := versus.Run(cmd.Context(), versus.Options{Sides: sides, Workloads: names, Rounds: f.rounds,
		Run: func(ctx context.Context, side versus.Side, workload, round int) (*benchresult.Result, error) {
			title := fmt.Sprintf("round %d of %d: %s on %s", round+1, f.rounds, names[workload], side.Name)
			view := newVersusView(status, title)
			o := bench.RunOptions{Tool: "spate " + version, GiveUp: giveUp}
			if !f.quiet {
				o.Observe = view.show
			}
			r, err := bench.Run(ctx, bench.Target{Bootstrap: side.Bootstrap, PID: side.PID}, workloads[workload], o)
			view.close()
			if !f.quiet {
				fmt.Fprintln(status, escaped(title+outcomeText(r, err)))
			}
			if err != nil {
				err = cmp.Or(gaveUp(giveUp), err)
			}
			return r, err
		}})
	return out, cmp.Or(err, gaveUp(giveUp))
}

// newVersusView is the view of one run of many: where there is no terminal, each run is one line, which it gets when it
// is over.
func newVersusView(status io.Writer, title string) benchView {
	if view, live := newBenchView(status, title).(*liveView); live {
		return view
	}
	return silentView{}
}

// silentView shows nothing.
type silentView struct{}

func (silentView) show(bench.Progress) {}
func (silentView) close()              {}

// outcomeText is a run in a few words.
func outcomeText(r *benchresult.Result, err error) string {
	if err != nil {
		return ": " + err.Error()
	}
	var parts []string
	if flow := r.Totals.Produced; flow.Records > 0 {
		parts = append(parts, fmt.Sprintf("in %.0f/s", flow.RecordsPerSecond))
	}
	if flow := r.Totals.Consumed; flow.Records > 0 {
		parts = append(parts, fmt.Sprintf("out %.0f/s", flow.RecordsPerSecond))
	}
	for _, name := range []string{benchresult.LatencyEndToEnd, benchresult.LatencyAck} {
		if h := r.Latencies[name]; h != nil && h.Count() > 0 {
			p := h.Percentiles()
			parts = append(parts, fmt.Sprintf("%s p50 %s p99 %s ms", latencyTitles[name], millis(p.P50), millis(p.P99)))
			break
		}
	}
	if b := r.Totals.Broker; b != nil && b.CPUSecondsPerGB > 0 {
		parts = append(parts, fmt.Sprintf("broker %.2f CPU-s/GB", b.CPUSecondsPerGB))
	}
	if r.Interrupted {
		parts = append(parts, "interrupted")
	}
	return ": " + strings.Join(parts, ", ")
}

// printVersus prints a table a workload.
func printVersus(out io.Writer, o *versus.Outcome) error {
	for n, w := range o.Workloads {
		if n > 0 {
			fmt.Fprintln(out)
		}
		what := "one round"
		if rounds := len(w.Runs[0]); rounds > 1 {
			what = fmt.Sprintf("medians of %d rounds (the smallest to the largest)", rounds)
		}
		fmt.Fprintf(out, "%s: %s\n", escaped(w.Name), what)
		found := w.Table(o.Sides)
		t := &table{indent: "  ", header: found.Header}
		for _, row := range found.Rows {
			t.add(row.Cells...)
		}
		if err := t.print(out, 0); err != nil {
			return err
		}
		if note := w.Note(o.Sides); note != "" {
			fmt.Fprintf(out, "  %s\n", escaped(note))
		}
	}
	if o.Rounds < versus.RoundsMin {
		fmt.Fprintf(out, "\n%d rounds or more tell which side is ahead\n", versus.RoundsMin)
	}
	if o.Interrupted {
		fmt.Fprintln(out, "interrupted: rounds that were not finished are left out")
	}
	return nil
}
