package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/kafka/record"
	"spate/partition"
	"spate/replica"
)

// fetched is what a Fetch response says of one partition.
type fetched struct {
	Error    string
	HW       int64
	LSO      int64
	LogStart int64
	Aborted  []kmsg.FetchResponseTopicPartitionAbortedTransaction // nil: null
	Values   []string
	Diverges int64 // the end of the diverging epoch, 0 for none
	Leader   int32 // 0 for none
}

func fetchOne(c *client, r *kmsg.FetchRequest) fetched {
	c.t.Helper()
	response := ask[*kmsg.FetchResponse](c, r)
	if response.ErrorCode != 0 || len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		c.t.Fatalf("an answer for one partition is due: %+v", response)
	}
	return fetchedFrom(c.t, response.Topics[0].Partitions[0])
}

func fetchedFrom(t testing.TB, p kmsg.FetchResponseTopicPartition) fetched {
	f := fetched{
		HW: p.HighWatermark, LSO: p.LastStableOffset, LogStart: p.LogStartOffset, Aborted: p.AbortedTransactions,
		Values: values(t, p.RecordBatches),
	}
	if err := kafka.ErrorOf(p.ErrorCode); err != nil {
		f.Error = err.Error()
	}
	if p.DivergingEpoch.Epoch >= 0 {
		f.Diverges = p.DivergingEpoch.EndOffset
	}
	if p.CurrentLeader.LeaderID >= 0 {
		f.Leader = p.CurrentLeader.LeaderID
	}
	return f
}

func expectFetched(t testing.TB, got, want fetched) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(kmsg.Tags{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// change adjusts a fetch request of one partition.
type change func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)

func changed(r *kmsg.FetchRequest, c change) *kmsg.FetchRequest {
	c(r, &r.Topics[0].Partitions[0])
	return r
}

func TestFetchInEveryVersion(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 1)
	c := n.client()
	c.produce("orders", 0, "a", "b")
	c.produce("orders", 0, "c")
	for version := int16(4); version <= 18; version++ {
		want := fetched{HW: 3, LSO: 3, Values: []string{"a", "b", "c"}}
		if version < 5 {
			want.LogStart = -1
		}
		expectFetched(t, fetchOne(c, fetchRequest(version, "orders", id, 0, 0)), want)
		// An offset inside a batch gives the whole batch.
		expectFetched(t, fetchOne(c, fetchRequest(version, "orders", id, 0, 1)), want)
		want.Values = []string{"c"}
		expectFetched(t, fetchOne(c, fetchRequest(version, "orders", id, 0, 2)), want)
	}
}

// Each case is what Apache Kafka 4.3.1 answered to the same request.
func TestFetchRefusals(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 1)
	c := n.client()
	c.produce("orders", 0, "a")
	epoch := int32(n.replicas.TopicNamed("orders").Partition(0).View().LeaderEpoch)
	none := fetched{HW: -1, LSO: -1, LogStart: -1}
	with := func(err *kafka.Error) fetched {
		f := none
		f.Error = err.Name
		return f
	}
	unknown := func(err *kafka.Error) fetched {
		f := with(err)
		f.Aborted = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
		return f
	}
	full := fetched{HW: 1, LSO: 1, Values: []string{"a"}}
	at := func(offset int64, changes ...change) *kmsg.FetchRequest {
		r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, offset)
		for _, c := range changes {
			changed(r, c)
		}
		return r
	}
	current := func(e int32) change {
		return func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = e }
	}
	last := func(e int32) change {
		return func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = e }
	}
	replicaID := func(id int32) change {
		return func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.ReplicaID = id }
	}
	limits := func(request, partition int32) change {
		return func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
			r.MaxBytes, p.PartitionMaxBytes = request, partition
		}
	}
	diverging := fetched{HW: 1, LSO: 1, Diverges: 1}
	for _, test := range []struct {
		name    string
		request *kmsg.FetchRequest
		want    fetched
	}{
		{"past the end", at(100), with(kafka.OffsetOutOfRange)},
		{"before the start", at(-3), with(kafka.OffsetOutOfRange)},
		{"a topic that does not exist", fetchRequest(12, "nope", kafka.ZeroUUID, 0, 0),
			unknown(kafka.UnknownTopicOrPartition)},
		{"a topic id that does not exist", fetchRequest(13, "", kafka.UUID{1}, 0, 0), unknown(kafka.UnknownTopicID)},
		{"a partition that does not exist", fetchRequest(13, "", id, 5, 0), unknown(kafka.UnknownTopicOrPartition)},
		{"a newer leader epoch", at(0, current(epoch+1)), with(kafka.UnknownLeaderEpoch)},
		{"the right leader epoch", at(0, current(epoch)), full},
		{"a leader epoch below -1", at(0, current(-2)), full},
		{"a last fetched epoch that is newer than all", at(1, last(epoch+4)), with(kafka.OffsetOutOfRange)},
		{"a log that goes on past this one", at(100, last(epoch)), diverging},
		{"a follower that is none", at(0, replicaID(5)), with(kafka.NotLeaderOrFollower)},
		{"a follower that is none, with an epoch", at(0, replicaID(5), current(epoch)), with(kafka.UnknownLeaderEpoch)},
		{"a debugging consumer", at(0, replicaID(-2)), full},
		{"no bytes at all", at(0, limits(0, 1)), full},
		{"no bytes of the partition", at(0, limits(1, 0)), full},
		{"less than no bytes", at(0, limits(-1, 1)), with(kafka.UnknownServerError)},
		{"less than no bytes of the partition", at(0, limits(1, -1)), with(kafka.UnknownServerError)},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.request.MaxWaitMillis = 60_000 // the answer does not wait: it has an error or records
			expectFetched(t, fetchOne(c, test.request), test.want)
		})
	}
}

