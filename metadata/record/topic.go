package record

import "spate/kafka"

// NoLeaderChange is PartitionChange.Leader when the leader stays: Kafka's NO_LEADER_CHANGE.
const NoLeaderChange kafka.BrokerID = -2

// The states of a partition's leader after an election.
const (
	LeaderRecovered  int8 = 0 // elected from the in-sync replicas, or recovered since
	LeaderRecovering int8 = 1 // elected from outside the in-sync replicas
	NoRecoveryChange int8 = -1
)

// Topic creates a topic; its partitions follow.
type Topic struct {
	Name string
	ID   kafka.UUID // topicId
}

// Type is TypeTopic.
func (*Topic) Type() Type { return TypeTopic }

func (*Topic) writeVersion() int16 { return 0 }

func (t *Topic) append(dst []byte, _ int16) []byte {
	dst = appendString(dst, t.Name)
	dst = append(dst, t.ID[:]...)
	return appendNoTags(dst)
}

func (t *Topic) read(r *reader, _ int16) {
	t.Name = r.string()
	t.ID = r.uuid()
	r.noTags()
}

// RemoveTopic deletes a topic with all its partitions and configs.
type RemoveTopic struct {
	ID kafka.UUID // topicId
}

// Type is TypeRemoveTopic.
func (*RemoveTopic) Type() Type { return TypeRemoveTopic }

func (*RemoveTopic) writeVersion() int16 { return 0 }

func (t *RemoveTopic) append(dst []byte, _ int16) []byte {
	return appendNoTags(append(dst, t.ID[:]...))
}

func (t *RemoveTopic) read(r *reader, _ int16) {
	t.ID = r.uuid()
	r.noTags()
}

// Partition creates a partition or replaces its whole state.
type Partition struct {
	Index               kafka.PartitionIndex // partitionId
	TopicID             kafka.UUID
	Replicas            []kafka.BrokerID // in preferred order
	ISR                 []kafka.BrokerID
	RemovingReplicas    []kafka.BrokerID
	AddingReplicas      []kafka.BrokerID
	Leader              kafka.BrokerID // or kafka.NoBroker
	LeaderRecoveryState int8
	LeaderEpoch         kafka.LeaderEpoch
	PartitionEpoch      int32
	Directories         []kafka.UUID     // of each replica, in the order of Replicas; from version 1
	ELR                 []kafka.BrokerID // eligibleLeaderReplicas, nil is null; from version 2
	LastKnownELR        []kafka.BrokerID // nil is null; from version 2
}

// Type is TypePartition.
func (*Partition) Type() Type { return TypePartition }

func (*Partition) writeVersion() int16 { return 2 }

func (p *Partition) append(dst []byte, version int16) []byte {
	dst = appendInt32(dst, int32(p.Index))
	dst = append(dst, p.TopicID[:]...)
	dst = appendBrokers(dst, p.Replicas)
	dst = appendBrokers(dst, p.ISR)
	dst = appendBrokers(dst, p.RemovingReplicas)
	dst = appendBrokers(dst, p.AddingReplicas)
	dst = appendInt32(dst, int32(p.Leader))
	dst = appendInt32(dst, int32(p.LeaderEpoch))
	dst = appendInt32(dst, p.PartitionEpoch)
	if version >= 1 {
		dst = appendUUIDs(dst, p.Directories)
	}
	var t tags
	if p.LeaderRecoveryState != LeaderRecovered {
		t.add(0, []byte{byte(p.LeaderRecoveryState)})
	}
	if version >= 2 {
		t.addBrokers(1, p.ELR)
		t.addBrokers(2, p.LastKnownELR)
	}
	return t.appendTo(dst)
}

// addBrokers adds a tagged array of brokers whose default is null.
func (t *tags) addBrokers(tag uint64, ids []kafka.BrokerID) {
	if ids != nil {
		t.add(tag, appendBrokers(nil, ids))
	}
}

