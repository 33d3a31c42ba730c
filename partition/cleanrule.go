package partition

import (
	"math"
	"time"

	"spate/kafka"
)

// cleanRule is what decides how much of a log is to be compacted at one moment.
type cleanRule struct {
	now        kafka.Timestamp
	lagMin     time.Duration // min.compaction.lag.ms: newer records stay as they are
	lagMax     time.Duration // max.compaction.lag.ms: older ones are compacted whatever the ratio; Forever for never
	ratioMin   float64       // min.cleanable.dirty.ratio
	checkpoint kafka.Offset  // where the last cleaning ended, or NoOffset
	logStart   kafka.Offset
	logEnd     kafka.Offset
	// limit is what no cleaning passes: the last stable offset, what is flushed, and the active segment.
	limit kafka.Offset
}

// cleanView is what a cleaning looks at in a segment.
type cleanView struct {
	segmentView
	firstTimestamp kafka.Timestamp // of the first batch
	indexBytes     int64           // of the larger index
}

// cleanable is what there is to clean.
type cleanable struct {
	from, to kafka.Offset // the records that no cleaning has seen; to is where a segment begins
	ratio    float64      // of their bytes to those of all that was and will be cleaned
	overdue  bool         // they are older than max.compaction.lag.ms
	wanted   bool         // the ratio is high enough, or they are overdue
	reset    bool         // the checkpoint does not fit the log
}

// judge looks at the segments of a log, the active one last.
func (r *cleanRule) judge(segments []cleanView) cleanable {
	c := cleanable{from: r.checkpoint}
	if r.checkpoint < r.logStart || r.checkpoint > r.logEnd {
		c.from, c.reset = r.logStart, r.checkpoint != kafka.NoOffset
	}
	c.to = c.from
	var clean, dirty int64
	for i := range segments[:len(segments)-1] {
		s := &segments[i]
		if s.base < c.from {
			clean += s.bytes
		}
		if s.end <= c.from {
			continue
		}
		if s.end > r.limit || r.tooNew(s) {
			break
		}
		c.to = s.end
		dirty += s.bytes
		c.overdue = c.overdue || r.late(s)
	}
	if dirty > 0 {
		c.ratio = float64(dirty) / float64(clean+dirty)
		c.wanted = c.overdue || c.ratio > r.ratioMin
	}
	return c
}

func (r *cleanRule) tooNew(s *cleanView) bool {
	return r.lagMin > 0 && (r.lagMin == Forever || int64(s.maxTimestamp) > int64(r.now)-r.lagMin.Milliseconds())
}

func (r *cleanRule) late(s *cleanView) bool {
	return r.lagMax != Forever && s.firstTimestamp > 0 &&
		int64(s.firstTimestamp) < int64(r.now)-r.lagMax.Milliseconds()
}

// groupSegments puts neighbours together, as many as one segment may hold, and gives how many there are in each group.
func groupSegments(segments []cleanView, bytesMax, indexBytesMax int64) []int {
	var groups []int
	for i := 0; i < len(segments); {
		first := &segments[i]
		n, bytes, indexBytes := 1, first.bytes, first.indexBytes
		for ; i+n < len(segments); n++ {
			s := &segments[i+n]
			bytes += s.bytes
			indexBytes += s.indexBytes
			if bytes > bytesMax || indexBytes > indexBytesMax || s.end-1-first.base > math.MaxInt32 {
				break
			}
		}
		groups = append(groups, n)
		i += n
	}
	return groups
}
