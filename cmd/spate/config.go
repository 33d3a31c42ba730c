package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newConfig is "spate config".
func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and change the configs of topics, brokers, groups and client metrics",
		Long: `Configs that the cluster keeps. KIND says of what they are:

  topic NAME           of a topic
  broker ID            of one broker
  broker-default       of all brokers that have none of their own
  group NAME           of a consumer group
  client-metrics NAME  a subscription to the metrics of clients (KIP-714)
  broker-logger ID     the log levels of a broker

  spate config describe topic orders                  what is set on the topic
  spate config describe topic orders --all            everything, with where each value comes from
  spate config set topic orders retention.ms=3600000
  spate config unset topic orders retention.ms
  spate config append topic orders cleanup.policy=compact`,
	}
	cmd.AddCommand(newConfigList(), newConfigDescribe())
	for _, verb := range configVerbs {
		cmd.AddCommand(newConfigChange(verb))
	}
	return cmd
}

// configKind is a kind of resource that has configs.
type configKind struct {
	word string // on the command line and in JSON
	code kmsg.ConfigResourceType
}

// The kinds. That of all brokers is of the same code as that of one, with an empty name.
var (
	kindTopic         = configKind{"topic", kmsg.ConfigResourceTypeTopic}
	kindBroker        = configKind{"broker", kmsg.ConfigResourceTypeBroker}
	kindBrokerDefault = configKind{"broker-default", kmsg.ConfigResourceTypeBroker}
	kindGroup         = configKind{"group", kmsg.ConfigResourceTypeGroupConfig}
	kindClientMetrics = configKind{"client-metrics", kmsg.ConfigResourceTypeClientMetrics}
	kindBrokerLogger  = configKind{"broker-logger", kmsg.ConfigResourceTypeBrokerLogger}
)

// configKinds are all kinds, in the order in which they are listed.
var configKinds = []configKind{
	kindTopic,
	kindBroker,
	kindBrokerDefault,
	kindGroup,
	kindClientMetrics,
	kindBrokerLogger,
}

// parseKind reads a kind, and checks that the names which follow are such of it.
func parseKind(word string, names []string) (configKind, error) {
	i := slices.IndexFunc(configKinds, func(k configKind) bool { return k.word == word })
	if i < 0 {
		words := make([]string, len(configKinds))
		for i, k := range configKinds {
			words[i] = k.word
		}
		return configKind{}, usageError{
			fmt.Errorf("%q is not a kind: must be of %s", word, strings.Join(words, ", ")),
		}
	}
	kind := configKinds[i]
	for _, name := range names {
		switch kind {
		case kindBrokerDefault:
			return kind, usageError{fmt.Errorf("broker-default has no name: leave %q out", name)}
		case kindBroker, kindBrokerLogger:
			if id, err := strconv.ParseInt(name, 10, 32); err != nil || id < 0 {
				return kind, usageError{fmt.Errorf("%s %q: must be the id of a broker, a number; "+
					`"spate cluster describe" shows them`, kind.word, name)}
			}
		}
		if name == "" {
			return kind, usageError{fmt.Errorf("the name of a %s is empty", kind.word)}
		}
	}
	return kind, nil
}

// title names a resource in a sentence.
func (k configKind) title(name string) string {
	if k == kindBrokerDefault {
		return "all brokers"
	}
	return k.word + " " + name
}

// configSources are the words for where a value comes from.
var configSources = map[kmsg.ConfigSource]string{
	kmsg.ConfigSourceDynamicTopicConfig:         "topic",
	kmsg.ConfigSourceDynamicBrokerConfig:        "broker",
	kmsg.ConfigSourceDynamicDefaultBrokerConfig: "broker-default",
	kmsg.ConfigSourceStaticBrokerConfig:         "file",
	kmsg.ConfigSourceDefaultConfig:              sourceDefault,
	kmsg.ConfigSourceDynamicBrokerLoggerConfig:  "broker-logger",
	kmsg.ConfigSourceClientMetricsConfig:        "client-metrics",
	kmsg.ConfigSourceGroupConfig:                "group",
}

// sourceDefault is where a value comes from that nobody has set.
const sourceDefault = "default"

// sourceWord is where a value comes from.
func sourceWord(source kmsg.ConfigSource) string {
	return cmp.Or(configSources[source], fmt.Sprintf("source-%d", source))
}

