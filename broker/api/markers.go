package api

import (
	"sync"
	"time"

	"spate/broker/purgatory"
	"spate/coordinator/runtime"
	"spate/internal/invariant"
	"spate/kafka"
	"spate/kafka/record"
	"spate/partition"
	"spate/replica"
	"spate/replica/state"
)

// Marker ends the transaction of a producer, in the partitions that it is written to.
type Marker struct {
	ProducerID         kafka.ProducerID
	ProducerEpoch      kafka.ProducerEpoch
	Commit             bool
	CoordinatorEpoch   int32
	TransactionVersion int16 // that the producer works by
}

// WriteMarker writes a marker to partitions that this broker leads. done gets an error for each of them, in their order
// and from any goroutine: nil once the marker is committed. A partition that is not here is
// UNKNOWN_TOPIC_OR_PARTITION. WriteMarker does not wait.
func (n *Node) WriteMarker(m Marker, partitions []kafka.TopicPartition, done func(errs []error)) {
	o := &markerOp{
		node: n, marker: m, partitions: partitions, done: done, left: len(partitions) + 1,
		errs: make([]error, len(partitions)), jobs: make([]markerJob, len(partitions)),
	}
	o.Init(o)
	for i := range partitions {
		if o.isOfGroups(i) {
			o.askGroups(i)
		}
	}
	if !n.Workers.Put(o) {
		o.refuse() // the broker is shutting down
	}
}

// markerOp is one marker on its way: a worker writes it, and workers look for what is committed.
type markerOp struct {
	purgatory.Operation
	node       *Node
	marker     Marker
	partitions []kafka.TopicPartition
	done       func(errs []error)
	begun      bool // a worker writes it, or has done so

	mu     sync.Mutex
	parked bool // in purgatory
	left   int  // partitions that are not decided, and one more before the writing has ended
	waits  int  // partitions that wait for the high watermark
	errs   []error
	jobs   []markerJob
}

// markerJob is the marker in one partition.
type markerJob struct {
	replica *replica.Replica // nil unless it waits for the high watermark
	end     kafka.Offset
}

// Work writes the marker, and later looks for what has become of it. Any worker.
func (o *markerOp) Work() {
	if !o.begun {
		o.begun = true
		o.write()
		return
	}
	o.mu.Lock()
	if o.Resume() {
		o.look(o.Expired())
	}
	o.settle()
}

// Wake has a worker look. Any goroutine.
func (o *markerOp) Wake() {
	if !o.node.Workers.Put(o) {
		o.Work() // the broker is shutting down, and the operation has expired
	}
}

// settle lets go of mu, and answers if all partitions are decided.
func (o *markerOp) settle() {
	if o.parked && o.waits == 0 {
		o.parked = false
		o.Stop() // a wake-up that is on its way finds that there is nothing to do
	}
	isDone := o.left == 0
	if isDone {
		o.left = -1
	}
	o.mu.Unlock()
	if isDone {
		o.done(o.errs)
	}
}

// decide notes what became of a partition.
func (o *markerOp) decide(i int, err error) {
	o.errs[i] = err
	o.left--
}

// refuse is write for a broker that writes no more.
func (o *markerOp) refuse() {
	o.mu.Lock()
	for i := range o.partitions {
		if !o.isOfGroups(i) {
			o.decide(i, kafka.NotLeaderOrFollower)
		}
	}
	o.left--
	o.settle()
}

// write appends the marker to each partition, and parks until the high watermarks have passed it.
func (o *markerOp) write() {
	now := o.node.Clock.Now()
	errs := make([]error, len(o.partitions))
	batch := o.marker.batch(kafka.Timestamp(now.UnixMilli()))
	for i := range o.partitions {
		if !o.isOfGroups(i) {
			o.jobs[i], errs[i] = o.append(i, batch, kafka.Timestamp(now.UnixMilli()))
		}
	}
	o.mu.Lock()
	for i, err := range errs {
		if err != nil {
			o.decide(i, err)
		}
		if o.jobs[i].replica != nil {
			o.waits++
		}
	}
	o.left--
	if o.waits > 0 {
		o.park(now)
	}
	o.settle()
}

