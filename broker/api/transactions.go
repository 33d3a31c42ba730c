package api

import (
	"errors"

	"spate/coordinator/txn"
	"spate/kafka"
)

// submitTxn hands a command to the coordinator of a transactional id; tell makes the response of what it says.
func (a *Asked) submitTxn(id string, body any, tell Tell) {
	a.submitWithID(id, tell, func(kafka.ProducerID) any { return body })
}

// submitWithID is submitTxn for a command that may need a fresh producer id. Most do not, so that it is submitted
// without one first.
func (a *Asked) submitWithID(id string, tell Tell, command func(fresh kafka.ProducerID) any) {
	a.tell = tell
	switch {
	case id == "": // nobody's, wherever it is asked
		a.Done(nil, kafka.InvalidRequest)
		return
	case a.node.parked.full():
		a.Done(nil, kafka.CoordinatorLoadInProgress)
		return
	}
	question := &txnQuestion{asked: a, id: id, command: command}
	a.node.Txns.Submit(id, txn.Command{ID: id, Body: command(kafka.NoProducerID)}, question)
}

// txnQuestion is a command on its way to a coordinator that may send it back for want of a producer id.
type txnQuestion struct {
	asked   *Asked
	id      string
	command func(fresh kafka.ProducerID) any
}

// Done answers the request, or leaves it to a worker to get a producer id.
func (q *txnQuestion) Done(body any, err error) {
	if errors.Is(err, txn.ErrNeedsProducerID) {
		if q.asked.node.Workers.Put(q) {
			return
		}
		err = kafka.CoordinatorNotAvailable // the broker is shutting down
	}
	q.asked.Done(body, err)
}

// Work gets a producer id and submits the command with it.
func (q *txnQuestion) Work() {
	fresh, err := q.asked.node.FreshProducerID()
	if err != nil {
		q.asked.Done(nil, err)
		return
	}
	q.asked.node.Txns.Submit(q.id, txn.Command{ID: q.id, Body: q.command(fresh)}, q.asked)
}

// txnCode is the error code that a client gets for what went wrong with a command, counted. Versions before fenced do
// not know PRODUCER_FENCED.
func (a *Asked) txnCode(err error, fenced int16) int16 {
	if a.Request.GetVersion() < fenced && kafka.CodeOf(err) == kafka.ProducerFenced.Code {
		err = kafka.InvalidProducerEpoch
	}
	return a.groupCode(err)
}
