package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	txnTopic = "chaos-txn"
	// txnTimeout is how long the coordinator waits for a producer that has left its transaction open.
	txnTimeout = 5 * time.Second
	// slowTimeout is that for the slow producers, which outlast it now and then.
	slowTimeout   = time.Second
	slowProducers = 2
	// zombieWithin bounds what a replaced producer still tries: most is refused at once.
	zombieWithin = 10 * time.Second
)

// txnLoad is a set of producers with transactions over several partitions that commit offsets of a group each, readers
// of all kinds, and those who ask for last stable offsets and for the groups' offsets. Now and then a producer leaves
// its transaction open and is replaced by another with the same transactional id, while its last records may still be
// on their way; some of those replaced go on, and must get nowhere. Clients of both versions of transactions follow
// each other in one transactional id.
type txnLoad struct {
	history   *TxnHistory
	bootstrap string
	cancel    context.CancelFunc
	running   sync.WaitGroup
	clients   [2]atomic.Int64 // that were made: without the newer version of transactions, and with it
	zombies   atomic.Int64    // that tried to go on
	deletions atomic.Int64    // requests that were obeyed
	deletes   bool            // records are deleted from the logs' starts meanwhile
	settle    time.Duration   // when all must have ended, in the end
	seed      uint64

	// Two clients without producers carry the offsets of groups: the version of a request is that of the client.
	carriers [2]*kgo.Client
}

func startTxnLoad(bootstrap string, seed uint64, deletes bool) *txnLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &txnLoad{history: NewTxnHistory(), bootstrap: bootstrap, cancel: cancel, seed: seed, deletes: deletes,
		settle: settleWithin}
	l.carriers = [2]*kgo.Client{
		l.client(kgo.MaxVersions(kversion.V3_7_0())), l.client(),
	}
	for n := range producers + slowProducers {
		l.running.Go(func() { l.produce(ctx, n) })
	}
	for n, level := range []kgo.IsolationLevel{kgo.ReadCommitted(), kgo.ReadUncommitted()} {
		l.running.Go(func() { l.follow(ctx, level, n == 0) })
		l.running.Go(func() { l.jump(ctx, level, n == 0) })
	}
	l.running.Go(func() { l.watch(ctx) })
	l.running.Go(func() { l.watchGroups(ctx) })
	if deletes {
		l.running.Go(func() { l.delete(ctx) })
	}
	return l
}

func (l *txnLoad) stop() {
	l.cancel()
	l.running.Wait()
}

func (l *txnLoad) close() {
	l.stop()
	for _, c := range l.carriers {
		c.Close()
	}
}

func quickly(int) time.Duration { return 20 * time.Millisecond }

// client makes a client of the load's broker.
func (l *txnLoad) client(options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(l.bootstrap), kgo.RetryBackoffFn(quickly))...)
	if err != nil {
		panic(err) // the options are wrong
	}
	return client
}

func (l *txnLoad) produce(ctx context.Context, producer int) {
	random := rand.New(rand.NewPCG(l.seed, uint64(producer)+1))
	w := &txnWriter{load: l, producer: producer, random: random, isSlow: producer >= producers}
	defer func() {
		if w.client != nil {
			w.client.Close()
		}
	}()
	for number := int64(0); ctx.Err() == nil; number++ {
		if w.client == nil && !w.begin(ctx) {
			continue
		}
		if !w.transaction(ctx, number) {
			w.replace(ctx, number)
		}
	}
}

// txnWriter is one producer, with the client that it has now.
type txnWriter struct {
	load     *txnLoad
	producer int
	isSlow   bool
	random   *rand.Rand
	next     int64 // the next record

	client *kgo.Client
	isTwo  bool // it speaks the newer version of transactions
}

// begin makes a client, of the older or the newer version, and takes the transactional id.
func (w *txnWriter) begin(ctx context.Context) bool {
	timeout, options := txnTimeout, []kgo.Opt{}
	if w.isSlow {
		timeout = slowTimeout
	}
	w.isTwo = w.random.IntN(2) == 0 && w.load.level(ctx) >= 2
	if !w.isTwo {
		options = append(options, kgo.MaxVersions(kversion.V3_7_0()))
	}
	w.client = w.load.client(append(options, kgo.TransactionalID(w.id()), kgo.TransactionTimeout(timeout),
		kgo.DefaultProduceTopic(txnTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if _, _, err := w.client.ProducerID(ctx); err != nil {
		w.client.Close()
		w.client = nil
		return false
	}
	if w.isTwo {
		w.load.clients[1].Add(1)
	} else {
		w.load.clients[0].Add(1)
	}
	return true
}

func (w *txnWriter) id() string    { return fmt.Sprintf("chaos-%d", w.producer) }
func (w *txnWriter) group() string { return txnGroup(w.producer) }

func txnGroup(producer int) string { return fmt.Sprintf("chaos-group-%d", producer) }

// level is the version of transactions that the cluster has agreed on.
func (l *txnLoad) level(ctx context.Context) int16 {
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, l.carriers[1])
	if err != nil {
		return 0
	}
	for _, f := range response.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel
		}
	}
	return 0
}

