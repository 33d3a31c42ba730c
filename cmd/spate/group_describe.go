package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// describeFlags say what describe shows.
type describeFlags struct {
	clientFlags
	members bool
	state   bool
	sample  time.Duration
	watch   time.Duration
}

// newGroupDescribe is "spate group describe".
func newGroupDescribe() *cobra.Command {
	var flags describeFlags
	cmd := &cobra.Command{
		Use:   "describe [GROUP...]",
		Short: "Describe groups: offsets, lag in records and seconds, members, and why a group is stuck",
		Long: `Describe groups, all of them where none is named.

CURRENT is the committed offset, which is the next record to be consumed. LAG is the number of records from there to the
end; SECONDS is how long the first of these has been there, so it is how far behind the group is in time. Whether members
really consume shows only over time: --sample looks twice and says what was committed and what arrived in between.`,
		Example: `  spate group describe payments
  spate group describe payments --sample 10s
  spate group describe --state
  spate group describe payments --watch 5s`,
		RunE: func(cmd *cobra.Command, names []string) error { return flags.run(cmd, names) },
	}
	flags.add(cmd)
	cmd.Flags().
		BoolVar(&flags.members, "members", false, "show the members and what they have, instead of the offsets")
	cmd.Flags().BoolVar(&flags.state, "state", false, "show one line for each group")
	flags.addSampling(cmd)
	return cmd
}

// newGroupMembers is "spate group members".
func newGroupMembers() *cobra.Command {
	flags := describeFlags{members: true}
	cmd := &cobra.Command{
		Use:   "members GROUP...",
		Short: "Show the members of groups and what they have; the same as describe --members",
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, names []string) error { return flags.run(cmd, names) },
	}
	flags.add(cmd)
	flags.addSampling(cmd)
	return cmd
}

// addSampling declares the flags about time.
func (f *describeFlags) addSampling(cmd *cobra.Command) {
	cmd.Flags().
		DurationVar(&f.sample, "sample", 0, "look twice, this long apart, and say what was consumed in between; "+
			"consumers\ncommit every 5s by default, so 10s tells")
	cmd.Flags().DurationVar(&f.watch, "watch", 0, "look again and again, this long apart, until interrupted")
}

// run describes once, twice or for ever.
func (f *describeFlags) run(cmd *cobra.Command, names []string) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	switch {
	case f.members && f.state:
		return usageError{errors.New("--members and --state are different views: choose one")}
	case f.sample < 0 || f.watch < 0:
		return usageError{errors.New("--sample and --watch are durations such as 10s")}
	case f.sample > 0 && f.watch > 0:
		return usageError{errors.New("--watch compares each look with the one before already: leave --sample out")}
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	v, err := f.viewer(ctx)
	if err != nil {
		return err
	}
	defer v.client.Close()
	views, err := v.groups(ctx, names)
	if len(views) == 0 && err == nil && !asJSON {
		fmt.Fprintln(cmd.ErrOrStderr(), `no groups yet; "spate consume TOPIC --group NAME" makes one`)
	}
	if f.sample > 0 && err == nil && pause(ctx, f.sample) {
		before := views
		views, err = v.groups(ctx, names)
		compare(before, views)
	}
	for {
		if f.watch > 0 && isTerminal(out) {
			fmt.Fprint(out, clearScreen)
		}
		if f.watch > 0 && !asJSON {
			fmt.Fprintf(out, "at %s\n", time.Now().UTC().Format(time.RFC3339))
		}
		if printed := f.show(out, views, asJSON); printed != nil {
			return printed
		}
		if f.watch == 0 || err != nil || !pause(ctx, f.watch) {
			return err
		}
		before := views
		if views, err = v.groups(ctx, names); ctx.Err() != nil {
			return nil // interrupted by the one who watches
		}
		compare(before, views)
	}
}

// clearScreen empties a terminal and begins at its top.
const clearScreen = "\x1b[H\x1b[2J"

// pause waits, and reports whether it was not interrupted.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// compare adds to each group what a look before says about it.
func compare(before, after []*groupView) {
	for _, g := range after {
		var previous *groupView
		for _, b := range before {
			if b.Name == g.Name {
				previous = b
			}
		}
		g.Reasons = g.reasons(previous)
	}
}

