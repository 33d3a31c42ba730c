package partition

import (
	"math"
	"time"

	"spate/kafka/record"
)

// Durability says when an acknowledgement counts a replica's copy; the replica layer acts on it.
type Durability uint8

// The values of spate.ack.durability.
const (
	DurabilityFlush     Durability = iota // the record is on the disk
	DurabilityPageCache                   // the record is in the page cache, Kafka's rule
)

// Forever as a duration switches a time limit off.
const Forever = record.NoBound

// Millis turns a setting in milliseconds into a duration: negative values and those too large for a duration mean
// Forever.
func Millis(ms int64) time.Duration {
	if ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return Forever
	}
	return time.Duration(ms) * time.Millisecond
}

// Config is the resolved settings of one topic, as its logs use them. A Log holds one immutable Config at a time.
type Config struct {
	SegmentBytes       int64         // segment.bytes
	SegmentAge         time.Duration // segment.ms, by record timestamps
	SegmentJitter      time.Duration // segment.jitter.ms: up to so much earlier, drawn once per segment
	IndexBytesMax      int           // segment.index.bytes
	IndexIntervalBytes int           // index.interval.bytes

	Delete         bool          // cleanup.policy contains delete
	Compact        bool          // cleanup.policy contains compact
	RetentionBytes int64         // retention.bytes, -1 for no limit
	RetentionAge   time.Duration // retention.ms, Forever for no limit

	DeleteRetention  time.Duration // delete.retention.ms: how long a tombstone stays once compaction has seen it
	CompactionLagMin time.Duration // min.compaction.lag.ms
	CompactionLagMax time.Duration // max.compaction.lag.ms, Forever for no limit
	DirtyRatioMin    float64       // min.cleanable.dirty.ratio

	FileDeleteDelay time.Duration // file.delete.delay.ms

	FlushRecords  int64         // flush.messages: flush once so many records are not flushed
	FlushInterval time.Duration // flush.ms: flush records that have waited so long
	Durability    Durability    // spate.ack.durability

	BatchBytesMax      int                  // max.message.bytes
	TimestampType      record.TimestampType // message.timestamp.type
	TimestampBeforeMax time.Duration        // message.timestamp.before.max.ms, Forever for no limit
	TimestampAfterMax  time.Duration        // message.timestamp.after.max.ms, Forever for no limit
	Compression        record.Compression   // compression.type and its level
}

// DefaultConfig is Kafka's defaults for every setting.
func DefaultConfig() Config {
	return Config{
		SegmentBytes:       1 << 30,
		SegmentAge:         7 * 24 * time.Hour,
		IndexBytesMax:      10 << 20,
		IndexIntervalBytes: 4096,
		Delete:             true,
		RetentionBytes:     -1,
		RetentionAge:       7 * 24 * time.Hour,
		DeleteRetention:    24 * time.Hour,
		CompactionLagMax:   Forever,
		DirtyRatioMin:      0.5,
		FileDeleteDelay:    time.Minute,
		FlushRecords:       math.MaxInt64,
		FlushInterval:      Forever,
		BatchBytesMax:      1048588,
		TimestampBeforeMax: Forever,
		TimestampAfterMax:  time.Hour,
	}
}