func (p *Partition) read(r *reader, version int16) {
	p.Index = kafka.PartitionIndex(r.int32())
	p.TopicID = r.uuid()
	p.Replicas = r.brokers()
	p.ISR = r.brokers()
	p.RemovingReplicas = r.brokers()
	p.AddingReplicas = r.brokers()
	p.Leader = r.broker()
	p.LeaderEpoch = kafka.LeaderEpoch(r.int32())
	p.PartitionEpoch = r.int32()
	if version >= 1 {
		p.Directories = r.uuids()
	}
	r.tags(func(tag uint32, value *reader) bool {
		switch {
		case tag == 0:
			p.LeaderRecoveryState = value.int8()
		case tag == 1 && version >= 2:
			p.ELR = value.nullableBrokers()
		case tag == 2 && version >= 2:
			p.LastKnownELR = value.nullableBrokers()
		default:
			return false
		}
		return true
	})
}

// PartitionChange changes some of a partition's state; every change raises the partition epoch, and one that names a
// leader, be it the same, raises the leader epoch.
type PartitionChange struct {
	Index               kafka.PartitionIndex // partitionId
	TopicID             kafka.UUID
	ISR                 []kafka.BrokerID // nil: no change, as in all arrays here
	Leader              kafka.BrokerID   // or kafka.NoBroker, or NoLeaderChange
	Replicas            []kafka.BrokerID
	RemovingReplicas    []kafka.BrokerID
	AddingReplicas      []kafka.BrokerID
	LeaderRecoveryState int8             // or NoRecoveryChange
	ELR                 []kafka.BrokerID // eligibleLeaderReplicas; from version 2
	LastKnownELR        []kafka.BrokerID // from version 2
	Directories         []kafka.UUID     // from version 1
}

// NewPartitionChange is a change of nothing yet.
func NewPartitionChange(topic kafka.UUID, index kafka.PartitionIndex) *PartitionChange {
	return &PartitionChange{TopicID: topic, Index: index, Leader: NoLeaderChange, LeaderRecoveryState: NoRecoveryChange}
}

// Type is TypePartitionChange.
func (*PartitionChange) Type() Type { return TypePartitionChange }

func (*PartitionChange) writeVersion() int16 { return 2 }

func (p *PartitionChange) append(dst []byte, version int16) []byte {
	dst = appendInt32(dst, int32(p.Index))
	dst = append(dst, p.TopicID[:]...)
	var t tags
	t.addBrokers(0, p.ISR)
	if p.Leader != NoLeaderChange {
		t.add(1, appendInt32(nil, int32(p.Leader)))
	}
	t.addBrokers(2, p.Replicas)
	t.addBrokers(3, p.RemovingReplicas)
	t.addBrokers(4, p.AddingReplicas)
	if p.LeaderRecoveryState != NoRecoveryChange {
		t.add(5, []byte{byte(p.LeaderRecoveryState)})
	}
	if version >= 2 {
		t.addBrokers(6, p.ELR)
		t.addBrokers(7, p.LastKnownELR)
	}
	if version >= 1 && p.Directories != nil {
		t.add(8, appendUUIDs(nil, p.Directories))
	}
	return t.appendTo(dst)
}

func (p *PartitionChange) read(r *reader, version int16) {
	p.Leader = NoLeaderChange
	p.LeaderRecoveryState = NoRecoveryChange
	p.Index = kafka.PartitionIndex(r.int32())
	p.TopicID = r.uuid()
	r.tags(func(tag uint32, value *reader) bool {
		switch {
		case tag == 0:
			p.ISR = value.nullableBrokers()
		case tag == 1:
			p.Leader = value.broker()
		case tag == 2:
			p.Replicas = value.nullableBrokers()
		case tag == 3:
			p.RemovingReplicas = value.nullableBrokers()
		case tag == 4:
			p.AddingReplicas = value.nullableBrokers()
		case tag == 5:
			p.LeaderRecoveryState = value.int8()
		case tag == 6 && version >= 2:
			p.ELR = value.nullableBrokers()
		case tag == 7 && version >= 2:
			p.LastKnownELR = value.nullableBrokers()
		case tag == 8 && version >= 1:
			p.Directories = value.nullableUUIDs()
		default:
			return false
		}
		return true
	})
}
