package config

import (
	"reflect"
	"testing"
	"time"
)

// defaultGroups is the group coordinator's settings when nothing is configured.
var defaultGroups = Groups{SessionTimeoutMin: 6 * time.Second, SessionTimeoutMax: 30 * time.Minute,
	InitialRebalanceDelay: 3 * time.Second, ClassicSizeMax: 1<<31 - 1,
	ConsumerProtocol: true, ConsumerSizeMax: 1<<31 - 1, Assignors: []string{"uniform", "range"},
	Upgrade: true, Downgrade: true, RegexRefreshInterval: 10 * time.Minute,
	OffsetMetadataBytesMax: 4096, OffsetRetention: 7 * 24 * time.Hour, OffsetRetentionCheck: 10 * time.Minute,
	OffsetsTopicCompression: "none", OffsetsTopicPartitions: 50, OffsetsTopicReplication: 3,
	OffsetsTopicReplicationSoft: true, OffsetsTopicSegmentBytes: 100 << 20}

// TestGroups checks which key ends up in which setting of the coordinator.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		name, broker string
		change       func(*Groups)
	}{
		{"nothing is set", "", func(*Groups) {}},
		{"classic groups", "group.min.session.timeout.ms=10\ngroup.max.session.timeout.ms=20\n" +
			"group.initial.rebalance.delay.ms=0\ngroup.max.size=7", func(g *Groups) {
			g.SessionTimeoutMin, g.SessionTimeoutMax = 10*time.Millisecond, 20*time.Millisecond
			g.InitialRebalanceDelay, g.ClassicSizeMax = 0, 7
		}},
		{"consumer groups", "group.consumer.max.size=8\ngroup.consumer.assignors=range\n" +
			"group.consumer.regex.refresh.interval.ms=10000", func(g *Groups) {
			g.ConsumerSizeMax, g.Assignors, g.RegexRefreshInterval = 8, []string{"range"}, 10*time.Second
		}},
		{"without the new protocol", "group.coordinator.rebalance.protocols=classic",
			func(g *Groups) { g.ConsumerProtocol = false }},
		{"Kafka's list of protocols", "group.coordinator.rebalance.protocols=classic,consumer,streams",
			func(*Groups) {}},
		{"only upgrades", "group.consumer.migration.policy=UPGRADE", func(g *Groups) { g.Downgrade = false }},
		{"only downgrades", "group.consumer.migration.policy=Downgrade", func(g *Groups) { g.Upgrade = false }},
		{"neither", "group.consumer.migration.policy=disabled",
			func(g *Groups) { g.Upgrade, g.Downgrade = false, false }},
		{"offsets", "offset.metadata.max.bytes=0\noffsets.retention.minutes=1\n" +
			"offsets.retention.check.interval.ms=5", func(g *Groups) {
			g.OffsetMetadataBytesMax, g.OffsetRetention = 0, time.Minute
			g.OffsetRetentionCheck = 5 * time.Millisecond
		}},
		{"their topic", "offsets.topic.num.partitions=1\noffsets.topic.replication.factor=3\n" +
			"offsets.topic.compression.codec=4\noffsets.topic.segment.bytes=1048576", func(g *Groups) {
			g.OffsetsTopicPartitions, g.OffsetsTopicReplicationSoft = 1, false
			g.OffsetsTopicCompression, g.OffsetsTopicSegmentBytes = "zstd", 1<<20
		}},
	} {
		want := defaultGroups
		c.change(&want)
		if got := load(t, c.broker).Groups(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got  %+v\n want %+v", c.name, got, want)
		}
	}
}

// TestOffsetsTopicConfigs checks what a new __consumer_offsets is made with: what Kafka's own has.
func TestOffsetsTopicConfigs(t *testing.T) {
	groups := load(t, "offsets.topic.segment.bytes=2097152").Groups()
	want := map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "2097152"}
	got := groups.OffsetsTopicConfigs()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if err := ValidateTopic(got); err != nil {
		t.Error(err)
	}
}

// TestGroupResolution checks where the settings of a group come from, and that the broker's limits win.
func TestGroupResolution(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name, broker string
		overrides    map[string]string
		want         Group
	}{
		{"nothing is set", "", nil, Group{45 * second, 5 * second, second}},
		{"the broker's settings are the defaults", "group.consumer.session.timeout.ms=50000\n" +
			"group.consumer.heartbeat.interval.ms=6000\ngroup.consumer.assignment.interval.ms=0", nil,
			Group{50 * second, 6 * second, 0}},
		{"a group's own settings win", "group.consumer.session.timeout.ms=50000",
			map[string]string{"consumer.session.timeout.ms": "60000", "consumer.heartbeat.interval.ms": " 15000 ",
				"consumer.assignment.interval.ms": "15000"},
			Group{60 * second, 15 * second, 15 * second}},
		{"what was set before the limits were tightened", "group.consumer.max.session.timeout.ms=50000\n" +
			"group.consumer.min.heartbeat.interval.ms=4000\ngroup.consumer.max.assignment.interval.ms=2000",
			map[string]string{"consumer.session.timeout.ms": "60000", "consumer.heartbeat.interval.ms": "1",
				"consumer.assignment.interval.ms": "15000"},
			Group{50 * second, 4 * second, 2 * second}},
	} {
		got, err := load(t, c.broker).Group(c.overrides)
		if err != nil || got != c.want {
			t.Errorf("%s:\n got  %+v, %v\n want %+v", c.name, got, err, c.want)
		}
	}
	if _, err := load(t, "").Group(map[string]string{"no.such": "1"}); err == nil {
		t.Error("an unknown key: no error")
	}
}

