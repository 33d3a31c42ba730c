package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/runtime"
	"spate/coordinator/txn"
	"spate/kafka"
	"spate/metadata/image"
)

// AddPartitionsToTxn: a producer names the partitions that it is about to write to, or a broker those that a producer
// writes to: from version 4 on the request is about several transactions, and may ask only whether partitions are in
// them. Where one partition does not exist, none is added.

// Versions of the AddPartitionsToTxn API with a meaning of their own.
const (
	addFenced = 2 // before, there is no PRODUCER_FENCED
	addBatch  = 4 // from here on several transactions
)

// versionOfBrokers is the version of transactions that a broker speaks when it adds partitions for a producer.
const versionOfBrokers int16 = 2

func addPartitionsToTxnBlocks(_ *Context, r kmsg.Request) bool {
	request := r.(*kmsg.AddPartitionsToTxnRequest)
	n := len(request.Transactions)
	for i := range request.Topics {
		n += 1 + len(request.Topics[i].Partitions)
	}
	for i := range request.Transactions {
		for j := range request.Transactions[i].Topics {
			n += 1 + len(request.Transactions[i].Topics[j].Partitions)
		}
	}
	return n > inlineMax
}

func addPartitionsToTxn(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.AddPartitionsToTxnRequest)
	transactions := request.Transactions
	if request.Version < addBatch {
		transactions = []kmsg.AddPartitionsToTxnRequestTransaction{transactionOf(request)}
	}
	img := c.Node.Image()
	told := make([]kmsg.AddPartitionsToTxnResponseTransaction, len(transactions))
	a.gather(len(transactions), func(i int, to runtime.Done) {
		var partitions []kafka.TopicPartition
		if told[i], partitions = a.draftAdded(img, &transactions[i]); partitions == nil {
			to.Done(nil, nil)
			return
		}
		cmd := txn.AddPartitions{
			ProducerID: kafka.ProducerID(transactions[i].ProducerID),
			Epoch:      kafka.ProducerEpoch(transactions[i].ProducerEpoch),
			Partitions: partitions, VerifyOnly: transactions[i].VerifyOnly,
		}
		if request.Version >= addBatch {
			cmd.ClientVersion = versionOfBrokers
		}
		id := transactions[i].TransactionalID
		if id == "" {
			to.Done(nil, kafka.InvalidRequest)
			return
		}
		c.Node.Txns.Submit(id, txn.Command{ID: id, Body: cmd}, to)
	}, func(answers []said) {
		response := request.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
		for i := range told {
			a.tellAdded(&told[i], answers[i])
		}
		if request.Version >= addBatch {
			response.Transactions = told
		} else {
			response.Topics = topicsOf(&told[0])
		}
		a.Answer(response)
	})
}

// transactionOf is the transaction of a request before version 4.
func transactionOf(request *kmsg.AddPartitionsToTxnRequest) kmsg.AddPartitionsToTxnRequestTransaction {
	one := kmsg.NewAddPartitionsToTxnRequestTransaction()
	one.TransactionalID = request.TransactionalID
	one.ProducerID, one.ProducerEpoch = request.ProducerID, request.ProducerEpoch
	for i := range request.Topics {
		one.Topics = append(one.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{
			Topic: request.Topics[i].Topic, Partitions: request.Topics[i].Partitions,
		})
	}
	return one
}

// draftAdded begins the answer about a transaction, and lists its partitions; nil where one does not exist, so that
// the answer is complete.
func (a *Asked) draftAdded(img *image.Image, asked *kmsg.AddPartitionsToTxnRequestTransaction) (
	told kmsg.AddPartitionsToTxnResponseTransaction, partitions []kafka.TopicPartition) {
	told.TransactionalID = asked.TransactionalID
	partitions = []kafka.TopicPartition{}
	isWhole := true
	for i := range asked.Topics {
		t := &asked.Topics[i]
		topic := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: t.Topic}
		found := img.Topic(t.Topic)
		for _, p := range t.Partitions {
			one := kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p}
			if !has(found, p) {
				isWhole = false
				one.ErrorCode = a.code(kafka.UnknownTopicOrPartition)
			}
			topic.Partitions = append(topic.Partitions, one)
			partitions = append(partitions, kafka.TopicPartition{Topic: t.Topic, Partition: kafka.PartitionIndex(p)})
		}
		told.Topics = append(told.Topics, topic)
	}
	if isWhole {
		return told, partitions
	}
	for i := range told.Topics {
		for j := range told.Topics[i].Partitions {
			if p := &told.Topics[i].Partitions[j]; p.ErrorCode == kafka.NoError {
				p.ErrorCode = a.code(kafka.OperationNotAttempted)
			}
		}
	}
	return told, nil
}

// tellAdded completes the answer about a transaction.
func (a *Asked) tellAdded(told *kmsg.AddPartitionsToTxnResponseTransaction, answer said) {
	reply, _ := answer.body.(txn.AddPartitionsReply)
	next := 0
	for i := range told.Topics {
		for j := range told.Topics[i].Partitions {
			p := &told.Topics[i].Partitions[j]
			switch {
			case answer.err != nil:
				p.ErrorCode = a.txnCode(answer.err, addFenced)
			case reply.Errs != nil:
				p.ErrorCode = a.txnCode(reply.Errs[next], addFenced)
			}
			next++
		}
	}
}

// topicsOf is the answer about a transaction in the form of the versions before 4.
func topicsOf(told *kmsg.AddPartitionsToTxnResponseTransaction) []kmsg.AddPartitionsToTxnResponseTopic {
	var topics []kmsg.AddPartitionsToTxnResponseTopic
	for i := range told.Topics {
		topic := kmsg.AddPartitionsToTxnResponseTopic{Topic: told.Topics[i].Topic}
		for _, p := range told.Topics[i].Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{
				Partition: p.Partition, ErrorCode: p.ErrorCode,
			})
		}
		topics = append(topics, topic)
	}
	return topics
}
