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
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataVersion is the feature whose levels have names of their own.
const metadataVersion = "metadata.version"

// metadataReleases are the names of the levels of metadata.version, from metadataFirst on.
var metadataReleases = []string{
	"3.3-IV3",
	"3.4-IV0",
	"3.5-IV0",
	"3.5-IV1",
	"3.5-IV2",
	"3.6-IV0",
	"3.6-IV1",
	"3.6-IV2",
	"3.7-IV0",
	"3.7-IV1",
	"3.7-IV2",
	"3.7-IV3",
	"3.7-IV4",
	"3.8-IV0",
	"3.9-IV0",
	"4.0-IV0",
	"4.0-IV1",
	"4.0-IV2",
	"4.0-IV3",
	"4.1-IV0",
	"4.1-IV1",
	"4.2-IV0",
	"4.2-IV1",
	"4.3-IV0",
	"4.4-IV0",
}

// metadataFirst is the lowest level of metadata.version that a cluster without ZooKeeper has.
const metadataFirst = 7

// releaseOf is the name of a level, or empty.
func releaseOf(feature string, level int16) string {
	i := int(level) - metadataFirst
	if feature != metadataVersion || i < 0 || i >= len(metadataReleases) {
		return ""
	}
	return metadataReleases[i]
}

// levelText is a level for people.
func levelText(feature string, level int16) string {
	if release := releaseOf(feature, level); release != "" {
		return fmt.Sprintf("%d (%s)", level, release)
	}
	return fmt.Sprint(level)
}

// parseLevel reads NAME=LEVEL. A level of metadata.version may be named.
func parseLevel(text string) (feature string, level int16, err error) {
	feature, number, ok := strings.Cut(text, "=")
	if i := slices.Index(metadataReleases, number); i >= 0 && feature == metadataVersion {
		return feature, int16(i + metadataFirst), nil
	}
	n, err := strconv.ParseInt(number, 10, 16)
	if !ok || feature == "" || err != nil || n < 0 {
		return "", 0, usageError{fmt.Errorf("%q: must be FEATURE=LEVEL, such as group.version=1", text)}
	}
	return feature, int16(n), nil
}

// featureVerb is one of the subcommands that change features.
type featureVerb struct {
	word, done, use, short string
	upgradeType            int8
}

// The verbs. A feature that is disabled is downgraded to level 0.
var featureVerbs = []featureVerb{
	{"upgrade", "upgraded", "FEATURE=LEVEL...", "Put higher levels of features in force", 1},
	{"downgrade", "downgraded", "FEATURE=LEVEL...", "Put lower levels of features in force", 2},
	{"disable", "disabled", "FEATURE...", "Switch features off", 2},
}

// unsafeDowngrade is the upgrade type of a downgrade that may lose metadata.
const unsafeDowngrade = 3

// newClusterFeatures is "spate cluster features".
func newClusterFeatures() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "features",
		Short: "Show which features are in force and which are supported, or change that",
		Long: `Show the features of the cluster: the level of each that is in force (finalised), and the levels that all brokers
support. A feature without a level is off.`,
		Example: `  spate cluster features
  spate cluster features upgrade metadata.version=4.3-IV0 group.version=1 --dry-run
  spate cluster features disable transaction.version`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			view, err := describeFeatures(cmd.Context(), client)
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(cmd.OutOrStdout(), view)
			}
			return view.print(cmd.OutOrStdout())
		},
	}
	flags.add(cmd)
	for _, verb := range featureVerbs {
		cmd.AddCommand(newFeatureChange(verb))
	}
	return cmd
}

// print writes the features as text.
func (v featuresView) print(out io.Writer) error {
	t := table{header: []string{"FEATURE", "FINALISED", "SUPPORTED"}, shrinks: []int{0}}
	for _, f := range v.Features {
		level := ""
		if f.Finalised != nil {
			level = levelText(f.Name, *f.Finalised)
		}
		t.add(f.Name, level, levelText(f.Name, f.Min)+" to "+levelText(f.Name, f.Max))
	}
	return t.print(out, widthOf(out))
}

// newFeatureChange is "spate cluster features upgrade", downgrade or disable.
func newFeatureChange(verb featureVerb) *cobra.Command {
	var flags clientFlags
	var dryRun, unsafe bool
	cmd := &cobra.Command{
		Use:   verb.word + " " + verb.use,
		Short: verb.short,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := kmsg.NewPtrUpdateFeaturesRequest()
			request.ValidateOnly = dryRun
			for _, text := range args {
				if verb.word == "disable" && !strings.Contains(text, "=") {
					text += "=0"
				}
				feature, level, err := parseLevel(text)
				if err != nil {
					return err
				}
				u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
				u.Feature, u.MaxVersionLevel, u.UpgradeType = feature, level, verb.upgradeType
				if u.AllowDowngrade = verb.upgradeType > 1; unsafe {
					u.UpgradeType = unsafeDowngrade
				}
				request.FeatureUpdates = append(request.FeatureUpdates, u)
			}
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			outcomes, err := updateFeatures(cmd.Context(), client, verb, request)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), outcomes, asJSON)
		},
	}
	flags.add(cmd)
	addDryRun(cmd, &dryRun)
	if verb.upgradeType > 1 {
		cmd.Flags().BoolVar(&unsafe, "unsafe", false, "also where metadata of the higher level is lost")
	}
	return cmd
}

