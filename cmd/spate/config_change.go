package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// configVerb is one of the subcommands that change configs.
type configVerb struct {
	word, use, short string
	op               kmsg.IncrementalAlterConfigOp
}

// The verbs.
var configVerbs = []configVerb{
	{"set", "KEY=VALUE...", "Set configs", kmsg.IncrementalAlterConfigOpSet},
	{
		"unset",
		"KEY...",
		"Unset configs, so that what they override counts again",
		kmsg.IncrementalAlterConfigOpDelete,
	},
	{"append", "KEY=ITEM...", "Add items to configs that are lists", kmsg.IncrementalAlterConfigOpAppend},
	{"subtract", "KEY=ITEM...", "Take items out of configs that are lists", kmsg.IncrementalAlterConfigOpSubtract},
}

// configChange is a change of one config.
type configChange struct {
	op    kmsg.IncrementalAlterConfigOp
	key   string
	value string
}

// parseChange reads one argument of a verb.
func parseChange(verb configVerb, text string) (configChange, error) {
	key, value, pair := strings.Cut(text, "=")
	if verb.op == kmsg.IncrementalAlterConfigOpDelete {
		if pair || key == "" {
			return configChange{}, usageError{
				fmt.Errorf("%s %q: must be the name of a config, without a value", verb.word,
					text),
			}
		}
		return configChange{verb.op, key, ""}, nil
	}
	if !pair || key == "" {
		return configChange{}, usageError{fmt.Errorf("%s %q: must be name=value", verb.word, text)}
	}
	return configChange{verb.op, key, value}, nil
}

// checkTwice refuses two changes of one config, of which the protocol takes one.
func checkTwice(changes []configChange) error {
	for i, c := range changes {
		if slices.ContainsFunc(changes[:i], func(other configChange) bool { return other.key == c.key }) {
			return usageError{fmt.Errorf("%s is named twice; several items of a list are separated by commas", c.key)}
		}
	}
	return nil
}

// newConfigChange is "spate config set", unset, append or subtract.
func newConfigChange(verb configVerb) *cobra.Command {
	var flags clientFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   verb.word + " KIND [NAME] " + verb.use,
		Short: verb.short,
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, rest := args[1:2], args[2:]
			if args[0] == kindBrokerDefault.word {
				names, rest = nil, args[1:]
			}
			kind, err := parseKind(args[0], names)
			if err != nil {
				return err
			}
			if len(rest) == 0 {
				return usageError{fmt.Errorf("name what to %s; usage: %s", verb.word, cmd.UseLine())}
			}
			changes := make([]configChange, len(rest))
			for i, text := range rest {
				if changes[i], err = parseChange(verb, text); err != nil {
					return err
				}
			}
			if err := checkTwice(changes); err != nil {
				return err
			}
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			if names == nil {
				names = []string{""}
			}
			outcomes, err := changeConfigs(cmd.Context(), client, kind, names, changes, dryRun)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), outcomes, asJSON)
		},
	}
	flags.add(cmd)
	addDryRun(cmd, &dryRun)
	return cmd
}

// addDryRun declares the flag of commands that can ask a broker whether it would do it.
func addDryRun(cmd *cobra.Command, dryRun *bool) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "ask the broker whether it would, and change nothing")
}

// changeConfigs changes the configs of resources, all of one resource or none, and says what became of each. Values
// that were there before are told, as far as they can be found out.
func changeConfigs(ctx context.Context, client *kgo.Client, kind configKind, names []string, changes []configChange,
	dryRun bool,
) ([]outcome, error) {
	keys := make([]string, len(changes))
	for i, c := range changes {
		keys[i] = c.key
	}
	// What fails here fails below too, or is not needed to change anything.
	before, _ := describeConfigs(ctx, client, kind, names, configOptions{keys: keys})
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.ValidateOnly = dryRun
	for _, name := range names {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind.code, name
		for _, c := range changes {
			config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			config.Name, config.Op = c.key, c.op
			if c.op != kmsg.IncrementalAlterConfigOpDelete {
				config.Value = &c.value
			}
			r.Configs = append(r.Configs, config)
		}
		request.Resources = append(request.Resources, r)
	}
	var outcomes []outcome
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			return nil, explainConfig(kind, strings.Join(names, ", "), shard.Err)
		}
		for _, r := range shard.Resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
			err := answered(r.ErrorCode, r.ErrorMessage)
			if err != nil {
				err = explainConfig(kind, r.ResourceName, err)
			}
			i := slices.IndexFunc(before, func(d describedResource) bool { return d.Name == r.ResourceName })
			var had []configEntry
			if i >= 0 {
				had = before[i].Configs
			}
			if err != nil { // all changes of one resource are made, or none
				outcomes = append(outcomes, outcome{Kind: kind.word, Name: r.ResourceName}.ended(false, err, ""))
				continue
			}
			for _, c := range changes {
				done, text := c.sentence(kind, r.ResourceName, had, dryRun)
				o := outcome{Kind: kind.word, Name: r.ResourceName, Config: c.key}
				outcomes = append(outcomes, o.ended(done, nil, "%s", text))
			}
		}
	}
	slices.SortStableFunc(outcomes, func(a, b outcome) int { return compareNames(a.Name, b.Name) })
	return outcomes, nil
}

// sentence says what a change did to a resource, of which had are the configs before it, or what it would do. done is
// false where nothing was changed.
func (c configChange) sentence(
	kind configKind,
	name string,
	had []configEntry,
	dryRun bool,
) (done bool, text string) {
	of := kind.title(name)
	i := slices.IndexFunc(had, func(e configEntry) bool { return e.Name == c.key })
	known := i >= 0
	var was configEntry
	if known {
		was = had[i]
	}
	tense := func(past, would string) string {
		if dryRun {
			return would
		}
		return past
	}
	switch c.op {
	case kmsg.IncrementalAlterConfigOpDelete:
		if known && was.Source != kind.word {
			return false, fmt.Sprintf("%s of %s %s not set", c.key, of, tense("was", "is"))
		}
		text = fmt.Sprintf("%s %s of %s", tense("unset", "would unset"), c.key, of)
		if value, source, ok := was.below(kind.word); ok && !was.Sensitive {
			text += fmt.Sprintf(": %s %s again (%s)", quoted(value), tense("counts", "would count"), source)
		}
	case kmsg.IncrementalAlterConfigOpAppend:
		text = fmt.Sprintf("%s %s to %s of %s", tense("appended", "would append"), c.value, c.key, of)
	case kmsg.IncrementalAlterConfigOpSubtract:
		text = fmt.Sprintf("%s %s from %s of %s", tense("subtracted", "would subtract"), c.value, c.key, of)
	default:
		text = fmt.Sprintf("%s %s=%s of %s", tense("set", "would set"), c.key, c.value, of)
	}
	if known && !was.Sensitive && was.Value != nil {
		text += fmt.Sprintf("; it %s %s (%s)", tense("was", "is"), quoted(*was.Value), was.Source)
	}
	return !dryRun, text
}

// quoted is a value in a sentence: an empty one is shown as such.
func quoted(value string) string {
	if value == "" {
		return `""`
	}
	return value
}
