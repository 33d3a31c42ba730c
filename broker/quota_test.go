package broker

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker/quota"
	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
)

// Goal: clients are held to the quotas that are set, told for how long they have to wait, and not served meanwhile; and
// quotas last. Method: a clock that is set by hand, so that what is accepted within a time is a number and not a guess;
// what clients are told is compared with the arithmetic of package quota, whose own tests compare it with Kafka's.

var kafkasWindow = quota.Window{Samples: 11, SampleMs: 1000}

// setQuota sets a quota of the clients that tests are ("test"), or removes it where value is 0.
func (c *client) setQuota(key string, value float64) {
	c.t.Helper()
	c.alterQuota("client-id", "test", key, value)
}

func (c *client) alterQuota(kind, name, key string, value float64) {
	c.t.Helper()
	r := kmsg.NewPtrAlterClientQuotasRequest()
	r.SetVersion(1)
	r.Entries = []kmsg.AlterClientQuotasRequestEntry{{
		Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: kind, Name: &name}},
		Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value, Remove: value == 0}},
	}}
	if told := ask[*kmsg.AlterClientQuotasResponse](c, r).Entries[0]; told.ErrorCode != 0 {
		c.t.Fatalf("quota: %v", kafka.ErrorOf(told.ErrorCode))
	}
}

// as is a client with another id.
func (n *node) as(clientID string) *client {
	c := n.client()
	c.formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	return c
}

// quietly tells that no request is served while the client has to wait: the one that was sent is not delivered.
func (n *node) quietly(t *testing.T, manual *clock.Manual, wait time.Duration) {
	t.Helper()
	served := n.server.Stats().Frames
	manual.Advance(wait - time.Millisecond)
	for range 3 { // loops take their turns
		other := n.as("other")
		ask[*kmsg.ApiVersionsResponse](other, kmsg.NewPtrApiVersionsRequest())
		_ = other.conn.Close()
		served++
	}
	if got := n.server.Stats().Frames; got != served {
		t.Fatalf("%d requests were served before the wait of %v was over", got-served, wait)
	}
	manual.Advance(time.Millisecond)
}

func TestAProducerIsHeldToItsQuota(t *testing.T) {
	manual := clock.NewManual(time.Now())
	n := startNode(t, by(manual))
	n.createTopic("orders", 1)
	c, admin := n.client(), n.as("admin")
	const limit = 1_000_000
	admin.setQuota("producer_byte_rate", limit)
	request := produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, batch(strings.Repeat("x", 400_000)))
	size := len(c.formatter.AppendRequest(nil, request, 1)) - 4

	var model quota.Rate
	begin, accepted, waited := manual.Now(), 0, 0
	for i := range 120 {
		c.send(request)
		response := c.receive(request).(*kmsg.ProduceResponse)
		if code := response.Topics[0].Partitions[0].ErrorCode; code != 0 {
			t.Fatal(kafka.ErrorOf(code))
		}
		now := manual.Now()
		model.Record(kafkasWindow, float64(size), now.UnixMilli())
		want := model.ThrottleMs(kafkasWindow, limit, now.UnixMilli())
		if response.ThrottleMillis != want {
			t.Fatalf("request %d: to wait %d ms, want %d", i, response.ThrottleMillis, want)
		}
		accepted += size
		if want > 0 {
			waited++
			if waited <= 3 {
				c.send(request)
				n.quietly(t, manual, time.Duration(want)*time.Millisecond)
				c.receive(request)
				now := manual.Now().UnixMilli()
				model.Record(kafkasWindow, float64(size), now)
				accepted += size
				manual.Advance(time.Duration(model.ThrottleMs(kafkasWindow, limit, now)) * time.Millisecond)
				continue
			}
			manual.Advance(time.Duration(want) * time.Millisecond)
		}
		manual.Advance(20 * time.Millisecond)
	}
	elapsed := manual.Now().Sub(begin).Seconds()
	rate := float64(accepted) / elapsed
	if waited < 20 || elapsed < 25 || rate > limit*(1+22/elapsed) || rate < 0.9*limit {
		t.Errorf("%.0f bytes a second over %.1f s, with %d waits", rate, elapsed, waited)
	}

	admin.setQuota("producer_byte_rate", 0)
	for range 40 {
		if ms := ask[*kmsg.ProduceResponse](c, request).ThrottleMillis; ms != 0 {
			t.Fatalf("without a quota: to wait %d ms", ms)
		}
	}
}

