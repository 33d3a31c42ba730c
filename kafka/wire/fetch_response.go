package wire

import "spate/kafka"

// FetchResponseHead is what stands before the topics of a Fetch response.
type FetchResponseHead struct {
	CorrelationID int32
	ThrottleMs    int32
	ErrorCode     int16 // from version 7 on
	SessionID     int32 // from version 7 on
	TopicCount    int
}

// FetchPartitionResult is what a Fetch response says of one partition, its records apart.
type FetchPartitionResult struct {
	Index                kafka.PartitionIndex
	ErrorCode            int16
	HighWatermark        kafka.Offset
	LastStableOffset     kafka.Offset
	LogStartOffset       kafka.Offset         // from version 5 on
	Aborted              []AbortedTransaction // nil for null: the reader does not ask for committed records only
	PreferredReadReplica kafka.BrokerID       // from version 11 on; NoBroker for none
	DivergingEpoch       EpochEndOffset       // from version 12 on, for followers
	Leader               CurrentLeader        // from version 12 on
	SnapshotID           EpochEndOffset       // from version 12 on, for followers of the metadata log
}

// AbortedTransaction tells a reader of committed records which ones of a producer to drop.
type AbortedTransaction struct {
	ProducerID  kafka.ProducerID
	FirstOffset kafka.Offset
}

// EpochEndOffset is the end of a leader epoch. The zero value says nothing.
type EpochEndOffset struct {
	Known     bool
	Epoch     kafka.LeaderEpoch
	EndOffset kafka.Offset
}

// NullRecords, as the recordsBytes of a partition, makes its records null rather than empty.
const NullRecords = -1

// FetchResponseEncoder writes the frame of a Fetch response around records that it does not hold: Begin, then for each
// topic Topic, for each of its partitions Partition and EndPartition, then EndTopic, and at last End. The records of a
// partition belong where Len stands between Partition and EndPartition. The counts are given beforehand, and must hold.
type FetchResponseEncoder struct {
	buf          []byte
	start        int // where the frame begins in buf
	version      int16
	flexible     bool
	recordsBytes int // of all partitions so far; not in buf

	diverging, snapshot EpochEndOffset // of the open partition: they follow its records
	leader              CurrentLeader
}

// Begin opens the frame at the end of dst.
func (e *FetchResponseEncoder) Begin(dst []byte, version int16, h FetchResponseHead) {
	*e = FetchResponseEncoder{start: len(dst), version: version, flexible: version >= Served[1].Flexible}
	dst = BeginFrame(dst, KeyFetch, version, h.CorrelationID)
	dst = appendInt32(dst, h.ThrottleMs)
	if version >= 7 {
		dst = appendInt16(dst, h.ErrorCode)
		dst = appendInt32(dst, h.SessionID)
	}
	e.buf = appendLength(dst, e.flexible, h.TopicCount)
}

// Len is the length of the buffer so far, with what it held before Begin and without records.
func (e *FetchResponseEncoder) Len() int { return len(e.buf) }

// Topic opens a topic: by its name before version 13, by its id from there on.
func (e *FetchResponseEncoder) Topic(name []byte, id kafka.UUID, partitionCount int) {
	if e.version >= fetchIDVersion {
		e.buf = append(e.buf, id[:]...)
	} else {
		e.buf = appendString(e.buf, e.flexible, name)
	}
	e.buf = appendLength(e.buf, e.flexible, partitionCount)
}

// Partition writes a partition up to the place of its records, of which there will be recordsBytes bytes.
func (e *FetchResponseEncoder) Partition(p *FetchPartitionResult, recordsBytes int) {
	b := appendInt32(e.buf, int32(p.Index))
	b = appendInt16(b, p.ErrorCode)
	b = appendInt64(b, int64(p.HighWatermark))
	b = appendInt64(b, int64(p.LastStableOffset))
	if e.version >= 5 {
		b = appendInt64(b, int64(p.LogStartOffset))
	}
	if p.Aborted == nil {
		b = appendLength(b, e.flexible, lengthNull)
	} else {
		b = appendLength(b, e.flexible, len(p.Aborted))
	}
	for i := range p.Aborted {
		b = appendInt64(b, int64(p.Aborted[i].ProducerID))
		b = appendInt64(b, int64(p.Aborted[i].FirstOffset))
		b = appendTags(b, e.flexible, 0)
	}
	if e.version >= 11 {
		b = appendInt32(b, int32(p.PreferredReadReplica))
	}
	e.buf = appendLength(b, e.flexible, recordsBytes)
	e.recordsBytes += max(recordsBytes, 0)
	e.diverging, e.leader, e.snapshot = p.DivergingEpoch, p.Leader, p.SnapshotID
}

// EndPartition writes what follows the records of the partition that is open.
func (e *FetchResponseEncoder) EndPartition() {
	if !e.flexible {
		return
	}
	b := append(e.buf, countTrue(e.diverging.Known, e.leader.Known, e.snapshot.Known))
	if e.diverging.Known {
		b = append(b, 0, 4+8+1)
		b = appendInt32(b, int32(e.diverging.Epoch))
		b = appendInt64(b, int64(e.diverging.EndOffset))
		b = append(b, 0)
	}
	if e.leader.Known {
		b = appendCurrentLeader(b, 1, e.leader)
	}
	if e.snapshot.Known {
		b = append(b, 2, 8+4+1)
		b = appendInt64(b, int64(e.snapshot.EndOffset))
		b = appendInt32(b, int32(e.snapshot.Epoch))
		b = append(b, 0)
	}
	e.buf = b
}

func countTrue(values ...bool) (n byte) {
	for _, v := range values {
		if v {
			n++
		}
	}
	return n
}

// EndTopic closes the topic that is open.
func (e *FetchResponseEncoder) EndTopic() { e.buf = appendTags(e.buf, e.flexible, 0) }

// End closes the frame, with the addresses of the leaders that the partitions name, and gives the buffer. The size
// prefix counts the records that belong between its pieces.
func (e *FetchResponseEncoder) End(endpoints []NodeEndpoint) []byte {
	if e.version >= 16 && len(endpoints) > 0 {
		e.buf = appendTags(e.buf, e.flexible, 1)
		e.buf = appendEndpoints(e.buf, endpoints)
	} else {
		e.buf = appendTags(e.buf, e.flexible, 0)
	}
	return EndFrame(e.buf, e.start, e.recordsBytes)
}

// RecordsBytes is the length of the records of all partitions so far.
func (e *FetchResponseEncoder) RecordsBytes() int { return e.recordsBytes }
