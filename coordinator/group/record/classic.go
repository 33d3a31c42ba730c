package record

import "spate/kafka"

// The versions of values that Kafka 4.3 writes.
const (
	offsetCommitVersion       = 4
	offsetCommitExpireVersion = 1 // the only one with an expire timestamp
	groupVersion              = 3
)

// AppendKey appends the encoded key.
func (r *OffsetCommit) AppendKey(dst []byte) []byte {
	return appendInt32(appendKey2(dst, TypeOffsetCommit, r.Group, r.Topic), int32(r.Partition))
}

// AppendValue appends the encoded value. With an expire timestamp it is version 1, in which leader epoch and topic id
// have no place.
func (r *OffsetCommit) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	if r.ExpireTimestamp != kafka.NoTimestamp {
		dst = appendInt64(appendInt16(dst, offsetCommitExpireVersion), int64(r.Offset))
		dst = appendFixedString(dst, r.Metadata)
		return appendInt64(appendInt64(dst, int64(r.CommitTimestamp)), int64(r.ExpireTimestamp)), true
	}
	dst = appendInt64(appendInt16(dst, offsetCommitVersion), int64(r.Offset))
	dst = appendInt32(dst, int32(r.LeaderEpoch))
	dst = appendString(dst, r.Metadata)
	dst = appendInt64(dst, int64(r.CommitTimestamp))
	if r.TopicID != kafka.ZeroUUID {
		return appendTag(dst, r.TopicID[:]), true
	}
	return appendNoTags(dst), true
}

func (r *OffsetCommit) readKey(k *reader) {
	r.Group = k.repeated()
	r.Topic = k.repeated()
	r.Partition = kafka.PartitionIndex(k.int32())
}

func (r *OffsetCommit) readValue(v *reader, version int16) {
	r.Offset = kafka.Offset(v.int64())
	if version >= 3 {
		r.LeaderEpoch = kafka.LeaderEpoch(v.int32())
	}
	r.Metadata = v.string()
	r.CommitTimestamp = kafka.Timestamp(v.int64())
	if version == offsetCommitExpireVersion {
		r.ExpireTimestamp = kafka.Timestamp(v.int64())
	}
	v.tags(func(value *reader) { r.TopicID = value.uuid() })
}

func (r *OffsetCommit) delete() { r.Deleted = true }

// AppendKey appends the encoded key.
func (r *Group) AppendKey(dst []byte) []byte { return appendKey1(dst, TypeGroup, r.Group) }

// AppendValue appends the encoded value.
func (r *Group) AppendValue(dst []byte) ([]byte, bool) {
	if r.Deleted {
		return dst, false
	}
	dst = appendFixedString(appendInt16(dst, groupVersion), r.ProtocolType)
	dst = appendInt32(dst, r.Generation)
	dst = appendNullableFixedString(dst, r.Protocol)
	dst = appendNullableFixedString(dst, r.Leader)
	dst = appendInt64(dst, int64(r.StateTimestamp))
	dst = appendInt32(dst, int32(len(r.Members)))
	for i := range r.Members {
		m := &r.Members[i]
		dst = appendFixedString(dst, m.MemberID)
		dst = appendNullableFixedString(dst, m.InstanceID)
		dst = appendFixedString(dst, m.ClientID)
		dst = appendFixedString(dst, m.ClientHost)
		dst = appendInt32(dst, m.RebalanceTimeoutMs)
		dst = appendInt32(dst, m.SessionTimeoutMs)
		dst = appendFixedBytes(dst, m.Subscription)
		dst = appendFixedBytes(dst, m.Assignment)
	}
	return dst, true
}

func (r *Group) readKey(k *reader) { r.Group = k.repeated() }

func (r *Group) readValue(v *reader, version int16) {
	r.ProtocolType = v.repeated()
	r.Generation = v.int32()
	r.Protocol = v.nullableString()
	r.Leader = v.nullableString()
	if version >= 2 {
		r.StateTimestamp = kafka.Timestamp(v.int64())
	}
	// The least a member takes: five lengths of one byte and a number, in the flexible version.
	r.Members = list(v, 10, func(v *reader) GroupMember { return readGroupMember(v, version) })
	v.noTags()
}

func readGroupMember(v *reader, version int16) (m GroupMember) {
	m.MemberID = v.string()
	if version >= 3 {
		m.InstanceID = v.nullableString()
	}
	m.ClientID = v.string()
	m.ClientHost = v.string()
	m.RebalanceTimeoutMs = -1
	if version >= 1 {
		m.RebalanceTimeoutMs = v.int32()
	}
	m.SessionTimeoutMs = v.int32()
	m.Subscription = v.bytes()
	m.Assignment = v.bytes()
	v.noTags()
	return m
}

func (r *Group) delete() { r.Deleted = true }
