// Package coordinator holds the words that every coordinator shares with the runtime that drives it: a machine decides
// about a command, and what follows is an Outcome of records, replies and timers.
//
// The package has no state and no behaviour beyond small constructors. Machines (coordinator/group and those to come)
// build its values; coordinator/runtime carries them out.
//
//tidy:pure
package coordinator

import (
	"time"

	"spate/kafka"
)

// Token names a request that waits for its answer. A machine keeps it when the answer has to wait for other requests
// or for a timer.
type Token uint64

// Nobody is the token of a command that nobody waits for.
const Nobody Token = 0

// Record is one record of a coordinator's log, which becomes a record of an internal topic.
type Record interface {
	// AppendKey appends the encoded key.
	AppendKey(dst []byte) []byte
	// AppendValue appends the encoded value; kept is false for a tombstone, which has none.
	AppendValue(dst []byte) (value []byte, kept bool)
}

// Place says where in the log a record is or will be, and on whose behalf it is written.
type Place struct {
	Offset        kafka.Offset
	ProducerID    kafka.ProducerID // NoProducerID outside transactions
	ProducerEpoch kafka.ProducerEpoch
}

// Reply answers one request.
type Reply struct {
	To   Token
	Body any   // the reply type that belongs to the command; nil if Err is set
	Err  error // why the command was refused as a whole: a *kafka.Error, or an error that wraps one
}

// TimerKey names a timer of a machine. Setting a timer again replaces it.
type TimerKey struct {
	Kind   uint8  // the machine's own numbering
	Group  string // or transactional id
	Member string
}

// Timer sets a timer, or with a zero At takes it back.
type Timer struct {
	Key TimerKey
	At  time.Time
}

// Transaction names the transaction that records are part of: they count once its marker is in the log.
type Transaction struct {
	ProducerID    kafka.ProducerID
	ProducerEpoch kafka.ProducerEpoch
	// Verification is what the log has given out for the question to the transaction's coordinator.
	Verification uint64
}

// Terms are what a log wants to know of a batch of a transaction besides its bytes.
type Terms struct {
	Verification uint64 // of records
	TxnVersion   int16  // of a marker: the transaction.version that its producer works by
}

// Outcome is what follows from a command. The records are appended all or none. The replies are given when these
// records and everything before them are committed, and so are the tasks handed out; timers are set at once.
type Outcome struct {
	Records []Record
	// Transaction is that of the records, nil outside of any. If the log refuses them, all who wait for the outcome are
	// told so, and nothing of it has happened.
	Transaction *Transaction
	// Spare is how many bytes larger than the records what has to be written later may be. Records that would leave no
	// room for that in a batch are refused like those that are too large themselves.
	Spare   int
	Replies []Reply
	Timers  []Timer
	Tasks   []any
	Notes   []Note
}

// Note is what people who look after a cluster want to read about a group, such as why it rebalances. Notes are logged;
// a machine, which cannot, writes few of them: not for each request, but when the state of a group changes.
type Note struct {
	Group string // or transactional id
	Text  string
}

// Answer adds the reply to a command that was carried out.
func (o *Outcome) Answer(to Token, body any) {
	if to != Nobody {
		o.Replies = append(o.Replies, Reply{To: to, Body: body})
	}
}

// Refuse adds the reply to a command that was refused as a whole.
func (o *Outcome) Refuse(to Token, err error) {
	if to != Nobody {
		o.Replies = append(o.Replies, Reply{To: to, Err: err})
	}
}

// Write adds records.
func (o *Outcome) Write(records ...Record) { o.Records = append(o.Records, records...) }

// SetTimer sets a timer.
func (o *Outcome) SetTimer(key TimerKey, at time.Time) { o.Timers = append(o.Timers, Timer{key, at}) }

// StopTimer takes a timer back.
func (o *Outcome) StopTimer(key TimerKey) { o.Timers = append(o.Timers, Timer{Key: key}) }

// Ask adds a task: work outside the machine, of a type that the machine and its host have agreed on. What comes of it
// comes back as a command. It may never come: the shard may be loaded anew meanwhile, and the machine has to ask again.
func (o *Outcome) Ask(task any) { o.Tasks = append(o.Tasks, task) }

// Note adds a note.
func (o *Outcome) Note(group, text string) { o.Notes = append(o.Notes, Note{Group: group, Text: text}) }

// Join adds all of another outcome, which is of no transaction, after this one.
func (o *Outcome) Join(other Outcome) {
	o.Records = append(o.Records, other.Records...)
	o.Spare = max(o.Spare, other.Spare)
	o.Replies = append(o.Replies, other.Replies...)
	o.Timers = append(o.Timers, other.Timers...)
	o.Tasks = append(o.Tasks, other.Tasks...)
	o.Notes = append(o.Notes, other.Notes...)
}
