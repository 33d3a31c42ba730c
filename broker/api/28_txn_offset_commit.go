package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator"
	"spate/coordinator/group"
	"spate/coordinator/group/offsets"
	"spate/coordinator/txn"
	"spate/kafka"
	"spate/metadata/image"
	"spate/partition"
	"spate/replica"
)

// TxnOffsetCommit: a producer commits offsets of a group in its transaction; they count once that is committed. As with
// Produce, the transaction's coordinator is asked first whether the group's partition of __consumer_offsets belongs to
// the transaction, or is told so.

// Versions of the TxnOffsetCommit API with a meaning of their own.
const (
	txnCommitLoading   = 2 // before, COORDINATOR_LOAD_IN_PROGRESS would crash a client
	txnCommitEpochs    = 2 // before, the leader epoch of the last record is not known
	txnCommitMembers   = 3 // from here on the committer is named
	txnCommitAbortable = 4 // knows TRANSACTION_ABORTABLE
	txnCommitAdds      = 5 // has the group's partition added by the broker
)

func txnOffsetCommit(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.TxnOffsetCommitRequest)
	q := &txnCommit{
		asked: a, id: request.TransactionalID, group: request.Group, commit: offsets.Commit{
			RetentionMs: offsets.NoRetention, Unnamed: true,
		},
		transaction: coordinator.Transaction{
			ProducerID: kafka.ProducerID(request.ProducerID), ProducerEpoch: kafka.ProducerEpoch(request.ProducerEpoch),
		},
		places: map[string]int{},
	}
	a.draft = q.draft(c.Node.Image(), request)
	a.tell = q.tell
	request.Topics = nil
	switch {
	case len(q.commit.Topics) == 0:
		a.Answer(a.draft)
	case request.Group == "":
		a.Done(nil, kafka.InvalidGroupID)
	case a.node.parked.full():
		a.Done(nil, kafka.CoordinatorLoadInProgress)
	default:
		q.verify()
	}
}

// txnCommit is a TxnOffsetCommit on its way: from the transaction's coordinator to that of the group.
type txnCommit struct {
	asked       *Asked
	id          string // of the transaction
	group       string
	commit      offsets.Commit
	transaction coordinator.Transaction
	places      map[string]int   // of a topic in the answer
	partition   *replica.Replica // the group's, of __consumer_offsets
}

