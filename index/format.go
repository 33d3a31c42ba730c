package index

import (
	"encoding/binary"

	"spate/kafka"
)

// The size of an entry in each file.
const (
	OffsetEntryBytes      = 4 + 4
	TimeEntryBytes        = 8 + 4
	TransactionEntryBytes = 2 + 8 + 8 + 8 + 8
)

// Kind is one of the three indexes.
type Kind struct {
	Suffix     string // of the file's name
	EntryBytes int
	Optional   bool // an index without entries has no file
}

// The kinds.
var (
	OffsetKind      = Kind{Suffix: ".index", EntryBytes: OffsetEntryBytes}
	TimeKind        = Kind{Suffix: ".timeindex", EntryBytes: TimeEntryBytes}
	TransactionKind = Kind{Suffix: ".txnindex", EntryBytes: TransactionEntryBytes, Optional: true}
)

// transactionVersion is the only version of a transaction index entry that Kafka ever wrote.
const transactionVersion = 0

// OffsetEntry says that the batch which ends with the offset base+Relative begins at Position.
//
//	0 relative offset int32
//	4 position        int32
type OffsetEntry struct {
	Relative int32
	Position int32
}

// TimeEntry says that Timestamp is the largest up to and including the batch which ends with the offset base+Relative.
//
//	0 timestamp       int64
//	8 relative offset int32
type TimeEntry struct {
	Timestamp kafka.Timestamp
	Relative  int32
}

// Transaction is an aborted transaction whose marker lies in the segment. A reader of committed records that begins
// below LastOffset leaves out what ProducerID wrote from FirstOffset on. LastStableOffset is that of the log once the
// marker was written: no transaction that overlaps with offsets below it has its marker in a later entry.
//
//	 0 version            int16, 0
//	 2 producer id        int64
//	10 first offset       int64
//	18 last offset        int64
//	26 last stable offset int64
type Transaction struct {
	ProducerID       kafka.ProducerID
	FirstOffset      kafka.Offset
	LastOffset       kafka.Offset
	LastStableOffset kafka.Offset
}

func decodeOffset(b []byte) OffsetEntry {
	return OffsetEntry{
		Relative: int32(binary.BigEndian.Uint32(b)),
		Position: int32(binary.BigEndian.Uint32(b[4:])),
	}
}

func (e OffsetEntry) encode(b []byte) {
	binary.BigEndian.PutUint32(b, uint32(e.Relative))
	binary.BigEndian.PutUint32(b[4:], uint32(e.Position))
}

func decodeTime(b []byte) TimeEntry {
	return TimeEntry{
		Timestamp: kafka.Timestamp(binary.BigEndian.Uint64(b)),
		Relative:  int32(binary.BigEndian.Uint32(b[8:])),
	}
}

func (e TimeEntry) encode(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(e.Timestamp))
	binary.BigEndian.PutUint32(b[8:], uint32(e.Relative))
}

func decodeTransaction(b []byte) (t Transaction, version int16) {
	version = int16(binary.BigEndian.Uint16(b))
	t.ProducerID = kafka.ProducerID(binary.BigEndian.Uint64(b[2:]))
	t.FirstOffset = kafka.Offset(binary.BigEndian.Uint64(b[10:]))
	t.LastOffset = kafka.Offset(binary.BigEndian.Uint64(b[18:]))
	t.LastStableOffset = kafka.Offset(binary.BigEndian.Uint64(b[26:]))
	return t, version
}

func (t Transaction) encode(b []byte) {
	binary.BigEndian.PutUint16(b, transactionVersion)
	binary.BigEndian.PutUint64(b[2:], uint64(t.ProducerID))
	binary.BigEndian.PutUint64(b[10:], uint64(t.FirstOffset))
	binary.BigEndian.PutUint64(b[18:], uint64(t.LastOffset))
	binary.BigEndian.PutUint64(b[26:], uint64(t.LastStableOffset))
}
