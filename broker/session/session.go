// Package session holds incremental fetch sessions (KIP-227): what each fetching client asked for, so that it sends
// changes only, and what it was told last, so that it is answered with changes only. It owns the sessions and the rules
// by which they make room for each other.
//
// The package is pure: it takes the time and the candidate for a new session id as arguments and never locks. Its
// driver (broker/api) serializes the calls on a Cache, and those on one Session.
//
//tidy:pure
package session

import (
	"spate/kafka"
)

// The ids and epochs that the protocol reserves.
const (
	NoID int32 = 0 // no session: a request that has none, or an answer that gives none

	InitialEpoch int32 = 0  // asks for a new session; a session that is named as well is closed
	FinalEpoch   int32 = -1 // asks for an answer without a session; a session that is named is closed
)

// IsFull tells whether a request with this epoch lists all the partitions that it wants, rather than changes.
func IsFull(epoch int32) bool { return epoch == InitialEpoch || epoch == FinalEpoch }

// nextEpoch is the epoch of the request after the one with this epoch; it wraps to 1, since 0 asks for a new session.
func nextEpoch(epoch int32) int32 {
	switch {
	case epoch < 0:
		return FinalEpoch
	case epoch == 1<<31-1:
		return 1
	}
	return epoch + 1
}

// Want is what a request asks of one partition. Topic is a view that is not kept.
type Want struct {
	Topic       []byte     // empty where the request names topics by id
	TopicID     kafka.UUID // zero where the request names topics by name
	Partition   kafka.PartitionIndex
	FetchOffset kafka.Offset
	// CurrentLeaderEpoch is the epoch that the client believes in, or none.
	CurrentLeaderEpoch kafka.LeaderEpoch
	LastFetchedEpoch   kafka.LeaderEpoch
	LogStartOffset     kafka.Offset // of a follower
	BytesMax           int32
}

// Told is what an answer says of one partition, as far as it decides whether the partition is worth mentioning.
type Told struct {
	HighWatermark  kafka.Offset
	LogStartOffset kafka.Offset
	RecordsBytes   int
	Failed         bool // the partition's error code is not 0
	Diverging      bool // the answer names a diverging epoch
	Redirected     bool // the answer names a preferred read replica
}

// Partition is one partition of a session: what was asked, and what was told last.
type Partition struct {
	Topic              string
	TopicID            kafka.UUID
	Index              kafka.PartitionIndex
	FetchOffset        kafka.Offset
	CurrentLeaderEpoch kafka.LeaderEpoch
	LastFetchedEpoch   kafka.LeaderEpoch
	FollowerLogStart   kafka.Offset
	BytesMax           int32

	highWatermark  kafka.Offset // as told last; -1 when nothing was told or an error was
	logStartOffset kafka.Offset // as told last
	prev, next     *Partition   // the order in which partitions are served
}

// Next is the partition that is served after p, or nil.
func (p *Partition) Next() *Partition { return p.next }

func (p *Partition) ask(w *Want) {
	p.FetchOffset = w.FetchOffset
	p.CurrentLeaderEpoch = w.CurrentLeaderEpoch
	p.LastFetchedEpoch = w.LastFetchedEpoch
	p.FollowerLogStart = w.LogStartOffset
	p.BytesMax = w.BytesMax
}

// tell notes what is answered and reports whether the answer has to mention the partition at all.
func (p *Partition) tell(t *Told) bool {
	news := t.RecordsBytes > 0 || t.Diverging || t.Redirected
	if p.highWatermark != t.HighWatermark {
		p.highWatermark = t.HighWatermark
		news = true
	}
	if p.logStartOffset != t.LogStartOffset {
		p.logStartOffset = t.LogStartOffset
		news = true
	}
	if t.Failed {
		p.highWatermark = kafka.NoOffset // so that the end of the error is news too
		news = true
	}
	return news
}

// key names a partition within one session, by id or by name as the session's requests do.
type key struct {
	topicID   kafka.UUID
	topic     string
	partition kafka.PartitionIndex
}

// Session is the state that one fetching client shares with the broker.
type Session struct {
	id           int32
	epoch        int32 // of the request that is expected next
	usesTopicIDs bool
	partitions   map[key]*Partition
	first, last  *Partition

	entry // written by the Cache only
}

// ID is the session's number, which answers carry.
func (s *Session) ID() int32 { return s.id }

// Size is the number of partitions.
func (s *Session) Size() int { return len(s.partitions) }

// First is the partition that is served first, or nil. Partitions that had records in an answer go last, so that each
// gets its turn when an answer cannot hold them all.
func (s *Session) First() *Partition { return s.first }

// Begin opens the answer to an incremental request with this epoch. usesTopicIDs tells how the request names topics.
// The epoch is spent: the session now expects the next one.
func (s *Session) Begin(epoch int32, usesTopicIDs bool) error {
	switch {
	case s.epoch != epoch:
		return kafka.InvalidFetchSessionEpoch
	case s.usesTopicIDs != usesTopicIDs:
		return kafka.FetchSessionTopicIDError
	}
	s.epoch = nextEpoch(epoch)
	return nil
}

// Current tells whether the request with this epoch is still the newest of the session. While it is not answered, a
// client has no reason to send another; one that does makes the older request's answer an error.
func (s *Session) Current(epoch int32) bool { return s.epoch == nextEpoch(epoch) }

// Put adds a partition, behind the others, or changes what is asked of one that is there.
func (s *Session) Put(w *Want) *Partition {
	p := s.partitions[key{w.TopicID, string(w.Topic), w.Partition}] // does not allocate the string
	if p == nil {
		p = &Partition{
			Topic: string(w.Topic), TopicID: w.TopicID, Index: w.Partition,
			highWatermark: kafka.NoOffset, logStartOffset: kafka.NoOffset,
		}
		s.partitions[key{p.TopicID, p.Topic, p.Index}] = p
		s.push(p)
	}
	p.ask(w)
	return p
}

// Forget drops a partition, if it is there.
func (s *Session) Forget(topic []byte, topicID kafka.UUID, partition kafka.PartitionIndex) {
	p := s.partitions[key{topicID, string(topic), partition}]
	if p == nil {
		return
	}
	s.unlink(p)
	delete(s.partitions, key{topicID, string(topic), partition})
}

// Tell notes what the answer says of p and reports whether it has to mention p. A partition that had records moves to
// the end of the order, so callers go through an answer front to back and look up p's successor first.
func (s *Session) Tell(p *Partition, t *Told) bool {
	news := p.tell(t)
	if news && t.RecordsBytes > 0 {
		s.unlink(p)
		s.push(p)
	}
	return news
}

func (s *Session) push(p *Partition) {
	p.prev = s.last
	p.next = nil
	if s.last == nil {
		s.first = p
	} else {
		s.last.next = p
	}
	s.last = p
}

func (s *Session) unlink(p *Partition) {
	if p.prev == nil {
		s.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		s.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
}
