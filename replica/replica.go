package replica

import (
	"errors"
	"sync"
	"sync/atomic"

	"spate/kafka"
	"spate/partition"
	"spate/replica/state"
)

// Watcher is told what those who wait for a replica wait for. It is called without any lock held, on event loops, the
// flusher and the metadata goroutine.
type Watcher interface {
	// Advance says that the high watermark is now mark; reads see it already.
	Advance(mark kafka.Offset)
	// Interrupt says that the replica has another role, or has failed, or is deleted.
	Interrupt()
}

// View is what handlers know of a replica. It never changes: a change publishes a new one, so a handler that works on
// an older one acts as if its request had come a moment earlier.
type View struct {
	state.View
	// Log is nil for a replica whose log was not found readable when the broker started.
	Log *partition.Log
	// Unavailable is why nothing can be read or written: KAFKA_STORAGE_ERROR, or UNKNOWN_TOPIC_OR_PARTITION once the
	// topic is deleted. It is nil while all is well.
	Unavailable error
	// ISRMin is how many replicas must be in sync for acks=all: min.insync.replicas, but never more than there are.
	ISRMin int
	// AckFlushed says that a copy counts when it is on the disk (spate.ack.durability=flush).
	AckFlushed bool
}

// Replica is this broker's copy of one partition.
type Replica struct {
	tp      kafka.TopicPartition
	watcher Watcher
	view    atomic.Pointer[View]

	mu      sync.Mutex
	machine *state.Machine
	isrMin  int // min.insync.replicas
}

// newReplica makes the replica of a log, or of nothing where log is nil: then it is unavailable.
func newReplica(
	self kafka.BrokerID, tp kafka.TopicPartition, log *partition.Log, s Settings, w Watcher,
) *Replica {
	r := &Replica{tp: tp, watcher: w, isrMin: s.ISRMin}
	first := &View{Log: log, AckFlushed: s.Log.Durability == partition.DurabilityFlush}
	if log == nil {
		first.Unavailable = kafka.KafkaStorageError
		r.machine = state.New(self, 0, 0, 0)
	} else {
		r.machine = state.New(self, log.HighWatermark(), log.FlushedOffset(), log.LogEndOffset())
	}
	first.View = r.machine.View()
	r.view.Store(first)
	if log != nil {
		log.SetObserver(r)
	}
	r.step(state.Event{Kind: state.Configured, AckFlushed: first.AckFlushed})
	return r
}

// TopicPartition names the partition.
func (r *Replica) TopicPartition() kafka.TopicPartition { return r.tp }

// Watcher is what Options.Watch made for this replica.
func (r *Replica) Watcher() Watcher { return r.watcher }

// View is the newest view.
func (r *Replica) View() *View { return r.view.Load() }

// Lead gives the view if this broker leads the partition in the leader epoch that the client believes in, or in any
// when epoch is negative. The view comes with an error too: it says who leads instead.
func (r *Replica) Lead(epoch kafka.LeaderEpoch) (*View, error) {
	v, err := r.Check(epoch)
	if err == nil && v.Role != state.Leader {
		err = kafka.NotLeaderOrFollower
	}
	return v, err
}

// Check is Lead for requests that a follower may answer as well.
func (r *Replica) Check(epoch kafka.LeaderEpoch) (*View, error) {
	v := r.view.Load()
	switch {
	case v.Unavailable != nil:
		return v, v.Unavailable
	case epoch < 0 || epoch == v.LeaderEpoch:
		return v, nil
	case epoch < v.LeaderEpoch:
		return v, kafka.FencedLeaderEpoch
	}
	return v, kafka.UnknownLeaderEpoch
}

// AppendOptions is what an append needs to know besides the bytes.
type AppendOptions struct {
	Acks           int16 // of the Produce request
	Origin         partition.Origin
	Now            kafka.Timestamp
	ProduceVersion int16
	Verification   partition.Verification // of a transaction's batch
	TxnVersion     int16                  // of a marker
}

// Append validates and appends records as the leader. The append counts as committed once the high watermark has
// reached the result's EndOffset, which may be so already.
func (r *Replica) Append(records []byte, o AppendOptions) (partition.Appended, error) {
	return r.AppendIn(kafka.NoLeaderEpoch, records, o)
}

