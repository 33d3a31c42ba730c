package broker

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

func (c *client) readAll(topic string, partition int32) []string {
	c.t.Helper()
	var all []string
	for {
		r := fetchRequest(12, topic, kafka.ZeroUUID, partition, int64(len(all)))
		r.MaxWaitMillis = 0
		got := fetchOne(c, r)
		if got.Error != "" {
			c.t.Fatalf("%s-%d at %d: %s", topic, partition, len(all), got.Error)
		}
		if len(got.Values) == 0 {
			return all
		}
		all = append(all, got.Values...)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 2, "retention.ms=12345678")
	var want [2][]string
	for round := range 3 {
		c := n.client()
		for i := range 20 {
			p := i % 2
			v := fmt.Sprint(round, "/", i)
			if base := c.produce("orders", int32(p), v); base != int64(len(want[p])) {
				t.Fatalf("offset %d, want %d", base, len(want[p]))
			}
			want[p] = append(want[p], v)
		}
		cluster := n.ClusterID()
		n.restart()
		c = n.client()
		for p := range want {
			if diff := cmp.Diff(want[p], c.readAll("orders", int32(p))); diff != "" {
				t.Fatal(diff)
			}
		}
		if n.ClusterID() != cluster || n.replicas.TopicNamed("orders").ID != id {
			t.Fatal("the cluster or the topic has another id")
		}
	}
	settings := n.replicas.TopicNamed("orders").Partition(0).View().Log.Config()
	if got := settings.RetentionAge; got != 12345678*time.Millisecond {
		t.Errorf("the topic's settings are lost: %v", got)
	}
}

// Producers with acks=all write while the power goes: what was acknowledged is there afterwards, in its place, and
// nothing is there that was not sent.
func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			disk := vfs.NewMem()
			n := startNode(t, on(disk, "/a,/b"))
			n.createTopic("orders", 4, "segment.bytes=1048576")
			acked := cutWhileProducing(n, 20+random.IntN(300))
			after := startNode(t, on(disk.CrashClone(random), "/a,/b"))
			n.stop()
			c := after.client()
			for p := range int32(4) {
				got := c.readAll("orders", p)
				for offset, value := range acked[p] {
					if offset >= int64(len(got)) || got[offset] != value {
						t.Fatalf("partition %d: offset %d was acknowledged and is not there (%d records are)",
							p, offset, len(got))
					}
				}
				for _, v := range got {
					if !strings.HasPrefix(v, "value ") {
						t.Fatalf("nobody sent %q", v)
					}
				}
			}
		})
	}
}

// cutWhileProducing has four clients produce, and returns when so many requests are acknowledged while more are under
// way: what was acknowledged up to then, by partition and offset.
func cutWhileProducing(n *node, requests int) [4]map[int64]string {
	var (
		mu      sync.Mutex
		acked   [4]map[int64]string
		count   atomic.Int64
		clients sync.WaitGroup
		enough  = make(chan struct{})
	)
	for p := range acked {
		acked[p] = map[int64]string{}
		c := n.client()
		clients.Go(func() {
			for i := 0; ; i++ {
				value := fmt.Sprint("value ", p, " ", i, strings.Repeat(".", i%5000))
				r := produceRequest(9, -1, "orders", kafka.ZeroUUID, int32(p), batch(value))
				if _, err := c.conn.Write(c.formatter.AppendRequest(nil, r, int32(i+1))); err != nil {
					return
				}
				response, err := c.tryReceive(r)
				if err != nil {
					return
				}
				mu.Lock()
				acked[p][response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].BaseOffset] = value
				mu.Unlock()
				if count.Add(1) == int64(requests) {
					close(enough)
				}
			}
		})
		n.t.Cleanup(clients.Wait)
	}
	<-enough
	mu.Lock()
	defer mu.Unlock()
	var copies [4]map[int64]string
	for p := range acked {
		copies[p] = map[int64]string{}
		for offset, value := range acked[p] {
			copies[p][offset] = value
		}
	}
	return copies
}

