package segment

import (
	"spate/index"
	"spate/kafka"
	"spate/kafka/record"
)

// tally follows the batches of a segment in order and knows what becomes an index entry. Appends, recovery and
// rebuilding all use it, so that they make the same indexes. The rules are Kafka's: a batch that begins more than the
// interval behind the last entry gets an offset entry, and with it goes a time entry if the largest timestamp has
// grown since.
type tally struct {
	base     kafka.Offset
	interval int64
	offsets  *index.Buffer
	times    *index.Buffer

	indexed int64           // position of the last offset entry, 0 before the first
	entered kafka.Timestamp // of the last time entry
	first   kafka.Timestamp // the largest of the first batch
	newest  kafka.Timestamp // the largest of all
	at      kafka.Offset    // last offset of the batch that brought it
}

func newTally(base kafka.Offset, interval int) tally {
	return tally{
		base: base, interval: int64(interval), offsets: &index.Buffer{}, times: &index.Buffer{},
		entered: kafka.NoTimestamp, first: kafka.NoTimestamp, newest: kafka.NoTimestamp, at: base,
	}
}

// add counts the batch that begins at position. Its offsets fit the segment.
func (t *tally) add(b record.Batch, position int64) {
	ts, last := b.MaxTimestamp(), b.LastOffset()
	if position == 0 {
		t.first = ts
	}
	if ts > t.newest {
		t.newest, t.at = ts, last
	}
	if position-t.indexed > t.interval {
		t.offsets.AppendOffset(index.OffsetEntry{Relative: int32(last - t.base), Position: int32(position)})
		t.indexed = position
		t.enterTime()
	}
}

// enterTime makes a time entry for the largest timestamp, unless there is one. Sealing calls it too: the last entry
// of a sealed segment is the largest of all.
func (t *tally) enterTime() {
	if t.newest > t.entered {
		t.times.AppendTime(index.TimeEntry{Timestamp: t.newest, Relative: int32(t.at - t.base)})
		t.entered = t.newest
	}
}

// resume goes on from the entries of indexes that were made by a tally. The next batch to add is the one that the last
// offset entry points to, or the first.
func (t *tally) resume(offsets index.Offsets, times index.Times) {
	t.offsets, t.times = index.NewBuffer(offsets), index.NewBuffer(times)
	if n := offsets.Len(); n > 0 {
		t.indexed = int64(offsets.At(n - 1).Position)
	}
	if n := times.Len(); n > 0 {
		e := times.At(n - 1)
		t.entered, t.newest, t.at = e.Timestamp, e.Timestamp, t.base+kafka.Offset(e.Relative)
	}
}
