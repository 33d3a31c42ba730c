package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
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
	before, err := UsageOf(t.PID)
	if err != nil {
		return Sample{}, err
	}
	began := time.Now()
	s, err := f()
	if err != nil {
		return s, err
	}
	s.Elapsed = time.Since(began)
	after, err := UsageOf(t.PID)
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
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap), kgo.DefaultProduceTopic(p.Topic),
		kgo.ProducerBatchMaxBytes(p.BatchBytesMax), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(20*time.Millisecond),
		kgo.MaxBufferedRecords(64<<10))
	if err != nil {
		return Sample{}, err
	}
	defer client.Close()
	value := randomBytes(p.RecordBytes)
	return measure(t, func() (Sample, error) {
		var mu sync.Mutex
		var failed error
		for range p.Records {
			client.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			})
		}
		err := client.Flush(ctx)
		mu.Lock()
		defer mu.Unlock()
		return Sample{Records: p.Records, Bytes: p.Records * int64(p.RecordBytes)}, errors.Join(err, failed)
	})
}

// OneRecordBatches sends records one at a time from many producers, each waiting for its acknowledgement.
type OneRecordBatches struct {
	Topic       string
	Producers   int
	Each        int // records a producer
	RecordBytes int
}

// Run sends the records.
func (o OneRecordBatches) Run(ctx context.Context, t Target) (Sample, error) {
	var clients []*kgo.Client
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	value := randomBytes(o.RecordBytes)
	for range o.Producers {
		client, err := kgo.NewClient(
			kgo.SeedBrokers(t.Bootstrap),
			kgo.DefaultProduceTopic(o.Topic),
			kgo.ProducerLinger(0),
			kgo.ProducerBatchCompression(kgo.NoCompression()),
		)
		if err != nil {
			return Sample{}, err
		}
		clients = append(clients, client)
		if err := client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil { // connects, draws an id
			return Sample{}, err
		}
	}
	return measure(t, func() (Sample, error) {
		errs := make([]error, o.Producers)
		var running sync.WaitGroup
		for n, client := range clients {
			running.Go(func() {
				for i := 0; i < o.Each && errs[n] == nil; i++ {
					errs[n] = client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
				}
			})
		}
		running.Wait()
		records := int64(o.Producers) * int64(o.Each)
		return Sample{Records: records, Bytes: records * int64(o.RecordBytes)}, errors.Join(errs...)
	})
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

// EndToEnd produces at a fixed rate, whatever the broker does (an open loop), and times each record from the moment
// it was due to be sent until a consumer has it.
type EndToEnd struct {
	Topic       string
	Partitions  int32
	RatePerSec  int
	Length      time.Duration
	RecordBytes int
}

// Run sends and receives.
func (e EndToEnd) Run(ctx context.Context, t Target) (Sample, error) {
	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(t.Bootstrap),
		kgo.ConsumePartitions(fromStart(e.Topic, e.Partitions)),
	)
	if err != nil {
		return Sample{}, err
	}
	defer consumer.Close()
	producer, err := kgo.NewClient(
		kgo.SeedBrokers(t.Bootstrap),
		kgo.DefaultProduceTopic(e.Topic),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
	)
	if err != nil {
		return Sample{}, err
	}
	defer producer.Close()
	// The first records make the connections and are not timed: their due time is zero.
	warm := e.RatePerSec / 2
	total := warm + int(e.Length.Seconds()*float64(e.RatePerSec))
	return measure(t, func() (Sample, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var sending sync.WaitGroup
		sending.Go(func() { e.send(ctx, producer, total, warm, cancel) })
		latencies := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
		received := 0
		for received < total {
			fetches := consumer.PollFetches(ctx)
			if ctx.Err() != nil {
				return Sample{}, context.Cause(ctx)
			}
			now := time.Now().UnixNano()
			fetches.EachRecord(func(r *kgo.Record) {
				received++
				if due := int64(binary.BigEndian.Uint64(r.Value)); due > 0 {
					_ = latencies.RecordValue(max(1, (now-due)/1000)) // the histogram's range is a minute
				}
			})
		}
		sending.Wait()
		micros := func(q float64) time.Duration {
			return time.Duration(latencies.ValueAtQuantile(q)) * time.Microsecond
		}
		return Sample{
			Records: int64(total),
			Bytes:   int64(total) * int64(e.RecordBytes),
			P50:     micros(50),
			P99:     micros(99),
		}, nil
	})
}

func (e EndToEnd) send(ctx context.Context, producer *kgo.Client, total, warm int, fail context.CancelCauseFunc) {
	gap := time.Second / time.Duration(e.RatePerSec)
	began := time.Now()
	padding := randomBytes(e.RecordBytes)
	for n := range total {
		due := began.Add(time.Duration(n) * gap)
		// Sleeping is too coarse for gaps of 100 µs, spinning would take a core: sleep a millisecond, then send
		// all that is due. A record sent late still carries the time it was due.
		for time.Until(due) > 0 {
			time.Sleep(min(time.Until(due), time.Millisecond))
		}
		value := append([]byte(nil), padding...)
		binary.BigEndian.PutUint64(value, 0)
		if n >= warm {
			binary.BigEndian.PutUint64(value, uint64(due.UnixNano()))
		}
		producer.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				fail(err)
			}
		})
	}
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
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}
