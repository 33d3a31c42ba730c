package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newGroup is "spate group".
func newGroup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List, describe, reset and delete consumer groups",
		Long: `Consumer groups, of the classic and of the consumer protocol (KIP-848) alike.

  spate group list                                   groups and their states
  spate group describe payments                      offsets, lag, members, and why it does not move if it is stuck
  spate group reset-offsets payments --topic orders --to-earliest           shows what would change
  spate group reset-offsets payments --topic orders --to-earliest --execute changes it`,
	}
	cmd.AddCommand(newGroupList(), newGroupDescribe(), newGroupMembers(), newGroupReset(), newGroupDelete(),
		newGroupDeleteOffsets())
	return cmd
}

// errNoGroup is why a group cannot be described.
var errNoGroup = errors.New("does not exist")

// explainGroup makes a sentence of a protocol error about a group, with what to do next where that is known.
func explainGroup(group string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return sentence(errors.Join(errNoGroup, err), `group %s %v; "spate group list" shows those that do`, group,
			errNoGroup)
	case errors.Is(err, kerr.NonEmptyGroup), errors.Is(err, kerr.UnknownMemberID):
		return sentence(err, `group %s has members, which must be stopped first; "spate group members %s" shows them`,
			group, group)
	case errors.Is(err, kerr.GroupSubscribedToTopic):
		return sentence(err, "group %s has members that are subscribed to this topic; stop them first", group)
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return sentence(err, "group %s: not allowed: an ACL for this group is missing", group)
	case errors.Is(err, kerr.InvalidGroupID):
		return sentence(err, "group %q: that is not a valid group id", group)
	case errors.Is(err, kerr.CoordinatorNotAvailable), errors.Is(err, kerr.CoordinatorLoadInProgress),
		errors.Is(err, kerr.NotCoordinator):
		return fmt.Errorf("group %s: its coordinator is not ready (%w); try again in a moment", group, err)
	case errors.Is(err, kerr.UnsupportedVersion):
		return fmt.Errorf("group %s: this cluster does not serve what was asked for: %w", group, err)
	}
	return fmt.Errorf("group %s: %w", group, err)
}

// listFlags say which groups are listed.
type listFlags struct {
	clientFlags
	states []string
	types  []string
}

// listedGroup is one group as list prints it.
type listedGroup struct {
	Name         string `json:"group"`
	Type         string `json:"type"`
	State        string `json:"state"`
	ProtocolType string `json:"protocolType"`
	Coordinator  int32  `json:"coordinator"`
}

// newGroupList is "spate group list".
func newGroupList() *cobra.Command {
	var flags listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List groups with their types and states",
		Example: `  spate group list
  spate group list --state empty,dead --type classic`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.list(cmd) },
	}
	flags.add(cmd)
	cmd.Flags().StringSliceVar(&flags.states, "state", nil, "only groups in these states, such as stable,empty")
	cmd.Flags().
		StringSliceVar(&flags.types, "type", nil, "only groups of these types: classic, consumer, share, streams")
	return cmd
}

// list prints the groups.
func (f *listFlags) list(cmd *cobra.Command) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	states, err := known("--state", f.states, groupStates)
	if err != nil {
		return err
	}
	types, err := known("--type", f.types, groupTypes)
	if err != nil {
		return err
	}
	v, err := f.viewer(cmd.Context())
	if err != nil {
		return err
	}
	defer v.client.Close()
	groups, failed := listGroups(cmd.Context(), v.client, states, types)
	switch {
	case asJSON:
		return errors.Join(printJSON(cmd.OutOrStdout(), groups), failed)
	case len(groups) == 0 && failed != nil:
		return failed
	case len(groups) == 0 && len(states)+len(types) > 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "no group is of these states and types")
		return nil
	case len(groups) == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), `no groups yet; "spate consume TOPIC --group NAME" makes one`)
		return nil
	}
	t := table{header: []string{"GROUP", "TYPE", "STATE", "PROTOCOL", "COORDINATOR"}, shrinks: []int{0}}
	for _, g := range groups {
		t.add(g.Name, g.Type, g.State, g.ProtocolType, fmt.Sprint(g.Coordinator))
	}
	return errors.Join(t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout())), failed)
}

// The states and types of groups, as brokers write them.
var (
	groupStates = []string{"PreparingRebalance", "CompletingRebalance", "Stable", "Empty", "Dead", "Assigning",
		"Reconciling", "NotReady"}
	groupTypes = []string{"classic", "consumer", "share", "streams"}
)

// known gives the words of a flag as brokers write them, whatever the case they were given in.
func known(flag string, given, words []string) ([]string, error) {
	var found []string
	for _, text := range given {
		i := slices.IndexFunc(words, func(word string) bool { return strings.EqualFold(word, text) })
		if i < 0 {
			return nil, usageError{fmt.Errorf("%s %q: must be of %s", flag, text, strings.Join(words, ", "))}
		}
		found = append(found, words[i])
	}
	return found, nil
}

// listGroups asks every broker for its groups. What some brokers answered is given along with the errors of others.
func listGroups(ctx context.Context, client *kgo.Client, states, types []string) ([]listedGroup, error) {
	request := kmsg.NewPtrListGroupsRequest()
	request.StatesFilter = append(request.StatesFilter, states...)
	request.TypesFilter = append(request.TypesFilter, types...)
	groups := []listedGroup{}
	var failed []error
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			failed = append(failed, fmt.Errorf("list groups: %w", shard.Err))
			continue
		}
		response := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
			failed = append(failed, fmt.Errorf("list groups of broker %d: %w", shard.Meta.NodeID, err))
			continue
		}
		for _, g := range response.Groups {
			groups = append(
				groups,
				listedGroup{g.Group, g.GroupType, g.GroupState, g.ProtocolType, shard.Meta.NodeID},
			)
		}
	}
	slices.SortFunc(groups, func(a, b listedGroup) int { return cmp.Compare(a.Name, b.Name) })
	return groups, errors.Join(failed...)
}