func TestFullDiskRefusesWritesServesReadsAndRecovers(t *testing.T) {
	disk := vfs.NewMem()
	n := startNode(t, on(disk, "/a"))
	n.createTopic("orders", 1)
	c := n.client()
	value := strings.Repeat("x", 100_000)
	c.produce("orders", 0, value)
	disk.SetCapacity(disk.UsedBytes() + 1_000_000)
	acked := 1
	refused := false
	for range 40 {
		got := produceOne(c, produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, batch(value)))
		if got.Error == "" {
			acked++
			continue
		}
		if got.Error != "KAFKA_STORAGE_ERROR" {
			t.Fatalf("answered %s", got.Error)
		}
		refused = true
	}
	if !refused || acked < 2 {
		t.Fatalf("%d acknowledged, refused: %v", acked, refused)
	}
	if got := len(c.readAll("orders", 0)); got != acked {
		t.Fatalf("%d records are read, %d were acknowledged", got, acked)
	}
	if noted := strings.Count(n.log.String(), "appends are refused"); noted != 1 {
		t.Errorf("noted %d times in the log", noted)
	}
	disk.SetCapacity(1 << 30)
	if base := c.produce("orders", 0, value); base != int64(acked) {
		t.Fatalf("with room again the next offset is %d, want %d", base, acked)
	}
	n.restart()
	if got := len(n.client().readAll("orders", 0)); got != acked+1 {
		t.Fatalf("%d records after the restart, want %d", got, acked+1)
	}
}

// sickDisk fails, or delays, operations below a directory while it is told to.
type sickDisk struct {
	vfs.FS
	below atomic.Pointer[string]
	kind  vfs.OpKind
	err   error
	delay time.Duration
	late  func()                        // is told of each operation that was delayed, if there is one
	gate  atomic.Pointer[chan struct{}] // operations wait until it is closed
}

func newSickDisk(disk vfs.FS, kind vfs.OpKind) *sickDisk {
	s := &sickDisk{kind: kind}
	s.FS = vfs.NewFault(disk, func(op vfs.Op) error {
		below := s.below.Load()
		if below == nil || op.Kind != s.kind || !strings.Contains(op.Name, *below) {
			return nil
		}
		if !strings.HasSuffix(op.Name, ".log") {
			return nil
		}
		if gate := s.gate.Load(); gate != nil {
			<-*gate
		} else if s.delay > 0 {
			<-time.After(s.delay)
			if s.late != nil {
				s.late()
			}
		}
		return s.err
	})
	return s
}

// shut has the operations below a directory wait until open is called, or the test ends: a broker waits for its
// writers.
func (s *sickDisk) shut(t testing.TB, below string) (open func()) {
	gate := make(chan struct{})
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	s.gate.Store(&gate)
	s.below.Store(&below)
	return open
}

// stillClock is the machine's clock until an operation was late; then it shows the same time on and on. The directory
// stays marked as slow by that, however long the test takes to go on: the mark is for a second.
type stillClock struct {
	clock.Real
	at atomic.Pointer[time.Time]
}

func (c *stillClock) Now() time.Time {
	if at := c.at.Load(); at != nil {
		return *at
	}
	return c.Real.Now()
}

func (c *stillClock) stop() {
	now := c.Real.Now()
	c.at.CompareAndSwap(nil, &now)
}

func (c *stillClock) goOn() { c.at.Store(nil) }

// twoDirs starts a node over two directories with a topic that has a partition in each, and tells which is in /b.
func twoDirs(t *testing.T, disk vfs.FS, options ...nodeOption) (n *node, inA, inB int32) {
	n = startNode(t, append(options, on(disk, "/a,/b"))...)
	n.createTopic("orders", 2)
	dirs := make([]string, 2)
	for p := range dirs {
		dirs[p] = n.replicas.TopicNamed("orders").Partition(kafka.PartitionIndex(p)).View().Log.Dir().Path()
	}
	inA, inB = int32(slices.Index(dirs, "/a")), int32(slices.Index(dirs, "/b"))
	if inA < 0 || inB < 0 {
		t.Fatalf("the partitions are in %v", dirs)
	}
	return n, inA, inB
}

