package broker

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// Those who wait at the end of a log are woken again and again while it changes its directory, when workers read for
// them. Each is answered with every record, once. The disk makes these moments long.
func TestFetchesGoOnWhileTheLogMoves(t *testing.T) {
	const moves, readers, writers = 60, 8, 4
	disk := newSickDisk(vfs.NewMem(), vfs.OpWrite)
	copies := "-future/"
	disk.delay = 3 * time.Millisecond
	disk.below.Store(&copies)
	n := startNode(t, on(disk, "/a,/b"), with("spate.ack.durability=page-cache"))
	n.createTopic("orders", 1)
	r := n.replicas.TopicNamed("orders").Partition(0)
	var over atomic.Bool
	produced, consumed := make(chan error, writers), make(chan error, readers)
	var tasks task.Group
	for range writers {
		c := n.client()
		tasks.Go("producer", func() {
			var err error
			for err == nil && !over.Load() {
				err = c.tryProduce("orders")
			}
			produced <- err
		})
	}
	for range readers {
		c := n.client()
		tasks.Go("consumer", func() {
			var err error
			for next := int64(0); err == nil && !(over.Load() && next == int64(r.HighWatermark())); {
				next, err = c.tryFetch("orders", next)
			}
			consumed <- err
		})
	}
	home := func() string { return r.View().Log.Dir().Path() }
	for range moves {
		target := "/a"
		if home() == target {
			target = "/b"
		}
		if err := n.replicas.Move(r.TopicPartition(), target); err != nil {
			t.Error(err)
		}
		eventually(t, "the log has moved", func() bool { return home() == target && len(n.replicas.Moves()) == 0 })
	}
	over.Store(true)
	for range writers {
		if err := <-produced; err != nil {
			t.Error(err)
		}
	}
	for range readers {
		if err := <-consumed; err != nil {
			t.Error(err)
		}
	}
	tasks.Wait()
}

// tryProduce appends a record to partition 0.
func (c *client) tryProduce(topic string) error {
	request := produceRequest(9, -1, topic, kafka.ZeroUUID, 0, batch("a record"))
	c.send(request)
	response, err := c.tryReceive(request)
	if err != nil {
		return err
	}
	return kafka.ErrorOf(response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

// tryFetch waits for the records of partition 0 from an offset on, and gives the offset behind them.
func (c *client) tryFetch(topic string, from int64) (next int64, err error) {
	request := fetchRequest(12, topic, kafka.ZeroUUID, 0, from)
	request.MaxWaitMillis = 200
	c.send(request)
	response, err := c.tryReceive(request)
	if err != nil {
		return 0, err
	}
	p := response.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return 0, kafka.ErrorOf(p.ErrorCode)
	}
	next = from
	for rest := p.RecordBatches; len(rest) > 0; {
		var b record.Batch
		if b, rest, err = record.Next(rest); err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return 0, err
		}
		if int64(b.BaseOffset()) != next {
			return 0, fmt.Errorf("a batch of offset %d, want %d", b.BaseOffset(), next)
		}
		next = int64(b.LastOffset()) + 1
	}
	return next, nil
}
