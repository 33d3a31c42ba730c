package offsets

import "spate/kafka"

// NoRetention says that a commit names no retention of its own, so that the broker's rules hold.
const NoRetention int64 = -1

// Commit is the part of an offset commit that is about offsets; who commits has been checked before.
type Commit struct {
	Topics      []CommitTopic
	RetentionMs int64 // NoRetention, or what OffsetCommit 2–4 ask for
	// Unnamed leaves the topics' ids out of the records, as Kafka does in transactions.
	Unnamed bool
}

// CommitTopic is one topic of a Commit.
type CommitTopic struct {
	Topic      string
	TopicID    kafka.UUID // zero where it is not known
	Partitions []CommitPartition
}

// CommitPartition is the offset to commit for one partition.
type CommitPartition struct {
	Partition   kafka.PartitionIndex
	Offset      kafka.Offset
	LeaderEpoch kafka.LeaderEpoch // or kafka.NoLeaderEpoch
	Metadata    *string           // nil is stored as the empty string
}

// CommitReply answers a Commit, in the order of its topics and partitions.
type CommitReply struct {
	Topics []CommittedTopic
}

// CommittedTopic is one topic of a CommitReply or a DeleteReply.
type CommittedTopic struct {
	Topic      string
	TopicID    kafka.UUID
	Partitions []CommittedPartition
}

// CommittedPartition says what became of one partition.
type CommittedPartition struct {
	Partition kafka.PartitionIndex
	Err       error // nil, kafka.OffsetMetadataTooLarge, kafka.GroupSubscribedToTopic
}

// Fetch asks for committed offsets.
type Fetch struct {
	All           bool         // every offset of the group; Topics is then not looked at
	Topics        []FetchTopic // otherwise these
	RequireStable bool         // refuse partitions that have an offset pending in a transaction
}

// FetchTopic names partitions of one topic, in a Fetch or a Delete.
type FetchTopic struct {
	Topic      string
	TopicID    kafka.UUID // handed back
	Partitions []kafka.PartitionIndex
}

// FetchReply answers a Fetch: in the order of its topics and partitions, or by topic and partition if all were asked.
type FetchReply struct {
	Topics []FetchedTopic
}

// FetchedTopic is one topic of a FetchReply.
type FetchedTopic struct {
	Topic      string
	TopicID    kafka.UUID // as it was asked; zero if all were asked
	Partitions []FetchedPartition
}

// FetchedPartition is the committed offset of one partition; without one, NoOffset, NoLeaderEpoch and no metadata.
type FetchedPartition struct {
	Partition   kafka.PartitionIndex
	Offset      kafka.Offset
	LeaderEpoch kafka.LeaderEpoch
	Metadata    string
	Err         error // nil or kafka.UnstableOffsetCommit
}

// Delete takes committed offsets away. Its topics that the group is subscribed to are refused.
type Delete struct {
	Topics []FetchTopic
}

// DeleteReply answers a Delete, in the order of its topics and partitions.
type DeleteReply struct {
	Topics []CommittedTopic
}