// draft answers for the partitions that do not exist, and makes the commit of the others.
func (q *txnCommit) draft(img *image.Image, request *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitResponse {
	response := request.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	for i := range request.Topics {
		t := &request.Topics[i]
		found := img.Topic(t.Topic)
		commit := offsets.CommitTopic{Topic: t.Topic}
		if found != nil {
			commit.TopicID = found.ID
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if !has(found, p.Partition) {
				q.add(response, t.Topic, p.Partition, q.asked.code(kafka.UnknownTopicOrPartition))
				continue
			}
			one := offsets.CommitPartition{
				Partition: kafka.PartitionIndex(p.Partition), Offset: kafka.Offset(p.Offset),
				LeaderEpoch: kafka.NoLeaderEpoch, Metadata: p.Metadata,
			}
			if request.Version >= txnCommitEpochs {
				one.LeaderEpoch = kafka.LeaderEpoch(p.LeaderEpoch)
			}
			commit.Partitions = append(commit.Partitions, one)
		}
		if len(commit.Partitions) > 0 {
			q.commit.Topics = append(q.commit.Topics, commit)
		}
	}
	return response
}

// add adds a partition to the answer, to its topic if that is there.
func (q *txnCommit) add(response *kmsg.TxnOffsetCommitResponse, topic string, partition int32, code int16) {
	at, known := q.places[topic]
	if !known {
		at = len(response.Topics)
		q.places[topic] = at
		response.Topics = append(response.Topics, kmsg.TxnOffsetCommitResponseTopic{Topic: topic})
	}
	told := &response.Topics[at]
	told.Partitions = append(told.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{
		Partition: partition, ErrorCode: code,
	})
}

// verify asks the transaction's coordinator, unless the group's partition has records of the transaction already.
func (q *txnCommit) verify() {
	node := q.asked.node
	tp := kafka.TopicPartition{Topic: kafka.ConsumerOffsetsTopic, Partition: node.Groups.PartitionFor(q.group)}
	r, err := node.hosted(tp.Topic, tp.Partition)
	if err != nil {
		q.asked.Done(nil, err)
		return
	}
	q.partition = r
	log := r.View().Log
	switch {
	case log == nil || !log.Slow():
		q.begin()
	case !node.Writers.put(log.Dir(), q):
		q.asked.Done(nil, kafka.CoordinatorNotAvailable) // the broker is shutting down
	}
}

// workIn asks a log that is slow, on the goroutine of its directory's writer.
func (q *txnCommit) workIn(*partition.LogDir) { q.begin() }

// begin asks the log of the group's partition, and then the transaction's coordinator.
func (q *txnCommit) begin() {
	node, version := q.asked.node, q.asked.Request.GetVersion()
	number, err := q.partition.BeginVerification(partition.Verifying{
		ProducerID: q.transaction.ProducerID, ProducerEpoch: q.transaction.ProducerEpoch,
		Sequence: kafka.NoSequence, BumpsEpoch: version >= txnCommitAdds,
	})
	switch {
	case err != nil:
		q.asked.Done(nil, err)
		return
	case number == partition.NoVerification:
		q.submit()
		return
	case node.Txns.PartitionFor(q.id) < 0:
		q.asked.Done(nil, kafka.CoordinatorNotAvailable)
		return
	}
	q.transaction.Verification = uint64(number)
	question := txn.AddPartitions{
		ProducerID: q.transaction.ProducerID, Epoch: q.transaction.ProducerEpoch,
		Partitions: []kafka.TopicPartition{q.partition.TopicPartition()}, VerifyOnly: version < txnCommitAdds,
	}
	if version >= txnCommitAdds {
		question.ClientVersion = 2
	}
	node.Txns.Submit(q.id, txn.Command{ID: q.id, Body: question}, q)
}

// Done takes the answer of the transaction's coordinator.
func (q *txnCommit) Done(body any, err error) {
	if err == nil {
		err = body.(txn.AddPartitionsReply).Errs[0]
	}
	if err == nil {
		q.submit()
		return
	}
	endVerification(q.partition.View().Log, q.transaction.ProducerID,
		partition.Verification(q.transaction.Verification), err)
	switch code := kafka.CodeOf(err); {
	case code == kafka.ProducerFenced.Code:
		err = kafka.InvalidProducerEpoch
	case code == kafka.TransactionAbortable.Code && q.asked.Request.GetVersion() < txnCommitAbortable:
		err = kafka.InvalidTxnState
	}
	q.asked.Done(nil, err)
}

// submit hands the offsets to the coordinator of the group.
func (q *txnCommit) submit() {
	request := q.asked.Request.(*kmsg.TxnOffsetCommitRequest)
	commit := group.OffsetCommit{
		Generation: -1, APIVersion: request.Version, Commit: q.commit, Transaction: &q.transaction,
	}
	if request.Version >= txnCommitMembers {
		commit.MemberID, commit.InstanceID, commit.Generation = request.MemberID, request.InstanceID, request.Generation
	}
	q.asked.node.Groups.Submit(q.group, group.Command{Group: q.group, Body: commit}, q.asked)
}

// tell makes the answer of what the group's coordinator said, or of why it was not asked.
func (q *txnCommit) tell(a *Asked, body any, err error) kmsg.Response {
	response := a.draft.(*kmsg.TxnOffsetCommitResponse)
	reply, _ := body.(offsets.CommitReply)
	for i := range q.commit.Topics {
		t := &q.commit.Topics[i]
		for j := range t.Partitions {
			why := err
			if why == nil {
				why = reply.Topics[i].Partitions[j].Err
			}
			q.add(response, t.Topic, int32(t.Partitions[j].Partition), q.code(why))
		}
	}
	return response
}

// code is the error code for what went wrong on the way to a group's coordinator.
func (q *txnCommit) code(err error) int16 {
	switch kafka.CodeOf(err) {
	case kafka.UnknownTopicOrPartition.Code, kafka.NotEnoughReplicas.Code, kafka.RequestTimedOut.Code:
		err = kafka.CoordinatorNotAvailable
	case kafka.NotLeaderOrFollower.Code, kafka.KafkaStorageError.Code:
		err = kafka.NotCoordinator
	case kafka.CoordinatorLoadInProgress.Code:
		if q.asked.Request.GetVersion() < txnCommitLoading {
			err = kafka.CoordinatorNotAvailable
		}
	}
	return q.asked.groupCode(err)
}
