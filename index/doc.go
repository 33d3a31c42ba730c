// Package index is the three sparse indexes beside a log segment, in Kafka's formats: offset to position, timestamp to
// offset, and aborted transactions. It owns the index files and their mappings. It knows nothing of batches: a look-up
// gives a place to start scanning from, and the caller decides what becomes an entry.
//
// An index is the same bytes wherever it lives: in memory while its segment grows (Buffer), in its file (File), mapped
// once the segment is sealed. Views (Offsets, Times, Transactions) search those bytes and may be used by any goroutine.
// A Buffer and a File have one writer at a time and any number of readers.
package index
