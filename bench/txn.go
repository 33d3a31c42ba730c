package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/result"
)

// Transactions describes producers that each commit one transaction after another, as fast as the broker takes them.
// The workload "transactions" of package spec counts until the last record is acknowledged; this one until the last
// transaction is committed.
type Transactions struct {
	Topic       string
	Producers   int
	Each        int // transactions a producer
	Records     int // a transaction, over all partitions in turn
	RecordBytes int
}

// Count is how many transactions there are in all.
func (x Transactions) Count() int { return x.Producers * x.Each }

// Run commits the transactions. The latencies are those of the commits: from the acknowledgement of the last record
// until the producer is told that its transaction is committed.
func (x Transactions) Run(ctx context.Context, t Target) (Sample, error) {
	clients, err := transactionalClients(ctx, t, x.Topic, x.Producers)
	defer closeAll(clients)
	if err != nil {
		return Sample{}, err
	}
	value := randomBytes(x.RecordBytes)
	values := make([][]byte, x.Records)
	for i := range values {
		values[i] = value
	}
	return measure(t, func() (Sample, error) {
		latencies, err := timed(clients, func(_ int, client *kgo.Client, own *result.Histogram) error {
			for range x.Each {
				commit, err := transact(ctx, client, values)
				if err != nil {
					return err
				}
				own.Record(commit)
			}
			return nil
		})
		records := int64(x.Count()) * int64(x.Records)
		return Sample{
			Records: records, Bytes: records * int64(x.RecordBytes), P50: latencies.At(50), P99: latencies.At(99),
		}, err
	})
}

// TransactionsEndToEnd begins transactions at a fixed rate, whatever the broker does (an open loop), and times each
// record from the moment that its transaction was due to begin until a consumer of committed records has it. (In the
// workload "transactions" each record is due for itself, so that the first of a transaction waits for the last.)
type TransactionsEndToEnd struct {
	Topic       string
	Partitions  int32
	Producers   int
	RatePerSec  int // transactions, of all producers
	Length      time.Duration
	Records     int // a transaction
	RecordBytes int
}

