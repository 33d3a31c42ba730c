package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/kafka"
)

// topicFilter says which topics and partitions are shown.
type topicFilter struct {
	underReplicated, unavailable bool
	underMinISR, atMinISR        bool
	withOverrides                bool
	excludeInternal              bool
}

// add declares the flags on a command.
func (f *topicFilter) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(
		&f.underReplicated,
		"under-replicated",
		false,
		"only partitions with fewer replicas in sync than they have",
	)
	flags.BoolVar(&f.unavailable, "unavailable", false, "only partitions without a leader")
	flags.BoolVar(&f.underMinISR, "under-min-isr", false, "only partitions with fewer replicas in sync than "+
		"min.insync.replicas: they\nrefuse acks=all")
	flags.BoolVar(
		&f.atMinISR,
		"at-min-isr",
		false,
		"only partitions that can lose no replica without falling under it",
	)
	flags.BoolVar(&f.withOverrides, "with-overrides", false, "only topics with configs of their own")
	flags.BoolVar(
		&f.excludeInternal,
		"exclude-internal",
		false,
		"leave out internal topics, such as __consumer_offsets",
	)
}

// health are the flags about the state of partitions, of which at most one is given.
func (f *topicFilter) health() []string {
	var given []string
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{f.underReplicated, "--under-replicated"}, {f.unavailable, "--unavailable"},
		{f.underMinISR, "--under-min-isr"}, {f.atMinISR, "--at-min-isr"},
	} {
		if flag.set {
			given = append(given, flag.name)
		}
	}
	return given
}

// check refuses flags that exclude each other.
func (f *topicFilter) check() error {
	if given := f.health(); len(given) > 1 {
		return usageError{fmt.Errorf("%s exclude each other: choose one", strings.Join(given, " and "))}
	}
	return nil
}

// takes reports whether a partition is shown.
func (f *topicFilter) takes(p partitionRow, minISR int) bool {
	switch {
	case f.underReplicated:
		return len(p.ISR) < len(p.Replicas)
	case f.unavailable:
		return p.Leader < 0
	case f.underMinISR:
		return len(p.ISR) < minISR
	case f.atMinISR:
		return len(p.ISR) == minISR
	}
	return true
}

// nothing says that no topic is shown, and why.
func (f *topicFilter) nothing(patterns []string) string {
	which := ""
	if len(patterns) > 0 {
		which = " of " + strings.Join(patterns, ", ")
	}
	of := ""
	if f.withOverrides {
		of = " of a topic with configs of its own"
	}
	switch {
	case f.underReplicated:
		return "no partition" + which + of + " is under-replicated"
	case f.unavailable:
		return "no partition" + which + of + " is without a leader"
	case f.underMinISR:
		return "no partition" + which + of + " is under its min.insync.replicas"
	case f.atMinISR:
		return "no partition" + which + of + " is at its min.insync.replicas"
	case f.withOverrides:
		return "no topic" + which + " has configs of its own"
	case len(patterns) > 0:
		return "no topic matches " + strings.Join(patterns, ", ")
	case f.excludeInternal:
		return "no topics yet besides internal ones; \"spate topic create NAME\" makes one"
	}
	return `no topics yet; "spate topic create NAME" makes one`
}

// globs are the characters that make a pattern of a name; no topic's name has them.
const globs = "*?["

// checkPatterns refuses a pattern that cannot be read.
func checkPatterns(names []string) error {
	for _, name := range names {
		if _, err := path.Match(name, ""); err != nil {
			return usageError{fmt.Errorf("%q is not a pattern such as orders-*", name)}
		}
	}
	return nil
}

// topicRow is one topic as list prints it.
type topicRow struct {
	Name        string `json:"topic"`
	ID          string `json:"id"`
	Partitions  int    `json:"partitions"`
	Replication int    `json:"replicationFactor"`
	Internal    bool   `json:"internal"`
}

// row is the summary of a topic.
func row(t kadm.TopicDetail) topicRow {
	return topicRow{t.Topic, kafka.UUID(t.ID).String(), len(t.Partitions), t.Partitions.NumReplicas(), t.IsInternal}
}

