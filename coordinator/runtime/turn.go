package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"spate/coordinator"
	"spate/internal/invariant"
	"spate/kafka"
	"spate/kafka/record"
)

const (
	// recordOverheadMax is what a record without headers takes in a batch besides its key and value: its length, the
	// attributes, a timestamp delta of 0, the offset delta, the two lengths and the number of headers.
	recordOverheadMax = 5 + 1 + 1 + 5 + 5 + 5 + 1
	// retryMin and retryMax bound the time until a shard loads again after a failed append. It doubles each time: a
	// disk that stays full must not keep the processor busy with loading.
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
	// reportEvery spaces the reports of a machine's state.
	reportEvery = time.Second
)

// errInterleaved ends a shard whose partition somebody else has written to: offsets that were told are wrong, and there
// may be records that the machine has not seen.
var errInterleaved = errors.New("somebody else has written to the partition of a coordinator")

// batch is the records of the turn that are not appended yet.
type batch struct {
	builder *record.Builder
	base    kafka.Offset // of the first record in builder
	end     kafka.Offset // of the next record
	encoded []byte       // the records of one outcome
	spans   []span       // where they lie in encoded
	bytes   []byte       // the finished batch
}

// span is one record in batch.encoded. A tombstone has no value.
type span struct {
	key, value int // ends
	tombstone  bool
}

// turn decides all that waits, in order: broadcasts, commands, timers. Then it appends what follows and answers whom it
// can.
func (s *shard) turn(now time.Time) bool {
	s.mu.Lock()
	news := s.news
	s.news = nil
	s.taken, s.queue = s.queue, s.taken[:0]
	s.mu.Unlock()
	busy := news != nil || len(s.taken) > 0
	s.settle(now)
	if news != nil && s.machine != nil {
		s.carryOut(now, s.machine.Decide(now, coordinator.Nobody, news))
	}
	s.decideTaken(now)
	// A timer that is set by a timer waits for the next turn, even if it is due: that is how a machine does long work
	// in pieces, with the commands of others in between.
	for set := s.timers.count; s.machine != nil; {
		key, due := s.timers.pop(now, set)
		if !due {
			break
		}
		busy = true
		s.host.stats.Fired.Add(1)
		s.carryOut(now, s.machine.Fired(now, key))
	}
	s.append(now)
	s.batch.slim()
	s.settle(now)
	s.tell(now, busy)
	return busy
}

func (s *shard) decideTaken(now time.Time) {
	n := len(s.taken)
	for i := 0; i < n && s.machine != nil; i++ {
		c := s.taken[i]
		s.taken[i] = command{}
		to := coordinator.Nobody
		if c.done != nil {
			s.tokens++
			to = s.tokens
			s.waiting[to] = c.done
		}
		s.host.stats.Commands.Add(1)
		if end, ok := c.body.(EndTransaction); ok {
			s.endTransaction(now, to, &end)
			continue
		}
		s.carryOut(now, s.machine.Decide(now, to, c.body))
	}
	if s.machine == nil {
		return // refuseAll has answered the rest
	}
	s.taken = s.taken[:0]
	s.mu.Lock()
	s.queueLen -= n
	s.mu.Unlock()
}

// carryOut does what a machine has decided.
func (s *shard) carryOut(now time.Time, o coordinator.Outcome) {
	if o.Transaction != nil {
		s.carryOutTransaction(now, &o)
		return
	}
	refusal := s.write(now, &o)
	if refusal == nil {
		s.takeEffect(now, &o)
		return
	}
	for i := range o.Replies {
		s.park(now, o.Replies[i].To, nil, refusal)
	}
	m, ok := s.machine.(Refuser)
	if !ok {
		return
	}
	instead := m.Refused(now, o.Records, refusal)
	if refusal = s.write(now, &instead); refusal != nil {
		s.fall(now, fmt.Errorf("%w: what a machine writes instead of what was refused", refusal))
		return
	}
	s.takeEffect(now, &instead)
}

// takeEffect does what is left of an outcome whose records are written. The machine may be gone: to make room for them,
// others had to be appended first, and that failed.
func (s *shard) takeEffect(now time.Time, o *coordinator.Outcome) {
	if s.machine == nil {
		return
	}
	for i := range o.Timers {
		s.timers.set(o.Timers[i].Key, o.Timers[i].At)
	}
	for i := range o.Replies {
		r := &o.Replies[i]
		s.park(now, r.To, r.Body, r.Err)
	}
	for _, task := range o.Tasks {
		s.parked.push(parkedReply{from: s.batch.end, since: now, done: errand{s}, body: task})
	}
	for _, n := range o.Notes {
		s.host.options.Log.Info(n.Text, "group", n.Group, "partition", s.name)
	}
}

