package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/logtest"
	"spate/internal/metrics"
	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
)

func TestSeveralListenersAreAdvertisedByName(t *testing.T) {
	n := startNode(t, with(
		"listeners=INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0",
		"advertised.listeners=INSIDE://127.0.0.1:0,OUTSIDE://broker.example.com:19092",
		"listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
		"inter.broker.listener.name=INSIDE",
	))
	if len(n.Listeners()) != 2 {
		t.Fatalf("%+v", n.Listeners())
	}
	for i, want := range []struct {
		host string
		port int32
	}{{"127.0.0.1", int32(n.Listeners()[0].Address.Port())}, {"broker.example.com", 19092}} {
		l := n.Listeners()[i]
		response := ask[*kmsg.MetadataResponse](dial(t, l.Address.String()), kmsg.NewPtrMetadataRequest())
		if b := response.Brokers; len(b) != 1 || b[0].Host != want.host || b[0].Port != want.port {
			t.Errorf("%s: %+v, want %+v", l.Name, b, want)
		}
		if int32(l.AdvertisedPort) != want.port || l.AdvertisedHost != want.host || l.Protocol != "PLAINTEXT" {
			t.Errorf("%+v", l)
		}
	}
}

// failStart starts a broker that must not come up, and expects words in the reason.
func failStart(t *testing.T, words string, options ...nodeOption) {
	t.Helper()
	n := &node{t: t, fs: vfs.OS{}, log: &logtest.Buffer{}, dirs: t.TempDir()}
	for _, o := range options {
		o(n)
	}
	err := n.tryStart()
	if err == nil {
		n.stop()
		t.Fatal("the broker starts")
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("the reason is %q, which does not say %q", err, words)
	}
}

func TestStartIsRefused(t *testing.T) {
	n := startNode(t)
	taken := n.address()
	other := t.TempDir()
	second := startNode(t, on(vfs.OS{}, other))
	second.stop()
	t.Run("a directory that another broker holds", func(t *testing.T) {
		failStart(t, "in use", on(vfs.OS{}, n.dirs))
	})
	t.Run("a port that is taken", func(t *testing.T) {
		failStart(t, "listeners: PLAINTEXT", with("listeners=PLAINTEXT://"+taken))
	})
	t.Run("a directory of another node", func(t *testing.T) {
		failStart(t, "belongs to node 1, and this is node 2", on(vfs.OS{}, other), with("node.id=2"))
	})
	t.Run("directories of two clusters", func(t *testing.T) {
		third := startNode(t)
		third.stop()
		failStart(t, "to cluster", on(vfs.OS{}, other+","+third.dirs))
	})
	t.Run("a directory that is a file", func(t *testing.T) {
		failStart(t, "not a directory", on(vfs.OS{}, filepath.Join(other, "meta.properties")))
	})
	n.stillServes()
}

// Whichever operation of the disk fails while a broker starts and ends: it starts all the same or says why not, leaves
// no goroutine behind, and what was acknowledged before is there when the disk is well again.
func TestStartAndEndWithAFailingDisk(t *testing.T) {
	mem := vfs.NewMem()
	n := startNode(t, on(mem, "/a,/b"))
	n.createTopic("orders", 4)
	for p := range int32(4) {
		n.client().produce("orders", p, "x", "y")
	}
	n.stop()
	started := 0
	for nth := int64(1); ; nth++ {
		var count atomic.Int64
		n.fs = vfs.NewFault(mem, func(op vfs.Op) error {
			if count.Add(1) == nth {
				return syscall.EIO
			}
			return nil
		})
		if err := n.tryStart(); err == nil {
			started++
			_ = n.Broker.Close(context.Background()) // which may say that this disk fails
		}
		n.Broker = nil
		if count.Load() < nth {
			break // nothing has failed
		}
	}
	t.Logf("started %d times", started)
	n.fs = mem
	n.start()
	for p := range int32(4) {
		if got := n.client().readAll("orders", p); len(got) != 2 {
			t.Fatalf("partition %d holds %q", p, got)
		}
	}
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	disk := newSickDisk(vfs.NewMem(), vfs.OpDatasync)
	n := startNode(t, on(disk, "/a"))
	n.createTopic("orders", 1)
	c := n.client()
	open := disk.shut(t, "/a/orders")
	r := produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, batch("a"))
	c.send(r)
	eventually(t, "the produce waits", func() bool { return n.node.Produces.Len() == 1 })
	address := n.address()
	time.AfterFunc(200*time.Millisecond, open)
	n.stop()
	if p := c.receive(r).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		t.Fatalf("%v", kafka.ErrorOf(p.ErrorCode))
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Fatal("the listener is open")
	}
}

