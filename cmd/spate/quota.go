package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newQuota is "spate quota".
func newQuota() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quota",
		Short: "Show and change what clients may take",
		Long: `Quotas limit what clients may take of each broker. They are for a user, a client id, both together, or an address:

  producer_byte_rate        bytes a second that are produced
  consumer_byte_rate        bytes a second that are fetched
  request_percentage        time on the broker's threads; 100 is one of them
  controller_mutation_rate  partitions a second that are created or deleted
  connection_creation_rate  connections a second, of an address

  spate quota set --client-id app producer_byte_rate=1000000
  spate quota set --user ann --client-id-default consumer_byte_rate=5e6
  spate quota describe
  spate quota delete --client-id app`,
	}
	cmd.AddCommand(newQuotaSet(), newQuotaDescribe(), newQuotaDelete())
	return cmd
}

// quotaPart is one part of what a quota is for. Without a name it is everyone of that kind who has none of their own.
type quotaPart struct {
	Type string  `json:"type"`
	Name *string `json:"name"`
}

// quotaKinds are the kinds of parts, as flags and on the wire.
var quotaKinds = []string{"user", "client-id", "ip"}

// quotaFlags say what quotas are for.
type quotaFlags struct {
	names    [3]string
	defaults [3]bool
}

func (f *quotaFlags) add(cmd *cobra.Command) {
	what := [...]string{"user; ANONYMOUS is who has not logged in", "client id", "address that connections come from"}
	for i, kind := range quotaKinds {
		cmd.Flags().StringVar(&f.names[i], kind, "", what[i])
		cmd.Flags().BoolVar(&f.defaults[i], kind+"-default", false, "every "+kind+" without quotas of its own")
	}
}

// entity is what the flags name.
func (f *quotaFlags) entity(cmd *cobra.Command) ([]quotaPart, error) {
	var parts []quotaPart
	for i, kind := range quotaKinds {
		named := cmd.Flags().Changed(kind)
		switch {
		case named && f.defaults[i]:
			return nil, usageError{fmt.Errorf("--%s and --%s-default exclude each other", kind, kind)}
		case named && f.names[i] == "":
			return nil, usageError{fmt.Errorf("--%s is empty; --%s-default is everyone's", kind, kind)}
		case named:
			parts = append(parts, quotaPart{Type: kind, Name: &f.names[i]})
		case f.defaults[i]:
			parts = append(parts, quotaPart{Type: kind})
		}
	}
	return parts, nil
}

// oneEntity is entity for commands that need one.
func (f *quotaFlags) oneEntity(cmd *cobra.Command) ([]quotaPart, error) {
	parts, err := f.entity(cmd)
	if err == nil && len(parts) == 0 {
		err = usageError{errors.New("say whose: --user, --client-id, both, or --ip, or one of their -default forms")}
	}
	return parts, err
}

// quotaTitle names an entity in a sentence.
func quotaTitle(parts []quotaPart) string {
	words := make([]string, len(parts))
	for i, p := range parts {
		words[i] = "default " + p.Type
		if p.Name != nil {
			words[i] = p.Type + " " + *p.Name
		}
	}
	return strings.Join(words, ", ")
}

// quotaChange is one quota to set, or to remove where value is nil.
type quotaChange struct {
	key   string
	value *float64
}

// newQuotaSet is "spate quota set".
func newQuotaSet() *cobra.Command {
	var flags clientFlags
	var whose quotaFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:     "set QUOTA=VALUE...",
		Short:   "Set quotas; those that are not named stay",
		Example: "  spate quota set --client-id app producer_byte_rate=1000000 consumer_byte_rate=2000000",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, pairs []string) error {
			parts, err := whose.oneEntity(cmd)
			if err != nil {
				return err
			}
			var changes []quotaChange
			for _, pair := range pairs {
				key, text, _ := strings.Cut(pair, "=")
				value, err := strconv.ParseFloat(text, 64)
				if key == "" || err != nil {
					return usageError{fmt.Errorf("%q: must be QUOTA=NUMBER, such as producer_byte_rate=1000000", pair)}
				}
				changes = append(changes, quotaChange{key, &value})
			}
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			outcomes, err := alterQuotas(cmd.Context(), client, parts, changes, dryRun)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), outcomes, asJSON)
		},
	}
	flags.add(cmd)
	whose.add(cmd)
	addDryRun(cmd, &dryRun)
	return cmd
}

// newQuotaDelete is "spate quota delete".
func newQuotaDelete() *cobra.Command {
	var flags clientFlags
	var whose quotaFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:     "delete [QUOTA...]",
		Short:   "Remove quotas, all that somebody has if none is named",
		Example: "  spate quota delete --client-id app producer_byte_rate",
		RunE: func(cmd *cobra.Command, keys []string) error {
			parts, err := whose.oneEntity(cmd)
			if err != nil {
				return err
			}
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			described, err := describeQuotas(cmd.Context(), client, parts, true)
			if err != nil {
				return err
			}
			var has []string
			for _, d := range described {
				for _, q := range d.Quotas {
					has = append(has, q.Name)
				}
			}
			if len(keys) == 0 {
				keys = has
			}
			var outcomes []outcome
			var changes []quotaChange
			for _, key := range keys {
				if slices.Contains(has, key) {
					changes = append(changes, quotaChange{key: key})
				} else {
					o := outcome{Entity: parts, Quota: key}
					outcomes = append(outcomes, o.ended(false, nil, "%s has no %s", quotaTitle(parts), key))
				}
			}
			if len(keys) == 0 {
				none := outcome{Entity: parts}.ended(false, nil, "%s has no quotas", quotaTitle(parts))
				outcomes = append(outcomes, none)
			}
			if len(changes) > 0 {
				removed, err := alterQuotas(cmd.Context(), client, parts, changes, dryRun)
				if err != nil {
					return err
				}
				outcomes = append(outcomes, removed...)
			}
			return report(cmd.OutOrStdout(), outcomes, asJSON)
		},
	}
	flags.add(cmd)
	whose.add(cmd)
	addDryRun(cmd, &dryRun)
	return cmd
}