// errand is a task that is parked like a reply. One that is refused is dropped with the machine that asked for it.
type errand struct{ shard *shard }

// Done hands the task out.
func (e errand) Done(task any, err error) {
	if err == nil {
		e.shard.host.options.Do(e.shard.partition, e.shard.epoch, task)
	}
}

// park keeps a reply until all that is written is committed.
func (s *shard) park(now time.Time, to coordinator.Token, body any, err error) {
	done, ok := s.waiting[to]
	if !ok { // asked before, so that the arguments are not made for nothing
		invariant.Check(false, "%s: request %d is answered twice", s.name, to)
	}
	delete(s.waiting, to)
	s.parked.push(parkedReply{from: s.batch.end, since: now, done: done, body: body, err: err})
}

// write puts records into the batch and applies them. An error is what who asked for them is told: they are too large,
// or the disk is full, and nothing was done. The machine may be gone after it, but not with an error.
func (s *shard) write(now time.Time, o *coordinator.Outcome) error {
	records := o.Records
	if len(records) == 0 {
		return nil
	}
	b := &s.batch
	bytes, err := s.encode(records, o.Spare)
	if err != nil {
		return err
	}
	if b.builder.Count() > 0 && b.builder.Bytes()+bytes > s.log.BatchBytesMax() {
		s.append(now)
		if s.machine == nil {
			return nil
		}
	}
	if err := s.reserve(now, bytes, len(records)); err != nil || s.machine == nil {
		return err
	}
	b.add(kafka.Timestamp(now.UnixMilli()))
	at := coordinator.Place{ProducerID: kafka.NoProducerID, ProducerEpoch: kafka.NoProducerEpoch}
	for _, r := range records {
		at.Offset = b.end
		s.machine.Apply(r, at)
		b.end++
	}
	s.changed = true
	return nil
}

// encode lays records out, and refuses those that do not fit into a batch and leave so many bytes.
func (s *shard) encode(records []coordinator.Record, spare int) (bytes int, err error) {
	limit := s.log.BatchBytesMax() - spare
	bytes = s.batch.encode(records, limit)
	if record.HeaderBytes+bytes > limit {
		s.host.stats.TooLarge.Add(1)
		s.host.options.Log.Warn("what follows from a request does not fit into max.message.bytes",
			"partition", s.name, "records", len(records), "limit", limit)
		return 0, kafka.RecordListTooLarge
	}
	return bytes, nil
}

// reserve makes room for records that come to the batch. On a full disk only those who write are refused: the state is
// not lost with the write, as it is where an append fails, and is not to be loaded again.
func (s *shard) reserve(now time.Time, bytes, records int) error {
	b := &s.batch
	err := s.log.Reserve(b.builder.Bytes()+bytes, b.builder.Count()+records, kafka.Timestamp(now.UnixMilli()))
	lacks := errors.Is(err, ErrNoRoom)
	switch {
	case lacks && !s.lacking:
		s.host.options.Log.Error("a coordinator refuses what it would have to write", "partition", s.name, "error", err)
	case err == nil && s.lacking:
		s.host.options.Log.Info("a coordinator writes again", "partition", s.name)
	}
	s.lacking = lacks
	if lacks {
		s.host.stats.NoRoom.Add(1)
		return kafka.NotCoordinator
	}
	if err != nil {
		s.fall(now, err)
	}
	return nil
}

// encode lays the records out in b.encoded and gives what they take in a batch at most. Past limit it gives up: there
// may be millions, and they will be refused.
func (b *batch) encode(records []coordinator.Record, limit int) int {
	b.encoded, b.spans = b.encoded[:0], b.spans[:0]
	for _, r := range records {
		if len(b.encoded) > limit {
			break
		}
		var p span
		var kept bool
		b.encoded = r.AppendKey(b.encoded)
		p.key = len(b.encoded)
		b.encoded, kept = r.AppendValue(b.encoded)
		p.value, p.tombstone = len(b.encoded), !kept
		b.spans = append(b.spans, p)
	}
	return len(b.encoded) + len(records)*recordOverheadMax
}

// add puts what encode laid out into the builder.
func (b *batch) add(ts kafka.Timestamp) {
	start := 0
	for _, p := range b.spans {
		var value []byte
		if !p.tombstone {
			value = b.encoded[p.key:p.value:p.value]
		}
		b.builder.Append(ts, b.encoded[start:p.key], value)
		start = p.value
	}
}

