package group

import (
	"testing"
	"time"

	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/kafka"
)

// joins is a classic member's JoinGroup.
func joins(id, metadata string) classic.Join {
	return classic.Join{MemberID: id, ClientID: "client", SessionTimeout: 10 * time.Second,
		RebalanceTimeout: time.Minute, ProtocolType: "consumer", NewMemberID: id,
		Protocols: []classic.Protocol{{Name: "range", Metadata: []byte(metadata)}}}
}

// TestACommitOnAFullDiskLeavesTheSession lets a member commit while it waits for the others to join, for longer than
// its session lasts, and while the disk is full. When it goes away later, its session ends all the same.
func TestACommitOnAFullDiskLeavesTheSession(t *testing.T) {
	w := newWorld()
	for _, id := range []string{"m1", "m2"} {
		first := joins("", "")
		first.NewMemberID = id
		w.submit(id, "g", first)
	}
	sync := func(generation int32) {
		t.Helper()
		for _, id := range []string{"m2", "m1"} {
			w.submit(id, "g", classic.Sync{MemberID: id, Generation: generation})
		}
		if g := w.shard.classic["g"]; g.State() != classic.Stable || g.Size() != 2 || g.Generation() != generation {
			t.Fatalf("%v with %d members in generation %d", g.State(), g.Size(), g.Generation())
		}
	}
	beat := func(generation int32) (err error) { // of m1
		for _, a := range w.submit("m1", "g", classic.Heartbeat{MemberID: "m1", Generation: generation}) {
			err = a.body.(classic.HeartbeatReply).Err
		}
		return err
	}
	w.advance(time.Second)
	sync(1)

	w.submit("m2", "g", joins("m2", "other topics"))
	for range 4 {
		w.advance(5 * time.Second)
		if err := beat(1); err != kafka.RebalanceInProgress {
			t.Fatal(err)
		}
	}
	w.diskFull = true
	w.submit("m2", "g", OffsetCommit{MemberID: "m2", Generation: 1, Commit: offsets.Commit{RetentionMs: -1,
		Topics: []offsets.CommitTopic{{Topic: "a", Partitions: []offsets.CommitPartition{{Offset: 5}}}}}})
	w.diskFull = false
	w.submit("m1", "g", joins("m1", ""))
	sync(2)

	for range 4 { // of m2 nothing is heard any more
		w.advance(5 * time.Second)
		if err := beat(2); err == kafka.RebalanceInProgress {
			return
		}
	}
	t.Errorf("the session of a member that has gone has not ended: %+v", w.shard.classic["g"].Describe())
}

// TestAJoinOnAFullDiskDoesNotMakeTwoGroups lets a member of the classic protocol join a consumer group that nobody is
// in while the disk is full. It is refused, and the id stands for one group, to which it comes when there is room.
func TestAJoinOnAFullDiskDoesNotMakeTwoGroups(t *testing.T) {
	w := newWorld()
	w.submit("c", "g", consumer.Heartbeat{MemberID: "c", RebalanceTimeoutMs: 5000, SubscribedTopics: []string{"a"},
		Owned: []consumer.TopicPartitions{}, APIVersion: 1})
	w.submit("c", "g", consumer.Heartbeat{MemberID: "c", MemberEpoch: -1, RebalanceTimeoutMs: -1, APIVersion: 1})
	static := joins("", "")
	static.NewMemberID, static.InstanceID = "m1", new("i")
	w.diskFull = true
	answers := w.submit("m1", "g", static)
	if len(w.shard.classic)+len(w.shard.consumer) != 1 {
		t.Errorf("there are %d classic and %d consumer groups", len(w.shard.classic), len(w.shard.consumer))
	}
	if len(answers) != 1 || len(w.waiting) > 0 {
		t.Errorf("it is answered %+v, %d wait", answers, len(w.waiting))
	}
	w.diskFull = false
	w.submit("m1", "g", static)
	w.advance(time.Second)
	w.submit("m1", "g", classic.Sync{MemberID: "m1", InstanceID: new("i"), Generation: 1})
	if g := w.shard.classic["g"]; g == nil || g.State() != classic.Stable || len(w.shard.consumer) > 0 {
		t.Errorf("%+v, %d consumer groups", g, len(w.shard.consumer))
	}
	if complaint := w.compareWithReplay(); complaint != "" {
		t.Error(complaint)
	}
}