// newTopicList is "spate topic list".
func newTopicList() *cobra.Command {
	var flags clientFlags
	var filter topicFilter
	cmd := &cobra.Command{
		Use:   "list [NAME|PATTERN...]",
		Short: "List topics, all or those that are named or match",
		Example: `  spate topic list
  spate topic list 'orders-*' --with-overrides
  spate topic list --under-replicated`,
		RunE: func(cmd *cobra.Command, names []string) error {
			described, asJSON, failed := flags.describe(cmd, names, &filter, false)
			if described == nil {
				return failed
			}
			rows := make([]topicRow, 0, len(described))
			t := table{header: []string{"TOPIC", "PARTITIONS", "REPLICAS", "ID"}, shrinks: []int{0}}
			for _, d := range described {
				rows = append(rows, d.topicRow)
				t.add(d.Name, fmt.Sprint(d.Partitions), fmt.Sprint(d.Replication), d.ID)
			}
			if asJSON {
				return errors.Join(printJSON(cmd.OutOrStdout(), rows), failed)
			}
			if len(rows) == 0 {
				return failed
			}
			return errors.Join(t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout())), failed)
		},
	}
	flags.add(cmd)
	filter.add(cmd)
	return cmd
}

// topicDescription is one topic as describe prints it.
type topicDescription struct {
	topicRow
	Configs map[string]string `json:"configs"` // those that are set on the topic
	MinISR  int               `json:"minInsyncReplicas"`
	Parts   []partitionRow    `json:"partitionDetails"`
}

// partitionRow is one partition as describe prints it.
type partitionRow struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leaderEpoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Offline     []int32 `json:"offline,omitempty"`
	Start       int64   `json:"start"`
	End         int64   `json:"end"`
}

// newTopicDescribe is "spate topic describe".
func newTopicDescribe() *cobra.Command {
	var flags clientFlags
	var filter topicFilter
	cmd := &cobra.Command{
		Use:   "describe [NAME|PATTERN...]",
		Short: "Describe topics: partitions, leaders, replicas, offsets, configs",
		Long: `Describe topics, all of them where none is named.

START is the first offset that is there, END the one that the next record gets. Of configs those are shown that are set
on the topic itself; "spate config describe topic NAME --all" shows the others too. The command can look for trouble in
all topics: --under-replicated, --unavailable, --under-min-isr and --at-min-isr show such partitions alone.`,
		Example: `  spate topic describe orders
  spate topic describe 'orders-*' --with-overrides
  spate topic describe --under-replicated`,
		RunE: func(cmd *cobra.Command, names []string) error {
			described, asJSON, failed := flags.describe(cmd, names, &filter, true)
			if described == nil {
				return failed
			}
			if asJSON {
				return errors.Join(printJSON(cmd.OutOrStdout(), described), failed)
			}
			for i, t := range described {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := t.print(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return failed
		},
	}
	flags.add(cmd)
	filter.add(cmd)
	return cmd
}

// describe is what list and describe share: it finds the topics and partitions that the filter takes, and says so if
// there are none. What was found, which is nil only if nothing could be asked, comes along with the errors.
func (f *clientFlags) describe(cmd *cobra.Command, names []string, filter *topicFilter, offsets bool) (
	[]topicDescription, bool, error,
) {
	asJSON, err := f.json()
	if err := errors.Join(filter.check(), checkPatterns(names)); err != nil {
		return nil, asJSON, usageError{err}
	}
	if err != nil {
		return nil, asJSON, err
	}
	client, err := f.connect(cmd.Context())
	if err != nil {
		return nil, asJSON, err
	}
	defer client.Close()
	found, failed := findTopics(cmd.Context(), client, names)
	if found == nil {
		return nil, asJSON, failed
	}
	described, err := filter.apply(cmd.Context(), client, found, offsets)
	failed = errors.Join(failed, err)
	if len(described) == 0 && failed == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), filter.nothing(names))
	}
	return described, asJSON, failed
}

// findTopics asks for topics by name and by pattern; no names means all. A pattern that nothing matches is no error,
// a name of which there is no topic is.
func findTopics(ctx context.Context, client *kgo.Client, names []string) (kadm.TopicDetails, error) {
	admin := kadm.NewClient(client)
	isGlob := func(name string) bool { return strings.ContainsAny(name, globs) }
	asked := names
	if slices.ContainsFunc(names, isGlob) {
		asked = nil
	}
	topics, err := admin.ListTopicsWithInternal(ctx, asked...)
	if err != nil {
		return nil, err
	}
	found := make(kadm.TopicDetails)
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		taken := len(names) == 0
		for _, wanted := range names {
			matches, _ := path.Match(wanted, name) // patterns were checked
			taken = taken || matches || wanted == name
		}
		switch {
		case taken && topics[name].Err != nil:
			failed = append(failed, explain(name, topics[name].Err, ""))
		case taken:
			found[name] = topics[name]
		}
	}
	for _, wanted := range names {
		if _, there := topics[wanted]; !there && !isGlob(wanted) {
			failed = append(failed, explain(wanted, kerr.UnknownTopicOrPartition, ""))
		}
	}
	return found, errors.Join(failed...)
}