// AppendIn is Append for a writer that led in that epoch and is fenced in any other.
func (r *Replica) AppendIn(epoch kafka.LeaderEpoch, records []byte, o AppendOptions) (partition.Appended, error) {
	v, err := r.Lead(epoch)
	if err != nil {
		return partition.Appended{}, err
	}
	if o.Acks == AcksAll && v.ISR < v.ISRMin {
		return partition.Appended{}, kafka.NotEnoughReplicas
	}
	appended, err := v.Log.Append(records, partition.AppendOptions{
		LeaderEpoch: v.LeaderEpoch, Origin: o.Origin, Now: o.Now, ProduceVersion: o.ProduceVersion,
		Verification: o.Verification, TxnVersion: o.TxnVersion,
	})
	if r.elsewhere(v.Log, err) {
		return r.AppendIn(epoch, records, o)
	}
	if err != nil {
		return appended, err
	}
	// The view of now, not that from before: who changes the setting publishes it before asking for a flush, so that
	// either that flush is after this append, or the append sees the setting.
	if r.view.Load().AckFlushed {
		// Whatever the acks of this request: consumers wait for the high watermark, and it for the flush.
		v.Log.AwaitFlush()
	}
	if !appended.Duplicate {
		r.step(state.Event{Kind: state.Appended, Offset: appended.EndOffset})
	}
	return appended, nil
}

// BeginVerification tells whether a transaction's coordinator has to be asked before a batch of it is appended.
func (r *Replica) BeginVerification(v partition.Verifying) (partition.Verification, error) {
	view, err := r.Lead(kafka.NoLeaderEpoch)
	if err != nil {
		return partition.NoVerification, err
	}
	if !v.BumpsEpoch && !view.Log.Dir().Verified() {
		return partition.NoVerification, nil
	}
	number, err := view.Log.BeginVerification(v)
	if r.elsewhere(view.Log, err) {
		return r.BeginVerification(v)
	}
	return number, err
}

// elsewhere tells whether err means only that log was moved to another directory meanwhile.
func (r *Replica) elsewhere(log *partition.Log, err error) bool {
	return err != nil && errors.Is(err, partition.ErrMoved) && r.view.Load().Log != log
}

// AcksAll is the acks of a request that waits for the whole ISR.
const AcksAll int16 = -1

// ReadOptions says what to read.
type ReadOptions struct {
	Offset   kafka.Offset
	BytesMax int
	// MinOne gives the first batch even if it is larger than BytesMax.
	MinOne bool
	// Committed ends the read at the last stable offset rather than the high watermark.
	Committed bool
	// Aborted, if not nil, gets the aborted transactions of a Committed read appended.
	Aborted            *[]partition.AbortedTransaction
	CurrentLeaderEpoch kafka.LeaderEpoch // as the reader believes, or NoLeaderEpoch
	LastFetchedEpoch   kafka.LeaderEpoch // of the record before Offset, or NoLeaderEpoch
}

// ReadResult is records and where they stand in the log.
type ReadResult struct {
	Records          partition.ReadResult
	HighWatermark    kafka.Offset
	LastStableOffset kafka.Offset
	LogStartOffset   kafka.Offset
	// DivergingEpoch and DivergingEnd are set, and nothing is read, when the reader's log is not a prefix of this one:
	// the reader's last epoch, or the one before it, ends at DivergingEnd here. Otherwise DivergingEpoch is
	// NoLeaderEpoch.
	DivergingEpoch kafka.LeaderEpoch
	DivergingEnd   kafka.Offset
}

// Read reads whole batches for a consumer, from the leader. The offsets are those before the read, so that they never
// promise more than it saw.
func (r *Replica) Read(o *ReadOptions, result *ReadResult) error {
	v, err := r.Lead(o.CurrentLeaderEpoch)
	if err != nil {
		return err
	}
	result.HighWatermark = v.Log.HighWatermark()
	result.LastStableOffset = min(v.Log.LastStableOffset(), result.HighWatermark)
	result.LogStartOffset = v.Log.LogStartOffset()
	result.DivergingEpoch, result.DivergingEnd = kafka.NoLeaderEpoch, kafka.NoOffset
	if o.LastFetchedEpoch >= 0 {
		diverges, err := diverge(v.Log, o, result)
		if diverges || err != nil {
			return err
		}
	}
	if o.Committed {
		end := result.LastStableOffset // which is not past the high watermark
		result.Records, err = v.Log.ReadCommitted(o.Offset, o.BytesMax, o.MinOne, end, o.Aborted)
	} else {
		result.Records, err = v.Log.Read(o.Offset, o.BytesMax, o.MinOne, result.HighWatermark)
	}
	if r.elsewhere(v.Log, err) {
		return r.Read(o, result)
	}
	return err
}

