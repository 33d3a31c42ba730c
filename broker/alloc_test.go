package broker

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker/api"
	"spate/kafka"
	"spate/kafka/record"
	"spate/kafka/wire"
	"spate/netpoll"
)

// stubConn is a connection whose loop is the test's goroutine.
type stubConn struct {
	netpoll.Conn // what handlers do not call
	tickets      netpoll.Ticket
	tasks        chan netpoll.Task
	sent         int
	muted        int
}

func newStubConn() *stubConn { return &stubConn{tasks: make(chan netpoll.Task, 16)} }

func (c *stubConn) Reserve() netpoll.Ticket { c.tickets++; return c.tickets }
func (c *stubConn) Skip(netpoll.Ticket)     { c.sent++ }
func (c *stubConn) Post(t netpoll.Task)     { c.tasks <- t }
func (c *stubConn) Closed() bool            { return false }
func (c *stubConn) Listener() string        { return "PLAINTEXT" }
func (c *stubConn) RemoteAddr() netip.AddrPort {
	return netip.AddrPort{}
}

func (c *stubConn) Complete(_ netpoll.Ticket, r *netpoll.Response) {
	c.sent++
	r.Owner.Release()
}

// await runs the loop's tasks until so many answers have been sent.
func (c *stubConn) await(answers int) {
	for c.sent < answers {
		(<-c.tasks).Run()
	}
}

func (c *stubConn) Mute(time.Duration) { c.muted++ }

func (c *stubConn) Pause()  {}
func (c *stubConn) Resume() {}

// Bytes, Take and Release make a delivery the frame of its request.
func (d *delivery) Bytes() []byte { return d.Body }
func (d *delivery) Take()         {}
func (d *delivery) Release()      {}

// delivery is a request that is delivered again and again.
type delivery struct {
	api.Context
	body []byte // as sent: the broker writes offsets into the batches that it receives
}

func (c *stubConn) request(n *node, r kmsg.Request) *delivery {
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, r, 1)[4:]
	header, body, err := wire.ParseHeader(frame)
	if err != nil {
		panic(err)
	}
	d := &delivery{
		Context: api.Context{Node: n.node, Conn: c, Pending: new(api.Pending), Header: header, Body: body},
		body:    bytes.Clone(body),
	}
	d.Frame = d
	return d
}

// deliver has the handler serve the request once, and waits for the answer.
func (c *stubConn) deliver(t testing.TB, x *delivery) {
	copy(x.Body, x.body)
	x.Received = x.Node.Clock.Now()
	x.Ticket = c.Reserve()
	want := c.sent + 1
	if err := api.HandlerOf(x.Header.Key).Hot(&x.Context); err != nil {
		t.Fatal(err)
	}
	c.await(want)
}

func expectNoAllocs(t *testing.T, run func()) {
	t.Helper()
	for range 100 { // pools and slices reach their size
		run()
	}
	if allocs := testing.AllocsPerRun(1000, run); allocs != 0 && !raceEnabled {
		t.Errorf("%v allocations for a request", allocs)
	}
}

func TestProduceHandlerDoesNotAllocate(t *testing.T) {
	for _, durability := range []string{"flush", "page-cache"} {
		n := startNode(t, with("spate.ack.durability="+durability))
		id := n.createTopic("orders", 2)
		for _, test := range []struct {
			name          string
			version, acks int16
		}{
			{"acks all by name", 9, -1}, {"acks all by id", 13, -1}, {"acks 1", 12, 1}, {"acks 0", 8, 0},
			{"version 3", 3, -1},
		} {
			t.Run(durability+" "+test.name, func(t *testing.T) {
				r := produceRequest(test.version, test.acks, "orders", id, 0, batch("a", "b"))
				r.Topics[0].Partitions = append(r.Topics[0].Partitions,
					kmsg.ProduceRequestTopicPartition{Partition: 1, Records: batch("c")})
				c := newStubConn()
				x := c.request(n, r)
				expectNoAllocs(t, func() { c.deliver(t, x) })
			})
		}
	}
}

// Once the coordinator has been asked, the records of a transaction cost no more than others.
func TestProduceInATransactionDoesNotAllocate(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 1)
	producer := &record.Producer{ID: 77}
	inTransaction := record.BuilderOptions{Producer: producer, Transactional: true}
	n.append(n.replicas.TopicNamed("orders").Partition(0), batchOf(inTransaction, "first"))
	producer.Sequence = 1
	for _, version := range []int16{11, 12, 13} {
		r := produceRequest(version, -1, "orders", id, 0, batchOf(inTransaction, "second"))
		r.TransactionID = kmsg.StringPtr("transfers")
		c := newStubConn()
		x := c.request(n, r)
		expectNoAllocs(t, func() { c.deliver(t, x) })
	}
	if end := n.replicas.TopicNamed("orders").Partition(0).View().Log.LogEndOffset(); end != 2 {
		t.Errorf("the log ends at %d", end)
	}
}