// TestAcksZeroIsHeldToo: there is no answer to say so in, but the next request is not served.
func TestAcksZeroIsHeldToo(t *testing.T) {
	manual := clock.NewManual(time.Now())
	n := startNode(t, by(manual))
	n.createTopic("orders", 1)
	c, admin := n.client(), n.as("admin")
	admin.setQuota("producer_byte_rate", 1000)
	request := produceRequest(9, 0, "orders", kafka.ZeroUUID, 0, batch(strings.Repeat("x", 20_000)))
	size := len(c.formatter.AppendRequest(nil, request, 1)) - 4
	c.send(request)
	eventually(t, "the records are there", func() bool {
		return n.replicas.TopicNamed("orders").Partition(0).View().Log.LogEndOffset() == 1
	})
	versions := kmsg.NewPtrApiVersionsRequest()
	c.send(versions)
	c.received++ // the first is not answered
	n.quietly(t, manual, time.Duration(size-10_000)*time.Millisecond)
	c.receive(versions)
}

func TestAConsumerIsHeldToItsQuota(t *testing.T) {
	manual := clock.NewManual(time.Now())
	n := startNode(t, by(manual))
	n.createTopic("orders", 1)
	c, admin := n.client(), n.as("admin")
	writer := n.as("writer")
	for range 30 {
		writer.produce("orders", 0, strings.Repeat("x", 100_000))
	}
	admin.setQuota("consumer_byte_rate", 50_000)
	request := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
	request.SessionEpoch = 0
	request.Topics[0].Partitions[0].PartitionMaxBytes = 150_000
	begin, got, empty := manual.Now(), 0, 0
	receive := func() *kmsg.FetchResponse {
		response := c.receive(request).(*kmsg.FetchResponse)
		if response.ErrorCode != 0 {
			t.Fatal(kafka.ErrorOf(response.ErrorCode))
		}
		if response.SessionID != 0 { // it is there from the first answer on that tells something
			request.SessionID = response.SessionID
			request.SessionEpoch++
		}
		return response
	}
	for got < 30 {
		c.send(request)
		response := receive()
		if wait := time.Duration(response.ThrottleMillis) * time.Millisecond; wait > 0 {
			if len(response.Topics) > 0 || request.SessionEpoch > 0 && response.SessionID == 0 {
				t.Fatalf("an answer above the quota: %+v", response)
			}
			if empty++; empty > 3 {
				manual.Advance(wait)
				continue
			}
			c.send(request)
			n.quietly(t, manual, wait)
			response = receive()
		}
		for _, topic := range response.Topics {
			got += len(values(t, topic.Partitions[0].RecordBatches))
			request.Topics[0].Partitions[0].FetchOffset = int64(got)
		}
		manual.Advance(10*time.Millisecond + time.Duration(response.ThrottleMillis)*time.Millisecond)
	}
	elapsed := manual.Now().Sub(begin).Seconds()
	if rate := 3_000_000 / elapsed; empty < 5 || rate > 50_000*(1+22/elapsed) || rate < 30_000 {
		t.Errorf("%.0f bytes a second over %.1f s, with %d waits", rate, elapsed, empty)
	}
	admin.setQuota("consumer_byte_rate", 0)
	for range 20 {
		free := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
		response := ask[*kmsg.FetchResponse](c, free)
		if response.ThrottleMillis != 0 || len(response.Topics) == 0 {
			t.Fatalf("without a quota: to wait %d ms", response.ThrottleMillis)
		}
	}
}

// TestClientsShareAQuota: two connections of one client id are one client, another id is another.
func TestClientsShareAQuota(t *testing.T) {
	manual := clock.NewManual(time.Now())
	n := startNode(t, by(manual))
	n.createTopic("orders", 1)
	n.as("admin").setQuota("producer_byte_rate", 10_000)
	request := produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, batch(strings.Repeat("x", 60_000)))
	throttle := func(c *client) int32 { return ask[*kmsg.ProduceResponse](c, request).ThrottleMillis }
	if ms := throttle(n.client()); ms != 0 {
		t.Errorf("the first: %d ms", ms)
	}
	if ms := throttle(n.as("another")); ms != 0 {
		t.Errorf("another client: %d ms", ms)
	}
	if ms := throttle(n.client()); ms < 2000 {
		t.Errorf("the second of the same client: %d ms", ms)
	}
}

