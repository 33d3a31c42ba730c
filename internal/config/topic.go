package config

import (
	"maps"
	"slices"
	"time"
)

// Topic is the settings of one topic: its own where it has them, else the broker's, else the defaults.
type Topic struct {
	CleanupDelete       bool          // false: segments are kept whatever their age and size
	Compression         string        // compression.type: producer, uncompressed, gzip, snappy, lz4 or zstd
	GzipLevel           int           // -1: the codec's default
	LZ4Level            int           // 1 to 17
	ZstdLevel           int           // -131072 to 22
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
	r := resolver{c, overrides}
	retention := r.number("retention.ms")
	t := Topic{
		CleanupDelete:       slices.Contains(r.list("cleanup.policy"), "delete"),
		Compression:         r.text("compression.type"),
		GzipLevel:           int(r.number("compression.gzip.level")),
		LZ4Level:            int(r.number("compression.lz4.level")),
		ZstdLevel:           int(r.number("compression.zstd.level")),
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

// ValidateTopic checks the overrides that a topic is created with. The error names the key and what is allowed; of
// several it is the first by name.
func ValidateTopic(overrides map[string]string) error {
	names := slices.Sorted(maps.Keys(overrides))
	for _, name := range names { // Kafka, too, looks at all names before any value
		if Lookup(TopicScope, name) == nil {
			return unknownTopicKey(name)
		}
	}
	for _, name := range names {
		if _, err := Lookup(TopicScope, name).parse(overrides[name]); err != nil {
			return err
		}
	}
	return nil
}

// UnknownKeyError is a name that is no key of a topic's configuration.
type UnknownKeyError struct {
	Name  string
	Later bool // Kafka has it, and this broker does not serve it yet
}

// Error is one line, in Kafka's words where Kafka would refuse too.
func (e *UnknownKeyError) Error() string {
	if e.Later {
		return "Topic config " + e.Name + " is not served yet"
	}
	return "Unknown topic config name: " + e.Name
}

// unknownTopicKey is the refusal of a key that topics do not have.
func unknownTopicKey(name string) error {
	_, later := slices.BinarySearch(laterTopicKeys, name)
	return &UnknownKeyError{Name: name, Later: later}
}

// resolver looks topic keys up in the overrides, then in the broker's synonyms, then in the table.
type resolver struct {
	config    *Config
	overrides map[string]string
}

// value is the parsed value in force of a topic key. The overrides have been validated.
func (r resolver) value(name string) any {
	k := Lookup(TopicScope, name)
	if text, ok := r.overrides[name]; ok {
		value, err := k.parse(text)
		if err == nil {
			return value
		}
	}
	return r.config.topicDefault(k)
}

// topicDefault is the value of a topic key that the topic does not override: that of the strongest synonym which has
// a value, in the topic key's unit.
func (c *Config) topicDefault(k *Key) any {
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
