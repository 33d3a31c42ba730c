package partition

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strconv"

	"spate/kafka"
)

// epochEntry says that leader epoch epoch began at startOffset.
type epochEntry struct {
	epoch       kafka.LeaderEpoch
	startOffset kafka.Offset
}

// epochCache is the leader epochs of a log, oldest first: epochs rise strictly, start offsets rise. It is immutable:
// every change gives a new one, so that readers on any goroutine need no lock.
type epochCache []epochEntry

// assign notes that epoch began at start. Entries which contradict it, of the same or a newer epoch or at the same or a
// later offset, go: the log was truncated below them. changed is false where the cache already says so.
func (c epochCache) assign(epoch kafka.LeaderEpoch, start kafka.Offset) (next epochCache, changed bool) {
	if epoch < 0 || start < 0 || !c.needs(epoch, start) {
		return c, false
	}
	keep := len(c)
	for keep > 0 && (c[keep-1].epoch >= epoch || c[keep-1].startOffset >= start) {
		keep--
	}
	next = make(epochCache, 0, keep+1)
	next = append(next, c[:keep]...)
	return append(next, epochEntry{epoch, start}), true
}

// needs says whether assign would change anything; the append path asks it for every batch.
func (c epochCache) needs(epoch kafka.LeaderEpoch, start kafka.Offset) bool {
	if len(c) == 0 {
		return true
	}
	last := c[len(c)-1]
	return epoch != last.epoch || start < last.startOffset
}

// latest is the newest epoch, or NoLeaderEpoch.
func (c epochCache) latest() kafka.LeaderEpoch {
	if len(c) == 0 {
		return kafka.NoLeaderEpoch
	}
	return c[len(c)-1].epoch
}

// at is the epoch in which offset was written, or NoLeaderEpoch for an offset before the first entry.
func (c epochCache) at(offset kafka.Offset) kafka.LeaderEpoch {
	after := sort.Search(len(c), func(i int) bool { return c[i].startOffset > offset })
	if after == 0 {
		return kafka.NoLeaderEpoch
	}
	return c[after-1].epoch
}

// endOffset is where the largest epoch that is not above epoch ended (KIP-101).
func (c epochCache) endOffset(epoch kafka.LeaderEpoch, logEnd kafka.Offset) (kafka.LeaderEpoch, kafka.Offset) {
	if epoch == kafka.NoLeaderEpoch || len(c) == 0 {
		return kafka.NoLeaderEpoch, kafka.NoOffset
	}
	if epoch == c.latest() {
		return epoch, logEnd
	}
	higher := sort.Search(len(c), func(i int) bool { return c[i].epoch > epoch })
	switch {
	case higher == len(c): // newer than all that is known
		return kafka.NoLeaderEpoch, kafka.NoOffset
	case higher == 0: // older than all: it ended before the first known epoch began
		return epoch, c[0].startOffset
	default:
		return c[higher-1].epoch, c[higher].startOffset
	}
}

// truncateEnd drops the entries that begin at or past end.
func (c epochCache) truncateEnd(end kafka.Offset) epochCache {
	keep := sort.Search(len(c), func(i int) bool { return c[i].startOffset >= end })
	return slices.Clone(c[:keep])
}

// truncateStart drops what lies before start: the epoch that start is in begins there from now on.
func (c epochCache) truncateStart(start kafka.Offset) epochCache {
	after := sort.Search(len(c), func(i int) bool { return c[i].startOffset > start })
	if after == 0 {
		return c
	}
	next := slices.Clone(c[after-1:])
	next[0].startOffset = start
	return next
}

// appendTo writes leader-epoch-checkpoint: version 0, the number of entries, and "epoch offset" lines.
func (c epochCache) appendTo(dst []byte) []byte {
	dst = appendCheckpointHead(dst, len(c))
	for _, e := range c {
		dst = strconv.AppendInt(dst, int64(e.epoch), 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(e.startOffset), 10)
		dst = append(dst, '\n')
	}
	return dst
}

// parseEpochs reads what appendTo writes.
func parseEpochs(text []byte) (epochCache, error) {
	var c epochCache
	err := parseCheckpoint(text, func(line []byte) error {
		first, second, found := bytes.Cut(line, []byte(" "))
		epoch, err := parseInt(first, 32)
		if err != nil || !found || epoch < 0 {
			return fmt.Errorf("%q does not begin with an epoch", line)
		}
		start, err := parseInt(second, 64)
		if err != nil || start < 0 {
			return fmt.Errorf("%q does not end with an offset", line)
		}
		e := epochEntry{kafka.LeaderEpoch(epoch), kafka.Offset(start)}
		if n := len(c); n > 0 && (c[n-1].epoch >= e.epoch || c[n-1].startOffset > e.startOffset) {
			return fmt.Errorf("%q does not follow epoch %d at %d", line, c[n-1].epoch, c[n-1].startOffset)
		}
		c = append(c, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}
