package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"spate/cmd/spate/tune"
)

// newTune is "spate tune".
func newTune() *cobra.Command {
	var o tune.Options
	var output string
	var apply []string
	cmd := &cobra.Command{
		Use:   "tune [DIR...]",
		Short: "Check the Linux settings that a broker depends on, and change those that are named",
		Long: `Tune looks at the settings of this machine that a broker's speed and safety depend on: limits, memory,
huge pages, processors and clock, the file systems and disks of the log directories that are named, and the
network. It says what it found, what should change and why, and changes nothing.

--apply KEY changes a setting until the machine restarts, and says how to make that last and how to take it
back. Only what is named is changed.

Exit status 0: looked, and what was to change is changed. 1: not.`,
		Example: "  spate tune /var/lib/spate\n" +
			"  sudo spate tune --apply vm.max_map_count,thp.enabled\n" +
			"  spate tune --root /host --pid 1234 /var/lib/spate    # in a container that has the host's files at " +
			"/host",
		RunE: func(cmd *cobra.Command, dirs []string) error {
			asJSON, err := parseOutput(output)
			if err != nil {
				return err
			}
			if o.PID < 0 {
				return usageError{fmt.Errorf("--pid %d: must be the number of a process", o.PID)}
			}
			o.Dirs = dirs
			snapshot, err := tune.Read(o)
			if err != nil {
				return err
			}
			found := tune.Judge(snapshot)
			if len(apply) > 0 {
				return applyTune(cmd.OutOrStdout(), o.Root, found, apply, asJSON)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), tuned{Kernel: snapshot.Kernel(), CPUs: snapshot.CPUs(),
					MemoryBytes: snapshot.MemoryBytes(), Settings: found})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Linux %s, %s, %s of memory\n",
				cmp.Or(snapshot.Kernel(), "of unknown version"), plural(int64(snapshot.CPUs()), "CPU"),
				byteText(snapshot.MemoryBytes()))
			return printTune(cmd.OutOrStdout(), found, o, widthOf(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().StringSliceVar(&apply, "apply", nil, "settings to change now, by their keys, separated by commas")
	cmd.Flags().IntVar(&o.PID, "pid", 0, "the broker's process, whose limits count; without it, those of this shell")
	cmd.Flags().StringVar(&o.Root, "root", "/", "where /proc, /sys and the log directories are")
	addOutput(cmd, &output)
	return cmd
}

// tuned is what tune prints as JSON.
type tuned struct {
	Kernel      string         `json:"kernel"`
	CPUs        int            `json:"cpus"`
	MemoryBytes int64          `json:"memoryBytes"`
	Settings    []tune.Finding `json:"settings"`
}

// printTune prints findings: those to change with what to do, and those that are right in a table.
func printTune(out io.Writer, found []tune.Finding, o tune.Options, width int) error {
	width = min(cmp.Or(width, proseColumns), proseColumns) // longer lines are hard to read
	counts := map[tune.Verdict]int{}
	right := table{indent: "  ", header: []string{"RIGHT", "FOUND"}, shrinks: []int{1}}
	for _, f := range found {
		counts[f.Verdict]++
		if f.Verdict == tune.Right {
			right.add(f.Key, f.Found)
			continue
		}
		printFinding(out, f, o, width)
	}
	if len(right.rows) > 0 {
		fmt.Fprintln(out)
		if err := right.print(out, width); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "\n%s: %d to change, %d to consider, %d right, %d not known\n",
		plural(int64(len(found)), "setting"), counts[tune.Change], counts[tune.Consider], counts[tune.Right],
		counts[tune.Unknown])
	return err
}

// printFinding prints a setting that is not right. The command that changes one of a disk names the directories too, as
// their disks are looked at.
func printFinding(out io.Writer, f tune.Finding, o tune.Options, width int) {
	fmt.Fprintf(out, "\n%s  %s: %s", strings.ToUpper(string(f.Verdict)), f.Key, escaped(f.Found))
	if f.Wanted != "" {
		fmt.Fprintf(out, " -> %s", f.Wanted)
	}
	fmt.Fprintln(out)
	for _, line := range wrapped(f.Why, width-4) {
		fmt.Fprintf(out, "    %s\n", line)
	}
	if len(f.Writes) > 0 {
		command := "spate tune --apply " + f.Key
		if filepath.Clean(o.Root) != "/" {
			command += " --root " + shellWord(o.Root)
		}
		for _, dir := range o.Dirs {
			if strings.HasPrefix(f.Key, "disk.") {
				command += " " + shellWord(dir)
			}
		}
		fmt.Fprintf(out, "    now:      %s\n", command)
		printLasting(out, f)
	}
	if f.ByHand != "" {
		for i, line := range wrapped(f.ByHand, width-14) {
			fmt.Fprintf(out, "    %-9s %s\n", []string{"by hand:", ""}[min(i, 1)], line)
		}
	}
}

// shellWord is a word as a shell reads it.
func shellWord(word string) string {
	if strings.ContainsAny(word, " \t\"'$&;|<>()*?[]#~`\\!") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// printLasting prints what makes a change outlive a restart.
func printLasting(out io.Writer, f tune.Finding) {
	if f.Lasting == nil {
		return
	}
	fmt.Fprintf(out, "    to last:  in %s\n", f.Lasting.File)
	for line := range strings.SplitSeq(f.Lasting.Text, "\n") {
		fmt.Fprintf(out, "                %s\n", line)
	}
}

// appliedSetting is what became of one setting, for programs.
type appliedSetting struct {
	Key   string     `json:"key"`
	From  string     `json:"from"`
	To    string     `json:"to,omitempty"`
	Done  bool       `json:"done"` // false too where it was right already
	Undo  []string   `json:"undo,omitempty"`
	Last  *tune.Line `json:"lasting,omitempty"`
	Error string     `json:"error,omitempty"`
	found tune.Finding
}

// applyTune changes the settings that were named; none where a name is wrong.
func applyTune(out io.Writer, root string, found []tune.Finding, keys []string, asJSON bool) error {
	slices.Sort(keys)
	chosen, err := tune.Select(found, slices.Compact(keys))
	if err != nil {
		return err
	}
	var done []appliedSetting
	var failed []error
	for _, f := range chosen {
		a := appliedSetting{Key: f.Key, From: f.Found, To: f.Wanted, found: f}
		if len(f.Writes) > 0 {
			if err := tune.Apply(root, f); err != nil {
				failed = append(failed, err)
				a.Error = err.Error()
			} else {
				a.Done, a.Last = true, f.Lasting
				for _, u := range f.Undo {
					a.Undo = append(a.Undo, u.Command(root))
				}
			}
		}
		done = append(done, a)
	}
	if asJSON {
		return errors.Join(append(failed, printJSON(out, done))...)
	}
	for _, a := range done {
		switch {
		case a.Done:
			fmt.Fprintf(out, "%s: %s -> %s\n", a.Key, a.From, a.To)
			for i, command := range a.Undo {
				fmt.Fprintf(out, "    %-9s %s\n", []string{"undo:", ""}[min(i, 1)], command)
			}
			printLasting(out, a.found)
		case a.Error == "":
			fmt.Fprintf(out, "%s is right as it is: %s\n", a.Key, a.From)
		}
	}
	return errors.Join(failed...)
}
