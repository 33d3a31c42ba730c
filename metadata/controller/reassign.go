package controller

import (
	"slices"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// AlterReassignments places partitions on other brokers, each partition on its own.
type AlterReassignments struct {
	Topics []ReassignedTopic
	// KeepsFactor refuses what would change the number of a partition's replicas.
	KeepsFactor bool
}

// ReassignedTopic is what to do with partitions of one topic.
type ReassignedTopic struct {
	Topic      string
	Partitions []Reassignment
}

// Reassignment is what to do with one partition.
type Reassignment struct {
	Partition kafka.PartitionIndex
	Replicas  []kafka.BrokerID // nil: give up the reassignment that is under way
}

// AlterReassignmentsReply has the results in the order of the request.
type AlterReassignmentsReply struct {
	Topics []PartitionResults
}

func (AlterReassignmentsReply) reply() {}

func (cmd AlterReassignments) decide(c *Controller) Outcome {
	var records []record.Record
	var reply AlterReassignmentsReply
	for _, t := range cmd.Topics {
		results := PartitionResults{Topic: t.Topic}
		for _, r := range t.Partitions {
			change, err := c.reassign(t.Topic, r, cmd.KeepsFactor)
			if change != nil {
				records = append(records, change)
			}
			results.Partitions = append(results.Partitions, PartitionResult{Partition: r.Partition, Err: err})
		}
		reply.Topics = append(reply.Topics, results)
	}
	if len(records) > recordsMax {
		return Outcome{Err: errTooManyChanges}
	}
	return Outcome{Records: records, Reply: reply}
}

// reassign gives the record that changes one partition's replicas: nil, without an error too, where they are so
// already.
func (c *Controller) reassign(topic string, r Reassignment, keepsFactor bool) (record.Record, error) {
	t := c.image.Topic(topic)
	if t == nil {
		return nil, refuse(kafka.UnknownTopicOrPartition, "Unable to find a topic named %s.", topic)
	}
	p := c.image.Partition(topic, r.Partition)
	switch {
	case p == nil:
		return nil, refuse(kafka.UnknownTopicOrPartition, "Unable to find partition %s:%d.", topic, r.Partition)
	case r.Replicas == nil:
		return nil, kafka.NoReassignmentInProgress
	}
	if err := c.checkAssignment(r.Replicas, 0); err != nil {
		return nil, err
	}
	if has := len(p.Replicas); keepsFactor && len(r.Replicas) != has {
		return nil, refuse(kafka.InvalidReplicationFactor,
			"The replication factor is changed from %d to %d", has, len(r.Replicas))
	}
	if slices.Equal(p.Replicas, r.Replicas) {
		return nil, nil
	}
	return c.reorder(t, p, r)
}

// reorder gives the record for the same replicas in another order, which takes no copying. Every other change does, and
// there is nobody yet who would copy.
func (c *Controller) reorder(t *image.Topic, p *image.Partition, r Reassignment) (record.Record, error) {
	change := record.NewPartitionChange(t.ID, r.Partition)
	for _, id := range r.Replicas {
		if !slices.Contains(p.Replicas, id) {
			return nil, errNoCopies
		}
		change.Directories = append(change.Directories, p.Directory(id))
	}
	if len(r.Replicas) != len(p.Replicas) {
		return nil, errNoCopies
	}
	change.Replicas = slices.Clone(r.Replicas)
	return change, nil
}

var errNoCopies = refuse(kafka.InvalidReplicaAssignment,
	"Replicas cannot be moved between brokers yet: there is no replication.")
