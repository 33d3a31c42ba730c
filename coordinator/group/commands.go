package group

import (
	"spate/coordinator"
	"spate/coordinator/group/offsets"
	"spate/metadata/image"
)

// Command is a command for one group. Body is one of
//
//   - classic.Join, classic.Sync, classic.Heartbeat, classic.Leave, answered as package classic says;
//   - consumer.Heartbeat, answered as package consumer says;
//   - OffsetCommit, OffsetFetch, OffsetDelete, Describe, DescribeConsumer, DeleteGroup of this package.
//
// Commands for the whole shard (List, NewImage) are submitted bare. A command owns its memory. An error that concerns
// the whole command comes as the reply's error, as a rule a *kafka.Error or a *coordinator.Refusal.
type Command struct {
	Group string
	Body  any
}

// OffsetCommit commits offsets on behalf of a member, or of somebody outside any membership (generation -1 and an empty
// member id). Its reply is an offsets.CommitReply; where the member is refused, the error counts for each partition.
type OffsetCommit struct {
	MemberID   string
	InstanceID *string
	Generation int32 // or member epoch
	// APIVersion is that of the request: before 9 there was no GROUP_ID_NOT_FOUND and no member epoch.
	APIVersion int16
	Commit     offsets.Commit
	// Transaction is that of a TxnOffsetCommit: its offsets count once the transaction is committed. Else it is nil.
	Transaction *coordinator.Transaction
}

// OffsetFetch asks for committed offsets. Its reply is an offsets.FetchReply. A group that does not exist has none.
type OffsetFetch struct {
	MemberID    *string // nil unless the request names one
	MemberEpoch int32   // -1 unless the request names one
	Fetch       offsets.Fetch
}

// OffsetDelete takes committed offsets away. Its reply is an offsets.DeleteReply.
type OffsetDelete struct {
	Delete offsets.Delete
}

// Describe asks for a group as the classic protocol sees it. Its reply is a classic.Description; a group that does not
// exist or is a consumer group is refused with GROUP_ID_NOT_FOUND and a sentence (coordinator.MessageOf). Before
// version 6 DescribeGroups shows it as Dead instead.
type Describe struct{}

// DescribeConsumer asks for a consumer group. Its reply is a consumer.Description; a group that does not exist or is a
// classic group is refused with GROUP_ID_NOT_FOUND and a sentence (coordinator.MessageOf).
type DescribeConsumer struct{}

// DeleteGroup takes a group without members away, with its offsets: a DeleteGroupReply, or GROUP_ID_NOT_FOUND or
// NON_EMPTY_GROUP.
type DeleteGroup struct{}

// DeleteGroupReply says that the group is gone.
type DeleteGroupReply struct{}

// List asks a shard for its groups: those whose state and type are in the lists, where a list that is empty lets all
// pass. Words are compared without case. Its reply is a ListReply.
type List struct {
	States []string
	Types  []string
}

// ListReply answers a List, by group id.
type ListReply struct {
	Groups []Listed
}

// Listed is one group of a ListReply.
type Listed struct {
	Group        string
	ProtocolType string // empty for a group that only has offsets
	State        string // Kafka's word, as classic.State and consumer.State give it
	Type         string // "classic" or "consumer"
}

// NewImage tells a shard that the cluster's metadata have changed. It has no reply.
type NewImage struct {
	Image *image.Image
	Delta *image.Delta // what changed since the image before; nil where that is not known, as at the start
}
