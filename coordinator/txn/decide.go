package txn

import (
	"math"
	"slices"
	"strings"
	"time"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// versionTwo is the version of transactions in which each end raises the producer's epoch (KIP-890).
const versionTwo int16 = 2

// epochLast is the last epoch that a producer may have. The one after it is the coordinator's, to fence that producer.
const epochLast kafka.ProducerEpoch = math.MaxInt16 - 1

// isExhausted tells whether a producer id has no epoch left after this one.
func isExhausted(epoch kafka.ProducerEpoch) bool { return epoch >= epochLast }

// Decide says what follows from a command: a Command, a List or a Version.
func (s *Shard) Decide(now time.Time, to coordinator.Token, cmd any) coordinator.Outcome {
	var out coordinator.Outcome
	switch cmd := cmd.(type) {
	case Command:
		s.decide(&out, now, to, &cmd)
	case List:
		out.Answer(to, s.list(now, &cmd))
	case Version:
		s.version = cmd.Level
	default:
		out.Refuse(to, kafka.InvalidRequest)
	}
	return out
}

func (s *Shard) decide(out *coordinator.Outcome, now time.Time, to coordinator.Token, cmd *Command) {
	if cmd.ID == "" {
		out.Refuse(to, kafka.InvalidRequest)
		return
	}
	var reply any
	var err error
	t := s.ids[cmd.ID]
	switch body := cmd.Body.(type) {
	case InitProducerID:
		reply, err = s.initProducerID(out, now, cmd.ID, &body)
	case AddPartitions:
		if body.VerifyOnly {
			reply, err = verify(t, &body)
		} else {
			reply, err = s.addPartitions(out, now, t, &body)
			if body.Wait > 0 && t != nil && t.State.IsPrepared() {
				s.wait(out, t, waiter{to, &body, now.Add(body.Wait)})
				return
			}
		}
	case EndTxn:
		if body.ClientVersion >= versionTwo {
			reply, err = s.endTwo(out, now, t, &body)
		} else {
			err = s.endOne(out, now, t, &body)
			reply = Producer{}
		}
	case Describe:
		reply, err = describe(t)
	case Markers:
		s.marked(out, now, t, &body)
	case Expire:
		s.timedOut(out, now, t, &body)
	default:
		err = kafka.InvalidRequest
	}
	if err != nil {
		out.Refuse(to, err)
		return
	}
	out.Answer(to, reply)
}

// valueVersion is the version that records are written in.
func (s *Shard) valueVersion() int16 {
	if s.version > 0 {
		return record.VersionFlexible
	}
	return record.VersionFixed
}

// knows tells whether records have a place for what a client of this version of transactions needs. Clients look at
// transaction.version first; Kafka fails in the same way at those that do not.
func (s *Shard) knows(clientVersion int16) bool {
	return clientVersion == 0 || s.valueVersion() == record.VersionFlexible
}

// follow begins the record after that of t; time does not go back, whatever the clock says. What its version has no
// place for is not remembered either.
func (s *Shard) follow(t *record.Transaction, now time.Time, state record.State) *record.Transaction {
	next := *t
	next.Version = s.valueVersion()
	next.PreviousProducerID = t.ProducerID
	if next.Version == record.VersionFixed {
		next.PreviousProducerID, next.NextProducerID, next.ClientVersion = kafka.NoProducerID, kafka.NoProducerID, 0
	}
	next.State = state
	next.LastUpdate = max(kafka.Timestamp(now.UnixMilli()), t.LastUpdate)
	return &next
}

// addPartitions adds partitions to the transaction, or begins one with them.
func (s *Shard) addPartitions(
	out *coordinator.Outcome, now time.Time, t *transaction, cmd *AddPartitions,
) (reply any, err error) {
	switch {
	case t == nil:
		return nil, kafka.InvalidProducerIDMapping
	case t.State.IsPrepared():
		return nil, kafka.ConcurrentTransactions
	}
	if err := t.check(cmd.ProducerID, cmd.Epoch); err != nil {
		return nil, err
	}
	switch {
	case !t.isServed():
		return nil, kafka.UnknownServerError
	case !s.knows(cmd.ClientVersion):
		return nil, kafka.UnsupportedVersion
	}
	reply = AddPartitionsReply{Errs: make([]error, len(cmd.Partitions))}
	isMissing := func(p kafka.TopicPartition) bool { return !t.Has(p) }
	if t.State == record.Ongoing && !slices.ContainsFunc(cmd.Partitions, isMissing) {
		return reply, nil
	}
	next := s.follow(t.Transaction, now, record.Ongoing)
	next.Topics = t.With(cmd.Partitions)
	next.ClientVersion = cmd.ClientVersion
	if t.State != record.Ongoing {
		next.Start = next.LastUpdate
	}
	out.Write(next)
	out.Spare = next.EndSpare() // what can be begun can be ended
	s.armSweep(out, now)
	return reply, nil
}

// wait lets the answer to an AddPartitions wait until its transaction's predecessor is completed.
func (s *Shard) wait(out *coordinator.Outcome, t *transaction, w waiter) {
	t.waiters = append(t.waiters, w)
	out.SetTimer(coordinator.TimerKey{Kind: timerWaiters, Group: t.ID}, t.waiters[0].until)
}

// answerWaiters answers the first of those who wait, if it is time to; the others follow with the next turn, when it is
// known what that one has changed.
func (s *Shard) answerWaiters(out *coordinator.Outcome, now time.Time, t *transaction) {
	if len(t.waiters) == 0 {
		return
	}
	first, next := t.waiters[0], now
	if !t.State.IsPrepared() || !now.Before(first.until) {
		t.waiters = t.waiters[1:]
		if reply, err := s.addPartitions(out, now, t, first.cmd); err != nil {
			out.Refuse(first.to, err)
		} else {
			out.Answer(first.to, reply)
		}
	} else {
		next = first.until
	}
	if len(t.waiters) > 0 {
		out.SetTimer(coordinator.TimerKey{Kind: timerWaiters, Group: t.ID}, next)
	}
}

// verify tells which partitions are in the transaction.
func verify(t *transaction, cmd *AddPartitions) (reply any, err error) {
	if t == nil {
		return nil, kafka.InvalidProducerIDMapping
	}
	if err := t.check(cmd.ProducerID, cmd.Epoch); err != nil {
		return nil, err
	}
	if t.State.IsPrepared() {
		return nil, kafka.ConcurrentTransactions
	}
	errs := make([]error, len(cmd.Partitions))
	for i, p := range cmd.Partitions {
		if !t.Has(p) {
			errs[i] = kafka.TransactionAbortable
		}
	}
	return AddPartitionsReply{Errs: errs}, nil
}

// check says why a producer is not the one that the id belongs to.
func (t *transaction) check(id kafka.ProducerID, epoch kafka.ProducerEpoch) error {
	switch {
	case id != t.ProducerID:
		return kafka.InvalidProducerIDMapping
	case epoch != t.Epoch:
		return kafka.ProducerFenced
	}
	return nil
}

// isServed tells whether the state is one that a coordinator writes. Kafka fails too at the others.
func (t *transaction) isServed() bool { return t.State <= record.CompleteAbort }

// describe gives the state of an id. While markers are being written, it names the partitions that still wait for
// them.
func describe(t *transaction) (reply any, err error) {
	if t == nil || t.State == record.Dead {
		return nil, kafka.TransactionalIDNotFound
	}
	if !t.State.IsPrepared() {
		return t.Transaction, nil
	}
	shown := *t.Transaction
	shown.Topics = (&record.Transaction{}).With(t.unmarked)
	return &shown, nil
}

// listed looks for an id in what a client sent, which may be long.
func listed(ids []kafka.ProducerID, id kafka.ProducerID) bool {
	_, found := slices.BinarySearch(ids, id)
	return found
}

// list gives the ids that pass the filters, in order.
func (s *Shard) list(now time.Time, cmd *List) ListReply {
	var reply ListReply
	for id, t := range s.ids {
		switch {
		case t.State == record.Dead:
		case len(cmd.ProducerIDs) > 0 && !listed(cmd.ProducerIDs, t.ProducerID):
		case !cmd.AllStates && !slices.Contains(cmd.States, t.State):
		case cmd.DurationMs >= 0 && now.UnixMilli()-int64(t.Start) <= cmd.DurationMs:
		case cmd.Matches != nil && !cmd.Matches(id):
		default:
			reply.Listed = append(reply.Listed, Listed{ID: id, ProducerID: t.ProducerID, State: t.State})
		}
	}
	slices.SortFunc(reply.Listed, func(a, b Listed) int { return strings.Compare(a.ID, b.ID) })
	return reply
}
