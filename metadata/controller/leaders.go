package controller

import (
	"slices"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// ElectionType is which replica is to lead, numbered as on the wire.
type ElectionType int8

// The types of election.
const (
	ElectPreferred ElectionType = 0 // the first replica, if it is in sync
	ElectUnclean   ElectionType = 1 // any replica, where there is no leader: what it lacks is lost
)

// ElectLeaders holds elections, for each partition on its own.
type ElectLeaders struct {
	Type   ElectionType
	Topics []TopicPartitions // nil: every partition, of which the reply leaves out those that need no election
}

// TopicPartitions names partitions of a topic.
type TopicPartitions struct {
	Topic      string
	Partitions []kafka.PartitionIndex
}

// ElectLeadersReply has the results in the order of the request.
type ElectLeadersReply struct {
	Topics []PartitionResults
}

func (ElectLeadersReply) reply() {}

// PartitionResults is what became of partitions of one topic.
type PartitionResults struct {
	Topic      string
	Partitions []PartitionResult
}

// PartitionResult is what became of one partition.
type PartitionResult struct {
	Partition kafka.PartitionIndex
	Err       error // a *Refusal or a *kafka.Error
}

func (cmd ElectLeaders) decide(c *Controller) Outcome {
	if cmd.Type != ElectPreferred && cmd.Type != ElectUnclean {
		return refused(kafka.InvalidRequest, "Unknown election type %d", cmd.Type)
	}
	topics := cmd.Topics
	if topics == nil {
		topics = c.allPartitions()
	}
	var records []record.Record
	var reply ElectLeadersReply
	elected := map[kafka.TopicPartition]bool{} // in this command: a second election of it is not needed
	for _, t := range topics {
		results := PartitionResults{Topic: t.Topic}
		for _, index := range t.Partitions {
			tp := kafka.TopicPartition{Topic: t.Topic, Partition: index}
			change, err := c.electLeader(tp, cmd.Type)
			switch {
			case err == nil && elected[tp]:
				err = errElectionNotNeeded
			case err == nil:
				elected[tp] = true
				records = append(records, change)
			}
			if cmd.Topics == nil && err == errElectionNotNeeded {
				continue
			}
			results.Partitions = append(results.Partitions, PartitionResult{Partition: index, Err: err})
		}
		reply.Topics = append(reply.Topics, results)
	}
	if len(records) > recordsMax {
		return Outcome{Err: errTooManyChanges}
	}
	return Outcome{Records: records, Reply: reply}
}

func (c *Controller) allPartitions() (all []TopicPartitions) {
	for t := range c.image.Topics() {
		topic := TopicPartitions{Topic: t.Name}
		for index := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kafka.PartitionIndex(index))
		}
		all = append(all, topic)
	}
	return all
}

// Kafka's answers where there is nothing to elect, or nobody.
var (
	errElectionNotNeeded = refuse(kafka.ElectionNotNeeded,
		"Leader election not needed for topic partition.")
	errPreferredNotAvailable = refuse(kafka.PreferredLeaderNotAvailable,
		"The preferred leader was not available.")
	errNoneEligible = refuse(kafka.EligibleLeadersNotAvailable,
		"Eligible topic partition leaders are not available.")
)

// electLeader gives the record that makes the leader of one partition.
func (c *Controller) electLeader(tp kafka.TopicPartition, how ElectionType) (*record.PartitionChange, error) {
	topic := c.image.Topic(tp.Topic)
	if topic == nil {
		return nil, refuse(kafka.UnknownTopicOrPartition, "No such topic as %s", tp.Topic)
	}
	p := c.image.Partition(tp.Topic, tp.Partition)
	if p == nil {
		return nil, refuse(kafka.UnknownTopicOrPartition, "No such partition as %s-%d", tp.Topic, tp.Partition)
	}
	change := record.NewPartitionChange(topic.ID, tp.Partition)
	if how == ElectPreferred {
		switch {
		case p.Leader == p.Replicas[0]:
			return nil, errElectionNotNeeded
		case !slices.Contains(p.ISR, p.Replicas[0]) || !c.active(p.Replicas[0]):
			return nil, errPreferredNotAvailable
		}
		change.Leader = p.Replicas[0]
		return change, nil
	}
	if p.Leader != kafka.NoBroker {
		return nil, errElectionNotNeeded
	}
	return c.electUnclean(p, change)
}

// electUnclean takes the first active replica, best one that is in sync. Any other has to recover: alone in the ISR,
// its log is what the partition has from now on.
func (c *Controller) electUnclean(p *image.Partition, change *record.PartitionChange) (*record.PartitionChange, error) {
	for _, id := range p.Replicas {
		if slices.Contains(p.ISR, id) && c.active(id) {
			change.Leader = id
			return change, nil
		}
	}
	for _, id := range p.Replicas {
		if c.active(id) {
			change.Leader, change.ISR = id, []kafka.BrokerID{id}
			change.LeaderRecoveryState = record.LeaderRecovering
			return change, nil
		}
	}
	return nil, errNoneEligible
}

func (c *Controller) active(id kafka.BrokerID) bool {
	b := c.image.Broker(id)
	return b != nil && b.Active()
}