// replace has another client take the transactional id. The one before may try to go on.
func (w *txnWriter) replace(ctx context.Context, number int64) {
	z := *w
	z.random = rand.New(rand.NewPCG(w.random.Uint64(), 0))
	id, epoch, err := z.client.ProducerID(ctx)
	w.next += zombieRecords
	for w.client = nil; w.client == nil && ctx.Err() == nil; {
		w.begin(ctx)
	}
	if err != nil || w.client == nil || z.random.IntN(2) == 0 {
		z.client.Close()
		return
	}
	w.load.zombies.Add(1)
	w.load.running.Go(func() {
		defer z.client.Close()
		z.haunt(ctx, number, id, epoch)
	})
}

// zombieRecords is how many records a replaced producer still writes.
const zombieRecords = 3

// haunt does what a producer does that was replaced and does not know: it writes, commits offsets, asks for a commit.
func (w *txnWriter) haunt(ctx context.Context, number int64, id int64, epoch int16) {
	ctx, cancel := context.WithTimeout(ctx, zombieWithin)
	defer cancel()
	h := w.load.history
	txn := h.Begin(w.producer, number)
	h.Fenced(txn)
	w.write(ctx, txn, zombieRecords)
	if w.random.IntN(2) == 0 && w.commitOffset(ctx, id, epoch, number) == nil {
		h.Obeyed(txn, "TxnOffsetCommit")
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = w.id(), id, epoch, true
	if response, err := end.RequestWith(ctx, w.load.carrier(w.isTwo)); err == nil && response.ErrorCode == 0 {
		h.Obeyed(txn, "EndTxn")
	}
}

// write writes records of a transaction into random partitions; the function it gives tells, after a flush, whether the
// broker has refused one.
func (w *txnWriter) write(ctx context.Context, txn *Txn, count int) (failed func() bool) {
	var refused atomic.Bool
	h := w.load.history
	for range count {
		id := RecordID{w.producer, w.next}
		w.next++
		partition := w.random.Int32N(partitions)
		h.Wrote(txn, id, partition)
		record := &kgo.Record{Partition: partition, Key: fmt.Append(nil, id), Value: id.Value()}
		w.client.Produce(ctx, record, func(r *kgo.Record, err error) {
			if err != nil {
				refused.Store(true)
				return
			}
			h.Acked(txn, id, r.Partition, r.Offset)
		})
	}
	return refused.Load
}

// transaction writes one transaction and ends it. false means that the client is of no more use.
func (w *txnWriter) transaction(ctx context.Context, number int64) bool {
	h := w.load.history
	txn := h.Begin(w.producer, number)
	if err := w.client.BeginTransaction(); err != nil {
		h.End(txn, false)
		return false
	}
	failed := w.write(ctx, txn, 1+w.random.IntN(20))
	dice := w.random.IntN(100)
	if dice < 5 { // left open, its records perhaps on their way
		h.End(txn, false)
		return false
	}
	err := w.client.Flush(ctx)
	if w.isSlow {
		pause(ctx, time.Duration(w.random.Int64N(int64(3*slowTimeout))))
	}
	isGood := err == nil && !failed()
	if isGood && w.random.IntN(2) == 0 {
		h.Offset(txn, number)
		isGood = w.commitOffsetNow(ctx, number) == nil
	}
	if !isGood || dice < 25 {
		err := w.client.AbortBufferedRecords(ctx)
		if err == nil {
			err = w.client.EndTransaction(ctx, kgo.TryAbort)
		}
		h.End(txn, false)
		return err == nil
	}
	h.Committing(txn)
	err = w.client.EndTransaction(ctx, kgo.TryCommit)
	h.End(txn, err == nil)
	return err == nil
}

func (w *txnWriter) commitOffsetNow(ctx context.Context, offset int64) error {
	id, epoch, err := w.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	return w.commitOffset(ctx, id, epoch, offset)
}

// carrier gives the client for requests of a version of transactions.
func (l *txnLoad) carrier(isTwo bool) *kgo.Client {
	if isTwo {
		return l.carriers[1]
	}
	return l.carriers[0]
}

// commitOffset commits an offset of the group in the transaction, for as many partitions as all do.
func (w *txnWriter) commitOffset(ctx context.Context, id int64, epoch int16, offset int64) error {
	carrier := w.load.carrier(w.isTwo)
	if !w.isTwo {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = w.id(), id, epoch, w.group()
		response, err := add.RequestWith(ctx, carrier)
		if err == nil {
			err = kerr.ErrorForCode(response.ErrorCode)
		}
		if err != nil {
			return err
		}
	}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = w.id(), id, epoch, w.group()
	commit.Generation = -1
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = txnTopic
	for p := range int32(txnGroupPartitions) {
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = p, offset
		topic.Partitions = append(topic.Partitions, partition)
	}
	commit.Topics = append(commit.Topics, topic)
	response, err := commit.RequestWith(ctx, carrier)
	if err != nil {
		return err
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause waits for a while, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (l *txnLoad) reader(level kgo.IsolationLevel, from func(partition int32) int64) *kgo.Client {
	at := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		at[p] = kgo.NewOffset().At(from(p))
	}
	return l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{txnTopic: at}),
		kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())) // where records are deleted
}