// describedResource is one resource with its configs.
type describedResource struct {
	Kind    string        `json:"kind"`
	Name    string        `json:"name"`
	Configs []configEntry `json:"configs"`
}

// configEntry is one config of a resource.
type configEntry struct {
	Name          string          `json:"name"`
	Value         *string         `json:"value"` // null: none, or it is not shown
	Source        string          `json:"source"`
	Type          string          `json:"type"`
	ReadOnly      bool            `json:"readOnly"`
	Sensitive     bool            `json:"sensitive"`
	Synonyms      []configSynonym `json:"synonyms"` // what is set at any place, the one that counts first
	Documentation string          `json:"documentation,omitempty"`
}

// configSynonym is a value for a config at one of the places where it can be set.
type configSynonym struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}

// shown is the value for people.
func (c configEntry) shown() string {
	switch {
	case c.Sensitive:
		return "(hidden)"
	case c.Value == nil:
		return ""
	}
	return *c.Value
}

// isSet reports whether it is set on a resource of the kind itself; for a broker, its properties count too.
func (c configEntry) isSet(kind configKind) bool {
	return c.Source == kind.word || kind == kindBroker && c.Source != sourceDefault
}

// below is the value that counts once the one that is set on the resource itself is gone; ok is false if that is not
// known.
func (c configEntry) below(own string) (value, source string, ok bool) {
	for _, s := range c.Synonyms {
		if s.Source != own {
			return orEmpty(s.Value), s.Source, true
		}
	}
	return "", "", false
}

// configOptions say what is asked for.
type configOptions struct {
	keys []string // none: all
	docs bool
}

// describeConfigs asks for the configs of resources. What was found comes along with the errors of others.
func describeConfigs(
	ctx context.Context,
	client *kgo.Client,
	kind configKind,
	names []string,
	options configOptions,
) (
	[]describedResource, error,
) {
	request := kmsg.NewPtrDescribeConfigsRequest()
	request.IncludeSynonyms, request.IncludeDocumentation = true, options.docs
	for _, name := range names {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kind.code, name, options.keys
		request.Resources = append(request.Resources, r)
	}
	described := []describedResource{}
	var failed []error
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			failed = append(failed, explainConfig(kind, strings.Join(names, ", "), shard.Err))
			continue
		}
		for _, r := range shard.Resp.(*kmsg.DescribeConfigsResponse).Resources {
			if err := answered(r.ErrorCode, r.ErrorMessage); err != nil {
				failed = append(failed, explainConfig(kind, r.ResourceName, err))
				continue
			}
			resource := describedResource{kind.word, r.ResourceName, make([]configEntry, 0, len(r.Configs))}
			for _, c := range r.Configs {
				resource.Configs = append(resource.Configs, entryOf(c))
			}
			slices.SortFunc(resource.Configs, func(a, b configEntry) int { return cmp.Compare(a.Name, b.Name) })
			described = append(described, resource)
		}
	}
	slices.SortFunc(described, func(a, b describedResource) int { return compareNames(a.Name, b.Name) })
	return described, errors.Join(failed...)
}

// compareNames orders names, and such that are numbers as numbers.
func compareNames(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}

// entryOf is one config as it was answered.
func entryOf(c kmsg.DescribeConfigsResponseResourceConfig) configEntry {
	entry := configEntry{
		Name: c.Name, Value: c.Value, Source: sourceWord(c.Source), Type: strings.ToLower(c.ConfigType.String()),
		ReadOnly: c.ReadOnly, Sensitive: c.IsSensitive, Synonyms: []configSynonym{},
		Documentation: orEmpty(c.Documentation),
	}
	for _, s := range c.ConfigSynonyms {
		entry.Synonyms = append(entry.Synonyms, configSynonym{s.Name, s.Value, sourceWord(s.Source)})
	}
	return entry
}

// explainConfig makes a sentence of an error about the configs of a resource.
func explainConfig(kind configKind, name string, err error) error {
	switch {
	case kind == kindTopic && errors.Is(err, kerr.UnknownTopicOrPartition):
		return explain(name, err, "")
	case (kind == kindBroker || kind == kindBrokerLogger) && isUnknownBroker(err):
		return sentence(err, `broker %s is not in the cluster; "spate cluster describe" shows those that are`, name)
	case errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.TopicAuthorizationFailed),
		errors.Is(err, kerr.GroupAuthorizationFailed):
		return sentence(err, "%s: not allowed: an ACL is missing", kind.title(name))
	}
	if errors.Is(err, kerr.InvalidConfig) && strings.Contains(err.Error(), "nknown") {
		of := strings.TrimSpace(kind.word + " " + name)
		return sentence(err, `%s: %v; "spate config describe %s --all" lists the configs`, kind.title(name), err, of)
	}
	return sentence(err, "%s: %v", kind.title(name), err)
}