func TestFencedEpochNamesTheLeader(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	n.restart() // a new registration is a new leader epoch
	id := n.replicas.TopicNamed("orders").ID
	c := n.client()
	epoch := int32(n.replicas.TopicNamed("orders").Partition(0).View().LeaderEpoch)
	if epoch == 0 {
		t.Fatal("the leader epoch is still 0")
	}
	r := changed(fetchRequest(16, "", id, 0, 0), func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
		p.CurrentLeaderEpoch = epoch - 1
	})
	response := ask[*kmsg.FetchResponse](c, r)
	p := response.Topics[0].Partitions[0]
	hint := p.CurrentLeader
	if p.ErrorCode != kafka.FencedLeaderEpoch.Code || hint.LeaderID != 1 || hint.LeaderEpoch != epoch {
		t.Fatalf("%+v", p)
	}
	if len(response.Brokers) != 1 || response.Brokers[0].Port != int32(n.Listeners()[0].AdvertisedPort) {
		t.Fatalf("%+v", response.Brokers)
	}
}

func TestFetchLimits(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 3)
	c := n.client()
	big := strings.Repeat("x", 1000)
	for p := range int32(3) {
		for i := range 3 {
			c.produce("orders", p, fmt.Sprintf("%d%d%s", p, i, big))
		}
	}
	one := int32(len(batch("00" + big)))
	counts := func(maxBytes, partitionBytes int32) []int {
		r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
		r.MaxBytes = maxBytes
		for p := range int32(3) {
			part := r.Topics[0].Partitions[0]
			part.Partition, part.PartitionMaxBytes = p, partitionBytes
			if p > 0 {
				r.Topics[0].Partitions = append(r.Topics[0].Partitions, part)
			} else {
				r.Topics[0].Partitions[0] = part
			}
		}
		var counts []int
		for _, p := range ask[*kmsg.FetchResponse](c, r).Topics[0].Partitions {
			if p.HighWatermark != 3 || p.ErrorCode != 0 {
				t.Fatalf("%+v", p)
			}
			counts = append(counts, len(values(t, p.RecordBatches)))
		}
		return counts
	}
	for _, test := range []struct {
		name                     string
		maxBytes, partitionBytes int32
		want                     []int
	}{
		{"everything fits", 100 * one, 100 * one, []int{3, 3, 3}},
		{"the first batch comes even if it is too large, and nothing else", 1, 1, []int{1, 0, 0}},
		{"partitions are limited", 100 * one, 2*one + 1, []int{2, 2, 2}},
		{"the request is limited", 4*one + 1, 100 * one, []int{3, 1, 0}},
		{"a partition that allows too little gives nothing after the first", 100 * one, 1, []int{1, 0, 0}},
	} {
		if diff := cmp.Diff(test.want, counts(test.maxBytes, test.partitionBytes)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestBrokerLimitsFetches(t *testing.T) {
	n := startNode(t, with("fetch.max.bytes=2000"))
	n.createTopic("orders", 1)
	c := n.client()
	for range 5 {
		c.produce("orders", 0, strings.Repeat("x", 900))
	}
	if got := fetchOne(c, fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)); len(got.Values) != 2 {
		t.Fatalf("%d records", len(got.Values))
	}
}

func TestFetchWaitsForRecordsAndNoLonger(t *testing.T) {
	for _, durability := range []string{"flush", "page-cache"} {
		t.Run(durability, func(t *testing.T) {
			n := startNode(t, with("spate.ack.durability="+durability))
			n.createTopic("orders", 1)
			consumer, producer := n.client(), n.client()
			for i := range 20 {
				r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, int64(i))
				r.MaxWaitMillis = 60_000
				consumer.send(r)
				if i%2 == 0 {
					eventually(t, "the fetch waits", func() bool { return n.node.Fetches.Len() == 1 })
				}
				producer.produce("orders", 0, fmt.Sprint(i))
				p := consumer.receive(r).(*kmsg.FetchResponse).Topics[0].Partitions[0]
				want := fetched{HW: int64(i + 1), LSO: int64(i + 1), Values: []string{fmt.Sprint(i)}}
				expectFetched(t, fetchedFrom(t, p), want)
			}
			r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 20)
			r.MaxWaitMillis = 50
			began := time.Now()
			expectFetched(t, fetchOne(consumer, r), fetched{HW: 20, LSO: 20})
			if waited := time.Since(began); waited < 50*time.Millisecond || waited > patience {
				t.Errorf("the empty answer came after %v", waited)
			}
			if n.node.Fetches.Len() != 0 || n.node.Produces.Len() != 0 {
				t.Error("somebody still waits")
			}
		})
	}
}

