package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

const (
	// txnsPerRound is how many transactions are committed before each fault.
	txnsPerRound = 100
	// settleWithin is when every transaction that anybody has left open must have ended: its timeout has passed, the
	// coordinator has looked, and markers were tried again.
	settleWithin = 24 * txnTimeout
)

// TxnPlan is one run with a load of transactions.
type TxnPlan struct {
	Plan
	Topic   map[string]string // configs of the load's topic beside small segments
	Deletes bool              // records are deleted from the starts of the logs
	// FaultUnderLoad is a Fault that sees how many transactions are committed; it takes the place of Fault.
	FaultUnderLoad func(b *proc.Broker, committed func() int) error
}

// RunTransactions executes the plan. The error is about the run itself; violations stand in the summary.
func (p TxnPlan) RunTransactions(ctx context.Context) (TxnSummary, error) {
	fmt.Fprintf(p.Out, "chaos: transactions: rounds=%d seed=%d data=%s\n", p.Rounds, p.Seed, p.DataDir)
	n, err := startNode(p.DataDir, p.Set)
	if err != nil {
		return TxnSummary{}, err
	}
	defer func() { n.Kill() }()
	if err := p.createTopic(ctx, n.Bootstrap); err != nil {
		return TxnSummary{}, err
	}
	load := startTxnLoad(n.Bootstrap, p.Seed, p.Deletes)
	defer load.close()
	fault := p.Fault
	if p.FaultUnderLoad != nil {
		fault = func(b *proc.Broker) error { return p.FaultUnderLoad(b, load.history.Ended) }
	}
	err = p.rounds(n, rand.New(rand.NewPCG(p.Seed, 0)), course{
		work:  func() error { return load.await(n, txnsPerRound) },
		fault: fault,
		told:  func() string { return fmt.Sprintf("committed=%d", load.history.Ended()) },
	})
	if err != nil {
		return TxnSummary{}, err
	}
	load.stop()
	summary, err := p.judge(ctx, load)
	if err != nil {
		return summary, n.told(err)
	}
	if err := n.Stop(); err != nil {
		return summary, err
	}
	return summary, verifyFiles(p.DataDir)
}

func (p TxnPlan) createTopic(ctx context.Context, bootstrap string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	configs := map[string]*string{"segment.bytes": kadm.StringPtr("1048576")}
	for key, value := range p.Topic {
		configs[key] = &value
	}
	_, err = kadm.NewClient(client).CreateTopic(ctx, partitions, 1, configs, txnTopic)
	return err
}

// judge waits until everything has ended, reads all that is left, and compares.
func (p TxnPlan) judge(ctx context.Context, load *txnLoad) (TxnSummary, error) {
	within, cancel := context.WithTimeout(ctx, settleWithin+roundMax)
	defer cancel()
	final, err := load.final(within)
	if err != nil {
		return TxnSummary{}, err
	}
	if final.isOpen() { // what can be read is not all that there is
		return TxnSummary{Violations: load.history.CheckClosed(final)}, nil
	}
	final.Retention = p.Topic["retention.bytes"] != ""
	final.Compaction = p.Topic["cleanup.policy"] == "compact"
	summary := load.history.Check(final)
	summary.Clients = [2]int{int(load.clients[0].Load()), int(load.clients[1].Load())}
	summary.Zombies, summary.Deletions = int(load.zombies.Load()), int(load.deletions.Load())
	fmt.Fprintf(p.Out, "chaos: %v\n", summary)
	fmt.Fprintf(p.Out, "chaos: clients: %d older, %d newer, %d tried to go on when replaced; deletions: %d\n",
		summary.Clients[0], summary.Clients[1], summary.Zombies, summary.Deletions)
	return summary, nil
}

// await waits until the load has had so many more commits.
func (l *txnLoad) await(n *node, more int) error {
	want := l.history.Ended() + more
	return n.until(func() bool { return l.history.Ended() >= want }, func() string {
		return fmt.Sprintf("only %d of %d transactions were committed", l.history.Ended(), want)
	})
}