func TestFailedLogDirTakesItsPartitionsOffline(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpDatasync} {
		t.Run(string(kind), func(t *testing.T) {
			disk := newSickDisk(vfs.NewMem(), kind)
			disk.err = syscall.EIO
			n, inA, inB := twoDirs(t, disk)
			c := n.client()
			c.produce("orders", inA, "a")
			c.produce("orders", inB, "b")
			waiting := n.client()
			f := fetchRequest(12, "orders", kafka.ZeroUUID, inB, 1)
			f.MaxWaitMillis = 60_000
			waiting.send(f)
			eventually(t, "the fetch waits", func() bool { return n.node.Fetches.Len() == 1 })
			below := "/b/"
			disk.below.Store(&below)
			offline := func(a answered) {
				t.Helper()
				if a.Error != "KAFKA_STORAGE_ERROR" {
					t.Fatalf("answered %q", a.Error)
				}
			}
			offline(produceOne(c, produceRequest(9, -1, "orders", kafka.ZeroUUID, inB, batch("c"))))
			disk.below.Store(nil) // the disk is well again, and not trusted any more
			offline(produceOne(c, produceRequest(9, 1, "orders", kafka.ZeroUUID, inB, batch("d"))))
			p := waiting.receive(f).(*kmsg.FetchResponse).Topics[0].Partitions[0]
			if p.ErrorCode != kafka.KafkaStorageError.Code {
				t.Fatalf("who waits is told %v", kafka.ErrorOf(p.ErrorCode))
			}
			c.produce("orders", inA, "e")
			if got := c.readAll("orders", inA); !slices.Equal(got, []string{"a", "e"}) {
				t.Fatalf("the healthy directory gives %q", got)
			}
			eventually(t, "the log says so", func() bool {
				return strings.Contains(n.log.String(), "a log directory is offline")
			})
			n.createTopic("later", 3)
			for p := range int32(3) {
				c.produce("later", p, "x") // all are in the directory that is left
			}
			n.restart()
			c = n.client()
			if got := c.readAll("orders", inB); len(got) == 0 || got[0] != "b" {
				t.Fatalf("after the restart: %q", got)
			}
		})
	}
}

func TestBrokerWithoutAnyLogDirIsDone(t *testing.T) {
	disk := newSickDisk(vfs.NewMem(), vfs.OpWrite)
	disk.err = syscall.EIO
	n, _, _ := twoDirs(t, disk)
	c := n.client()
	for _, dir := range []string{"/a/orders", "/b/orders"} {
		select {
		case <-n.Failed():
			t.Fatal("one directory is left")
		default:
		}
		disk.below.Store(&dir)
		for p := range int32(2) {
			produceOne(c, produceRequest(9, 1, "orders", kafka.ZeroUUID, p, batch("x")))
		}
	}
	select {
	case <-n.Failed():
	case <-time.After(patience):
		t.Fatal("the broker goes on without a log directory")
	}
	if n.Failure() == nil || n.NodeID() != 1 {
		t.Error("no reason is given")
	}
}

// A directory that cannot be opened at the start: its partitions are unavailable, not empty, and come back with it.
func TestLogDirThatIsMissingAtStart(t *testing.T) {
	mem := vfs.NewMem()
	var sick atomic.Bool
	disk := vfs.NewFault(mem, func(op vfs.Op) error {
		if sick.Load() && strings.HasPrefix(op.Name, "/b") {
			return &vfs.ShortWrite{Err: syscall.EIO}
		}
		return nil
	})
	n, inA, inB := twoDirs(t, disk)
	c := n.client()
	c.produce("orders", inA, "a")
	c.produce("orders", inB, "b")
	n.stop()
	sick.Store(true)
	n.start()
	c = n.client()
	if got := c.readAll("orders", inA); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("%q", got)
	}
	refused := produceOne(c, produceRequest(9, 1, "orders", kafka.ZeroUUID, inB, batch("x")))
	if refused.Error != "KAFKA_STORAGE_ERROR" {
		t.Fatalf("answered %q", refused.Error)
	}
	if got := fetchOne(c, fetchRequest(12, "orders", kafka.ZeroUUID, inB, 0)); got.Error != "KAFKA_STORAGE_ERROR" {
		t.Fatalf("answered %q", got.Error)
	}
	n.stop()
	sick.Store(false)
	n.start()
	if got := n.client().readAll("orders", inB); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("%q", got)
	}
}

