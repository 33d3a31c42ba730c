package broker

import (
	"fmt"
	goruntime "runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/runtime"
)

// loadGroups and loadOffsets are what a restart has to load in a few seconds: a large cluster's groups.
const (
	loadGroups  = 10_000
	loadOffsets = 100 // of each
)

// BenchmarkRestartWithAMillionOffsets restarts a broker and waits until every coordinator serves.
func BenchmarkRestartWithAMillionOffsets(b *testing.B) {
	n := startNode(b)
	n.createTopic("orders", loadOffsets)
	c := n.client()
	c.findCoordinator("g")
	eventually(b, "all coordinators serve", n.allServe)
	commitMany(c)
	b.ReportAllocs()
	var heap uint64
	for b.Loop() {
		b.StopTimer()
		n.stop()
		goruntime.GC()
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		b.StartTimer()
		n.start()
		eventually(b, "all coordinators serve", n.allServe)
		b.StopTimer()
		goruntime.GC()
		goruntime.ReadMemStats(&after)
		heap = after.HeapAlloc - before.HeapAlloc
		if records := n.coordinators.host.Stats().Replayed.Load(); records < loadGroups*loadOffsets {
			b.Fatalf("%d records", records)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(heap)/1e6, "heap-MB")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/restart")
}

func (n *node) allServe() bool {
	shards := n.coordinators.host.Shards()
	for _, s := range shards {
		if s.State != runtime.Serving {
			return false
		}
	}
	return len(shards) > 0
}

// commitMany commits every partition for every group, with many requests under way.
func commitMany(c *client) {
	request := func(g int) *kmsg.OffsetCommitRequest {
		r := commitRequest(fmt.Sprintf("consumer-group-%05d", g), "", -1, "orders", 0, int64(g))
		first := r.Topics[0].Partitions[0]
		for p := int32(1); p < loadOffsets; p++ {
			first.Partition = p
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, first)
		}
		return r
	}
	const ahead = 100
	for g := range loadGroups + ahead {
		if g < loadGroups {
			c.send(request(g))
		}
		if g < ahead {
			continue
		}
		r := request(g - ahead)
		for _, p := range c.receive(r).(*kmsg.OffsetCommitResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 {
				c.t.Fatalf("commit: %s", errorName(p.ErrorCode))
			}
		}
	}
}
