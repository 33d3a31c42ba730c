package replica

import (
	"slices"
	"time"

	"spate/kafka"
	"spate/partition"
)

// retryEvery is how often a log is tried again that found no room: soon enough for who has just made some, and seldom
// enough for a disk that stays full.
const retryEvery = 5 * time.Second

// roomless is a partition whose log could not be made, or loaded, on a full disk or without descriptors. It stays with
// its directory: what the attempt left there must not meet a second log elsewhere at the next start.
type roomless struct {
	topic kafka.UUID
	index kafka.PartitionIndex
	dir   *partition.LogDir
}

// lack has the log of x tried again later. The caller holds s.changing.
func (s *Set) lack(x roomless) {
	if len(s.roomless) == 0 {
		s.timer = s.options.Clock.AfterFunc(retryEvery, s.retry)
	}
	s.roomless = append(s.roomless, x)
}

// retry tries the roomless partitions again, those of a directory until one of them finds no room still: to load a log
// may take long. The timer calls it.
func (s *Set) retry() {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return
	}
	all := s.roomless
	s.roomless = nil
	var lacking []roomless
	for _, x := range all {
		switch {
		case slices.ContainsFunc(lacking, func(other roomless) bool { return other.dir == x.dir }):
			s.lack(x)
		case !s.retryOne(x):
			lacking = append(lacking, x)
		}
	}
	for _, x := range lacking { // behind those that did not have their turn
		s.lack(x)
	}
}

// retryOne puts a replica with a log in the place of the one that has none, unless the topic is gone. It is false where
// room is lacking still.
func (s *Set) retryOne(x roomless) bool {
	t := s.topics.byID(x.topic)
	if t == nil {
		return true
	}
	old, settings := t.Partition(x.index), s.settings(s.image, t.Name)
	log, err := x.dir.OpenLog(old.tp, t.ID, settings.Log)
	switch {
	case partition.MayPass(err):
		return false
	case err != nil:
		s.options.Log.Error("a partition is offline: it has no log", "partition", old.tp.String(), "error", err)
		return true
	}
	r := newReplica(s.options.Self, old.tp, log, settings, s.options.Watch())
	p := s.image.TopicByID(x.topic).Partitions[x.index]
	r.assign(s.options.Self, assignment(p))
	t.put(r)
	s.compareDir(x.topic, r, p)
	old.watcher.Interrupt()
	s.options.Log.Info("a partition has its log, now that there is room", "partition", old.tp.String())
	return true
}

// Close ends what the set does on its own. The logs are their directories'.
func (s *Set) Close() {
	s.mover.close()
	s.changing.Lock()
	defer s.changing.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
