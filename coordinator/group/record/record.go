// Package record is the codec of the records of __consumer_offsets: committed offsets, classic groups, and consumer
// groups (KIP-848), in the byte formats of Apache Kafka's group coordinator.
//
// A record is one of the structs of this package. Its key begins with the type as a big-endian int16; a record marked
// Deleted is written as a tombstone. The package owns no state and is called by the machines of coordinator/group, and
// by the commands that print and check files.
//
//tidy:pure
package record

import "spate/kafka"

// Type is the number that the key of a record begins with.
type Type int16

// The record types of consumer groups, as Kafka numbers them.
const (
	TypeOffsetCommitOld   Type = 0 // the key's first version; the same fields as TypeOffsetCommit
	TypeOffsetCommit      Type = 1
	TypeGroup             Type = 2 // classic
	TypeConsumerGroup     Type = 3
	TypePartitionMetadata Type = 4 // until Kafka 4.0; only tombstones are written since
	TypeMember            Type = 5
	TypeTarget            Type = 6
	TypeTargetMember      Type = 7
	TypeCurrentMember     Type = 8
	TypeRegularExpression Type = 16
)

// OffsetCommit is the committed offset of one partition.
type OffsetCommit struct {
	Group     string
	Topic     string
	Partition kafka.PartitionIndex

	Deleted         bool
	Offset          kafka.Offset
	LeaderEpoch     kafka.LeaderEpoch // of the last consumed record, or NoLeaderEpoch
	Metadata        string
	CommitTimestamp kafka.Timestamp
	ExpireTimestamp kafka.Timestamp // in version 1 only, else NoTimestamp
	TopicID         kafka.UUID      // zero where it is not known
}

// Group is the state of a classic group after a rebalance.
type Group struct {
	Group string

	Deleted        bool
	ProtocolType   string
	Generation     int32
	Protocol       *string // nil in an empty group
	Leader         *string // member id
	StateTimestamp kafka.Timestamp
	Members        []GroupMember
}

// GroupMember is one member of a Group.
type GroupMember struct {
	MemberID           string
	InstanceID         *string
	ClientID           string
	ClientHost         string
	RebalanceTimeoutMs int32
	SessionTimeoutMs   int32
	Subscription       []byte // opaque: the metadata of the chosen protocol
	Assignment         []byte // opaque
}

// ConsumerGroup is the epoch of a consumer group; it is the group's existence.
type ConsumerGroup struct {
	Group string

	Deleted      bool
	Epoch        int32
	MetadataHash int64 // of the subscribed topics' partitions and racks (KIP-1101)
}

// PartitionMetadata is known so that logs of Kafka before 4.1 load; what it says is not used.
type PartitionMetadata struct {
	Group   string
	Deleted bool
}

// Member is what a member of a consumer group has told.
type Member struct {
	Group    string
	MemberID string

	Deleted            bool
	InstanceID         *string
	RackID             *string
	ClientID           string
	ClientHost         string
	SubscribedTopics   []string
	SubscribedRegex    *string
	RebalanceTimeoutMs int32
	ServerAssignor     *string
	Classic            *ClassicMember // of a member that speaks the classic protocol, else nil
}

// ClassicMember is what a member that speaks the classic protocol in a consumer group has told besides.
type ClassicMember struct {
	SessionTimeoutMs   int32
	SupportedProtocols []ClassicProtocol
}

// ClassicProtocol is one embedded protocol, such as a client-side assignor, and its metadata.
type ClassicProtocol struct {
	Name     string
	Metadata []byte
}

// Target is the epoch of a consumer group's target assignment.
type Target struct {
	Group string

	Deleted   bool
	Epoch     int32
	Timestamp kafka.Timestamp // when the calculation finished (KIP-1263), zero where not known
}

// TargetMember is the target assignment of one member.
type TargetMember struct {
	Group    string
	MemberID string

	Deleted    bool
	Partitions []TopicPartitions
}

// CurrentMember is what a member owns now, and what it has still to give back.
type CurrentMember struct {
	Group    string
	MemberID string

	Deleted             bool
	MemberEpoch         int32
	PreviousMemberEpoch int32
	State               int8 // 0 stable, 1 unrevoked partitions, 2 unreleased partitions, 127 unknown
	Assigned            []TopicPartitions
	PendingRevocation   []TopicPartitions
}

// TopicPartitions are partitions of one topic.
type TopicPartitions struct {
	TopicID    kafka.UUID
	Partitions []int32
	// AssignmentEpochs, in CurrentMember only, are the epochs at which each partition was assigned; nil if not known.
	AssignmentEpochs []int32
}

// RegularExpression is a subscription of a consumer group by pattern, and the topics it was found to match.
type RegularExpression struct {
	Group string
	Regex string

	Deleted   bool
	Topics    []string // sorted
	Version   int64    // of the metadata image that was searched
	Timestamp kafka.Timestamp
}
