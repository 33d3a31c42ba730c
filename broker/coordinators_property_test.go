package broker

import (
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/coordinator/group"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/coordinator/runtime"
	"spate/coordinator/runtime/runtimetest"
	"spate/internal/clock"
	"spate/kafka"
	"spate/metadata/image"
)

// shards is the coordinator of groups on a log in memory, one turn at a time.
type shards struct {
	*runtime.Host
	clock *clock.Manual
	epoch kafka.LeaderEpoch
}

func newShards(log runtime.Log) *shards {
	s := &shards{clock: clock.NewManual(time.Unix(1_700_000_000, 0))}
	limits := classic.Settings{SessionTimeoutMin: time.Second, SessionTimeoutMax: time.Hour, SizeMax: 100}
	settings := group.Settings{Classic: limits, Consumer: consumer.Settings{
		SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second, RegexRefreshInterval: time.Hour,
		SizeMax:   100,
		Assignors: []string{"uniform", "range"}, Upgrade: true, Downgrade: true, Classic: limits,
	}}
	s.Host = runtime.NewHost(runtime.Options{
		Clock: s.clock, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Topic: "groups", Polled: true,
		NewMachine: func(kafka.PartitionIndex) runtime.Machine {
			return group.NewShard(group.Options{
				Settings: func(map[string]string) group.Settings { return settings },
				Offsets:  offsets.Settings{MetadataMax: 4096, Retention: time.Hour}, ExpiryInterval: time.Minute,
				Image: image.Empty("cluster"),
			})
		},
	})
	s.SetPartitions(1)
	s.lead(log)
	return s
}

// lead leads the log in a new leader epoch.
func (s *shards) lead(log runtime.Log) {
	s.Lead(0, s.epoch, log)
	s.epoch++
	s.settle()
}

func (s *shards) settle() {
	for s.Poll(s.clock.Now()) {
	}
}

// told notes one answer.
type told struct {
	times int
	body  any
	err   error
}

func (t *told) Done(body any, err error) { t.times, t.body, t.err = t.times+1, body, err }

// committedIn is what a shard on a log says that a group has committed.
func committedIn(t *rapid.T, log *runtimetest.Log, id string) kafka.Offset {
	s := newShards(log)
	defer s.Close()
	if state := s.Shards()[0].State; state != runtime.Serving {
		t.Fatalf("what is left of the log makes the shard %s", state)
	}
	return s.committed(t, id)
}

func (s *shards) committed(t *rapid.T, id string) kafka.Offset {
	var answer told
	s.SubmitTo(0, group.Command{Group: id, Body: group.OffsetFetch{MemberEpoch: -1, Fetch: offsets.Fetch{
		Topics: []offsets.FetchTopic{{Topic: "orders", Partitions: []kafka.PartitionIndex{0}}},
	}}}, &answer)
	s.settle()
	if answer.err != nil {
		t.Fatalf("fetch: %v", answer.err)
	}
	return answer.body.(offsets.FetchReply).Topics[0].Partitions[0].Offset
}

// storm is a run of random commands and faults over a log.
type storm struct {
	*rapid.T
	*shards
	log     *runtimetest.Log
	asked   []*question
	members map[string]classic.JoinReply // of each group, as answered last
	acked   map[string]kafka.Offset      // committed offsets, by group
}

// question is a command that was submitted.
type question struct {
	told
	group  string
	offset kafka.Offset // of a commit
}

// Goal: under appends that fail, leaders that change and flushes that come late, every request is answered once, what
// was acknowledged is in the committed part of the log, and any part of the log can be loaded. Method: the real
// machines on the real driver, over a log that the test spoils; after each run the log is cut at every batch.
func TestGroupsOverALogThatFails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := runtimetest.NewLog()
		s := &storm{
			T: t, shards: newShards(log), log: log,
			members: map[string]classic.JoinReply{}, acked: map[string]kafka.Offset{},
		}
		defer s.Close()
		log.Hold()
		for i := range rapid.IntRange(10, 100).Draw(t, "steps") {
			if rapid.IntRange(0, 1).Draw(t, "step") == 0 {
				s.fault()
			} else {
				s.ask(i)
			}
			s.settle()
			s.hear()
		}
		s.checkLog()
		s.Close()
		for i, q := range s.asked {
			if q.times != 1 {
				t.Fatalf("command %d was answered %d times", i, q.times)
			}
		}
	})
}

