package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"spate/internal/invariant"
)

// Topic is the settings of one topic: its own where it has them, else the broker's, else the defaults.
type Topic struct {
	CleanupDelete       bool          // false: segments are kept whatever their age and size
	CleanupCompact      bool          // the last record of each key is enough
	Compression         string        // compression.type: producer, uncompressed, gzip, snappy, lz4 or zstd
	GzipLevel           int           // -1: the codec's default
	LZ4Level            int           // 1 to 17
	ZstdLevel           int           // -131072 to 22
	DeleteRetention     time.Duration // of tombstones in a compacted topic
	CompactionLagMin    time.Duration // no record younger than this is compacted
	CompactionLagMax    time.Duration // an older one is compacted whatever the dirty ratio; Forever: no such limit
	DirtyRatioMin       float64       // the share of a log that has to be new before it is compacted
	FileDeleteDelay     time.Duration // between the renaming and the removal of a segment's files
	FlushMessages       int64         // flush after so many records
	FlushInterval       time.Duration // flush records of this age; Forever: no such limit
	IndexIntervalBytes  int           // between two entries of the offset index
	MessageBytesMax     int           // of a batch
	TimestampAfterMax   time.Duration // ahead of the clock
	TimestampBeforeMax  time.Duration // behind the clock
	LogAppendTime       bool          // message.timestamp.type is LogAppendTime
	MinInSyncReplicas   int           // for acks=all
	RetentionBytes      int64         // negative: no limit
	Retention           time.Duration // negative: no limit
	SegmentBytes        int           // size of a full segment
	SegmentIndexBytes   int           // size of a full offset index
	SegmentJitter       time.Duration // the most that is subtracted from SegmentInterval
	SegmentInterval     time.Duration // age of a full segment
	PageCacheDurability bool          // spate.ack.durability is page-cache: acks do not wait for the flush
}

// Topic resolves the settings of a topic with these overrides. The error names the key and what is allowed.
func (c *Config) Topic(overrides map[string]string) (Topic, error) {
	if err := ValidateTopic(overrides); err != nil {
		return Topic{}, err
	}
	r := resolver{c, TopicScope, overrides}
	retention := r.number("retention.ms")
	t := Topic{
		CleanupDelete:       slices.Contains(r.list("cleanup.policy"), "delete"),
		CleanupCompact:      slices.Contains(r.list("cleanup.policy"), "compact"),
		Compression:         r.text("compression.type"),
		GzipLevel:           int(r.number("compression.gzip.level")),
		LZ4Level:            int(r.number("compression.lz4.level")),
		ZstdLevel:           int(r.number("compression.zstd.level")),
		DeleteRetention:     milliseconds(r.number("delete.retention.ms")),
		CompactionLagMin:    milliseconds(r.number("min.compaction.lag.ms")),
		CompactionLagMax:    milliseconds(r.number("max.compaction.lag.ms")),
		DirtyRatioMin:       r.value("min.cleanable.dirty.ratio").(float64),
		FileDeleteDelay:     milliseconds(r.number("file.delete.delay.ms")),
		FlushMessages:       r.number("flush.messages"),
		FlushInterval:       milliseconds(r.number("flush.ms")),
		IndexIntervalBytes:  int(r.number("index.interval.bytes")),
		MessageBytesMax:     int(r.number("max.message.bytes")),
		TimestampAfterMax:   milliseconds(r.number("message.timestamp.after.max.ms")),
		TimestampBeforeMax:  milliseconds(r.number("message.timestamp.before.max.ms")),
		LogAppendTime:       r.text("message.timestamp.type") == "LogAppendTime",
		MinInSyncReplicas:   int(r.number("min.insync.replicas")),
		RetentionBytes:      r.number("retention.bytes"),
		Retention:           milliseconds(retention),
		SegmentBytes:        int(r.number("segment.bytes")),
		SegmentIndexBytes:   int(r.number("segment.index.bytes")),
		SegmentJitter:       milliseconds(r.number("segment.jitter.ms")),
		SegmentInterval:     milliseconds(r.number("segment.ms")),
		PageCacheDurability: r.text("spate.ack.durability") == "page-cache",
	}
	return t, nil
}