// isUnknownBroker reports whether the client knows no broker of that id.
func isUnknownBroker(err error) bool {
	return errors.Is(err, kerr.BrokerNotAvailable) || strings.Contains(err.Error(), "unknown broker")
}

// configResources asks which resources of a kind there are, or at least which have configs.
func configResources(ctx context.Context, client *kgo.Client, kind configKind) ([]string, error) {
	switch kind {
	case kindBrokerDefault:
		return []string{""}, nil
	case kindTopic:
		topics, err := findTopics(ctx, client, nil)
		return slices.Sorted(maps.Keys(topics)), err
	case kindBroker, kindBrokerLogger:
		cluster, err := describeCluster(ctx, client)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, b := range cluster.Brokers {
			if !b.Fenced {
				names = append(names, fmt.Sprint(b.ID))
			}
		}
		return names, nil
	}
	listed, err := listConfigResources(ctx, client, []configKind{kind})
	names := make([]string, len(listed))
	for i, r := range listed {
		names[i] = r.Name
	}
	return names, err
}

// listedResource is a resource that has configs of its own.
type listedResource struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// listConfigResources asks for the resources that have configs, of some kinds or of all.
func listConfigResources(ctx context.Context, client *kgo.Client, kinds []configKind) ([]listedResource, error) {
	request := kmsg.NewPtrListConfigResourcesRequest()
	for _, k := range kinds {
		request.ResourceTypes = append(request.ResourceTypes, int8(k.code))
	}
	response, err := request.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	switch {
	case errors.Is(err, kerr.UnsupportedVersion), unsupported(err):
		return nil, sentence(
			err,
			"this cluster cannot list what has configs (KIP-1142); name what is to be described",
		)
	case err != nil:
		return nil, err
	}
	listed := []listedResource{}
	for _, r := range response.ConfigResources {
		i := slices.IndexFunc(configKinds, func(k configKind) bool {
			return k.code == kmsg.ConfigResourceType(r.Type) && (k != kindBrokerDefault || r.Name == "")
		})
		if i >= 0 {
			listed = append(listed, listedResource{configKinds[i].word, r.Name})
		}
	}
	slices.SortFunc(listed, func(a, b listedResource) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), compareNames(a.Name, b.Name))
	})
	return listed, nil
}

// newConfigList is "spate config list".
func newConfigList() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "list [KIND...]",
		Short: "List what can have configs: topics, brokers, and the groups and client metrics that have some",
		RunE: func(cmd *cobra.Command, words []string) error {
			var kinds []configKind
			for _, word := range words {
				kind, err := parseKind(word, nil)
				if err != nil {
					return err
				}
				kinds = append(kinds, kind)
			}
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			listed, err := listConfigResources(cmd.Context(), client, kinds)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), listed)
			}
			if len(listed) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "nothing of this kind has configs")
				return nil
			}
			t := table{header: []string{"KIND", "NAME"}, shrinks: []int{1}}
			for _, r := range listed {
				t.add(r.Kind, r.Name)
			}
			return t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout()))
		},
	}
	flags.add(cmd)
	return cmd
}

// configDescribeFlags say which configs are shown, and how much of each.
type configDescribeFlags struct {
	clientFlags
	all, docs bool
	keys      []string
}

// newConfigDescribe is "spate config describe".
func newConfigDescribe() *cobra.Command {
	var flags configDescribeFlags
	cmd := &cobra.Command{
		Use:   "describe KIND [NAME...]",
		Short: "Show configs: what is set, or with --all everything and where it comes from",
		Long: `Show the configs of a topic, broker, broker-default, group, client-metrics or broker-logger; of all of that
kind where none is named.

SOURCE is where a value is set: topic, broker, broker-default, group and client-metrics by this command, file in the
broker's properties; default is set nowhere. OVERRIDES are the values below it that would count if it were not set.`,
		Example: `  spate config describe topic orders
  spate config describe topic orders --all --doc
  spate config describe broker 1 --key log.retention.ms`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return flags.run(cmd, args[0], args[1:]) },
	}
	flags.add(cmd)
	cmd.Flags().
		BoolVarP(&flags.all, "all", "a", false, "show what is set nowhere too, with the values that each overrides")
	cmd.Flags().BoolVarP(&flags.docs, "doc", "d", false, "say what each config does")
	cmd.Flags().StringSliceVarP(&flags.keys, "key", "k", nil, "only these configs, also where they are set nowhere")
	return cmd
}

