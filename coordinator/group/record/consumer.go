package record

import "spate/kafka"

// consumerVersion is the version of the values of consumer groups; they grow by tagged fields.
const consumerVersion = 0

// AppendKey appends the encoded key.
func (r *ConsumerGroup) AppendKey(dst []byte) []byte {
	return appendKey1(dst, TypeConsumerGroup, r.Group)
}

// AppendValue appends the encoded value.
func (r *ConsumerGroup) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	dst = appendInt32(appendInt16(dst, consumerVersion), r.Epoch)
	if r.MetadataHash != 0 {
		return appendTag(dst, appendInt64(nil, r.MetadataHash)), true
	}
	return appendNoTags(dst), true
}

func (r *ConsumerGroup) readKey(k *reader) { r.Group = k.repeated() }

func (r *ConsumerGroup) readValue(v *reader, _ int16) {
	r.Epoch = v.int32()
	v.tags(func(value *reader) { r.MetadataHash = value.int64() })
}

func (r *ConsumerGroup) delete() { r.Deleted = true }

// AppendKey appends the encoded key.
func (r *PartitionMetadata) AppendKey(dst []byte) []byte {
	return appendKey1(dst, TypePartitionMetadata, r.Group)
}

// AppendValue appends the encoded value: no topics, for Kafka 4.3 writes none either.
func (r *PartitionMetadata) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	return appendNoTags(appendLength(appendInt16(dst, consumerVersion), 0)), true
}

func (r *PartitionMetadata) readKey(k *reader) { r.Group = k.repeated() }

// readValue leaves the value unread: what it says is not used since Kafka 4.1.
func (r *PartitionMetadata) readValue(v *reader, _ int16) { v.buf = nil }

func (r *PartitionMetadata) delete() { r.Deleted = true }

// AppendKey appends the encoded key.
func (r *Member) AppendKey(dst []byte) []byte {
	return appendKey2(dst, TypeMember, r.Group, r.MemberID)
}

// AppendValue appends the encoded value.
func (r *Member) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	dst = appendNullableString(appendInt16(dst, consumerVersion), r.InstanceID)
	dst = appendNullableString(dst, r.RackID)
	dst = appendString(dst, r.ClientID)
	dst = appendString(dst, r.ClientHost)
	dst = appendStrings(dst, r.SubscribedTopics)
	dst = appendNullableString(dst, r.SubscribedRegex)
	dst = appendInt32(dst, r.RebalanceTimeoutMs)
	dst = appendNullableString(dst, r.ServerAssignor)
	return appendTag(dst, r.Classic.append(nil)), true
}

// append appends the value of the tagged field, which Kafka writes also where it is null: a number that says whether
// the struct is there, and the struct.
func (c *ClassicMember) append(dst []byte) []byte {
	if c == nil {
		return append(dst, 0)
	}
	dst = appendInt32(append(dst, 1), c.SessionTimeoutMs)
	dst = appendLength(dst, len(c.SupportedProtocols))
	for _, p := range c.SupportedProtocols {
		dst = appendNoTags(appendBytes(appendString(dst, p.Name), p.Metadata))
	}
	return appendNoTags(dst)
}

func (r *Member) readKey(k *reader) {
	r.Group = k.repeated()
	r.MemberID = k.string()
}

func (r *Member) readValue(v *reader, _ int16) {
	r.InstanceID = v.nullableString()
	r.RackID = v.nullableString()
	r.ClientID = v.string()
	r.ClientHost = v.string()
	r.SubscribedTopics = list(v, 1, (*reader).repeated)
	r.SubscribedRegex = v.nullableString()
	r.RebalanceTimeoutMs = v.int32()
	r.ServerAssignor = v.nullableString()
	v.tags(func(value *reader) { r.Classic = readClassicMember(value) })
}

func readClassicMember(v *reader) *ClassicMember {
	if v.uvarint() == 0 {
		return nil
	}
	c := &ClassicMember{SessionTimeoutMs: v.int32()}
	c.SupportedProtocols = list(v, 3, func(v *reader) (p ClassicProtocol) {
		p.Name = v.string()
		p.Metadata = v.bytes()
		v.noTags()
		return p
	})
	v.noTags()
	return c
}

func (r *Member) delete() { r.Deleted = true }

// AppendKey appends the encoded key.
func (r *Target) AppendKey(dst []byte) []byte { return appendKey1(dst, TypeTarget, r.Group) }

// AppendValue appends the encoded value.
func (r *Target) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	dst = appendInt32(appendInt16(dst, consumerVersion), r.Epoch)
	if r.Timestamp != 0 {
		return appendTag(dst, appendInt64(nil, int64(r.Timestamp))), true
	}
	return appendNoTags(dst), true
}

