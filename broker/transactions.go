package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"spate/broker/api"
	"spate/coordinator/runtime"
	"spate/coordinator/txn"
	"spate/internal/metrics"
	"spate/kafka"
	"spate/metadata/image"
)

// transactionVersion is the feature that says which version of transactions the cluster has agreed on.
const transactionVersion = "transaction.version"

// transactionVersionMax is the level at which the brokers add partitions to transactions, and each end of one raises
// the epoch of its producer (KIP-890).
const transactionVersionMax = 2

// transactions are what this broker does for transactional producers: it runs a coordinator for each partition of
// __transaction_state that it leads, and carries out what they ask for.
type transactions struct {
	leading
	lives atomic.Uint64 // machines that were made

	ended            [txn.Again]*metrics.Counter // by cause
	markerTime       *metrics.Histogram
	written, refused *metrics.Counter // markers

	mu      sync.Mutex
	running map[string]*markerErrand // by transactional id
}

func newTransactions(b *Broker) *transactions {
	t := &transactions{
		leading: leading{broker: b, topic: kafka.TransactionStateTopic}, running: map[string]*markerErrand{},
	}
	t.host = runtime.NewHost(runtime.Options{
		Clock: b.env.Clock, Log: b.env.Log, Topic: t.topic, NewMachine: t.newMachine, Do: t.do,
		LoadTime:   b.registry.Histogram(metrics.CoordinatorLoadTime, ofTransactions),
		CommitTime: b.registry.Histogram(metrics.CoordinatorTime, ofTransactions),
	})
	for cause := range t.ended {
		t.ended[cause] = b.registry.Counter(metrics.TransactionsEnded, txn.Cause(cause).String())
	}
	t.markerTime = b.registry.Histogram(metrics.MarkerTime)
	t.written = b.registry.Counter(metrics.MarkersWritten)
	t.refused = b.registry.Counter(metrics.MarkersRefused)
	return t
}

func (t *transactions) start() {
	t.leading.start(func(next *image.Image, d *image.Delta) {
		if d.FeaturesChanged {
			t.host.Broadcast(txn.Version{Level: next.Feature(transactionVersion)})
		}
	})
}

// newMachine makes the machine of one partition.
func (t *transactions) newMachine(kafka.PartitionIndex) runtime.Machine {
	c := t.broker.config.Get().Transactions()
	return txn.NewShard(txn.Options{
		TimeoutMaxMs: c.TimeoutMaxMs, AbortInterval: c.AbortInterval,
		Expiration: c.Expiration, ExpiryInterval: c.ExpiryCheck,
		Version: t.broker.metadata.Image().Feature(transactionVersion),
		Life:    t.lives.Add(1),
	})
}

// do takes a task of a shard. One that comes while the broker shuts down is dropped: the next shard of the partition
// asks again.
func (t *transactions) do(p kafka.PartitionIndex, epoch kafka.LeaderEpoch, task any) {
	switch task := task.(type) {
	case txn.WriteMarkers:
		if task.Cause != txn.Again {
			t.ended[task.Cause].Add(1)
		}
		t.write(&markerErrand{transactions: t, shard: p, epoch: epoch, task: task, since: t.broker.env.Clock.Now()})
	case txn.AllocateProducerID:
		t.broker.node.Workers.Put(&idErrand{transactions: t, shard: p, task: task})
	}
}

// markerErrand has markers written.
type markerErrand struct {
	*transactions
	shard kafka.PartitionIndex
	epoch kafka.LeaderEpoch
	task  txn.WriteMarkers
	since time.Time
	next  *markerErrand // waits for this one to end
}

