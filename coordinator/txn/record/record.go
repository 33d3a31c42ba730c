// Package record is the codec of the records of __transaction_state, in Apache Kafka's formats: a key with the
// transactional id, and a value with everything that the coordinator knows about it, or no value for one that has
// expired.
//
// Decoding never panics and allocates nothing whose length it has not checked; nothing of the bytes is kept.
//
//tidy:pure
package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"spate/coordinator"
	"spate/internal/invariant"
	"spate/kafka"
)

// StringBytesMax is the length of the longest transactional id and topic name that fit into every version.
const StringBytesMax = math.MaxInt16

// The versions of the value. The latest is flexible and has the fields of KIP-890.
const (
	VersionFixed    int16 = 0
	VersionFlexible int16 = 1
)

// typeTransaction is the type of the only kind of key.
const typeTransaction int16 = 0

// Transaction is one record of the log: the state of a transactional id.
type Transaction struct {
	ID      string
	Deleted bool // a tombstone; no field below is set then

	// Version is that of the value: VersionFixed leaves PreviousProducerID, NextProducerID and ClientVersion out.
	Version            int16
	ProducerID         kafka.ProducerID
	PreviousProducerID kafka.ProducerID // the one before, or the same
	NextProducerID     kafka.ProducerID // takes over when the markers are written; as a rule kafka.NoProducerID
	Epoch              kafka.ProducerEpoch
	LastEpoch          kafka.ProducerEpoch // the one before; no version stores it: decoded, it is kafka.NoProducerEpoch
	TimeoutMs          int32
	State              State
	Topics             []Topic // by name; none in state Empty
	LastUpdate         kafka.Timestamp
	Start              kafka.Timestamp // or kafka.NoTimestamp
	ClientVersion      int16           // of transactions, as the client last showed: 0 or 2
}

// Topic is the partitions of one topic that are in a transaction.
type Topic struct {
	Name       string
	Partitions []kafka.PartitionIndex // ascending
}

// AppendKey appends the encoded key.
func (t *Transaction) AppendKey(dst []byte) []byte {
	return appendString(binary.BigEndian.AppendUint16(dst, uint16(typeTransaction)), t.ID, VersionFixed)
}

// AppendValue appends the encoded value.
func (t *Transaction) AppendValue(dst []byte) (value []byte, kept bool) {
	if t.Deleted {
		return dst, false
	}
	v := t.Version
	dst = binary.BigEndian.AppendUint16(dst, uint16(v))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.ProducerID))
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.Epoch))
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.TimeoutMs))
	dst = append(dst, byte(t.State))
	if t.State == Empty {
		dst = appendLength(dst, -1, v)
	} else {
		dst = appendTopics(dst, t.Topics, v)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.LastUpdate))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.Start))
	if v == VersionFlexible {
		dst = t.appendTags(dst)
	}
	return dst, true
}

// The tagged fields. One that has its default is left out.
const (
	tagPreviousProducerID = 0
	tagNextProducerID     = 1
	tagClientVersion      = 2
)

func (t *Transaction) appendTags(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0)
	for tag, id := range [...]kafka.ProducerID{t.PreviousProducerID, t.NextProducerID} {
		if id != kafka.NoProducerID {
			dst[at]++
			dst = binary.BigEndian.AppendUint64(append(dst, byte(tag), 8), uint64(id))
		}
	}
	if t.ClientVersion != 0 {
		dst[at]++
		dst = binary.BigEndian.AppendUint16(append(dst, tagClientVersion, 2), uint16(t.ClientVersion))
	}
	return dst
}

func appendTopics(dst []byte, topics []Topic, version int16) []byte {
	dst = appendLength(dst, len(topics), version)
	for i := range topics {
		dst = appendString(dst, topics[i].Name, version)
		dst = appendLength(dst, len(topics[i].Partitions), version)
		for _, p := range topics[i].Partitions {
			dst = binary.BigEndian.AppendUint32(dst, uint32(p))
		}
		if version == VersionFlexible {
			dst = append(dst, 0) // no tagged fields
		}
	}
	return dst
}

// appendLength starts an array of n elements, -1 for null.
func appendLength(dst []byte, n int, version int16) []byte {
	if version == VersionFlexible {
		return binary.AppendUvarint(dst, uint64(n+1))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(int32(n)))
}

