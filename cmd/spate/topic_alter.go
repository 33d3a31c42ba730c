package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterFlags say what is changed of topics.
type alterFlags struct {
	clientFlags
	changes    [4][]string // by verb, in the order of configVerbs
	partitions int32
	dryRun     bool
}

// newTopicAlter is "spate topic alter".
func newTopicAlter() *cobra.Command {
	var flags alterFlags
	cmd := &cobra.Command{
		Use:   "alter NAME...",
		Short: "Change the configs of topics, and give them more partitions",
		Long: `Change the configs of topics, and give them more partitions.

All configs of one topic are changed, or none. More partitions spread the keys of new records anew: records of one key
from before stay where they are. Fewer partitions are not possible.`,
		Example: `  spate topic alter orders --set retention.ms=3600000 --unset segment.bytes
  spate topic alter orders --append cleanup.policy=compact
  spate topic alter orders refunds --partitions 6 --dry-run`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error { return flags.run(cmd, names) },
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringArrayVarP(&flags.changes[0], "set", "s", nil, "set a config, name=value; may be repeated")
	f.StringArrayVarP(
		&flags.changes[1],
		"unset",
		"u",
		nil,
		"unset a config, so that the default counts; may be repeated",
	)
	f.StringArrayVar(
		&flags.changes[2],
		"append",
		nil,
		"add items to a config that is a list, name=item,item; may be repeated",
	)
	f.StringArrayVar(&flags.changes[3], "subtract", nil, "take items out of a config that is a list; may be repeated")
	f.Int32VarP(&flags.partitions, "partitions", "p", 0, "how many partitions the topics are to have")
	addDryRun(cmd, &flags.dryRun)
	return cmd
}

// parse reads the changes of configs.
func (f *alterFlags) parse(cmd *cobra.Command) ([]configChange, error) {
	var changes []configChange
	for i, verb := range configVerbs {
		verb.word = "--" + verb.word
		for _, text := range f.changes[i] {
			change, err := parseChange(verb, text)
			if err != nil {
				return nil, err
			}
			changes = append(changes, change)
		}
	}
	partitions := cmd.Flags().Changed("partitions")
	switch {
	case partitions && f.partitions < 1:
		return nil, usageError{fmt.Errorf("--partitions %d: must be 1 or more", f.partitions)}
	case len(changes) == 0 && !partitions:
		return nil, usageError{errors.New("say what to change: --set, --unset, --append, --subtract or --partitions")}
	}
	return changes, checkTwice(changes)
}

// run changes the topics.
func (f *alterFlags) run(cmd *cobra.Command, names []string) error {
	changes, err := f.parse(cmd)
	if err != nil {
		return err
	}
	client, asJSON, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	var outcomes []outcome
	if len(changes) > 0 {
		if outcomes, err = changeConfigs(cmd.Context(), client, kindTopic, names, changes, f.dryRun); err != nil {
			return err
		}
		for i := range outcomes {
			outcomes[i].Topic, outcomes[i].Kind, outcomes[i].Name = outcomes[i].Name, "", ""
		}
	}
	if f.partitions > 0 {
		more, err := f.grow(cmd.Context(), client, names)
		if err != nil {
			return errors.Join(report(cmd.OutOrStdout(), outcomes, asJSON), err)
		}
		outcomes = append(outcomes, more...)
	}
	return report(cmd.OutOrStdout(), outcomes, asJSON)
}

// grow gives topics more partitions.
func (f *alterFlags) grow(ctx context.Context, client *kgo.Client, names []string) ([]outcome, error) {
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, err
	}
	request := kmsg.NewPtrCreatePartitionsRequest()
	request.ValidateOnly, request.TimeoutMillis = f.dryRun, int32(alterWithin.Milliseconds())
	var outcomes []outcome
	had := make(map[string]int)
	for _, name := range names {
		o := outcome{Topic: name, Partitions: &f.partitions}
		had[name] = len(topics[name].Partitions)
		switch {
		case topics[name].Err != nil:
			outcomes = append(outcomes, outcome{Topic: name}.ended(false, explain(name, topics[name].Err, ""), ""))
			continue
		case had[name] == int(f.partitions):
			outcomes = append(outcomes, o.ended(false, nil, "topic %s has %s already", name,
				plural(int64(f.partitions), "partition")))
			continue
		case had[name] > int(f.partitions):
			err := fmt.Errorf(
				"topic %s has %s: it cannot have fewer; make a new topic with %d and copy the records",
				name,
				plural(int64(had[name]), "partition"),
				f.partitions,
			)
			outcomes = append(outcomes, outcome{Topic: name}.ended(false, err, ""))
			continue
		}
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = name, f.partitions
		request.Topics = append(request.Topics, t)
	}
	if len(request.Topics) == 0 {
		return outcomes, nil
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("more partitions for %s: %w", strings.Join(names, ", "), err)
	}
	for _, t := range response.Topics {
		format := "topic %s has %s now; it had %d"
		if f.dryRun {
			format = "topic %s would have %s; it has %d"
		}
		o := outcome{Topic: t.Topic, Partitions: &f.partitions}
		if err := answered(t.ErrorCode, t.ErrorMessage); err != nil {
			outcomes = append(outcomes, outcome{Topic: t.Topic}.ended(false, explain(t.Topic, err, ""), ""))
			continue
		}
		outcomes = append(outcomes, o.ended(!f.dryRun, nil, format, t.Topic, plural(int64(f.partitions), "partition"),
			had[t.Topic]))
	}
	return outcomes, nil
}
