package api

import (
	"time"

	"spate/coordinator/txn"
	"spate/kafka"
	"spate/kafka/record"
	"spate/partition"
)

// Records of a transaction go into a partition only if the transaction's coordinator knows of it: a client before
// transaction.version 2 has told it by AddPartitionsToTxn, and the coordinator is asked whether that was so; for a
// later client the coordinator is told here. It is asked with the first batch of a transaction in a partition. The
// connection is paused meanwhile.

// The versions of Produce that tell which transactions a client speaks.
const (
	produceAbortable = 11 // knows TRANSACTION_ABORTABLE
	produceAdds      = 12 // has its partitions added by the broker
)

// verifyState is how far a request is with asking its transaction's coordinator.
type verifyState struct {
	step     verifyStep
	producer kafka.ProducerID
	epoch    kafka.ProducerEpoch
	since    time.Time
	waited   time.Duration // for the coordinator, in all
	said     said
}

type verifyStep uint8

const (
	notAsking verifyStep = iota
	beginning            // writers ask the logs, and then Run goes on
	asking               // the next Run brings the answer
)

// hasProducer tells whether records are of a transaction that is to be verified.
func hasProducer(records []byte) bool {
	return isTransactional(records) && record.Batch(records).HasProducerID()
}

// mustVerify tells whether the coordinator is to be asked about some partition of the request, or may have to be.
func (o *produceOp) mustVerify() bool {
	if !o.findProducer() {
		return false
	}
	o.asks.since = o.node.Clock.Now()
	return o.beginVerification()
}

// findProducer finds the producer of the transaction, if there is one. There may be one in a request.
func (o *produceOp) findProducer() bool {
	found := false
	for i := range o.jobs {
		job := &o.jobs[i]
		if job.step != jobToAppend || !hasProducer(job.records) {
			continue
		}
		b := record.Batch(job.records)
		if found && (b.ProducerID() != o.asks.producer || b.ProducerEpoch() != o.asks.epoch) {
			o.refuseAll(errTwoProducers)
			return false
		}
		o.asks.producer, o.asks.epoch, found = b.ProducerID(), b.ProducerEpoch(), true
	}
	return found
}

// errTwoProducers is Kafka's answer to transactions of two producers in one request.
var errTwoProducers = &reasoned{
	kafka.InvalidProducerIDMapping, "Transactional records contained more than one producer ID",
}

// refuseAll answers every partition with an error.
func (o *produceOp) refuseAll(err error) {
	for i := range o.jobs {
		o.fail(i, err)
	}
}

// beginVerification asks the logs of the request what there is to ask the coordinator, and leaves the logs that would
// keep the loop from its other connections. It tells whether there is something to ask or a log left.
func (o *produceOp) beginVerification() bool {
	goesOn := false
	for i := range o.jobs {
		job := &o.jobs[i]
		job.begun = job.step != jobToAppend || !hasProducer(job.records)
		if log := job.log(); !job.begun && log != nil && log.Slow() {
			goesOn = true
			continue
		}
		o.beginOne(i)
		goesOn = goesOn || job.asks()
	}
	return goesOn
}

// log is where the job's records go, or nil.
func (j *appendJob) log() *partition.Log {
	if j.replica == nil {
		return nil
	}
	return j.replica.View().Log
}

// beginOne asks the log of one job. Loop, or a writer while the loop leaves the operation alone.
func (o *produceOp) beginOne(i int) {
	job := &o.jobs[i]
	if job.begun {
		return
	}
	job.begun = true
	number, err := job.replica.BeginVerification(partition.Verifying{
		ProducerID: o.asks.producer, ProducerEpoch: o.asks.epoch,
		Sequence: record.Batch(job.records).BaseSequence(), BumpsEpoch: o.version >= produceAdds,
	})
	if err != nil {
		o.fail(i, err)
		return
	}
	job.verification = number
}

// beginIn asks the logs of one directory, on its writer's goroutine.
func (o *produceOp) beginIn(dir *partition.LogDir) {
	for i := range o.jobs {
		job := &o.jobs[i]
		if log := job.log(); !job.begun && log != nil && log.Dir() == dir {
			o.beginOne(i)
		}
	}
	if !o.beginNext() {
		o.conn.Post(o)
	}
}

// beginNext hands the operation to the writer of the next directory whose logs are to be asked.
func (o *produceOp) beginNext() bool {
	o.asks.step = beginning
	for i := range o.jobs {
		job := &o.jobs[i]
		if job.begun {
			continue
		}
		if log := job.log(); log != nil && o.node.Writers.put(log.Dir(), o) {
			return true
		}
		o.fail(i, kafka.KafkaStorageError)
		job.begun = true
	}
	return false
}

