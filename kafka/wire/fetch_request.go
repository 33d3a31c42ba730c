package wire

import (
	"math"
	"slices"

	"spate/kafka"
)

// FetchRequest is a Fetch request as views over its frame. The zero value is ready; Parse may be called again and
// again, and reuses the slices.
type FetchRequest struct {
	ClusterID      []byte         // nil for null
	ReplicaID      kafka.BrokerID // NoBroker for a consumer
	ReplicaEpoch   kafka.BrokerEpoch
	MaxWaitMs      int32
	MinBytes       int32
	MaxBytes       int32
	IsolationLevel IsolationLevel
	SessionID      int32 // 0 for none
	SessionEpoch   int32 // -1 for none
	Topics         []FetchTopic
	Forgotten      []ForgottenTopic
	RackID         []byte

	partitions []FetchPartition       // backs Topics[i].Partitions
	indexes    []kafka.PartitionIndex // backs Forgotten[i].Partitions
}

// IsolationLevel says which records a consumer sees.
type IsolationLevel int8

// The isolation levels.
const (
	ReadUncommitted IsolationLevel = 0 // up to the high watermark
	ReadCommitted   IsolationLevel = 1 // up to the last stable offset
)

// FetchTopic is one topic of a FetchRequest.
type FetchTopic struct {
	Name       []byte     // nil from version 13 on
	ID         kafka.UUID // zero before version 13
	Partitions []FetchPartition
}

// FetchPartition says from where, and how much of, one partition is wanted.
type FetchPartition struct {
	Index              kafka.PartitionIndex
	CurrentLeaderEpoch kafka.LeaderEpoch // as the client knows it; NoLeaderEpoch for not at all
	FetchOffset        kafka.Offset
	LastFetchedEpoch   kafka.LeaderEpoch
	LogStartOffset     kafka.Offset // of a follower
	MaxBytes           int32
	DirectoryID        kafka.UUID   // of a follower
	HighWatermark      kafka.Offset // of a follower; UnknownHighWatermark for one that does not tell
}

// UnknownHighWatermark is sent, or left out, by a replica that does not tell its high watermark (KIP-1166).
const UnknownHighWatermark kafka.Offset = math.MaxInt64

// ForgottenTopic is one topic whose partitions leave the fetch session.
type ForgottenTopic struct {
	Name       []byte     // nil from version 13 on
	ID         kafka.UUID // zero before version 13
	Partitions []kafka.PartitionIndex
}

// fetchIDVersion is the first version that names topics by id.
const fetchIDVersion = 13

// Parse decodes body, the body of a Fetch request in a version that Served allows. The error is a *DecodeError,
// or a *LeftOverError after everything was read.
func (f *FetchRequest) Parse(version int16, body []byte) error {
	r := reader{src: body, flexible: version >= Served[1].Flexible}
	f.reset()
	if version < 15 {
		f.ReplicaID = kafka.BrokerID(r.int32())
	}
	f.MaxWaitMs = r.int32()
	f.MinBytes = r.int32()
	f.MaxBytes = r.int32()
	f.IsolationLevel = IsolationLevel(r.int8())
	if version >= 7 {
		f.SessionID, f.SessionEpoch = r.int32(), r.int32()
	}
	topicBytes := fetchTopicBytes(version)
	n := r.array(topicBytes)
	f.Topics = slices.Grow(f.Topics, n)[:n]
	for i := 0; i < n && r.ok(); i++ {
		f.parseTopic(&r, version, &f.Topics[i])
	}
	if version >= 7 {
		n = r.array(topicBytes)
		f.Forgotten = slices.Grow(f.Forgotten, n)[:n]
		for i := 0; i < n && r.ok(); i++ {
			f.parseForgotten(&r, version, &f.Forgotten[i])
		}
	}
	if version >= 11 {
		f.RackID = r.string()
	}
	f.parseTags(&r, version)
	return r.end(KeyFetch, version)
}