// apply describes the topics of which the filter takes anything. With offsets, their ends are asked for.
func (f *topicFilter) apply(ctx context.Context, client *kgo.Client, topics kadm.TopicDetails, offsets bool) (
	[]topicDescription, error,
) {
	described := []topicDescription{}
	var configs map[string][]configEntry
	var err error
	if len(topics) > 0 && (offsets || f.withOverrides || f.underMinISR || f.atMinISR) {
		if configs, err = topicConfigs(ctx, client, slices.Sorted(maps.Keys(topics))); err != nil {
			return described, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		d := topicDescription{topicRow: row(topics[name]), Configs: make(map[string]string), Parts: []partitionRow{}}
		for _, c := range configs[name] {
			if c.Source == "topic" {
				d.Configs[c.Name] = c.shown()
			}
			if c.Name == minISRKey {
				d.MinISR, _ = strconv.Atoi(orEmpty(c.Value)) // 0 where the cluster does not say
			}
		}
		for _, p := range topics[name].Partitions.Sorted() {
			r := partitionRow{p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, p.OfflineReplicas, -1, -1}
			if f.takes(r, d.MinISR) {
				d.Parts = append(d.Parts, r)
			}
		}
		out := f.withOverrides && len(d.Configs) == 0 || f.excludeInternal && d.Internal ||
			len(f.health()) > 0 && len(d.Parts) == 0
		if !out {
			described = append(described, d)
		}
	}
	if offsets && len(described) > 0 {
		err = addOffsets(ctx, kadm.NewClient(client), described)
	}
	return described, err
}

// minISRKey says how many replicas in sync acks=all needs.
const minISRKey = "min.insync.replicas"

// addOffsets fills in where partitions begin and end. One whose leader does not answer has neither, and is no error.
func addOffsets(ctx context.Context, admin *kadm.Client, described []topicDescription) error {
	names := make([]string, len(described))
	for i, d := range described {
		names[i] = d.Name
	}
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil && len(starts) == 0 {
		return unwrapShards(err)
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil && len(ends) == 0 {
		return unwrapShards(err)
	}
	for _, d := range described {
		for i := range d.Parts {
			r := &d.Parts[i]
			if o, ok := starts.Lookup(d.Name, r.Partition); ok && o.Err == nil {
				r.Start = o.Offset
			}
			if o, ok := ends.Lookup(d.Name, r.Partition); ok && o.Err == nil {
				r.End = o.Offset
			}
		}
	}
	return nil
}

// topicConfigs are the configs of topics.
func topicConfigs(ctx context.Context, client *kgo.Client, names []string) (map[string][]configEntry, error) {
	described, err := describeConfigs(ctx, client, kindTopic, names, configOptions{})
	configs := make(map[string][]configEntry, len(described))
	for _, d := range described {
		configs[d.Name] = d.Configs
	}
	return configs, err
}

// print writes the description as text.
func (d topicDescription) print(out io.Writer) error {
	fmt.Fprintf(
		out,
		"topic %s  id %s  partitions %d  replicas %d\n",
		escaped(d.Name),
		d.ID,
		d.Partitions,
		d.Replication,
	)
	for _, name := range slices.Sorted(maps.Keys(d.Configs)) {
		fmt.Fprintf(out, "  config %s=%s\n", name, escaped(d.Configs[name]))
	}
	t := table{
		indent: "  ", header: []string{"PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END"},
		shrinks: []int{3, 4},
	}
	for _, p := range d.Parts {
		t.add(fmt.Sprint(p.Partition), orNone(int64(p.Leader)), fmt.Sprint(p.LeaderEpoch), joinIDs(p.Replicas),
			joinIDs(p.ISR), orNone(p.Start), orNone(p.End))
	}
	return t.print(out, widthOf(out))
}
