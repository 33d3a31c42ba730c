package group

import (
	"time"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// Decide says what follows from a command: a Command, a List or a NewImage.
func (s *Shard) Decide(now time.Time, to coordinator.Token, cmd any) coordinator.Outcome {
	var out coordinator.Outcome
	s.sweeps.isTurn, s.fired = false, coordinator.TimerKey{}
	switch cmd := cmd.(type) {
	case Command:
		if err := checkLengths(&cmd); err != nil {
			out.Refuse(to, err)
			return out
		}
		return s.decide(now, to, cmd.Group, cmd.Body)
	case List:
		out.Answer(to, s.list(cmd))
	case NewImage:
		s.follow(&out, now, cmd)
	default:
		out.Refuse(to, kafka.InvalidRequest)
	}
	return out
}

func (s *Shard) decide(now time.Time, to coordinator.Token, id string, body any) coordinator.Outcome {
	var out coordinator.Outcome
	switch cmd := body.(type) {
	case classic.Heartbeat, classic.Sync, classic.Leave:
		return s.classicCommand(now, to, id, cmd)
	case OffsetCommit:
		s.commit(&out, now, to, id, &cmd)
	case OffsetFetch:
		s.fetch(&out, to, id, &cmd)
	case consumer.Heartbeat:
		return s.consumerHeartbeat(now, to, id, cmd)
	case classic.Join:
		return s.join(now, to, id, cmd)
	case OffsetDelete:
		s.deleteOffsets(&out, to, id, &cmd)
	case Describe:
		s.describe(&out, to, id)
	case DescribeConsumer:
		s.describeConsumer(&out, to, id)
	case DeleteGroup:
		s.deleteGroup(&out, to, id)
	default:
		out.Refuse(to, kafka.InvalidRequest)
	}
	return out
}

// join lets a member join by the classic protocol: the group that there is, or a new one. A consumer group that nobody
// is in makes way for a classic group.
func (s *Shard) join(now time.Time, to coordinator.Token, id string, cmd classic.Join) coordinator.Outcome {
	if g := s.consumer[id]; g != nil && g.State() != consumer.Empty {
		return g.Decide(now, s.cluster, to, cmd)
	}
	if s.consumer[id] != nil && cmd.MemberID != "" { // it is no member of anything
		var out coordinator.Outcome
		out.Answer(to, classic.JoinReply{Err: kafka.UnknownMemberID, Generation: -1, MemberID: cmd.MemberID})
		return out
	}
	g := s.classic[id]
	if g == nil {
		g = classic.New(id, s.settings(id).Classic)
		s.classic[id] = g
	}
	decided := g.Decide(now, to, cmd)
	s.forgetUnused(id, &decided)
	if old := s.consumer[id]; old != nil && s.classic[id] != nil {
		out := coordinator.Outcome{Records: old.Tombstones()}
		out.Join(decided)
		return out
	}
	return decided
}

// classicCommand carries out a command of a member that must have joined before.
func (s *Shard) classicCommand(now time.Time, to coordinator.Token, id string, cmd any) coordinator.Outcome {
	if g := s.classic[id]; g != nil {
		return g.Decide(now, to, cmd)
	}
	if g := s.consumer[id]; g != nil {
		return g.Decide(now, s.cluster, to, cmd)
	}
	var out coordinator.Outcome
	switch cmd.(type) {
	case classic.Sync:
		out.Answer(to, classic.SyncReply{Err: kafka.UnknownMemberID})
	case classic.Heartbeat:
		out.Answer(to, classic.HeartbeatReply{Err: kafka.UnknownMemberID})
	case classic.Leave:
		out.Answer(to, classic.LeaveReply{Err: kafka.UnknownMemberID})
	}
	return out
}

// consumerHeartbeat carries out a heartbeat of the consumer protocol, which is also how members join and leave. A
// classic group is converted, if that is allowed.
func (s *Shard) consumerHeartbeat(
	now time.Time, to coordinator.Token, id string, cmd consumer.Heartbeat,
) coordinator.Outcome {
	old := s.classic[id]
	if old == nil && s.consumer[id] == nil && s.offsets.Knows(id) {
		old = classic.New(id, s.settings(id).Classic) // a group of offsets is a classic group that nobody has joined
	}
	if old != nil {
		return consumer.Upgrade(now, s.cluster, old, s.settings(id).Consumer, to, cmd)
	}
	g := s.consumer[id]
	if g == nil {
		g = consumer.New(id, s.settings(id).Consumer)
		s.consumer[id] = g
	}
	out := g.Decide(now, s.cluster, to, cmd)
	s.forgetUnused(id, &out)
	return out
}

// checkLengths refuses strings that do not fit into records. Member ids that are only looked up need no check.
func checkLengths(cmd *Command) error {
	if len(cmd.Group) > record.StringBytesMax {
		return kafka.InvalidGroupID
	}
	fits := true
	check := func(strings ...string) {
		for _, text := range strings {
			fits = fits && len(text) <= record.StringBytesMax
		}
	}
	checkOptional := func(strings ...*string) {
		for _, text := range strings {
			fits = fits && (text == nil || len(*text) <= record.StringBytesMax)
		}
	}
	switch body := cmd.Body.(type) {
	case classic.Join:
		check(body.MemberID, body.NewMemberID, body.ClientID, body.ClientHost, body.ProtocolType)
		checkOptional(body.InstanceID)
		for i := range body.Protocols {
			check(body.Protocols[i].Name)
		}
	case consumer.Heartbeat:
		check(body.MemberID, body.NewMemberID, body.ClientID, body.ClientHost)
		checkOptional(body.InstanceID, body.SubscribedRegex)
	case OffsetCommit:
		for i := range body.Commit.Topics {
			check(body.Commit.Topics[i].Topic)
		}
	}
	if !fits {
		return kafka.InvalidRequest
	}
	return nil
}

func (s *Shard) commit(out *coordinator.Outcome, now time.Time, to coordinator.Token, id string, cmd *OffsetCommit) {
	check, err := s.checkCommit(now, id, cmd)
	if err != nil {
		out.Refuse(to, err)
		return
	}
	records, reply, err := s.offsets.Commit(now, id, cmd.Commit, check)
	if err != nil {
		out.Refuse(to, withoutStale(cmd, err))
		return
	}
	out.Write(records...)
	out.Transaction = cmd.Transaction
	out.Answer(to, reply)
}

// checkCommit says which partitions may be committed, or refuses the commit.
func (s *Shard) checkCommit(now time.Time, id string, cmd *OffsetCommit) (offsets.Check, error) {
	g := s.consumer[id]
	switch {
	case g == nil && cmd.Transaction != nil:
		return nil, s.checkClassicTransaction(id, cmd)
	case g == nil:
		return nil, s.checkClassicCommit(now, id, cmd)
	}
	allowed, err := g.CheckCommit(consumer.Committer{MemberID: cmd.MemberID, InstanceID: cmd.InstanceID,
		MemberEpoch: cmd.Generation, APIVersion: cmd.APIVersion, Transactional: cmd.Transaction != nil})
	if err != nil {
		return nil, withoutStale(cmd, err)
	}
	return func(topic string, topicID kafka.UUID, p kafka.PartitionIndex) error {
		return allowed.Partition(topic, topicID, int32(p))
	}, nil
}

// withoutStale is err for a client of transactions, which does not know STALE_MEMBER_EPOCH.
func withoutStale(cmd *OffsetCommit, err error) error {
	if cmd.Transaction != nil && kafka.CodeOf(err) == kafka.StaleMemberEpoch.Code {
		return kafka.IllegalGeneration
	}
	return err
}

// checkClassicTransaction is checkClassicCommit for offsets of a transaction.
func (s *Shard) checkClassicTransaction(id string, cmd *OffsetCommit) error {
	if g := s.classic[id]; g != nil {
		return g.CheckTransactionalCommit(cmd.MemberID, cmd.InstanceID, cmd.Generation)
	}
	switch {
	case cmd.Generation < 0:
		return nil
	case s.offsets.Knows(id):
		return kafka.UnknownMemberID
	}
	return kafka.IllegalGeneration
}

// versionOfMemberEpochs is the version of OffsetCommit since which clients know consumer groups.
const versionOfMemberEpochs = 9

func (s *Shard) checkClassicCommit(now time.Time, id string, cmd *OffsetCommit) error {
	if g := s.classic[id]; g != nil {
		return g.CheckCommit(now, cmd.MemberID, cmd.InstanceID, cmd.Generation)
	}
	switch {
	case cmd.Generation < 0: // somebody outside of any membership makes, or uses, a group of offsets
		return nil
	case s.offsets.Knows(id):
		return kafka.UnknownMemberID
	case cmd.APIVersion >= versionOfMemberEpochs:
		return notFound(id)
	}
	return kafka.IllegalGeneration
}

func (s *Shard) fetch(out *coordinator.Outcome, to coordinator.Token, id string, cmd *OffsetFetch) {
	if g := s.consumer[id]; g != nil {
		if err := g.CheckFetch(cmd.MemberID, cmd.MemberEpoch); err != nil {
			out.Refuse(to, err)
			return
		}
	}
	out.Answer(to, s.offsets.Fetch(id, cmd.Fetch))
}

func (s *Shard) deleteOffsets(out *coordinator.Outcome, to coordinator.Token, id string, cmd *OffsetDelete) {
	subscribes := func(string) bool { return false }
	switch {
	case s.consumer[id] != nil:
		subscribes = s.consumer[id].Subscribes
	case s.classic[id] != nil:
		g := s.classic[id]
		if g.State() != classic.Empty && !g.IsConsumer() {
			out.Refuse(to, kafka.NonEmptyGroup)
			return
		}
		subscribes = g.Subscribes
	case !s.offsets.Knows(id):
		out.Refuse(to, notFound(id))
		return
	}
	records, reply := s.offsets.Delete(id, cmd.Delete, subscribes)
	out.Write(records...)
	out.Answer(to, reply)
}

func notFound(id string) error {
	return coordinator.Refuse(kafka.GroupIDNotFound, "Group "+id+" not found.")
}
