package controller

import (
	"slices"

	"spate/kafka"
	"spate/metadata/record"
)

// AssignReplicasToDirs notes in which log directories of a broker its replicas are. What does not exist any more is
// passed over: the broker will hear of that too.
type AssignReplicasToDirs struct {
	BrokerID kafka.BrokerID
	Replicas []DirAssignment
}

// DirAssignment is the log directory of one replica.
type DirAssignment struct {
	TopicID   kafka.UUID
	Partition kafka.PartitionIndex
	Dir       kafka.UUID
}

// AssignReplicasToDirsReply says that it is so.
type AssignReplicasToDirsReply struct{}

func (AssignReplicasToDirsReply) reply() {}

func (cmd AssignReplicasToDirs) decide(c *Controller) Outcome {
	latest := map[DirAssignment]kafka.UUID{} // by replica; the last word counts
	var order []DirAssignment
	for _, a := range cmd.Replicas {
		key := DirAssignment{TopicID: a.TopicID, Partition: a.Partition}
		if _, there := latest[key]; !there {
			order = append(order, key)
		}
		latest[key] = a.Dir
	}
	var records []record.Record
	for _, key := range order {
		if r := c.assignDir(cmd.BrokerID, key, latest[key]); r != nil {
			records = append(records, r)
		}
	}
	return Outcome{Records: records, Reply: AssignReplicasToDirsReply{}}
}

// assignDir gives the record that notes the directory of one replica, nil where that is known.
func (c *Controller) assignDir(broker kafka.BrokerID, key DirAssignment, dir kafka.UUID) record.Record {
	t := c.image.TopicByID(key.TopicID)
	if t == nil || key.Partition < 0 || int(key.Partition) >= len(t.Partitions) {
		return nil
	}
	p := t.Partitions[key.Partition]
	at := slices.Index(p.Replicas, broker)
	if at < 0 || p.Directory(broker) == dir {
		return nil
	}
	change := record.NewPartitionChange(t.ID, key.Partition)
	change.Directories = make([]kafka.UUID, len(p.Replicas))
	copy(change.Directories, p.Directories)
	change.Directories[at] = dir
	return change
}
