package controller

import (
	"maps"
	"slices"

	"spate/kafka"
)

// CreateInternalTopic creates a topic in which the brokers keep a state of their own, when they first need it. Its
// reply is that of CreateTopics.
type CreateInternalTopic struct {
	Name              string
	ID                kafka.UUID // a fresh one; the driver draws it where it is zero
	Partitions        int32
	ReplicationFactor int16
	// FewerReplicas makes do with as many replicas as there are brokers.
	FewerReplicas bool
	Configs       map[string]string
}

func (cmd CreateInternalTopic) decide(c *Controller) Outcome {
	topic := NewTopic{
		Name: cmd.Name, ID: cmd.ID, Partitions: cmd.Partitions, ReplicationFactor: cmd.ReplicationFactor,
	}
	if brokers := len(c.image.Brokers()); cmd.FewerReplicas && int(cmd.ReplicationFactor) > brokers {
		topic.ReplicationFactor = int16(max(brokers, 1))
	}
	for _, name := range slices.Sorted(maps.Keys(cmd.Configs)) {
		value := cmd.Configs[name]
		topic.Configs = append(topic.Configs, ConfigEntry{Name: name, Value: &value})
	}
	return CreateTopics{Topics: []NewTopic{topic}}.decide(c)
}
