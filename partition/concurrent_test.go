package partition

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"spate/internal/clock"
	"spate/internal/task"
	"spate/kafka"
	"spate/kafka/record"
)

// TestConcurrent lets producers, readers, the group commit, retention, deletion of records and look-ups loose on a few
// logs at once, on the real clock. Readers check what they read: whole batches, rising offsets, fitting checksums, and
// the value that the producer of that offset sent. The race detector checks the rest.
func TestConcurrent(t *testing.T) {
	w := newWorld()
	env := w.env()
	env.Clock = clock.Real{}
	o := testOptions()
	o.FlushWorkers, o.RecoveryThreads = 4, 2
	o.RetentionCheckInterval, o.CheckpointInterval = 2*time.Millisecond, 5*time.Millisecond
	o.HighWatermarkInterval = 3 * time.Millisecond
	o.IdleAfter = time.Microsecond
	d, err := OpenLogDir(env, testDir, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Start()
	c := smallConfig()
	c.SegmentBytes, c.RetentionBytes, c.FileDeleteDelay = 8000, 30_000, time.Millisecond
	var group task.Group
	var writers atomic.Int64
	for i := range 3 {
		l, err := d.OpenLog(kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionIndex(i)}, testTopicID, c)
		if err != nil {
			t.Fatal(err)
		}
		l.SetObserver(committer{l})
		for pid := range 2 {
			writers.Add(1)
			group.Go("writer", func() {
				defer writers.Add(-1)
				writeMany(t, l, kafka.ProducerID(pid+1), 400)
			})
		}
		group.Go("reader", func() { readWhile(t, l, &writers) })
		group.Go("meddler", func() { meddleWhile(t, l, &writers) })
	}
	group.Wait()
	for _, l := range d.Logs() {
		if l.LogEndOffset() != 800 {
			t.Errorf("%s ends at %d", l.tp, l.LogEndOffset())
		}
		t.Logf("%s begins at %d", l.tp, l.LogStartOffset()) // how far retention came is a matter of luck
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
}

// committer makes what is flushed committed, as a replica without followers does.
type committer struct{ l *Log }

func (c committer) Flushed(o kafka.Offset) { c.l.AdvanceHighWatermark(o) }
func (c committer) Failed(error)           {}

func writeMany(t *testing.T, l *Log, pid kafka.ProducerID, n int) {
	for i := range n {
		value := fmt.Appendf(make([]byte, 0, 400), "%d-%d-%0200d", pid, i, i)
		spec := batchSpec{pid: pid, sequence: kafka.Sequence(i), ts: l.dir.now(), value: value}
		if _, err := l.Append(spec.build(t), AppendOptions{Now: l.dir.now(), ProduceVersion: 9}); err != nil {
			t.Error(err)
			return
		}
		l.AwaitFlush()
	}
}

// readWhile follows the high watermark from wherever the log begins.
func readWhile(t *testing.T, l *Log, writers *atomic.Int64) {
	next := map[kafka.ProducerID]int{}
	offset := kafka.Offset(0)
	for writers.Load() > 0 || offset < l.HighWatermark() {
		r, err := l.Read(offset, 3000, true, l.HighWatermark())
		if errors.Is(err, kafka.OffsetOutOfRange) {
			offset = l.LogStartOffset()
			clear(next)
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		for rest := r.Bytes(); len(rest) > 0; {
			b, after, err := record.Next(rest)
			if err != nil || b.CheckCRC() != nil || b.BaseOffset() < offset {
				t.Errorf("at %d: %v", offset, err)
				break
			}
			it := b.Records()
			rec, _ := it.Next()
			var pid, i int
			if _, err := fmt.Sscanf(string(rec.Value), "%d-%d-", &pid, &i); err != nil {
				t.Error(err)
			}
			if last, known := next[b.ProducerID()]; known && i != last || kafka.ProducerID(pid) != b.ProducerID() {
				t.Errorf("value %d of producer %d where %d comes next", i, pid, last)
			}
			next[b.ProducerID()] = i + 1
			offset, rest = b.NextOffset(), after
		}
		r.Release()
	}
}

// meddleWhile does what administrators and listings do.
func meddleWhile(t *testing.T, l *Log, writers *atomic.Int64) {
	random := rand.New(rand.NewPCG(1, uint64(l.tp.Partition)))
	for writers.Load() > 0 {
		at := l.LogStartOffset() + kafka.Offset(random.Int64N(int64(l.LogEndOffset()-l.LogStartOffset())+1))
		if _, err := l.OffsetForTimestamp(l.dir.now() - kafka.Timestamp(random.IntN(50))); err != nil {
			t.Error(err)
		}
		if _, err := l.MaxTimestampOffset(); err != nil {
			t.Error(err)
		}
		if _, err := l.AbortedTransactions(nil, at, l.LogEndOffset()); err != nil {
			t.Error(err)
		}
		l.EpochEndOffset(0)
		l.EarliestOffset()
		l.Producers()
		l.Bytes()
		l.Resident(at, 100, l.HighWatermark())
		if random.IntN(20) == 0 {
			if err := l.DeleteTo(min(at, l.HighWatermark())); err != nil {
				t.Error(err)
			}
		}
	}
}
