package group

import (
	"slices"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/offsets"
	"spate/kafka"
	"spate/metadata/image"
)

// A sweep goes through all groups, in turns, so that members are not kept waiting meanwhile.
const (
	sweepRecordsMax = 1000 // that one turn writes, which is some hundred kilobytes
	sweepGroupsMax  = 1000 // that one turn looks at
)

// sweep looks for expired offsets and groups, or for the offsets of topics that were deleted.
type sweep struct {
	topics []offsets.DeletedTopic // nil: it looks for what has expired
	groups []string               // that are left to look at
}

// sweeps are those that are under way; the first of them is at work.
type sweeps struct {
	queue      []sweep
	recordsMax int
	isTurn     bool     // what was decided last is a turn of a sweep
	before     []string // the groups that were left before this turn
}

// retry takes the last turn back, because its records could not be written. If they were too large, it goes on with
// fewer at a time; else later.
func (w *sweeps) retry(out *coordinator.Outcome, now time.Time, tooLarge bool) {
	switch {
	case !tooLarge:
		now = now.Add(retryInterval)
	case w.recordsMax > 1:
		w.recordsMax /= 2
	default:
		w.before = w.before[1:] // nothing of this group can be deleted
	}
	w.queue[0].groups = w.before
	w.next(out, now)
}

// next sets the timer of the next turn.
func (w *sweeps) next(out *coordinator.Outcome, now time.Time) {
	out.SetTimer(coordinator.TimerKey{Kind: timerSweep}, now)
}

// begin adds a sweep through all groups.
func (s *Shard) begin(out *coordinator.Outcome, now time.Time, topics []offsets.DeletedTopic) {
	s.sweeps.queue = append(s.sweeps.queue, sweep{topics: topics, groups: s.ids()})
	s.sweeps.next(out, now)
}

// beginExpiry begins to look for what has expired, unless the search before this one is still under way.
func (s *Shard) beginExpiry(out *coordinator.Outcome, now time.Time) {
	out.SetTimer(coordinator.TimerKey{Kind: timerExpiry}, now.Add(s.options.ExpiryInterval))
	for i := range s.sweeps.queue {
		if s.sweeps.queue[i].topics == nil {
			return
		}
	}
	s.begin(out, now, nil)
}

// sweep takes one turn. A sweep that has come to its end is dropped by the turn after it, because its last turn may
// have to be taken back.
func (s *Shard) sweep(out *coordinator.Outcome, now time.Time) {
	w := &s.sweeps
	if len(w.queue) > 0 && len(w.queue[0].groups) == 0 {
		w.queue = w.queue[1:]
	}
	if len(w.queue) == 0 {
		return
	}
	first := &w.queue[0]
	w.isTurn, w.before = true, first.groups
	for looked := 0; len(first.groups) > 0 && looked < sweepGroupsMax && len(out.Records) < w.recordsMax; looked++ {
		var isDone bool
		if first.topics == nil {
			isDone = s.expire(out, now, first.groups[0], w.recordsMax-len(out.Records))
		} else {
			isDone = s.dropTopics(out, first.groups[0], first.topics, w.recordsMax-len(out.Records))
		}
		if !isDone {
			break
		}
		first.groups = first.groups[1:]
	}
	w.next(out, now)
}

// expire writes the tombstones of a group's expired offsets, and of the group if nothing is left of it. It reports
// whether it has come to the end of the group.
func (s *Shard) expire(out *coordinator.Outcome, now time.Time, id string, most int) bool {
	if !s.exists(id) {
		return true
	}
	records, isLeft := s.offsets.Expire(now, id, s.rule(id), most)
	out.Write(records...)
	if len(records) == most {
		return false
	}
	if !isLeft && s.isEmpty(id) {
		out.Write(s.tombstones(id)...)
	}
	return true
}

func (s *Shard) exists(id string) bool {
	return s.classic[id] != nil || s.consumer[id] != nil || s.offsets.Knows(id)
}

// rule says which offsets of a group expire, as Kafka has it: those of topics that the group is not subscribed to, the
// retention after their commit; in a group that has lost its members, the retention after that.
func (s *Shard) rule(id string) offsets.Rule {
	if g := s.consumer[id]; g != nil {
		return offsets.Rule{Since: kafka.NoTimestamp, Subscribes: g.Subscribes}
	}
	g := s.classic[id]
	if g == nil || g.ProtocolType() == "" {
		return offsets.Rule{Since: kafka.NoTimestamp}
	}
	switch {
	case g.State() == classic.Empty:
		return offsets.Rule{Since: g.StateTimestamp(), Subscribes: g.Subscribes}
	case g.State() == classic.Stable && g.IsConsumer():
		if _, known := g.SubscribedTopics(); known {
			return offsets.Rule{Since: kafka.NoTimestamp, Subscribes: g.Subscribes}
		}
	}
	return offsets.Rule{Never: true}
}

// dropTopics writes the tombstones of a group's offsets for topics that were deleted. It reports whether it has come to
// the end of the group.
func (s *Shard) dropTopics(out *coordinator.Outcome, id string, topics []offsets.DeletedTopic, most int) bool {
	for _, topic := range topics {
		records, isMore := s.offsets.TopicDeleted(id, topic, most)
		out.Write(records...)
		if most -= len(records); isMore || most == 0 {
			return false
		}
	}
	return true
}

// follow takes a new image of the cluster over.
func (s *Shard) follow(out *coordinator.Outcome, now time.Time, cmd NewImage) {
	before := s.cluster.Image()
	if cmd.Image.EndOffset() <= before.EndOffset() {
		return
	}
	s.cluster.Follow(cmd.Image, cmd.Delta)
	s.configure(cmd.Delta)
	if topics := deletedTopics(before, cmd.Image, cmd.Delta); len(topics) > 0 && s.offsets.GroupCount() > 0 {
		s.begin(out, now, topics)
	}
}

// configure lets the consumer groups know that their configs have changed, their own or the defaults of the broker.
func (s *Shard) configure(delta *image.Delta) {
	isBroker := func(r image.Resource) bool { return r.Type == image.ResourceBroker }
	if delta == nil || slices.ContainsFunc(delta.ConfigsChanged, isBroker) {
		for id, g := range s.consumer {
			g.Configure(s.settings(id).Consumer)
		}
		return
	}
	for _, r := range delta.ConfigsChanged {
		if g := s.consumer[r.Name]; r.Type == image.ResourceGroup && g != nil {
			g.Configure(s.settings(r.Name).Consumer)
		}
	}
}

// deletedTopics are the topics that are in one image and not in the next, by name.
func deletedTopics(before, after *image.Image, delta *image.Delta) []offsets.DeletedTopic {
	var deleted []offsets.DeletedTopic
	if delta != nil {
		for _, t := range delta.TopicsDeleted {
			deleted = append(deleted, offsets.DeletedTopic{Topic: t.Name, ID: t.ID})
		}
		return deleted
	}
	for t := range before.Topics() {
		if after.TopicByID(t.ID) == nil {
			deleted = append(deleted, offsets.DeletedTopic{Topic: t.Name, ID: t.ID})
		}
	}
	return deleted
}
