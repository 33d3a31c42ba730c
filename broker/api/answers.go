package api

import (
	"context"
	"errors"
	"time"

	"spate/kafka"
	"spate/metadata"
	"spate/metadata/controller"
	"spate/metadata/image"
	"spate/replica"
)

// The operations that a client is told it may do (KIP-430), as a bit for each AclOperation: all that exist for the kind
// of resource, because there is no authorizer.
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

// inlineMax is how many partitions, topics or the like a request may name to be answered on the event loop: at a fifth
// of a microsecond for each the loop's other connections wait for 200 microseconds. What asks for more goes to a
// worker.
const inlineMax = 1000

// fail counts an error code of the answer, and gives it back.
func (c *Context) fail(code int16) int16 {
	c.Node.Meters.Of(c.Header.Key).Fail(code)
	return code
}

// refusal gives the error code of err, counted, and the sentence that goes with it.
func (c *Context) refusal(err error) (code int16, message *string) {
	if err == nil {
		return kafka.NoError, nil
	}
	return c.fail(kafka.CodeOf(err)), sentence(err)
}

// sentence is what the controller has to say of err to the client, nil where that is nothing beyond the code. What
// happened inside the broker is not the client's business.
func sentence(err error) *string {
	var refused *controller.Refusal
	if errors.As(err, &refused) {
		return &refused.Message
	}
	return nil
}

// errClosing is why nothing is decided any more: the broker is shutting down. The connection is closed then, because
// whether the command has been carried out is not known.
var errClosing = errors.New("the broker is shutting down")

// decide has the controller decide a command within the time that a request gives. A request that gives none is too
// late already, as in Kafka.
func (c *Context) decide(ctx context.Context, timeoutMs int32, cmd controller.Command) (controller.Reply, error) {
	begun := c.Node.Clock.Now()
	reply, err := c.Node.decide(ctx, timeoutMs, cmd)
	c.waited += c.Node.Clock.Now().Sub(begun)
	return reply, err
}

// decide is Context.decide for who asks on no client's time.
func (n *Node) decide(ctx context.Context, timeoutMs int32, cmd controller.Command) (controller.Reply, error) {
	if timeoutMs <= 0 {
		return nil, kafka.RequestTimedOut
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := n.Clock.AfterFunc(time.Duration(timeoutMs)*time.Millisecond, cancel)
	defer timer.Stop()
	reply, err := n.Metadata.Submit(limited, cmd)
	switch {
	case err == nil:
		return reply, nil
	case ctx.Err() != nil || errors.Is(err, metadata.ErrClosed):
		return nil, errClosing
	case limited.Err() != nil:
		return nil, kafka.RequestTimedOut
	}
	return nil, err
}

// hosted finds this broker's replica of a partition, or why there is none.
func (n *Node) hosted(topic string, index kafka.PartitionIndex) (*replica.Replica, error) {
	if t := n.Replicas.TopicNamed(topic); t != nil {
		if r := t.Partition(index); r != nil {
			return r, nil
		}
	}
	if n.Image().Partition(topic, index) != nil {
		return nil, kafka.NotLeaderOrFollower
	}
	return nil, kafka.UnknownTopicOrPartition
}

// inEpoch is check, which is Replica.Lead or Replica.Check, for requests in which -1 alone stands for an unknown leader
// epoch. (For Fetch every negative one does.)
func inEpoch(check func(kafka.LeaderEpoch) (*replica.View, error), epoch int32) (*replica.View, error) {
	v, err := check(kafka.LeaderEpoch(epoch))
	if err == nil && epoch < int32(kafka.NoLeaderEpoch) {
		err = kafka.FencedLeaderEpoch
	}
	return v, err
}

// node is a broker as a client of one listener reaches it.
type node struct {
	id     int32
	host   string
	port   int32
	rack   *string
	fenced bool
}

// nodes lists the brokers that can be reached at a listener, fenced ones only if asked.
func nodes(img *image.Image, listener string, fenced bool) (list []node) {
	for _, b := range img.Brokers() {
		e, ok := b.Endpoint(listener)
		if ok && (fenced || !b.Fenced) {
			list = append(list, node{int32(b.ID), e.Host, int32(e.Port), b.Rack, b.Fenced})
		}
	}
	return list
}

// controllerOf is the broker that clients are told to send administrative requests to. Every broker passes them on, so
// as in Kafka it is any that is alive, and best the one that is being asked.
func controllerOf(img *image.Image, self kafka.BrokerID) int32 {
	alive := int32(kafka.NoBroker)
	for _, b := range img.Brokers() {
		switch {
		case b.Fenced:
		case b.ID == self:
			return int32(self)
		case alive == int32(kafka.NoBroker):
			alive = int32(b.ID)
		}
	}
	return alive
}
