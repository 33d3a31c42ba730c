package partition

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"spate/internal/clock"
	"spate/internal/task"
	"spate/kafka"
	"spate/kafka/record"
)

// Goal: cleaning beside writers, readers, look-ups, deletion of records, and changes of the cleaner's settings loses
// nothing and gives nobody what was not written. Method: each value tells its own offset; the race detector checks the
// rest. The last value of each key must be there in the end.
func TestCleaningBesideWritersAndReaders(t *testing.T) {
	w := newWorld()
	env := w.env()
	env.Clock = clock.Real{}
	o := testOptions()
	o.FlushWorkers, o.RetentionCheckInterval = 2, 2*time.Millisecond
	d, err := OpenLogDir(env, testDir, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Start()
	c := cleanConfig()
	c.SegmentBytes, c.FileDeleteDelay = 3000, time.Millisecond
	settings := DefaultCleanerOptions()
	settings.Backoff, settings.Threads = time.Millisecond, 2
	cleaner := NewCleaner(env, []*LogDir{d}, settings)
	cleaner.Start()
	var group task.Group
	var writers atomic.Int64
	for i := range 2 {
		c.Delete = i > 0
		l, err := d.OpenLog(kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionIndex(i)}, testTopicID, c)
		if err != nil {
			t.Fatal(err)
		}
		l.SetObserver(committer{l})
		writers.Add(1)
		group.Go("writer", func() {
			defer writers.Add(-1)
			writeKeys(t, l, testRecords)
		})
		group.Go("reader", func() {
			for writers.Load() > 0 {
				readKeys(t, l)
			}
		})
		if c.Delete {
			group.Go("meddler", func() { meddleWhile(t, l, &writers) })
		}
	}
	group.Go("settings", func() {
		for n := 0; writers.Load() > 0; n++ {
			s := settings
			s.Threads, s.DedupeBytes = 1+n%3, int64(3+n%40)*offsetSlotBytes*3
			cleaner.SetOptions(s)
			<-time.After(time.Millisecond)
		}
	})
	group.Wait()
	cleaner.SetOptions(settings)
	// All before may have been overtaken by the writers, or found nothing.
	for cleaner.Stats().Cleanings.Load() == 0 || d.Stats().ReclaimedBytes.Load() == 0 && d.Failed() == nil {
		<-time.After(time.Millisecond)
	}
	cleaner.Close()
	for _, l := range d.Logs() {
		last := readKeys(t, l)
		for key := range testKeys {
			if want := kafka.Offset(testRecords - testKeys + key); last[key] != want && want >= l.LogStartOffset() {
				t.Errorf("%s: the last value of key %d is at %d, not at %d", l.tp, key, last[key], want)
			}
		}
	}
	stats := d.Stats()
	t.Logf("%d cleanings, %d bytes reclaimed", cleaner.Stats().Cleanings.Load(), stats.ReclaimedBytes.Load())
	if cleaner.Stats().Cleanings.Load() == 0 || stats.ReclaimedBytes.Load() == 0 || d.Failed() != nil {
		t.Error("nothing was cleaned", d.Failed())
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
}

const (
	testKeys    = 25
	testRecords = 600 // of each log; ends with the last key
)

// writeKeys writes every key in turn.
func writeKeys(t *testing.T, l *Log, n int) {
	for i := range n {
		b := record.NewBuilder(record.BuilderOptions{Codec: record.Codec(i % 5)})
		b.Append(l.dir.now(), fmt.Appendf(nil, "%d", i%testKeys),
			fmt.Appendf(nil, "%d-%s", i, strings.Repeat("x", 60)))
		data, err := b.Build()
		if err == nil {
			_, err = l.Append(data, AppendOptions{Now: l.dir.now(), ProduceVersion: 9})
		}
		if err != nil {
			t.Error(err)
			return
		}
		if i%7 == 0 {
			l.AwaitFlush()
		}
	}
	if err := l.Flush(); err != nil {
		t.Error(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
}

// readKeys reads what is there from the start, and gives the offset of the last record of each key.
func readKeys(t *testing.T, l *Log) map[int]kafka.Offset {
	last := map[int]kafka.Offset{}
	for offset := l.LogStartOffset(); offset < l.HighWatermark(); {
		r, err := l.Read(offset, 2000, true, l.HighWatermark())
		if errors.Is(err, kafka.OffsetOutOfRange) {
			offset = l.LogStartOffset()
			continue
		}
		if err != nil || r.Length() == 0 {
			t.Errorf("at %d: %d bytes, %v", offset, r.Length(), err)
			return last
		}
		for rest := r.Bytes(); len(rest) > 0; {
			b, after, err := record.Next(rest)
			if err != nil || b.CheckCRC() != nil || b.LastOffset() < offset {
				t.Errorf("at %d: %v", offset, err)
				return last
			}
			it := b.Records()
			for rec, ok := it.Next(); ok; rec, ok = it.Next() {
				var key int
				var own kafka.Offset
				_, errKey := fmt.Sscanf(string(rec.Key), "%d", &key)
				_, errValue := fmt.Sscanf(string(rec.Value), "%d-", &own)
				if errKey != nil || errValue != nil || own != rec.Offset || int(own)%testKeys != key {
					t.Errorf("offset %d holds %q: %q", rec.Offset, rec.Key, rec.Value)
				}
				last[key] = rec.Offset
			}
			it.Close()
			offset, rest = b.NextOffset(), after
		}
		r.Release()
	}
	return last
}

// Goal: the cleaner follows its settings: as many threads as it is told, and none after Close.
func TestCleanerFollowsItsSettings(t *testing.T) {
	w := newWorld()
	o := DefaultCleanerOptions()
	o.Threads, o.LoadFactor = 0, 7
	c := NewCleaner(w.env(), nil, o)
	if got := c.options.Load(); got.Threads != 1 || got.LoadFactor != 1 {
		t.Errorf("settings out of bounds are taken: %+v", got)
	}
	threads := func(want int) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for c.running() != want {
			if time.Now().After(deadline) {
				t.Fatalf("%d threads, want %d", c.running(), want)
			}
			<-time.After(time.Millisecond)
		}
	}
	c.SetOptions(o)
	threads(0) // not started yet
	c.Start()
	threads(1)
	for _, n := range []int{4, 2, 5, 1} {
		o.Threads = n
		c.SetOptions(o)
		threads(n)
	}
	c.Close()
	threads(0)
	c.SetOptions(o)
	c.Start()
	threads(0)
	c.Close()
}

func (c *Cleaner) running() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.threads
}

// Goal: what all threads read and write together stays within the rate, which may change at any time, and nobody waits
// once there is a reason to end.
func TestCleanerThrottle(t *testing.T) {
	w := newWorld()
	at := w.clock
	settings := DefaultCleanerOptions()
	settings.BytesPerSecond = 1
	c := NewCleaner(w.env(), nil, settings)
	began := at.Now()
	for n := range 5 {
		done := make(chan error, 1)
		var wait task.Group
		wait.Go("waits", func() { done <- c.wait(500, func() error { return nil }) })
		for ended := false; !ended; {
			select {
			case err := <-done:
				ended = true
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Millisecond):
				if at.Pending() > 0 { // it is known to wait
					at.Advance(throttleStep)
				}
				if n == 0 {
					settings.BytesPerSecond = 1000
					c.SetOptions(settings)
				}
			}
		}
		wait.Wait()
	}
	if took := at.Now().Sub(began); took < 2500*time.Millisecond || took > time.Minute {
		t.Errorf("2500 bytes took %v at 1000 bytes a second", took)
	}
	settings.BytesPerSecond = 1
	c.SetOptions(settings)
	if err := c.wait(1<<20, func() error { return errInterrupted }); !errors.Is(err, errInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
	c.SetOptions(DefaultCleanerOptions())
	if err := c.wait(1<<30, nil); err != nil {
		t.Errorf("without a rate: %v", err)
	}
}
