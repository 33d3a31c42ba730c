package controller

import (
	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// DeleteTopics deletes topics with their partitions and configs, each on its own: some may fail and others not.
type DeleteTopics struct {
	Topics []TopicRef
	Charge Charger
}

// TopicRef names a topic, either by name or by id.
type TopicRef struct {
	Name *string    // nil when by id
	ID   kafka.UUID // zero when by name
}

// key is the reference as something to compare.
func (ref TopicRef) key() refKey {
	if ref.Name == nil {
		return refKey{id: ref.ID}
	}
	return refKey{named: true, name: *ref.Name, id: ref.ID}
}

type refKey struct {
	named bool
	name  string
	id    kafka.UUID
}

// DeleteTopicsReply has one result a topic, in the order in which the request first has it.
type DeleteTopicsReply struct {
	Topics []DeletedTopic
}

func (DeleteTopicsReply) reply() {}

// DeletedTopic is what became of one topic. Without an Err both name and id are set, else what the request gave.
type DeletedTopic struct {
	Name *string
	ID   kafka.UUID
	Err  error // a *Refusal
}

func (cmd DeleteTopics) decide(c *Controller) Outcome {
	var records []record.Record
	var reply DeleteTopicsReply
	counts := make(map[refKey]int, len(cmd.Topics))
	byID := make(map[kafka.UUID]bool, len(cmd.Topics))   // what the request names by id
	byName := make(map[kafka.UUID]bool, len(cmd.Topics)) // the ids of what it names by name, once
	for _, ref := range cmd.Topics {
		counts[ref.key()]++
		byID[ref.ID] = byID[ref.ID] || ref.Name == nil
	}
	for key, count := range counts {
		if topic := c.image.Topic(key.name); topic != nil && count == 1 && key.id == kafka.ZeroUUID {
			byName[topic.ID] = true
		}
	}
	for _, ref := range cmd.Topics {
		key := ref.key()
		count := counts[key]
		if count == 0 || count == 1 && !key.named && byName[key.id] {
			continue // a duplicate that has been answered, or is refused where it is named
		}
		if key.named == (key.id == kafka.ZeroUUID) { // else it is no reference: each is answered
			counts[key] = 0
		}
		result := DeletedTopic{Name: ref.Name, ID: ref.ID}
		topic, err := key.find(c.image, count, byID)
		if topic != nil {
			result.Name, result.ID = &topic.Name, topic.ID
		}
		if err == nil {
			err = cmd.Charge.take(len(topic.Partitions))
		}
		if err != nil {
			result.Err = err
		} else {
			records = append(records, &record.RemoveTopic{ID: topic.ID})
		}
		reply.Topics = append(reply.Topics, result)
	}
	if len(records) > recordsMax {
		return Outcome{Err: errTooManyChanges}
	}
	return Outcome{Records: records, Reply: reply}
}

// find looks the topic up; count is how often the request has the very same reference. There may be a topic beside the
// error: the one that is not deleted.
func (ref refKey) find(now *image.Image, count int, byID map[kafka.UUID]bool) (*image.Topic, error) {
	switch {
	case !ref.named && ref.id == kafka.ZeroUUID:
		return nil, refuse(kafka.InvalidRequest, "Neither topic name nor id were specified.")
	case ref.named && ref.id != kafka.ZeroUUID:
		return nil, refuse(kafka.InvalidRequest, "You may not specify both topic name and topic id.")
	case count > 1 && ref.named:
		return nil, refuse(kafka.InvalidRequest, "Duplicate topic name.")
	case count > 1:
		return nil, refuse(kafka.InvalidRequest, "Duplicate topic id.")
	case ref.named:
		return findNamed(now, ref.name, byID)
	}
	if topic := now.TopicByID(ref.id); topic != nil {
		return topic, nil
	}
	return nil, refuse(kafka.UnknownTopicID, "This server does not host this topic ID.")
}

func findNamed(now *image.Image, name string, byID map[kafka.UUID]bool) (*image.Topic, error) {
	topic := now.Topic(name)
	if topic == nil {
		return nil, refuse(kafka.UnknownTopicOrPartition, "This server does not host this topic-partition.")
	}
	if byID[topic.ID] {
		return topic, refuse(kafka.InvalidRequest, "The provided topic name maps to an ID that was already supplied.")
	}
	return topic, nil
}
