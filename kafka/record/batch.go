package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/crc32"

	"spate/kafka"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrTruncated says that the bytes end before the batch does: more of them might make it whole.
var ErrTruncated = errors.New("batch is cut short")

// Invalid is a batch that breaks a rule. It unwraps to the protocol error that a producer is answered with.
type Invalid struct {
	Err    error  // a *kafka.Error, or ErrTruncated together with one
	Reason string // a sentence for the client and the log
}

// Error gives the protocol error's name and the reason.
func (e *Invalid) Error() string { return e.Err.Error() + ": " + e.Reason }

// Unwrap gives the protocol error.
func (e *Invalid) Unwrap() error { return e.Err }

func invalid(err error, format string, args ...any) error {
	return &Invalid{Err: err, Reason: fmt.Sprintf(format, args...)}
}

var errTruncatedCorrupt = fmt.Errorf("%w: %w", kafka.CorruptMessage, ErrTruncated)

// Next splits the first batch off buf. It checks what a view needs, the length and the magic, and nothing else.
// Bytes that end inside the batch give ErrTruncated; any other error means that no batch begins here.
// Both are kafka.CorruptMessage, except for the formats that Kafka 4.0 dropped.
func Next(buf []byte) (b Batch, rest []byte, err error) {
	if len(buf) < LogOverhead {
		return nil, buf, invalid(errTruncatedCorrupt, "%d bytes are less than the %d before a batch",
			len(buf), LogOverhead)
	}
	length := int32(binary.BigEndian.Uint32(buf[lengthAt:]))
	if length < HeaderBytes-LogOverhead && (length < legacyLengthMin || len(buf) > magicAt) {
		return nil, buf, badLength(buf, length)
	}
	if len(buf) > magicAt && buf[magicAt] != Magic {
		return nil, buf, badMagic(int8(buf[magicAt]))
	}
	if int64(len(buf)) < LogOverhead+int64(length) {
		return nil, buf, invalid(errTruncatedCorrupt, "%d of %d bytes are here", len(buf), LogOverhead+int64(length))
	}
	size := LogOverhead + int(length)
	return Batch(buf[:size:size]), buf[size:], nil
}

func badLength(buf []byte, length int32) error {
	// A batch of magic 0 or 1 may be shorter than a header of magic 2: say what is really wrong with it.
	if len(buf) > magicAt && buf[magicAt] < Magic && length >= legacyLengthMin {
		return badMagic(int8(buf[magicAt]))
	}
	return invalid(kafka.CorruptMessage, "length %d is less than the %d of an empty batch",
		length, HeaderBytes-LogOverhead)
}

// legacyLengthMin is the length of an empty message of magic 0: crc, magic, attributes, key and value sizes.
const legacyLengthMin = 14

func badMagic(magic int8) error {
	if magic == 0 || magic == 1 {
		return invalid(kafka.InvalidRecord, "only batches of magic %d are allowed, this one has magic %d", Magic, magic)
	}
	return invalid(kafka.CorruptMessage, "no format has magic %d", magic)
}

// SetBaseOffset writes the offset of the first record. The checksum does not cover it.
func (b Batch) SetBaseOffset(o kafka.Offset) { binary.BigEndian.PutUint64(b[baseOffsetAt:], uint64(o)) }

// SetLeaderEpoch writes the appending leader's epoch. The checksum does not cover it.
func (b Batch) SetLeaderEpoch(e kafka.LeaderEpoch) {
	binary.BigEndian.PutUint32(b[leaderEpochAt:], uint32(e))
}

// SetMaxTimestamp writes the timestamp type and the largest timestamp, and a new checksum if that changed anything.
func (b Batch) SetMaxTimestamp(t TimestampType, ts kafka.Timestamp) {
	if b.TimestampType() == t && b.MaxTimestamp() == ts {
		return
	}
	a := b.Attributes() &^ logAppendTimeBit
	if t == LogAppendTime {
		a |= logAppendTimeBit
	}
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(a))
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(ts))
	b.UpdateCRC()
}

// ComputeCRC is the checksum that the bytes ought to carry.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[attributesAt:], castagnoli) }

// UpdateCRC makes the stored checksum fit the bytes.
func (b Batch) UpdateCRC() { binary.BigEndian.PutUint32(b[crcAt:], b.ComputeCRC()) }

// CheckCRC is nil if the stored checksum fits the bytes, else kafka.CorruptMessage.
func (b Batch) CheckCRC() error {
	if got := b.ComputeCRC(); got != b.CRC() {
		return invalid(kafka.CorruptMessage, "record is corrupt (stored crc = %d, computed crc = %d)", b.CRC(), got)
	}
	return nil
}