// Resident tells whether a Read of o finds its way through memory, so that a loop may call it.
func (r *Replica) Resident(o *ReadOptions) bool {
	log := r.view.Load().Log
	if log == nil {
		return true
	}
	end := log.HighWatermark()
	if o.Committed {
		end = log.LastStableOffset()
	}
	return log.Resident(o.Offset, o.BytesMax, end)
}

// Swapping tells whether the log is about to change its directory, so that even a Read of what is in memory may wait.
func (r *Replica) Swapping() bool {
	log := r.view.Load().Log
	return log != nil && log.Swapping()
}

// diverge finds out whether the reader's log has records that this one does not have (KIP-595).
func diverge(log *partition.Log, o *ReadOptions, result *ReadResult) (bool, error) {
	epoch, end := log.EpochEndOffset(o.LastFetchedEpoch)
	if epoch == kafka.NoLeaderEpoch || end == kafka.NoOffset {
		return false, kafka.OffsetOutOfRange
	}
	if epoch < o.LastFetchedEpoch || end < o.Offset {
		result.DivergingEpoch, result.DivergingEnd = epoch, end
		return true, nil
	}
	return false, nil
}

// HighWatermark is the offset below which every record is committed, or NoOffset without a log.
func (r *Replica) HighWatermark() kafka.Offset {
	log := r.view.Load().Log
	if log == nil {
		return kafka.NoOffset
	}
	return log.HighWatermark()
}

// Flushed is called by the flusher of the log's directory.
func (r *Replica) Flushed(offset kafka.Offset) {
	r.step(state.Event{Kind: state.Flushed, Offset: offset})
}

// Failed is called when the log's directory has gone offline; the log may have left it at that moment.
func (r *Replica) Failed(error) {
	if log := r.view.Load().Log; log != nil && log.Failed() == nil {
		return
	}
	r.retire(kafka.KafkaStorageError)
}

// assign takes over the controller's word. A leader's epoch begins where its log ends, before anything is appended in
// it.
func (r *Replica) assign(self kafka.BrokerID, a *state.Assignment) {
	log := r.view.Load().Log
	if log != nil && a.Leader == self && a.LeaderEpoch > log.LatestEpoch() {
		log.AssignEpoch(a.LeaderEpoch)
	}
	r.step(state.Event{Kind: state.Assigned, Assignment: a})
	if log != nil && log.FlushedOffset() < log.LogEndOffset() {
		log.AwaitFlush() // what the last process left: nobody appends, so nobody else asks
	}
}

// configure puts new settings in force.
func (r *Replica) configure(s Settings) {
	flushed := s.Log.Durability == partition.DurabilityFlush
	r.mu.Lock()
	r.isrMin = s.ISRMin
	next := *r.view.Load()
	next.AckFlushed = flushed
	r.publishLocked(&next)
	r.mu.Unlock()
	if next.Log != nil {
		next.Log.UpdateConfig(s.Log)
		if flushed {
			next.Log.AwaitFlush() // what was acknowledged under page-cache is not in the high watermark's way
		}
	}
	r.step(state.Event{Kind: state.Configured, AckFlushed: flushed})
}

// retire makes the replica unavailable for good, in this process.
func (r *Replica) retire(reason error) {
	r.mu.Lock()
	next := *r.view.Load()
	next.Unavailable = reason
	r.publishLocked(&next)
	r.mu.Unlock()
	r.watcher.Interrupt()
}

// step runs the machine and makes its effects known.
func (r *Replica) step(e state.Event) {
	var fx state.Effects
	r.mu.Lock()
	r.machine.Step(e, &fx)
	if fx.Changed {
		next := *r.view.Load()
		r.publishLocked(&next)
	}
	r.mu.Unlock()
	if fx.Advanced {
		r.view.Load().Log.AdvanceHighWatermark(fx.HighWatermark)
		r.watcher.Advance(fx.HighWatermark)
	}
	if fx.Changed {
		r.watcher.Interrupt()
	}
}

// publishLocked publishes next with the machine's state and the minimum that follows from it.
func (r *Replica) publishLocked(next *View) {
	next.View = r.machine.View()
	next.ISRMin = min(r.isrMin, max(next.Replicas, 1))
	r.view.Store(next)
}