// append appends the batch, if there is anything in it. When that fails, the machine is gone.
func (s *shard) append(now time.Time) {
	b := &s.batch
	if s.machine == nil || b.builder.Count() == 0 {
		return
	}
	if err := s.appendBuilt(now, s.host.options.Codec, coordinator.Terms{}); err != nil {
		s.fall(now, err)
		return
	}
	b.begin(b.end)
}

// appendBuilt builds the batch and appends it where it belongs.
func (s *shard) appendBuilt(now time.Time, codec record.Codec, terms coordinator.Terms) error {
	b := &s.batch
	b.build(codec, s.log.BatchBytesMax())
	base, err := s.log.Append(b.bytes, terms, kafka.Timestamp(now.UnixMilli()))
	if err == nil && base != b.base {
		err = fmt.Errorf("%w: its next record has offset %d, not %d", errInterleaved, base, b.base)
	}
	if err != nil {
		s.host.stats.AppendErrors.Add(1)
		return err
	}
	s.host.stats.Records.Add(int64(b.builder.Count()))
	s.host.stats.Bytes.Add(int64(len(b.bytes)))
	s.host.stats.Batches.Add(1)
	s.backOff = 0
	return nil
}

// build makes b.bytes of the records. What compression makes larger than limit stays as it is.
func (b *batch) build(codec record.Codec, limit int) {
	for _, c := range [...]record.Codec{codec, record.None} {
		var err error
		b.builder.SetCodec(c)
		b.bytes, err = b.builder.AppendTo(b.bytes[:0])
		invariant.Check(err == nil, "a batch of a coordinator cannot be built: %v", err)
		if len(b.bytes) <= limit {
			return
		}
	}
}

// begin empties the batch; its first record will have offset base.
func (b *batch) begin(base kafka.Offset) {
	b.builder.Reset(record.BuilderOptions{})
	b.base, b.end = base, base
	if cap(b.bytes) > batchBytesKept {
		b.bytes = nil
	}
}

// slim frees what a large outcome was laid out in. It is for the end of a turn: a batch also begins in the midst of
// one, to make room for what is laid out already.
func (b *batch) slim() {
	if cap(b.encoded) > batchBytesKept {
		b.encoded = nil
	}
}

// batchBytesKept is how large the buffers of a quiet shard may be.
const batchBytesKept = 256 << 10

// fall throws the machine away after an error and answers all who wait. What is in the log is loaded again later.
func (s *shard) fall(now time.Time, err error) {
	level := slog.LevelError
	if movedAway(err) {
		level = slog.LevelInfo
	} else if s.backOff == retryMax {
		level = slog.LevelDebug // it has been said often enough
	}
	s.backOff = min(max(2*s.backOff, retryMin), retryMax)
	s.retryAt = now.Add(s.backOff)
	s.host.options.Log.Log(context.Background(), level, "a coordinator lost its state and loads it again",
		"partition", s.name, "in", s.backOff.String(), "error", err)
	s.drop(Fallen)
}

// movedAway tells whether err only means that the partition has another leader, or is deleted. Who told the log so
// tells the host next.
func movedAway(err error) bool {
	switch kafka.CodeOf(err) {
	case kafka.NotLeaderOrFollower.Code, kafka.FencedLeaderEpoch.Code, kafka.UnknownLeaderEpoch.Code,
		kafka.UnknownTopicOrPartition.Code:
		return true
	}
	return false
}

// drop throws the machine away and enters a state in which nothing is served.
func (s *shard) drop(next State) {
	s.machine = nil
	s.timers = newTimers()
	s.batch.begin(0)
	s.log.Watch(nil)
	s.report.Store(nil)
	s.become(next)
	s.refuseAll()
}

// settle answers whom the high watermark allows to be answered.
func (s *shard) settle(now time.Time) {
	if s.machine == nil {
		return
	}
	mark, err := s.log.HighWatermark()
	if err != nil {
		s.fall(now, err)
		return
	}
	for {
		r, ok := s.parked.pop(mark)
		if !ok {
			return
		}
		if h := s.host.options.CommitTime; h != nil {
			h.Observe(s.host.options.Clock.Now().Sub(r.since))
		}
		r.done.Done(r.body, r.err)
	}
}

// tell publishes the machine's report when it is time.
func (s *shard) tell(now time.Time, busy bool) {
	s.changed = s.changed || busy
	if s.machine == nil || !s.changed || now.Sub(s.told) < reportEvery {
		return
	}
	s.changed, s.told = false, now
	if m, ok := s.machine.(Reporter); ok {
		report := m.Report()
		s.report.Store(&report)
	}
}
