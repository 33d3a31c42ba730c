package api

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/txn"
	"spate/internal/invariant"
	"spate/kafka"
	"spate/metadata/controller"
)

// InitProducerId: an id for an idempotent producer, from a block that the controller has given to this broker; or,
// with a transactional id, the producer id and epoch that its coordinator says. As in Kafka, a producer without a
// transactional id always gets a fresh id with epoch 0, also when it names the one that it had.

// Versions of the InitProducerId API with a meaning of their own.
const (
	initGoesOn = 3 // from here on a producer may say which one it is
	initFenced = 4 // before, there is no PRODUCER_FENCED
)

// allocationMs is how long a producer waits for a block to be allocated; then it is told to ask again.
const allocationMs = 5000

func initProducerID(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.InitProducerIDRequest)
	cmd := txn.InitProducerID{
		TimeoutMs:  request.TransactionTimeoutMillis,
		ProducerID: kafka.NoProducerID, Epoch: kafka.NoProducerEpoch,
	}
	if request.Version >= initGoesOn {
		cmd.ProducerID, cmd.Epoch = kafka.ProducerID(request.ProducerID), kafka.ProducerEpoch(request.ProducerEpoch)
	}
	switch {
	case (cmd.ProducerID == kafka.NoProducerID) != (cmd.Epoch == kafka.NoProducerEpoch):
		a.refuse(kafka.InvalidRequest, tellInitProducerID)
	case request.TransactionalID == nil:
		id, err := c.Node.FreshProducerID()
		a.Answer(tellInitProducerID(a, txn.Producer{ID: id}, err))
	default:
		a.submitWithID(*request.TransactionalID, tellInitProducerID, func(fresh kafka.ProducerID) any {
			cmd.Fresh = fresh
			return cmd
		})
	}
}

func tellInitProducerID(a *Asked, body any, err error) kmsg.Response {
	request := asRequest[*kmsg.InitProducerIDRequest](a)
	response := request.ResponseKind().(*kmsg.InitProducerIDResponse)
	response.ProducerID, response.ProducerEpoch = int64(kafka.NoProducerID), int16(kafka.NoProducerEpoch)
	if err != nil {
		response.ErrorCode = a.txnCode(err, initFenced)
		return response
	}
	producer := body.(txn.Producer)
	response.ProducerID, response.ProducerEpoch = int64(producer.ID), int16(producer.Epoch)
	return response
}

// FreshProducerID gives a producer id that was never used. It may wait for the controller.
func (n *Node) FreshProducerID() (kafka.ProducerID, error) {
	return n.ProducerIDs.Next(context.Background(), n.allocate)
}

// allocate asks the controller for a block of ids. A client may ask again whatever went wrong: Kafka's error says so.
func (n *Node) allocate(ctx context.Context) (kafka.ProducerID, error) {
	b := n.Image().Broker(n.ID)
	if b == nil {
		return 0, kafka.CoordinatorLoadInProgress
	}
	block := controller.AllocateProducerIDs{BrokerID: n.ID, BrokerEpoch: b.Epoch}
	reply, err := n.decide(ctx, allocationMs, block)
	if err != nil {
		n.Log.Warn("no block of producer ids was allocated", "error", err)
		return 0, kafka.CoordinatorLoadInProgress
	}
	return reply.(controller.AllocateProducerIDsReply).First, nil
}

// ProducerIDs hands out the producer ids of this broker's block, and has the next block allocated when it is used up.
// The zero value is ready. Workers call it.
type ProducerIDs struct {
	mutex sync.Mutex
	next  kafka.ProducerID // next <= end
	end   kafka.ProducerID
	// refill is closed when the allocation that is under way ends, well or not; nil while there is none.
	refill chan struct{}
}

// Next gives an id that nobody else gets. allocate is called, by one caller at a time, when a new block is needed.
func (p *ProducerIDs) Next(ctx context.Context,
	allocate func(context.Context) (kafka.ProducerID, error)) (kafka.ProducerID, error) {
	for {
		id, refill, mine := p.take()
		switch {
		case refill == nil:
			return id, nil
		case mine:
			first, err := allocate(ctx)
			p.put(first, err)
			if err != nil {
				return 0, err
			}
		default:
			select {
			case <-refill:
			case <-ctx.Done():
				return 0, kafka.CoordinatorLoadInProgress
			}
		}
	}
}

// take gives an id, or the allocation to wait for; mine says that the caller has to do it.
func (p *ProducerIDs) take() (id kafka.ProducerID, refill chan struct{}, mine bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.next < p.end {
		id = p.next
		p.next++
		return id, nil, false
	}
	if p.refill == nil {
		p.refill = make(chan struct{})
		mine = true
	}
	return 0, p.refill, mine
}

// put ends the allocation: the block begins at first, unless it failed.
func (p *ProducerIDs) put(first kafka.ProducerID, err error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err == nil {
		invariant.Check(p.end <= first, "a block of producer ids begins at %d, the last one ended at %d", first, p.end)
		p.next, p.end = first, first+controller.ProducerIDBlock
	}
	close(p.refill)
	p.refill = nil
}
