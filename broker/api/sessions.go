package api

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"spate/broker/session"
	"spate/internal/clock"
	"spate/kafka"
	"spate/kafka/wire"
)

// sessionLocks is how many locks the sessions share, by id: enough that two loops seldom meet on one.
const sessionLocks = 64

// Sessions drives the fetch sessions of the broker: it serializes what the connections do to them. The lock of a
// session is never held while that of the cache is taken.
type Sessions struct {
	clock  clock.Clock
	random io.Reader // used under mu

	mu    sync.Mutex
	cache *session.Cache

	locks [sessionLocks]sync.Mutex // of the sessions' own state, by id
}

// NewSessions makes room for so many sessions (max.incremental.fetch.session.cache.slots).
func NewSessions(c clock.Clock, random io.Reader, slots int) *Sessions {
	return &Sessions{clock: c, random: random, cache: session.NewCache(slots)}
}

// Stats counts the sessions.
func (s *Sessions) Stats() session.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache.Stats()
}

func (s *Sessions) lockOf(one *session.Session) *sync.Mutex {
	return &s.locks[uint32(one.ID())%sessionLocks]
}

func (s *Sessions) get(id int32) (*session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache.Get(id)
}

// closeID closes the session that a full request names, if it is there.
func (s *Sessions) closeID(id int32) {
	if id == session.NoID {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, err := s.cache.Get(id); err == nil {
		s.cache.Remove(one)
	}
}

// begin takes o's incremental request into its session and adds to o each partition to serve. A session that the
// request leaves empty is closed.
func (s *Sessions) begin(o *fetchOp) error {
	one, err := s.get(o.request.SessionID)
	if err != nil {
		return err
	}
	if err := s.update(one, o); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(o.parts) == 0 {
		s.cache.Remove(one)
		return nil
	}
	s.cache.Touch(one, s.clock.Now(), len(o.parts))
	o.session = one
	return nil
}

func (s *Sessions) update(one *session.Session, o *fetchOp) error {
	lock := s.lockOf(one)
	lock.Lock()
	defer lock.Unlock()
	if err := one.Begin(o.request.SessionEpoch, o.usesTopicIDs()); err != nil {
		return err
	}
	for i := range o.request.Topics {
		t := &o.request.Topics[i]
		for j := range t.Partitions {
			want := wanted(t, &t.Partitions[j])
			one.Put(&want)
		}
	}
	for i := range o.request.Forgotten {
		t := &o.request.Forgotten[i]
		for _, partition := range t.Partitions {
			one.Forget(t.Name, t.ID, partition)
		}
	}
	for p := one.First(); p != nil; p = p.Next() {
		o.addCached(p)
	}
	return nil
}

// wanted is what a request asks of a partition, in the session's words.
func wanted(t *wire.FetchTopic, p *wire.FetchPartition) session.Want {
	return session.Want{
		Topic: t.Name, TopicID: t.ID, Partition: p.Index,
		FetchOffset: p.FetchOffset, CurrentLeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
		LogStartOffset: p.LogStartOffset, BytesMax: p.MaxBytes,
	}
}

// open makes a session of what o asked for in full and is about to be told, if there is room for it.
func (s *Sessions) open(o *fetchOp) (id int32) {
	one := s.make(session.Offer{Size: len(o.parts), UsesTopicIDs: o.usesTopicIDs()})
	if one == nil {
		return session.NoID
	}
	lock := s.lockOf(one)
	lock.Lock()
	defer lock.Unlock()
	for i := range o.parts {
		p := &o.parts[i]
		want, told := p.want(o.usesTopicIDs()), p.told()
		one.Tell(one.Put(&want), &told)
	}
	return one.ID()
}

func (s *Sessions) make(offer session.Offer) *session.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var draw [4]byte
	if _, err := io.ReadFull(s.random, draw[:]); err != nil {
		panic(fmt.Sprintf("the source of randomness failed: %v", err))
	}
	offer.Candidate = int32(binary.BigEndian.Uint32(draw[:]))
	return s.cache.Open(s.clock.Now(), offer)
}

// current tells whether o's session is still where o's request left it.
func (s *Sessions) current(o *fetchOp) bool {
	lock := s.lockOf(o.session)
	lock.Lock()
	defer lock.Unlock()
	return o.session.Current(o.request.SessionEpoch)
}

// tell notes in o's session what o is about to be told, and marks the partitions that are not worth mentioning.
func (s *Sessions) tell(o *fetchOp) error {
	lock := s.lockOf(o.session)
	lock.Lock()
	defer lock.Unlock()
	if !o.session.Current(o.request.SessionEpoch) {
		return kafka.InvalidFetchSessionEpoch
	}
	for i := range o.parts {
		p := &o.parts[i]
		told := p.told()
		p.quiet = !o.session.Tell(p.entry, &told)
	}
	return nil
}
