package record

import (
	"encoding/binary"

	"spate/kafka"
)

// The layout of a batch, big endian. The checksum covers everything from the attributes to the end.
//
//	 0 base offset            int64
//	 8 length                 int32   of what follows this field
//	12 partition leader epoch int32
//	16 magic                  int8    2
//	17 crc                    uint32  CRC-32C
//	21 attributes             int16   bits 0–2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon
//	23 last offset delta      int32
//	27 base timestamp         int64   or the delete horizon
//	35 max timestamp          int64
//	43 producer id            int64
//	51 producer epoch         int16
//	53 base sequence          int32
//	57 count                  int32
//	61 records, compressed as one piece when the codec says so
const (
	baseOffsetAt      = 0
	lengthAt          = 8
	leaderEpochAt     = 12
	magicAt           = 16
	crcAt             = 17
	attributesAt      = 21
	lastOffsetDeltaAt = 23
	baseTimestampAt   = 27
	maxTimestampAt    = 35
	producerIDAt      = 43
	producerEpochAt   = 51
	baseSequenceAt    = 53
	countAt           = 57

	// LogOverhead is what precedes the bytes that the length field counts.
	LogOverhead = 12
	// HeaderBytes is the size of a batch without records.
	HeaderBytes = 61
	// Magic is the only format version that exists on disk and on the wire since Kafka 4.0.
	Magic = 2
)

// Attributes are the flags of a batch.
type Attributes int16

// The bits of Attributes.
const (
	codecMask         Attributes = 0x07
	logAppendTimeBit  Attributes = 0x08
	transactionalBit  Attributes = 0x10
	controlBit        Attributes = 0x20
	deleteHorizonBit  Attributes = 0x40
	knownAttributeSet            = codecMask | logAppendTimeBit | transactionalBit | controlBit | deleteHorizonBit
)

// TimestampType says who sets the timestamps of a topic's records.
type TimestampType int8

// The values of message.timestamp.type.
const (
	CreateTime    TimestampType = iota // the producer, record by record
	LogAppendTime                      // the broker, one for the batch
)

// String gives the config value.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

// Batch is a view over the bytes of exactly one batch: at least HeaderBytes of them, and as many as its length field
// says. Next makes one; the getters rely on it.
type Batch []byte

// BaseOffset is the offset of the first record, as the log assigned it; a producer sends 0.
func (b Batch) BaseOffset() kafka.Offset {
	return kafka.Offset(binary.BigEndian.Uint64(b[baseOffsetAt:]))
}

// Length is the length field: the size of the batch without LogOverhead.
func (b Batch) Length() int32 { return int32(binary.BigEndian.Uint32(b[lengthAt:])) }

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() kafka.LeaderEpoch {
	return kafka.LeaderEpoch(binary.BigEndian.Uint32(b[leaderEpochAt:]))
}

// Magic is the format version.
func (b Batch) Magic() int8 { return int8(b[magicAt]) }

// CRC is the stored checksum; CheckCRC compares it with the bytes.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[crcAt:]) }

// Attributes are the flags as stored.
func (b Batch) Attributes() Attributes { return Attributes(binary.BigEndian.Uint16(b[attributesAt:])) }

// LastOffsetDelta is the distance from the first to the last offset; compaction keeps it when records go.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[lastOffsetDeltaAt:])) }

// BaseTimestamp is what the records' timestamp deltas count from, and in a batch with DeleteHorizon that horizon.
func (b Batch) BaseTimestamp() kafka.Timestamp {
	return kafka.Timestamp(binary.BigEndian.Uint64(b[baseTimestampAt:]))
}

// MaxTimestamp is the largest timestamp of the records, or the append time of all of them under LogAppendTime.
func (b Batch) MaxTimestamp() kafka.Timestamp {
	return kafka.Timestamp(binary.BigEndian.Uint64(b[maxTimestampAt:]))
}

// ProducerID is the idempotent producer that sent the batch, or kafka.NoProducerID.
func (b Batch) ProducerID() kafka.ProducerID {
	return kafka.ProducerID(binary.BigEndian.Uint64(b[producerIDAt:]))
}

// ProducerEpoch is the epoch of the producer id, or kafka.NoProducerEpoch.
func (b Batch) ProducerEpoch() kafka.ProducerEpoch {
	return kafka.ProducerEpoch(binary.BigEndian.Uint16(b[producerEpochAt:]))
}

// BaseSequence is the sequence of the first record, or kafka.NoSequence.
func (b Batch) BaseSequence() kafka.Sequence {
	return kafka.Sequence(binary.BigEndian.Uint32(b[baseSequenceAt:]))
}

// Count is the number of records that the batch claims to hold.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[countAt:])) }

// Payload is the records, compressed as the codec says.
func (b Batch) Payload() []byte { return b[HeaderBytes:] }

// LastOffset is the offset of the last record that the batch was made with.
func (b Batch) LastOffset() kafka.Offset { return b.BaseOffset() + kafka.Offset(b.LastOffsetDelta()) }

// NextOffset is the offset that follows the batch.
func (b Batch) NextOffset() kafka.Offset { return b.LastOffset() + 1 }

// LastSequence is the sequence of the last record, or kafka.NoSequence.
func (b Batch) LastSequence() kafka.Sequence {
	base := b.BaseSequence()
	if base == kafka.NoSequence {
		return kafka.NoSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// NextSequence is the sequence that must follow the batch on its producer's next one, or kafka.NoSequence.
func (b Batch) NextSequence() kafka.Sequence {
	base := b.BaseSequence()
	if base == kafka.NoSequence {
		return kafka.NoSequence
	}
	return AddSequence(AddSequence(base, b.LastOffsetDelta()), 1)
}

// AddSequence counts n ≥ 0 on from s, wrapping from 2^31-1 to 0.
func AddSequence(s kafka.Sequence, n int32) kafka.Sequence {
	return kafka.Sequence((uint32(s) + uint32(n)) & 0x7fffffff)
}

// Codec is the compression of the records.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & codecMask) }

// TimestampType says whether MaxTimestamp is the append time of every record.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&logAppendTimeBit != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional says whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&transactionalBit != 0 }

// IsControl says whether the records are the broker's own: transaction markers and such.
func (b Batch) IsControl() bool { return b.Attributes()&controlBit != 0 }

// HasProducerID says whether an idempotent or transactional producer sent the batch.
func (b Batch) HasProducerID() bool { return b.ProducerID() > kafka.NoProducerID }

// DeleteHorizon is when compaction may drop the batch's tombstones and markers, if it was set.
func (b Batch) DeleteHorizon() (kafka.Timestamp, bool) {
	if b.Attributes()&deleteHorizonBit == 0 {
		return kafka.NoTimestamp, false
	}
	return b.BaseTimestamp(), true
}
