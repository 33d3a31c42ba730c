package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// FindCoordinator: which broker takes care of a group or of a transactional id. The topic that the coordinators keep
// their state in is created on first use; the request waits for that on a worker. (Kafka answers at once that there is
// no coordinator yet, and the client asks again.) Share groups are answered as by a Kafka that has them switched off.

// The kinds of keys.
const (
	keyOfGroup       = 0
	keyOfTransaction = 1
	keyOfShare       = 2
)

// findBatch is the first version that asks for several keys.
const findBatch = 4

// coordinatorTopicMs is how long a client is kept waiting for the creation of the topic; then it is told to ask again.
const coordinatorTopicMs = 5000

func findCoordinatorBlocks(c *Context, r kmsg.Request) bool {
	request := r.(*kmsg.FindCoordinatorRequest)
	topic := topicOfCoordinators(request.CoordinatorType)
	return len(request.CoordinatorKeys) > inlineMax || topic != "" && c.Node.Image().Topic(topic) == nil
}

// topicOfCoordinators is where coordinators keep the state of such keys; empty for a kind that has none.
func topicOfCoordinators(kind int8) string {
	switch kind {
	case keyOfGroup:
		return kafka.ConsumerOffsetsTopic
	case keyOfTransaction:
		return kafka.TransactionStateTopic
	}
	return ""
}

func findCoordinator(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.FindCoordinatorRequest)
	response := request.ResponseKind().(*kmsg.FindCoordinatorResponse)
	if topic := topicOfCoordinators(request.CoordinatorType); topic != "" && c.Node.Image().Topic(topic) == nil {
		c.createCoordinatorTopic(ctx, topic)
	}
	if request.Version >= findBatch {
		for _, key := range request.CoordinatorKeys {
			response.Coordinators = append(response.Coordinators, c.findOne(request, key))
		}
		return response, nil
	}
	found := c.findOne(request, request.CoordinatorKey)
	response.NodeID, response.Host, response.Port = found.NodeID, found.Host, found.Port
	response.ErrorCode, response.ErrorMessage = found.ErrorCode, found.ErrorMessage
	switch {
	case found.ErrorCode == kafka.NoError:
		response.ErrorMessage = kmsg.StringPtr("NONE") // that is what Kafka says
	case *found.ErrorMessage == "":
		response.ErrorMessage = kmsg.StringPtr(coordinator.MessageOf(kafka.ErrorOf(found.ErrorCode)))
	}
	return response, nil
}

// findOne finds the coordinator of one key.
func (c *Context) findOne(request *kmsg.FindCoordinatorRequest,
	key string) (found kmsg.FindCoordinatorResponseCoordinator) {
	found.Key, found.NodeID, found.Port = key, int32(kafka.NoBroker), -1
	b, err := c.coordinatorOf(request.CoordinatorType, key)
	var refusal *coordinator.Refusal
	if errors.As(err, &refusal) { // otherwise, as in Kafka, the code has to do
		found.ErrorMessage = &refusal.Message
	} else {
		found.ErrorMessage = new(string)
	}
	if err != nil {
		found.ErrorCode = c.fail(kafka.CodeOf(err))
		return found
	}
	e, _ := b.Endpoint(c.Conn.Listener())
	found.NodeID, found.Host, found.Port = int32(b.ID), e.Host, int32(e.Port)
	return found
}

// coordinatorOf is the broker that leads the partition of a key, if it is alive and has the client's listener.
func (c *Context) coordinatorOf(kind int8, key string) (*image.Broker, error) {
	var index kafka.PartitionIndex
	switch kind {
	case keyOfGroup:
		index = c.Node.Groups.PartitionFor(key)
	case keyOfTransaction:
		index = c.Node.Txns.PartitionFor(key)
	case keyOfShare:
		return nil, kafka.InvalidRequest
	default:
		return nil, coordinator.Refuse(kafka.InvalidRequest, kafka.InvalidRequest.Message())
	}
	img := c.Node.Image()
	p := img.Partition(topicOfCoordinators(kind), index)
	if p == nil {
		return nil, kafka.CoordinatorNotAvailable
	}
	b := img.Broker(p.Leader)
	if b == nil || b.Fenced {
		return nil, kafka.CoordinatorNotAvailable
	}
	if _, ok := b.Endpoint(c.Conn.Listener()); !ok {
		return nil, kafka.CoordinatorNotAvailable
	}
	return b, nil
}

// createCoordinatorTopic creates one of the topics that coordinators keep their state in.
func (c *Context) createCoordinatorTopic(ctx context.Context, topic string) {
	if topic == kafka.ConsumerOffsetsTopic {
		c.createOffsetsTopic(ctx)
		return
	}
	txns := c.Node.Config.Get().Transactions()
	c.createInternalTopic(ctx, controller.CreateInternalTopic{
		Name: topic, Partitions: txns.TopicPartitions, ReplicationFactor: txns.TopicReplication,
		FewerReplicas: txns.TopicReplicationSoft, Configs: txns.TopicConfigs(),
	})
}

// createOffsetsTopic creates the topic of the groups' state.
func (c *Context) createOffsetsTopic(ctx context.Context) {
	groups := c.Node.Config.Get().Groups()
	c.createInternalTopic(ctx, controller.CreateInternalTopic{
		Name: kafka.ConsumerOffsetsTopic, Partitions: groups.OffsetsTopicPartitions,
		ReplicationFactor: groups.OffsetsTopicReplication, FewerReplicas: groups.OffsetsTopicReplicationSoft,
		Configs: groups.OffsetsTopicConfigs(),
	})
}

// createInternalTopic creates a topic. Why it was not created is in the log.
func (c *Context) createInternalTopic(ctx context.Context, cmd controller.CreateInternalTopic) {
	reply, err := c.decide(ctx, coordinatorTopicMs, cmd)
	if err == nil {
		err = reply.(controller.CreateTopicsReply).Topics[0].Err
	}
	if err != nil && kafka.CodeOf(err) != kafka.TopicAlreadyExists.Code {
		c.Node.Log.Warn("a topic of coordinators was not created", "topic", cmd.Name, "error", err)
	}
}