// write begins with an errand, or lets it wait for the one before of the same transactional id: a shard that was
// loaded anew asks for what its predecessor has asked for too. It believes only the answer to what it asked last, which
// comes when all that was asked before has been done: a marker that is written after that would end a transaction that
// has begun since. Of errands that wait the last suffices.
func (t *transactions) write(e *markerErrand) {
	t.mu.Lock()
	before := t.running[e.task.ID]
	if before != nil {
		before.next = e
	} else {
		t.running[e.task.ID] = e
	}
	t.mu.Unlock()
	if before == nil {
		e.begin()
	}
}

func (e *markerErrand) begin() {
	e.broker.node.WriteMarker(api.Marker{
		ProducerID: e.task.ProducerID, ProducerEpoch: e.task.Epoch, Commit: e.task.Commit,
		CoordinatorEpoch: int32(e.epoch), TransactionVersion: e.task.ClientVersion,
	}, e.task.Partitions, e.written)
}

// written tells the shard. A partition whose topic is deleted needs no marker.
func (e *markerErrand) written(errs []error) {
	img := e.broker.metadata.Image()
	e.count(errs)
	for i, p := range e.task.Partitions {
		if errs[i] != nil && img.Partition(p.Topic, p.Partition) == nil {
			errs[i] = nil
		}
	}
	e.mu.Lock()
	next := e.next
	if next != nil {
		e.running[e.task.ID] = next
	} else {
		delete(e.running, e.task.ID)
	}
	e.mu.Unlock()
	e.tell(e.shard, txn.Command{ID: e.task.ID, Body: txn.Markers{Asked: e.task, Errs: errs}})
	if next != nil {
		next.begin()
	}
}

func (e *markerErrand) count(errs []error) {
	for _, err := range errs {
		if err == nil {
			e.transactions.written.Add(1)
		} else {
			e.refused.Add(1)
		}
	}
	e.markerTime.Observe(e.broker.env.Clock.Now().Sub(e.since))
}

// pending is how many transactions have markers under way.
func (t *transactions) pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running)
}

// report is how much all coordinators here hold.
func (t *transactions) report() txn.Report {
	var sum txn.Report
	for _, s := range t.host.Shards() {
		r, _ := s.Report.(txn.Report) // zero while it loads
		for state, n := range r.States {
			sum.States[state] += n
		}
	}
	return sum
}

// idErrand gets a fresh producer id.
type idErrand struct {
	*transactions
	shard kafka.PartitionIndex
	task  txn.AllocateProducerID
}

// Work runs on a worker. Without an id nothing is told: the shard asks again with its next look at what takes too
// long.
func (e *idErrand) Work() {
	fresh, err := e.broker.node.FreshProducerID()
	if err != nil {
		return
	}
	e.task.Expire.Fresh = fresh
	e.tell(e.shard, txn.Command{ID: e.task.ID, Body: e.task.Expire})
}

// A shard whose queue is full is told again, soon: transactions wait for it. One whose log is corrupt answers in the
// same way, and takes nothing until another broker leads it; a word every few seconds costs it little.
const (
	tellAgainMin = 100 * time.Millisecond
	tellAgainMax = 2 * time.Second
)

// tell gives a shard what came of a task.
func (t *transactions) tell(shard kafka.PartitionIndex, cmd txn.Command) {
	(&telling{transactions: t, shard: shard, cmd: cmd, again: tellAgainMin}).tell()
}

// telling sees to it that a shard is told. One that is loaded anew meanwhile asks again by itself.
type telling struct {
	*transactions
	shard kafka.PartitionIndex
	cmd   txn.Command
	again time.Duration // until the next try, if this one fails
}

func (d *telling) tell() { d.host.SubmitTo(d.shard, d.cmd, d) }

// Done tells a full queue again.
func (d *telling) Done(_ any, err error) {
	switch kafka.CodeOf(err) {
	case kafka.NoError, kafka.NotCoordinator.Code, kafka.CoordinatorLoadInProgress.Code:
	default:
		again := d.again
		d.again = min(2*again, tellAgainMax)
		d.broker.env.Clock.AfterFunc(again, d.tell)
	}
}