// ask has a client ask for something.
func (s *storm) ask(i int) {
	q := &question{group: rapid.SampledFrom([]string{"g", "h"}).Draw(s.T, "group"), offset: kafka.Offset(i)}
	member := s.members[q.group]
	commands := []func() any{
		func() any {
			return classic.Join{
				MemberID: member.MemberID, NewMemberID: fmt.Sprint("member-", i), ProtocolType: "consumer",
				SessionTimeout: 30 * time.Second, RebalanceTimeout: time.Minute,
				Protocols: []classic.Protocol{{Name: "range", Metadata: make([]byte, 10)}},
			}
		},
		func() any {
			return classic.Sync{
				MemberID: member.MemberID, Generation: member.Generation,
				Assignments: []classic.MemberAssignment{{MemberID: member.MemberID, Assignment: []byte("all")}},
			}
		},
		func() any { return classic.Heartbeat{MemberID: member.MemberID, Generation: member.Generation} },
		func() any {
			return consumer.Heartbeat{
				MemberID: fmt.Sprint("c", i%3), MemberEpoch: int32(rapid.IntRange(-1, 1).Draw(s.T, "epoch")),
				APIVersion: 1, RebalanceTimeoutMs: 60_000, SubscribedTopics: []string{"orders"},
				Owned: []consumer.TopicPartitions{},
			}
		},
		func() any { return commitOf(q.offset) },
		func() any { return commitOf(q.offset) },
	}
	body := rapid.SampledFrom(commands).Draw(s.T, "command")()
	s.asked = append(s.asked, q)
	s.SubmitTo(0, group.Command{Group: q.group, Body: body}, q)
}

func commitOf(offset kafka.Offset) group.OffsetCommit {
	partition := offsets.CommitPartition{Offset: offset, LeaderEpoch: kafka.NoLeaderEpoch}
	topic := offsets.CommitTopic{Topic: "orders", Partitions: []offsets.CommitPartition{partition}}
	return group.OffsetCommit{Generation: -1, APIVersion: 8, Commit: offsets.Commit{
		RetentionMs: offsets.NoRetention, Topics: []offsets.CommitTopic{topic},
	}}
}

// fault has something happen to the log, or time pass.
func (s *storm) fault() {
	switch rapid.IntRange(0, 7).Draw(s.T, "fault") {
	case 0, 1:
		s.log.Commit(kafka.NoOffset)
	case 2:
		_, end, _ := s.log.Bounds()
		s.log.Commit(kafka.Offset(rapid.Int64Range(0, int64(end)).Draw(s.T, "mark")))
	case 3:
		s.log.Fail(rapid.IntRange(1, 3).Draw(s.T, "fail"), kafka.KafkaStorageError)
	case 4, 5:
		s.log.Fail(0, nil)
		s.log.Fill(nil)
		s.clock.Advance(time.Duration(rapid.IntRange(1, 40).Draw(s.T, "seconds")) * time.Second)
	case 6:
		s.lead(s.log)
	case 7:
		s.log.Fill(runtime.ErrNoRoom)
	}
}

// hear notes what clients have been told.
func (s *storm) hear() {
	for _, q := range s.asked {
		switch reply := q.body.(type) {
		case classic.JoinReply:
			if reply.Err == nil {
				s.members[q.group] = reply
			}
		case offsets.CommitReply:
			if reply.Topics[0].Partitions[0].Err == nil {
				s.acked[q.group] = max(s.acked[q.group], q.offset)
			}
		}
	}
}

// checkLog looks for what was acknowledged, and loads every part of the log.
func (s *storm) checkLog() {
	mark, _ := s.log.HighWatermark()
	for id, offset := range s.acked {
		if got := committedIn(s.T, s.log.CutTo(mark), id); got < offset {
			s.Fatalf("group %s: %d was acknowledged, %d is left", id, offset, got)
		}
	}
	last := kafka.NoOffset
	for _, b := range s.log.Batches() {
		got := committedIn(s.T, s.log.CutTo(b.NextOffset()), "g")
		if got < last {
			s.Fatalf("the committed offset goes back from %d to %d at %d", last, got, b.NextOffset())
		}
		last = got
	}
}
