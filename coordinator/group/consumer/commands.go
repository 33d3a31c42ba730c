package consumer

import (
	"time"

	"spate/kafka"
)

// Heartbeat is a member's heartbeat, which is also how it joins (epoch 0) and leaves (epoch -1, or -2 for a static
// member that will be back). Its reply is a HeartbeatReply.
type Heartbeat struct {
	MemberID           string // empty in version 0 when joining: the broker makes the id
	MemberEpoch        int32
	InstanceID         *string
	RackID             *string
	RebalanceTimeoutMs int32             // -1: unchanged
	SubscribedTopics   []string          // nil: unchanged
	SubscribedRegex    *string           // nil: unchanged
	ServerAssignor     *string           // nil: unchanged
	Owned              []TopicPartitions // nil: unchanged
	ClientID           string
	ClientHost         string
	NewMemberID        string // drawn by the handler, taken when MemberID is empty
	APIVersion         int16
}

// TopicPartitions are partitions of one topic.
type TopicPartitions struct {
	TopicID    kafka.UUID
	Partitions []int32 // sorted where this package made it
}

// HeartbeatReply answers a Heartbeat.
type HeartbeatReply struct {
	Err               error
	Message           *string // what the client is told about Err
	MemberID          *string
	MemberEpoch       int32
	HeartbeatInterval time.Duration
	Assignment        []TopicPartitions // sorted by topic id; nil: unchanged; empty: nothing
}

// CommitCheck says which partitions a member may commit; the zero value allows all.
type CommitCheck struct {
	member *member
	epoch  int32
}

// Committer is who commits offsets.
type Committer struct {
	MemberID      string
	InstanceID    *string
	MemberEpoch   int32
	Transactional bool
	APIVersion    int16 // of OffsetCommit, or of TxnOffsetCommit if Transactional
}

// Description is a group as ConsumerGroupDescribe shows it.
type Description struct {
	State           State
	GroupEpoch      int32
	AssignmentEpoch int32
	Assignor        string
	Members         []MemberDescription // by member id
}

// MemberDescription is one member of a Description.
type MemberDescription struct {
	MemberID         string
	InstanceID       *string
	RackID           *string
	MemberEpoch      int32
	ClientID         string
	ClientHost       string
	SubscribedTopics []string // sorted; nil where none was told
	SubscribedRegex  *string
	Assignment       []NamedPartitions // of topics that exist
	Target           []NamedPartitions
	Classic          bool // speaks the classic protocol: member type 0 on the wire, else 1
}

// NamedPartitions are partitions of a topic that exists.
type NamedPartitions struct {
	TopicID    kafka.UUID
	Topic      string
	Partitions []int32
}