// verify has the logs asked that were left, and then the coordinator.
func (o *produceOp) verify() {
	switch {
	case o.beginNext():
	case o.mustAsk():
		o.ask()
	default:
		o.conn.Post(o) // the broker is shutting down, and nothing is left to append
	}
}

func (o *produceOp) mustAsk() bool {
	for i := range o.jobs {
		if o.jobs[i].asks() {
			return true
		}
	}
	return false
}

// ask asks the coordinator about the partitions that have the number of a question.
func (o *produceOp) ask() {
	o.asks.step = asking
	question := txn.AddPartitions{
		ProducerID: o.asks.producer, Epoch: o.asks.epoch, VerifyOnly: o.version < produceAdds,
	}
	if o.version >= produceAdds {
		question.ClientVersion = 2
		question.Wait = o.node.Config.Get().Duration("add.partitions.to.txn.retry.backoff.max.ms")
	}
	for i := range o.jobs {
		if job := &o.jobs[i]; job.asks() {
			question.Partitions = append(question.Partitions, job.replica.TopicPartition())
		}
	}
	id := string(o.request.TransactionalID)
	if o.node.Txns == nil || o.node.Txns.PartitionFor(id) < 0 {
		o.Done(nil, kafka.CoordinatorNotAvailable)
		return
	}
	o.node.Txns.Submit(id, txn.Command{ID: id, Body: question}, o)
}

// asks tells whether the coordinator is asked about the job.
func (j *appendJob) asks() bool {
	return j.step == jobToAppend && j.verification != partition.NoVerification
}

// Done takes the coordinator's answer. Any goroutine.
func (o *produceOp) Done(body any, err error) {
	o.asks.said = said{body, err}
	o.conn.Post(o)
}

// goOnAsking asks the coordinator when the logs are asked, or takes its answer.
func (o *produceOp) goOnAsking() {
	step := o.asks.step
	o.asks.step = notAsking
	switch {
	case o.conn.Closed():
		if step == asking {
			o.noteVerified()
		}
		o.endDetour()
		return
	case step == beginning && o.mustAsk():
		o.ask()
		return
	case step == asking:
		o.noteVerified()
	}
	o.asks.waited = o.node.Clock.Now().Sub(o.asks.since)
	if o.append() {
		o.passOn()
		return
	}
	o.endDetour()
}

// noteVerified refuses the partitions about which the coordinator did not say yes.
func (o *produceOp) noteVerified() {
	reply, _ := o.asks.said.body.(txn.AddPartitionsReply)
	asked := 0
	for i := range o.jobs {
		job := &o.jobs[i]
		if !job.asks() {
			continue
		}
		err := o.asks.said.err
		if err == nil {
			err = reply.Errs[asked]
		}
		asked++
		if err != nil {
			endVerification(job.log(), o.asks.producer, job.verification, err)
			o.fail(i, o.unverified(err))
		}
	}
	o.asks.said = said{}
}

// endVerification lets a log forget a question that the coordinator has answered with a no that stays one. A log that
// would have to be waited for forgets it by itself, later.
func endVerification(log *partition.Log, id kafka.ProducerID, number partition.Verification, why error) {
	if kafka.CodeOf(why) == kafka.InvalidProducerIDMapping.Code && log != nil && !log.Slow() {
		log.EndVerification(id, number)
	}
}

// unverified is what a client is told of a coordinator's no, in the version of its request.
func (o *produceOp) unverified(err error) error {
	code := kafka.CodeOf(err)
	switch code {
	case kafka.ProducerFenced.Code:
		return kafka.InvalidProducerEpoch
	case kafka.TransactionAbortable.Code:
		if o.version >= produceAbortable {
			return kafka.TransactionAbortable
		}
		code = kafka.InvalidTxnState.Code
	case kafka.ConcurrentTransactions.Code:
		if o.version >= produceAdds {
			return kafka.ConcurrentTransactions
		}
	case kafka.RecordListTooLarge.Code: // the coordinator's own, see groupCode
		return kafka.UnknownServerError
	}
	switch code {
	case kafka.InvalidTxnState.Code:
		return &reasoned{kafka.InvalidTxnState, "Partition was not added to the transaction"}
	case kafka.NetworkException.Code, kafka.CoordinatorLoadInProgress.Code, kafka.CoordinatorNotAvailable.Code,
		kafka.NotCoordinator.Code, kafka.ConcurrentTransactions.Code:
		return &reasoned{kafka.NotEnoughReplicas, "Unable to verify the partition has been added to the transaction. " +
			"Underlying error: " + kafka.ErrorOf(code).Error()}
	}
	return err
}