func TestFetchWaitsForMinBytesOverAllPartitions(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 2)
	consumer, producer := n.client(), n.client()
	size := int32(len(batch("aaaa")))
	r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
	other := r.Topics[0].Partitions[0]
	other.Partition = 1
	r.Topics[0].Partitions = append(r.Topics[0].Partitions, other)
	r.MinBytes, r.MaxWaitMillis = 3*size, 60_000
	consumer.send(r)
	producer.produce("orders", 0, "aaaa")
	producer.produce("orders", 1, "bbbb")
	eventually(t, "the fetch waits", func() bool { return n.node.Fetches.Len() == 1 })
	producer.produce("orders", 1, "cccc")
	var got [][]string
	for _, p := range consumer.receive(r).(*kmsg.FetchResponse).Topics[0].Partitions {
		got = append(got, values(t, p.RecordBatches))
	}
	if diff := cmp.Diff([][]string{{"aaaa"}, {"bbbb", "cccc"}}, got); diff != "" {
		t.Error(diff)
	}
}

// An unknown topic beside one that exists does not make the answer leave early, as in Kafka: its client would spin.
func TestUnknownTopicWaitsWithTheOthers(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	c := n.client()
	r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
	r.Topics = append(r.Topics, fetchRequest(12, "nope", kafka.ZeroUUID, 0, 0).Topics...)
	r.MaxWaitMillis = 60
	began := time.Now()
	response := ask[*kmsg.FetchResponse](c, r)
	if waited := time.Since(began); waited < 60*time.Millisecond {
		t.Errorf("answered after %v", waited)
	}
	if code := response.Topics[1].Partitions[0].ErrorCode; code != kafka.UnknownTopicOrPartition.Code {
		t.Errorf("%v", kafka.ErrorOf(code))
	}
}