// final gathers what is there when every transaction has ended.
func (l *txnLoad) final(ctx context.Context) (*TxnFinal, error) {
	client := l.client()
	defer client.Close()
	admin := kadm.NewClient(client)
	f, err := l.settled(ctx, admin)
	if err != nil {
		return nil, err
	}
	if f.isOpen() {
		return f, nil
	}
	for p, end := range f.Stable {
		for _, level := range []kgo.IsolationLevel{kgo.ReadCommitted(), kgo.ReadUncommitted()} {
			some, err := l.readPartition(ctx, level, p, f.Start[p], end)
			if err != nil {
				return nil, err
			}
			if level == kgo.ReadCommitted() {
				f.Committed = append(f.Committed, some...)
			} else {
				f.All = append(f.All, some...)
			}
		}
	}
	// Retention may have gone on meanwhile.
	starts, err := admin.ListStartOffsets(ctx, txnTopic)
	if err != nil {
		return nil, err
	}
	starts.Each(func(o kadm.ListedOffset) { f.Start[o.Partition] = o.Offset })
	f.Groups = map[groupPlace]int64{}
	for producer := range producers + slowProducers {
		found, err := txnGroupOffsets(ctx, client, producer, true)
		if err != nil {
			return nil, fmt.Errorf("the offsets of %s: %w", txnGroup(producer), err)
		}
		for p, offset := range found {
			f.Groups[groupPlace{producer, p}] = offset
		}
	}
	return f, nil
}

// settled waits until no transaction is open, as everybody says who could know: the coordinators, the producers of the
// partitions, and the last stable offsets. It gives up in the end.
func (l *txnLoad) settled(ctx context.Context, admin *kadm.Client) (*TxnFinal, error) {
	for deadline := time.Now().Add(l.settle); ; pause(ctx, 50*time.Millisecond) {
		f, err := l.look(ctx, admin)
		if err != nil {
			return nil, err
		}
		if !f.isOpen() || time.Now().After(deadline) {
			return f, nil
		}
	}
}

// look finds what is open now.
func (l *txnLoad) look(ctx context.Context, admin *kadm.Client) (*TxnFinal, error) {
	f := &TxnFinal{Start: map[int32]int64{}, Stable: map[int32]int64{}, End: map[int32]int64{}}
	for _, list := range []struct {
		ask  func(context.Context, ...string) (kadm.ListedOffsets, error)
		into map[int32]int64
	}{{admin.ListStartOffsets, f.Start}, {admin.ListCommittedOffsets, f.Stable}, {admin.ListEndOffsets, f.End}} {
		found, err := list.ask(ctx, txnTopic)
		if err == nil {
			err = found.Error()
		}
		if err != nil {
			return nil, err
		}
		found.Each(func(o kadm.ListedOffset) { list.into[o.Partition] = o.Offset })
	}
	listed, err := admin.ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort"})
	if err != nil {
		return nil, err
	}
	listed.Each(func(t kadm.ListedTransaction) { f.Open = append(f.Open, t.TxnID+": "+t.State) })
	var all kadm.TopicsSet
	for p := range int32(partitions) {
		all.Add(txnTopic, p)
	}
	described, err := admin.DescribeProducers(ctx, all)
	if err != nil {
		return nil, err
	}
	described.EachProducer(func(p kadm.DescribedProducer) {
		if p.CurrentTxnStartOffset >= 0 {
			f.Open = append(f.Open, fmt.Sprintf("producer %d in partition %d, from offset %d",
				p.ProducerID, p.Partition, p.CurrentTxnStartOffset))
		}
	})
	return f, nil
}

// readPartition reads the records of a partition, by the broker's word: markers and what was aborted are no records, so
// that the reader's position is what counts.
func (l *txnLoad) readPartition(
	ctx context.Context, level kgo.IsolationLevel, partition int32, start, end int64,
) ([]Entry, error) {
	client := l.client(kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{txnTopic: {partition: kgo.NewOffset().At(start)}}))
	defer client.Close()
	var entries []Entry
	for next := start; next < end; { // the last record of a settled partition is a marker
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
