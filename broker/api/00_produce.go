package api

import (
	"errors"
	"slices"
	"time"

	"spate/kafka"
	"spate/kafka/record"
	"spate/kafka/wire"
	"spate/netpoll"
	"spate/partition"
	"spate/replica"
)

// Produce: parse, append to each partition, answer. Acks 0 and 1 are answered after the append. Acks all is answered
// when the high watermark has passed every append of the request: at once where a copy in the page cache counts, else
// after the flush, for which the operation waits in purgatory. Appends to a log directory that is slow are made by that
// directory's writer, while the connection is paused so that its next request does not overtake them.

// produceOp is one Produce request from its arrival until its response has left.
type produceOp struct {
	parked
	frame    Frame // taken, while writers append
	request  wire.ProduceRequest
	response wire.ProduceResponse
	results  []wire.ProducePartitionResponse // backs response.Topics[i].Partitions
	jobs     []appendJob                     // one for each of results
	names    []byte                          // backs the names of topics that are not known here
	failed   bool                            // some partition has an error
	waits    int                             // jobs that wait for the high watermark
	asks     verifyState
	bytes    int           // of the request
	busy     time.Duration // on a thread, until the appends were done
	pieces   [1]netpoll.Piece
	buf      []byte
}

// appendJob is the records for one partition and what became of them. Its answer is the result of the same number.
type appendJob struct {
	replica *replica.Replica
	records []byte
	step    jobStep
	end     kafka.Offset // the high watermark that acks=all waits for; NoOffset if nothing was appended
	watch   int          // which watch of the operation is this job's

	// verification is the number under which the transaction's coordinator is asked; begun says that the log was asked
	// for it, or need not be.
	verification partition.Verification
	begun        bool
}

type jobStep uint8

const (
	jobToAppend jobStep = iota // its turn has not come, or a writer's has not
	jobWaiting                 // it is appended, and waits for the high watermark
	jobDone                    // its result stands
)

func produce(c *Context) error {
	o, _ := c.Node.produces.Get().(*produceOp)
	if o == nil {
		o = &produceOp{}
		o.self = o
		o.Init(o)
	}
	o.begin(c)
	if err := o.request.Parse(c.Header.Version, c.Body); err != nil && !wire.OnlyLeftOver(err) {
		o.recycle()
		return err
	}
	o.stage(o.meter().decode)
	o.bytes = requestBytes(c)
	o.resolve(c)
	if o.request.TransactionalID != nil && o.mustVerify() {
		o.takeFrame(c)
		o.verify()
		return nil
	}
	if o.append() {
		o.takeFrame(c)
		o.passOn()
		return nil
	}
	return o.finish()
}

func (o *produceOp) meter() *Meter { return o.node.Meters.Of(wire.KeyProduce) }

// resolve finds the replica for each partition of the request and lays out the response.
func (o *produceOp) resolve(c *Context) {
	unauthorized := o.request.TransactionalID == nil && o.hasTransactional()
	o.results = slices.Grow(o.results, o.partitionCount()) // it does not move while topics point into it
	for i := range o.request.Topics {
		t := &o.request.Topics[i]
		topic, missing := o.findTopic(t)
		switch {
		case unauthorized:
			missing = kafka.TransactionalIDAuthorizationFailed
		case topic != nil && topic.Internal && string(c.Header.ClientID) != adminClientID:
			missing = kafka.InvalidTopicException
		}
		first := len(o.results)
		for j := range t.Partitions {
			o.addJob(topic, &t.Partitions[j], missing)
		}
		o.response.Topics = append(o.response.Topics, wire.ProduceTopicResponse{
			Name: o.keepName(topic, t.Name), ID: t.ID, Partitions: o.results[first:],
		})
	}
}

func (o *produceOp) partitionCount() int {
	n := 0
	for i := range o.request.Topics {
		n += len(o.request.Topics[i].Partitions)
	}
	return n
}

// adminClientID is the client id under which Kafka's own services write to internal topics.
const adminClientID = "__admin_client"

// hasTransactional tells whether a batch of the request belongs to a transaction.
func (o *produceOp) hasTransactional() bool {
	for i := range o.request.Topics {
		partitions := o.request.Topics[i].Partitions
		for j := range partitions {
			if isTransactional(partitions[j].Records) {
				return true
			}
		}
	}
	return false
}

func isTransactional(records []byte) bool {
	return len(records) >= record.HeaderBytes && record.Batch(records).IsTransactional()
}

func (o *produceOp) findTopic(t *wire.ProduceTopic) (*replica.Topic, error) {
	if t.Name == nil {
		topic := o.node.Replicas.TopicByID(t.ID)
		if topic == nil {
			return nil, kafka.UnknownTopicID
		}
		return topic, nil
	}
	topic := o.node.Replicas.Topic(t.Name)
	if topic == nil {
		return nil, kafka.UnknownTopicOrPartition
	}
	return topic, nil
}

// keepName gives a topic's name as bytes that outlive the request.
func (o *produceOp) keepName(topic *replica.Topic, name []byte) []byte {
	if topic != nil {
		return topic.NameBytes
	}
	first := len(o.names)
	o.names = append(o.names, name...)
	return o.names[first:]
}

// addJob lays out one partition's answer and the work that leads to it. missing is why there is no work.
func (o *produceOp) addJob(topic *replica.Topic, p *wire.ProducePartition, missing error) {
	o.results = append(o.results, wire.ProducePartitionResponse{
		Index: p.Index, BaseOffset: kafka.NoOffset, LogAppendTime: kafka.NoTimestamp, LogStartOffset: kafka.NoOffset,
	})
	job := appendJob{records: p.Records, end: kafka.NoOffset}
	if missing == nil {
		job.replica = topic.Partition(p.Index)
		missing = o.vet(topic, &job, p)
	}
	o.jobs = append(o.jobs, job)
	if missing != nil {
		o.fail(len(o.jobs)-1, missing)
	}
}

