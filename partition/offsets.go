package partition

import (
	"spate/kafka"
	"spate/segment"
)

// TimestampOffset is the answer to a look-up by time: a record's timestamp and offset, and the leader epoch it was
// written in. Offset is NoOffset when no record was found.
type TimestampOffset = segment.TimestampOffset

var noOffset = TimestampOffset{Timestamp: kafka.NoTimestamp, Offset: kafka.NoOffset, LeaderEpoch: kafka.NoLeaderEpoch}

// OffsetForTimestamp finds the first record whose timestamp is ts or later (ListOffsets with a time). It may read cold
// pages: not for event loops.
func (l *Log) OffsetForTimestamp(ts kafka.Timestamp) (TimestampOffset, error) {
	if err := l.dir.offline(); err != nil {
		return noOffset, err
	}
	for {
		list := *l.segments.Load()
		found, err := l.offsetForTimestamp(list, ts)
		if l.replaced(list, err) {
			continue
		}
		if err != nil {
			return noOffset, l.readError(err)
		}
		return found, nil
	}
}

func (l *Log) offsetForTimestamp(list []*segment.Segment, ts kafka.Timestamp) (TimestampOffset, error) {
	from := l.logStart.load()
	for _, s := range list[find(list, from):] {
		if newest, _ := s.MaxTimestamp(); newest < ts {
			continue
		}
		found, ok, err := s.OffsetForTimestamp(ts, from)
		if err != nil {
			return noOffset, err
		}
		if ok && found.Offset < l.logEnd.load() {
			return found, nil
		}
	}
	return noOffset, nil
}

// EarliestOffset is the log start offset and its leader epoch (ListOffsets -2); the timestamp is NoTimestamp.
func (l *Log) EarliestOffset() TimestampOffset {
	start := l.logStart.load()
	return TimestampOffset{Timestamp: kafka.NoTimestamp, Offset: start, LeaderEpoch: l.epochs.Load().at(start)}
}

// LatestOffset is end, one of the log's end offsets, with the newest leader epoch (ListOffsets -1).
func (l *Log) LatestOffset(end kafka.Offset) TimestampOffset {
	return TimestampOffset{Timestamp: kafka.NoTimestamp, Offset: end, LeaderEpoch: l.LatestEpoch()}
}

// MaxTimestampOffset finds the first record with the largest timestamp (ListOffsets -3).
func (l *Log) MaxTimestampOffset() (TimestampOffset, error) {
	if err := l.dir.offline(); err != nil {
		return noOffset, err
	}
	for {
		list := *l.segments.Load()
		found, ok, err := newest(list).OffsetOfMaxTimestamp()
		if l.replaced(list, err) {
			continue
		}
		if err != nil {
			return noOffset, l.readError(err)
		}
		if !ok || found.Timestamp == kafka.NoTimestamp {
			return noOffset, nil
		}
		return found, nil
	}
}

// newest is the first of the segments that holds the largest timestamp of all.
func newest(list []*segment.Segment) *segment.Segment {
	best := list[0]
	largest, _ := best.MaxTimestamp()
	for _, s := range list[1:] {
		if ts, _ := s.MaxTimestamp(); ts > largest {
			best, largest = s, ts
		}
	}
	return best
}

// EpochEndOffset answers OffsetForLeaderEpoch (KIP-101): the largest epoch known that is not above epoch, and the
// offset at which the next epoch began, or the log end offset for the newest. Both are undefined (-1) where epoch is
// newer than all, or nothing is known.
func (l *Log) EpochEndOffset(epoch kafka.LeaderEpoch) (kafka.LeaderEpoch, kafka.Offset) {
	return l.epochs.Load().endOffset(epoch, l.logEnd.load())
}

// LatestEpoch is the leader epoch of the newest entry of the epoch cache, or NoLeaderEpoch.
func (l *Log) LatestEpoch() kafka.LeaderEpoch { return l.epochs.Load().latest() }

// EpochForOffset is the leader epoch in which the record at offset was written, or NoLeaderEpoch.
func (l *Log) EpochForOffset(offset kafka.Offset) kafka.LeaderEpoch {
	return l.epochs.Load().at(offset)
}

// AssignEpoch notes that epoch began at the log end offset: a new leader calls it before its first append.
func (l *Log) AssignEpoch(epoch kafka.LeaderEpoch) {
	l.append.Lock()
	l.noteEpochLocked(epoch, l.logEnd.load())
	l.append.Unlock()
}

// setEpochsLocked publishes a new epoch cache, whose entry at from is not in the epoch file yet. It is written once a
// record past from is on the disk: before that recovery has nothing to say of its epoch, and of 10,000 logs that get a
// leader at a start few get a record soon.
func (l *Log) setEpochsLocked(c epochCache, from kafka.Offset) {
	l.epochs.Store(&c)
	if unsaved := l.unsavedEpochs.load(); unsaved == kafka.NoOffset || from < unsaved {
		l.unsavedEpochs.store(from)
	}
	l.saveEpochsBelow(l.flushed.load())
}

// saveEpochsBelow has the epoch file written if it lacks an epoch that began below flushed.
func (l *Log) saveEpochsBelow(flushed kafka.Offset) {
	if unsaved := l.unsavedEpochs.load(); unsaved != kafka.NoOffset && unsaved < flushed {
		l.dir.wantSave(l)
	}
}
