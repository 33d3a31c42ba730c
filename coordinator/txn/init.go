package txn

import (
	"time"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// initProducerID gives a transactional id to a producer: the epoch rises, so that the producer that had the id before
// is fenced. A transaction that is open is aborted first, and the producer asks again until that is done.
func (s *Shard) initProducerID(
	out *coordinator.Outcome, now time.Time, id string, cmd *InitProducerID,
) (reply any, err error) {
	switch {
	case cmd.TimeoutMs <= 0 || cmd.TimeoutMs > s.options.TimeoutMaxMs:
		return nil, kafka.InvalidTransactionTimeout
	case len(id) > record.StringBytesMax:
		return nil, kafka.UnknownServerError // as in Kafka, where the record cannot be made
	}
	t := s.ids[id]
	var next *record.Transaction
	switch {
	case t == nil:
		next, err = s.begin(now, id, cmd)
	case t.State.IsPrepared():
		return nil, kafka.ConcurrentTransactions
	case cmd.hasProducer() && !t.mayBelongTo(cmd):
		return nil, kafka.ProducerFenced
	case t.State == record.Ongoing:
		if err := s.fence(out, now, t, Fenced, cmd.Fresh); err != nil {
			return nil, err
		}
		return nil, kafka.ConcurrentTransactions
	case !t.isServed():
		return nil, kafka.UnknownServerError
	default:
		next, err = s.raise(now, t, cmd)
	}
	if err != nil {
		return nil, err
	}
	out.Write(next)
	return Producer{ID: next.ProducerID, Epoch: next.Epoch}, nil
}

// hasProducer tells whether the producer says which one it is, as one does that goes on after an error (KIP-360).
func (cmd *InitProducerID) hasProducer() bool { return cmd.ProducerID != kafka.NoProducerID }

// mayBelongTo tells whether the producer is the one that has the id: now, or before its epochs were used up, in case
// the answer that told it about its new producer id was lost.
func (t *transaction) mayBelongTo(cmd *InitProducerID) bool {
	return cmd.ProducerID == t.ProducerID || cmd.ProducerID == t.PreviousProducerID && isExhausted(cmd.Epoch)
}

// begin makes the first record of an id.
func (s *Shard) begin(now time.Time, id string, cmd *InitProducerID) (*record.Transaction, error) {
	if cmd.Fresh == kafka.NoProducerID {
		return nil, ErrNeedsProducerID
	}
	first := record.Transaction{
		ID: id, ProducerID: cmd.Fresh, NextProducerID: kafka.NoProducerID, LastEpoch: kafka.NoProducerEpoch,
		TimeoutMs: cmd.TimeoutMs, Start: kafka.NoTimestamp,
	}
	return s.follow(&first, now, record.Empty), nil
}

// raise gives the id the next epoch, or a fresh producer id where there is none.
func (s *Shard) raise(now time.Time, t *transaction, cmd *InitProducerID) (*record.Transaction, error) {
	next := s.follow(t.Transaction, now, record.Empty)
	next.TimeoutMs, next.Topics, next.Start = cmd.TimeoutMs, nil, kafka.NoTimestamp
	isCurrent := !cmd.hasProducer() || cmd.Epoch == t.Epoch
	last := kafka.NoProducerEpoch // a producer that comes new leaves nobody a way back
	if cmd.hasProducer() {
		last = t.Epoch
	}
	switch {
	case isExhausted(t.Epoch) && isCurrent:
		if cmd.Fresh == kafka.NoProducerID {
			return nil, ErrNeedsProducerID
		}
		next.ProducerID, next.Epoch, next.LastEpoch = cmd.Fresh, 0, last
	case isExhausted(t.Epoch):
		return nil, kafka.UnknownServerError // as in Kafka, which is not ready for that
	case isCurrent:
		next.Epoch, next.LastEpoch = t.Epoch+1, last
	case cmd.Epoch == t.LastEpoch: // it asks again, because the answer was lost
	default:
		return nil, kafka.ProducerFenced
	}
	return next, nil
}
