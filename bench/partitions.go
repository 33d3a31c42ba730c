package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Partitions describes a broker with many partitions, of which each holds a little.
type Partitions struct {
	Topics int   // one request of CreateTopics for each
	Each   int32 // partitions of a topic
	// Records go to each partition, one batch each: what was written since the last flush of that partition.
	Records     int
	RecordBytes int
}

// Count is the number of partitions.
func (p Partitions) Count() int { return p.Topics * int(p.Each) }

func (p Partitions) name(topic int) string { return fmt.Sprintf("many-%04d", topic) }

func (p Partitions) names() []string {
	names := make([]string, p.Topics)
	for i := range names {
		names[i] = p.name(i)
	}
	return names
}

// Create makes the topics, one after another. A partition of the sample is a record.
func (p Partitions) Create(ctx context.Context, t Target) (Sample, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap))
	if err != nil {
		return Sample{}, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(int32((5 * time.Minute).Milliseconds()))
	return measure(t, func() (Sample, error) {
		for _, name := range p.names() {
			if _, err := admin.CreateTopic(ctx, p.Each, 1, nil, name); err != nil {
				return Sample{}, fmt.Errorf("create %s: %w", name, err)
			}
		}
		return Sample{Records: int64(p.Count())}, nil
	})
}

// Fill writes the records of every partition, a batch for each record.
func (p Partitions) Fill(ctx context.Context, t Target) (Sample, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(2*p.Count()),
		kgo.UnknownTopicRetries(-1)) // Kafka hosts a partition some time after it has said that it is made
	if err != nil {
		return Sample{}, err
	}
	defer client.Close()
	value := randomBytes(p.RecordBytes)
	return measure(t, func() (Sample, error) {
		var sent kgo.FirstErrPromise
		for range p.Records {
			for _, name := range p.names() {
				for partition := range p.Each {
					record := &kgo.Record{Topic: name, Partition: partition, Value: value}
					client.Produce(ctx, record, sent.Promise())
				}
			}
			if err := client.Flush(ctx); err != nil {
				return Sample{}, err
			}
		}
		records := int64(p.Records) * int64(p.Count())
		return Sample{Records: records, Bytes: records * int64(p.RecordBytes)}, sent.Err()
	})
}

// AwaitServed returns when the broker, which may just have started, has told the end of every partition, which must be
// the number of records that were written.
func (p Partitions) AwaitServed(ctx context.Context, t Target) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap), kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	return again(ctx, func() error {
		ends, err := admin.ListEndOffsets(ctx, p.names()...)
		if err != nil {
			return err
		}
		seen := 0
		var wrong error
		ends.Each(func(end kadm.ListedOffset) {
			switch {
			case end.Err != nil:
				wrong = errors.Join(wrong, fmt.Errorf("the end of %s-%d: %w", end.Topic, end.Partition, end.Err))
			case end.Offset != int64(p.Records):
				wrong = errors.Join(wrong, fmt.Errorf("%s-%d ends at %d, not at %d",
					end.Topic, end.Partition, end.Offset, p.Records))
			default:
				seen++
			}
		})
		if wrong == nil && seen < p.Count() {
			return fmt.Errorf("%d of %d partitions are served: %w", seen, p.Count(), kerr.UnknownTopicOrPartition)
		}
		return wrong
	})
}

// Idle measures a broker that nobody uses, and what it holds open at the end.
func Idle(t Target, length time.Duration) (Sample, Usage, error) {
	s, err := measure(t, func() (Sample, error) {
		time.Sleep(length)
		return Sample{}, nil
	})
	if err != nil {
		return s, Usage{}, err
	}
	u, err := UsageOf(t.PID)
	return s, u, err
}
