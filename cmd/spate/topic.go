package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// newTopic is "spate topic".
func newTopic() *cobra.Command {
	cmd := &cobra.Command{Use: "topic", Short: "Create, delete, list and describe topics"}
	cmd.AddCommand(newTopicCreate(), newTopicDelete(), newTopicList(), newTopicDescribe())
	return cmd
}

// newTopicCreate is "spate topic create".
func newTopicCreate() *cobra.Command {
	var flags clientFlags
	var partitions int32
	var replication int16
	var configs []string
	var ifNotExists bool
	cmd := &cobra.Command{
		Use:     "create NAME...",
		Short:   "Create topics",
		Example: "  spate topic create orders --partitions 3 --config retention.ms=3600000",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			asJSON, err := flags.json()
			if err != nil {
				return err
			}
			pairs, err := parseConfigs(configs)
			if err != nil {
				return err
			}
			client, err := flags.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			created, err := kadm.NewClient(client).CreateTopics(cmd.Context(), partitions, replication, pairs, names...)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), createdOutcomes(created, ifNotExists), asJSON)
		},
	}
	flags.add(cmd)
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1: as the broker is configured")
	cmd.Flags().Int16VarP(&replication, "replication-factor", "r", -1, "replicas; -1: as the broker is configured")
	cmd.Flags().StringArrayVarP(&configs, "config", "c", nil, "topic config, name=value; may be repeated")
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "a topic that exists already is no error")
	return cmd
}

// parseConfigs reads name=value pairs.
func parseConfigs(pairs []string) (map[string]*string, error) {
	configs := make(map[string]*string, len(pairs))
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("--config %q: must be name=value", pair)}
		}
		configs[name] = &value
	}
	return configs, nil
}

// createdOutcomes says what became of each topic.
func createdOutcomes(topics kadm.CreateTopicResponses, ifNotExists bool) []outcome {
	var outcomes []outcome
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		t := topics[name]
		o := outcome{Topic: t.Topic}
		switch {
		case t.Err == nil:
			o.Partitions = &t.NumPartitions
			o = o.ended(true, nil, "created topic %s with %s", t.Topic, plural(int64(t.NumPartitions), "partition"))
		case ifNotExists && errors.Is(t.Err, kerr.TopicAlreadyExists):
			o = o.ended(false, nil, "topic %s exists already", t.Topic)
		default:
			o = o.ended(false, explain(t.Topic, t.Err, t.ErrMessage), "")
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// newTopicDelete is "spate topic delete".
func newTopicDelete() *cobra.Command {
	var flags clientFlags
	var ifExists bool
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete topics and all their records",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			asJSON, err := flags.json()
			if err != nil {
				return err
			}
			client, err := flags.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			deleted, err := kadm.NewClient(client).DeleteTopics(cmd.Context(), names...)
			if err != nil {
				return err
			}
			var outcomes []outcome
			for _, name := range slices.Sorted(maps.Keys(deleted)) {
				t := deleted[name]
				o := outcome{Topic: t.Topic}
				switch {
				case t.Err == nil:
					o = o.ended(true, nil, "deleted topic %s", t.Topic)
				case ifExists && errors.Is(t.Err, kerr.UnknownTopicOrPartition):
					o = o.ended(false, nil, "topic %s does not exist", t.Topic)
				default:
					o = o.ended(false, explain(t.Topic, t.Err, t.ErrMessage), "")
				}
				outcomes = append(outcomes, o)
			}
			return report(cmd.OutOrStdout(), outcomes, asJSON)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that does not exist is no error")
	return cmd
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
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List topics",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := flags.json()
			if err != nil {
				return err
			}
			client, err := flags.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			topics, err := kadm.NewClient(client).ListTopicsWithInternal(cmd.Context())
			if err != nil {
				return err
			}
			rows := make([]topicRow, 0, len(topics))
			for _, name := range slices.Sorted(maps.Keys(topics)) {
				rows = append(rows, row(topics[name]))
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), rows)
			}
			if len(rows) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), `no topics yet; "spate topic create NAME" makes one`)
				return nil
			}
			t := table{header: []string{"TOPIC", "PARTITIONS", "REPLICAS", "ID"}, shrinks: []int{0}}
			for _, r := range rows {
				t.add(r.Name, fmt.Sprint(r.Partitions), fmt.Sprint(r.Replication), r.ID)
			}
			return t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout()))
		},
	}
	flags.add(cmd)
	return cmd
}

// topicDescription is one topic as describe prints it.
type topicDescription struct {
	topicRow
	Configs map[string]string `json:"configs"` // those that are set on the topic
	Parts   []partitionRow    `json:"partitionDetails"`
}

// partitionRow is one partition as describe prints it.
type partitionRow struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leaderEpoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Start       int64   `json:"start"`
	End         int64   `json:"end"`
}

// newTopicDescribe is "spate topic describe".
func newTopicDescribe() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "describe [NAME...]",
		Short: "Describe topics: partitions, leaders, replicas, offsets, configs",
		RunE: func(cmd *cobra.Command, names []string) error {
			asJSON, err := flags.json()
			if err != nil {
				return err
			}
			client, err := flags.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			described, failed := describeTopics(cmd.Context(), kadm.NewClient(client), names)
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
	return cmd
}

// describeTopics asks for everything that describe prints; no names means all topics.
func describeTopics(ctx context.Context, admin *kadm.Client, names []string) ([]topicDescription, error) {
	topics, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, err
	}
	var failed []error
	var found []string
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if err := topics[name].Err; err != nil {
			failed = append(failed, explain(name, err, ""))
			continue
		}
		found = append(found, name)
	}
	described := make([]topicDescription, 0, len(found))
	if len(found) == 0 {
		return described, errors.Join(failed...)
	}
	starts, err := admin.ListStartOffsets(ctx, found...)
	if err != nil {
		return described, err
	}
	ends, err := admin.ListEndOffsets(ctx, found...)
	if err != nil {
		return described, err
	}
	configs, err := admin.DescribeTopicConfigs(ctx, found...)
	if err != nil {
		return described, err
	}
	for _, name := range found {
		d := topicDescription{topicRow: row(topics[name]), Configs: setConfigs(configs, name)}
		for _, p := range topics[name].Partitions.Sorted() {
			r := partitionRow{p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, -1, -1}
			if o, ok := starts.Lookup(name, p.Partition); ok && o.Err == nil {
				r.Start = o.Offset
			}
			if o, ok := ends.Lookup(name, p.Partition); ok && o.Err == nil {
				r.End = o.Offset
			}
			d.Parts = append(d.Parts, r)
		}
		described = append(described, d)
	}
	return described, errors.Join(failed...)
}

// setConfigs picks what is set on the topic itself.
func setConfigs(configs kadm.ResourceConfigs, topic string) map[string]string {
	set := make(map[string]string)
	for _, resource := range configs {
		if resource.Name != topic {
			continue
		}
		for _, c := range resource.Configs {
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				set[c.Key] = c.MaybeValue()
			}
		}
	}
	return set
}

// print writes the description as text.
func (d topicDescription) print(out io.Writer) error {
	fmt.Fprintf(out, "topic %s  id %s  partitions %d  replicas %d\n", d.Name, d.ID, d.Partitions, d.Replication)
	for _, name := range slices.Sorted(maps.Keys(d.Configs)) {
		fmt.Fprintf(out, "  config %s=%s\n", name, d.Configs[name])
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

// orNone is a number, or a dash for -1.
func orNone(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// joinIDs is broker ids separated by commas.
func joinIDs(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprint(id)
	}
	return strings.Join(texts, ",")
}
