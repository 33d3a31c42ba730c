package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// resetFlags say which offsets are reset and to what.
type resetFlags struct {
	clientFlags
	topics    []string
	allTopics bool

	earliest, latest, current bool
	offset, shift             int64
	datetime, duration, file  string

	execute, export bool
}

// targetFlags are the flags of which exactly one is given.
var targetFlags = []string{"to-earliest", "to-latest", "to-current", "to-offset", "shift-by", "to-datetime",
	"by-duration", "from-file"}

// newGroupReset is "spate group reset-offsets".
func newGroupReset() *cobra.Command {
	var flags resetFlags
	cmd := &cobra.Command{
		Use:   "reset-offsets GROUP",
		Short: "Move the committed offsets of a group that has no members",
		Long: `Move the committed offsets of a group that has no members.

Without --execute nothing is changed: the plan is printed. An offset outside of what a partition holds is moved to its
first record or its end. A group that does not exist is made by --execute.`,
		Example: `  spate group reset-offsets payments --topic orders --to-earliest
  spate group reset-offsets payments --topic orders:0,1 --shift-by -100 --execute
  spate group reset-offsets payments --all-topics --to-datetime 2026-03-01T08:00:00Z --execute
  spate group reset-offsets payments --all-topics --to-current --export > offsets.csv
  spate group reset-offsets payments --from-file offsets.csv --execute`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return flags.run(cmd, args[0]) },
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringArrayVarP(&flags.topics, "topic", "t", nil, "topic, or topic:partition,partition; may be repeated")
	f.BoolVar(&flags.allTopics, "all-topics", false, "all partitions of which the group has a committed offset")
	f.BoolVar(&flags.earliest, "to-earliest", false, "to the first record")
	f.BoolVar(&flags.latest, "to-latest", false, "to the end")
	f.BoolVar(&flags.current, "to-current", false, "to where it is; where nothing is committed, to the end")
	f.Int64Var(&flags.offset, "to-offset", 0, "to this offset")
	f.Int64Var(&flags.shift, "shift-by", 0, "by so many records, forward or, with a minus, back")
	f.StringVar(&flags.datetime, "to-datetime", "", "to the first record at or after a time: 2006-01-02T15:04:05Z, "+
		"without\na zone in UTC")
	f.StringVar(&flags.duration, "by-duration", "", "to the first record that is at most this old: 36h, 7d, or as "+
		"Kafka's\ntool takes it, P1DT12H")
	f.StringVar(&flags.file, "from-file", "", "to the offsets of a CSV file, or of - for standard input:\n"+
		"topic,partition,offset or group,topic,partition,offset")
	f.BoolVar(&flags.execute, "execute", false, "do it; without, only show what would be done")
	f.BoolVar(&flags.export, "export", false, "print the plan as CSV for --from-file")
	return cmd
}

// target is what the flags ask for.
func (f *resetFlags) target(cmd *cobra.Command, group string, now time.Time) (resetTarget, error) {
	var given []string
	for _, name := range targetFlags {
		if cmd.Flags().Changed(name) {
			given = append(given, name)
		}
	}
	if len(given) != 1 {
		problem := "say where to"
		if len(given) > 1 {
			problem = "--" + strings.Join(given, " and --") + " exclude each other"
		}
		return resetTarget{}, fmt.Errorf("%s: one of --%s", problem, strings.Join(targetFlags, ", --"))
	}
	switch given[0] {
	case "to-earliest":
		return resetTarget{kind: toEarliest}, nil
	case "to-latest":
		return resetTarget{kind: toLatest}, nil
	case "to-current":
		return resetTarget{kind: toCurrent}, nil
	case "to-offset":
		if f.offset < 0 {
			return resetTarget{}, fmt.Errorf("--to-offset %d: an offset is not negative", f.offset)
		}
		return resetTarget{kind: toOffset, value: f.offset}, nil
	case "shift-by":
		return resetTarget{kind: shiftBy, value: f.shift}, nil
	case "to-datetime":
		ms, err := parseResetTime(f.datetime)
		return resetTarget{kind: toTime, value: ms}, err
	case "by-duration":
		d, err := parseAge(f.duration)
		if err != nil {
			return resetTarget{}, fmt.Errorf("--by-duration %w", err)
		}
		return resetTarget{kind: toTime, value: now.Add(-d).UnixMilli()}, nil
	}
	return f.fileTarget(cmd.InOrStdin(), group)
}