func appendString(dst []byte, s string, version int16) []byte {
	invariant.Check(len(s) <= StringBytesMax, "a string of %d bytes does not fit into the record", len(s))
	if version == VersionFlexible {
		return append(binary.AppendUvarint(dst, uint64(len(s))+1), s...)
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// Decode decodes a record of __transaction_state; value is nil for a tombstone. What another release may have written,
// another type of key or version of the value, gives coordinator.ErrUnknownRecord: Kafka skips it too.
func Decode(key, value []byte) (*Transaction, error) {
	k := reader{buf: key}
	kind := k.int16()
	if k.reason == "" && kind != typeTransaction {
		return nil, fmt.Errorf("%w: key of type %d", coordinator.ErrUnknownRecord, kind)
	}
	t := &Transaction{ID: k.string()}
	k.end()
	if k.reason != "" {
		return nil, fmt.Errorf("key of %d bytes: %s", len(key), k.reason)
	}
	if value == nil {
		t.Deleted = true
		return t, nil
	}
	v := reader{buf: value}
	t.Version = v.int16()
	if v.reason == "" && (t.Version < VersionFixed || t.Version > VersionFlexible) {
		return nil, fmt.Errorf("%w: value of version %d", coordinator.ErrUnknownRecord, t.Version)
	}
	v.flexible = t.Version == VersionFlexible
	t.readValue(&v)
	v.end()
	if v.reason != "" {
		return nil, fmt.Errorf("value of %d bytes: %s", len(value), v.reason)
	}
	return t, nil
}

func (t *Transaction) readValue(v *reader) {
	t.PreviousProducerID, t.NextProducerID = kafka.NoProducerID, kafka.NoProducerID
	t.LastEpoch = kafka.NoProducerEpoch
	t.ProducerID = kafka.ProducerID(v.int64())
	t.Epoch = kafka.ProducerEpoch(v.int16())
	t.TimeoutMs = v.int32()
	t.State = State(v.int8())
	if v.reason == "" && (t.State < Empty || t.State > PrepareEpochFence) {
		v.fail("there is no state %d", t.State)
	}
	topics := v.topics()
	if t.State != Empty {
		t.Topics = topics
	}
	t.LastUpdate = kafka.Timestamp(v.int64())
	t.Start = kafka.Timestamp(v.int64())
	v.tags(func(tag uint32, field *reader) {
		switch tag {
		case tagPreviousProducerID:
			t.PreviousProducerID = kafka.ProducerID(field.int64())
		case tagNextProducerID:
			t.NextProducerID = kafka.ProducerID(field.int64())
		case tagClientVersion:
			t.ClientVersion = field.int16()
		default:
			field.buf = nil // of a later release
		}
	})
}

// Partitions lists the partitions, in the order of the topics.
func (t *Transaction) Partitions() []kafka.TopicPartition {
	n := 0
	for i := range t.Topics {
		n += len(t.Topics[i].Partitions)
	}
	list := make([]kafka.TopicPartition, 0, n)
	for i := range t.Topics {
		for _, p := range t.Topics[i].Partitions {
			list = append(list, kafka.TopicPartition{Topic: t.Topics[i].Name, Partition: p})
		}
	}
	return list
}

// EndSpare is how many bytes larger, at most, the record of the transaction's end is than this one, in any versions: it
// may have all tagged fields, and the length of each array and name in its widest form.
func (t *Transaction) EndSpare() int {
	const tags, lengths = 1 + 2*(2+8) + 2 + 2, 4 + 2
	return tags + lengths*(1+len(t.Topics))
}

// Sort puts topics and partitions in order, each once. Kafka writes them in any.
func (t *Transaction) Sort() {
	slices.SortStableFunc(t.Topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	kept := t.Topics[:0]
	for _, topic := range t.Topics {
		if n := len(kept); n > 0 && kept[n-1].Name == topic.Name {
			kept[n-1].Partitions = append(kept[n-1].Partitions, topic.Partitions...)
		} else {
			kept = append(kept, topic)
		}
	}
	for i := range kept {
		slices.Sort(kept[i].Partitions)
		kept[i].Partitions = slices.Compact(kept[i].Partitions)
	}
	t.Topics = kept
}

// Has tells whether a partition is in the transaction. The topics are sorted.
func (t *Transaction) Has(p kafka.TopicPartition) bool {
	i, found := t.find(p.Topic)
	if !found {
		return false
	}
	_, found = slices.BinarySearch(t.Topics[i].Partitions, p.Partition)
	return found
}

func (t *Transaction) find(topic string) (int, bool) {
	return slices.BinarySearchFunc(t.Topics, topic, func(t Topic, name string) int {
		return strings.Compare(t.Name, name)
	})
}

// With gives the sorted topics with partitions added. The transaction and its topics stay as they are.
func (t *Transaction) With(partitions []kafka.TopicPartition) []Topic {
	with := Transaction{Topics: slices.Clone(t.Topics)}
	for i := range with.Topics {
		with.Topics[i].Partitions = slices.Clone(with.Topics[i].Partitions)
	}
	for _, p := range partitions {
		i, found := with.find(p.Topic)
		if !found {
			with.Topics = slices.Insert(with.Topics, i, Topic{Name: p.Topic})
		}
		list := with.Topics[i].Partitions
		if at, found := slices.BinarySearch(list, p.Partition); !found {
			with.Topics[i].Partitions = slices.Insert(list, at, p.Partition)
		}
	}
	return with.Topics
}
