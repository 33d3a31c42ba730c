package config

import (
	"testing"
	"time"
)

// defaultTopic is what a topic gets when nothing is configured.
var defaultTopic = Topic{CleanupDelete: true, Compression: "producer", GzipLevel: -1, LZ4Level: 9, ZstdLevel: 3,
	DeleteRetention: 24 * time.Hour, CompactionLagMax: Forever, DirtyRatioMin: 0.5,
	FileDeleteDelay: time.Minute, FlushMessages: 1<<63 - 1, FlushInterval: Forever, IndexIntervalBytes: 4096,
	MessageBytesMax: 1048588, TimestampAfterMax: time.Hour, TimestampBeforeMax: Forever, MinInSyncReplicas: 1,
	RetentionBytes: -1, Retention: 168 * time.Hour, SegmentBytes: 1 << 30, SegmentIndexBytes: 10 << 20,
	SegmentInterval: 168 * time.Hour}

// TestTopicResolution checks where the settings of a topic come from.
func TestTopicResolution(t *testing.T) {
	for _, c := range []struct {
		name, broker string
		overrides    map[string]string
		change       func(*Topic)
	}{
		{"nothing is set", "", nil, func(*Topic) {}},
		{"a topic's own settings win", "log.segment.bytes=2000000\nlog.retention.ms=5",
			map[string]string{"segment.bytes": "3000000", "retention.ms": "-1", "cleanup.policy": ""},
			func(t *Topic) { t.SegmentBytes, t.Retention, t.CleanupDelete = 3000000, -time.Millisecond, false }},
		{"the broker's settings are the defaults", "log.segment.bytes=2000000\ncompression.type=zstd\n" +
			"log.message.timestamp.type=LogAppendTime\nspate.ack.durability=page-cache\nlog.cleanup.policy=",
			nil, func(t *Topic) {
				t.SegmentBytes, t.Compression, t.LogAppendTime = 2000000, "zstd", true
				t.PageCacheDurability, t.CleanupDelete = true, false
			}},
		{"hours are the weakest", "log.retention.hours=1\nlog.roll.hours=2\nlog.roll.jitter.hours=1",
			nil, func(t *Topic) {
				t.Retention, t.SegmentInterval, t.SegmentJitter = time.Hour, 2*time.Hour, time.Hour
			}},
		{"minutes win over hours", "log.retention.hours=1\nlog.retention.minutes=3", nil,
			func(t *Topic) { t.Retention = 3 * time.Minute }},
		{"milliseconds win over minutes", "log.retention.hours=1\nlog.retention.minutes=3\n" +
			"log.retention.ms=4\nlog.roll.ms=9\nlog.roll.hours=9\nlog.roll.jitter.ms=2", nil, func(t *Topic) {
			t.Retention, t.SegmentInterval, t.SegmentJitter = 4*time.Millisecond, 9*time.Millisecond, 2*time.Millisecond
		}},
		{"minus one hour is for ever", "log.retention.hours=-1", nil,
			func(t *Topic) { t.Retention = -time.Millisecond }},
		{"and so is minus five", "log.retention.ms=-5", nil,
			func(t *Topic) { t.Retention = -time.Millisecond }},
		{"the scheduler's interval stands in", "log.flush.scheduler.interval.ms=70", nil,
			func(t *Topic) { t.FlushInterval = 70 * time.Millisecond }},
		{"flush.ms wins over the scheduler's", "log.flush.scheduler.interval.ms=70\nlog.flush.interval.ms=60", nil,
			func(t *Topic) { t.FlushInterval = 60 * time.Millisecond }},
		{"the rest", "", map[string]string{"compression.gzip.level": "9", "compression.lz4.level": "1",
			"compression.zstd.level": "-7", "file.delete.delay.ms": "0", "flush.messages": "1",
			"index.interval.bytes": "0", "max.message.bytes": "0",
			"message.timestamp.after.max.ms": "1", "message.timestamp.before.max.ms": "2", "min.insync.replicas": "3",
			"preallocate": "true", "retention.bytes": "4", "segment.index.bytes": "8",
			"spate.ack.durability": "page-cache"},
			func(t *Topic) {
				t.GzipLevel, t.LZ4Level, t.ZstdLevel, t.FileDeleteDelay, t.FlushMessages = 9, 1, -7, 0, 1
				t.IndexIntervalBytes, t.MessageBytesMax, t.TimestampAfterMax = 0, 0, time.Millisecond
				t.TimestampBeforeMax, t.MinInSyncReplicas, t.RetentionBytes = 2*time.Millisecond, 3, 4
				t.SegmentIndexBytes, t.PageCacheDurability = 8, true
			}},
	} {
		want := defaultTopic
		c.change(&want)
		got, err := load(t, c.broker).Topic(c.overrides)
		if err != nil || got != want {
			t.Errorf("%s:\n got  %+v, %v\n want %+v", c.name, got, err, want)
		}
	}
}

