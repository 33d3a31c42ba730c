package txn

import (
	"errors"
	"time"

	"spate/coordinator/txn/record"
	"spate/kafka"
)

// Command is a command for one transactional id. Body is one of InitProducerID, AddPartitions, EndTxn, Describe,
// Markers and Expire of this package. Commands for the whole shard (List, Version) are submitted bare. A command owns
// its memory. An error comes as the reply's error, as a rule a *kafka.Error; what it is called in older versions of
// an API is the handler's business.
type Command struct {
	ID   string
	Body any
}

// ErrNeedsProducerID refuses an InitProducerID, EndTxn or Expire that came without a fresh producer id and needs one.
// It is not for clients: whoever submitted the command gets an id and submits it again.
var ErrNeedsProducerID = errors.New("a fresh producer id is needed")

// InitProducerID begins or takes over a transactional id. Its reply is a Producer.
type InitProducerID struct {
	TimeoutMs int32
	// ProducerID and Epoch are what the producer has, or kafka.NoProducerID and kafka.NoProducerEpoch.
	ProducerID kafka.ProducerID
	Epoch      kafka.ProducerEpoch
	// Fresh is an id that was never used, or kafka.NoProducerID.
	Fresh kafka.ProducerID
}

// Producer answers an InitProducerID or an EndTxn: what the producer goes on with.
type Producer struct {
	ID    kafka.ProducerID
	Epoch kafka.ProducerEpoch
}

// AddPartitions adds partitions to the transaction, which begins with the first; or, with VerifyOnly, asks whether
// they are in it. Partitions of __consumer_offsets stand for the offsets of groups. Its reply is an
// AddPartitionsReply.
type AddPartitions struct {
	ProducerID kafka.ProducerID
	Epoch      kafka.ProducerEpoch
	Partitions []kafka.TopicPartition
	VerifyOnly bool
	// ClientVersion is the version of transactions that the client speaks, as far as the request shows it: 2 where the
	// broker adds the partitions on its behalf, else 0.
	ClientVersion int16
	// Wait is how long the answer may wait for the end of the producer's last transaction, which was decided and is not
	// completed. After that it is kafka.ConcurrentTransactions.
	Wait time.Duration
}

// AddPartitionsReply answers an AddPartitions in the order of its partitions: nil for one that is in the transaction,
// or kafka.TransactionAbortable for one that is not, which only VerifyOnly brings to light.
type AddPartitionsReply struct {
	Errs []error
}

// EndTxn commits or aborts the transaction. Its reply is a Producer; without version 2 it is zero.
type EndTxn struct {
	ProducerID    kafka.ProducerID
	Epoch         kafka.ProducerEpoch
	Commit        bool
	ClientVersion int16            // 2: the epoch is raised with each transaction (KIP-890)
	Fresh         kafka.ProducerID // as in InitProducerID
}

// Expire aborts a transaction that took too long, with a fresh producer id in place of one whose epochs are used up.
// It answers an AllocateProducerID, and has no reply.
type Expire struct {
	ProducerID kafka.ProducerID // of the transaction
	Epoch      kafka.ProducerEpoch
	Fresh      kafka.ProducerID
}

// Markers tells what became of a WriteMarkers. It has no reply.
type Markers struct {
	Asked WriteMarkers
	Errs  []error // by partition of Asked; nil where the marker is committed, or the partition is gone
}

// Describe asks for the state of a transactional id. Its reply is a *record.Transaction that nobody changes; for an id
// that does not exist, kafka.TransactionalIDNotFound.
type Describe struct{}

// List asks a shard for its transactional ids. Its reply is a ListReply.
type List struct {
	ProducerIDs []kafka.ProducerID // ascending; empty lets all pass
	States      []record.State     // those that let pass, if AllStates is not set
	AllStates   bool
	DurationMs  int64             // negative lets all pass
	Matches     func(string) bool // tells which ids; nil lets all pass
}

// ListReply answers a List, by transactional id.
type ListReply struct {
	Listed []Listed
}

// Listed is one transactional id of a ListReply.
type Listed struct {
	ID         string
	ProducerID kafka.ProducerID
	State      record.State
}

// Version tells a shard which version of transactions the cluster has agreed on (transaction.version): 0, 1 or 2. It
// has no reply.
type Version struct {
	Level int16
}

// WriteMarkers is the task of ending a transaction in these partitions. It is answered by Markers.
type WriteMarkers struct {
	ID            string
	ProducerID    kafka.ProducerID
	Epoch         kafka.ProducerEpoch
	Commit        bool
	ClientVersion int16 // of transactions: with 2, the epoch is one above that of the transaction's records
	Partitions    []kafka.TopicPartition
	// Decided is when the end was decided. No two ends of an id have the same: an epoch may see many transactions,
	// and an answer may come late.
	Decided kafka.Timestamp
	// Ask tells the task from all others. Only the answer to the last one that was asked for an end counts: once the
	// end is written another transaction may begin, and a marker that is still on its way would end that one.
	Ask Ask
	// Cause is why the transaction ends, in the task that the decision asks for; in those that repeat it, Again.
	Cause Cause
}

// Cause is why a transaction ends.
type Cause uint8

// The causes.
const (
	Committed Cause = iota // by its producer, as the next one
	Aborted
	TimedOut
	Fenced // another producer has taken the id, or the same one has begun anew
	Again  // none: the end was decided before
)

// String names a cause, for metrics.
func (c Cause) String() string {
	return [...]string{"commit", "abort", "timeout", "fenced", "again"}[c]
}

// Ask is the number of a task, and whose it is.
type Ask struct {
	Life, Number uint64
}

// AllocateProducerID is the task of getting a producer id that was never used. It is answered by the Expire with Fresh
// set.
type AllocateProducerID struct {
	ID     string
	Expire Expire
}
