// Package assignor decides which member of a consumer group (KIP-848) reads which partition: the assignors that the
// broker offers, uniform and range.
//
// An assignor is a function from the members, what they read until now, and the topics, to the next assignment. Equal
// input gives equal output, whatever order it comes in. The package owns no state; coordinator/group/consumer calls it.
//
//tidy:pure
package assignor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"spate/kafka"
)

// The names of the assignors, as members and group.consumer.assignors give them.
const (
	// Uniform spreads the partitions of all topics evenly over the members, and moves as few as it can.
	Uniform = "uniform"
	// Range gives the members of each topic consecutive partitions, so that partition n of topics with equally many
	// partitions goes to one member.
	Range = "range"
)

// Names are the assignors that the broker offers, the preferred one first.
var Names = []string{Uniform, Range}

// Errors of Assign.
var (
	ErrUnknownAssignor = errors.New("unknown assignor")
	ErrUnknownTopic    = errors.New("a member is subscribed to a topic that does not exist")
)

// Partitions are partitions of topics, in ascending order. No topic has none.
type Partitions map[kafka.UUID][]int32

// Member is one member of the group.
type Member struct {
	ID         string
	InstanceID *string      // of a static member
	RackID     *string      // nil if the member did not tell
	Topics     []kafka.UUID // what it is subscribed to, each once, in ascending order of bytes
	Assigned   Partitions   // its part of the current target assignment
}

// Topic is one topic that members are subscribed to.
type Topic struct {
	Partitions int
	// Racks are, for each partition, the racks that hold a replica of it. It is nil, or shorter than Partitions,
	// where racks are not known.
	Racks [][]string
}

// Spec is what an assignor sees. It is not altered.
type Spec struct {
	Members []Member // in any order; ids are unique
	Topics  map[kafka.UUID]Topic
}

// Assignment is the next target assignment: each member of the Spec by id, also those that get nothing. A member whose
// part did not change shares its maps and slices with the Spec.
type Assignment map[string]Partitions

// Assign computes the next target assignment with the named assignor.
func Assign(name string, spec Spec) (Assignment, error) {
	for _, m := range spec.Members {
		for _, topic := range m.Topics {
			if _, ok := spec.Topics[topic]; !ok {
				return nil, fmt.Errorf("%w: member %s, topic %s", ErrUnknownTopic, m.ID, topic)
			}
		}
	}
	switch name {
	case Uniform:
		return assignUniform(spec), nil
	case Range:
		return assignRange(spec), nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownAssignor, name)
}

// compareTopics orders topic ids.
func compareTopics(a, b kafka.UUID) int { return slices.Compare(a[:], b[:]) }

// byID gives the members in the order of their ids.
func byID(members []Member) []*Member {
	sorted := make([]*Member, len(members))
	for i := range members {
		sorted[i] = &members[i]
	}
	slices.SortFunc(sorted, func(a, b *Member) int { return strings.Compare(a.ID, b.ID) })
	return sorted
}

// staticFirst gives the members in the order in which range serves them: static ones by instance id, which outlives a
// restart, then the others by member id.
func staticFirst(members []Member) []*Member {
	sorted := byID(members)
	slices.SortStableFunc(sorted, func(a, b *Member) int {
		switch {
		case a.InstanceID != nil && b.InstanceID != nil:
			return cmp.Compare(*a.InstanceID, *b.InstanceID)
		case a.InstanceID != nil:
			return -1
		case b.InstanceID != nil:
			return 1
		}
		return 0
	})
	return sorted
}

// sameTopics reports whether all members are subscribed to the same topics.
func sameTopics(members []*Member) bool {
	for _, m := range members[1:] {
		if !slices.Equal(m.Topics, members[0].Topics) {
			return false
		}
	}
	return true
}
