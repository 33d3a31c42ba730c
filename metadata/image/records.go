package image

import (
	"iter"
	"maps"
	"slices"

	"spate/kafka"
	"spate/metadata/record"
)

// Records gives the records that build the image from an empty one, for a snapshot: features, brokers, topics each
// with its partitions, configs, quotas, and the next producer id, always
// in the same order.
func (i *Image) Records() iter.Seq[record.Record] {
	return func(yield func(record.Record) bool) {
		_ = i.featureRecords(yield) && i.topicRecords(yield) && i.configRecords(yield) && i.quotaRecords(yield) &&
			i.producerRecord(yield)
	}
}

func (i *Image) featureRecords(yield func(record.Record) bool) bool {
	for _, f := range i.features {
		if !yield(&record.FeatureLevel{Name: f.Name, Level: f.Level}) {
			return false
		}
	}
	for _, b := range i.brokers {
		if !yield(b.record()) {
			return false
		}
	}
	return true
}

func (i *Image) topicRecords(yield func(record.Record) bool) bool {
	for _, t := range i.names.all() {
		if !yield(&record.Topic{Name: t.Name, ID: t.ID}) {
			return false
		}
		for index, p := range t.Partitions {
			if !yield(p.Record(t.ID, kafka.PartitionIndex(index))) {
				return false
			}
		}
	}
	return true
}

func (i *Image) configRecords(yield func(record.Record) bool) bool {
	for r, configs := range i.configs.all() {
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			value := configs[name]
			c := &record.Config{ResourceType: int8(r.Type), ResourceName: r.Name, Name: name, Value: &value}
			if !yield(c) {
				return false
			}
		}
	}
	return true
}

func (i *Image) producerRecord(yield func(record.Record) bool) bool {
	if i.producerID == 0 {
		return true
	}
	// As in Kafka's snapshots: which broker had the last block is not kept.
	return yield(&record.ProducerIDs{BrokerID: -1, BrokerEpoch: -1, NextProducerID: i.producerID})
}

// Record is the record that creates the partition in this state.
func (p *Partition) Record(topic kafka.UUID, index kafka.PartitionIndex) *record.Partition {
	return &record.Partition{
		Index: index, TopicID: topic, Replicas: p.Replicas, ISR: p.ISR, RemovingReplicas: p.RemovingReplicas,
		AddingReplicas: p.AddingReplicas, Leader: p.Leader, LeaderRecoveryState: p.LeaderRecoveryState,
		LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, Directories: p.Directories,
		ELR: nonEmpty(p.ELR), LastKnownELR: nonEmpty(p.LastKnownELR),
	}
}

// nonEmpty turns an empty list into the null that stands for it on disk.
func nonEmpty(ids []kafka.BrokerID) []kafka.BrokerID {
	if len(ids) == 0 {
		return nil
	}
	return ids
}

func (b *Broker) record() *record.RegisterBroker {
	return &record.RegisterBroker{
		BrokerID: b.ID, IncarnationID: b.IncarnationID, BrokerEpoch: b.Epoch, Endpoints: b.Endpoints,
		Features: b.Features, Rack: b.Rack, Fenced: b.Fenced, InControlledShutdown: b.InControlledShutdown,
		LogDirs: b.LogDirs, CordonedLogDirs: b.CordonedLogDirs,
	}
}
