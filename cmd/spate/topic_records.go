package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// alterWithin is how long a broker may take for a change before it answers that it is not done yet.
const alterWithin = 30 * time.Second

// deleteRecordsFlags say which records are deleted.
type deleteRecordsFlags struct {
	clientFlags
	before     string
	partitions []int32
	execute    bool
}

// deleteRow is what delete-records does with one partition.
type deleteRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Start     int64  `json:"start"`   // the first offset now
	Before    int64  `json:"before"`  // the first offset that stays
	End       int64  `json:"end"`     // the next offset to be written
	Deleted   bool   `json:"deleted"` // false: a dry run, or nothing is to be deleted
	Error     string `json:"error,omitempty"`
	Code      string `json:"code,omitempty"`
}

// newTopicDeleteRecords is "spate topic delete-records".
func newTopicDeleteRecords() *cobra.Command {
	var flags deleteRecordsFlags
	cmd := &cobra.Command{
		Use:   "delete-records TOPIC --before PLACE",
		Short: "Delete the oldest records of a topic, up to an offset or a time",
		Long: `Delete the oldest records of a topic, those before a place in each partition.

Without --execute nothing is changed: the plan is printed. What is deleted cannot be brought back. PLACE is latest (all
records), an offset, -N for all but the last N, a time (2006-01-02T15:04:05Z, 2006-01-02, @milliseconds), how long ago (2h,
7d: all that is older), or such by partition: 0:100,1:200.`,
		Example: `  spate topic delete-records orders --before 7d
  spate topic delete-records orders --before 0:1000,3:latest --execute`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return flags.run(cmd, args[0]) },
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.before, "before", "", "the first record that stays")
	cmd.Flags().Int32SliceVarP(&flags.partitions, "partitions", "p", nil, "partitions, by commas; none: all")
	cmd.Flags().BoolVar(&flags.execute, "execute", false, "do it; without, only show what would be done")
	return cmd
}

// run makes the plan, and carries it out if asked.
func (f *deleteRecordsFlags) run(cmd *cobra.Command, topic string) error {
	if f.before == "" {
		return usageError{errors.New("say up to where: --before latest, 1000, -100, 7d, 2006-01-02 or 0:100,1:200")}
	}
	before, err := parsePlaces(f.before, time.Now())
	if err != nil {
		return usageError{fmt.Errorf("--before %w", err)}
	}
	if before.by != nil && len(f.partitions) > 0 {
		return usageError{errors.New("--before names the partitions: leave --partitions out")}
	}
	client, asJSON, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	rows, err := f.plan(cmd.Context(), admin, topic, before)
	if err != nil {
		return err
	}
	if f.execute {
		err = deleteRecords(cmd.Context(), admin, rows)
	}
	if asJSON {
		err = errors.Join(printJSON(cmd.OutOrStdout(), rows), err)
	} else {
		t := table{
			header:  []string{"TOPIC", "PARTITION", "START", "BEFORE", "END", "DELETE", "KEEP"},
			shrinks: []int{0},
		}
		for _, r := range rows {
			t.add(r.Topic, fmt.Sprint(r.Partition), fmt.Sprint(r.Start), fmt.Sprint(r.Before), fmt.Sprint(r.End),
				fmt.Sprint(r.Before-r.Start), fmt.Sprint(r.End-r.Before))
		}
		err = errors.Join(t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout())), err)
	}
	if !f.execute {
		fmt.Fprintln(cmd.ErrOrStderr(), "dry run, nothing was changed: --execute does it")
	}
	return err
}

// plan computes the rows.
func (f *deleteRecordsFlags) plan(ctx context.Context, admin *kadm.Client, topic string, before places) ([]deleteRow,
	error,
) {
	v := &viewer{admin: admin}
	o, err := v.offsets(ctx, []string{topic})
	if err != nil {
		return nil, err
	}
	count, exists := o.partitions[topic]
	if !exists {
		return nil, explain(topic, kerr.UnknownTopicOrPartition, "")
	}
	partitions := f.partitions
	if before.by != nil {
		partitions = slices.Collect(maps.Keys(before.by))
	}
	if len(partitions) == 0 {
		for p := range count {
			partitions = append(partitions, p)
		}
	}
	timed := make(map[int64]kadm.ListedOffsets)
	for _, ms := range before.times() {
		if timed[ms], err = admin.ListOffsetsAfterMilli(ctx, ms, topic); err != nil {
			return nil, unwrapShards(err)
		}
	}
	slices.Sort(partitions)
	rows := []deleteRow{}
	for _, p := range slices.Compact(partitions) {
		if p < 0 || p >= count {
			return nil, fmt.Errorf("topic %s has no partition %d; it has %d", topic, p, count)
		}
		first, okFirst := o.starts.Lookup(topic, p)
		last, okLast := o.ends.Lookup(topic, p)
		if err := errors.Join(first.Err, last.Err); err != nil || !okFirst || !okLast {
			return nil, fmt.Errorf("partition %d: %w", p, explain(topic, cmpErr(err, errNoLeader), ""))
		}
		at := before.of(p, place{})
		late, _ := timed[at.value].Lookup(topic, p)
		to := at.resolve(first.Offset, last.Offset, late.Offset)
		if at.kind == atOffset && to > last.Offset {
			return nil, fmt.Errorf(
				"partition %d of %s: offset %d is not there: it holds %d to %d",
				p,
				topic,
				to,
				first.Offset,
				last.Offset,
			)
		}
		rows = append(rows, deleteRow{
			Topic: topic, Partition: p, Start: first.Offset, End: last.Offset,
			Before: max(first.Offset, min(to, last.Offset)),
		})
	}
	return rows, nil
}

// deleteRecords carries a plan out.
func deleteRecords(ctx context.Context, admin *kadm.Client, rows []deleteRow) error {
	offsets := make(kadm.Offsets)
	for _, r := range rows {
		if r.Before > r.Start {
			offsets.AddOffset(r.Topic, r.Partition, r.Before, -1)
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	answers, err := admin.DeleteRecords(ctx, offsets)
	if err != nil && len(answers) == 0 {
		return unwrapShards(err)
	}
	var failed []error
	for i := range rows {
		r := &rows[i]
		if r.Before <= r.Start {
			continue
		}
		answer, ok := answers.Lookup(r.Topic, r.Partition)
		if err := answer.Err; err != nil || !ok {
			err = deletionError(*r, cmpErr(err, errNoLeader))
			r.Error, r.Code = err.Error(), protocolName(err)
			failed = append(failed, err)
			continue
		}
		r.Deleted = true
	}
	return errors.Join(failed...)
}

// deletionError explains why records of a partition were not deleted.
func deletionError(r deleteRow, err error) error {
	if errors.Is(err, kerr.PolicyViolation) {
		return sentence(
			err,
			"partition %d of %s: records are deleted only where cleanup.policy has delete",
			r.Partition,
			r.Topic,
		)
	}
	return sentence(err, "partition %d: %v", r.Partition, explain(r.Topic, err, ""))
}