// ValidateTopic checks the overrides that a topic is to have. The error names the key and what is allowed; of several
// it is the first by name.
func ValidateTopic(overrides map[string]string) error {
	if err := TopicScope.validate(overrides); err != nil {
		return err
	}
	r := resolver{&Config{}, TopicScope, overrides}
	if shortest, longest := r.number("min.compaction.lag.ms"), r.number("max.compaction.lag.ms"); shortest > longest {
		return &Error{"max.compaction.lag.ms", strconv.FormatInt(longest, 10),
			conflict + "topic config setting min.compaction.lag.ms (" + strconv.FormatInt(shortest, 10) +
				") > max.compaction.lag.ms (" + strconv.FormatInt(longest, 10) + ")"}
	}
	return nil
}

// validate checks overrides by themselves: their names, and then each value.
func (s Scope) validate(overrides map[string]string) error {
	names := slices.Sorted(maps.Keys(overrides))
	for _, name := range names { // Kafka, too, looks at all names before any value
		if Lookup(s, name) == nil {
			return unknownOverride(s, name)
		}
	}
	for _, name := range names {
		if _, err := Lookup(s, name).parse(overrides[name]); err != nil {
			return err
		}
	}
	return nil
}

// ListDefault gives the default of a key of the scope that holds a list, to which values can be added, and tells
// whether there is a key of that name.
func (s Scope) ListDefault(name string) (text string, isList, known bool) {
	k := Lookup(s, name)
	switch {
	case k == nil:
		return "", false, s == BrokerScope && kafkaKnows(name)
	case k.Type != List:
		return "", false, true
	}
	return k.Default, true, true
}

// UnknownKeyError is a name that is no key of the configuration of a topic or a group.
type UnknownKeyError struct {
	Scope Scope
	Name  string
	Later bool // Kafka has it, and this broker does not serve it yet
}

// Error is one line, in Kafka's words where Kafka would refuse too.
func (e *UnknownKeyError) Error() string {
	if e.Later {
		return e.Scope.title() + " config " + e.Name + " is not served yet"
	}
	return "Unknown " + e.Scope.String() + " config name: " + e.Name
}

// unknownOverride is the refusal of a key that the scope does not have.
func unknownOverride(scope Scope, name string) error {
	later := laterTopicKeys
	if scope == GroupScope {
		later = laterGroupKeys
	}
	_, found := slices.BinarySearch(later, name)
	return &UnknownKeyError{Scope: scope, Name: name, Later: found}
}

// resolver looks keys of a topic or a group up in the overrides, then in the broker's synonyms, then in the table.
type resolver struct {
	config    *Config
	scope     Scope
	overrides map[string]string
}

// value is the parsed value in force of a key. The overrides have been validated.
func (r resolver) value(name string) any {
	k := Lookup(r.scope, name)
	if text, ok := r.overrides[name]; ok {
		value, reason := parseType(k.Type, strings.TrimSpace(text))
		if reason == "" {
			return value
		}
	}
	return r.config.inherited(k)
}

// inherited is the value of a key that the topic or group does not override: that of the strongest synonym which has a
// value, in the key's own unit.
func (c *Config) inherited(k *Key) any {
	for _, name := range k.Synonyms {
		if s := c.settings[name]; s.value != nil {
			return convert(name, s.value)
		}
	}
	return k.initial().value
}

// number is the value of a numeric key.
func (r resolver) number(name string) int64 { return r.value(name).(int64) }

// text is the value of a string key.
func (r resolver) text(name string) string { return r.value(name).(string) }

// list is the value of a list key.
func (r resolver) list(name string) []string { return r.value(name).([]string) }

// TopicDefaults is the settings of a topic that has none of its own. Two configurations in which they are equal are
// equal for every topic.
func (c *Config) TopicDefaults() Topic {
	t, err := c.Topic(nil)
	invariant.Check(err == nil, "no overrides cannot be wrong: %v", err)
	return t
}