// vet says what is wrong with a partition of the request before its log is asked.
func (o *produceOp) vet(topic *replica.Topic, job *appendJob, p *wire.ProducePartition) error {
	if job.replica == nil {
		if o.node.elsewhere(topic.ID, p.Index) {
			return kafka.NotLeaderOrFollower
		}
		return kafka.UnknownTopicOrPartition
	}
	if _, err := record.Single(p.Records); err != nil {
		return err
	}
	if o.request.Acks < replica.AcksAll || o.request.Acks > 1 {
		return kafka.InvalidRequiredAcks
	}
	return nil
}

// reasoned is a protocol error with a sentence for the client.
type reasoned struct {
	error
	reason string
}

// Unwrap gives the protocol error.
func (e *reasoned) Unwrap() error { return e.error }

// append does the appends, and leaves those that would keep the loop from its other connections.
func (o *produceOp) append() (left bool) {
	for i := range o.jobs {
		job := &o.jobs[i]
		if job.step != jobToAppend {
			continue
		}
		if job.takesLong() {
			left = true
			continue
		}
		o.appendOne(i)
	}
	return left
}

// takesLong tells whether the append is one for a writer: the disk is slow, the log is about to change its directory,
// or the batch has to be packed anew.
func (j *appendJob) takesLong() bool {
	log := j.replica.View().Log
	return log != nil && (log.Slow() || isRewritten(log.Config().Compression, j.records))
}

// rewriteBytes is how large an uncompressed batch may be to be compressed on a loop: a few hundred microseconds' work.
const rewriteBytes = 64 << 10

// isRewritten tells whether a topic's codec makes much work of a batch: one that is compressed otherwise may unpack to
// very much, one that is not compressed takes time by its size.
func isRewritten(c record.Compression, records []byte) bool {
	if !c.Fixed {
		return false
	}
	codec := record.Batch(records).Codec()
	return codec != c.Codec && (codec != record.None || len(records) > rewriteBytes)
}

// appendOne appends the records of one job and notes the result. Loop, or a writer while the loop leaves the operation
// alone.
func (o *produceOp) appendOne(i int) {
	job, result := &o.jobs[i], &o.results[i]
	appended, err := job.replica.Append(job.records, replica.AppendOptions{
		Acks: o.request.Acks, Origin: partition.OriginClient,
		Now: kafka.Timestamp(o.received.UnixMilli()), ProduceVersion: o.version, Verification: job.verification,
	})
	if err != nil {
		o.fail(i, err)
		o.tellLogStart(i)
		return
	}
	job.step = jobDone
	job.end = appended.EndOffset
	result.BaseOffset = appended.BaseOffset
	result.LogAppendTime = appended.LogAppendTime
	result.LogStartOffset = appended.LogStartOffset
	if !appended.Duplicate {
		o.node.AppendedRecords.Add(uint64(appended.EndOffset - appended.BaseOffset))
		o.node.AppendedBytes.Add(uint64(len(job.records)))
	}
}

// fail notes the error of one partition.
func (o *produceOp) fail(i int, err error) {
	o.failed = true
	o.jobs[i].step = jobDone
	result := &o.results[i]
	result.ErrorCode = kafka.CodeOf(err)
	o.meter().Fail(result.ErrorCode)
	switch result.ErrorCode {
	case kafka.UnknownServerError.Code:
		o.node.Log.Error("produce failed", "partition", o.jobs[i].replica.TopicPartition().String(), "error", err)
	case kafka.KafkaStorageError.Code:
		o.node.noteStorage(err)
	}
	if o.version >= 8 {
		explain(result, err)
	}
	if o.jobs[i].replica != nil {
		o.hint(i)
	}
}

// explain adds what the client's error message shows: the reason, and the records that it concerns.
func explain(result *wire.ProducePartitionResponse, err error) {
	var (
		refused  *record.RecordErrors
		invalid  *record.Invalid
		reasoned *reasoned
	)
	switch {
	case errors.As(err, &reasoned):
		result.ErrorMessage = reasoned.reason
	case errors.As(err, &refused):
		result.ErrorMessage = refused.Error()
		for _, r := range refused.List {
			result.RecordErrors = append(result.RecordErrors, wire.RecordError{BatchIndex: r.Index, Message: r.Reason})
		}
	case errors.As(err, &invalid):
		result.ErrorMessage = invalid.Reason
	}
}

// hint tells a client that asked the wrong broker who leads.
func (o *produceOp) hint(i int) {
	job, result := &o.jobs[i], &o.results[i]
	if result.ErrorCode == kafka.NotLeaderOrFollower.Code && o.version >= 10 {
		v := job.replica.View()
		result.Leader = wire.CurrentLeader{Known: true, Leader: v.Leader, Epoch: v.LeaderEpoch}
		o.response.Endpoints = o.node.addEndpoint(o.response.Endpoints, v.Leader, o.conn.Listener())
	}
}

// tellLogStart answers a refused append with the log start offset, as Kafka does for errors that it finds while it
// looks into the records.
func (o *produceOp) tellLogStart(i int) {
	v := o.jobs[i].replica.View()
	switch o.results[i].ErrorCode {
	case kafka.NotLeaderOrFollower.Code, kafka.MessageTooLarge.Code, kafka.RecordListTooLarge.Code,
		kafka.CorruptMessage.Code, kafka.KafkaStorageError.Code:
		return
	}
	if v.Log != nil && v.Unavailable == nil {
		o.results[i].LogStartOffset = v.Log.LogStartOffset()
	}
}
