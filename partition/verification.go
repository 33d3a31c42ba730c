package partition

import (
	"fmt"

	"spate/kafka"
	"spate/kafka/record"
)

// Before the first records of a transaction go into a partition, its coordinator is asked whether the partition belongs
// to the transaction (KIP-890): a produce request that was delayed past the end of its transaction would else open
// another one, which nobody ends. The question begins with BeginVerification, and its answer is worth something only
// as long as no marker came in between: each question has a number of its own.

// Verification is the number of a question to the transaction's coordinator, unique in the log.
type Verification uint64

// NoVerification is no question: the transaction is open in this partition already.
const NoVerification Verification = 0

// verification is what is kept of a question until its first batch is in the log.
type verification struct {
	number Verification
	since  kafka.Timestamp
	// lowest is the lowest sequence that asked in this epoch. A later batch, whose question was answered first, has to
	// wait for that one: it would leave a gap behind it that no retry could fill.
	lowest kafka.Sequence
	epoch  kafka.ProducerEpoch
	bumps  bool // each transaction of the producer has an epoch of its own (transaction.version 2)
	askers int  // who have asked and not given the question back
}

// Verifying is what a batch of a transaction says when it asks to be let in.
type Verifying struct {
	ProducerID    kafka.ProducerID
	ProducerEpoch kafka.ProducerEpoch
	Sequence      kafka.Sequence // NoSequence for a coordinator's own batches
	BumpsEpoch    bool           // the client's transactions have an epoch each (transaction.version 2)
}

// BeginVerification tells whether the coordinator has to be asked about a transaction before a batch of it is appended:
// then the number that the append has to come with, else NoVerification. An older epoch is INVALID_PRODUCER_EPOCH.
func (l *Log) BeginVerification(v Verifying) (Verification, error) {
	now := l.dir.now()
	l.append.Lock()
	defer l.append.Unlock()
	if err := l.usableLocked(); err != nil {
		return NoVerification, err
	}
	if l.producers.isOpen(v.ProducerID, v.ProducerEpoch) {
		return NoVerification, nil
	}
	if err := l.producers.checkEpoch(v.ProducerID, v.ProducerEpoch); err != nil {
		return NoVerification, err
	}
	return l.producers.verify(v, now), nil
}

// EndVerification gives a question back to which the answer was no, for good: the producer has no such transaction.
// Once all who share the question have given it back it is forgotten, so that made-up producer ids cost nothing. (One
// whose batch is refused for another reason stays: those behind it must not overtake it.)
func (l *Log) EndVerification(id kafka.ProducerID, number Verification) {
	l.append.Lock()
	defer l.append.Unlock()
	l.producers.giveBack(id, number)
}

func (p *producers) giveBack(id kafka.ProducerID, number Verification) {
	q := p.verifying[id]
	if q == nil || q.number != number {
		return
	}
	if q.askers--; q.askers == 0 {
		delete(p.verifying, id)
	}
}

// isOpen tells whether a transaction of the producer's epoch is open.
func (p *producers) isOpen(id kafka.ProducerID, epoch kafka.ProducerEpoch) bool {
	e := p.entries[id]
	return e != nil && e.txnFirstOffset != kafka.NoOffset && e.epoch == epoch
}

// checkEpoch refuses an epoch that is older than the producer's.
func (p *producers) checkEpoch(id kafka.ProducerID, epoch kafka.ProducerEpoch) error {
	if e := p.entries[id]; e != nil && epoch < e.epoch {
		return fmt.Errorf("%w: epoch %d of producer %d is older than epoch %d",
			kafka.InvalidProducerEpoch, epoch, id, e.epoch)
	}
	return nil
}

// verify notes a question, or joins the one that is open.
func (p *producers) verify(v Verifying, now kafka.Timestamp) Verification {
	q := p.verifying[v.ProducerID]
	switch {
	case q == nil:
		p.asked++
		q = &verification{
			number: p.asked, since: now, lowest: v.Sequence, epoch: v.ProducerEpoch, bumps: v.BumpsEpoch,
		}
		p.verifying[v.ProducerID] = q
	case v.ProducerEpoch > q.epoch:
		q.epoch, q.lowest = v.ProducerEpoch, v.Sequence
	case v.ProducerEpoch == q.epoch:
		q.lowest = min(q.lowest, v.Sequence)
	}
	q.askers++
	return q.number
}

// checkVerified wants a transaction that is open, or an answer that is still good.
func (p *producers) checkVerified(b record.Batch, c *claim) error {
	if !b.IsTransactional() || b.IsControl() || p.isOpen(b.ProducerID(), b.ProducerEpoch()) {
		return nil
	}
	if err := p.checkEpoch(b.ProducerID(), b.ProducerEpoch()); err != nil {
		return err
	}
	if !c.verified {
		return nil
	}
	if q := p.verifying[b.ProducerID()]; q == nil || c.verification == NoVerification || q.number != c.verification {
		return fmt.Errorf("%w: records of producer %d are not part of an open transaction",
			kafka.InvalidTxnState, b.ProducerID())
	}
	return nil
}

// checkLowest refuses a batch that would overtake one whose question is open, and under transaction.version 2 one that
// does not begin its epoch.
func (p *producers) checkLowest(b record.Batch, e *producer) error {
	q := p.verifying[b.ProducerID()]
	if q == nil {
		return nil
	}
	fresh := e == nil || e.count == 0
	if q.bumps && fresh && b.BaseSequence() != 0 {
		return fmt.Errorf("%w: sequence %d of producer %d, which is not known here, instead of 0",
			kafka.OutOfOrderSequenceNumber, b.BaseSequence(), b.ProducerID())
	}
	if b.BaseSequence() > q.lowest {
		return fmt.Errorf("%w: sequence %d of producer %d, whose sequence %d was seen before and is not in the log",
			kafka.OutOfOrderSequenceNumber, b.BaseSequence(), b.ProducerID(), q.lowest)
	}
	return nil
}

// endVerification forgets the question when a batch of a transaction is in the log. A marker leaves one that has come
// for the epoch that the marker begins: it is about the next transaction.
func (p *producers) endVerification(b record.Batch) {
	if len(p.verifying) == 0 || !b.IsTransactional() {
		return
	}
	q := p.verifying[b.ProducerID()]
	if q == nil || q.bumps && b.IsControl() && b.ProducerEpoch() == q.epoch {
		return
	}
	delete(p.verifying, b.ProducerID())
}