// fileTarget reads the file of --from-file.
func (f *resetFlags) fileTarget(stdin io.Reader, group string) (resetTarget, error) {
	in := stdin
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return resetTarget{}, err
		}
		defer file.Close()
		in = file
	}
	offsets, err := readOffsets(in, group)
	if err != nil {
		return resetTarget{}, fmt.Errorf("%s: %w", f.file, err)
	}
	return resetTarget{kind: fromFile, offsets: offsets}, nil
}

// run makes the plan, and carries it out if asked.
func (f *resetFlags) run(cmd *cobra.Command, group string) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	if asJSON && f.export {
		return usageError{errors.New("--export prints CSV: leave --output out")}
	}
	target, err := f.target(cmd, group, time.Now())
	if err != nil {
		return usageError{err}
	}
	topics, err := f.scope(target)
	if err != nil {
		return usageError{err}
	}
	ctx, out, status := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	v, err := f.viewer(ctx)
	if err != nil {
		return err
	}
	defer v.client.Close()
	exists, active, err := v.activeSentence(ctx, group)
	if err != nil {
		return err
	}
	if active != "" && f.execute {
		return fmt.Errorf("%s; stop them first, as they would go on from where they are", active)
	}
	rows, err := v.plan(ctx, group, topics, target)
	if err != nil {
		return err
	}
	if f.execute {
		if err := v.commit(ctx, group, rows); err != nil {
			return err
		}
	}
	if err := f.show(out, rows, asJSON); err != nil {
		return err
	}
	switch {
	case f.execute:
		fmt.Fprintf(status, "set %s of group %s\n", plural(int64(len(rows)), "offset"), group)
	case active != "":
		fmt.Fprintf(status, "dry run, nothing was changed: %s; stop them before --execute\n", active)
	case !exists:
		fmt.Fprintf(status, "dry run, nothing was changed: group %s does not exist yet, --execute makes it\n", group)
	case !f.export:
		fmt.Fprintln(status, "dry run, nothing was changed: --execute does it")
	}
	return nil
}

// scope is which partitions are meant: none named by --all-topics, a nil list for all of a topic.
func (f *resetFlags) scope(target resetTarget) (map[string][]int32, error) {
	topics, err := parseTopics("--topic ", f.topics)
	if err != nil {
		return nil, err
	}
	switch {
	case target.kind == fromFile && (f.allTopics || len(topics) > 0):
		return nil, errors.New("the file says which partitions: leave --topic and --all-topics out")
	case target.kind == fromFile:
		return topicsOf(target.offsets), nil
	case f.allTopics && len(topics) > 0:
		return nil, errors.New("--topic and --all-topics exclude each other")
	case !f.allTopics && len(topics) == 0:
		return nil, errors.New("say which offsets: --topic orders, --topic orders:0,1 or --all-topics")
	}
	return topics, nil
}

// activeSentence finds out whether a group exists, and says that it has members, if it does.
func (v *viewer) activeSentence(ctx context.Context, group string) (exists bool, sentence string, err error) {
	views, err := v.describe(ctx, []string{group})
	if len(views) == 0 {
		if errors.Is(err, errNoGroup) {
			return false, "", nil
		}
		return false, "", err
	}
	if g := views[0]; g.State != "Empty" && g.State != "Dead" {
		sentence = fmt.Sprintf("group %s has %s and is %s", group, plural(int64(len(g.Members)), "member"), g.State)
	}
	return true, sentence, nil
}

