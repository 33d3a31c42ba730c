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

// The timers of a shard. Those of a transactional id have it as their group.
const (
	timerSweep   uint8 = 1 // the next look for transactions that take too long
	timerExpiry  uint8 = 2 // the next look for ids that nobody uses
	timerMarkers uint8 = 3 // the markers of an id are asked for again, or its end is written again
	timerWaiters uint8 = 4 // those who wait for the end of an id's last transaction are looked at
)

// Options is what a shard needs to know.
type Options struct {
	TimeoutMaxMs  int32         // transaction.max.timeout.ms
	AbortInterval time.Duration // transaction.abort.timed.out.transaction.cleanup.interval.ms
	// Expiration is transactional.id.expiration.ms, looked after each ExpiryInterval,
	// transaction.remove.expired.transaction.cleanup.interval.ms.
	Expiration, ExpiryInterval time.Duration
	// Version is transaction.version as it is now. A command Version follows when it changes.
	Version int16
	// Life tells this shard from those that had the partition before, whose tasks may be under way.
	Life uint64
}

// Shard is the coordinator of one partition's transactional ids; it is a machine of coordinator/runtime.
type Shard struct {
	options Options
	version int16
	ids     map[string]*transaction
	ongoing map[string]*transaction // those of ids in state Ongoing
	counts  [record.StateCount]int
	// sweepAt is when timerSweep fires; zero if it is not set. An outcome that sets the timer may be refused, so that
	// each transaction that begins sets it again, to the same time.
	sweepAt      time.Time
	sweepRecords int      // that one step of a sweep writes at most
	expiring     []string // what the expiry under way has still to look at
	asks         uint64   // tasks to write markers
}

// transaction is a transactional id: its last record, which nobody changes, and what is not in the log.
type transaction struct {
	*record.Transaction
	unmarked []kafka.TopicPartition // in a prepared state: those whose markers are not known to be committed
	asked    Ask                    // the last task to write them
	// awaits is until when a sweep leaves it alone: a producer id is being allocated, without which it cannot be ended,
	// or its end is too large.
	awaits  time.Time
	waiters []waiter // of AddPartitions, in order
}

// waiter is an AddPartitions that waits until the last transaction of its id is completed.
type waiter struct {
	to    coordinator.Token
	cmd   *AddPartitions
	until time.Time
}

// NewShard makes a shard without transactional ids, ready for the records of its partition.
func NewShard(o Options) *Shard {
	return &Shard{
		options: o, version: o.Version, ids: map[string]*transaction{}, ongoing: map[string]*transaction{},
		sweepRecords: sweepRecordsMax,
	}
}

// Decode decodes a record of the partition.
func (s *Shard) Decode(key, value []byte) (coordinator.Record, error) {
	t, err := record.Decode(key, value)
	if err != nil {
		return nil, err
	}
	t.Sort()
	return t, nil
}

// Apply makes a record the state of its transactional id.
func (s *Shard) Apply(r coordinator.Record, _ coordinator.Place) {
	next := r.(*record.Transaction)
	t := s.ids[next.ID]
	if t != nil {
		s.counts[t.State]--
	}
	delete(s.ongoing, next.ID)
	if next.Deleted {
		delete(s.ids, next.ID)
		return
	}
	if t == nil {
		t = &transaction{}
		s.ids[next.ID] = t
	}
	t.Transaction, t.unmarked, t.awaits = next, nil, time.Time{}
	s.counts[t.State]++
	switch {
	case t.State == record.Ongoing:
		s.ongoing[next.ID] = t
	case t.State.IsPrepared():
		t.unmarked = t.Partitions()
	}
}

// ApplyMarker does nothing: no record of the log is in a transaction itself.
func (s *Shard) ApplyMarker(kafka.ProducerID, kafka.ProducerEpoch, bool) {}

// Loaded asks for the markers of the transactions whose end was decided, and sets the timers. It writes nothing: what
// is refused with its records would be lost.
func (s *Shard) Loaded(now time.Time) coordinator.Outcome {
	var out coordinator.Outcome
	for _, id := range slices.Sorted(maps.Keys(s.ids)) {
		if t := s.ids[id]; t.State.IsPrepared() && len(t.unmarked) > 0 {
			s.proceed(&out, now, t)
		} else if t.State.IsPrepared() {
			out.SetTimer(coordinator.TimerKey{Kind: timerMarkers, Group: id}, now)
		}
	}
	if len(s.ongoing) > 0 {
		s.armSweep(&out, now)
	}
	out.SetTimer(coordinator.TimerKey{Kind: timerExpiry}, now.Add(s.options.ExpiryInterval))
	return out
}

// Fired says what follows from a timer.
func (s *Shard) Fired(now time.Time, key coordinator.TimerKey) coordinator.Outcome {
	var out coordinator.Outcome
	switch key.Kind {
	case timerSweep:
		s.sweep(&out, now)
	case timerExpiry:
		s.expire(&out, now)
	case timerMarkers:
		if t := s.ids[key.Group]; t != nil && t.State.IsPrepared() {
			s.proceed(&out, now, t)
		}
	case timerWaiters:
		if t := s.ids[key.Group]; t != nil {
			s.answerWaiters(&out, now, t)
		}
	}
	return out
}

// retryRefused is when something is tried again whose records could not be written; the value is that of the groups.
const retryRefused = 500 * time.Millisecond

// Refused looks after what nobody would ask for again: the ends of transactions whose markers are written, those that
// take too long, those who wait behind one that was refused, and the ids that expire. What was too large together is
// tried again in smaller steps.
func (s *Shard) Refused(now time.Time, records []coordinator.Record, why error) coordinator.Outcome {
	var out coordinator.Outcome
	at := now.Add(retryRefused)
	tooLarge := errors.Is(why, kafka.RecordListTooLarge)
	if tooLarge && len(records) > 1 {
		s.sweepRecords, at = len(records)/2, now
	}
	for _, r := range records {
		switch t := r.(*record.Transaction); {
		case t.Deleted:
			s.expiring = nil
			out.SetTimer(coordinator.TimerKey{Kind: timerExpiry}, at)
		case t.State.IsComplete():
			out.SetTimer(coordinator.TimerKey{Kind: timerMarkers, Group: t.ID}, at)
		case t.State == record.PrepareAbort:
			s.sweepAt = at
			out.SetTimer(coordinator.TimerKey{Kind: timerSweep}, at)
			if tooLarge && len(records) == 1 { // max.message.bytes was lowered: the others first
				s.ids[t.ID].awaits = now.Add(s.options.AbortInterval)
			}
		case t.State == record.Ongoing:
			if x := s.ids[t.ID]; x != nil && len(x.waiters) > 0 {
				out.SetTimer(coordinator.TimerKey{Kind: timerWaiters, Group: t.ID}, at)
			}
		}
	}
	return out
}

// Report is how much a shard holds, for metrics: transactional ids by state.
type Report struct {
	States [record.StateCount]int
}

// Report counts what the shard holds.
func (s *Shard) Report() any { return Report{States: s.counts} }