func (f *FetchRequest) reset() {
	topics, forgotten := f.Topics[:0], f.Forgotten[:0]
	partitions, indexes := f.partitions[:0], f.indexes[:0]
	if max(cap(topics), cap(forgotten), cap(partitions), cap(indexes)) > elementsKept {
		topics, forgotten, partitions, indexes = nil, nil, nil, nil
	}
	*f = FetchRequest{
		ReplicaID: kafka.NoBroker, ReplicaEpoch: -1, SessionEpoch: -1,
		Topics: topics, Forgotten: forgotten, partitions: partitions, indexes: indexes,
	}
}

// fetchTopicBytes is the least length of a topic: its name or id and the count of its partitions.
func fetchTopicBytes(version int16) int {
	switch {
	case version >= fetchIDVersion:
		return 16 + 1 + 1
	case version >= Served[1].Flexible:
		return 1 + 1 + 1
	}
	return 2 + 4
}

// fetchPartitionBytes is the least length of a partition: its index, fetch offset and max bytes.
const fetchPartitionBytes = 4 + 8 + 4

func (f *FetchRequest) parseTopic(r *reader, version int16, t *FetchTopic) {
	*t = FetchTopic{}
	t.Name, t.ID = fetchTopicName(r, version)
	first, n := len(f.partitions), r.array(fetchPartitionBytes)
	f.partitions = slices.Grow(f.partitions, n)[:first+n]
	t.Partitions = f.partitions[first : first+n : first+n]
	for i := 0; i < n && r.ok(); i++ {
		parseFetchPartition(r, version, &t.Partitions[i])
	}
	r.skipTags()
}

func fetchTopicName(r *reader, version int16) (name []byte, id kafka.UUID) {
	if version >= fetchIDVersion {
		return nil, r.uuid()
	}
	return r.string(), kafka.ZeroUUID
}

func parseFetchPartition(r *reader, version int16, p *FetchPartition) {
	*p = FetchPartition{
		Index:              kafka.PartitionIndex(r.int32()),
		CurrentLeaderEpoch: kafka.NoLeaderEpoch,
		LastFetchedEpoch:   kafka.NoLeaderEpoch,
		LogStartOffset:     kafka.NoOffset,
		HighWatermark:      UnknownHighWatermark,
	}
	if version >= 9 {
		p.CurrentLeaderEpoch = kafka.LeaderEpoch(r.int32())
	}
	p.FetchOffset = kafka.Offset(r.int64())
	if version >= 12 {
		p.LastFetchedEpoch = kafka.LeaderEpoch(r.int32())
	}
	if version >= 5 {
		p.LogStartOffset = kafka.Offset(r.int64())
	}
	p.MaxBytes = r.int32()
	for n := r.tags(); n > 0; n-- {
		number, size := r.tag()
		start := r.pos
		switch {
		case number == 0 && version >= 17:
			p.DirectoryID = r.uuid()
		case number == 1 && version >= 18:
			p.HighWatermark = kafka.Offset(r.int64())
		default:
			r.span(size)
		}
		r.sealed(start, size)
	}
}

func (f *FetchRequest) parseForgotten(r *reader, version int16, t *ForgottenTopic) {
	*t = ForgottenTopic{}
	t.Name, t.ID = fetchTopicName(r, version)
	first, n := len(f.indexes), r.array(4)
	f.indexes = slices.Grow(f.indexes, n)[:first+n]
	t.Partitions = f.indexes[first : first+n : first+n]
	for i := 0; i < n && r.ok(); i++ {
		t.Partitions[i] = kafka.PartitionIndex(r.int32())
	}
	r.skipTags()
}

func (f *FetchRequest) parseTags(r *reader, version int16) {
	for n := r.tags(); n > 0; n-- {
		number, size := r.tag()
		start := r.pos
		switch {
		case number == 0:
			f.ClusterID = r.nullableString()
		case number == 1 && version >= 15:
			f.ReplicaID, f.ReplicaEpoch = kafka.BrokerID(r.int32()), kafka.BrokerEpoch(r.int64())
			r.skipTags()
		default:
			r.span(size)
		}
		r.sealed(start, size)
	}
}