// TestQuotasDoNotAllocate: nor when the client is measured, and has to wait.
func TestQuotasDoNotAllocate(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 1)
	admin := n.as("admin")
	for _, limit := range []float64{1e12, 1} {
		for _, key := range []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage"} {
			admin.setQuota(key, limit)
		}
		c := newStubConn()
		produce := c.request(n, produceRequest(13, -1, "", id, 0, batch("a", "b")))
		fetch := c.request(n, fetchRequest(17, "", id, 0, 0))
		account := n.quotas.AccountOf(nil, []byte("test"))
		produce.Account, fetch.Account = account, account
		expectNoAllocs(t, func() { c.deliver(t, produce) })
		expectNoAllocs(t, func() { c.deliver(t, fetch) })
		if throttled := limit == 1; (c.muted > 0) != throttled {
			t.Errorf("with a quota of %v the connection was muted %d times", limit, c.muted)
		}
	}
}

func TestFetchHandlerDoesNotAllocate(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 3)
	writer := n.client()
	for p := range int32(3) {
		writer.produce("orders", p, "a", "b")
	}
	fetch := func(version int16, offset int64) *kmsg.FetchRequest {
		r := fetchRequest(version, "orders", id, 0, offset)
		r.MaxWaitMillis = 1
		for p := range int32(2) {
			one := r.Topics[0].Partitions[0]
			one.Partition = p + 1
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, one)
		}
		return r
	}
	committed, uncommitted := fetch(12, 0), fetch(12, 4)
	committed.IsolationLevel, uncommitted.IsolationLevel = 1, 1
	for p := range int32(3) {
		r := n.replicas.TopicNamed("orders").Partition(kafka.PartitionIndex(p))
		producer := &record.Producer{ID: 77}
		n.append(r, batchOf(record.BuilderOptions{Producer: producer, Transactional: true}, "aborted"))
		marker := record.NewBuilder(record.BuilderOptions{Producer: producer, Transactional: true, Control: true})
		marker.AppendEndTxnMarker(1, record.ControlAbort, 0)
		built, err := marker.Build()
		if err != nil {
			t.Fatal(err)
		}
		n.append(r, built)
	}
	for _, test := range []struct {
		name    string
		request *kmsg.FetchRequest
	}{
		{"by name", fetch(12, 0)}, {"by id", fetch(17, 0)}, {"version 4", fetch(4, 0)}, {"committed", committed},
		{"wait in vain", fetch(12, 4)}, {"wait for committed records in vain", uncommitted},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newStubConn()
			x := c.request(n, test.request)
			expectNoAllocs(t, func() { c.deliver(t, x) })
		})
	}
	t.Run("incremental session", func(t *testing.T) {
		open := fetch(12, 0)
		open.SessionEpoch = 0
		id := ask[*kmsg.FetchResponse](n.client(), open).SessionID
		next := kmsg.NewPtrFetchRequest()
		*next = *open
		next.SessionID, next.SessionEpoch = id, 1
		c := newStubConn()
		x := c.request(n, next)
		epochAt := len(x.Body) - len(bodyAfterEpoch(t, x.Body, id))
		expectNoAllocs(t, func() {
			c.deliver(t, x)
			epoch := x.body[epochAt-4 : epochAt]
			binary.BigEndian.PutUint32(epoch, binary.BigEndian.Uint32(epoch)+1)
		})
	})
}

// bodyAfterEpoch is what follows the session epoch in the body of a fetch of that session.
func bodyAfterEpoch(t *testing.T, body []byte, id int32) []byte {
	t.Helper()
	for i := range len(body) - 8 {
		if int32(binary.BigEndian.Uint32(body[i:])) == id && binary.BigEndian.Uint32(body[i+4:]) == 1 {
			return body[i+8:]
		}
	}
	t.Fatal("the request does not name the session")
	return nil
}

// rawClient sends one encoded request again and again, and reads the answers into one buffer.
type rawClient struct {
	conn    net.Conn
	request []byte
	answer  []byte
}

func newRawClient(t testing.TB, n *node, r kmsg.Request) *rawClient {
	c := n.client()
	return &rawClient{
		conn: c.conn, request: c.formatter.AppendRequest(nil, r, 1), answer: make([]byte, 4<<20),
	}
}

func (c *rawClient) roundTrip(t testing.TB) int {
	if _, err := c.conn.Write(c.request); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c.conn, c.answer[:4]); err != nil {
		t.Fatal(err)
	}
	size := int(binary.BigEndian.Uint32(c.answer))
	if _, err := io.ReadFull(c.conn, c.answer[:size]); err != nil {
		t.Fatal(err)
	}
	return size
}

// The whole way, socket to socket: every allocation of the process counts.
func TestRequestsOverASocketDoNotAllocate(t *testing.T) {
	for _, durability := range []string{"flush", "page-cache"} {
		n := startNode(t, with("spate.ack.durability="+durability))
		id := n.createTopic("orders", 1)
		produce := newRawClient(t, n, produceRequest(13, -1, "", id, 0, batch("a", "b")))
		t.Run(durability+" produce", func(t *testing.T) { expectNoAllocs(t, func() { produce.roundTrip(t) }) })
		fetch := newRawClient(t, n, fetchRequest(17, "", id, 0, 0))
		t.Run(durability+" fetch", func(t *testing.T) { expectNoAllocs(t, func() { fetch.roundTrip(t) }) })
		r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
		r.Topics[0].Partitions[0].PartitionMaxBytes = 1000
		small := newRawClient(t, n, r)
		t.Run(durability+" small fetch", func(t *testing.T) { expectNoAllocs(t, func() { small.roundTrip(t) }) })
	}
}
