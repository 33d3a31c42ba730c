package api

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/invariant"
	"spate/kafka"
	"spate/metadata/controller"
)

// InitProducerId: an id for an idempotent producer, from a block that the controller has given to this broker. As in
// Kafka, a producer without a transactional id always gets a fresh id with epoch 0, also when it names the one that it
// had. Transactions are not served yet: a transactional id is refused.

// allocationMs is how long a producer waits for a block to be allocated; then it is told to ask again.
const allocationMs = 5000

func initProducerID(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.InitProducerIDRequest)
	response := request.ResponseKind().(*kmsg.InitProducerIDResponse)
	id, err := c.freshProducerID(ctx, request)
	if err != nil {
		response.ErrorCode = c.fail(kafka.CodeOf(err))
		response.ProducerID, response.ProducerEpoch = int64(kafka.NoProducerID), int16(kafka.NoProducerEpoch)
		return response, nil
	}
	response.ProducerID = int64(id)
	return response, nil
}

func (c *Context) freshProducerID(ctx context.Context, request *kmsg.InitProducerIDRequest) (kafka.ProducerID, error) {
	hasID := request.ProducerID != int64(kafka.NoProducerID)
	hasEpoch := request.ProducerEpoch != int16(kafka.NoProducerEpoch)
	switch {
	case request.Version >= 3 && hasID != hasEpoch:
		return 0, kafka.InvalidRequest
	case request.TransactionalID == nil:
		return c.Node.ProducerIDs.Next(ctx, c.allocate)
	case *request.TransactionalID == "":
		return 0, kafka.InvalidRequest
	}
	return 0, kafka.UnsupportedVersion // fatal to a client, which would ask again for ever after a retriable one
}

// allocate asks the controller for a block of ids. A client may ask again whatever went wrong: Kafka's error says so.
func (c *Context) allocate(ctx context.Context) (kafka.ProducerID, error) {
	b := c.Node.Image().Broker(c.Node.ID)
	if b == nil {
		return 0, kafka.CoordinatorLoadInProgress
	}
	block := controller.AllocateProducerIDs{BrokerID: c.Node.ID, BrokerEpoch: b.Epoch}
	reply, err := c.decide(ctx, allocationMs, block)
	if err != nil {
		c.Node.Log.Warn("no block of producer ids was allocated", "error", err)
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
