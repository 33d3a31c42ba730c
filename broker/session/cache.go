package session

import (
	"time"

	"spate/kafka"
)

// protectedAge is how long a session is safe: one that was not used for longer may be replaced by any other, and one
// that was created longer ago may be replaced by a bigger one. It is Kafka's min.incremental.fetch.session.eviction.ms,
// which is not configurable there either.
const protectedAge = 2 * time.Minute

// partitionsMax bounds the partitions of all sessions together: a thousand sessions, Kafka's default, of a thousand
// partitions each. A partition takes some 300 bytes, and clients may name ones that do not exist, so that the number
// of sessions alone bounds nothing.
const partitionsMax = 1 << 20

// Cache is the bounded set of sessions of one broker.
type Cache struct {
	slots      int
	byID       map[int32]*Session
	oldest     *Session // of the list by last use
	newest     *Session
	partitions int
	evictions  int64
}

// entry is what the cache keeps with a session.
type entry struct {
	cached       bool
	created      time.Time
	used         time.Time
	size         int  // partitions, when it was last touched
	privileged   bool // a follower's: only another follower may take its place
	replaceable  bool // old enough, when last touched, to give way to a bigger session
	older, newer *Session
}

// NewCache makes a cache of at most slots sessions.
func NewCache(slots int) *Cache {
	return &Cache{slots: slots, byID: map[int32]*Session{}}
}

// Get finds a session.
func (c *Cache) Get(id int32) (*Session, error) {
	s := c.byID[id]
	if s == nil {
		return nil, kafka.FetchSessionIDNotFound
	}
	return s, nil
}

// Offer describes a session that a client would like to have.
type Offer struct {
	Size         int // partitions
	UsesTopicIDs bool
	Privileged   bool // the client is a follower
	// Candidate is a random number from which the session's id is made; it decides nothing else.
	Candidate int32
}

// Open makes a session, empty and expecting epoch 1, or returns nil where no slot is free and none can be freed.
func (c *Cache) Open(now time.Time, o Offer) *Session {
	if len(c.byID) >= c.slots && !c.evict(now, &o) {
		return nil
	}
	s := &Session{
		id: c.freeID(o.Candidate), epoch: nextEpoch(InitialEpoch), usesTopicIDs: o.UsesTopicIDs,
		partitions: map[key]*Partition{},
		entry:      entry{cached: true, created: now, privileged: o.Privileged},
	}
	c.byID[s.id] = s
	c.append(s)
	c.touch(s, now, o.Size)
	if !s.cached {
		return nil
	}
	return s
}

// freeID is the first free id from the candidate on. Ids are positive.
func (c *Cache) freeID(candidate int32) int32 {
	id := candidate & 0x7fffffff
	for id == NoID || c.byID[id] != nil {
		id = (id + 1) & 0x7fffffff
	}
	return id
}

// Touch notes that the session was used and how many partitions it has now. One that has left the cache stays out.
func (c *Cache) Touch(s *Session, now time.Time, size int) {
	if s.cached {
		c.touch(s, now, size)
	}
}

func (c *Cache) touch(s *Session, now time.Time, size int) {
	s.used = now
	c.partitions += size - s.size
	s.size = size
	s.replaceable = now.Sub(s.created) > protectedAge
	if c.newest != s {
		c.unlink(s)
		c.append(s)
	}
	for c.partitions > partitionsMax {
		c.Remove(c.oldest) // s itself, if nothing else is left: its client then starts anew
		c.evictions++
	}
}

// Remove closes a session; one that has left the cache already stays out.
func (c *Cache) Remove(s *Session) {
	if !s.cached {
		return
	}
	c.unlink(s)
	delete(c.byID, s.id)
	c.partitions -= s.size
	s.cached = false
}

// evict makes room for the offer: first the session that was unused for longest, if that is long; then the smallest
// of those that may be replaced, if the offer outranks it. Followers outrank consumers, more partitions outrank fewer.
func (c *Cache) evict(now time.Time, o *Offer) bool {
	victim := c.oldest
	if victim == nil {
		return false
	}
	if now.Sub(victim.used) <= protectedAge {
		victim = c.weakest(o.Privileged)
		if victim == nil || !outranks(o, victim) {
			return false
		}
	}
	c.Remove(victim)
	c.evictions++
	return true
}

// weakest is the session that ranks lowest among those that an offer may replace. It walks all sessions, which are few
// (1000 by default), and only when the cache is full.
func (c *Cache) weakest(byPrivileged bool) *Session {
	var weakest *Session
	for s := c.oldest; s != nil; s = s.newer {
		mayGo := s.replaceable || byPrivileged && !s.privileged
		if mayGo && (weakest == nil || ranksBelow(s, weakest)) {
			weakest = s
		}
	}
	return weakest
}

func outranks(o *Offer, s *Session) bool {
	if o.Privileged != s.privileged {
		return o.Privileged
	}
	return o.Size > s.size
}

func ranksBelow(a, b *Session) bool {
	switch {
	case a.privileged != b.privileged:
		return b.privileged
	case a.size != b.size:
		return a.size < b.size
	}
	return a.id < b.id
}

func (c *Cache) append(s *Session) {
	s.older, s.newer = c.newest, nil
	if c.newest == nil {
		c.oldest = s
	} else {
		c.newest.newer = s
	}
	c.newest = s
}

func (c *Cache) unlink(s *Session) {
	if s.older == nil {
		c.oldest = s.newer
	} else {
		s.older.newer = s.newer
	}
	if s.newer == nil {
		c.newest = s.older
	} else {
		s.newer.older = s.older
	}
	s.older, s.newer = nil, nil
}

// Stats is the size of the cache and how often a session had to make room.
type Stats struct {
	Sessions   int
	Partitions int
	Evictions  int64
}

// Stats counts what is there.
func (c *Cache) Stats() Stats {
	return Stats{Sessions: len(c.byID), Partitions: c.partitions, Evictions: c.evictions}
}
