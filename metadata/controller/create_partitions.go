package controller

import (
	"errors"
	"slices"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// CreatePartitions adds partitions to topics, each topic on its own: some may fail and others not.
type CreatePartitions struct {
	Topics       []GrownTopic
	ValidateOnly bool // only say what would happen
	Charge       Charger
}

// GrownTopic is a topic that is to have more partitions.
type GrownTopic struct {
	Name  string
	Count int32 // with those that it has
	// Assignments places the new partitions by hand, in their order; nil leaves it to the controller.
	Assignments [][]kafka.BrokerID
}

// CreatePartitionsReply has one result a topic name: first the names that the request has more than once, then the
// others, in the order of the request.
type CreatePartitionsReply struct {
	Topics []TopicResult
}

func (CreatePartitionsReply) reply() {}

// TopicResult is what became of one topic.
type TopicResult struct {
	Name string
	Err  error // a *Refusal or a *kafka.Error
}

func (cmd CreatePartitions) decide(c *Controller) Outcome {
	var records []record.Record
	var reply CreatePartitionsReply
	counts := make(map[string]int, len(cmd.Topics))
	for i := range cmd.Topics {
		name := cmd.Topics[i].Name
		if counts[name]++; counts[name] == 2 {
			reply.Topics = append(reply.Topics,
				TopicResult{Name: name, Err: refuse(kafka.InvalidRequest, "Duplicate topic name.")})
		}
	}
	for i := range cmd.Topics {
		t := &cmd.Topics[i]
		if counts[t.Name] > 1 {
			continue
		}
		created, err := c.growTopic(t, cmd.Charge)
		if errors.Is(err, errTooManyPartitions) || len(records)+len(created) > recordsMax {
			return Outcome{Err: errTooManyPartitions}
		}
		records = append(records, created...)
		reply.Topics = append(reply.Topics, TopicResult{Name: t.Name, Err: err})
	}
	if cmd.ValidateOnly {
		records = nil
	}
	return Outcome{Records: records, Reply: reply}
}

// growTopic gives the records of the new partitions of one topic.
func (c *Controller) growTopic(t *GrownTopic, charge Charger) ([]record.Record, error) {
	topic := c.image.Topic(t.Name)
	if topic == nil {
		return nil, kafka.UnknownTopicOrPartition
	}
	has := int32(len(topic.Partitions))
	switch {
	case t.Count == has:
		return nil, refuse(kafka.InvalidPartitions, "Topic already has %d partition(s).", has)
	case t.Count < has:
		return nil, refuse(kafka.InvalidPartitions,
			"The topic %s currently has %d partition(s); %d would not be an increase.", t.Name, has, t.Count)
	}
	additional := int(t.Count - has)
	if t.Assignments != nil && len(t.Assignments) != additional {
		return nil, refuse(kafka.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d "+
			"assignment(s) were specified.", additional, len(t.Assignments))
	}
	if additional > recordsMax {
		return nil, errTooManyPartitions // before anything is made for each of them
	}
	if err := charge.take(additional); err != nil {
		return nil, err
	}
	replicas, err := c.placeAdditional(t, topic, additional)
	if err != nil {
		return nil, err
	}
	// A placement by hand is what decides how a partition is refused that nobody can lead.
	as := NewTopic{Name: topic.Name, ID: topic.ID}
	if t.Assignments != nil {
		as.Assignments = []Assignment{{}}
	}
	records := make([]record.Record, 0, additional)
	for i, placed := range replicas {
		p, err := c.newPartition(&as, kafka.PartitionIndex(int(has)+i), placed)
		if err != nil {
			return nil, err
		}
		records = append(records, p)
	}
	return records, nil
}

// placeAdditional gives the replicas of each new partition, as many as the topic's first partition has. Where they are
// placed here, the round over the brokers goes on where the topic's last one ended.
func (c *Controller) placeAdditional(t *GrownTopic, topic *image.Topic, additional int) ([][]kafka.BrokerID, error) {
	has, factor := len(topic.Partitions), len(topic.Partitions[0].Replicas)
	if t.Assignments == nil {
		placed, err := place(c.image.Brokers(), has+additional, factor, topic.ID)
		if err != nil {
			return nil, err
		}
		return placed[has:], nil
	}
	placed := make([][]kafka.BrokerID, 0, additional)
	for _, replicas := range t.Assignments {
		if err := c.checkAssignment(replicas, factor); err != nil {
			return nil, err
		}
		placed = append(placed, slices.Clone(replicas))
	}
	return placed, nil
}
