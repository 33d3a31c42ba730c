package kafka

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
)

// Offset is the number of a record in a partition, counted from 0. It is never a position in a file.
type Offset int64

// NoOffset stands for "no offset" on the wire and in files.
const NoOffset Offset = -1

// LeaderEpoch counts the leaders of a partition, from 0; see KIP-101.
type LeaderEpoch int32

// NoLeaderEpoch stands for an unknown leader epoch.
const NoLeaderEpoch LeaderEpoch = -1

// BrokerID is the node.id of a broker.
type BrokerID int32

// NoBroker stands for "no leader" on the wire.
const NoBroker BrokerID = -1

// BrokerEpoch is the metadata offset at which a broker registered.
type BrokerEpoch int64

// PartitionIndex numbers the partitions of a topic, from 0.
type PartitionIndex int32

// Position is a place in a segment file, in bytes from its start.
type Position int64

// ProducerID identifies an idempotent or transactional producer; see KIP-98.
type ProducerID int64

// NoProducerID marks a batch of a producer that is not idempotent.
const NoProducerID ProducerID = -1

// ProducerEpoch fences older instances of one producer id.
type ProducerEpoch int16

// NoProducerEpoch marks a batch of a producer that is not idempotent.
const NoProducerEpoch ProducerEpoch = -1

// Sequence numbers the records of one producer id and epoch on one partition; it wraps from 2^31-1 to 0.
type Sequence int32

// NoSequence marks a batch of a producer that is not idempotent.
const NoSequence Sequence = -1

// Timestamp is a time in milliseconds since the Unix epoch.
type Timestamp int64

// NoTimestamp stands for "no timestamp".
const NoTimestamp Timestamp = -1

// TopicPartition names one partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition PartitionIndex
}

// String gives Kafka's form, which is also the partition's directory name: topic-partition.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.Itoa(int(tp.Partition))
}

// UUID is a 128-bit identifier of a topic, a log directory or a cluster, in network byte order.
type UUID [16]byte

// Reserved ids, which NewUUID never returns: the zero id means "none", the metadata topic has id 1.
var (
	ZeroUUID          UUID
	MetadataTopicUUID = UUID{15: 1}
)

// NewUUID draws a version 4 UUID from random, avoiding the reserved ones and those that begin with a dash in text.
// random is crypto/rand.Reader in production.
func NewUUID(random io.Reader) (UUID, error) {
	if random == nil {
		random = rand.Reader
	}
	for {
		var u UUID
		if _, err := io.ReadFull(random, u[:]); err != nil {
			return ZeroUUID, fmt.Errorf("draw a uuid: %w", err)
		}
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if u != ZeroUUID && u != MetadataTopicUUID && u.String()[0] != '-' {
			return u, nil
		}
	}
}

// String gives Kafka's text form: 22 characters of unpadded URL-safe base64.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// ParseUUID reads the text form that String gives.
func ParseUUID(text string) (UUID, error) {
	var u UUID
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != len(u) {
		return u, fmt.Errorf("%q is not a uuid: want 22 characters of URL-safe base64", text)
	}
	copy(u[:], raw)
	return u, nil
}
