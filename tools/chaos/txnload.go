package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// txnTimeout is how long the coordinator waits for a producer that has left its transaction open.
const txnTimeout = 5 * time.Second

// txnLoad is a set of producers with transactions over several partitions, one consumer of committed records, and one
// who asks for the last stable offsets. A producer now and then leaves its transaction open and is replaced by another
// with the same transactional id, while its last records may still be on their way.
type txnLoad struct {
	history   *TxnHistory
	bootstrap string
	cancel    context.CancelFunc
	running   sync.WaitGroup
	retired   atomic.Int64 // clients that were replaced
	seed      uint64
}

const txnTopic = "chaos-txn"

func startTxnLoad(bootstrap string, seed uint64) *txnLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &txnLoad{history: NewTxnHistory(), bootstrap: bootstrap, cancel: cancel, seed: seed}
	for n := range producers {
		l.running.Go(func() { l.produce(ctx, n) })
	}
	l.running.Go(func() { l.consume(ctx) })
	l.running.Go(func() { l.watch(ctx) })
	return l
}

func (l *txnLoad) stop() {
	l.cancel()
	l.running.Wait()
}

func quickly(int) time.Duration { return 20 * time.Millisecond }

// client makes the client of a producer.
func (l *txnLoad) client(producer int) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(l.bootstrap), kgo.TransactionalID(fmt.Sprintf("chaos-%d", producer)),
		kgo.TransactionTimeout(txnTimeout), kgo.DefaultProduceTopic(txnTopic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RetryBackoffFn(quickly))
}

func (l *txnLoad) produce(ctx context.Context, producer int) {
	random := rand.New(rand.NewPCG(l.seed, uint64(producer)+1))
	w := &txnWriter{load: l, producer: producer, random: random}
	defer func() {
		if w.client != nil {
			w.client.Close()
		}
	}()
	for number := int64(0); ctx.Err() == nil; number++ {
		if w.client == nil {
			var err error
			if w.client, err = l.client(producer); err != nil {
				panic(err) // the options are wrong
			}
			l.retired.Add(1)
		}
		if !w.transaction(ctx, number) {
			w.client.Close()
			w.client = nil
		}
	}
}

// txnWriter is one producer, with the client that it has now.
type txnWriter struct {
	load     *txnLoad
	producer int
	client   *kgo.Client
	random   *rand.Rand
	next     int64 // the next record
}

// transaction writes one transaction and ends it. false means that the client is of no more use.
func (w *txnWriter) transaction(ctx context.Context, number int64) bool {
	h := w.load.history
	txn := h.Begin(w.producer, number)
	if err := w.client.BeginTransaction(); err != nil {
		h.End(txn, false)
		return false
	}
	var failed atomic.Bool
	for range 1 + w.random.IntN(20) {
		id := RecordID{w.producer, w.next}
		w.next++
		partition := w.random.Int32N(partitions)
		h.Wrote(txn, id, partition)
		w.client.Produce(ctx, &kgo.Record{Partition: partition, Value: id.Value()}, func(r *kgo.Record, err error) {
			if err != nil {
				failed.Store(true)
				return
			}
			h.Acked(txn, id, r.Partition, r.Offset)
		})
	}
	dice := w.random.IntN(100)
	if dice < 5 { // left open, its records perhaps on their way
		h.End(txn, false)
		return false
	}
	if err := w.client.Flush(ctx); err != nil {
		failed.Store(true)
	}
	if failed.Load() || dice < 25 {
		err := w.client.AbortBufferedRecords(ctx)
		if err == nil {
			err = w.client.EndTransaction(ctx, kgo.TryAbort)
		}
		h.End(txn, false)
		return err == nil
	}
	h.Committing(txn)
	err := w.client.EndTransaction(ctx, kgo.TryCommit)
	h.End(txn, err == nil)
	return err == nil
}

func (l *txnLoad) reader(level kgo.IsolationLevel) (*kgo.Client, error) {
	from := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		from[p] = kgo.NewOffset().At(0)
	}
	return kgo.NewClient(kgo.SeedBrokers(l.bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{txnTopic: from}),
		kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(100*time.Millisecond), kgo.RetryBackoffFn(quickly))
}

func (l *txnLoad) consume(ctx context.Context) {
	client, err := l.reader(kgo.ReadCommitted())
	if err != nil {
		panic(err) // the options are wrong
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { l.history.Read(r.Partition, r.Offset, r.Value) })
	}
}