// TestGroupRefusals checks the lines that clients get with INVALID_CONFIG: Kafka's own, but for what is not served.
func TestGroupRefusals(t *testing.T) {
	const invalid = "Invalid value "
	limits := load(t, "group.consumer.min.session.timeout.ms=10\ngroup.consumer.min.heartbeat.interval.ms=10\n"+
		"group.consumer.min.assignment.interval.ms=5")
	for _, k := range []struct {
		overrides map[string]string
		want      string
	}{
		{nil, ""},
		{map[string]string{"consumer.session.timeout.ms": "60000"}, ""},
		{map[string]string{"consumer.session.timeout.ms": "x"},
			invalid + "x for configuration consumer.session.timeout.ms: Not a number of type INT"},
		{map[string]string{"consumer.session.timeout.ms": "0"},
			invalid + "0 for configuration consumer.session.timeout.ms: Value must be at least 1"},
		{map[string]string{"consumer.session.timeout.ms": "9"},
			"consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"},
		{map[string]string{"consumer.session.timeout.ms": "60001"},
			"consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms"},
		{map[string]string{"consumer.heartbeat.interval.ms": "9", "consumer.session.timeout.ms": "9"},
			"consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms"},
		{map[string]string{"consumer.heartbeat.interval.ms": "15001"},
			"consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms"},
		{map[string]string{"consumer.assignment.interval.ms": "4"},
			"consumer.assignment.interval.ms must be greater than or equal to " +
				"group.consumer.min.assignment.interval.ms"},
		{map[string]string{"consumer.assignment.interval.ms": "15001"},
			"consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms"},
		{map[string]string{"consumer.session.timeout.ms": "10", "consumer.heartbeat.interval.ms": "10"},
			"consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"},
		{map[string]string{"no.such": "1", "consumer.session.timeout.ms": "x"},
			"Unknown group config name: no.such"},
		{map[string]string{"share.isolation.level": "read_committed"},
			"Group config share.isolation.level is not served yet"},
	} {
		got := ""
		if err := limits.ValidateGroup(k.overrides); err != nil {
			got = err.Error()
		}
		if got != k.want {
			t.Errorf("%v:\n got  %s\n want %s", k.overrides, got, k.want)
		}
	}
}

// TestGroupEntries checks value, source and synonyms as kafka-configs --describe --all prints them of a group.
func TestGroupEntries(t *testing.T) {
	c := load(t, "group.consumer.heartbeat.interval.ms=6000")
	want := []string{
		"consumer.assignment.interval.ms=1000 sensitive=false " +
			"synonyms={DEFAULT_CONFIG:group.consumer.assignment.interval.ms=1000}",
		"consumer.heartbeat.interval.ms=6000 sensitive=false " +
			"synonyms={STATIC_BROKER_CONFIG:group.consumer.heartbeat.interval.ms=6000, " +
			"DEFAULT_CONFIG:group.consumer.heartbeat.interval.ms=5000}",
		"consumer.session.timeout.ms=50000 sensitive=false " +
			"synonyms={DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000, " +
			"DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000}",
	}
	var got []string
	for _, e := range c.GroupEntries(map[string]string{"consumer.session.timeout.ms": " 50000"}) {
		got = append(got, describe(e))
		if e.ReadOnly || e.Type != Int || e.Doc == "" {
			t.Errorf("%s: got %+v", e.Name, e)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// FuzzGroup feeds any override: it is refused, or resolves within the limits of the broker, and shows itself.
func FuzzGroup(f *testing.F) {
	f.Add("consumer.session.timeout.ms", "50000")
	f.Add("consumer.heartbeat.interval.ms", "99999999999999999999")
	f.Add("share.isolation.level", "")
	c, _, err := Load(Sources{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		overrides := map[string]string{key: value}
		g, err := c.Group(overrides)
		if err != nil {
			if c.ValidateGroup(overrides) == nil {
				t.Errorf("%s=%s passed and does not resolve: %v", key, value, err)
			}
			return
		}
		if g.ConsumerSessionTimeout <= g.ConsumerHeartbeatInterval || g.ConsumerAssignmentInterval < 0 {
			t.Errorf("%s=%s: %+v", key, value, g)
		}
		for _, e := range c.GroupEntries(overrides) {
			if e.Name == key && e.Source != DynamicGroup {
				t.Errorf("%s: source %d", key, e.Source)
			}
		}
	})
}