// parseTopics reads topics and partitions of a flag, or of arguments where it is empty: orders, or orders:0,2. A topic
// without partitions has a nil list, and means all.
func parseTopics(flag string, texts []string) (map[string][]int32, error) {
	topics := make(map[string][]int32, len(texts))
	for _, text := range texts {
		name, list, some := strings.Cut(text, ":")
		if _, twice := topics[name]; name == "" || twice {
			return nil, usageError{
				fmt.Errorf("%s%q: must be a topic or topic:partition,partition, each topic once", flag,
					text),
			}
		}
		topics[name] = nil
		if !some {
			continue
		}
		for _, number := range strings.Split(list, ",") {
			p, err := strconv.ParseInt(number, 10, 32)
			if err != nil || p < 0 {
				return nil, usageError{fmt.Errorf("%s%q: %q is not a partition; write topic:0,1", flag, text, number)}
			}
			topics[name] = append(topics[name], int32(p))
		}
		slices.Sort(topics[name])
		topics[name] = slices.Compact(topics[name])
	}
	return topics, nil
}

// newGroupDelete is "spate group delete".
func newGroupDelete() *cobra.Command {
	var flags clientFlags
	var ifExists bool
	cmd := &cobra.Command{
		Use:   "delete GROUP...",
		Short: "Delete groups without members, with their committed offsets",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			asJSON, err := flags.json()
			if err != nil {
				return err
			}
			v, err := flags.viewer(cmd.Context())
			if err != nil {
				return err
			}
			defer v.client.Close()
			deleted, err := v.admin.DeleteGroups(cmd.Context(), names...)
			if err != nil {
				return explainGroup(strings.Join(names, ", "), unwrapShards(err))
			}
			var outcomes []outcome
			for _, g := range deleted.Sorted() {
				o := outcome{Group: g.Group}
				switch {
				case g.Err == nil:
					o = o.ended(true, nil, "deleted group %s", g.Group)
				case ifExists && errors.Is(g.Err, kerr.GroupIDNotFound):
					o = o.ended(false, nil, "group %s does not exist", g.Group)
				default:
					o = o.ended(false, explainGroup(g.Group, g.Err), "")
				}
				outcomes = append(outcomes, o)
			}
			return report(cmd.OutOrStdout(), outcomes, asJSON)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a group that does not exist is no error")
	return cmd
}

// unwrapShards gives the cause of a request that failed at one broker.
func unwrapShards(err error) error {
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) && len(shards.Errs) > 0 {
		return shards.Errs[0].Err
	}
	return err
}

// newGroupDeleteOffsets is "spate group delete-offsets".
func newGroupDeleteOffsets() *cobra.Command {
	var flags clientFlags
	var topicFlags []string
	cmd := &cobra.Command{
		Use:     "delete-offsets GROUP",
		Short:   "Forget the committed offsets of topics that a group no longer reads",
		Example: "  spate group delete-offsets payments --topic orders --topic refunds:0,1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := flags.json()
			if err != nil {
				return err
			}
			topics, err := parseTopics("--topic ", topicFlags)
			if err != nil {
				return err
			}
			if len(topics) == 0 {
				return usageError{errors.New("name the topics with --topic")}
			}
			v, err := flags.viewer(cmd.Context())
			if err != nil {
				return err
			}
			defer v.client.Close()
			return deleteOffsets(cmd, v.admin, args[0], topics, asJSON)
		},
	}
	flags.add(cmd)
	cmd.Flags().
		StringArrayVarP(&topicFlags, "topic", "t", nil, "topic, or topic:partition,partition; may be repeated")
	return cmd
}

// deleteOffsets deletes the offsets of partitions, of those that have one where only a topic is given.
func deleteOffsets(cmd *cobra.Command, admin *kadm.Client, group string, topics map[string][]int32,
	asJSON bool,
) error {
	committed, err := admin.FetchOffsets(cmd.Context(), group)
	if err != nil {
		return explainGroup(group, err)
	}
	wanted := make(kadm.TopicsSet)
	for topic, partitions := range topics {
		for p := range committed[topic] {
			if partitions == nil || slices.Contains(partitions, p) {
				wanted.Add(topic, p)
			}
		}
		if _, any := wanted[topic]; !any {
			return fmt.Errorf(
				"group %s has no committed offset of topic %s; \"spate group describe %s\" shows those "+
					"that it has",
				group,
				topic,
				group,
			)
		}
	}
	deleted, err := admin.DeleteOffsets(cmd.Context(), group, wanted)
	if err != nil {
		return explainGroup(group, err)
	}
	failed := make(map[string][]string) // partitions by what went wrong, which is said once
	var outcomes []outcome
	for _, t := range wanted.Sorted() {
		for _, p := range t.Partitions {
			name := fmt.Sprintf("%s-%d", t.Topic, p)
			o := outcome{Topic: t.Topic, Partition: &p}
			if err, _ := deleted.Lookup(t.Topic, p); err != nil {
				o.Error = explainGroup(group, err).Error()
				failed[o.Error] = append(failed[o.Error], name)
			} else {
				o = o.ended(true, nil, "deleted the offset of %s", name)
			}
			if o.Done || asJSON {
				outcomes = append(outcomes, o)
			}
		}
	}
	errs := []error{report(cmd.OutOrStdout(), outcomes, asJSON)}
	for _, why := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, fmt.Errorf("%s: %s", strings.Join(named(failed[why]), ", "), why))
	}
	return errors.Join(errs...)
}