// TestTimeOnThreadsIsLimited: a client that may use next to none has to wait a second, the longest there is, after
// requests of every kind, but for those that want no answer.
func TestTimeOnThreadsIsLimited(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	n.as("admin").setQuota("request_percentage", 1e-9)
	for name, r := range map[string]kmsg.Request{
		"ApiVersions": kmsg.NewPtrApiVersionsRequest(),
		"a worker's":  kmsg.NewPtrDescribeLogDirsRequest(),
		"Heartbeat":   kmsg.NewPtrHeartbeatRequest(),
		"Produce":     produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, batch("x")),
		"Fetch":       fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0),
	} {
		r.SetVersion(max(r.GetVersion(), 1))
		response := ask[kmsg.Response](n.client(), r)
		if ms, _ := response.(kmsg.ThrottleResponse).Throttle(); ms != 1000 {
			t.Errorf("%s: to wait %d ms", name, ms)
		}
	}
	for kind, want := range map[quota.Kind]int{quota.Request: 1, quota.Produce: 0} {
		if got := n.quotas.Clients(kind); got != want {
			t.Errorf("%d clients are measured for %s, want %d", got, kind, want)
		}
	}
}

func TestQuotasOutliveACrash(t *testing.T) {
	disk := vfs.NewMem()
	n := startNode(t, on(disk, "/data"))
	admin := n.as("admin")
	admin.setQuota("producer_byte_rate", 1000)
	admin.alterQuota("user", "ANONYMOUS", "consumer_byte_rate", 2000)
	admin.alterQuota("ip", "127.0.0.9", "connection_creation_rate", 3)
	describe := func(n *node) *kmsg.DescribeClientQuotasResponse {
		return ask[*kmsg.DescribeClientQuotasResponse](n.as("admin"), kmsg.NewPtrDescribeClientQuotasRequest())
	}
	want := describe(n).AppendTo(nil)
	crashed := startNode(t, on(disk.CrashClone(rand.New(rand.NewPCG(1, 1))), "/data"))
	if got := describe(crashed).AppendTo(nil); len(describe(n).Entries) != 3 || !bytes.Equal(got, want) {
		t.Errorf("after a crash: %+v", describe(crashed))
	}
	n.restart()
	n.createTopic("orders", 1)
	if got := describe(n).AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("after a restart: %+v", describe(n))
	}
	request := produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, batch(strings.Repeat("x", 20_000)))
	if ms := ask[*kmsg.ProduceResponse](n.client(), request).ThrottleMillis; ms < 5000 {
		t.Errorf("after a restart a client has to wait %d ms", ms)
	}
}

// A client that nobody here wrote keeps to what it is told, loses nothing, and is not cut off.
func TestFranzGoIsHeldToQuotas(t *testing.T) {
	const records = 3
	n := startNode(t, with("quota.window.num=2")) // short, for this goes by the real clock
	n.createTopic("orders", 1)
	admin := n.as("admin")
	admin.alterQuota("client-id", "kgo", "producer_byte_rate", 250_000)
	admin.alterQuota("client-id", "kgo", "consumer_byte_rate", 250_000)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var mu sync.Mutex // the client fetches while it produces
	var waits []time.Duration
	c := newFranzClient(t, n, kgo.ClientID("kgo"), kgo.DefaultProduceTopic("orders"), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.WithHooks(throttleHook(func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, d)
		})), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := bytes.Repeat([]byte("x"), 300_000) // each is more than what a second allows, however slowly they come
	for range records {
		if err := c.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	if len(waits) == 0 || slices.Max(waits) > 5*time.Second {
		t.Errorf("the producer was to wait %v", waits)
	}
	mu.Unlock()
	for got := 0; got < records; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		got += fetches.NumRecords()
	}
}

type throttleHook func(time.Duration)

func (f throttleHook) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) { f(d) }