// A shutdown does not wait for longer than it may.
func TestShutdownGivesUp(t *testing.T) {
	disk := newSickDisk(vfs.NewMem(), vfs.OpDatasync)
	n := startNode(t, on(disk, "/a"))
	n.createTopic("orders", 1)
	c := n.client()
	open := disk.shut(t, "/a/orders")
	c.send(produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, batch("a")))
	eventually(t, "the produce waits", func() bool { return n.node.Produces.Len() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var reading task.Group
	defer reading.Wait()
	reading.Go("client", func() {
		_, _ = c.frame() // the end of the connection
		open()           // without its flush the log cannot be closed
	})
	if err := n.Broker.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	n.Broker = nil
}

func TestTimeoutOfAProduceThatWaits(t *testing.T) {
	disk := newSickDisk(vfs.NewMem(), vfs.OpDatasync)
	n := startNode(t, on(disk, "/a"))
	n.createTopic("orders", 1)
	c := n.client()
	open := disk.shut(t, "/a/orders")
	r := produceRequest(9, -1, "orders", kafka.ZeroUUID, 0, batch("a"))
	r.TimeoutMillis = 20
	expect(t, produceOne(c, r), answered{Error: "REQUEST_TIMED_OUT"})
	open()
	if base := c.produce("orders", 0, "b"); base != 1 {
		t.Errorf("offset %d", base)
	}
	if n.node.Produces.Expired() != 1 {
		t.Errorf("%d expired", n.node.Produces.Expired())
	}
}

func TestMetrics(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	c := n.client()
	c.produce("orders", 0, "a", "b")
	fetchOne(c, fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0))
	produceOne(c, produceRequest(9, 1, "nope", kafka.ZeroUUID, 0, batch("a")))
	r := n.Metrics()
	for _, test := range []struct {
		name   metrics.Name
		labels []string
		want   uint64
	}{
		{metrics.Requests, []string{"Produce"}, 2}, {metrics.Requests, []string{"Fetch"}, 1},
		{metrics.RequestErrors, []string{"Produce", "UNKNOWN_TOPIC_OR_PARTITION"}, 1},
		{metrics.AppendedRecords, nil, 2},
	} {
		counter := r.Counter(test.name, test.labels...)
		eventually(t, string(test.name), func() bool { return counter.Value() == test.want })
	}
	for _, stage := range []string{"decode", "append", "send"} {
		if sum := r.Histogram(metrics.StageTime, "Produce", stage).Snapshot().Sum; sum == 0 {
			t.Errorf("stage %s took no time", stage)
		}
	}
	level := func(name metrics.Name) (n float64) {
		r.Read(name, func(v metrics.Value) { n = v.Number })
		return n
	}
	for name, want := range map[metrics.Name]float64{
		metrics.PartitionHW: 2, metrics.PartitionEnd: 2, metrics.PartitionStart: 0, metrics.Topics: 1,
		metrics.Partitions: 1, metrics.PartitionsOffline: 0, metrics.DiskFull: 0, metrics.FilesRefused: 0,
		metrics.Corruptions: 0, metrics.SegmentsRolled: 0, metrics.SegmentsDeleted: 0, metrics.MemoryWaits: 0,
		metrics.LogDirOffline: 0, metrics.Connections: 1, metrics.Delayed: 0, metrics.FetchSessions: 0,
	} {
		if got := level(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []metrics.Name{
		metrics.BytesIn, metrics.BytesOut, metrics.PartitionBytes, metrics.LogDirBytes, metrics.LogDirFreeBytes,
		metrics.MetadataOffset, metrics.ConnectionsAccepted, metrics.FilesOpen,
	} {
		if level(name) <= 0 {
			t.Errorf("%s is %v", name, level(name))
		}
	}
	flush := r.Histogram(metrics.StageTime, "Produce", "flush")
	eventually(t, "a request waits for its flush, which may be over when it would", func() bool {
		c.produce("orders", 0, "c")
		return flush.Snapshot().Sum > 0
	})
}

// Many clients write, read, wait, come and go while topics are made and deleted: every answer is one that may be given,
// nothing is read twice with another content, and nothing leaks.
func TestTurmoil(t *testing.T) {
	n := startNode(t, with("log.segment.bytes=1048576", "max.incremental.fetch.session.cache.slots=3"))
	n.createTopic("stays", 3)
	var (
		clients sync.WaitGroup
		stop    = make(chan struct{})
		seen    sync.Map // partition and offset → value
	)
	running := func() bool {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	for i := range 4 {
		clients.Go(func() { turmoilWriter(n, i, running) })
		clients.Go(func() { turmoilReader(n, i, running, &seen) })
	}
	for range 30 {
		n.createTopic("comes-and-goes", 2)
		n.client().conn.Close()
		n.deleteTopic("comes-and-goes")
	}
	close(stop)
	clients.Wait()
	eventually(t, "nobody waits", func() bool { return n.node.Fetches.Len() == 0 && n.node.Produces.Len() == 0 })
}

func turmoilWriter(n *node, i int, running func() bool) {
	c := n.client()
	for round := 0; running(); round++ {
		acks := int16(-1)
		if round%4 == 0 {
			acks = 1
		}
		r := produceRequest(9, acks, "stays", kafka.ZeroUUID, int32(round%3), batch(strings.Repeat("v", 1+round%3000)))
		if round%5 == 0 {
			other := produceRequest(9, acks, "comes-and-goes", kafka.ZeroUUID, 0, batch("x"))
			r.Topics = append(r.Topics, other.Topics...)
		}
		response := ask[*kmsg.ProduceResponse](c, r)
		if code := response.Topics[0].Partitions[0].ErrorCode; code != 0 {
			n.t.Errorf("writer %d: %v", i, kafka.ErrorOf(code))
			return
		}
	}
}

func turmoilReader(n *node, i int, running func() bool, seen *sync.Map) {
	offsets := [3]int64{}
	for round := 0; running(); round++ {
		c := n.client()
		for range 20 {
			p := int32((round + i) % 3)
			r := fetchRequest(12, "stays", kafka.ZeroUUID, p, offsets[p])
			r.MaxWaitMillis, r.MinBytes, r.SessionEpoch = 5, int32(1+round%2*5000), 0
			r.Topics = append(r.Topics, fetchRequest(12, "comes-and-goes", kafka.ZeroUUID, 0, 0).Topics...)
			got := fetchedFrom(n.t, ask[*kmsg.FetchResponse](c, r).Topics[0].Partitions[0])
			if got.Error != "" {
				n.t.Errorf("reader %d: %s", i, got.Error)
				return
			}
			for _, v := range got.Values {
				key := [2]int64{int64(p), offsets[p]}
				if before, known := seen.LoadOrStore(key, v); known && before != v {
					n.t.Errorf("offset %d of partition %d has two contents", offsets[p], p)
				}
				offsets[p]++
			}
		}
		_ = c.conn.Close()
	}
}

// A start that fails before the logs are looked at must not mark them as cleanly closed, nor unmark those that are.
func TestFailedStartDoesNotVouchForLogs(t *testing.T) {
	holder := startNode(t)
	for _, crashed := range []bool{true, false} {
		disk := vfs.NewMem()
		n := startNode(t, on(disk, "/a"))
		n.createTopic("orders", 1)
		n.client().produce("orders", 0, "x")
		after := disk
		if crashed {
			after = disk.CrashClone(rand.New(rand.NewPCG(1, 2)))
		}
		n.stop()
		failStart(t, "listeners", on(after, "/a"), with("listeners=PLAINTEXT://"+holder.address()))
		again := startNode(t, on(after, "/a"))
		if _, clean := again.Broker.dirs.logs[0].CleanShutdown(); clean == crashed {
			t.Errorf("crashed is %v, and the directory counts as closed cleanly: %v", crashed, clean)
		}
		if got := again.client().readAll("orders", 0); len(got) != 1 {
			t.Errorf("%q", got)
		}
	}
}
