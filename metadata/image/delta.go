package image

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"spate/kafka"
)

// Delta is what changed from one image to the next. All lists are sorted: topics by name, partitions by topic name and
// index. A topic that was deleted and created again under the same name is in both lists, with two ids.
type Delta struct {
	TopicsCreated     []*Topic          // with all their partitions
	TopicsDeleted     []*Topic          // as they were
	PartitionsChanged []PartitionChange // of topics in both images
	ConfigsChanged    []Resource        // also those of deleted topics
	QuotasChanged     []QuotaEntity
	BrokersChanged    []kafka.BrokerID // registered, changed or gone
	FeaturesChanged   bool
	ProducersChanged  bool // NextProducerID has moved on
}

// PartitionChange is a partition that differs between two images.
type PartitionChange struct {
	Topic *Topic // in the later image
	Index kafka.PartitionIndex
	Old   *Partition // nil: the partition is new
	New   *Partition
}

// delta compares what the builder touched; what was touched and is as before, is left out.
func (b *Builder) delta(next *Image) *Delta {
	d := &Delta{FeaturesChanged: b.changed.features, ProducersChanged: b.changed.producerIDs}
	for id := range b.topics {
		old, topic := b.base.TopicByID(id), next.TopicByID(id)
		switch {
		case old == nil && topic != nil:
			d.TopicsCreated = append(d.TopicsCreated, topic)
		case old != nil && topic == nil:
			d.TopicsDeleted = append(d.TopicsDeleted, old)
		case old != nil:
			d.addPartitions(old, topic)
		}
	}
	for id := range b.brokers {
		if b.base.Broker(id) != nil || next.Broker(id) != nil {
			d.BrokersChanged = append(d.BrokersChanged, id)
		}
	}
	for r := range b.configs {
		if !maps.Equal(b.base.Configs(r), next.Configs(r)) {
			d.ConfigsChanged = append(d.ConfigsChanged, r)
		}
	}
	d.QuotasChanged = b.quotasChanged(next)
	byName := func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(d.TopicsCreated, byName)
	slices.SortFunc(d.TopicsDeleted, byName)
	slices.SortFunc(d.PartitionsChanged, func(a, b PartitionChange) int {
		return cmp.Or(byName(a.Topic, b.Topic), cmp.Compare(a.Index, b.Index))
	})
	slices.Sort(d.BrokersChanged)
	slices.SortFunc(d.ConfigsChanged, Resource.compare)
	return d
}

func (d *Delta) addPartitions(old, topic *Topic) {
	for index, p := range topic.Partitions {
		before := old.partition(kafka.PartitionIndex(index))
		if p != before {
			d.PartitionsChanged = append(d.PartitionsChanged,
				PartitionChange{Topic: topic, Index: kafka.PartitionIndex(index), Old: before, New: p})
		}
	}
}