// Where the metadata log has a directory of its own, and none of the others can be opened, there is nothing to serve.
func TestNoLogDirAtStart(t *testing.T) {
	var sick atomic.Bool
	disk := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
		if sick.Load() && !strings.HasPrefix(op.Name, "/m") {
			return &vfs.ShortWrite{Err: syscall.EIO}
		}
		return nil
	})
	n, inA, _ := twoDirs(t, disk, with("metadata.log.dir=/m"))
	n.client().produce("orders", inA, "a")
	n.stop()
	sick.Store(true)
	if err := n.tryStart(); err == nil || !strings.Contains(err.Error(), "every log directory is offline") {
		t.Fatalf("the start ended with %v", err)
	}
	sick.Store(false)
	n.start()
	if got := n.client().readAll("orders", inA); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("%q", got)
	}
}

// A disk that is not mounted looks like an empty new one. What it holds must not begin anew at offset 0 meanwhile: the
// records would seem lost, and be at odds with the new ones when it comes back.
func TestLogDirThatIsEmptyAtStart(t *testing.T) {
	disk := vfs.NewMem()
	n, inA, inB := twoDirs(t, disk)
	c := n.client()
	c.produce("orders", inA, "a")
	c.produce("orders", inB, "b")
	n.stop()
	if err := disk.Rename("/b", "/b.unmounted"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // however often it is tried
		n.start()
		c = n.client()
		if got := c.readAll("orders", inA); !slices.Equal(got, []string{"a"}) {
			t.Fatalf("%q", got)
		}
		refused := produceOne(c, produceRequest(9, 1, "orders", kafka.ZeroUUID, inB, batch("x")))
		if refused.Error != "KAFKA_STORAGE_ERROR" {
			t.Fatalf("answered %q", refused.Error)
		}
		n.stop()
	}
	n.start()
	n.createTopic("more", 2)
	c = n.client()
	c.produce("more", 0, "c")
	c.produce("more", 1, "d")
	n.stop()
	if err := disk.Rename("/b", "/b.empty"); err != nil {
		t.Fatal(err)
	}
	if err := disk.Rename("/b.unmounted", "/b"); err != nil {
		t.Fatal(err)
	}
	n.start()
	if got := n.client().readAll("orders", inB); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("%q", got)
	}
}

// While one disk does not answer at all, clients of another disk on the same loop are served as ever; and the appends
// to the slow one keep their order.
func TestSlowLogDirDoesNotStallTheLoop(t *testing.T) {
	disk := newSickDisk(vfs.NewMem(), vfs.OpWrite)
	var still stillClock
	disk.delay, disk.late = lateBy, still.stop
	n, inA, inB := twoDirs(t, disk, by(&still), with("num.network.threads=1"))
	slow, fast := n.client(), n.client()
	slow.produce("orders", inB, "0")
	below := "/b/orders"
	disk.below.Store(&below)
	slow.produce("orders", inB, "1") // it marks the directory as slow
	open := disk.shut(t, below)
	const count = 6
	both := produceRequest(9, -1, "orders", kafka.ZeroUUID, inB, batch("x"))
	both.Topics[0].Partitions = append(both.Topics[0].Partitions,
		kmsg.ProduceRequestTopicPartition{Partition: inA, Records: batch("y")})
	for range count {
		slow.send(both)
	}
	for range 200 {
		fast.produce("orders", inA, "z")
	}
	open()
	still.goOn()
	for i := range count {
		response := slow.receive(both).(*kmsg.ProduceResponse)
		for _, p := range response.Topics[0].Partitions {
			if p.ErrorCode != 0 || p.Partition == inB && p.BaseOffset != int64(2+i) {
				t.Fatalf("request %d: %+v", i, p)
			}
		}
	}
	if got := slow.readAll("orders", inB); len(got) != 2+count {
		t.Fatalf("%d records", len(got))
	}
}

