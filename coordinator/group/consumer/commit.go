package consumer

import "spate/kafka"

// CheckCommit says what the committer may commit, or refuses it as a whole. A member that is behind may still commit
// what was assigned to it in its own epoch or before: nobody else can have had it since (KIP-1251).
func (g *Group) CheckCommit(c Committer) (CommitCheck, error) {
	if c.MemberEpoch < 0 && len(g.members) == 0 {
		return CommitCheck{}, nil
	}
	if c.Transactional && c.MemberEpoch == -1 && c.MemberID == "" && c.InstanceID == nil {
		return CommitCheck{}, nil
	}
	m, err := g.find(c.MemberID)
	if err != nil {
		return CommitCheck{}, err
	}
	const firstForMembers = 9 // the version of OffsetCommit that knows member epochs
	switch {
	case !c.Transactional && !m.isClassic() && c.APIVersion < firstForMembers:
		return CommitCheck{}, refusal(kafka.UnsupportedVersion,
			"OffsetCommit version 9 or above must be used by members using the consumer group protocol")
	case c.MemberEpoch == m.epoch:
		return CommitCheck{}, nil
	case c.MemberEpoch > m.epoch && m.isClassic():
		return CommitCheck{}, refusal(kafka.IllegalGeneration,
			"Received generation id %d is newer than current member epoch %d.", c.MemberEpoch, m.epoch)
	case c.MemberEpoch > m.epoch:
		return CommitCheck{}, refusal(kafka.StaleMemberEpoch,
			"Received member epoch %d is newer than current member epoch %d.", c.MemberEpoch, m.epoch)
	}
	return CommitCheck{member: m, epoch: c.MemberEpoch}, nil
}

// Partition is nil if the partition may be committed.
func (c CommitCheck) Partition(topic string, id kafka.UUID, partition int32) error {
	if c.member == nil {
		return nil
	}
	reason, what := kafka.StaleMemberEpoch, "member epoch"
	if c.member.isClassic() {
		reason, what = kafka.IllegalGeneration, "generation id"
	}
	epoch, ok := c.member.assigned.epoch(id, partition)
	if !ok {
		epoch, ok = c.member.revoking.epoch(id, partition)
	}
	if !ok {
		return refusal(reason, "Partition %s-%d is not assigned or pending revocation for member.", topic, partition)
	}
	if c.epoch < epoch {
		return refusal(reason, "Received %s %d is older than assignment epoch %d for partition %s-%d.",
			what, c.epoch, epoch, topic, partition)
	}
	return nil
}

// CheckFetch says whether somebody may fetch offsets: a member by its epoch, and with a nil id and a negative epoch
// somebody outside of any membership.
func (g *Group) CheckFetch(memberID *string, memberEpoch int32) error {
	if memberID == nil && memberEpoch < 0 {
		return nil
	}
	name := "null"
	if memberID != nil {
		name = *memberID
	}
	m, err := g.find(name)
	switch {
	case err != nil:
		return err
	case memberEpoch == m.epoch:
		return nil
	case m.isClassic():
		return refusal(kafka.IllegalGeneration,
			"The received generation id %d does not match the expected member epoch %d.", memberEpoch, m.epoch)
	}
	return refusal(kafka.StaleMemberEpoch,
		"The received member epoch %d does not match the expected member epoch %d.", memberEpoch, m.epoch)
}
