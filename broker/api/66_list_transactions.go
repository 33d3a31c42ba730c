package api

import (
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/runtime"
	"spate/coordinator/txn"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// ListTransactions: the transactional ids whose coordinator this broker is. Clients ask every broker. A pattern is a
// regular expression of RE2, which lacks some of what Java's has.

// Versions of the ListTransactions API with a meaning of their own.
const (
	listDuration = 1 // from here on there is a filter for how long a transaction has been open
	listPattern  = 2 // from here on there is one for transactional ids
)

func listTransactionsBlocks(_ *Context, r kmsg.Request) bool {
	request := r.(*kmsg.ListTransactionsRequest)
	return len(request.StateFilters)+len(request.ProducerIDFilters) > inlineMax
}

func listTransactions(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.ListTransactionsRequest)
	response := request.ResponseKind().(*kmsg.ListTransactionsResponse)
	list, err := listOf(request)
	if err != nil {
		response.ErrorCode = a.code(err)
		a.Answer(response)
		return
	}
	for _, name := range distinct(request.StateFilters) {
		if state, known := record.StateNamed(name); known {
			list.States = append(list.States, state)
		} else {
			response.UnknownStateFilters = append(response.UnknownStateFilters, name)
		}
	}
	led := c.Node.Txns.Led()
	a.gather(len(led), func(i int, to runtime.Done) {
		c.Node.Txns.SubmitTo(led[i], list, to)
	}, func(answers []said) {
		for i := range answers {
			switch err := answers[i].err; {
			case err == nil:
				appendTransactions(response, answers[i].body.(txn.ListReply).Listed)
			case kafka.CodeOf(err) == kafka.NotCoordinator.Code: // its ids are another broker's by now
			default: // some are missing: a list that looks complete would mislead
				response.TransactionStates, response.ErrorCode = nil, a.groupCode(err)
				a.Answer(response)
				return
			}
		}
		a.Answer(response)
	})
}

// listOf makes the question of a request, without the states.
func listOf(request *kmsg.ListTransactionsRequest) (list txn.List, err error) {
	list = txn.List{AllStates: len(request.StateFilters) == 0, DurationMs: -1}
	for _, id := range request.ProducerIDFilters {
		list.ProducerIDs = append(list.ProducerIDs, kafka.ProducerID(id))
	}
	slices.Sort(list.ProducerIDs)
	if request.Version >= listDuration {
		list.DurationMs = request.DurationFilterMillis
	}
	if request.Version < listPattern || textOr(request.TransactionalIDPattern, "") == "" {
		return list, nil
	}
	pattern, err := regexp.Compile("^(?:" + *request.TransactionalIDPattern + ")$")
	if err != nil {
		return list, kafka.InvalidRegularExpression
	}
	list.Matches = pattern.MatchString
	return list, nil
}

func appendTransactions(response *kmsg.ListTransactionsResponse, listed []txn.Listed) {
	for i := range listed {
		t := &listed[i]
		response.TransactionStates = append(response.TransactionStates, kmsg.ListTransactionsResponseTransactionState{
			TransactionalID: t.ID, ProducerID: int64(t.ProducerID), TransactionState: t.State.String(),
		})
	}
}
