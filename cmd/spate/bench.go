package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"spate/bench"
	benchresult "spate/bench/result"
	"spate/bench/spec"
	"spate/internal/task"
)

// benchFlags are the flags that every workload has besides its keys.
type benchFlags struct {
	clientFlags
	pid        int
	result     string
	histograms string
	html       string
	quiet      bool
}

// newBench is "spate bench".
func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Load any Kafka-compatible cluster, measure it, and check that nothing is lost",
		Long: `Workloads for any Kafka-compatible cluster, in plain text and without a login. Each makes a topic of its own, loads
it, checks that every record arrives once, in order and unchanged, deletes the topic, and prints what it measured.
With a rate, latency counts from the moment a record was due, whether it could be sent then or not. Ctrl-C ends a run
early and gives the result so far; a second one does not wait for what is on its way. The exit status is 1 if anything
was lost, duplicated, reordered or refused, and 130 after a second Ctrl-C.

  spate bench produce                                 how fast records are written
  spate bench e2e --rate 10000                        how long they take to a consumer
  spate bench e2e --rate 1000 --find 'p99<5ms'        the highest rate within that latency
  spate bench run nightly.yaml --result nightly.json  a workload from a file, and its result in a file
  spate bench report nightly.json                     a page with plots of it
  spate bench versus --a HOST:PORT --b HOST:PORT e2e  two brokers in turn, with medians and spreads`,
	}
	for _, kind := range spec.Kinds() {
		cmd.AddCommand(newBenchKind(kind))
	}
	cmd.AddCommand(newBenchRun(), newBenchReport(), newBenchCompare(), newBenchVersus())
	return cmd
}

// add declares the flags.
func (f *benchFlags) add(cmd *cobra.Command) {
	f.clientFlags.add(cmd)
	cmd.Flags().IntVar(&f.pid, "pid", 0, "process id of the broker, where it runs on this machine: measures its "+
		"processor time and memory")
	cmd.Flags().StringVar(&f.result, "result", "", "write the result to this file, as JSON")
	cmd.Flags().StringVar(&f.html, "html", "", "write a page with plots to this file; it needs no network")
	cmd.Flags().StringVar(&f.histograms, "hgrm", "", "write the latencies to NAME-ack.hgrm, NAME-end-to-end.hgrm, "+
		"..., for HdrHistogram's plotters")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print no progress")
}

// newBenchKind is the command of one kind of workload: its keys are flags.
func newBenchKind(kind string) *cobra.Command {
	flags := &benchFlags{}
	values := map[string]*string{}
	cmd := &cobra.Command{
		Use:   kind + " [flags]",
		Short: upperFirst(spec.Short(kind)),
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.run(cmd, kind, givenKeys(cmd, values))
		},
	}
	flags.add(cmd)
	addKeys(cmd, kind, values)
	return cmd
}

// newBenchRun is "spate bench run": the workload comes from a file, and flags go before what that says.
func newBenchRun() *cobra.Command {
	flags := &benchFlags{}
	var sets []string
	cmd := &cobra.Command{
		Use:   "run FILE.yaml [flags]",
		Short: "Run a workload from a YAML file",
		Long: `Runs a workload from a YAML file. Its keys are the flags of that kind of workload, without the dashes:

  workload: e2e
  rate: 10000
  duration: 60s
  record-size: uniform:100-2000
  topic-config: {segment.bytes: 104857600}`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, given, err := workloadFile(args[0])
			if err != nil {
				return usageError{err}
			}
			if _, named := given["name"]; !named {
				given["name"] = strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0]))
			}
			if err := setKeys(given, sets); err != nil {
				return usageError{fmt.Errorf("--set %w", err)}
			}
			return flags.run(cmd, kind, given)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringArrayVar(&sets, "set", nil, "key=value, instead of what the file says")
	return cmd
}

// workloadFile reads a workload from a YAML file.
func workloadFile(path string) (kind string, given map[string]string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	if kind, given, err = spec.FromYAML(text); err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	return kind, given, nil
}

// setKeys gives keys the values of key=value, instead of those that they have.
func setKeys(given map[string]string, pairs []string) error {
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return fmt.Errorf("%q: must be key=value", pair)
		}
		given[key] = value
	}
	return nil
}

