package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/txn"
	"spate/kafka"
)

// EndTxn: a producer commits or aborts its transaction. It is answered when the decision stands; the markers that make
// it known to the partitions are written after that.

// Versions of the EndTxn API with a meaning of their own.
const (
	endFenced = 2 // before, there is no PRODUCER_FENCED
	endRaises = 5 // from here on the epoch rises with each transaction (KIP-890)
)

func endTxn(_ *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.EndTxnRequest)
	cmd := txn.EndTxn{
		ProducerID: kafka.ProducerID(request.ProducerID), Epoch: kafka.ProducerEpoch(request.ProducerEpoch),
		Commit: request.Commit,
	}
	if request.Version >= endRaises {
		cmd.ClientVersion = 2
	}
	a.submitWithID(request.TransactionalID, tellEndTxn, func(fresh kafka.ProducerID) any {
		cmd.Fresh = fresh
		return cmd
	})
}

func tellEndTxn(a *Asked, body any, err error) kmsg.Response {
	response := a.Request.ResponseKind().(*kmsg.EndTxnResponse)
	response.ProducerID, response.ProducerEpoch = int64(kafka.NoProducerID), int16(kafka.NoProducerEpoch)
	if err != nil {
		response.ErrorCode = a.txnCode(err, endFenced)
		return response
	}
	producer := body.(txn.Producer)
	response.ProducerID, response.ProducerEpoch = int64(producer.ID), int16(producer.Epoch)
	return response
}