// alterQuotas changes the quotas of an entity, all or none, and says what became of each.
func alterQuotas(ctx context.Context, client *kgo.Client, parts []quotaPart, changes []quotaChange, dryRun bool,
) ([]outcome, error) {
	request := kmsg.NewPtrAlterClientQuotasRequest()
	request.ValidateOnly = dryRun
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	for _, p := range parts {
		entry.Entity = append(entry.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: p.Type, Name: p.Name})
	}
	for _, c := range changes {
		op := kmsg.AlterClientQuotasRequestEntryOp{Key: c.key, Remove: c.value == nil}
		if c.value != nil {
			op.Value = *c.value
		}
		entry.Ops = append(entry.Ops, op)
	}
	request.Entries = append(request.Entries, entry)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, notServed(err, "client quotas")
	}
	for _, told := range response.Entries {
		if err = answered(told.ErrorCode, told.ErrorMessage); err != nil {
			err = sentence(err, "%s: %v", quotaTitle(parts), err)
		}
	}
	if err != nil {
		return []outcome{outcome{Entity: parts}.ended(false, err, "")}, nil
	}
	would := ""
	if dryRun {
		would = "would be "
	}
	var outcomes []outcome
	for _, c := range changes {
		o := outcome{Entity: parts, Quota: c.key, Value: c.value}
		if c.value == nil {
			o = o.ended(!dryRun, nil, "%s: %s %sremoved", quotaTitle(parts), c.key, would)
		} else {
			o = o.ended(!dryRun, nil, "%s: %s %sset to %s", quotaTitle(parts), c.key, would, quotaNumber(*c.value))
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// quotaNumber shows a value as it would be typed.
func quotaNumber(value float64) string {
	if value >= 1e15 {
		return strconv.FormatFloat(value, 'g', -1, 64)
	}
	return strconv.FormatFloat(value, 'f', -1, 64)
}

// describedQuotas is an entity with its quotas.
type describedQuotas struct {
	Entity []quotaPart     `json:"entity"`
	Quotas []describedItem `json:"quotas"`
}

// describedItem is one quota.
type describedItem struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// newQuotaDescribe is "spate quota describe".
func newQuotaDescribe() *cobra.Command {
	var flags clientFlags
	var whose quotaFlags
	var only bool
	cmd := &cobra.Command{
		Use:   "describe",
		Short: "Show quotas: all, or those of somebody",
		Example: "  spate quota describe --user ann         of the user, alone and with client ids\n" +
			"  spate quota describe --user ann --only  of the user alone",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parts, err := whose.entity(cmd)
			if err != nil {
				return err
			}
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			described, err := describeQuotas(cmd.Context(), client, parts, only && len(parts) > 0)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), described)
			}
			return printQuotas(cmd.OutOrStdout(), described, parts)
		},
	}
	flags.add(cmd)
	whose.add(cmd)
	cmd.Flags().BoolVar(&only, "only", false, "leave out entities with parts that are not named")
	return cmd
}

// describeQuotas asks for the quotas of those with these parts, and no others if it is strict.
func describeQuotas(ctx context.Context, client *kgo.Client, parts []quotaPart, strict bool,
) ([]describedQuotas, error) {
	request := kmsg.NewPtrDescribeClientQuotasRequest()
	request.Strict = strict
	for _, p := range parts {
		c := kmsg.DescribeClientQuotasRequestComponent{
			EntityType: p.Type, Match: p.Name, MatchType: kmsg.QuotasMatchTypeExact,
		}
		if p.Name == nil {
			c.MatchType = kmsg.QuotasMatchTypeDefault
		}
		request.Components = append(request.Components, c)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, notServed(err, "client quotas")
	}
	if err := answered(response.ErrorCode, response.ErrorMessage); err != nil {
		return nil, err
	}
	all := []describedQuotas{}
	for _, entry := range response.Entries {
		var d describedQuotas
		for _, kind := range quotaKinds {
			for _, p := range entry.Entity {
				if p.Type == kind {
					d.Entity = append(d.Entity, quotaPart{p.Type, p.Name})
				}
			}
		}
		for _, v := range entry.Values {
			d.Quotas = append(d.Quotas, describedItem{v.Key, v.Value})
		}
		slices.SortFunc(d.Quotas, func(a, b describedItem) int { return strings.Compare(a.Name, b.Name) })
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b describedQuotas) int {
		return cmp.Compare(quotaTitle(a.Entity), quotaTitle(b.Entity))
	})
	return all, nil
}

// printQuotas prints quotas, one a line.
func printQuotas(out io.Writer, described []describedQuotas, asked []quotaPart) error {
	if len(described) == 0 {
		text := "no quotas are set"
		if len(asked) > 0 {
			text += " for " + escaped(quotaTitle(asked))
		}
		_, err := fmt.Fprintln(out, text)
		return err
	}
	t := table{header: []string{"USER", "CLIENT-ID", "IP", "QUOTA", "VALUE"}, shrinks: []int{1, 0}}
	for _, d := range described {
		var cells [3]string
		for _, p := range d.Entity {
			at := slices.Index(quotaKinds, p.Type)
			if cells[at] = "(default)"; p.Name != nil {
				cells[at] = *p.Name
			}
		}
		for _, q := range d.Quotas {
			t.add(cells[0], cells[1], cells[2], q.Name, quotaNumber(q.Value))
		}
	}
	return t.print(out, widthOf(out))
}
