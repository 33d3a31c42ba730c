package runtime

import (
	"time"

	"spate/coordinator"
	"spate/internal/invariant"
	"spate/kafka"
	"spate/kafka/record"
)

// What belongs to a transaction is a batch of its own, because a batch has one producer. It is appended at once, after
// what was decided before it, and applied only then: the log may refuse it for its producer's sake, and then nothing
// has happened.

// carryOutTransaction does what a machine has decided about records of a transaction.
func (s *shard) carryOutTransaction(now time.Time, o *coordinator.Outcome) {
	t := o.Transaction
	refusal := s.writeTransaction(now, o.Records, t)
	if s.machine == nil {
		return // all who wait have been answered
	}
	if refusal == nil {
		s.takeEffect(now, o)
		return
	}
	for i := range o.Replies {
		s.park(now, o.Replies[i].To, nil, refusal)
	}
}

func (s *shard) writeTransaction(now time.Time, records []coordinator.Record, t *coordinator.Transaction) error {
	if len(records) == 0 {
		return nil
	}
	s.append(now)
	if s.machine == nil {
		return nil
	}
	b := &s.batch
	bytes, err := s.encode(records, 0)
	if err == nil {
		err = s.reserve(now, bytes, len(records))
	}
	if err != nil || s.machine == nil {
		return err
	}
	// Each batch begins with sequence 0, as Kafka's do: nobody checks it.
	producer := record.Producer{ID: t.ProducerID, Epoch: t.ProducerEpoch}
	b.builder.Reset(record.BuilderOptions{Producer: &producer, Transactional: true})
	b.add(kafka.Timestamp(now.UnixMilli()))
	terms := coordinator.Terms{Verification: t.Verification}
	if refusal := s.appendOrFall(now, s.host.options.Codec, terms); refusal != nil || s.machine == nil {
		return refusal
	}
	at := coordinator.Place{Offset: b.base, ProducerID: t.ProducerID, ProducerEpoch: t.ProducerEpoch}
	for _, r := range records {
		s.machine.Apply(r, at)
		at.Offset++
	}
	b.begin(at.Offset)
	s.changed = true
	return nil
}

// endTransaction writes a marker and has the machine know of it.
func (s *shard) endTransaction(now time.Time, to coordinator.Token, e *EndTransaction) {
	refusal := s.writeMarker(now, e)
	if s.machine != nil && to != coordinator.Nobody {
		s.park(now, to, nil, refusal)
	}
}

func (s *shard) writeMarker(now time.Time, e *EndTransaction) error {
	s.append(now)
	if s.machine == nil {
		return nil
	}
	if err := s.reserve(now, markerBytesMax, 1); err != nil || s.machine == nil {
		return err
	}
	b := &s.batch
	producer := record.Producer{ID: e.ProducerID, Epoch: e.ProducerEpoch, Sequence: kafka.NoSequence}
	b.builder.Reset(record.BuilderOptions{Producer: &producer, Transactional: true, Control: true})
	kind := record.ControlAbort
	if e.Commit {
		kind = record.ControlCommit
	}
	b.builder.AppendEndTxnMarker(kafka.Timestamp(now.UnixMilli()), kind, e.CoordinatorEpoch)
	invariant.Check(b.builder.Bytes() <= record.HeaderBytes+markerBytesMax, "a marker of %d bytes", b.builder.Bytes())
	terms := coordinator.Terms{TxnVersion: e.TxnVersion}
	if refusal := s.appendOrFall(now, record.None, terms); refusal != nil || s.machine == nil {
		return refusal
	}
	s.machine.ApplyMarker(e.ProducerID, e.ProducerEpoch, e.Commit)
	b.begin(b.base + 1)
	s.changed = true
	return nil
}

// markerBytesMax is what a marker takes in a batch at most: its overhead, a key of 4 bytes and a value of 6.
const markerBytesMax = recordOverheadMax + 4 + 6

// appendOrFall appends the batch of a transaction. The log may refuse it: then the batch is empty again, and the
// error is for who asked. After any other error the machine is gone.
func (s *shard) appendOrFall(now time.Time, codec record.Codec, terms coordinator.Terms) (refusal error) {
	err := s.appendBuilt(now, codec, terms)
	switch {
	case err == nil:
		return nil
	case isRefusal(err):
		s.batch.begin(s.batch.base)
		return err
	}
	s.fall(now, err)
	return nil
}

// isRefusal tells whether a log has refused a batch because of its producer.
func isRefusal(err error) bool {
	switch kafka.CodeOf(err) {
	case kafka.InvalidProducerEpoch.Code, kafka.InvalidTxnState.Code, kafka.TransactionCoordinatorFenced.Code:
		return true
	}
	return false
}
