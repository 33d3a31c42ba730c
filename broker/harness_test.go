package broker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"spate/internal/clock"
	"spate/internal/config"
	"spate/internal/logtest"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/controller"
)

// patience is how long a test waits for what must happen: longer than a busy machine may stand still, and shorter than
// the minute that requests wait for which must not be answered by the end of their time.
const patience = 40 * time.Second

// node is a broker under test, over a directory of its own unless fs says otherwise.
type node struct {
	*Broker
	t     testing.TB
	fs    vfs.FS
	clock clock.Clock // the machine's where it is nil
	dirs  string
	set   []string
	log   *logtest.Buffer
}

type nodeOption func(*node)

// with sets config keys, as key=value.
func with(set ...string) nodeOption { return func(n *node) { n.set = append(n.set, set...) } }

// on puts the log directories, comma separated, on a file system.
func on(fs vfs.FS, dirs string) nodeOption { return func(n *node) { n.fs, n.dirs = fs, dirs } }

// by has the broker go by another clock.
func by(c clock.Clock) nodeOption { return func(n *node) { n.clock = c } }

// startNode starts a broker and ends it with the test.
func startNode(t testing.TB, options ...nodeOption) *node {
	t.Helper()
	n := &node{t: t, fs: vfs.OS{}, log: &logtest.Buffer{}}
	for _, o := range options {
		o(n)
	}
	if n.dirs == "" {
		n.dirs = t.TempDir()
	}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *node) start() {
	n.t.Helper()
	if err := n.tryStart(); err != nil {
		n.t.Fatalf("start: %v\n%s", err, n.log)
	}
}

func (n *node) tryStart() error {
	set := append([]string{"listeners=PLAINTEXT://127.0.0.1:0", "log.dirs=" + n.dirs}, n.set...)
	cfg, _, err := config.Load(config.Sources{Set: set, Hostname: "localhost"})
	if err != nil {
		return err
	}
	if n.clock == nil {
		n.clock = clock.Real{}
	}
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	n.Broker, err = Open(Env{Clock: n.clock, FS: n.fs, Rand: rand.Reader, Log: logger}, cfg)
	return err
}

// stop ends the broker; a second call does nothing.
func (n *node) stop() {
	if n.Broker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Broker.Close(ctx); err != nil {
		n.t.Errorf("close: %v", err)
	}
	n.Broker = nil
	if strings.Contains(n.log.String(), "panic") {
		n.t.Errorf("the log speaks of a panic:\n%s", n.log)
	}
}

func (n *node) restart() {
	n.t.Helper()
	n.stop()
	n.start()
}

// createTopic makes a topic and gives its id.
func (n *node) createTopic(name string, partitions int32, configs ...string) kafka.UUID {
	n.t.Helper()
	topic := controller.NewTopic{Name: name, Partitions: partitions, ReplicationFactor: 1}
	for _, c := range configs {
		key, value, _ := strings.Cut(c, "=")
		topic.Configs = append(topic.Configs, controller.ConfigEntry{Name: key, Value: &value})
	}
	reply, err := n.metadata.Submit(context.Background(), controller.CreateTopics{Topics: []controller.NewTopic{topic}})
	if err != nil {
		n.t.Fatal(err)
	}
	made := reply.(controller.CreateTopicsReply).Topics[0]
	if made.Err != nil {
		n.t.Fatal(made.Err)
	}
	return n.replicas.TopicNamed(name).ID
}

func (n *node) address() string { return n.Listeners()[0].Address.String() }

// client is a connection that sends requests one at a time, or many before it reads.
type client struct {
	t         testing.TB
	conn      net.Conn
	formatter *kmsg.RequestFormatter
	sent      int32 // correlation id of the last request
	received  int32
}

func (n *node) client() *client {
	n.t.Helper()
	return dial(n.t, n.address())
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))}
}

// send writes a request.
func (c *client) send(r kmsg.Request) {
	c.t.Helper()
	c.sent++
	if _, err := c.conn.Write(c.formatter.AppendRequest(nil, r, c.sent)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// receive reads the answer to the oldest request that has not been answered.
func (c *client) receive(r kmsg.Request) kmsg.Response {
	c.t.Helper()
	response, err := c.tryReceive(r)
	if err != nil {
		c.t.Fatalf("receive %T: %v", r, err)
	}
	return response
}

func (c *client) tryReceive(r kmsg.Request) (kmsg.Response, error) {
	frame, err := c.frame()
	if err != nil {
		return nil, err
	}
	c.received++
	if id := int32(binary.BigEndian.Uint32(frame)); id != c.received {
		return nil, fmt.Errorf("answer to request %d, want %d", id, c.received)
	}
	body := frame[4:]
	response := r.ResponseKind()
	if response.IsFlexible() && r.Key() != 18 {
		body = body[1:]
	}
	return response, response.ReadFrom(body)
}

// frame reads one frame without its size.
func (c *client) frame() ([]byte, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c.conn, frame)
	return frame, err
}

func ask[R kmsg.Response](c *client, r kmsg.Request) R {
	c.t.Helper()
	c.send(r)
	return c.receive(r).(R)
}

// expectClosed fails unless the broker closes the connection without sending anything.
func (c *client) expectClosed() {
	c.t.Helper()
	frame, err := c.frame()
	if err == nil {
		c.t.Fatalf("the broker answers %x, want a closed connection", frame)
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatal("the connection stays open")
	}
}

// batch builds a record batch of string values.
func batch(values ...string) []byte {
	return batchOf(record.BuilderOptions{}, values...)
}

func batchOf(o record.BuilderOptions, values ...string) []byte {
	b := record.NewBuilder(o)
	for i, v := range values {
		b.Append(kafka.Timestamp(time.Now().UnixMilli()), []byte(fmt.Sprintf("k%d", i)), []byte(v))
	}
	built, err := b.Build()
	if err != nil {
		panic(err)
	}
	return built
}

// produceRequest asks to append records to one partition, by name or, from version 13 on, by id.
func produceRequest(
	version, acks int16, topic string, id kafka.UUID, partition int32, records []byte,
) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(version)
	r.Acks = acks
	r.TimeoutMillis = 10_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

// produce appends values and fails on an error.
func (c *client) produce(topic string, partition int32, values ...string) int64 {
	c.t.Helper()
	response := ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, topic, kafka.ZeroUUID, partition, batch(values...)))
	p := response.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		c.t.Fatalf("produce: %v", kafka.ErrorOf(p.ErrorCode))
	}
	return p.BaseOffset
}

// fetchRequest asks for records of one partition.
func fetchRequest(version int16, topic string, id kafka.UUID, partition int32, offset int64) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(version)
	r.ReplicaID = -1
	r.MaxWaitMillis = 500
	r.MinBytes = 1
	r.MaxBytes = 50 << 20
	r.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset = partition, offset
	p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
	p.PartitionMaxBytes = 1 << 20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

// values are the values of all records in the batches.
func values(t testing.TB, records []byte) []string {
	t.Helper()
	var out []string
	for len(records) > 0 {
		b, rest, err := record.Next(records)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.CheckCRC(); err != nil {
			t.Fatal(err)
		}
		it := b.Records()
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			out = append(out, string(r.Value))
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		records = rest
	}
	return out
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// deleteTopic removes a topic.
func (n *node) deleteTopic(name string) {
	n.t.Helper()
	cmd := controller.DeleteTopics{Topics: []controller.TopicRef{{Name: &name}}}
	reply, err := n.metadata.Submit(context.Background(), cmd)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := reply.(controller.DeleteTopicsReply).Topics[0].Err; err != nil {
		n.t.Fatal(err)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
