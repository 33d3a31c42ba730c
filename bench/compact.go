package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/dist"
)

// Compaction describes a compacted topic of one partition: many updates of fewer keys, drawn at random.
type Compaction struct {
	Topic         string
	Keys, Updates int64
	ValueBytes    int // at least 8: each begins with the number of the update
	SegmentBytes  int64
}

const compactKeyBytes = 12

// key is which key an update is of: the same ones in every run.
func (c Compaction) key(update int64) int64 {
	return int64(dist.Nth(uint64(update)) % uint64(c.Keys))
}

// Fill makes the topic, of which nothing is to be compacted yet, and writes the updates, uncounted.
func (c Compaction) Fill(ctx context.Context, t Target) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap), kgo.DefaultProduceTopic(c.Topic),
		kgo.ProducerBatchMaxBytes(128<<10), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(256<<10))
	if err != nil {
		return err
	}
	defer client.Close()
	// No ratio is above 1.
	segment, ratio := strconv.FormatInt(c.SegmentBytes, 10), "1"
	policy, delay := "compact", "0"
	_, err = kadm.NewClient(client).CreateTopic(ctx, 1, 1, map[string]*string{"cleanup.policy": &policy,
		"segment.bytes": &segment, "min.cleanable.dirty.ratio": &ratio, "file.delete.delay.ms": &delay}, c.Topic)
	if err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	sent := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Store(&err)
		}
	}
	padding := randomBytes(c.ValueBytes)
	for n := range c.Updates {
		both := make([]byte, compactKeyBytes+c.ValueBytes)
		key, value := both[:compactKeyBytes:compactKeyBytes], both[compactKeyBytes:]
		copy(key, fmt.Appendf(key[:0], "%0*d", compactKeyBytes, c.key(n)))
		copy(value, padding)
		binary.BigEndian.PutUint64(value, uint64(n))
		client.Produce(ctx, &kgo.Record{Key: key, Value: value}, sent)
	}
	err = client.Flush(ctx)
	if p := failed.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	return err
}

// Compacted is the outcome of a compaction.
type Compacted struct {
	Sample
	Before, Peak int64 // anonymous memory of the broker before, and at most while it worked
	LogBytes     int64 // that are left
}

// Run lets the broker compact the topic of the data directory, and returns when everything but the active segment is
// clean: the file of the cleaner's offsets says so, which Kafka and Spate both keep.
func (c Compaction) Run(ctx context.Context, t Target, dataDir string) (Compacted, error) {
	var out Compacted
	logs, err := filepath.Glob(filepath.Join(dataDir, c.Topic+"-0", "*.log"))
	if err != nil {
		return out, err
	}
	if len(logs) < 2 {
		return out, fmt.Errorf("nothing to compact: %d segments", len(logs))
	}
	active := strings.TrimLeft(strings.TrimSuffix(filepath.Base(slices.Max(logs)), ".log"), "0")
	clean := "\n" + c.Topic + " 0 " + active + "\n"
	usage, err := SpentBy(t.PID)
	if err != nil {
		return out, err
	}
	out.Before = usage.AnonymousBytes
	out.Sample, err = measure(t, func() (Sample, error) {
		s := Sample{Records: c.Updates, Bytes: c.Updates * int64(c.ValueBytes)}
		if err := c.allow(ctx, t); err != nil {
			return s, err
		}
		for {
			text, err := os.ReadFile(filepath.Join(dataDir, "cleaner-offset-checkpoint"))
			if err == nil && strings.Contains(string(text)+"\n", clean) {
				return s, nil
			}
			if usage, err = SpentBy(t.PID); err != nil {
				return s, err
			}
			out.Peak = max(out.Peak, usage.AnonymousBytes)
			if ctx.Err() != nil {
				return s, fmt.Errorf("not clean up to %s yet: %q, %w", active, text, ctx.Err())
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	if err != nil {
		return out, err
	}
	logs, err = filepath.Glob(filepath.Join(dataDir, c.Topic+"-0", "*.log"))
	for _, name := range logs {
		if info, statErr := os.Stat(name); statErr == nil { // else it has just been replaced
			out.LogBytes += info.Size()
		}
	}
	return out, err
}

// allow has the cleaner begin.
func (c Compaction) allow(ctx context.Context, t Target) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	ratio := "0"
	answers, err := kadm.NewClient(client).AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "min.cleanable.dirty.ratio", Value: &ratio},
	}, c.Topic)
	if err != nil {
		return err
	}
	answer, err := answers.On(c.Topic, nil)
	return errors.Join(err, answer.Err)
}

// Check reads the topic from its start: the last value of each key has to be the last one that was written.
func (c Compaction) Check(ctx context.Context, t Target) error {
	last := make([]int64, c.Keys)
	for n := range c.Updates {
		last[c.key(n)] = n + 1 // 0: the key never came up
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap), kgo.ConsumePartitions(fromStart(c.Topic, 1)))
	if err != nil {
		return err
	}
	defer client.Close()
	got := make([]int64, c.Keys)
	for next := int64(0); next < c.Updates; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key, err := strconv.ParseInt(string(r.Key), 10, 64)
			if err == nil && key < c.Keys && len(r.Value) == c.ValueBytes {
				got[key] = int64(binary.BigEndian.Uint64(r.Value)) + 1
			}
			next = r.Offset + 1
		})
	}
	for key, want := range last {
		if got[key] != want {
			return fmt.Errorf("key %d has update %d, not %d", key, got[key]-1, want-1)
		}
	}
	return nil
}
