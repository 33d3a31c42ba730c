package api

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/config"
	"spate/kafka"
	"spate/metadata/controller"
)

// CreateTopics: the controller decides, topic by topic; the answer waits on a worker until its decision is durable and
// this broker's replicas are there.

// createTopicsStrict is the first version whose clients know THROTTLING_QUOTA_EXCEEDED.
const createTopicsStrict = 6

func createTopics(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.CreateTopicsRequest)
	response := request.ResponseKind().(*kmsg.CreateTopicsResponse)
	charged := c.mutations(createTopicsStrict)
	cmd := controller.CreateTopics{ValidateOnly: request.ValidateOnly, Charge: charged.charger()}
	for i := range request.Topics {
		cmd.Topics = append(cmd.Topics, newTopic(&request.Topics[i]))
	}
	reply, err := c.decide(ctx, request.TimeoutMillis, cmd)
	c.throttle = charged.left()
	if errors.Is(err, errClosing) {
		return nil, err
	}
	if err != nil {
		for i := range request.Topics {
			response.Topics = append(response.Topics, c.refusedTopic(request.Topics[i].Topic, err))
		}
		return response, nil
	}
	for _, t := range reply.(controller.CreateTopicsReply).Topics {
		if t.Err != nil {
			response.Topics = append(response.Topics, c.refusedTopic(t.Name, t.Err))
			continue
		}
		created := kmsg.NewCreateTopicsResponseTopic()
		created.Topic, created.TopicID = t.Name, t.ID
		created.NumPartitions, created.ReplicationFactor = t.Partitions, t.ReplicationFactor
		created.Configs = c.createdConfigs(t.Configs)
		response.Topics = append(response.Topics, created)
	}
	return response, nil
}

func newTopic(asked *kmsg.CreateTopicsRequestTopic) controller.NewTopic {
	t := controller.NewTopic{
		Name: asked.Topic, Partitions: asked.NumPartitions, ReplicationFactor: asked.ReplicationFactor,
	}
	for i := range asked.ReplicaAssignment {
		a := controller.Assignment{Partition: kafka.PartitionIndex(asked.ReplicaAssignment[i].Partition)}
		for _, id := range asked.ReplicaAssignment[i].Replicas {
			a.Replicas = append(a.Replicas, kafka.BrokerID(id))
		}
		t.Assignments = append(t.Assignments, a)
	}
	for i := range asked.Configs {
		config := &asked.Configs[i]
		t.Configs = append(t.Configs, controller.ConfigEntry{Name: config.Name, Value: config.Value})
	}
	return t
}

func (c *Context) refusedTopic(name string, err error) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic = name
	t.ErrorCode, t.ErrorMessage = c.refusal(err)
	t.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // empty, not null
	return t
}

// createdConfigs lists every setting of a new topic by name, with where its value comes from.
func (c *Context) createdConfigs(overrides map[string]string) []kmsg.CreateTopicsResponseTopicConfig {
	var configs []kmsg.CreateTopicsResponseTopicConfig
	for _, e := range c.Node.Config.Get().TopicEntries(overrides) {
		told := kmsg.CreateTopicsResponseTopicConfig{
			Name: e.Name, Value: e.Value, ReadOnly: e.ReadOnly, Source: int8(e.Source), IsSensitive: e.Sensitive,
		}
		if text, set := overrides[e.Name]; set { // as it came, which is not always as it is read
			told.Value = &text
		}
		if e.Sensitive {
			told.Value = nil
		}
		if e.Source == config.Default && c.derived(e.Name) {
			told.Source = int8(config.StaticBroker)
		}
		configs = append(configs, told)
	}
	slices.SortFunc(configs, func(a, b kmsg.CreateTopicsResponseTopicConfig) int {
		return strings.Compare(a.Name, b.Name)
	})
	return configs
}

// derived tells whether a topic's setting comes from one that is set for the broker, in whatever unit. As in Kafka this
// counts here, while DescribeConfigs calls it a default unless it has the very unit.
func (c *Context) derived(name string) bool {
	return slices.ContainsFunc(config.Lookup(config.TopicScope, name).Synonyms, c.Node.Config.Get().IsSet)
}