func (r *Target) readKey(k *reader) { r.Group = k.repeated() }

func (r *Target) readValue(v *reader, _ int16) {
	r.Epoch = v.int32()
	v.tags(func(value *reader) { r.Timestamp = kafka.Timestamp(value.int64()) })
}

func (r *Target) delete() { r.Deleted = true }

// AppendKey appends the encoded key.
func (r *TargetMember) AppendKey(dst []byte) []byte {
	return appendKey2(dst, TypeTargetMember, r.Group, r.MemberID)
}

// AppendValue appends the encoded value.
func (r *TargetMember) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	dst = appendLength(appendInt16(dst, consumerVersion), len(r.Partitions))
	for i := range r.Partitions {
		t := &r.Partitions[i]
		dst = appendNoTags(appendInt32s(append(dst, t.TopicID[:]...), t.Partitions))
	}
	return appendNoTags(dst), true
}

func (r *TargetMember) readKey(k *reader) {
	r.Group = k.repeated()
	r.MemberID = k.string()
}

func (r *TargetMember) readValue(v *reader, _ int16) {
	r.Partitions = readTopicPartitions(v)
	v.noTags()
}

func (r *TargetMember) delete() { r.Deleted = true }

// AppendKey appends the encoded key.
func (r *CurrentMember) AppendKey(dst []byte) []byte {
	return appendKey2(dst, TypeCurrentMember, r.Group, r.MemberID)
}

// AppendValue appends the encoded value.
func (r *CurrentMember) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	dst = appendInt32(appendInt16(dst, consumerVersion), r.MemberEpoch)
	dst = append(appendInt32(dst, r.PreviousMemberEpoch), byte(r.State))
	dst = appendOwned(dst, r.Assigned)
	dst = appendOwned(dst, r.PendingRevocation)
	return appendNoTags(dst), true
}

func (r *CurrentMember) readKey(k *reader) {
	r.Group = k.repeated()
	r.MemberID = k.string()
}

func (r *CurrentMember) readValue(v *reader, _ int16) {
	r.MemberEpoch = v.int32()
	r.PreviousMemberEpoch = v.int32()
	r.State = v.int8()
	r.Assigned = readTopicPartitions(v)
	r.PendingRevocation = readTopicPartitions(v)
	v.noTags()
}

func (r *CurrentMember) delete() { r.Deleted = true }

// appendOwned appends an array of partitions by topic with their epochs, a tagged field that Kafka writes also where it
// is null.
func appendOwned(dst []byte, topics []TopicPartitions) []byte {
	dst = appendLength(dst, len(topics))
	for i := range topics {
		t := &topics[i]
		dst = appendInt32s(append(dst, t.TopicID[:]...), t.Partitions)
		epochs := []byte{0}
		if t.AssignmentEpochs != nil {
			epochs = appendInt32s(nil, t.AssignmentEpochs)
		}
		dst = appendTag(dst, epochs)
	}
	return dst
}

func readTopicPartitions(v *reader) []TopicPartitions {
	const bytesMin = len(kafka.UUID{}) + 2
	return list(v, bytesMin, func(v *reader) (t TopicPartitions) {
		t.TopicID = v.uuid()
		t.Partitions = list(v, 4, (*reader).int32)
		v.tags(func(value *reader) { t.AssignmentEpochs = readEpochs(value, len(t.Partitions)) })
		return t
	})
}

// readEpochs reads one epoch a partition, or null.
func readEpochs(v *reader, partitions int) []int32 {
	n := v.count(int64(v.uvarint())-1, 4)
	if n < 0 || v.reason != "" {
		return nil
	}
	if n != partitions {
		v.fail("there are %d epochs for %d partitions", n, partitions)
		return nil
	}
	epochs := make([]int32, n)
	for i := range epochs {
		epochs[i] = v.int32()
	}
	return epochs
}

// AppendKey appends the encoded key.
func (r *RegularExpression) AppendKey(dst []byte) []byte {
	return appendKey2(dst, TypeRegularExpression, r.Group, r.Regex)
}

// AppendValue appends the encoded value.
func (r *RegularExpression) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	dst = appendStrings(appendInt16(dst, consumerVersion), r.Topics)
	dst = appendInt64(dst, r.Version)
	return appendNoTags(appendInt64(dst, int64(r.Timestamp))), true
}

func (r *RegularExpression) readKey(k *reader) {
	r.Group = k.repeated()
	r.Regex = k.string()
}

func (r *RegularExpression) readValue(v *reader, _ int16) {
	r.Topics = list(v, 1, (*reader).repeated)
	r.Version = v.int64()
	r.Timestamp = kafka.Timestamp(v.int64())
	v.noTags()
}

func (r *RegularExpression) delete() { r.Deleted = true }