// addKeys declares the keys of a workload as flags.
func addKeys(cmd *cobra.Command, kind string, values map[string]*string) {
	cmd.Flags().SortFlags = false
	for _, key := range spec.Keys(kind) {
		value := new(string)
		values[key.Name] = value
		cmd.Flags().StringVar(value, key.Name, key.Default, key.Help)
		if key.Default == "true" || key.Default == "false" {
			cmd.Flags().Lookup(key.Name).NoOptDefVal = "true"
		}
	}
}

// givenKeys are the keys that are flags on the command line.
func givenKeys(cmd *cobra.Command, values map[string]*string) map[string]string {
	given := map[string]string{}
	for name, value := range values {
		if cmd.Flags().Changed(name) {
			given[name] = *value
		}
	}
	return given
}

// run runs a workload, prints what it found out, and fails if that is bad.
func (f *benchFlags) run(cmd *cobra.Command, kind string, given map[string]string) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	w, err := spec.Parse(kind, given)
	if err != nil {
		return usageError{err}
	}
	if f.pid != 0 {
		if _, err := bench.SpentBy(f.pid); err != nil {
			return usageError{fmt.Errorf("--pid %d: its processor time cannot be read: %w", f.pid, err)}
		}
	}
	if err := checkDirectories(f.result, f.histograms, f.html); err != nil {
		return err
	}
	client, err := f.connect(cmd.Context())
	if err != nil {
		return err
	}
	client.Close()
	giveUp, ended := secondInterrupt()
	status := cmd.ErrOrStderr()
	options := bench.RunOptions{Tool: "spate " + version, GiveUp: giveUp}
	view := newBenchView(status, fmt.Sprintf("%s at %s", w.Name, f.bootstrap))
	if !f.quiet {
		options.Observe = view.show
	}
	r, err := bench.Run(cmd.Context(), bench.Target{Bootstrap: f.bootstrap, PID: f.pid}, w, options)
	ended()
	view.close()
	if err != nil {
		return cmp.Or(gaveUp(giveUp), err)
	}
	if asJSON {
		err = r.Write(cmd.OutOrStdout())
	} else {
		err = printBench(cmd.OutOrStdout(), r)
	}
	return errors.Join(err, f.save(r), cmp.Or(r.Failed(), gaveUp(giveUp)))
}

// errGivenUp is the end of a run that the user did not wait for.
var errGivenUp = errors.New("interrupted twice: what was on its way was not waited for")

// gaveUp is errGivenUp after a second interrupt, and stands for what fails because of it.
func gaveUp(giveUp <-chan struct{}) error {
	select {
	case <-giveUp:
		return errGivenUp
	default:
		return nil
	}
}

// secondInterrupt gives a channel that is closed when the user presses Ctrl-C a second time: the first one ends the
// load, and what is on its way is still waited for. A third one ends the process.
func secondInterrupt() (giveUp chan struct{}, ended func()) {
	giveUp = make(chan struct{})
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	var listener task.Group
	listener.Go("bench: interrupts", func() {
		defer signal.Stop(signals)
		for range 2 {
			select {
			case <-signals:
			case <-done:
				return
			}
		}
		close(giveUp)
	})
	return giveUp, func() {
		close(done)
		listener.Wait()
	}
}

// save writes the files that were asked for.
func (f *benchFlags) save(r *benchresult.Result) error {
	var failed []error
	if f.result != "" {
		failed = append(failed, writeFile(f.result, r.Write))
	}
	if f.html != "" {
		failed = append(failed, writeHTML(f.html, []*benchresult.Result{r}))
	}
	if f.histograms != "" {
		for _, name := range benchresult.LatencyNames {
			if h := r.Latencies[name]; h != nil {
				file := f.histograms + "-" + strings.ReplaceAll(latencyTitles[name], " ", "-") + ".hgrm"
				failed = append(failed, writeFile(file, h.WriteHGRM))
			}
		}
	}
	return errors.Join(failed...)
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// upperFirst makes the start of a sentence of a text.
func upperFirst(text string) string {
	return strings.ToUpper(text[:1]) + text[1:]
}
