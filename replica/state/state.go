// Package state is the machine of one replica of a partition: who leads it, in which epoch, who is in sync, and how far
// the high watermark may move. It owns those facts and nothing else.
//
// The package is pure. Its driver (replica) serializes the steps, stores and publishes what they bring about.
//
//tidy:pure
package state

import (
	"slices"

	"spate/internal/invariant"
	"spate/kafka"
)

// Role is what this broker is for the partition.
type Role uint8

// The roles.
const (
	Follower Role = iota
	Leader
)

// Assignment is what the controller says of a partition.
type Assignment struct {
	Leader         kafka.BrokerID
	LeaderEpoch    kafka.LeaderEpoch
	PartitionEpoch int32
	Replicas       []kafka.BrokerID
	ISR            []kafka.BrokerID
}

// Kind tells events apart.
type Kind uint8

// The events. The comment names the fields of Event that each one reads.
const (
	// Assigned: the controller decided (Assignment). One that is older than what is known changes nothing.
	Assigned Kind = iota
	// Configured: the topic's settings changed (AckFlushed).
	Configured
	// Appended: the local log ends at Offset.
	Appended
	// Flushed: the local log is on the disk up to Offset.
	Flushed
	// Fetched: the follower Broker holds, flushed, all that is below Offset.
	Fetched
)

// Event is one thing that happened to a replica.
type Event struct {
	Kind       Kind
	Assignment *Assignment
	AckFlushed bool // a copy counts when it is on the disk, rather than when it is in the page cache
	Broker     kafka.BrokerID
	Offset     kafka.Offset
}

// Effects are what the driver has to make known after a step.
type Effects struct {
	// HighWatermark is the new one if Advanced is set.
	HighWatermark kafka.Offset
	Advanced      bool
	// Changed is set when the View is another one.
	Changed bool
}

// View is what the machine tells handlers.
type View struct {
	Role           Role
	Leader         kafka.BrokerID
	LeaderEpoch    kafka.LeaderEpoch
	PartitionEpoch int32
	Replicas       int
	ISR            int
}

// Machine is the state of one replica. It starts as a follower of nobody.
type Machine struct {
	self       kafka.BrokerID
	assignment Assignment
	ackFlushed bool

	// highWatermark <= flushed or logEnd of each member of the ISR; it never goes back.
	highWatermark kafka.Offset
	logEnd        kafka.Offset // flushed <= logEnd
	flushed       kafka.Offset
	followers     []follower // of the current leader epoch, while this broker leads
}

// follower is how far another replica has got, as its fetches tell.
type follower struct {
	id      kafka.BrokerID
	flushed kafka.Offset
}

// New is the machine of a replica on broker self whose log was found as described when it was opened.
func New(self kafka.BrokerID, highWatermark, flushed, logEnd kafka.Offset) *Machine {
	invariant.Check(highWatermark <= logEnd && flushed <= logEnd,
		"a log that ends at %d has the high watermark %d and is flushed to %d", logEnd, highWatermark, flushed)
	return &Machine{
		self:          self,
		assignment:    Assignment{Leader: kafka.NoBroker, LeaderEpoch: kafka.NoLeaderEpoch, PartitionEpoch: -1},
		ackFlushed:    true,
		highWatermark: highWatermark,
		logEnd:        logEnd,
		flushed:       flushed,
	}
}

// HighWatermark is the offset below which every record is on all replicas of the ISR.
func (m *Machine) HighWatermark() kafka.Offset { return m.highWatermark }

// View is the state as handlers need it.
func (m *Machine) View() View {
	v := View{
		Role:           Follower,
		Leader:         m.assignment.Leader,
		LeaderEpoch:    m.assignment.LeaderEpoch,
		PartitionEpoch: m.assignment.PartitionEpoch,
		Replicas:       len(m.assignment.Replicas),
		ISR:            len(m.assignment.ISR),
	}
	if m.leads() {
		v.Role = Leader
	}
	return v
}

// Step takes one event and says in fx what it brought about.
func (m *Machine) Step(e Event, fx *Effects) {
	*fx = Effects{}
	switch e.Kind {
	case Assigned:
		m.assign(e.Assignment, fx)
	case Configured:
		m.ackFlushed = e.AckFlushed
	case Appended:
		m.logEnd = max(m.logEnd, e.Offset)
	case Flushed:
		// The flusher may report an end before the append that made it has: both are true.
		m.flushed = max(m.flushed, e.Offset)
		m.logEnd = max(m.logEnd, m.flushed)
	case Fetched:
		m.fetched(e.Broker, e.Offset)
	}
	m.advance(fx)
}

func (m *Machine) leads() bool { return m.assignment.Leader == m.self }

// assign takes over the controller's word, unless a newer one is known already.
func (m *Machine) assign(a *Assignment, fx *Effects) {
	known := &m.assignment
	if a.LeaderEpoch < known.LeaderEpoch || a.PartitionEpoch <= known.PartitionEpoch {
		return
	}
	newEpoch := a.LeaderEpoch > known.LeaderEpoch
	m.assignment = Assignment{
		Leader: a.Leader, LeaderEpoch: a.LeaderEpoch, PartitionEpoch: a.PartitionEpoch,
		Replicas: slices.Clone(a.Replicas), ISR: slices.Clone(a.ISR),
	}
	fx.Changed = true
	if newEpoch || !m.leads() {
		// What followers told an earlier leadership says nothing of their logs now: they may have been cut since.
		m.followers = m.followers[:0]
	}
	if m.leads() {
		m.trackFollowers()
	}
}

// trackFollowers keeps an entry for each other replica. A new one has nothing until it says otherwise.
func (m *Machine) trackFollowers() {
	m.followers = slices.DeleteFunc(m.followers, func(f follower) bool {
		return !slices.Contains(m.assignment.Replicas, f.id)
	})
	for _, id := range m.assignment.Replicas {
		known := slices.ContainsFunc(m.followers, func(f follower) bool { return f.id == id })
		if id != m.self && !known {
			m.followers = append(m.followers, follower{id: id})
		}
	}
}

func (m *Machine) fetched(id kafka.BrokerID, offset kafka.Offset) {
	for i := range m.followers {
		if m.followers[i].id == id {
			m.followers[i].flushed = offset
		}
	}
}

// advance moves the high watermark to what the whole ISR has. Only a leader knows.
func (m *Machine) advance(fx *Effects) {
	if !m.leads() {
		return
	}
	mark := m.logEnd
	if m.ackFlushed {
		mark = m.flushed
	}
	for _, f := range m.followers {
		if slices.Contains(m.assignment.ISR, f.id) {
			mark = min(mark, f.flushed)
		}
	}
	if mark > m.highWatermark {
		m.highWatermark = mark
		fx.HighWatermark, fx.Advanced = mark, true
	}
}
