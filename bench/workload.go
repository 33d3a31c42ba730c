package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/dist"
	"spate/bench/result"
	"spate/bench/spec"
)

// Target is a running broker to load.
type Target struct {
	Bootstrap string
	PID       int // of the broker on this machine, whose usage is measured
}

// Sample is the outcome of one run of one workload.
type Sample struct {
	Records      int64
	Bytes        int64 // of record values
	Elapsed      time.Duration
	User, System time.Duration // processor time of the broker meanwhile
	P50, P99     time.Duration // of latency workloads, from the intended send time
}

// CPU is the broker's processor time.
func (s Sample) CPU() time.Duration { return s.User + s.System }

// CPUSecondsPerGB is the broker's processor time for each 10^9 bytes of record values.
func (s Sample) CPUSecondsPerGB() float64 { return s.CPU().Seconds() / (float64(s.Bytes) / 1e9) }

// CPUMicrosPerRecord is the broker's processor time for each record.
func (s Sample) CPUMicrosPerRecord() float64 {
	return float64(s.CPU().Microseconds()) / float64(s.Records)
}

// MBPerSecond is the throughput in 10^6 bytes of record values a second.
func (s Sample) MBPerSecond() float64 { return float64(s.Bytes) / 1e6 / s.Elapsed.Seconds() }

// measure runs f and fills in the time it took and what the broker used meanwhile.
func measure(t Target, f func() (Sample, error)) (Sample, error) {
	before, err := SpentBy(t.PID)
	if err != nil {
		return Sample{}, err
	}
	began := time.Now()
	s, err := f()
	if err != nil {
		return s, err
	}
	s.Elapsed = time.Since(began)
	after, err := SpentBy(t.PID)
	s.User, s.System = after.User-before.User, after.System-before.System
	return s, err
}

// CreateTopic makes a topic for one workload.
func CreateTopic(ctx context.Context, t Target, topic string, partitions int32) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topic)
	return err
}

// Produce describes a produce workload: idempotent producers with acks=all, no compression.
type Produce struct {
	Topic         string
	Records       int64
	RecordBytes   int
	BatchBytesMax int32
}

// Run sends the records as fast as the broker takes them.
func (p Produce) Run(ctx context.Context, t Target) (Sample, error) {
	return sampled(ctx, t, "produce", p.Topic, map[string]string{"records": fmt.Sprint(p.Records), "duration": "0",
		"warm-up": "0", "record-size": fmt.Sprint(p.RecordBytes), "batch-size": fmt.Sprint(p.BatchBytesMax),
		"linger": "20ms"}, result.LatencyAck)
}

// OneRecordBatches sends records one at a time from many producers, each waiting for its acknowledgement.
type OneRecordBatches struct {
	Topic       string
	Producers   int
	Each        int // records a producer, on average
	RecordBytes int
}

// Run sends the records. Some more, which are not counted, make the connections first.
func (o OneRecordBatches) Run(ctx context.Context, t Target) (Sample, error) {
	return sampled(ctx, t, "produce", o.Topic, map[string]string{"records": fmt.Sprint(o.Producers * o.Each),
		"duration": "0", "warm-up": "200ms", "producers": fmt.Sprint(o.Producers), "in-flight": "1", "linger": "0",
		"record-size": fmt.Sprint(o.RecordBytes)}, result.LatencyAck)
}

// sampled runs a workload of package spec in a topic that is there. Nothing is verified: all processor time that is
// left is the broker's.
func sampled(ctx context.Context, t Target, kind, topic string, keys map[string]string, latency string) (Sample,
	error,
) {
	partitions, err := partitionsOf(ctx, t, topic)
	if err != nil {
		return Sample{}, err
	}
	keys["topic"], keys["reuse-topic"], keys["verify"] = topic, "true", "false"
	keys["partitions"] = fmt.Sprint(partitions)
	w, err := spec.Parse(kind, keys)
	if err != nil {
		return Sample{}, err
	}
	r, err := Run(ctx, t, w, RunOptions{})
	if err == nil {
		err = errors.Join(r.Failed(), context.Cause(ctx))
	}
	if err != nil {
		return Sample{}, err
	}
	s := Sample{Records: r.Totals.Produced.Records, Bytes: r.Totals.Produced.Bytes,
		Elapsed: time.Duration(r.Totals.Elapsed * float64(time.Second))}
	if used := r.Totals.Broker; used != nil {
		s.User = time.Duration(used.UserSeconds * float64(time.Second))
		s.System = time.Duration(used.SystemSeconds * float64(time.Second))
	}
	if h := r.Latencies[latency]; h != nil {
		s.P50, s.P99 = h.At(50), h.At(99)
	}
	return s, nil
}

// partitionsOf asks how many partitions a topic has.
func partitionsOf(ctx context.Context, t Target, topic string) (int, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err == nil {
		err = topics.Error()
	}
	return len(topics[topic].Partitions), err
}

// Consume reads a topic from its start to its present end.
type Consume struct {
	Topic      string
	Partitions int32
	Records    int64 // that the topic holds
}

// Run reads the records; fewer than expected is an error, as is an offset out of order.
func (c Consume) Run(ctx context.Context, t Target) (Sample, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(t.Bootstrap),
		kgo.ConsumePartitions(fromStart(c.Topic, c.Partitions)),
	)
	if err != nil {
		return Sample{}, err
	}
	defer client.Close()
	return measure(t, func() (Sample, error) {
		var s Sample
		next := make([]int64, c.Partitions)
		for s.Records < c.Records {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return s, err
			}
			var disorder error
			fetches.EachRecord(func(r *kgo.Record) {
				if r.Offset != next[r.Partition] {
					disorder = fmt.Errorf(
						"partition %d: offset %d where %d was due",
						r.Partition,
						r.Offset,
						next[r.Partition],
					)
				}
				next[r.Partition] = r.Offset + 1
				s.Records++
				s.Bytes += int64(len(r.Value))
			})
			if disorder != nil {
				return s, disorder
			}
		}
		return s, nil
	})
}

func fromStart(topic string, partitions int32) map[string]map[int32]kgo.Offset {
	offsets := map[int32]kgo.Offset{}
	for p := range partitions {
		offsets[p] = kgo.NewOffset().At(0)
	}
	return map[string]map[int32]kgo.Offset{topic: offsets}
}

// randomBytes are the same in every run, and do not compress.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	dist.NewSource(1, 0).Fill(b)
	return b
}
