package group

import (
	"maps"
	"slices"
	"strings"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// The types of groups, as Kafka calls them.
const (
	typeClassic  = "classic"
	typeConsumer = "consumer"
)

func (s *Shard) describe(out *coordinator.Outcome, to coordinator.Token, id string) {
	switch {
	case s.classic[id] != nil:
		out.Answer(to, s.classic[id].Describe())
	case s.consumer[id] != nil:
		out.Refuse(to, coordinator.Refuse(kafka.GroupIDNotFound, "Group "+id+" is not a classic group."))
	case s.offsets.Knows(id):
		out.Answer(to, classic.Description{State: classic.Empty})
	default:
		out.Refuse(to, notFound(id))
	}
}

func (s *Shard) describeConsumer(out *coordinator.Outcome, to coordinator.Token, id string) {
	switch {
	case s.consumer[id] != nil:
		out.Answer(to, s.consumer[id].Describe(s.cluster))
	case s.classic[id] != nil, s.offsets.Knows(id):
		out.Refuse(to, coordinator.Refuse(kafka.GroupIDNotFound, "Group "+id+" is not a consumer group."))
	default:
		out.Refuse(to, notFound(id))
	}
}

func (s *Shard) deleteGroup(out *coordinator.Outcome, to coordinator.Token, id string) {
	var err error
	switch {
	case s.consumer[id] != nil:
		err = s.consumer[id].CheckDelete()
	case s.classic[id] != nil:
		err = s.classic[id].CheckDelete()
	case !s.offsets.Knows(id):
		err = notFound(id)
	}
	if err != nil {
		out.Refuse(to, err)
		return
	}
	out.Write(s.offsets.DeleteAll(id)...)
	out.Write(s.tombstones(id)...)
	out.Answer(to, DeleteGroupReply{})
}

// tombstones are the records that delete a group, but for its offsets. A group that only had offsets has no record of
// its own; its tombstone says to a later load, as it does to this shard, that the group is gone.
func (s *Shard) tombstones(id string) []coordinator.Record {
	if g := s.consumer[id]; g != nil {
		return g.Tombstones()
	}
	return []coordinator.Record{&record.Group{Group: id, Deleted: true}}
}

// list lists the groups that pass the filters, by id.
func (s *Shard) list(cmd List) ListReply {
	states, types := lowered(cmd.States), lowered(cmd.Types)
	var reply ListReply
	for _, id := range s.ids() {
		listed := s.listed(id)
		if len(states) > 0 && !slices.Contains(states, strings.ToLower(listed.State)) ||
			len(types) > 0 && !slices.Contains(types, listed.Type) {
			continue
		}
		reply.Groups = append(reply.Groups, listed)
	}
	return reply
}

func lowered(words []string) []string {
	low := make([]string, 0, len(words))
	for _, word := range words {
		low = append(low, strings.TrimSpace(strings.ToLower(word)))
	}
	return low
}

func (s *Shard) listed(id string) Listed {
	if g := s.consumer[id]; g != nil {
		return Listed{id, classic.ConsumerProtocolType, g.State().String(), typeConsumer}
	}
	if g := s.classic[id]; g != nil {
		return Listed{id, g.ProtocolType(), g.State().String(), typeClassic}
	}
	return Listed{id, "", classic.Empty.String(), typeClassic}
}

// ids are the ids of all groups, sorted.
func (s *Shard) ids() []string {
	ids := make([]string, 0, len(s.classic)+len(s.consumer))
	ids = slices.AppendSeq(ids, maps.Keys(s.classic))
	ids = slices.AppendSeq(ids, maps.Keys(s.consumer))
	ids = slices.AppendSeq(ids, s.offsets.Groups())
	slices.Sort(ids)
	return slices.Compact(ids)
}

func sortedIDs[G any](groups map[string]G) []string { return slices.Sorted(maps.Keys(groups)) }

// isEmpty reports whether a group has no members, so that it may be deleted when its offsets have expired.
func (s *Shard) isEmpty(id string) bool {
	if g := s.consumer[id]; g != nil {
		return g.State() == consumer.Empty
	}
	if g := s.classic[id]; g != nil {
		return g.State() == classic.Empty
	}
	return true
}
