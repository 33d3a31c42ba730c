package metadata

import (
	"spate/kafka"
	"spate/kafka/record"
)

// Log is the metadata log as the node sees it: record batches without gaps, each beginning at the offset where the one
// before ended. One goroutine calls it.
type Log interface {
	// EndOffset is the offset after the last record.
	EndOffset() kafka.Offset
	// Append writes whole batches that go on at EndOffset. After an error that wraps ENOSPC the log is as it was and
	// goes on; after any other it must not be used any further.
	Append(batches []byte) error
	// Flush makes what was appended durable.
	Flush() error
	// Each visits the batches from offset, at which one begins, up to the end. A batch is valid during the visit.
	// It stops when visit does, and gives the error of visit.
	Each(offset kafka.Offset, visit func(record.Batch) error) error
	// StartFrom forgets what lies before offset, as far as that can be done by dropping files, once a snapshot holds it.
	StartFrom(offset kafka.Offset) error
	// Close releases the files. What was not flushed may be lost.
	Close() error
}