func TestReadCommitted(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	c := n.client()
	r := n.replicas.TopicNamed("orders").Partition(0)
	write := func(producer int64, sequence int, values ...string) {
		p := &record.Producer{ID: kafka.ProducerID(producer), Sequence: kafka.Sequence(sequence)}
		n.append(r, batchOf(record.BuilderOptions{Producer: p, Transactional: true}, values...))
	}
	mark := func(producer int64, kind record.ControlType) {
		p := &record.Producer{ID: kafka.ProducerID(producer), Sequence: kafka.NoSequence}
		b := record.NewBuilder(record.BuilderOptions{Producer: p, Transactional: true, Control: true})
		b.AppendEndTxnMarker(kafka.Timestamp(time.Now().UnixMilli()), kind, 0)
		built, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		n.append(r, built)
	}
	fetch := func(offset int64) fetched {
		return fetchOne(c, changed(fetchRequest(12, "orders", kafka.ZeroUUID, 0, offset),
			func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) {
				r.IsolationLevel, r.MaxWaitMillis = 1, 20
			}))
	}
	type aborted = kmsg.FetchResponseTopicPartitionAbortedTransaction
	expectFetched(t, fetch(0), fetched{Aborted: []aborted{}})
	write(1, 0, "committed")
	write(2, 0, "aborted")
	c.produce("orders", 0, "plain")
	expectFetched(t, fetch(0), fetched{HW: 3, Aborted: []aborted{}})
	mark(1, record.ControlCommit)
	got := fetch(0)
	expectFetched(t, got, fetched{HW: 4, LSO: 1, Values: got.Values, Aborted: []aborted{}})
	if len(got.Values) == 0 || got.Values[0] != "committed" {
		t.Fatalf("%q", got.Values)
	}
	mark(2, record.ControlAbort)
	got = fetch(0)
	expectFetched(t, got, fetched{
		HW: 5, LSO: 5, Values: got.Values, Aborted: []aborted{{ProducerID: 2, FirstOffset: 1}},
	})
	if uncommitted := fetchOne(c, fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)); uncommitted.Aborted != nil {
		t.Fatal("a reader of everything is told of aborted transactions")
	}
}

// append writes as a coordinator does, and waits until it is committed.
func (n *node) append(r *replica.Replica, records []byte) {
	n.t.Helper()
	verification := partition.NoVerification
	if b := record.Batch(records); b.IsTransactional() && !b.IsControl() {
		var err error
		verification, err = r.BeginVerification(partition.Verifying{
			ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), Sequence: b.BaseSequence(),
		})
		if err != nil {
			n.t.Fatal(err)
		}
	}
	appended, err := r.Append(records, replica.AppendOptions{
		Acks: replica.AcksAll, Origin: partition.OriginCoordinator, Now: kafka.Timestamp(time.Now().UnixMilli()),
		Verification: verification,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	eventually(n.t, "the append is committed", func() bool { return r.HighWatermark() >= appended.EndOffset })
}

// A fetch that waits is forgotten with its connection, and its memory is not used by two requests.
func TestFetchOfAClosedConnectionIsForgotten(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	var gone []*client
	for range 10 {
		c := n.client()
		r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
		r.MaxWaitMillis = 60_000
		c.send(r)
		gone = append(gone, c)
	}
	eventually(t, "all wait", func() bool { return n.node.Fetches.Len() == 10 })
	for _, c := range gone {
		_ = c.conn.Close()
	}
	eventually(t, "none waits", func() bool { return n.node.Fetches.Len() == 0 })
	c := n.client()
	c.produce("orders", 0, "a")
	expectFetched(t, fetchOne(c, fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)),
		fetched{HW: 1, LSO: 1, Values: []string{"a"}})
}

func TestFetchesThatWaitAreAnsweredAtShutdown(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	c := n.client()
	r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
	r.MaxWaitMillis = 60_000
	c.send(r)
	eventually(t, "the fetch waits", func() bool { return n.node.Fetches.Len() == 1 })
	began := time.Now()
	n.stop()
	if took := time.Since(began); took > patience {
		t.Errorf("the shutdown took %v", took)
	}
	if p := c.receive(r).(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || len(p.RecordBatches) != 0 {
		t.Fatalf("%+v", p)
	}
}

// Larger than what goes out by one system call, and of several segments: the bytes are those that were written.
func TestLargeFetchesOverManySegments(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1, "segment.bytes=1048576")
	c := n.client()
	var want []string
	for i := range 40 {
		v := fmt.Sprint(i, strings.Repeat("y", 99_000))
		want = append(want, v)
		c.produce("orders", 0, v)
	}
	var got []string
	for len(got) < len(want) {
		f := fetchOne(c, changed(fetchRequest(12, "orders", kafka.ZeroUUID, 0, int64(len(got))),
			func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.PartitionMaxBytes = 10 << 20 }))
		if len(f.Values) == 0 {
			t.Fatalf("nothing at offset %d", len(got))
		}
		got = append(got, f.Values...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal("what is read is not what was written")
	}
	if s := n.server.Stats(); s.Sendfiles == 0 {
		t.Error("nothing went by sendfile")
	}
}