// run describes.
func (f *configDescribeFlags) run(cmd *cobra.Command, word string, names []string) error {
	kind, err := parseKind(word, names)
	if err != nil {
		return err
	}
	client, asJSON, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	named := len(names) > 0
	if !named {
		if names, err = configResources(cmd.Context(), client, kind); err != nil {
			return err
		}
	}
	described := []describedResource{}
	if len(names) > 0 {
		described, err = describeConfigs(cmd.Context(), client, kind, names, configOptions{f.keys, f.docs})
	}
	for i := range described {
		if len(f.keys) == 0 && !f.all {
			described[i].Configs = slices.DeleteFunc(described[i].Configs,
				func(c configEntry) bool { return !c.isSet(kind) })
		}
	}
	if asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), described), err)
	}
	if len(described) == 0 && err == nil {
		fmt.Fprintf(
			cmd.ErrOrStderr(),
			"no %s has configs; \"spate config set %s NAME KEY=VALUE\" makes one\n",
			word,
			word,
		)
	}
	for i, d := range described {
		if i > 0 {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		if err := f.print(cmd.OutOrStdout(), kind, d); err != nil {
			return err
		}
	}
	return err
}

// print writes one resource as text.
func (f *configDescribeFlags) print(out io.Writer, kind configKind, d describedResource) error {
	fmt.Fprintln(out, escaped(kind.title(d.Name)))
	if len(d.Configs) == 0 {
		text := "nothing is set; --all shows the defaults"
		switch {
		case len(f.keys) > 0:
			text = "has no such config; --all shows those that it has"
		case f.all:
			text = "nothing is set"
		}
		_, err := fmt.Fprintf(out, "  %s\n", text)
		return err
	}
	t := table{indent: "  ", header: []string{"CONFIG", "VALUE", "SOURCE"}, shrinks: []int{1}}
	if f.all || len(f.keys) > 0 {
		t.header, t.shrinks = append(t.header, "OVERRIDES"), []int{3, 1}
	}
	if f.docs {
		return f.printDocs(out, d)
	}
	for _, c := range d.Configs {
		cells := []string{c.Name, c.shown(), c.Source}
		if len(t.header) > len(cells) {
			cells = append(cells, c.overrides())
		}
		t.add(cells...)
	}
	return t.print(out, widthOf(out))
}

// overrides are the values that would count if the first were not set, the next one first.
func (c configEntry) overrides() string {
	var texts []string
	for i, s := range c.Synonyms {
		if i == 0 && s.Source == c.Source {
			continue
		}
		value := orEmpty(s.Value)
		if c.Sensitive {
			value = "(hidden)"
		}
		texts = append(texts, fmt.Sprintf("%s=%s (%s)", s.Name, value, s.Source))
	}
	return strings.Join(texts, ", ")
}

// printDocs writes each config with what it does.
func (f *configDescribeFlags) printDocs(out io.Writer, d describedResource) error {
	columns := cmp.Or(widthOf(out), proseColumns)
	var text strings.Builder
	for _, c := range d.Configs {
		fmt.Fprintf(&text, "  %s=%s  (%s, %s)\n", c.Name, escaped(c.shown()), c.Type, c.Source)
		if overrides := c.overrides(); overrides != "" && f.all {
			fmt.Fprintf(&text, "      overrides %s\n", escaped(overrides))
		}
		for _, line := range wrapped(markup.Replace(c.Documentation), columns-6) {
			fmt.Fprintf(&text, "      %s\n", line)
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// markup is what documentation may have of HTML, as Kafka's has, with what stands for it.
var markup = strings.NewReplacer("<code>", "", "</code>", "", "<p>", " ", "</p>", " ", "<br>", " ", "<ul>", " ",
	"</ul>", " ", "<li>", " - ", "</li>", "", "<i>", "", "</i>", "", "<b>", "", "</b>", "", "&lt;", "<", "&gt;", ">")
