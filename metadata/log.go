package metadata

import "spate/kafka"

// Log is the metadata log as a running node sees it: record batches without gaps, each beginning at the offset where
// the one before ended. It is read when it is opened and not after: what is not applied yet is in memory. One goroutine
// calls it.
type Log interface {
	// EndOffset is the offset after the last record.
	EndOffset() kafka.Offset
	// Append writes whole batches that go on at EndOffset. An error of a full disk leaves the log as it was, and it
	// goes on; after any other the log must not be used any further.
	Append(batches []byte) error
	// Flush makes what was appended durable.
	Flush() error
	// StartFrom forgets what lies before offset, as far as that can be done by dropping files. A snapshot holds it.
	StartFrom(offset kafka.Offset) error
	// Close releases the files. What was not flushed may be lost.
	Close() error
}