// note takes in what a reader was given.
func (l *txnLoad) note(fetches kgo.Fetches, isCommitted bool, observer string) {
	note := l.history.ReadDirty
	if isCommitted {
		note = l.history.Read
	}
	fetches.EachRecord(func(r *kgo.Record) { note(r.Partition, r.Offset, r.Value) })
	if !isCommitted || observer == "" {
		return
	}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err == nil {
			l.history.Stable(observer, p.Partition, p.LastStableOffset)
		}
	})
}

// follow reads along from the start.
func (l *txnLoad) follow(ctx context.Context, level kgo.IsolationLevel, isCommitted bool) {
	client := l.reader(level, func(int32) int64 { return 0 })
	defer client.Close()
	for ctx.Err() == nil {
		l.note(client.PollFetches(ctx), isCommitted, "who reads along")
	}
}

// jumpWithin bounds a look at some place of the logs, which may show nothing.
const jumpWithin = 300 * time.Millisecond

// jump reads a little, here and there.
func (l *txnLoad) jump(ctx context.Context, level kgo.IsolationLevel, isCommitted bool) {
	random := rand.New(rand.NewPCG(l.seed, 100))
	for ctx.Err() == nil {
		client := l.reader(level, func(p int32) int64 { return random.Int64N(l.history.StableNow(p) + 1) })
		within, cancel := context.WithTimeout(ctx, jumpWithin)
		for range 3 {
			l.note(client.PollFetches(within), isCommitted, "")
		}
		cancel()
		client.Close()
	}
}

// watch asks for the last stable offsets.
func (l *txnLoad) watch(ctx context.Context) {
	client := l.client()
	defer client.Close()
	for admin := kadm.NewClient(client); ctx.Err() == nil; pause(ctx, 2*time.Millisecond) {
		offsets, err := admin.ListCommittedOffsets(ctx, txnTopic)
		if err != nil {
			continue
		}
		offsets.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				l.history.Stable("who lists offsets", o.Partition, o.Offset)
			}
		})
	}
}

// watchGroups asks for the offsets of the groups: those that are committed by now, or those that no open transaction is
// about to change. The latter are not behind any transaction whose end was answered.
func (l *txnLoad) watchGroups(ctx context.Context) {
	client, random := l.client(), rand.New(rand.NewPCG(l.seed, 200))
	defer client.Close()
	for ; ctx.Err() == nil; pause(ctx, 2*time.Millisecond) {
		producer, isStable := random.IntN(producers+slowProducers), random.IntN(2) == 0
		floor := noGroupOffset
		if isStable {
			floor = l.history.GroupFloor(producer)
		}
		found, err := txnGroupOffsets(ctx, client, producer, isStable)
		if err != nil {
			continue
		}
		for p, offset := range found {
			l.history.Group("who asks for offsets", producer, p, offset, floor)
		}
	}
}

// txnGroupOffsets asks for the offsets of a producer's group.
func txnGroupOffsets(ctx context.Context, c *kgo.Client, producer int, isStable bool) (map[int32]int64, error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.RequireStable = isStable
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = txnGroup(producer)
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic = txnTopic
	for p := range int32(txnGroupPartitions) {
		topic.Partitions = append(topic.Partitions, p)
	}
	group.Topics = append(group.Topics, topic)
	request.Groups = append(request.Groups, group)
	response, err := request.RequestWith(ctx, c)
	if err != nil {
		return nil, err
	}
	found := map[int32]int64{}
	for _, g := range response.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, err
				}
				found[p.Partition] = p.Offset
			}
		}
	}
	return found, nil
}

// delete deletes records from the starts of the logs, at times those of transactions that are open yet.
func (l *txnLoad) delete(ctx context.Context) {
	client, random := l.client(), rand.New(rand.NewPCG(l.seed, 300))
	defer client.Close()
	for admin := kadm.NewClient(client); ctx.Err() == nil; pause(ctx, 200*time.Millisecond) {
		p := random.Int32N(partitions)
		ends, err := admin.ListEndOffsets(ctx, txnTopic)
		if err != nil {
			continue
		}
		end, _ := ends.Lookup(txnTopic, p)
		before := end.Offset - random.Int64N(max(end.Offset/4, 1))
		l.history.Deleting(p, before)
		request := kadm.Offsets{}
		request.AddOffset(txnTopic, p, before, -1)
		if answers, err := admin.DeleteRecords(ctx, request); err == nil && answers.Error() == nil {
			l.deletions.Add(1)
		}
	}
}
