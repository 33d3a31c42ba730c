package replica

import (
	"time"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/partition"
)

// retryEvery is how often a log is tried again that found no room: soon enough for who has just made some, and seldom
// enough for a disk that stays full.
const retryEvery = 5 * time.Second

// roomless is a partition whose log could not be made on a full disk. It stays with its directory: what the attempt
// left there must not meet a second log elsewhere at the next start.
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

// retry tries all roomless partitions again; the timer calls it.
func (s *Set) retry() {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return
	}
	all := s.roomless
	s.roomless = nil
	for _, x := range all {
		s.retryOne(x)
	}
}

// retryOne puts a replica with a log in the place of the one that has none, unless the topic is gone.
func (s *Set) retryOne(x roomless) {
	t := s.topics.byID(x.topic)
	if t == nil {
		return
	}
	old, settings := t.Partition(x.index), s.settings(s.image, t.Name)
	log, err := x.dir.OpenLog(old.tp, t.ID, settings.Log)
	switch {
	case vfs.Exhausted(err):
		s.lack(x)
		return
	case err != nil:
		s.options.Log.Error("a partition is offline: it has no log", "partition", old.tp.String(), "error", err)
		return
	}
	r := newReplica(s.options.Self, old.tp, log, settings, s.options.Watch())
	p := s.image.TopicByID(x.topic).Partitions[x.index]
	r.assign(s.options.Self, assignment(p))
	t.put(r)
	s.compareDir(x.topic, r, p)
	old.watcher.Interrupt()
	s.options.Log.Info("a partition has its log, now that there is room", "partition", old.tp.String())
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
