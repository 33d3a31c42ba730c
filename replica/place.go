package replica

import (
	"fmt"

	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/image"
	"spate/partition"
)

// newReplicaLog is a partition of this broker that has no log yet.
type newReplicaLog struct {
	topic *image.Topic
	index kafka.PartitionIndex
}

func (n newReplicaLog) partition() *image.Partition { return n.topic.Partitions[n.index] }

func (n newReplicaLog) topicPartition() kafka.TopicPartition {
	return kafka.TopicPartition{Topic: n.topic.Name, Partition: n.index}
}

// appendMissing appends the partitions of a topic that this broker is to host and has no log for.
func (s *Set) appendMissing(list []newReplicaLog, topic *image.Topic, found logs) []newReplicaLog {
	for index := range topic.Partitions {
		list = s.appendMissingOne(list, topic, kafka.PartitionIndex(index), found)
	}
	return list
}

func (s *Set) appendMissingOne(
	list []newReplicaLog, topic *image.Topic, index kafka.PartitionIndex, found logs,
) []newReplicaLog {
	n := newReplicaLog{topic, index}
	if !hosts(n.partition(), s.options.Self) {
		return list
	}
	if t := s.topics.byID(topic.ID); t != nil && t.Partition(index) != nil {
		return list
	}
	if _, there := found[n.topicPartition()]; there {
		return list
	}
	return append(list, n)
}

// makeLogs makes the logs of all these partitions, those of all directories at a time, and adds them to made. A
// partition whose log cannot be made stays without one, and is tried again where only room was lacking. starting is set
// while the broker starts: then a log that is not found need not be new.
func (s *Set) makeLogs(img *image.Image, missing []newReplicaLog, made logs, starting bool) {
	byDir := make(map[*partition.LogDir][]newReplicaLog)
	for _, n := range missing {
		dir, err := s.place(n, starting, func(d *partition.LogDir) int { return len(byDir[d]) })
		if err != nil {
			s.offline(n, err)
			continue
		}
		byDir[dir] = append(byDir[dir], n)
	}
	opened := make(map[*partition.LogDir][]partition.OpenedLog, len(byDir))
	var making task.Group
	for dir, list := range byDir {
		wanted := make([]partition.NewLog, len(list))
		for i, n := range list {
			wanted[i] = partition.NewLog{TopicPartition: n.topicPartition(), TopicID: n.topic.ID,
				Config: s.settings(img, n.topic.Name).Log}
		}
		results := make([]partition.OpenedLog, len(list))
		opened[dir] = results
		making.Go("make logs in "+dir.Path(), func() { copy(results, dir.OpenLogs(wanted)) })
	}
	making.Wait()
	for _, dir := range s.dirs {
		for i, o := range opened[dir] {
			n := byDir[dir][i]
			if o.Err == nil {
				made[n.topicPartition()] = o.Log
				continue
			}
			s.offline(n, o.Err)
			if vfs.Exhausted(o.Err) {
				s.lack(roomless{topic: n.topic.ID, index: n.index, dir: dir})
			}
		}
	}
}

func (s *Set) offline(n newReplicaLog, err error) {
	s.options.Log.Error("a partition is offline: it has no log",
		"partition", n.topicPartition().String(), "error", err)
}

// place chooses the log directory for a new log: the one that the controller assigned, or that a client has asked for,
// else the one with the fewest logs, those counted that are about to be made.
func (s *Set) place(
	n newReplicaLog, starting bool, coming func(*partition.LogDir) int,
) (*partition.LogDir, error) {
	assigned := n.partition().Directory(s.options.Self)
	preferred := s.mover.takePreferred(n.topicPartition())
	if preferred != nil && preferred.Failed() == nil && isReserved(assigned) && !starting {
		return preferred, nil
	}
	var best *partition.LogDir
	fewest := 0
	for _, dir := range s.dirs {
		if dir.ID() == assigned && dir.Failed() == nil {
			if starting && (s.options.DirsMissing || s.anyFailed()) && dir.HasFuture(n.topicPartition()) {
				return nil, fmt.Errorf("it was being moved here from a log directory that is offline or not there")
			}
			return dir, nil
		}
		if dir.Failed() != nil {
			continue
		}
		if n := dir.LogCount() + coming(dir); best == nil || n < fewest {
			best, fewest = dir, n
		}
	}
	switch {
	case !isReserved(assigned):
		return nil, fmt.Errorf("it is assigned to the log directory with id %s, which is offline", assigned)
	case starting && (s.options.DirsMissing || s.anyFailed()):
		return nil, fmt.Errorf("it may be in a log directory that is offline or not there")
	case best == nil:
		return nil, fmt.Errorf("every log directory is offline")
	}
	return best, nil
}

func (s *Set) anyFailed() bool {
	for _, dir := range s.dirs {
		if dir.Failed() != nil {
			return true
		}
	}
	return false
}

// isReserved tells whether a directory id names no directory: unassigned, lost and migrating are the ids below 100.
func isReserved(id kafka.UUID) bool {
	for _, b := range id[:len(id)-1] {
		if b != 0 {
			return false
		}
	}
	return id[len(id)-1] < 100
}
