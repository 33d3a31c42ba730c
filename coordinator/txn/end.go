package txn

import (
	"fmt"
	"math"
	"slices"
	"time"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// outcomeOf is the prepared state that leads to a commit or an abort.
func outcomeOf(commit bool) record.State {
	if commit {
		return record.PrepareCommit
	}
	return record.PrepareAbort
}

// completeOf is the state after a prepared one.
func completeOf(prepared record.State) record.State {
	if prepared == record.PrepareCommit {
		return record.CompleteCommit
	}
	return record.CompleteAbort
}

// decided begins the record of a decision. Its time is later than that of the decision before, whatever the clock
// says: so the answers about markers can be told apart.
func (s *Shard) decided(t *record.Transaction, now time.Time, commit bool) *record.Transaction {
	next := s.follow(t, now, outcomeOf(commit))
	next.LastUpdate = max(next.LastUpdate, t.LastUpdate+1)
	return next
}

// endOne ends a transaction as clients before version 2 ask for it: the epoch stays. Who asks again for what has been
// done is told that it is done.
func (s *Shard) endOne(out *coordinator.Outcome, now time.Time, t *transaction, cmd *EndTxn) error {
	if t == nil {
		return kafka.InvalidProducerIDMapping
	}
	if err := t.check(cmd.ProducerID, cmd.Epoch); err != nil {
		return err
	}
	switch {
	case t.State.IsPrepared():
		return kafka.ConcurrentTransactions
	case t.State == record.Ongoing:
		next := s.decided(t.Transaction, now, cmd.Commit)
		next.NextProducerID, next.ClientVersion = kafka.NoProducerID, 0
		s.end(out, now, next, causeOf(cmd.Commit))
		return nil
	case t.State == completeOf(outcomeOf(cmd.Commit)):
		return nil
	case !t.isServed():
		return kafka.UnknownServerError
	}
	return kafka.InvalidTxnState
}

// endTwo ends a transaction and raises the producer's epoch. The epoch of a request tells whether it is the second
// copy of one that was carried out, which is told the same again, or about the transaction after it; none is a copy if
// a client of before version 2, which raises no epoch, made the last end. An abort where
// there is no transaction raises the epoch too: records of the producer may be on their way to partitions that nobody
// has added yet.
func (s *Shard) endTwo(out *coordinator.Outcome, now time.Time, t *transaction, cmd *EndTxn) (reply any, err error) {
	switch {
	case t == nil:
		return nil, kafka.InvalidProducerIDMapping
	case t.State.IsPrepared():
		return nil, kafka.ConcurrentTransactions
	}
	hasRaised := t.State.IsComplete() && t.ClientVersion >= versionTwo
	isOverflow := hasRaised && cmd.ProducerID == t.PreviousProducerID && cmd.Epoch == epochLast && t.Epoch == 0
	isCopy := hasRaised && (isOverflow || int(t.Epoch) == int(cmd.Epoch)+1)
	switch {
	case cmd.ProducerID != t.ProducerID && !isOverflow:
		return nil, kafka.InvalidProducerIDMapping
	case cmd.Epoch != t.Epoch && !isCopy:
		return nil, kafka.ProducerFenced
	case !t.isServed():
		return nil, kafka.UnknownServerError
	case !s.knows(cmd.ClientVersion):
		return nil, kafka.UnsupportedVersion
	case isCopy && t.State == completeOf(outcomeOf(cmd.Commit)):
		return Producer{ID: t.ProducerID, Epoch: t.Epoch}, nil
	case isCopy, t.State != record.Ongoing && cmd.Commit:
		return nil, kafka.InvalidTxnState
	}
	return s.prepareTwo(out, now, t, causeOf(cmd.Commit), cmd.Fresh)
}

// prepareTwo decides the end of a transaction, or of none, with the next epoch.
func (s *Shard) prepareTwo(
	out *coordinator.Outcome, now time.Time, t *transaction, cause Cause, fresh kafka.ProducerID,
) (reply any, err error) {
	next := s.decided(t.Transaction, now, cause == Committed)
	next.NextProducerID, next.ClientVersion = kafka.NoProducerID, versionTwo
	if isExhausted(t.Epoch) {
		if fresh == kafka.NoProducerID {
			return nil, ErrNeedsProducerID
		}
		next.NextProducerID = fresh
	}
	if t.State != record.Ongoing {
		next.Start = next.LastUpdate
	}
	next.LastEpoch = t.Epoch
	if t.Epoch < math.MaxInt16 {
		next.Epoch = t.Epoch + 1
	}
	s.end(out, now, next, cause)
	complete := s.complete(next, now)
	return Producer{ID: complete.ProducerID, Epoch: complete.Epoch}, nil
}

// fence aborts an open transaction on behalf of the coordinator. Its producer has an epoch that is too old then.
func (s *Shard) fence(
	out *coordinator.Outcome, now time.Time, t *transaction, cause Cause, fresh kafka.ProducerID,
) error {
	if s.version >= versionTwo {
		_, err := s.prepareTwo(out, now, t, cause, fresh)
		return err
	}
	next := s.decided(t.Transaction, now, false)
	next.NextProducerID, next.ClientVersion, next.LastEpoch = kafka.NoProducerID, 0, kafka.NoProducerEpoch
	if t.Epoch < math.MaxInt16 {
		next.Epoch = t.Epoch + 1
	}
	s.end(out, now, next, cause)
	return nil
}

// causeOf is why a transaction ends that its producer ends.
func causeOf(commit bool) Cause {
	if commit {
		return Committed
	}
	return Aborted
}

// end writes the decision and has the markers written, as soon as it is committed.
func (s *Shard) end(out *coordinator.Outcome, now time.Time, prepared *record.Transaction, cause Cause) {
	out.Write(prepared)
	if partitions := prepared.Partitions(); len(partitions) > 0 {
		s.askMarkers(out, s.ids[prepared.ID], prepared, partitions, cause)
		return
	}
	out.Write(s.complete(prepared, now))
}

// askMarkers has markers written for the id of t. Whoever was asked before answers in vain from now on.
func (s *Shard) askMarkers(
	out *coordinator.Outcome, t *transaction, prepared *record.Transaction, partitions []kafka.TopicPartition,
	cause Cause,
) {
	s.asks++
	t.asked = Ask{Life: s.options.Life, Number: s.asks}
	out.Ask(WriteMarkers{
		ID: prepared.ID, ProducerID: prepared.ProducerID, Epoch: prepared.Epoch,
		Commit: prepared.State == record.PrepareCommit, ClientVersion: prepared.ClientVersion,
		Partitions: partitions, Decided: prepared.LastUpdate, Ask: t.asked, Cause: cause,
	})
}

// complete makes the record of a transaction all of whose markers are written.
func (s *Shard) complete(t *record.Transaction, now time.Time) *record.Transaction {
	next := s.follow(t, now, completeOf(t.State))
	next.Topics, next.NextProducerID = nil, kafka.NoProducerID
	if t.ClientVersion >= versionTwo && t.NextProducerID != kafka.NoProducerID {
		next.ProducerID, next.Epoch = t.NextProducerID, 0
	}
	return next
}

// finish writes the end of a transaction, and has those looked at who wait for that.
func (s *Shard) finish(out *coordinator.Outcome, now time.Time, t *transaction) {
	out.Write(s.complete(t.Transaction, now))
	if len(t.waiters) > 0 {
		out.SetTimer(coordinator.TimerKey{Kind: timerWaiters, Group: t.ID}, now)
	}
}

// proceed asks for the markers that are not written, or writes the end if all are.
func (s *Shard) proceed(out *coordinator.Outcome, now time.Time, t *transaction) {
	if len(t.unmarked) == 0 {
		s.finish(out, now, t)
		return
	}
	s.askMarkers(out, t, t.Transaction, slices.Clone(t.unmarked), Again)
}

const (
	// retryMarkers is when markers are asked for again that could not be written; the value is Kafka's
	// retry.backoff.ms.
	retryMarkers = 100 * time.Millisecond
	// retryFenced is that for markers that a partition refuses for good. Kafka gives up on them until the coordinator
	// is loaded again, and its transaction stays as it is; this only asks seldom enough to cost nothing.
	retryFenced = time.Minute
)

// marked takes the answer about markers. One that is about an end that has passed is late, and so is one to a task that
// was asked again since: the markers of that one are still to come.
func (s *Shard) marked(out *coordinator.Outcome, now time.Time, t *transaction, cmd *Markers) {
	asked := &cmd.Asked
	if t == nil || t.asked != asked.Ask || t.State != outcomeOf(asked.Commit) || t.LastUpdate != asked.Decided ||
		t.ProducerID != asked.ProducerID || t.Epoch != asked.Epoch {
		return
	}
	retry := time.Duration(0)
	done := make(map[kafka.TopicPartition]bool, len(asked.Partitions))
	for i, p := range asked.Partitions {
		switch code := kafka.CodeOf(cmd.Errs[i]); code {
		case kafka.NoError:
			done[p] = true
		case kafka.InvalidProducerEpoch.Code, kafka.TransactionCoordinatorFenced.Code:
			retry = retryFenced
			out.Note(t.ID, fmt.Sprintf("partition %s refuses the end of the transaction: %s", p, cmd.Errs[i]))
		default:
			retry = max(retry, retryMarkers)
		}
	}
	t.unmarked = slices.DeleteFunc(t.unmarked, func(p kafka.TopicPartition) bool { return done[p] })
	if len(t.unmarked) == 0 {
		s.finish(out, now, t)
		return
	}
	out.SetTimer(coordinator.TimerKey{Kind: timerMarkers, Group: t.ID}, now.Add(max(retry, retryMarkers)))
}
