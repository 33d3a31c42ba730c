package controller

import (
	"fmt"
	"slices"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// UpdateFeatures finalizes features at other levels, all of them or none.
type UpdateFeatures struct {
	Updates      []FeatureUpdate
	ValidateOnly bool // only say what would happen
}

// FeatureUpdate is the level that a feature is to have.
type FeatureUpdate struct {
	Name  string
	Level int16
	Type  UpgradeType
}

// UpgradeType says which way a level may go, numbered as on the wire.
type UpgradeType int8

// The types.
const (
	Upgrade         UpgradeType = 1
	SafeDowngrade   UpgradeType = 2 // nothing is lost
	UnsafeDowngrade UpgradeType = 3
)

// UpdateFeaturesReply is the reply to UpdateFeatures.
type UpdateFeaturesReply struct{}

func (UpdateFeaturesReply) reply() {}

func (cmd UpdateFeatures) decide(c *Controller) Outcome {
	var records []record.Record
	for _, u := range cmd.Updates {
		if err := c.checkUpdate(u); err != nil {
			return Outcome{Err: err}
		}
		records = append(records, &record.FeatureLevel{Name: u.Name, Level: u.Level})
	}
	if cmd.ValidateOnly {
		records = nil
	}
	return Outcome{Records: records, Reply: UpdateFeaturesReply{}}
}

// checkUpdate is why an update is refused, in the order and the words of Kafka. No level of a feature that is supported
// asks for one of another, and a supported level of metadata.version can write all that there is.
func (c *Controller) checkUpdate(u FeatureUpdate) error {
	reason, current := "", c.image.Feature(u.Name)
	switch {
	case u.Type < Upgrade || u.Type > UnsafeDowngrade:
		reason = "The controller does not support the given upgrade type."
	case u.Level < 0:
		reason = "A feature version cannot be less than 0."
	case c.unsupported(u) != "":
		reason = c.unsupported(u)
	case u.Level < current && u.Type == Upgrade:
		reason = "Can't downgrade the version of this feature without setting the upgrade type to either safe or " +
			"unsafe downgrade."
	case u.Level > current && u.Type != Upgrade:
		reason = "Can't downgrade to a newer version."
	case !slices.ContainsFunc(c.settings.Features, u.of):
		reason = "Feature " + u.Name + " not found." // level 0 of what nobody knows
	default:
		return nil
	}
	return refuse(kafka.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s", u.Level, u.Name, reason)
}

func (u FeatureUpdate) of(r record.FeatureRange) bool { return r.Name == u.Name }

// unsupported names the first node that cannot work at a level.
func (c *Controller) unsupported(u FeatureUpdate) string {
	if reason := u.beyond(c.settings.Features, fmt.Sprint("Local controller ", c.settings.NodeID)); reason != "" {
		return reason
	}
	for _, b := range c.image.Brokers() {
		if reason := u.beyond(b.Features, fmt.Sprint("Broker ", b.ID)); reason != "" {
			return reason
		}
	}
	return ""
}

// beyond tells why a node with these features cannot work at the level. What it does not know, it has at level 0.
func (u FeatureUpdate) beyond(features []record.FeatureRange, node string) string {
	known := record.FeatureRange{}
	if at := slices.IndexFunc(features, u.of); at >= 0 {
		known = features[at]
	}
	switch {
	case u.Level >= known.Min && u.Level <= known.Max:
		return ""
	case known.Max == 0:
		return node + " does not support this feature."
	}
	return fmt.Sprintf("%s only supports versions %d-%d", node, known.Min, known.Max)
}

// ownFeatures are finalized as soon as every broker supports them: nothing that older builds wrote has to change for
// them, so that nobody needs to ask for it.
var ownFeatures = []image.Feature{{Name: "group.version", Level: 1}, {Name: "transaction.version", Level: 2}}

// newFeatures gives the records that finalize those of ownFeatures which the registration makes possible. What was
// possible before has been finalized before, and is not any more because somebody asked for that.
func (cmd RegisterBroker) newFeatures(now *image.Image) []record.Record {
	var records []record.Record
	for _, f := range ownFeatures {
		lacks := func(b *image.Broker) bool { return !supports(b.Features, f) }
		possible := len(now.Brokers()) > 0 && !slices.ContainsFunc(now.Brokers(), lacks)
		if now.Feature(f.Name) != 0 || possible || !supports(cmd.Features, f) {
			continue
		}
		lacking := func(b *image.Broker) bool { return b.ID != cmd.BrokerID && lacks(b) }
		if !slices.ContainsFunc(now.Brokers(), lacking) {
			records = append(records, &record.FeatureLevel{Name: f.Name, Level: f.Level})
		}
	}
	return records
}

// supports tells whether a broker with these features can work at the level of one of them.
func supports(features []record.FeatureRange, f image.Feature) bool {
	return slices.ContainsFunc(features, func(r record.FeatureRange) bool {
		return r.Name == f.Name && r.Min <= f.Level && f.Level <= r.Max
	})
}