// updateFeatures asks for the changes, and says what became of each.
func updateFeatures(ctx context.Context, client *kgo.Client, verb featureVerb, request *kmsg.UpdateFeaturesRequest) (
	[]outcome, error,
) {
	response, err := request.RequestWith(ctx, client)
	if err == nil {
		err = answered(response.ErrorCode, response.ErrorMessage)
	}
	if err != nil {
		return nil, explainFeatures(notServed(err, "changes of features (UpdateFeatures)"))
	}
	results := make(map[string]error)
	for _, r := range response.Results { // from brokers before 4.0; later ones do all or nothing
		results[r.Feature] = answered(r.ErrorCode, r.ErrorMessage)
	}
	var outcomes []outcome
	for _, u := range request.FeatureUpdates {
		o := outcome{Feature: u.Feature, Level: &u.MaxVersionLevel}
		text := verb.done
		if request.ValidateOnly {
			text = "would " + verb.word
		}
		text += " " + u.Feature
		if verb.word != "disable" {
			text += " to " + levelText(u.Feature, u.MaxVersionLevel)
		}
		err := results[u.Feature]
		if err != nil {
			err = explainFeatures(fmt.Errorf("%s: %w", u.Feature, err))
		}
		outcomes = append(outcomes, o.ended(!request.ValidateOnly, err, "%s", text))
	}
	return outcomes, nil
}

// explainFeatures adds what to do next to an error about features.
func explainFeatures(err error) error {
	if errors.Is(err, kerr.InvalidUpdateVersion) || errors.Is(err, kerr.FeatureUpdateFailed) {
		return sentence(err, `%v; "spate cluster features" shows what is supported`, err)
	}
	return err
}

// featureView is one feature of a cluster.
type featureView struct {
	Name      string `json:"feature"`
	Finalised *int16 `json:"finalised"` // the level in force; null: the feature is off
	Release   string `json:"release,omitempty"`
	Min       int16  `json:"supportedMin"`
	Max       int16  `json:"supportedMax"`
}

// featuresView are the features of a cluster.
type featuresView struct {
	Epoch    int64         `json:"epoch"` // the metadata offset of the last change; -1: not known
	Features []featureView `json:"features"`
}

// describeFeatures asks every broker; what is supported is what all of them support.
func describeFeatures(ctx context.Context, client *kgo.Client) (featuresView, error) {
	view := featuresView{Epoch: -1, Features: []featureView{}}
	request := kmsg.NewPtrApiVersionsRequest()
	request.ClientSoftwareName, request.ClientSoftwareVersion = "spate", "1"
	features := make(map[string]*featureView)
	cluster, err := describeCluster(ctx, client)
	if err != nil {
		return view, err
	}
	first := true
	for _, b := range cluster.Brokers {
		if b.Fenced {
			continue
		}
		raw, err := client.Broker(int(b.ID)).Request(ctx, request)
		if err == nil {
			err = kerr.ErrorForCode(raw.(*kmsg.ApiVersionsResponse).ErrorCode)
		}
		if err != nil {
			return view, fmt.Errorf("broker %d: %w", b.ID, err)
		}
		view.take(raw.(*kmsg.ApiVersionsResponse), features, first)
		first = false
	}
	for _, f := range features {
		view.Features = append(view.Features, *f)
	}
	slices.SortFunc(view.Features, func(a, b featureView) int { return cmp.Compare(a.Name, b.Name) })
	return view, nil
}

// take adds what one broker says.
func (v *featuresView) take(response *kmsg.ApiVersionsResponse, features map[string]*featureView, first bool) {
	for _, f := range response.SupportedFeatures {
		known := features[f.Name]
		if known == nil {
			known = &featureView{Name: f.Name, Min: f.MinVersion, Max: f.MaxVersion}
			if !first {
				known.Max = 0 // those before do not know it
			}
			features[f.Name] = known
		}
		known.Min, known.Max = max(known.Min, f.MinVersion), min(known.Max, f.MaxVersion)
	}
	if response.FinalizedFeaturesEpoch < v.Epoch || first && response.FinalizedFeaturesEpoch < 0 {
		return // older than what another has said
	}
	v.Epoch = response.FinalizedFeaturesEpoch
	for _, f := range response.FinalizedFeatures {
		if features[f.Name] == nil {
			features[f.Name] = &featureView{Name: f.Name}
		}
		level := f.MaxVersionLevel
		features[f.Name].Finalised, features[f.Name].Release = &level, releaseOf(f.Name, level)
	}
}
