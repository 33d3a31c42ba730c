package consumer

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// Goal: records of other releases, records that come again, and what a compaction leaves are all understood. Method:
// records applied by hand, and the state or the next answer compared.

var (
	t1 = kafka.UUID{15: 1}
	t2 = kafka.UUID{15: 2}
)

func TestNormalizeBringsOldRecordsIntoForm(t *testing.T) {
	for name, c := range map[string]struct {
		list []record.TopicPartitions
		want owned
	}{
		"without epochs": {
			[]record.TopicPartitions{{TopicID: t1, Partitions: []int32{0, 1}}},
			owned{{TopicID: t1, Partitions: []int32{0, 1}, AssignmentEpochs: []int32{7, 7}}},
		},
		"in another order": {
			[]record.TopicPartitions{
				{TopicID: t2, Partitions: []int32{3, 1}, AssignmentEpochs: []int32{5, 6}},
				{TopicID: t1, Partitions: []int32{0}, AssignmentEpochs: []int32{4}},
			},
			owned{
				{TopicID: t1, Partitions: []int32{0}, AssignmentEpochs: []int32{4}},
				{TopicID: t2, Partitions: []int32{1, 3}, AssignmentEpochs: []int32{6, 5}},
			},
		},
		"with epochs that do not fit": {
			[]record.TopicPartitions{{TopicID: t1, Partitions: []int32{0, 1}, AssignmentEpochs: []int32{5}}},
			owned{{TopicID: t1, Partitions: []int32{0, 1}, AssignmentEpochs: []int32{7, 7}}},
		},
		"with a topic twice and one that is empty": {
			[]record.TopicPartitions{
				{TopicID: t1, Partitions: []int32{1}, AssignmentEpochs: []int32{5}},
				{TopicID: t2},
				{TopicID: t1, Partitions: []int32{0, 1}, AssignmentEpochs: []int32{6, 6}},
			},
			owned{{TopicID: t1, Partitions: []int32{0, 1}, AssignmentEpochs: []int32{6, 6}}},
		},
		"nothing": {nil, nil},
	} {
		if diff := cmp.Diff(c.want, normalize(c.list, 7)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	left := normalize([]record.TopicPartitions{{TopicID: t1, Partitions: []int32{0}}}, leftForNow)
	if got := left[0].AssignmentEpochs; got[0] != 0 {
		t.Errorf("the epoch of a member that left is taken for an assignment epoch: %v", got)
	}
}

func TestMapTargetSortsAndJoins(t *testing.T) {
	got := mapTarget([]record.TopicPartitions{
		{TopicID: t1, Partitions: []int32{2, 0}}, {TopicID: t2}, {TopicID: t1, Partitions: []int32{1, 2}},
	})
	if diff := cmp.Diff(map[kafka.UUID][]int32{t1: {0, 1, 2}}, map[kafka.UUID][]int32(got)); diff != "" {
		t.Error(diff)
	}
}

func TestRecordsThatComeAgainChangeNothing(t *testing.T) {
	w := newWorld()
	w.topic("t", 4)
	w.ask(joining(1))
	w.ask(joining(2))
	before := dump(w.group, w.topics)
	last := map[string]coordinator.Record{}
	for _, r := range w.log {
		last[string(r.AppendKey(nil))] = r
	}
	for range 2 {
		for _, key := range sortedKeys(last) {
			w.group.Apply(last[key])
		}
	}
	if diff := cmp.Diff(before, dump(w.group, w.topics)); diff != "" {
		t.Error(diff)
	}
}

func TestRecordsOfUnknownMembersAreHarmless(t *testing.T) {
	g := New(groupID, newWorld().settings)
	for _, r := range []coordinator.Record{
		&record.CurrentMember{Group: groupID, MemberID: "x", Deleted: true},
		&record.TargetMember{Group: groupID, MemberID: "x", Deleted: true},
		&record.Member{Group: groupID, MemberID: "x", Deleted: true},
		&record.RegularExpression{Group: groupID, Regex: "x", Deleted: true},
		&record.PartitionMetadata{Group: groupID, Deleted: true},
		&record.Target{Group: groupID, Deleted: true},
		&record.ConsumerGroup{Group: groupID, Deleted: true},
	} {
		g.Apply(r)
	}
	if g.Exists() {
		t.Errorf("there is a group:\n%s", dump(g, nil))
	}
	for _, r := range []coordinator.Record{
		&record.Target{Group: groupID, Epoch: 3},
		&record.TargetMember{Group: groupID, MemberID: "x"},
		&record.PartitionMetadata{Group: groupID},
		&record.RegularExpression{Group: groupID, Regex: "x"},
		&record.CurrentMember{Group: groupID, MemberID: "x", MemberEpoch: 3},
		&record.ConsumerGroup{Group: groupID, Epoch: 3},
	} {
		g := New(groupID, newWorld().settings)
		if g.Apply(r); !g.Exists() {
			t.Errorf("a group of which a %T is left would be forgotten, and the record with it", r)
		}
	}
}

// A partition that two records claim, as no log of a Kafka or of ours has it, belongs to the later one, and the earlier
// one does not take it away when it ends.
func TestLaterRecordOwns(t *testing.T) {
	g := New(groupID, newWorld().settings)
	claim := func(id string, epoch int32) {
		g.Apply(&record.CurrentMember{
			Group: groupID, MemberID: id, MemberEpoch: epoch,
			Assigned: []record.TopicPartitions{{TopicID: t1, Partitions: []int32{0}}},
		})
	}
	claim("a", 1)
	claim("b", 2)
	g.Apply(&record.CurrentMember{Group: groupID, MemberID: "a", Deleted: true})
	if got := g.owners[t1][0]; got != "b" {
		t.Errorf("the partition is with %q", got)
	}
}

func TestMemberInUnknownStateStartsAnew(t *testing.T) {
	w := newWorld()
	w.topic("t", 1)
	w.ask(joining(1))
	m := w.group.members[memberName(1)]
	current := *m.current()
	current.State = 9 // of a later release
	w.group.Apply(&current)
	h := steadyOf(w, 1)
	h.Owned = m.assigned.bare()
	reply := w.group.Decide(w.now, w.cluster, 1, h).Replies[0].Body.(HeartbeatReply)
	if kafka.CodeOf(reply.Err) != kafka.FencedMemberEpoch.Code {
		t.Errorf("a member that owns something goes on: %v", reply.Err)
	}
	reply = w.group.Decide(w.now, w.cluster, 1, joining(1)).Replies[0].Body.(HeartbeatReply)
	if reply.Err != nil || len(reply.Assignment) != 1 {
		t.Errorf("a member that rejoins: %+v", reply)
	}
}

// The PartitionMetadata record of a Kafka before 4.1 is deleted when the group next looks at its topics.
func TestOldMetadataRecordIsDeleted(t *testing.T) {
	w := newWorld()
	w.topic("t", 1)
	w.ask(joining(1))
	w.group.Apply(&record.PartitionMetadata{Group: groupID})
	w.topic("t", 2)
	out := w.ask(steadyOf(w, 1))
	var got []string
	for _, r := range out.Records {
		got = append(got, showKey(r))
	}
	if diff := cmp.Diff("partition-metadata", got[1]); diff != "" || w.group.oldMetadata {
		t.Errorf("%v: %s", got, diff)
	}
}

// A record that could not be written, because the batch would have been too large, leaves nothing behind that keeps the
// next heartbeat from trying again.
func TestRefusedRecordsAreTriedAgain(t *testing.T) {
	w := newWorld()
	w.topic("t", 1)
	w.ask(joining(1))
	w.topic("t", 2)
	first := w.group.Decide(w.now, w.cluster, 1, steadyOf(w, 1))
	second := w.group.Decide(w.now, w.cluster, 1, steadyOf(w, 1))
	if len(first.Records) == 0 || len(second.Records) != len(first.Records) {
		t.Errorf("%d records, then %d", len(first.Records), len(second.Records))
	}
}
