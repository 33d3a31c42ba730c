package group

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
	kafkarecord "spate/kafka/record"
)

// load replays a segment of __consumer_offsets.
func load(t *testing.T, s *Shard, path string) {
	t.Helper()
	buf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(buf) > 0 {
		var b kafkarecord.Batch
		if b, buf, err = kafkarecord.Next(buf); err != nil {
			t.Fatal(err)
		}
		place := coordinator.Place{ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch()}
		records := b.Records()
		for r, ok := records.Next(); ok; r, ok = records.Next() {
			if b.IsControl() {
				kind, err := r.ControlType()
				if err != nil {
					t.Fatal(err)
				}
				s.ApplyMarker(b.ProducerID(), b.ProducerEpoch(), kind == kafkarecord.ControlCommit)
				continue
			}
			decoded, err := s.Decode(r.Key, r.Value)
			if err != nil {
				t.Fatal(err)
			}
			place.Offset = r.Offset
			s.Apply(decoded, place)
		}
		if err := records.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKafkasLogLoads replays what Apache Kafka 4.3.1 wrote while groups of all kinds lived and went: what is left is
// what its tools showed at the end.
func TestKafkasLogLoads(t *testing.T) {
	w := newWorld()
	load(t, w.shard, filepath.Join("record", "testdata", "kafka-4.3.1", "00000000000000000000.log"))
	want := []Listed{
		{"classicinstance-1", "consumer", "Empty", "classic"},
		{"consumer-regex", "consumer", "Empty", "consumer"},
		{"simple", "consumer", "Empty", "classic"},
		{"txn", "consumer", "Empty", "classic"},
	}
	if diff := cmp.Diff(want, w.shard.list(List{}).Groups); diff != "" {
		t.Error(diff)
	}
	fetched := w.shard.offsets.Fetch("txn", offsets.Fetch{All: true, RequireStable: true})
	committed := offsets.FetchedTopic{Topic: "orders", Partitions: []offsets.FetchedPartition{
		{Partition: 2, Offset: 20, Metadata: "kgo-5ff54cd6-7fe6-42b2-afcd-af2e5cc80417"}}}
	if diff := cmp.Diff([]offsets.FetchedTopic{committed}, fetched.Topics); diff != "" {
		t.Error(diff)
	}
}

// processorTime is what this process has used: unlike the clock it does not go on while others are at work.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestTenThousandJoinsOfOneGroup lets members join one group all at once. A rebalance of that size is one answer each;
// the time must not grow with the square of the members.
func TestTenThousandJoinsOfOneGroup(t *testing.T) {
	const members = 10_000
	w := newWorld()
	w.shard.options.Settings = func(map[string]string) Settings {
		s := testSettings(nil)
		s.Classic.InitialRebalanceDelay = 3 * time.Second
		return s
	}
	subscribed := subscription.Subscription{Topics: []string{"orders"}, Generation: -1}
	metadata := subscribed.Append(nil)
	begin := processorTime(t)
	for i := range members {
		w.submit("member", "g", classic.Join{ClientID: "client", ClientHost: "/host",
			SessionTimeout: 30 * time.Second, RebalanceTimeout: 20 * time.Second, ProtocolType: "consumer",
			NewMemberID: fmt.Sprintf(
				"member-%05d",
				i,
			), Protocols: []classic.Protocol{{Name: "range", Metadata: metadata}}})
	}
	answers := w.advance(20 * time.Second)
	if len(answers) != members {
		t.Fatalf("%d members are answered", len(answers))
	}
	if took := processorTime(t) - begin; took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	listed := 0
	for _, a := range answers {
		joined := a.body.(classic.JoinReply)
		if joined.Err != nil || joined.Generation != 1 {
			t.Fatalf("%+v", joined)
		}
		listed += len(joined.Members)
	}
	if listed != members {
		t.Errorf("the leader sees %d members", listed)
	}
}

// TestRecordsThatDoNotFit refuses the record of an assignment: those who wait for it are told, and may try again.
func TestRecordsThatDoNotFit(t *testing.T) {
	w := newWorld()
	w.submit("m1", "g", classic.Join{ClientID: "client", SessionTimeout: 10 * time.Second,
		RebalanceTimeout: 20 * time.Second, ProtocolType: "consumer", NewMemberID: "m1",
		Protocols: []classic.Protocol{{Name: "range"}}})
	w.advance(3 * time.Second)
	out := w.shard.Decide(w.now, w.next, Command{"g", classic.Sync{MemberID: "m1", Generation: 1}})
	if len(out.Records) != 1 {
		t.Fatalf("%+v", out)
	}
	again := w.shard.Refused(w.now, out.Records, kafka.RecordListTooLarge)
	if state := w.shard.classic["g"].State(); state == classic.Stable {
		t.Errorf("the group is %v after %+v", state, again)
	}
	// An offset that does not fit has left nothing behind.
	lost := []coordinator.Record{&record.OffsetCommit{Group: "g"}}
	if out := w.shard.Refused(w.now, lost, kafka.RecordListTooLarge); len(out.Records) > 0 {
		t.Errorf("%+v", out)
	}
}

// TestOlderImagesAreIgnored hands in an image that the shard has had already.
func TestOlderImagesAreIgnored(t *testing.T) {
	w := newWorld()
	before := w.img
	w.topic("a", 1)
	w.submit(
		"",
		"g",
		OffsetCommit{Generation: -1, Commit: offsets.Commit{RetentionMs: -1, Topics: []offsets.CommitTopic{
			{Topic: "a", Partitions: []offsets.CommitPartition{{}}}}}},
	)
	w.carryOut(w.shard.Decide(w.now, coordinator.Nobody, NewImage{Image: before}))
	w.advance(0)
	if n := w.shard.offsets.Count(); n != 1 {
		t.Errorf("%d offsets are left", n)
	}
}

// TestOffsetsOfTransactions replays a transaction's offset, which counts from its marker on and keeps the group.
func TestOffsetsOfTransactions(t *testing.T) {
	w := newWorld()
	w.shard.Apply(&record.OffsetCommit{Group: "g", Topic: "a", Offset: 5, ExpireTimestamp: -1},
		coordinator.Place{ProducerID: 3})
	w.advance(time.Hour)
	fetch := OffsetFetch{MemberEpoch: -1, Fetch: offsets.Fetch{RequireStable: true,
		Topics: []offsets.FetchTopic{{Topic: "a", Partitions: []kafka.PartitionIndex{0}}}}}
	fetched := func() offsets.FetchedPartition {
		return w.submit("", "g", fetch)[0].body.(offsets.FetchReply).Topics[0].Partitions[0]
	}
	if got := fetched(); got.Err != kafka.UnstableOffsetCommit {
		t.Errorf("%+v", got)
	}
	w.shard.ApplyMarker(3, 0, true)
	if got := fetched(); got.Err != nil || got.Offset != 5 {
		t.Errorf("%+v", got)
	}
}

// TestAFullDiskDelaysASweep deletes a topic while nothing can be written: the offsets go when there is room again, none
// of them is passed over, and no time is spent on trying in between.
func TestAFullDiskDelaysASweep(t *testing.T) {
	w := newWorld()
	w.topic("a", 1)
	for _, group := range []string{"g", "h", "i"} {
		w.submit("", group, OffsetCommit{Generation: -1, Commit: offsets.Commit{RetentionMs: -1,
			Topics: []offsets.CommitTopic{{Topic: "a", TopicID: w.img.Topic("a").ID,
				Partitions: []offsets.CommitPartition{{Offset: 5}}}}}})
	}
	w.diskFull = true
	w.drop("a", true)
	w.advance(20 * time.Second)
	if n := w.shard.offsets.Count(); n != 3 {
		t.Fatalf("%d offsets", n)
	}
	w.diskFull = false
	w.advance(time.Second)
	if n, most := w.shard.offsets.Count(), w.shard.sweeps.recordsMax; n != 0 || most != sweepRecordsMax {
		t.Errorf("%d offsets are left, %d are deleted at a time", n, most)
	}
}

// TestOneSweepAtATime begins a search while the one before is under way.
func TestOneSweepAtATime(t *testing.T) {
	w := newWorld()
	for i := range 3 * sweepGroupsMax {
		w.shard.Apply(
			&record.OffsetCommit{Group: fmt.Sprint("g", i), ExpireTimestamp: -1, CommitTimestamp: 1_000_000},
			coordinator.Place{ProducerID: kafka.NoProducerID},
		)
	}
	out := w.shard.Fired(w.now, coordinator.TimerKey{Kind: timerExpiry})
	out.Join(w.shard.Fired(w.now, coordinator.TimerKey{Kind: timerExpiry}))
	if n := len(w.shard.sweeps.queue); n != 1 {
		t.Errorf("%d sweeps are under way", n)
	}
	w.carryOut(out)
	// Each turn looks at so many groups, and deletes so many offsets.
	late := w.now.Add(time.Hour)
	for turn, want := range []int{sweepRecordsMax, sweepRecordsMax} {
		out := w.shard.Fired(late, coordinator.TimerKey{Kind: timerSweep})
		if n := len(out.Records); n < want || n > want+1 {
			t.Errorf("turn %d has %d records", turn, n)
		}
		w.carryOut(out)
	}
}

// BenchmarkHeartbeats hands heartbeats of 10,000 consumers to a shard, which is what it mostly does.
func BenchmarkHeartbeats(b *testing.B) {
	w := newWorld()
	w.topic("a", 1)
	for g := range 1000 {
		w.submit("", fmt.Sprint("g", g), consumer.Heartbeat{MemberID: "m", MemberEpoch: 0, RebalanceTimeoutMs: 5,
			SubscribedTopics: []string{"a"}, Owned: []consumer.TopicPartitions{}, APIVersion: 1})
	}
	var cmds []any
	for g := range 1000 {
		cmds = append(cmds, Command{fmt.Sprint("g", g), consumer.Heartbeat{MemberID: "m", MemberEpoch: 2,
			RebalanceTimeoutMs: -1, APIVersion: 1}})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.shard.Decide(w.now, 1, cmds[i%len(cmds)])
	}
}

// BenchmarkReplay decodes and applies committed offsets of 10,000 groups, as a load does.
func BenchmarkReplay(b *testing.B) {
	const groups = 10_000
	keys, value := make([][]byte, 0, 10*groups), []byte(nil)
	for p := range kafka.PartitionIndex(10) {
		for g := range groups {
			r := &record.OffsetCommit{Group: fmt.Sprintf("group-%05d", g), Topic: "orders", Partition: p,
				TopicID: kafka.UUID{1}, ExpireTimestamp: kafka.NoTimestamp}
			keys = append(keys, r.AppendKey(nil))
			value, _ = r.AppendValue(nil)
		}
	}
	s := newWorld().shard
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r, err := s.Decode(keys[i%len(keys)], value)
		if err != nil {
			b.Fatal(err)
		}
		s.Apply(r, coordinator.Place{Offset: kafka.Offset(i), ProducerID: kafka.NoProducerID})
	}
}

// BenchmarkCommit decides about commits of one partition and applies them.
func BenchmarkCommit(b *testing.B) {
	w := newWorld()
	cmd := OffsetCommit{Generation: -1, APIVersion: 9, Commit: offsets.Commit{RetentionMs: offsets.NoRetention,
		Topics: []offsets.CommitTopic{{Topic: "a", Partitions: []offsets.CommitPartition{{Offset: 5}}}}}}
	var cmds []any
	for g := range 1000 {
		cmds = append(cmds, Command{fmt.Sprint("g", g), cmd})
	}
	b.ReportAllocs()
	var at kafka.Offset
	for i := 0; b.Loop(); i++ {
		for _, r := range w.shard.Decide(w.now, 1, cmds[i%len(cmds)]).Records {
			w.shard.Apply(r, coordinator.Place{Offset: at, ProducerID: kafka.NoProducerID})
			at++
		}
	}
}
