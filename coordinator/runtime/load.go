package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"spate/coordinator"
	"spate/kafka"
	"spate/kafka/record"
)

// loadBytes is how much of the log is read at a time. Between two reads a shard looks whether it is still to load.
const loadBytes = 4 << 20

// load is how far the reading of the log has come.
type load struct {
	inLine  bool // for a place
	running bool // with a place
	since   time.Time
	next    kafka.Offset // to be read
	records int64
	unknown int64
	corrupt error // why a batch or a record could not be understood
}

// loadSome does one step of the loading.
func (s *shard) loadSome(now time.Time) bool {
	l := &s.load
	if !l.running && !s.takePlace() {
		return false
	}
	if s.machine == nil {
		if !s.beginLoad(now) {
			return true
		}
	}
	_, end, err := s.log.Bounds()
	if err == nil && l.next < end {
		err = s.loadChunk(end)
		if err == nil {
			return true
		}
	}
	if err == nil {
		s.loaded(now)
		return true
	}
	s.leaveLoad()
	if l.corrupt == nil && !errors.Is(err, ErrCorrupt) {
		s.fall(now, fmt.Errorf("load: %w", err))
		return true
	}
	s.host.stats.Corrupt.Add(1)
	s.host.options.Log.Error("a coordinator is not served: its log has a record that cannot be read",
		"partition", s.name, "error", err)
	s.drop(Corrupt)
	return true
}

func (s *shard) takePlace() bool {
	l := &s.load
	switch {
	case !l.inLine && !s.host.beginLoad(s):
		l.inLine = true
		return false
	case l.inLine && !s.placed.Swap(false):
		return false
	}
	*l = load{running: true}
	return true
}

// leaveLoad gives the place back, or leaves the line.
func (s *shard) leaveLoad() {
	l := &s.load
	switch {
	case l.running:
		s.host.endLoad()
	case l.inLine:
		s.host.leaveLine(s)
	}
	l.running, l.inLine = false, false
}

// beginLoad makes the empty machine. false means that the log could not be asked.
func (s *shard) beginLoad(now time.Time) bool {
	start, _, err := s.log.Bounds()
	if err != nil {
		s.leaveLoad()
		s.fall(now, fmt.Errorf("load: %w", err))
		return false
	}
	s.load.since, s.load.next = now, start
	s.machine = s.host.options.NewMachine(s.partition)
	return true
}

func (s *shard) loadChunk(end kafka.Offset) error {
	l := &s.load
	next, err := s.log.Read(l.next, loadBytes, s.replay)
	if err != nil {
		return fmt.Errorf("from offset %d: %w", l.next, err)
	}
	if next <= l.next {
		l.corrupt = fmt.Errorf("the log holds nothing from offset %d on, and ends at %d", l.next, end)
		return l.corrupt
	}
	l.next = next
	return nil
}

// replay applies whole batches of the log.
func (s *shard) replay(batches []byte) error {
	l := &s.load
	for len(batches) > 0 {
		b, rest, err := record.Next(batches)
		if err == nil {
			err = b.CheckCRC()
		}
		if err == nil && b.NextOffset() > l.next { // a read may begin before the offset that was asked for
			err = s.replayBatch(b)
		}
		if err != nil {
			l.corrupt = err
			return err
		}
		batches = rest
	}
	return nil
}

func (s *shard) replayBatch(b record.Batch) error {
	at := coordinator.Place{ProducerID: kafka.NoProducerID, ProducerEpoch: kafka.NoProducerEpoch}
	if b.IsTransactional() {
		at.ProducerID, at.ProducerEpoch = b.ProducerID(), b.ProducerEpoch()
	}
	records := b.Records()
	defer records.Close()
	for {
		r, ok := records.Next()
		if !ok {
			return records.Err()
		}
		at.Offset = r.Offset
		s.load.records++
		var err error
		if b.IsControl() {
			err = s.replayMarker(b, &r)
		} else {
			err = s.replayRecord(&r, at)
		}
		if err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
	}
}

func (s *shard) replayRecord(r *record.Record, at coordinator.Place) error {
	decoded, err := s.machine.Decode(r.Key, r.Value)
	if errors.Is(err, coordinator.ErrUnknownRecord) {
		s.load.unknown++
		return nil
	}
	if err == nil {
		s.machine.Apply(decoded, at)
	}
	return err
}

// replayMarker ends a transaction. Control records of other kinds mean nothing to a coordinator.
func (s *shard) replayMarker(b record.Batch, r *record.Record) error {
	kind, err := r.ControlType()
	if err != nil {
		return err
	}
	if kind == record.ControlCommit || kind == record.ControlAbort {
		s.machine.ApplyMarker(b.ProducerID(), b.ProducerEpoch(), kind == record.ControlCommit)
	}
	return nil
}

// loaded begins to serve.
func (s *shard) loaded(now time.Time) {
	l := &s.load
	s.leaveLoad()
	stats := &s.host.stats
	stats.Replayed.Add(l.records)
	stats.Unknown.Add(l.unknown)
	stats.Loads.Add(1)
	took := s.host.options.Clock.Now().Sub(l.since)
	if h := s.host.options.LoadTime; h != nil {
		h.Observe(took)
	}
	level := slog.LevelDebug
	if l.records > 0 {
		level = slog.LevelInfo
	}
	s.host.options.Log.Log(context.Background(), level, "a coordinator is loaded", "partition", s.name,
		"epoch", int32(s.epoch), "records", l.records, "unknown", l.unknown, "took", took.String())
	s.batch.begin(l.next)
	s.log.Watch(s.signal)
	s.carryOut(now, s.machine.Loaded(now))
	s.append(now)
	if s.machine != nil {
		s.changed = true
		s.become(Serving)
	}
}
