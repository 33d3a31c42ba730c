package partition

import (
	"time"

	"spate/kafka"
)

// segmentView is what retention looks at.
type segmentView struct {
	base, end    kafka.Offset // end is the next segment's base offset, or the log end offset
	bytes        int64
	maxTimestamp kafka.Timestamp // of the records, or the file's time where they have none
}

// retentionRule is what a log is held to at one moment.
type retentionRule struct {
	now           kafka.Timestamp
	age           time.Duration // Forever for no limit; looked at only if the topic's policy is to delete
	bytes         int64         // negative for no limit
	logStart      kafka.Offset
	highWatermark kafka.Offset // nothing past it goes
}

// expired gives how many segments, counted from the oldest, are to be deleted. Each goes for one of Kafka's reasons: it
// ends at or below the log start offset; its newest record is older than the age; or the log without it still holds the
// bytes that retention asks for. An empty last segment always stays; one with records may go with the rest.
func (r retentionRule) expired(segments []segmentView) int {
	total := int64(0)
	for _, s := range segments {
		total += s.bytes
	}
	for i, s := range segments {
		last := i == len(segments)-1
		if s.end > r.highWatermark || last && s.bytes == 0 {
			return i
		}
		deleted := !last && s.end <= r.logStart ||
			r.tooOld(s) ||
			r.bytes >= 0 && total-s.bytes >= r.bytes
		if !deleted {
			return i
		}
		total -= s.bytes
	}
	return len(segments)
}

// tooOld compares in milliseconds, as the settings and the timestamps are. A timestamp in the future never expires.
func (r retentionRule) tooOld(s segmentView) bool {
	return r.age != Forever && s.maxTimestamp <= r.now && int64(r.now)-int64(s.maxTimestamp) > r.age.Milliseconds()
}
