package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

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
			return reportCreated(cmd.OutOrStdout(), created, ifNotExists)
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

// reportCreated prints what was created and gives the errors of the rest.
func reportCreated(w io.Writer, topics kadm.CreateTopicResponses, ifNotExists bool) error {
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		switch t := topics[name]; {
		case t.Err == nil:
			fmt.Fprintf(w, "created topic %s with %s\n", t.Topic, plural(int64(t.NumPartitions), "partition"))
		case ifNotExists && errors.Is(t.Err, kerr.TopicAlreadyExists):
			fmt.Fprintf(w, "topic %s exists already\n", t.Topic)
		default:
			failed = append(failed, explain(t.Topic, t.Err, t.ErrMessage))
		}
	}
	return errors.Join(failed...)
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
			client, err := flags.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			deleted, err := kadm.NewClient(client).DeleteTopics(cmd.Context(), names...)
			if err != nil {
				return err
			}
			var failed []error
			for _, name := range slices.Sorted(maps.Keys(deleted)) {
				switch t := deleted[name]; {
				case t.Err == nil:
					fmt.Fprintf(cmd.OutOrStdout(), "deleted topic %s\n", t.Topic)
				case ifExists && errors.Is(t.Err, kerr.UnknownTopicOrPartition):
					fmt.Fprintf(cmd.OutOrStdout(), "topic %s does not exist\n", t.Topic)
				default:
					failed = append(failed, explain(t.Topic, t.Err, t.ErrMessage))
				}
			}
			return errors.Join(failed...)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that does not exist is no error")
	return cmd
}

// topicRow is one topic as list prints it.
type topicRow struct {
	Name        string `json:"name"`
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
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TOPIC\tPARTITIONS\tREPLICAS\tID")
			for _, r := range rows {
				fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", r.Name, r.Partitions, r.Replication, r.ID)
			}
			return w.Flush()
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
	Start       int64   `json:"startOffset"`
	End         int64   `json:"endOffset"`
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
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  PARTITION\tLEADER\tEPOCH\tREPLICAS\tISR\tSTART\tEND")
	for _, p := range d.Parts {
		fmt.Fprintf(w, "  %d\t%s\t%d\t%s\t%s\t%s\t%s\n", p.Partition, orNone(int64(p.Leader)), p.LeaderEpoch,
			joinIDs(p.Replicas), joinIDs(p.ISR), orNone(p.Start), orNone(p.End))
	}
	return w.Flush()
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
