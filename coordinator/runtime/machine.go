package runtime

import (
	"errors"
	"time"

	"spate/coordinator"
	"spate/kafka"
	"spate/kafka/record"
)

// Machine is the state of one partition's coordinator. It is pure: it neither waits nor looks at a clock. All methods
// are called from the shard's goroutine.
type Machine interface {
	// Decide says what follows from a command. A question that writes nothing is answered here too: its reply is kept
	// back until what it saw is committed.
	Decide(now time.Time, to coordinator.Token, cmd any) coordinator.Outcome
	// Fired is Decide for a timer that is due; the timer is no longer set.
	Fired(now time.Time, key coordinator.TimerKey) coordinator.Outcome
	// Loaded is called once, after the last record of the log has been applied and before the first command.
	Loaded(now time.Time) coordinator.Outcome
	// Decode makes a record of what the log holds; value is nil for a tombstone. The bytes are valid until it returns.
	// An error that is coordinator.ErrUnknownRecord has the record skipped, any other ends the loading.
	Decode(key, value []byte) (coordinator.Record, error)
	// Apply makes a record part of the state. Live records and those of the log come the same way.
	Apply(r coordinator.Record, at coordinator.Place)
	// ApplyMarker ends the transaction of a producer.
	ApplyMarker(producer kafka.ProducerID, epoch kafka.ProducerEpoch, committed bool)
}

// Refuser is a Machine that is told when an outcome could not be written, because its records do not fit into one batch
// or the disk has no room for them. None of them has been applied, no timer of the outcome was set, and its replies
// were replaced by why: RECORD_LIST_TOO_LARGE, or NOT_COORDINATOR for a full disk. The outcome of Refused is carried
// out instead; its records are small.
type Refuser interface {
	Refused(now time.Time, records []coordinator.Record, why error) coordinator.Outcome
}

// Reporter is a Machine whose state is shown in metrics. Report is called at the end of a turn, at most once a second,
// and what it gives is never changed again.
type Reporter interface {
	Report() any
}

// ErrCorrupt is what an error of Log.Read wraps if the log holds bytes that are not what was written. Reading it again
// would not help, so that the shard is not served.
var ErrCorrupt = errors.New("corrupt log")

// ErrNoRoom is what an error of Log.Reserve wraps if the disk is full: a state that passes, and that has changed
// nothing.
var ErrNoRoom = errors.New("no room")

// Log is the partition that a shard keeps its records in, as its leader in one leader epoch. All methods but Watch are
// called from the shard's goroutine; those that give an error give it once the broker is no longer that leader.
type Log interface {
	// Reserve makes room for a batch of so many bytes and records, before anything follows from them: the Append that
	// comes next, with as much or less, does not find the disk full.
	Reserve(bytes, records int, now kafka.Timestamp) error
	// Append writes one batch, all or nothing, and gives the offset of its first record. It does not keep the bytes. A
	// batch of a transaction that is refused for what it is, INVALID_PRODUCER_EPOCH for one, has changed nothing.
	Append(batch record.Batch, terms coordinator.Terms, now kafka.Timestamp) (kafka.Offset, error)
	// BatchBytesMax is the largest batch that Append takes.
	BatchBytesMax() int
	// Bounds are the offset of the first record and the one after the last.
	Bounds() (start, end kafka.Offset, err error)
	// HighWatermark is the offset below which every record is committed.
	HighWatermark() (kafka.Offset, error)
	// Read hands whole batches from an offset on to visit, at least one if there is one, and gives the offset where the
	// next read goes on: the same if there was nothing. The bytes are valid until visit returns.
	Read(from kafka.Offset, bytesMax int, visit func(batches []byte) error) (kafka.Offset, error)
	// Watch has changed called after the high watermark or the leader has changed, from any goroutine. changed neither
	// waits nor takes long. nil ends the watching.
	Watch(changed func())
}

// EndTransaction is a command to any shard: to write the marker that ends a producer's transaction in this partition.
// Its reply has no body. It comes when the marker is committed; an error of the log, INVALID_PRODUCER_EPOCH or
// TRANSACTION_COORDINATOR_FENCED, says that no marker was written.
type EndTransaction struct {
	ProducerID       kafka.ProducerID
	ProducerEpoch    kafka.ProducerEpoch
	Commit           bool
	CoordinatorEpoch int32
	TxnVersion       int16
}

// Done takes the answer to a command. It is called exactly once: on the shard's goroutine, or at once on the caller's
// where no shard can take the command. It must not wait. err is a *kafka.Error or wraps one; body belongs to a
// nil err.
type Done interface {
	Done(body any, err error)
}
