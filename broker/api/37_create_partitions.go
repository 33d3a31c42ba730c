package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
)

// CreatePartitions: the controller decides, topic by topic; the answer waits on a worker until its decision is durable
// and the logs of the new partitions are there.

// createPartitionsStrict is the first version whose clients know THROTTLING_QUOTA_EXCEEDED.
const createPartitionsStrict = 3

func createPartitions(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.CreatePartitionsRequest)
	response := request.ResponseKind().(*kmsg.CreatePartitionsResponse)
	charged := c.mutations(createPartitionsStrict)
	cmd := controller.CreatePartitions{ValidateOnly: request.ValidateOnly, Charge: charged.charger()}
	for i := range request.Topics {
		cmd.Topics = append(cmd.Topics, grownTopic(&request.Topics[i]))
	}
	reply, err := c.decide(ctx, request.TimeoutMillis, cmd)
	c.throttle = charged.left()
	if errors.Is(err, errClosing) {
		return nil, err
	}
	if err != nil {
		for i := range request.Topics {
			response.Topics = append(response.Topics, c.grown(request.Topics[i].Topic, err))
		}
		return response, nil
	}
	for _, t := range reply.(controller.CreatePartitionsReply).Topics {
		response.Topics = append(response.Topics, c.grown(t.Name, t.Err))
	}
	return response, nil
}

func grownTopic(asked *kmsg.CreatePartitionsRequestTopic) controller.GrownTopic {
	t := controller.GrownTopic{Name: asked.Topic, Count: asked.Count}
	if asked.Assignment != nil {
		t.Assignments = make([][]kafka.BrokerID, len(asked.Assignment))
		for i := range asked.Assignment {
			t.Assignments[i] = brokerIDs(asked.Assignment[i].Replicas)
		}
	}
	return t
}

// brokerIDs is a list of brokers in the controller's words; it is nil only where ids is.
func brokerIDs(ids []int32) []kafka.BrokerID {
	if ids == nil {
		return nil
	}
	brokers := make([]kafka.BrokerID, len(ids))
	for i, id := range ids {
		brokers[i] = kafka.BrokerID(id)
	}
	return brokers
}

// grown is the answer for one topic.
func (c *Context) grown(name string, err error) kmsg.CreatePartitionsResponseTopic {
	t := kmsg.NewCreatePartitionsResponseTopic()
	t.Topic = name
	t.ErrorCode, t.ErrorMessage = c.refusal(err)
	return t
}
