package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// newTopic is "spate topic".
func newTopic() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, alter, delete, list and describe topics",
		Long: `Topics: their partitions, replicas, configs and records.

  spate topic create orders --partitions 3
  spate topic alter orders --set retention.ms=3600000 --partitions 6
  spate topic describe --under-replicated
  spate topic delete-records orders --before 7d`,
	}
	cmd.AddCommand(newTopicCreate(), newTopicAlter(), newTopicDelete(), newTopicDeleteRecords(), newTopicList(),
		newTopicDescribe())
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
			created, err := kadm.NewClient(client).
				CreateTopics(cmd.Context(), partitions, replication, pairs, names...)
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