// show prints the groups.
func (f *describeFlags) show(out io.Writer, views []*groupView, asJSON bool) error {
	for _, g := range views {
		if g.Reasons == nil {
			g.Reasons = g.reasons(nil)
		}
	}
	if asJSON {
		if views == nil {
			views = []*groupView{}
		}
		return printJSON(out, views)
	}
	if f.state {
		return showStates(out, views)
	}
	for i, g := range views {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out, escaped(g.headline()))
		t := g.offsetTable()
		if f.members {
			t = g.memberTable()
		}
		if len(t.rows) > 0 {
			if err := t.print(out, widthOf(out)); err != nil {
				return err
			}
		}
		for _, reason := range g.Reasons {
			fmt.Fprintf(out, "  ! %s\n", escaped(reason))
		}
	}
	return nil
}

// headline says in one line what matters most.
func (g *groupView) headline() string {
	lag := plural(g.Lag, "record")
	if g.Lag > 0 && g.LagSeconds != nil {
		lag += ", " + secondsText(*g.LagSeconds) + " s"
	}
	unknown := int64(0)
	for _, p := range g.Partitions {
		if p.Lag == nil && p.End > p.Start {
			unknown++
		}
	}
	if unknown > 0 {
		lag += fmt.Sprintf(", and not known in %s", plural(unknown, "partition"))
	}
	assignor := ""
	if g.Assignor != "" {
		assignor = "  assignor " + g.Assignor
	}
	return fmt.Sprintf("group %s  type %s  state %s%s  members %d  lag %s", g.Name, g.Type, g.State, assignor,
		len(g.Members), lag)
}

// showStates prints one line for each group.
func showStates(out io.Writer, views []*groupView) error {
	t := table{
		header:  []string{"GROUP", "TYPE", "STATE", "ASSIGNOR", "EPOCH", "MEMBERS", "LAG", "SECONDS", "COORDINATOR"},
		shrinks: []int{0},
	}
	for _, g := range views {
		epoch, seconds := "", ""
		if g.Epoch != nil {
			epoch = fmt.Sprint(*g.Epoch)
		}
		if g.LagSeconds != nil {
			seconds = secondsText(*g.LagSeconds)
		}
		t.add(g.Name, g.Type, g.State, g.Assignor, epoch, fmt.Sprint(len(g.Members)), fmt.Sprint(g.Lag), seconds,
			fmt.Sprint(g.Coordinator))
	}
	if len(t.rows) == 0 {
		return nil
	}
	return t.print(out, widthOf(out))
}

// offsetTable has a row for each partition.
func (g *groupView) offsetTable() *table {
	t := &table{
		indent: "  ",
		header: []string{"TOPIC", "PARTITION", "CURRENT", "END", "LAG", "SECONDS", "MEMBER", "HOST", "CLIENT"},
		// The member first: its id is the longest, and means least to people.
		shrinks: []int{6, 8, 0},
	}
	for _, p := range g.Partitions {
		lag, seconds := "", ""
		if p.Lag != nil {
			lag = fmt.Sprint(*p.Lag)
		}
		if p.LagSeconds != nil {
			seconds = secondsText(*p.LagSeconds)
		}
		t.add(p.Topic, fmt.Sprint(p.Partition), orNone(p.Committed), orNone(p.End), lag, seconds, p.Member, p.Host,
			p.Client)
	}
	return t
}

// memberTable has a row for each member.
func (g *groupView) memberTable() *table {
	t := &table{
		indent:  "  ",
		header:  []string{"MEMBER", "INSTANCE", "HOST", "CLIENT", "EPOCH", "PARTITIONS", "ASSIGNED", "TARGET"},
		shrinks: []int{0, 3, 1, 6, 7},
	}
	for _, m := range g.Members {
		epoch, target := "", ""
		if m.Epoch != nil {
			epoch = fmt.Sprint(*m.Epoch)
			target = "same"
			if assignedText(m.Target) != assignedText(m.Assigned) {
				target = assignedText(m.Target)
			}
		}
		count := 0
		for _, partitions := range m.Assigned {
			count += len(partitions)
		}
		t.add(m.ID, m.InstanceID, m.Host, m.ClientID, epoch, fmt.Sprint(count), assignedText(m.Assigned), target)
	}
	return t
}

// assignedText is partitions as orders:0,1 refunds:2.
func assignedText(assigned map[string][]int32) string {
	var topics []string
	for _, topic := range slices.Sorted(maps.Keys(assigned)) {
		topics = append(topics, topic+":"+joinIDs(assigned[topic]))
	}
	return strings.Join(topics, " ")
}

// secondsText is a number of seconds: with a tenth below a hundred, and 0 only if it is.
func secondsText(seconds float64) string {
	switch {
	case seconds == 0:
		return "0"
	case seconds < 100:
		return strconv.FormatFloat(max(seconds, 0.1), 'f', 1, 64)
	}
	return strconv.FormatFloat(seconds, 'f', 0, 64)
}
