package replica

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"spate/kafka"
	"spate/metadata/image"
	"spate/partition"
	"spate/replica/state"
)

// relocate makes next, which has all that the replica's log had, the replica's log. Its caller holds the append lock of
// the log that is left, and nobody else knows next yet, so that no append is in between. The high watermark does not go
// back with it.
func (r *Replica) relocate(next *partition.Log) {
	r.mu.Lock()
	for mark := kafka.NoOffset; mark != r.machine.HighWatermark(); {
		mark = r.machine.HighWatermark()
		r.mu.Unlock()
		next.AdvanceHighWatermark(mark) // what the old log was told, or is about to be
		r.mu.Lock()
	}
	v := *r.view.Load()
	v.Log = next
	r.publishLocked(&v)
	r.mu.Unlock()
}

// relocated makes known what relocate brought about: everything in the log is on the disk.
func (r *Replica) relocated() {
	log := r.view.Load().Log
	r.mu.Lock()
	mark := r.machine.HighWatermark()
	r.mu.Unlock()
	log.AdvanceHighWatermark(mark) // one that somebody was about to tell the old log
	if flushed := log.FlushedOffset(); flushed > kafka.NoOffset {
		r.step(state.Event{Kind: state.Flushed, Offset: flushed})
	}
	if log.Failed() != nil { // before the directory knew of this log, so that nobody was told
		r.retire(kafka.KafkaStorageError)
	}
	if r.view.Load().AckFlushed {
		log.AwaitFlush()
	}
	r.watcher.Interrupt()
}

// compareDir has the controller told where a replica is, if it thinks otherwise; while a replica is moved, it is
// right in either directory. The caller holds s.changing.
func (s *Set) compareDir(topic kafka.UUID, r *Replica, p *image.Partition) {
	log := r.view.Load().Log
	if log == nil || log.Dir().ID() == p.Directory(s.options.Self) || s.mover.of(r.tp) != nil {
		return
	}
	s.mover.note(assigning{topic: topic, replica: r})
}

// assigning is a replica of which the controller is to be told in which directory it is.
type assigning struct {
	topic   kafka.UUID
	replica *Replica
	then    func() // what is to be done when the controller knows; may be nil
}

func (m *mover) note(a assigning) {
	m.mu.Lock()
	m.unassigned = append(m.unassigned, a)
	m.mu.Unlock()
	signal(m.wakeAssign)
}

const (
	// assignRetry is how long it takes until assignments are tried again that the controller did not take.
	assignRetry = time.Second
	// assignBatch is how many assignments go to the controller at a time.
	assignBatch = 1000
)

// runAssign tells the controller of the directories that it does not know yet.
func (m *mover) runAssign() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wakeAssign:
		}
		for m.ctx.Err() == nil {
			m.mu.Lock()
			n := min(len(m.unassigned), assignBatch)
			batch := slices.Clone(m.unassigned[:n])
			m.unassigned = slices.Delete(m.unassigned, 0, n)
			m.mu.Unlock()
			if n == 0 {
				break
			}
			if err := m.assign(batch); err != nil && m.ctx.Err() == nil {
				m.set.options.Log.Warn("the controller does not know yet in which log directory partitions are",
					"partitions", len(batch), "error", err)
				m.mu.Lock()
				m.unassigned = append(batch, m.unassigned...)
				m.mu.Unlock()
				sleep(m.ctx, m.set.options.Clock, assignRetry)
			}
		}
	}
}

// putOff has a wait for the end of the move that its replica is on by now, if it is not over yet.
func (m *mover) putOff(a assigning) {
	m.mu.Lock()
	x := m.moves[a.replica.tp]
	if x != nil {
		x.after = append(x.after, a)
	}
	m.mu.Unlock()
	if x == nil {
		m.note(a)
	}
}

// assign tells the controller where the replicas of a batch are now. Of one that is on its way it hears from the move:
// what is to be done when it knows waits for the end of that.
func (m *mover) assign(batch []assigning) error {
	var list []DirAssignment
	moving := make([]bool, len(batch))
	for i, a := range batch {
		moving[i] = m.of(a.replica.tp) != nil
		if log := a.replica.view.Load().Log; log != nil && !moving[i] {
			list = append(list, DirAssignment{a.topic, a.replica.tp.Partition, log.Dir().ID()})
		}
	}
	if len(list) > 0 {
		if err := m.options.Assign(m.ctx, list); err != nil {
			return err
		}
	}
	for i, a := range batch {
		switch {
		case a.then == nil:
		case moving[i]:
			m.putOff(a)
		default:
			a.then()
		}
	}
	return nil
}

// choose tells which of two logs of a partition is the one to go on with, where a crash in the middle of a move left
// both, and deletes the other; nil where there is no telling. before is the error of an earlier call.
func (s *Set) choose(img *image.Image, a, b *partition.Log, before error) (*partition.Log, error) {
	tp := a.TopicPartition()
	assigned := kafka.ZeroUUID
	if p := img.Partition(tp.Topic, tp.Partition); p != nil {
		assigned = p.Directory(s.options.Self)
	}
	keep, drop, moved := partition.ChooseMoved(a, b, assigned)
	if !moved {
		return nil, errors.Join(before, fmt.Errorf("%s is in %s and in %s: remove the copy that is older",
			tp, a.Dir().Path(), b.Dir().Path()))
	}
	s.options.Log.Info("a crash left a partition in two log directories while it was moved", "partition", tp.String(),
		"goes_on_in", keep.Dir().Path(), "is_deleted_in", drop.Dir().Path())
	return keep, errors.Join(before, drop.Delete())
}

// judgeCorrupt is choose where the log in dir could not be loaded. A copy that replaces it is complete; what a copy
// that is corrupt has more than the log, nobody knows.
func (s *Set) judgeCorrupt(found logs, tp kafka.TopicPartition, dir *partition.LogDir) error {
	log := found[tp]
	switch {
	case log == nil:
		found[tp] = nil
		return nil
	case log.MovedFrom() == dir.ID():
		return dir.DeleteFolder(tp, log.TopicID())
	}
	return fmt.Errorf("%s is in %s and, corrupt, in %s: remove the copy that is older",
		tp, log.Dir().Path(), dir.Path())
}

// settleMoves forgets which folders were replaced, where those are known to be gone.
func (s *Set) settleMoves(found logs) {
	for _, log := range found {
		if log == nil {
			continue
		}
		from := log.MovedFrom()
		if from == kafka.ZeroUUID {
			continue
		}
		for _, d := range s.dirs {
			if d.ID() == from && d.Failed() == nil {
				log.SettleMove()
			}
		}
	}
}