// lateBy is how much an operation takes longer that marks its directory as slow.
const lateBy = 150 * time.Millisecond

// slowNode is a node on whose disk writes to some log wait for a gate, from the moment that they are told to.
type slowNode struct {
	*node
	disk     *sickDisk
	still    stillClock
	inA, inB int32 // partitions of orders
}

func startSlowNode(t *testing.T) *slowNode {
	s := &slowNode{disk: newSickDisk(vfs.NewMem(), vfs.OpWrite)}
	s.disk.delay, s.disk.late = lateBy, s.still.stop
	s.node, s.inA, s.inB = twoDirs(t, s.disk, by(&s.still), with("num.network.threads=1", "num.io.threads=2",
		"transaction.state.log.num.partitions=1", "offsets.topic.num.partitions=1"))
	first := &txnProducer{c: s.client(), id: "first"}
	if err := first.begin(); err != nil {
		t.Fatal(err)
	}
	if dir := s.dirOf(kafka.TransactionStateTopic); dir != "/a" {
		t.Fatalf("transactions are decided in %s", dir)
	}
	return s
}

func (s *slowNode) dirOf(topic string) string {
	return s.replicas.TopicNamed(topic).Partition(0).View().Log.Dir().Path()
}

// sicken has a write to the logs below a directory take long, which marks the log directory as slow, and those after
// it wait until open is called.
func (s *slowNode) sicken(below string, write func()) (open func()) {
	s.disk.below.Store(&below)
	write()
	end := s.disk.shut(s.t, below)
	return func() {
		end()
		s.still.goOn()
	}
}

// checkTransactions has transactions begin and end in the directory that is well, one after another: each begins when
// the markers of the last one are written.
func (s *slowNode) checkTransactions(p *txnProducer) {
	s.t.Helper()
	for range 20 {
		p.mustWrite(s.t, "orders", s.inA, "z")
		if code, err := p.end(true); err != nil || code != kafka.NoError {
			s.t.Fatal(errorName(code), err)
		}
	}
}