// watch asks for the last stable offsets.
func (l *txnLoad) watch(ctx context.Context) {
	client, err := kgo.NewClient(kgo.SeedBrokers(l.bootstrap), kgo.RetryBackoffFn(quickly))
	if err != nil {
		panic(err) // the options are wrong
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for ctx.Err() == nil {
		offsets, err := admin.ListCommittedOffsets(ctx, txnTopic)
		if err == nil {
			offsets.Each(func(o kadm.ListedOffset) {
				if o.Err == nil {
					l.history.Stable(o.Partition, o.Offset)
				}
			})
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// await waits until the load has had want commits.
func (l *txnLoad) await(want int, b *proc.Broker) error {
	for deadline := time.Now().Add(roundWithin); l.history.Ended() < want; {
		select {
		case <-b.Exited():
			return fmt.Errorf("the broker died by itself: %s", b.LogTail())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d transactions were committed in %v: %s",
				l.history.Ended(), want, roundWithin, b.LogTail())
		}
	}
	return nil
}

// errStuck says that a transaction of a producer that is long gone is still open.
var errStuck = errors.New("the last stable offset is stuck")

// readAll waits until every transaction has ended, and reads all that was committed.
func (l *txnLoad) readAll(ctx context.Context) ([]Entry, error) {
	client, err := l.reader(kgo.ReadCommitted())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := l.settled(ctx, kadm.NewClient(client))
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for p, end := range ends {
		some, err := l.readPartition(ctx, p, end)
		if err != nil {
			return nil, err
		}
		entries = append(entries, some...)
	}
	return entries, nil
}

// settled waits until the last stable offsets are the high watermarks, and gives them.
func (l *txnLoad) settled(ctx context.Context, admin *kadm.Client) (map[int32]int64, error) {
	var state string
	for deadline := time.Now().Add(6 * txnTimeout); time.Now().Before(deadline); {
		ends, err := admin.ListEndOffsets(ctx, txnTopic)
		if err != nil {
			return nil, err
		}
		stable, err := admin.ListCommittedOffsets(ctx, txnTopic)
		if err != nil {
			return nil, err
		}
		found, open := map[int32]int64{}, false
		state = ""
		stable.Each(func(o kadm.ListedOffset) {
			end, _ := ends.Lookup(txnTopic, o.Partition)
			found[o.Partition] = o.Offset
			open = open || o.Offset < end.Offset
			state += fmt.Sprintf(" %d: %d of %d", o.Partition, o.Offset, end.Offset)
		})
		if !open {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("%w:%s", errStuck, state)
}

// readPartition reads the committed records of a partition up to an offset, by the broker's word: markers and what was
// aborted are no records, so that the reader's position is what counts.
func (l *txnLoad) readPartition(ctx context.Context, partition int32, end int64) ([]Entry, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(l.bootstrap), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{txnTopic: {partition: kgo.NewOffset().At(0)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var entries []Entry
	for next := int64(0); next < end; { // the last record of a settled partition is a marker
		fetches := client.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return nil, fmt.Errorf("partition %d, at %d of %d: %w", partition, next, end, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				entries = append(entries, Entry{Partition: partition, Offset: r.Offset, Value: r.Value})
			}
		})
	}
	return entries, nil
}

// RunTransactions executes the plan with a load of transactions.
func (p Plan) RunTransactions(ctx context.Context) (TxnSummary, error) {
	fmt.Fprintf(p.Out, "chaos: transactions: rounds=%d seed=%d data=%s\n", p.Rounds, p.Seed, p.DataDir)
	random := rand.New(rand.NewPCG(p.Seed, 0))
	listen, err := freeAddress()
	if err != nil {
		return TxnSummary{}, err
	}
	start := func() (*proc.Broker, error) {
		return proc.Start(proc.Options{DataDir: p.DataDir, Listen: listen, Set: p.Set})
	}
	broker, err := start()
	if err != nil {
		return TxnSummary{}, err
	}
	defer func() { broker.Kill() }()
	if err := CreateTopic(ctx, broker.Bootstrap, txnTopic, partitions); err != nil {
		return TxnSummary{}, err
	}
	load := startTxnLoad(broker.Bootstrap, p.Seed)
	defer load.stop()
	for round := range p.Rounds {
		if err := load.await(load.history.Ended()+txnsPerRound, broker); err != nil {
			return TxnSummary{}, fmt.Errorf("round %d: %w", round, err)
		}
		<-time.After(time.Duration(random.Int64N(int64(roundExtraMax))))
		if err := p.Fault(broker); err != nil {
			return TxnSummary{}, fmt.Errorf("round %d: %w", round, err)
		}
		if broker, err = start(); err != nil {
			return TxnSummary{}, fmt.Errorf("round %d: restart: %w", round, err)
		}
		fmt.Fprintf(p.Out, "chaos: round %d: committed=%d restart_ms=%d\n",
			round, load.history.Ended(), broker.Startup.Milliseconds())
	}
	if err := load.await(load.history.Ended()+txnsPerRound, broker); err != nil {
		return TxnSummary{}, fmt.Errorf("after the last restart: %w", err)
	}
	load.stop()
	readCtx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	final, err := load.readAll(readCtx)
	if err != nil {
		return load.history.Check(nil), err
	}
	summary := load.history.Check(final)
	fmt.Fprintf(p.Out, "chaos: %v (clients: %d)\n", summary, load.retired.Load())
	if err := broker.Stop(); err != nil {
		return summary, err
	}
	return summary, verifyFiles(p.DataDir)
}

// txnsPerRound is how many transactions are committed before each fault.
const txnsPerRound = 100
