package verify

import "slices"

// Ledger is what one producer wrote, by partition. It belongs to one goroutine at a time.
type Ledger struct {
	producer uint32
	next     []uint64   // by partition: the sequence of the next record
	unknown  [][]uint64 // by partition: sequences of records that were not acknowledged
}

// NewLedger begins with nothing written.
func NewLedger(producer uint32, partitions int) *Ledger {
	return &Ledger{producer, make([]uint64, partitions), make([][]uint64, partitions)}
}

// Next is the sequence of the next record for a partition.
func (l *Ledger) Next(partition int) uint64 {
	l.next[partition]++
	return l.next[partition] - 1
}

// Unknown says that a record was not acknowledged: it may be there or not.
func (l *Ledger) Unknown(partition int, sequence uint64) {
	l.unknown[partition] = append(l.unknown[partition], sequence)
}

// Written is what went into one partition.
func (l *Ledger) Written(partition int) Written {
	slices.Sort(l.unknown[partition])
	l.unknown[partition] = slices.Compact(l.unknown[partition]) // of a transaction: told of a record, and of all
	return Written{l.producer, l.next[partition], l.unknown[partition]}
}
