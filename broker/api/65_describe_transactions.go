package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/runtime"
	"spate/coordinator/txn"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// DescribeTransactions: transactional ids, each from its coordinator.

func describeTransactionsBlocks(_ *Context, r kmsg.Request) bool {
	return len(r.(*kmsg.DescribeTransactionsRequest).TransactionalIDs) > inlineMax
}

func describeTransactions(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.DescribeTransactionsRequest)
	ids := request.TransactionalIDs
	a.gather(len(ids), func(i int, to runtime.Done) {
		if ids[i] == "" {
			to.Done(nil, kafka.InvalidRequest)
			return
		}
		c.Node.Txns.Submit(ids[i], txn.Command{ID: ids[i], Body: txn.Describe{}}, to)
	}, func(answers []said) {
		response := request.ResponseKind().(*kmsg.DescribeTransactionsResponse)
		response.TransactionStates = make([]kmsg.DescribeTransactionsResponseTransactionState, len(ids))
		for i := range ids {
			told := &response.TransactionStates[i]
			told.TransactionalID = ids[i]
			if err := answers[i].err; err != nil {
				told.ErrorCode = a.groupCode(err)
				continue
			}
			tellTransaction(told, answers[i].body.(*record.Transaction))
		}
		a.Answer(response)
	})
}

func tellTransaction(told *kmsg.DescribeTransactionsResponseTransactionState, t *record.Transaction) {
	told.State, told.TimeoutMillis, told.StartTimestamp = t.State.String(), t.TimeoutMs, int64(t.Start)
	told.ProducerID, told.ProducerEpoch = int64(t.ProducerID), int16(t.Epoch)
	for i := range t.Topics {
		topic := kmsg.DescribeTransactionsResponseTransactionStateTopic{Topic: t.Topics[i].Name}
		for _, p := range t.Topics[i].Partitions {
			topic.Partitions = append(topic.Partitions, int32(p))
		}
		told.Topics = append(told.Topics, topic)
	}
}