// Run sends and receives. A record that comes twice, not at all, or without the others of its transaction is an error.
func (e TransactionsEndToEnd) Run(ctx context.Context, t Target) (Sample, error) {
	consumer, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(fromStart(e.Topic, e.Partitions)))
	if err != nil {
		return Sample{}, err
	}
	defer consumer.Close()
	clients, err := transactionalClients(ctx, t, e.Topic, e.Producers)
	defer closeAll(clients)
	if err != nil {
		return Sample{}, err
	}
	count := max(1, int(e.Length.Seconds()*float64(e.RatePerSec)))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return measure(t, func() (Sample, error) {
		began := time.Now()
		var sending sync.WaitGroup
		sending.Go(func() {
			err := together(clients, func(n int, client *kgo.Client) error {
				for i := n; i < count; i += len(clients) {
					if err := e.transactAt(ctx, client, i, began); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				cancel(err)
			}
		})
		latencies := result.NewHistogram()
		err := e.receive(ctx, consumer, began, count, latencies)
		if err != nil {
			cancel(err)
		}
		sending.Wait()
		records := int64(count) * int64(e.Records)
		return Sample{
			Records: records, Bytes: records * int64(e.RecordBytes), P50: latencies.At(50), P99: latencies.At(99),
		}, err
	})
}

// transactAt carries out transaction i when it is due: its records name it, themselves and that time.
func (e TransactionsEndToEnd) transactAt(ctx context.Context, client *kgo.Client, i int, began time.Time) error {
	due := began.Add(time.Duration(i) * time.Second / time.Duration(e.RatePerSec))
	time.Sleep(time.Until(due))
	values := make([][]byte, e.Records)
	for n := range values {
		values[n] = make([]byte, max(e.RecordBytes, 24))
		binary.BigEndian.PutUint64(values[n], uint64(due.UnixNano()))
		binary.BigEndian.PutUint64(values[n][8:], uint64(i))
		binary.BigEndian.PutUint64(values[n][16:], uint64(n))
	}
	_, err := transact(ctx, client, values)
	return err
}

// receive takes every record of all transactions, once.
func (e TransactionsEndToEnd) receive(
	ctx context.Context, consumer *kgo.Client, began time.Time, count int, latencies *result.Histogram,
) error {
	seen := make([]bool, count*e.Records)
	for left := len(seen); left > 0; {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		now := time.Now()
		var wrong error
		fetches.EachRecord(func(r *kgo.Record) {
			due := time.Unix(0, int64(binary.BigEndian.Uint64(r.Value)))
			i, n := binary.BigEndian.Uint64(r.Value[8:]), binary.BigEndian.Uint64(r.Value[16:])
			place := i*uint64(e.Records) + n
			if due.UnixNano() < began.UnixNano() || place >= uint64(len(seen)) || seen[place] {
				wrong = fmt.Errorf("record %d of transaction %d came unasked or twice", n, i)
				return
			}
			seen[place] = true
			left--
			latencies.Record(now.Sub(due))
		})
		if wrong != nil {
			return wrong
		}
	}
	return nil
}

// transact commits one transaction, and tells how long the commit took.
func transact(ctx context.Context, client *kgo.Client, values [][]byte) (commit time.Duration, err error) {
	if err := client.BeginTransaction(); err != nil {
		return 0, err
	}
	var sent kgo.FirstErrPromise
	for _, value := range values {
		client.Produce(ctx, &kgo.Record{Value: value}, sent.Promise())
	}
	if err := client.Flush(ctx); err != nil {
		return 0, err
	}
	if err := sent.Err(); err != nil {
		return 0, err
	}
	began := time.Now()
	err = client.EndTransaction(ctx, kgo.TryCommit)
	return time.Since(began), err
}

// transactionalClients makes producers with a transactional id each, which have committed one transaction: they are
// connected, and know their coordinator.
func transactionalClients(ctx context.Context, t Target, topic string, count int) (clients []*kgo.Client, err error) {
	warm := topic + "-warm"
	if err := CreateTopic(ctx, t, warm, 1); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return nil, err
	}
	for n := range count {
		client, err := kgo.NewClient(kgo.SeedBrokers(t.Bootstrap), kgo.DefaultProduceTopic(topic),
			kgo.TransactionalID(fmt.Sprintf("%s-%d", topic, n)), kgo.ProducerLinger(0),
			kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
			kgo.MaxBufferedRecords(64<<10))
		if err != nil {
			return clients, err
		}
		clients = append(clients, client)
		if err := client.BeginTransaction(); err != nil {
			return clients, err
		}
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: warm, Value: []byte("warm")}).FirstErr(); err != nil {
			return clients, err
		}
		if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
			return clients, err
		}
	}
	return clients, nil
}

func closeAll(clients []*kgo.Client) {
	for _, client := range clients {
		client.Close()
	}
}

// together calls f with each client at the same time, and waits for all.
func together(clients []*kgo.Client, f func(n int, client *kgo.Client) error) error {
	errs := make([]error, len(clients))
	var running sync.WaitGroup
	for n, client := range clients {
		running.Go(func() { errs[n] = f(n, client) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// timed calls f with each client at the same time, each with a histogram of its own, and gives what all recorded.
func timed(clients []*kgo.Client, f func(n int, client *kgo.Client, own *result.Histogram) error) (*result.Histogram,
	error,
) {
	own := make([]*result.Histogram, len(clients))
	err := together(clients, func(n int, client *kgo.Client) error {
		own[n] = result.NewHistogram()
		return f(n, client, own[n])
	})
	all := result.NewHistogram()
	for _, h := range own {
		all.Merge(h)
	}
	return all, err
}
