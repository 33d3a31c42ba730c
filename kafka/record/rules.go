package record

import (
	"fmt"
	"strings"
	"time"

	"spate/kafka"
)

// Rules are what Validate holds a batch to: the topic's settings and where the batch came from.
type Rules struct {
	Partition     kafka.TopicPartition // where the batch goes, for what is said of its records
	BatchBytesMax int                  // max.message.bytes; 0 is no bound
	Compacted     bool                 // cleanup.policy has compact: every record needs a key
	TimestampType TimestampType        // message.timestamp.type
	BeforeMax     time.Duration        // message.timestamp.before.max.ms; NoBound for none
	AfterMax      time.Duration        // message.timestamp.after.max.ms; NoBound for none
	Now           kafka.Timestamp
	Compression   Compression
	FromClient    bool  // the batch came in a Produce request; false for the broker's own
	Version       int16 // of that Produce request
	// WalkCompressed decompresses and walks every batch, as Kafka does. Without it a compressed batch is walked only
	// when a rule about its records asks for it: keys, timestamps out of bounds, another codec.
	WalkCompressed bool
}

// NoBound as BeforeMax or AfterMax allows every timestamp on that side.
const NoBound time.Duration = 1<<63 - 1

// Facts is what Validate learnt about a batch that it let pass.
type Facts struct {
	// Batch is what to append: the batch that was checked, or a new one if the topic's codec is another.
	Batch        Batch
	MaxTimestamp kafka.Timestamp
	// OffsetOfMaxTimestampDelta is that of the last record: like Kafka's time index, a walk that may be left out
	// must not decide it.
	OffsetOfMaxTimestampDelta int32
	Records                   int
}

// RecordError says what is wrong with one record of a batch.
type RecordError struct {
	Index  int32 // of the record in the batch, from 0
	Reason string
}

// RecordErrors is a batch that was refused for some of its records. It unwraps to INVALID_RECORD or
// INVALID_TIMESTAMP; a Produce response carries the list.
type RecordErrors struct {
	Err   *kafka.Error
	Total int           // of records refused
	List  []RecordError // the first of them, at most recordErrorsMax
}

// recordErrorsMax bounds what a batch of bad records costs to answer: about 100 bytes each, so that the answer to a
// batch stays small beside socket.request.max.bytes. A client that is told of these repairs the batch anyway.
const recordErrorsMax = 1000

// Error gives the message that Kafka sends along.
func (e *RecordErrors) Error() string {
	if e.Err == kafka.InvalidTimestamp {
		return "One or more records have been rejected due to invalid timestamp"
	}
	var shown []string
	for i := range min(len(e.List), 3) {
		r := &e.List[i]
		shown = append(shown, fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", r.Index, r.Reason))
	}
	return fmt.Sprintf("One or more records have been rejected due to %d record errors in total, "+
		"and only showing the first three errors at most: [%s]", e.Total, strings.Join(shown, ", "))
}

// Unwrap gives the protocol error.
func (e *RecordErrors) Unwrap() error { return e.Err }

// add notes one bad record.
func (e *RecordErrors) add(kind *kafka.Error, index int32, reason string) {
	if e.Err != kafka.InvalidTimestamp { // which outweighs the other kind, as in Kafka
		e.Err = kind
	}
	e.Total++
	if len(e.List) < recordErrorsMax {
		e.List = append(e.List, RecordError{Index: index, Reason: reason})
	}
}
