package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Groups is the settings of the group coordinator: those that no group can have for itself.
type Groups struct {
	SessionTimeoutMin     time.Duration // of members of classic groups
	SessionTimeoutMax     time.Duration
	InitialRebalanceDelay time.Duration // of classic groups
	ClassicSizeMax        int           // members of a classic group

	ConsumerProtocol     bool          // consumer groups (KIP-848) are served
	ConsumerSizeMax      int           // members of a consumer group
	Assignors            []string      // at least one; the first is the default
	Upgrade              bool          // classic groups become consumer groups while members run
	Downgrade            bool          // and the other way round
	RegexRefreshInterval time.Duration // topics behind a regular expression are looked up at least so often

	OffsetMetadataBytesMax      int           // of the text beside a committed offset
	OffsetRetention             time.Duration // of committed offsets that nobody uses
	OffsetRetentionCheck        time.Duration // between two looks for those that have expired
	OffsetsTopicCompression     string        // none, gzip, snappy, lz4 or zstd
	OffsetsTopicPartitions      int32         // of a new __consumer_offsets
	OffsetsTopicReplication     int16         // of a new __consumer_offsets
	OffsetsTopicReplicationSoft bool          // fewer replicas will do: nobody has set how many
	OffsetsTopicSegmentBytes    int           // of a new __consumer_offsets
}

// codecNames are Kafka's compression codecs by their ids.
var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// Groups resolves the settings of the group coordinator.
func (c *Config) Groups() Groups {
	policy := strings.ToLower(c.String("group.consumer.migration.policy"))
	return Groups{
		SessionTimeoutMin:     c.Duration("group.min.session.timeout.ms"),
		SessionTimeoutMax:     c.Duration("group.max.session.timeout.ms"),
		InitialRebalanceDelay: c.Duration("group.initial.rebalance.delay.ms"),
		ClassicSizeMax:        c.Int("group.max.size"),

		ConsumerProtocol:     slices.Contains(c.List("group.coordinator.rebalance.protocols"), "consumer"),
		ConsumerSizeMax:      c.Int("group.consumer.max.size"),
		Assignors:            c.List("group.consumer.assignors"),
		Upgrade:              policy == "bidirectional" || policy == "upgrade",
		Downgrade:            policy == "bidirectional" || policy == "downgrade",
		RegexRefreshInterval: c.Duration("group.consumer.regex.refresh.interval.ms"),

		OffsetMetadataBytesMax:      c.Int("offset.metadata.max.bytes"),
		OffsetRetention:             time.Duration(c.Int64("offsets.retention.minutes")) * time.Minute,
		OffsetRetentionCheck:        c.Duration("offsets.retention.check.interval.ms"),
		OffsetsTopicCompression:     codecNames[c.Int("offsets.topic.compression.codec")],
		OffsetsTopicPartitions:      int32(c.Int64("offsets.topic.num.partitions")),
		OffsetsTopicReplication:     int16(c.Int64("offsets.topic.replication.factor")),
		OffsetsTopicReplicationSoft: !c.IsSet("offsets.topic.replication.factor"),
		OffsetsTopicSegmentBytes:    c.Int("offsets.topic.segment.bytes"),
	}
}

// OffsetsTopicConfigs is what is set on a new __consumer_offsets.
func (g *Groups) OffsetsTopicConfigs() map[string]string {
	return map[string]string{
		"cleanup.policy":   "compact",
		"compression.type": "producer",
		"segment.bytes":    fmt.Sprint(g.OffsetsTopicSegmentBytes),
	}
}

// Group is the settings of one group: its own where it has them, else the broker's, else the defaults.
type Group struct {
	ConsumerSessionTimeout     time.Duration // a consumer group's member is dead after so long without a heartbeat
	ConsumerHeartbeatInterval  time.Duration // between the heartbeats of a member
	ConsumerAssignmentInterval time.Duration // between two assignments, at least
}

// groupLimit is what the broker allows a group to set.
type groupLimit struct{ name, min, max string }

// groupLimits are in the order in which Kafka looks at them.
var groupLimits = []groupLimit{
	{"consumer.heartbeat.interval.ms",
		"group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	{"consumer.session.timeout.ms",
		"group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	{"consumer.assignment.interval.ms",
		"group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"},
}

// Group resolves the settings of a group with these overrides. What the limits of the broker have come to forbid since
// it was set is brought back into them, as in Kafka; the error names a key that is unknown or not a number.
func (c *Config) Group(overrides map[string]string) (Group, error) {
	if err := GroupScope.validate(overrides); err != nil {
		return Group{}, err
	}
	r := resolver{c, GroupScope, overrides}
	within := func(limit groupLimit) time.Duration {
		return milliseconds(min(max(r.number(limit.name), c.Int64(limit.min)), c.Int64(limit.max)))
	}
	return Group{
		ConsumerHeartbeatInterval:  within(groupLimits[0]),
		ConsumerSessionTimeout:     within(groupLimits[1]),
		ConsumerAssignmentInterval: within(groupLimits[2]),
	}, nil
}

// ValidateGroup checks the overrides that a group is to have, by themselves and by the limits of the broker. The error
// names the key and what is allowed.
func (c *Config) ValidateGroup(overrides map[string]string) error {
	if err := GroupScope.validate(overrides); err != nil {
		return err
	}
	r := resolver{c, GroupScope, overrides}
	for _, limit := range groupLimits {
		if err := within(r.number(limit.name), limit, c); err != nil {
			return err
		}
	}
	if r.number("consumer.session.timeout.ms") <= r.number("consumer.heartbeat.interval.ms") {
		return fmt.Errorf("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms")
	}
	return nil
}

// within says, in Kafka's words, which limit of the broker a value is past.
func within(value int64, limit groupLimit, c *Config) error {
	switch {
	case value < c.Int64(limit.min):
		return fmt.Errorf("%s must be greater than or equal to %s", limit.name, limit.min)
	case value > c.Int64(limit.max):
		return fmt.Errorf("%s must be less than or equal to %s", limit.name, limit.max)
	}
	return nil
}

// checkGroups checks the broker's own defaults by its limits, in the order and the words of Kafka.
func (c *Config) checkGroups() error {
	for _, limit := range groupLimits {
		if c.Int64(limit.max) < c.Int64(limit.min) {
			return fmt.Errorf("%s must be greater than or equal to %s", limit.max, limit.min)
		}
		limit.name = "group." + limit.name
		if err := within(c.Int64(limit.name), limit, c); err != nil {
			return err
		}
		sessions := limit.name == "group.consumer.session.timeout.ms"
		if sessions && c.Int64("group.consumer.heartbeat.interval.ms") >= c.Int64(limit.name) {
			return fmt.Errorf("group.consumer.heartbeat.interval.ms must be less than %s", limit.name)
		}
	}
	return nil
}
