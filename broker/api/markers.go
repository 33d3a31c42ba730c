package api

import (
	"slices"
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
	dirs := o.find()
	o.writing = len(dirs) + 1 // one more, so that it does not end before all have been told
	for _, dir := range dirs {
		if !n.Writers.put(dir, o) {
			o.refuse(dir) // the broker is shutting down
		}
	}
	for i := range partitions {
		if o.isOfGroups(i) {
			o.askGroups(i)
		}
	}
	o.mu.Lock()
	o.wrote()
}

// markerOp is one marker on its way: the writers of the log directories write it, so that a disk which does not answer
// holds up no others, and workers look for what is committed.
type markerOp struct {
	purgatory.Operation
	node       *Node
	marker     Marker
	partitions []kafka.TopicPartition
	done       func(errs []error)

	mu      sync.Mutex
	parked  bool // in purgatory
	writing int  // directories in which it is being written
	left    int  // partitions that are not decided, and one more before the writing has ended
	waits   int  // partitions that wait for the high watermark
	errs    []error
	jobs    []markerJob
}

// markerJob is the marker in one partition.
type markerJob struct {
	dir     *partition.LogDir // whose writer writes it, or nil
	replica *replica.Replica  // nil unless it is to be written or waits for the high watermark
	end     kafka.Offset
}

// find finds the partitions and lists their directories. The partitions of groups are not looked for.
func (o *markerOp) find() (dirs []*partition.LogDir) {
	for i := range o.partitions {
		if o.isOfGroups(i) {
			continue
		}
		r, err := o.node.hosted(o.partitions[i].Topic, o.partitions[i].Partition)
		if err != nil {
			o.decide(i, kafka.UnknownTopicOrPartition) // as in Kafka: there is no such partition online here
			continue
		}
		v := r.View()
		if v.Unavailable != nil || v.Log == nil {
			o.decide(i, kafka.UnknownTopicOrPartition)
			continue
		}
		o.jobs[i] = markerJob{dir: v.Log.Dir(), replica: r}
		if !slices.Contains(dirs, v.Log.Dir()) {
			dirs = append(dirs, v.Log.Dir())
		}
	}
	return dirs
}

// Work looks for what has become of the marker. Any worker.
func (o *markerOp) Work() {
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

// refuse is workIn for a broker that writes no more.
func (o *markerOp) refuse(dir *partition.LogDir) {
	o.mu.Lock()
	for i := range o.jobs {
		if job := &o.jobs[i]; job.dir == dir {
			job.replica = nil
			o.decide(i, kafka.NotLeaderOrFollower)
		}
	}
	o.wrote()
}

// workIn appends the marker to each partition in a directory.
func (o *markerOp) workIn(dir *partition.LogDir) {
	now := kafka.Timestamp(o.node.Clock.Now().UnixMilli())
	batch := o.marker.batch(now)
	errs := make([]error, len(o.jobs))
	for i := range o.jobs {
		if o.jobs[i].dir == dir {
			errs[i] = o.append(&o.jobs[i], batch, now)
		}
	}
	o.mu.Lock()
	for i := range o.jobs {
		switch job := &o.jobs[i]; {
		case job.dir != dir:
		case errs[i] != nil:
			job.replica = nil
			o.decide(i, errs[i])
		default:
			o.waits++
		}
	}
	o.wrote()
}

// wrote notes that the marker is written in a directory. After the last one it parks until the high watermarks have
// passed. It lets go of mu.
func (o *markerOp) wrote() {
	if o.writing--; o.writing == 0 {
		o.left--
		if o.waits > 0 {
			o.park()
		}
	}
	o.settle()
}

// park waits for the high watermarks. The caller holds mu.
func (o *markerOp) park() {
	o.parked = true
	o.Start(o.node.Produces, o.node.Clock.Now().Add(markerWaitMax), o.waits)
	for i := range o.jobs {
		if job := &o.jobs[i]; job.replica != nil {
			list := watchers(job.replica)
			o.Watch(list, list.Changes(), job.end)
		}
	}
	// The marks and the leaders may have changed before the operation was on the lists; and while the broker shuts down
	// its time has run out already.
	o.look(o.Expired())
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
func (o *markerOp) append(job *markerJob, batch record.Batch, now kafka.Timestamp) error {
	appended, err := job.replica.Append(batch, replica.AppendOptions{
		Acks: replica.AcksAll, Origin: partition.OriginCoordinator, Now: now, TxnVersion: o.marker.TransactionVersion,
	})
	job.end = appended.EndOffset
	return err
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