// park waits for the high watermarks. The caller holds mu.
func (o *markerOp) park(now time.Time) {
	o.parked = true
	o.Start(o.node.Produces, now.Add(markerWaitMax), o.waits)
	for i := range o.jobs {
		if job := &o.jobs[i]; job.replica != nil {
			list := watchers(job.replica)
			o.Watch(list, list.Changes(), job.end)
		}
	}
	o.look(false) // the marks and the leaders may have changed before the operation was on the lists
}

// markerWaitMax is how long a marker waits for the high watermark: the default of request.timeout.ms.
const markerWaitMax = 30 * time.Second

// batch is the control batch of the marker.
func (m *Marker) batch(now kafka.Timestamp) record.Batch {
	producer := record.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch, Sequence: kafka.NoSequence}
	w := record.NewBuilder(record.BuilderOptions{Producer: &producer, Transactional: true, Control: true})
	kind := record.ControlAbort
	if m.Commit {
		kind = record.ControlCommit
	}
	w.AppendEndTxnMarker(now, kind, m.CoordinatorEpoch)
	b, err := w.Build()
	invariant.Check(err == nil, "a marker cannot be built: %v", err)
	return b
}

// append appends the marker to one partition. The log writes its offset into the batch, and copies the bytes.
func (o *markerOp) append(i int, batch record.Batch, now kafka.Timestamp) (markerJob, error) {
	r, err := o.node.hosted(o.partitions[i].Topic, o.partitions[i].Partition)
	if err != nil || r.View().Unavailable != nil {
		return markerJob{}, kafka.UnknownTopicOrPartition // as in Kafka: there is no such partition online here
	}
	appended, err := r.Append(batch, replica.AppendOptions{
		Acks: replica.AcksAll, Origin: partition.OriginCoordinator, Now: now, TxnVersion: o.marker.TransactionVersion,
	})
	if err != nil {
		return markerJob{}, err
	}
	return markerJob{r, appended.EndOffset}, nil
}

// isOfGroups tells whether a partition belongs to the coordinators of groups.
func (o *markerOp) isOfGroups(i int) bool { return o.partitions[i].Topic == kafka.ConsumerOffsetsTopic }

// askGroups has the coordinator of a partition's groups write the marker: it follows what is in its partition.
func (o *markerOp) askGroups(i int) {
	m := &o.marker
	o.node.Groups.SubmitTo(o.partitions[i].Partition, runtime.EndTransaction{
		ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, Commit: m.Commit,
		CoordinatorEpoch: m.CoordinatorEpoch, TxnVersion: m.TransactionVersion,
	}, groupMarker{o, i})
}

// groupMarker takes what a coordinator of groups says of its marker.
type groupMarker struct {
	op *markerOp
	i  int
}

// Done notes the answer.
func (g groupMarker) Done(_ any, err error) {
	switch kafka.CodeOf(err) {
	case kafka.NotCoordinator.Code, kafka.CoordinatorLoadInProgress.Code, kafka.CoordinatorNotAvailable.Code:
		err = kafka.NotLeaderOrFollower
	}
	g.op.mu.Lock()
	g.op.decide(g.i, err)
	g.op.settle()
}

// look decides about the partitions whose high watermark has passed the marker, or whose leader has gone. The caller
// holds mu.
func (o *markerOp) look(expired bool) {
	for i := range o.jobs {
		job := &o.jobs[i]
		if job.replica == nil {
			continue
		}
		v := job.replica.View()
		var err error
		switch {
		case v.Unavailable != nil:
			err = v.Unavailable
		case v.Role != state.Leader:
			err = kafka.NotLeaderOrFollower
		case v.Log.HighWatermark() >= job.end:
		case expired:
			err = kafka.RequestTimedOut
		default:
			continue
		}
		job.replica = nil
		o.waits--
		o.decide(i, err)
	}
}
