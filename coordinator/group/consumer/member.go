package consumer

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"spate/coordinator/group/record"
)

// leftForNow is the epoch of a static member that has gone and will be back.
const leftForNow int32 = -2

// The states of a member, as records have them.
const (
	stable     int8 = 0   // it has what it is to have
	unrevoked  int8 = 1   // it has partitions to give back, and stays in its epoch until then
	unreleased int8 = 2   // it waits for partitions that others have still to give back
	unknown    int8 = 127 // written by a later release
)

// member is one member of a group. It is never changed: Apply puts another one in its place.
type member struct {
	id    string
	told  record.Member // what the member said; its topics are sorted and each is there once
	epoch int32
	// previous is the epoch before: a member that has not had the answer to a heartbeat still sends it.
	previous int32
	state    int8
	assigned owned // what it may have
	revoking owned // what it has to give back before it goes on
}

// newMember is a member of which nothing is known.
func newMember(group, id string) *member {
	return &member{
		id: id, previous: -1,
		told: record.Member{Group: group, MemberID: id, RebalanceTimeoutMs: -1, SubscribedRegex: new("")},
	}
}

func (m *member) isClassic() bool { return m.told.Classic != nil }

// regex is the regular expression that the member subscribes to, or empty.
func (m *member) regex() string {
	if m.told.SubscribedRegex == nil {
		return ""
	}
	return *m.told.SubscribedRegex
}

// reconciled says whether the member is where the target assignment of an epoch wants it.
func (m *member) reconciled(epoch int32) bool { return m.state == stable && m.epoch == epoch }

// moved is the member after a step towards its target assignment.
func (m *member) moved(epoch int32, state int8, assigned, revoking owned) *member {
	next := *m
	next.previous, next.epoch = m.epoch, epoch
	next.state, next.assigned, next.revoking = state, assigned, revoking
	return &next
}

// hasSamePlace compares what the CurrentMember record holds.
func (m *member) hasSamePlace(other *member) bool {
	return m.epoch == other.epoch && m.previous == other.previous && m.state == other.state &&
		m.assigned.equal(other.assigned) && m.revoking.equal(other.revoking)
}

// current is the record of the member's place.
func (m *member) current() *record.CurrentMember {
	return &record.CurrentMember{
		Group: m.told.Group, MemberID: m.id,
		MemberEpoch: m.epoch, PreviousMemberEpoch: m.previous, State: m.state,
		Assigned: m.assigned, PendingRevocation: m.revoking,
	}
}

func equalTold(a, b *record.Member) bool {
	return a.RebalanceTimeoutMs == b.RebalanceTimeoutMs && a.ClientID == b.ClientID && a.ClientHost == b.ClientHost &&
		equalOptional(a.InstanceID, b.InstanceID) && equalOptional(a.RackID, b.RackID) &&
		equalOptional(a.SubscribedRegex, b.SubscribedRegex) && equalOptional(a.ServerAssignor, b.ServerAssignor) &&
		slices.Equal(a.SubscribedTopics, b.SubscribedTopics) && equalClassic(a.Classic, b.Classic)
}

func equalClassic(a, b *record.ClassicMember) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.SessionTimeoutMs == b.SessionTimeoutMs &&
		slices.EqualFunc(a.SupportedProtocols, b.SupportedProtocols, func(a, b record.ClassicProtocol) bool {
			return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
		})
}

func equalOptional(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// sortedSet sorts topics in a new slice, each once.
func sortedSet(topics []string) []string {
	sorted := slices.Clone(topics)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

func isSortedSet(topics []string) bool {
	for i := 1; i < len(topics); i++ {
		if topics[i-1] >= topics[i] {
			return false
		}
	}
	return true
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// count adds to a counter, which is not in the map when it is 0.
func count(counts map[string]int, name string, by int) {
	if n := counts[name] + by; n > 0 {
		counts[name] = n
	} else {
		delete(counts, name)
	}
}