func (s *slowNode) beginAll(ids ...string) (list []*txnProducer) {
	s.t.Helper()
	for _, id := range ids {
		p := &txnProducer{c: s.client(), id: id}
		if err := p.begin(); err != nil {
			s.t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// While a disk does not answer, transactions that have records on it wait: those elsewhere do not, on however many
// workers, nor do the other clients of the loop.
func TestSlowLogDirHoldsUpNoOtherTransactions(t *testing.T) {
	n := startSlowNode(t)
	all := n.beginAll("fast", "s", "t", "u", "v", "begins", "goes on")
	fast, stuck, begins, goesOn := all[0], all[1:5], all[5], all[6]
	for _, p := range all[1:] {
		if code, err := p.write("orders", n.inB, p.id); p != begins && (err != nil || code != kafka.NoError) {
			t.Fatal(errorName(code), err)
		}
	}
	open := n.sicken("/b/orders", func() { n.client().produce("orders", n.inB, "slow") })
	for _, p := range stuck {
		if code, err := p.end(true); err != nil || code != kafka.NoError {
			t.Fatal(errorName(code), err)
		}
	}
	requests := make([]*kmsg.ProduceRequest, 2)
	for i, p := range []*txnProducer{begins, goesOn} {
		producer := p.Producer
		producer.Sequence = 1
		requests[i] = produceRequest(12, -1, "orders", kafka.ZeroUUID, n.inB,
			batchOf(record.BuilderOptions{Producer: &producer, Transactional: true}, "later"))
		requests[i].TransactionID = &p.id
		if err := p.post(requests[i]); err != nil {
			t.Fatal(err)
		}
	}
	n.checkTransactions(fast)
	open()
	for i, p := range []*txnProducer{begins, goesOn} {
		response, err := p.c.tryReceive(requests[i])
		if err != nil {
			t.Fatal(err)
		}
		if code := response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != kafka.NoError {
			t.Fatal(p.id, errorName(code))
		}
	}
	reader := n.client()
	for _, p := range []*txnProducer{begins, goesOn} {
		if code, err := p.end(true); err != nil || code != kafka.NoError {
			t.Fatal(errorName(code), err)
		}
	}
	eventually(t, "all are committed", func() bool {
		list, isOpen := reader.committedValues("orders", n.inB)
		return !isOpen && len(list) == len(all)+2
	})
}

// The same where offsets are committed in a transaction, to a partition of __consumer_offsets on that disk.
func TestSlowGroupsHoldUpNoOtherTransactions(t *testing.T) {
	n := startSlowNode(t)
	commit := func(p *txnProducer) *kmsg.TxnOffsetCommitRequest {
		r := kmsg.NewPtrTxnOffsetCommitRequest()
		r.SetVersion(5)
		r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch = p.id, "g", int64(p.ID), int16(p.Epoch)
		r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{
			Topic:      "orders",
			Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: 7}},
		}}
		return r
	}
	all := n.beginAll("fast", "s", "t", "u")
	fast, stuck := all[0], all[1:]
	begin := func() {
		eventually(t, "offsets are committed", func() bool {
			response, err := stuck[0].call(commit(stuck[0]))
			if err != nil {
				t.Fatal(err)
			}
			return response.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode == kafka.NoError
		})
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.SetVersion(4)
	find.CoordinatorKeys = []string{"g"}
	eventually(t, "the group has a coordinator", func() bool {
		response, err := fast.call(find)
		return err == nil && response.(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode == kafka.NoError
	})
	if dir := n.dirOf(kafka.ConsumerOffsetsTopic); dir != "/b" {
		t.Fatalf("groups are in %s", dir)
	}
	open := n.sicken("/b/__consumer_offsets", begin)
	for _, p := range stuck {
		if err := p.post(commit(p)); err != nil {
			t.Fatal(err)
		}
		n.checkTransactions(fast)
	}
	open()
	for _, p := range stuck {
		response, err := p.c.tryReceive(commit(p))
		if err != nil {
			t.Fatal(err)
		}
		if code := response.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; code != kafka.NoError {
			t.Fatal(p.id, errorName(code))
		}
	}
}

// coldDisk says of every mapped page that it is not in memory.
type coldDisk struct{ vfs.FS }

type coldFile struct{ vfs.File }

type coldMapping struct{ vfs.Mapping }

func (d coldDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	return coldFile{f}, err
}

func (f coldFile) Map(length int64) (vfs.Mapping, error) {
	m, err := f.File.Map(length)
	return coldMapping{m}, err
}

func (m coldMapping) Resident(int64, int64) bool { return false }

// What is not in memory is read by workers; answers, waiting and the end of a connection are as ever.
func TestColdReads(t *testing.T) {
	n := startNode(t, on(coldDisk{vfs.OS{}}, t.TempDir()))
	n.createTopic("orders", 2)
	writer := n.client()
	var want []string
	for i := range 50 {
		v := fmt.Sprint(i, strings.Repeat("c", 5000))
		want = append(want, v)
		writer.produce("orders", 0, v)
	}
	var readers sync.WaitGroup
	for range 4 {
		c := n.client()
		readers.Go(func() {
			if diff := cmp.Diff(want, c.readAll("orders", 0)); diff != "" {
				t.Error("what is read is not what was written")
			}
		})
	}
	readers.Wait()
	waits := n.client()
	r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 49) // there is something, and not enough
	r.MinBytes, r.MaxWaitMillis = 8000, 60_000
	waits.send(r)
	eventually(t, "the fetch waits", func() bool { return n.node.Fetches.Len() == 1 })
	writer.produce("orders", 0, strings.Repeat("d", 5000))
	if got := fetchedFrom(t, waits.receive(r).(*kmsg.FetchResponse).Topics[0].Partitions[0]); len(got.Values) != 2 {
		t.Fatalf("%d records", len(got.Values))
	}
	for range 50 {
		c := n.client()
		c.send(fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0))
		_ = c.conn.Close()
	}
	n.stillServes()
}
