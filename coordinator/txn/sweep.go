package txn

import (
	"errors"
	"maps"
	"slices"
	"time"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// What one step of a sweep writes at most, so that the commands of others do not wait long. Where it does not fit into
// a batch there are fewer records from then on.
const (
	sweepRecordsMax    = 100
	sweepPartitionsMax = 5_000
)

// armSweep sees to it that somebody looks at the transactions that have begun.
func (s *Shard) armSweep(out *coordinator.Outcome, now time.Time) {
	if s.sweepAt.IsZero() {
		s.sweepAt = now.Add(s.options.AbortInterval)
	}
	out.SetTimer(coordinator.TimerKey{Kind: timerSweep}, s.sweepAt)
}

// isTimedOut tells whether an open transaction has taken longer than its producer said that it would.
func (t *transaction) isTimedOut(now time.Time) bool {
	return t.State == record.Ongoing && int64(t.Start)+int64(t.TimeoutMs) < now.UnixMilli()
}

// sweep aborts the transactions that take too long.
func (s *Shard) sweep(out *coordinator.Outcome, now time.Time) {
	s.sweepAt = time.Time{}
	var late []string
	for id, t := range s.ongoing {
		if t.isTimedOut(now) && !now.Before(t.awaits) {
			late = append(late, id)
		}
	}
	slices.Sort(late)
	partitions := 0
	for i, id := range late {
		t := s.ongoing[id]
		partitions += t.partitionCount()
		if i == s.sweepRecords || i > 0 && partitions > sweepPartitionsMax {
			s.sweepAt = now // with the next turn
			break
		}
		s.abortLate(out, now, t, kafka.NoProducerID)
	}
	if len(s.ongoing) > 0 {
		s.armSweep(out, now)
	}
}

func (t *transaction) partitionCount() int {
	n := 0
	for i := range t.Topics {
		n += len(t.Topics[i].Partitions)
	}
	return n
}

func (s *Shard) abortLate(out *coordinator.Outcome, now time.Time, t *transaction, fresh kafka.ProducerID) {
	err := s.fence(out, now, t, TimedOut, fresh)
	if errors.Is(err, ErrNeedsProducerID) {
		t.awaits = now.Add(s.options.AbortInterval)
		out.Ask(AllocateProducerID{ID: t.ID, Expire: Expire{ProducerID: t.ProducerID, Epoch: t.Epoch}})
		return
	}
	out.Note(t.ID, "the transaction has taken too long and is aborted")
}

// timedOut aborts a transaction for which a producer id was to be had first, if it is still the same.
func (s *Shard) timedOut(out *coordinator.Outcome, now time.Time, t *transaction, cmd *Expire) {
	if t != nil && t.ProducerID == cmd.ProducerID && t.Epoch == cmd.Epoch && t.isTimedOut(now) &&
		cmd.Fresh != kafka.NoProducerID {
		s.abortLate(out, now, t, cmd.Fresh)
	}
}

// expire takes away the ids that nobody has used for long, in steps.
func (s *Shard) expire(out *coordinator.Outcome, now time.Time) {
	if s.expiring == nil {
		s.expiring = slices.Sorted(maps.Keys(s.ids))
	}
	latest := now.Add(-s.options.Expiration).UnixMilli()
	for len(s.expiring) > 0 && len(out.Records) < s.sweepRecords {
		id := s.expiring[0]
		s.expiring = s.expiring[1:]
		t := s.ids[id]
		switch {
		case t == nil, !t.State.IsComplete() && t.State != record.Empty, int64(t.LastUpdate) > latest:
			continue
		case len(t.waiters) > 0:
			continue // they would go with it, without an answer
		}
		out.Write(&record.Transaction{ID: id, Deleted: true})
	}
	next := now
	if len(s.expiring) == 0 {
		s.expiring, next = nil, now.Add(s.options.ExpiryInterval)
	}
	out.SetTimer(coordinator.TimerKey{Kind: timerExpiry}, next)
}
