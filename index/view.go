package index

import (
	"spate/kafka"
)

// Offsets is encoded entries of an offset index. A trailing part of an entry is ignored.
type Offsets []byte

// Len is the number of entries.
func (v Offsets) Len() int { return len(v) / OffsetEntryBytes }

// At is the i-th entry.
func (v Offsets) At(i int) OffsetEntry { return decodeOffset(v[i*OffsetEntryBytes:]) }

// Valid is the longest prefix whose entries rise in both fields and lie inside a log of so many bytes. No entry points
// to position 0, so it also ends where Kafka's zero padding begins.
func (v Offsets) Valid(logBytes kafka.Position) Offsets {
	last := OffsetEntry{Relative: -1}
	for i := range v.Len() {
		e := v.At(i)
		if e.Relative <= last.Relative || e.Position <= last.Position || kafka.Position(e.Position) >= logBytes {
			return v[:i*OffsetEntryBytes]
		}
		last = e
	}
	return v[:v.Len()*OffsetEntryBytes]
}

// Floor is the position in v of the last entry whose offset is at most relative, or -1.
func (v Offsets) Floor(relative int64) int {
	return search(v.Len(), func(i int) bool { return int64(v.At(i).Relative) > relative }) - 1
}

// FloorPosition is the position in v of the last entry that points at most to position, or -1.
func (v Offsets) FloorPosition(position int64) int {
	return search(v.Len(), func(i int) bool { return int64(v.At(i).Position) > position }) - 1
}

// Times is encoded entries of a time index. A trailing part of an entry is ignored.
type Times []byte

// Len is the number of entries.
func (v Times) Len() int { return len(v) / TimeEntryBytes }

// At is the i-th entry.
func (v Times) At(i int) TimeEntry { return decodeTime(v[i*TimeEntryBytes:]) }

// Valid is the longest prefix whose entries rise in both fields. No entry has a negative timestamp; one of zeros that
// is not the first ends it, as Kafka's zero padding does.
func (v Times) Valid() Times {
	last := TimeEntry{Timestamp: kafka.NoTimestamp, Relative: -1}
	for i := range v.Len() {
		e := v.At(i)
		if e.Timestamp <= last.Timestamp || e.Relative <= last.Relative {
			return v[:i*TimeEntryBytes]
		}
		last = e
	}
	return v[:v.Len()*TimeEntryBytes]
}

// Floor is the position in v of the last entry whose timestamp is at most ts, or -1.
func (v Times) Floor(ts kafka.Timestamp) int {
	return search(v.Len(), func(i int) bool { return v.At(i).Timestamp > ts }) - 1
}

// FloorRelative is the position in v of the last entry whose offset is at most relative, or -1.
func (v Times) FloorRelative(relative int64) int {
	return search(v.Len(), func(i int) bool { return int64(v.At(i).Relative) > relative }) - 1
}

// search is sort.Search: the smallest i in [0, n) for which past is true, or n. Being small, it is inlined together
// with past, which sort.Search is not.
func search(n int, past func(int) bool) int {
	low, high := 0, n
	for low < high {
		middle := int(uint(low+high) >> 1)
		if past(middle) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// Transactions is encoded entries of a transaction index. A trailing part of an entry is ignored.
type Transactions []byte

// Len is the number of entries.
func (v Transactions) Len() int { return len(v) / TransactionEntryBytes }

// At is the i-th entry.
func (v Transactions) At(i int) Transaction {
	t, _ := decodeTransaction(v[i*TransactionEntryBytes:])
	return t
}

// Valid is the longest prefix of entries of the known version, with offsets from base on that lie in order and markers
// that rise.
func (v Transactions) Valid(base kafka.Offset) Transactions {
	last := base - 1
	for i := range v.Len() {
		t, version := decodeTransaction(v[i*TransactionEntryBytes:])
		if version != transactionVersion || t.FirstOffset < 0 || t.FirstOffset > t.LastOffset || t.LastOffset <= last {
			return v[:i*TransactionEntryBytes]
		}
		last = t.LastOffset
	}
	return v[:v.Len()*TransactionEntryBytes]
}

// Overlapping appends to dst those transactions that overlap with the offsets [from, to). It reports whether that is
// all of them: if not, later segments may hold the markers of more.
func (v Transactions) Overlapping(dst []Transaction, from, to kafka.Offset) (_ []Transaction, all bool) {
	first := search(v.Len(), func(i int) bool { return v.At(i).LastOffset >= from })
	for i := first; i < v.Len(); i++ {
		t := v.At(i)
		if t.FirstOffset < to {
			dst = append(dst, t)
		}
		if t.LastStableOffset >= to {
			return dst, true
		}
	}
	return dst, false
}

// Before is the longest prefix whose markers lie below offset.
func (v Transactions) Before(offset kafka.Offset) Transactions {
	n := search(v.Len(), func(i int) bool { return v.At(i).LastOffset >= offset })
	return v[:n*TransactionEntryBytes]
}