// plan computes the rows for topics, or for all that the group has offsets of.
func (v *viewer) plan(ctx context.Context, group string, topics map[string][]int32, target resetTarget) ([]resetRow,
	error,
) {
	committed, err := v.admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, explainGroup(group, err)
	}
	if len(topics) == 0 {
		topics = make(map[string][]int32)
		committed.Each(func(o kadm.OffsetResponse) {
			if o.At >= 0 {
				topics[o.Topic] = append(topics[o.Topic], o.Partition)
			}
		})
		if len(topics) == 0 {
			return nil, fmt.Errorf("group %s has no committed offsets; name the topics with --topic", group)
		}
	}
	names := slices.Sorted(maps.Keys(topics))
	o, err := v.offsets(ctx, names)
	if err != nil {
		return nil, err
	}
	var times kadm.ListedOffsets
	if target.kind == toTime && len(o.partitions) > 0 {
		existing := slices.Sorted(maps.Keys(o.partitions))
		if times, err = v.admin.ListOffsetsAfterMilli(ctx, target.value, existing...); err != nil {
			return nil, unwrapShards(err)
		}
	}
	rows := []resetRow{}
	for _, topic := range names {
		count, exists := o.partitions[topic]
		if !exists {
			return nil, explain(topic, kerr.UnknownTopicOrPartition, "")
		}
		partitions := topics[topic]
		if partitions == nil {
			for p := range count {
				partitions = append(partitions, p)
			}
		}
		slices.Sort(partitions)
		for _, p := range partitions {
			if p >= count {
				return nil, fmt.Errorf("topic %s has no partition %d; it has %d", topic, p, count)
			}
			row := resetRow{Topic: topic, Partition: p, Current: -1}
			if at, ok := committed.Lookup(topic, p); ok {
				row.Current = at.At
			}
			if err := row.resolve(o, times, target); err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// resolve fills in where the partition begins and ends, and the new offset.
func (r *resetRow) resolve(o topicOffsets, times kadm.ListedOffsets, target resetTarget) error {
	first, okFirst := o.starts.Lookup(r.Topic, r.Partition)
	last, okLast := o.ends.Lookup(r.Topic, r.Partition)
	if err := errors.Join(first.Err, last.Err); err != nil || !okFirst || !okLast {
		return fmt.Errorf("partition %d: %w", r.Partition, explain(r.Topic, cmpErr(err, errNoLeader), ""))
	}
	r.Start, r.End = first.Offset, last.Offset
	atTime := int64(-1)
	if target.kind == toTime {
		found, ok := times.Lookup(r.Topic, r.Partition)
		if !ok || found.Err != nil {
			return fmt.Errorf("partition %d: %w", r.Partition, explain(r.Topic, cmpErr(found.Err, errNoLeader), ""))
		}
		if found.Timestamp >= 0 { // the client gives the end where no record is that late
			atTime = found.Offset
		}
	}
	return target.plan(r, atTime)
}

// errNoLeader is said of a partition about which nobody answered.
var errNoLeader = errors.New("its leader does not answer")

// cmpErr is the first error that is one.
func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// commit carries a plan out, all of it at once.
func (v *viewer) commit(ctx context.Context, group string, rows []resetRow) error {
	offsets := make(kadm.Offsets)
	for _, r := range rows {
		offsets.AddOffset(r.Topic, r.Partition, r.New, -1)
	}
	answers, err := v.admin.CommitOffsets(ctx, group, offsets)
	if err != nil {
		return explainGroup(group, err)
	}
	var failed []error
	for _, r := range rows {
		if answer, ok := answers.Lookup(r.Topic, r.Partition); !ok || answer.Err != nil {
			failed = append(failed, fmt.Errorf("%s-%d was not set: %w", r.Topic, r.Partition,
				explainGroup(group, cmpErr(answer.Err, errors.New("no answer")))))
		}
	}
	return errors.Join(failed...)
}

// show prints the plan.
func (f *resetFlags) show(out io.Writer, rows []resetRow, asJSON bool) error {
	switch {
	case f.export:
		return writeOffsets(out, rows)
	case asJSON:
		return printJSON(out, rows)
	}
	t := table{header: []string{"TOPIC", "PARTITION", "CURRENT", "NEW", "CHANGE", "NOTE"}, shrinks: []int{0, 5}}
	for _, r := range rows {
		t.add(r.Topic, fmt.Sprint(r.Partition), orNone(r.Current), fmt.Sprint(r.New), r.change(), r.Note)
	}
	return t.print(out, widthOf(out))
}