// TestTopicRefusals checks the lines that clients get with INVALID_CONFIG.
func TestTopicRefusals(t *testing.T) {
	const invalid = "Invalid value "
	for _, k := range []struct{ key, value, want string }{
		{"segment.bytes", "1", invalid + "1 for configuration segment.bytes: Value must be at least 1048576"},
		{"segment.bytes", "99999999999", invalid +
			"99999999999 for configuration segment.bytes: Not a number of type INT"},
		{"retention.ms", "soon", invalid + "soon for configuration retention.ms: Not a number of type LONG"},
		{"retention.ms", "-2", invalid + "-2 for configuration retention.ms: Value must be at least -1"},
		{"preallocate", "yes", invalid +
			"yes for configuration preallocate: Expected value to be either true or false"},
		{"compression.gzip.level", "0", invalid + "0 for configuration compression.gzip.level: " +
			"Value must be between 1 and 9 or equal to -1"},
		{"compression.zstd.level", "23", invalid +
			"23 for configuration compression.zstd.level: Value must be no more than 22"},
		{"message.timestamp.type", "x", invalid + "x for configuration message.timestamp.type: " +
			"String must be one of: CreateTime, LogAppendTime"},
		{"cleanup.policy", "burn", invalid +
			"burn for configuration cleanup.policy: String must be one of: compact, delete"},
		{"cleanup.policy", "delete, burn,bury", invalid +
			"burn for configuration cleanup.policy: String must be one of: compact, delete"},
		{"min.cleanable.dirty.ratio", "1.5",
			invalid + "1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"},
		{"min.cleanable.dirty.ratio", "NaN",
			invalid + "NaN for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE"},
		{"max.compaction.lag.ms", "0",
			invalid + "0 for configuration max.compaction.lag.ms: Value must be at least 1"},
		{"cleanup.policy", "a\nb", invalid +
			`"a\nb" for configuration cleanup.policy: String must be one of: compact, delete`},
		{"remote.storage.enable", "true", "Topic config remote.storage.enable is not served yet"},
		{"no.such", "1", "Unknown topic config name: no.such"},
	} {
		err := ValidateTopic(map[string]string{k.key: k.value, "segment.ms": "5"})
		if err == nil || err.Error() != k.want {
			t.Errorf("%s: got %v, want %s", k.key, err, k.want)
		}
	}
}

// TestCompactedTopics checks that compaction may be asked for, and that the settings then follow it.
func TestCompactedTopics(t *testing.T) {
	for _, k := range []struct {
		overrides map[string]string
		want      string
	}{
		{map[string]string{"cleanup.policy": "compact", "segment.bytes": "104857600"}, ""},
		{nil, ""},
		{map[string]string{"cleanup.policy": "compact,delete"}, ""},
		{map[string]string{"min.compaction.lag.ms": "6", "max.compaction.lag.ms": "5"},
			"conflict topic config setting " +
				"min.compaction.lag.ms (6) > max.compaction.lag.ms (5)"},
		{map[string]string{"cleanup.policy": "compact", "segment.bytes": "1"},
			"Invalid value 1 for configuration segment.bytes: Value must be at least 1048576"},
	} {
		got := ""
		if err := ValidateTopic(k.overrides); err != nil {
			got = err.Error()
		}
		if got != k.want {
			t.Errorf("%v: got %s, want %s", k.overrides, got, k.want)
		}
	}
	settings, err := load(t, "").Topic(map[string]string{"cleanup.policy": "compact"})
	if err != nil || settings.CleanupDelete || !settings.CleanupCompact {
		t.Errorf("got %+v, %v", settings, err)
	}
}

// TestTopicEntries checks value, source and synonyms where several sources speak.
func TestTopicEntries(t *testing.T) {
	c := load(t, "log.retention.ms=5\nlog.retention.hours=7\nlog.roll.hours=2")
	got := make(map[string]string)
	for _, e := range c.TopicEntries(map[string]string{"cleanup.policy": " delete , delete"}) {
		got[e.Name] = describe(e)
		if e.ReadOnly || e.Doc == "" || e.Type == 0 {
			t.Errorf("%s: got %+v", e.Name, e)
		}
	}
	for name, want := range map[string]string{
		"retention.ms": "retention.ms=5 sensitive=false synonyms={STATIC_BROKER_CONFIG:log.retention.ms=5, " +
			"STATIC_BROKER_CONFIG:log.retention.hours=7, DEFAULT_CONFIG:log.retention.hours=168}",
		"segment.ms": "segment.ms=7200000 sensitive=false synonyms={}",
		"cleanup.policy": "cleanup.policy=delete sensitive=false " +
			"synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=delete, DEFAULT_CONFIG:log.cleanup.policy=delete}",
	} {
		if got[name] != want {
			t.Errorf("got  %s\nwant %s", got[name], want)
		}
	}
}

// TestReadOnly checks that only what Kafka can change at run time is not called read-only.
func TestReadOnly(t *testing.T) {
	got := make(map[string]bool)
	for _, e := range load(t, "").Entries() {
		got[e.Name] = e.ReadOnly
	}
	if !got["node.id"] || !got["log.dirs"] || got["log.retention.ms"] || got["num.io.threads"] {
		t.Errorf("got %v", got)
	}
}
