package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Load is a set of idempotent producers with acks=all, and one consumer that reads along. Its clients live through
// broker restarts, as an application's do.
type Load struct {
	Topic   string
	History *History

	bootstrap  string
	partitions int32
	producers  []*kgo.Client
	consumer   *kgo.Client
	cancel     context.CancelFunc
	running    sync.WaitGroup
	failed     atomic.Int64 // records that a producer gave up on: no promise was made for them
}

// inFlightMax bounds what a producer has handed to its client and not heard of.
const inFlightMax = 200

// CreateTopic makes the load's topic with small segments, so that rolls and seals happen under fire.
func CreateTopic(ctx context.Context, bootstrap, topic string, partitions int32) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	small := "1048576"
	_, err = kadm.NewClient(client).
		CreateTopic(ctx, partitions, 1, map[string]*string{"segment.bytes": &small}, topic)
	return err
}

// StartLoad begins to produce and to consume.
func StartLoad(bootstrap, topic string, partitions int32, producers int) (*Load, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{Topic: topic, History: NewHistory(), bootstrap: bootstrap, partitions: partitions, cancel: cancel}
	for n := range producers {
		client, err := kgo.NewClient(
			kgo.SeedBrokers(bootstrap),
			kgo.DefaultProduceTopic(topic),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.ProducerLinger(time.Duration(n)*time.Millisecond), // some producers batch, one does not
			kgo.MaxBufferedRecords(
				inFlightMax,
			),
			kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		)
		if err != nil {
			cancel()
			return nil, err
		}
		l.producers = append(l.producers, client)
		l.running.Add(1)
		go l.produce(ctx, n, client)
	}
	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(l.fromStart()),
		kgo.FetchMaxWait(
			100*time.Millisecond,
		),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	)
	if err != nil {
		cancel()
		return nil, err
	}
	l.consumer = consumer
	l.running.Add(1)
	go l.consume(ctx)
	return l, nil
}

func (l *Load) fromStart() map[string]map[int32]kgo.Offset {
	offsets := map[int32]kgo.Offset{}
	for p := range l.partitions {
		offsets[p] = kgo.NewOffset().At(0)
	}
	return map[string]map[int32]kgo.Offset{l.Topic: offsets}
}

func (l *Load) produce(ctx context.Context, producer int, client *kgo.Client) {
	defer l.running.Done()
	for seq := int64(0); ctx.Err() == nil; seq++ {
		id := RecordID{Producer: producer, Seq: seq}
		record := &kgo.Record{Partition: int32(seq) % l.partitions, Value: id.Value()}
		// Produce blocks while inFlightMax records are unheard of, which is the load's pace.
		client.Produce(ctx, record, func(r *kgo.Record, err error) {
			if err != nil {
				l.failed.Add(1)
				return
			}
			l.History.Acked(r.Partition, r.Offset, id)
		})
	}
}

func (l *Load) consume(ctx context.Context) {
	defer l.running.Done()
	for ctx.Err() == nil {
		l.consumer.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			l.History.Read(r.Partition, r.Offset, r.Value)
		})
	}
}

// Acked is the number of acknowledged records so far.
func (l *Load) Acked() int {
	l.History.mu.Lock()
	defer l.History.mu.Unlock()
	return len(l.History.acked)
}

// Stop ends the clients; what was not acknowledged by then is not waited for.
func (l *Load) Stop() {
	l.cancel()
	l.running.Wait()
	for _, p := range l.producers {
		p.Close()
	}
	l.consumer.Close()
}

// ReadAll reads every partition from its start to its high watermark with a fresh client.
func (l *Load) ReadAll(ctx context.Context) ([]Entry, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(l.bootstrap), kgo.ConsumePartitions(l.fromStart()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, l.Topic)
	if err != nil {
		return nil, err
	}
	if err := ends.Error(); err != nil {
		return nil, err
	}
	next := map[int32]int64{}
	behind := func() bool {
		for p := range l.partitions {
			if end, ok := ends.Lookup(l.Topic, p); ok && next[p] < end.Offset {
				return true
			}
		}
		return false
	}
	var entries []Entry
	for behind() {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return entries, fmt.Errorf("reading the final log stopped at %v, ends %v: %w", next, ends, err)
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return entries, errors.Join(errs[0].Err, fmt.Errorf("partition %d", errs[0].Partition))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			entries = append(entries, Entry{Partition: r.Partition, Offset: r.Offset, Value: r.Value})
			next[r.Partition] = r.Offset + 1
		})
	}
	return entries, nil
}
