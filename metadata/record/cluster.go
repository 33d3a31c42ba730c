package record

import "spate/kafka"

// Config sets or removes one configuration of a resource.
type Config struct {
	ResourceType int8 // 2 topic, 4 broker, ...: Kafka's ConfigResource.Type
	ResourceName string
	Name         string
	Value        *string // nil removes
}

// Type is TypeConfig.
func (*Config) Type() Type { return TypeConfig }

func (*Config) writeVersion() int16 { return 0 }

func (c *Config) append(dst []byte, _ int16) []byte {
	dst = append(dst, byte(c.ResourceType))
	dst = appendString(dst, c.ResourceName)
	dst = appendString(dst, c.Name)
	dst = appendNullableString(dst, c.Value)
	return appendNoTags(dst)
}

func (c *Config) read(r *reader, _ int16) {
	c.ResourceType = r.int8()
	c.ResourceName = r.string()
	c.Name = r.string()
	c.Value = r.nullableString()
	r.noTags()
}

// FeatureLevel finalizes a feature at a level; 0 takes the feature away.
type FeatureLevel struct {
	Name  string
	Level int16 // featureLevel
}

// Type is TypeFeatureLevel.
func (*FeatureLevel) Type() Type { return TypeFeatureLevel }

func (*FeatureLevel) writeVersion() int16 { return 0 }

func (f *FeatureLevel) append(dst []byte, _ int16) []byte {
	return appendNoTags(appendInt16(appendString(dst, f.Name), f.Level))
}

func (f *FeatureLevel) read(r *reader, _ int16) {
	f.Name = r.string()
	f.Level = r.int16()
	r.noTags()
}

// ProducerIDs hands a block of producer ids to a broker: those below NextProducerID that no earlier record took.
type ProducerIDs struct {
	BrokerID       kafka.BrokerID
	BrokerEpoch    kafka.BrokerEpoch
	NextProducerID kafka.ProducerID // the first of the next block
}

// Type is TypeProducerIDs.
func (*ProducerIDs) Type() Type { return TypeProducerIDs }

func (*ProducerIDs) writeVersion() int16 { return 0 }

func (p *ProducerIDs) append(dst []byte, _ int16) []byte {
	dst = appendInt32(dst, int32(p.BrokerID))
	dst = appendInt64(dst, int64(p.BrokerEpoch))
	dst = appendInt64(dst, int64(p.NextProducerID))
	return appendNoTags(dst)
}

func (p *ProducerIDs) read(r *reader, _ int16) {
	p.BrokerID = r.broker()
	p.BrokerEpoch = kafka.BrokerEpoch(r.int64())
	p.NextProducerID = kafka.ProducerID(r.int64())
	r.noTags()
}

// tagQuorumChange is the tag under which a NoOp carries a change of the quorum. Kafka numbers tags from 0 and skips
// those that it does not know, so a number far away is ours.
const tagQuorumChange = 10_000

// NoOp changes nothing in the image. Kafka writes it to move the log on; here it also carries a change of the
// quorum's members, which concerns the quorum alone.
type NoOp struct {
	QuorumChange []byte // in the form of the Raft library; nil: none
}

// Type is TypeNoOp.
func (*NoOp) Type() Type { return TypeNoOp }

func (*NoOp) writeVersion() int16 { return 0 }

func (n *NoOp) append(dst []byte, _ int16) []byte {
	var t tags
	if n.QuorumChange != nil {
		t.add(tagQuorumChange, n.QuorumChange)
	}
	return t.appendTo(dst)
}

func (n *NoOp) read(r *reader, _ int16) {
	r.tags(func(tag uint32, value *reader) bool {
		if tag != tagQuorumChange {
			return false
		}
		n.QuorumChange = append([]byte{}, value.take(len(value.buf))...)
		return true
	})
}
