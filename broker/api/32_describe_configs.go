package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/config"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// DescribeConfigs: every setting of a topic, a group, a subscription of client metrics or this broker, its value, where
// that comes from and what it means. Loggers have no settings here, and are refused by name.

// describeInlineMax is how many resources are described on the event loop: each has dozens of settings.
const describeInlineMax = inlineMax / 32

// describeConfigsBlocks tells whether there are many resources to describe.
func describeConfigsBlocks(_ *Context, r kmsg.Request) bool {
	return len(r.(*kmsg.DescribeConfigsRequest).Resources) > describeInlineMax
}

func describeConfigs(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DescribeConfigsRequest)
	response := request.ResponseKind().(*kmsg.DescribeConfigsResponse)
	known := !slices.ContainsFunc(request.Resources, hasUnknownType)
	described := map[resource]bool{} // with all of their settings
	for i := range request.Resources {
		asked := &request.Resources[i]
		if key := (resource{asked.ResourceType, asked.ResourceName}); len(asked.ConfigNames) == 0 {
			if described[key] {
				continue
			}
			described[key] = true
		}
		entries, err := []config.Entry(nil), invalid("%s", kafka.InvalidRequest.Message())
		if known { // one resource of an unknown type spoils the request, as in Kafka
			entries, err = c.entries(asked)
		}
		told := kmsg.DescribeConfigsResponseResource{ResourceType: asked.ResourceType, ResourceName: asked.ResourceName}
		told.ErrorCode, told.ErrorMessage = c.refusal(err)
		if err == nil || told.ErrorCode == kafka.UnknownTopicOrPartition.Code {
			told.ErrorMessage = new(string) // empty, not null
		}
		told.Configs = describeEntries(request, asked, entries)
		response.Resources = append(response.Resources, told)
	}
	return response, nil
}

// resource names one resource of a request. Kafka describes it as often as it is named; here it is described in full
// once, so that a small request cannot make an answer of any size.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

func hasUnknownType(r kmsg.DescribeConfigsRequestResource) bool {
	switch image.ResourceType(r.ResourceType) {
	case image.ResourceTopic, image.ResourceBroker, image.ResourceBrokerLogger, image.ResourceClientMetrics,
		image.ResourceGroup:
		return false
	}
	return true
}

// entries is all settings of a resource.
func (c *Context) entries(asked *kmsg.DescribeConfigsRequestResource) ([]config.Entry, error) {
	switch image.ResourceType(asked.ResourceType) {
	case image.ResourceTopic:
		return c.topicEntries(asked.ResourceName)
	case image.ResourceBroker:
		return c.brokerEntries(asked.ResourceName)
	case image.ResourceGroup:
		return c.groupEntries(asked.ResourceName)
	case image.ResourceClientMetrics:
		if asked.ResourceName == "" {
			return nil, invalid("Client metrics subscription name must not be empty")
		}
		r := image.Resource{Type: image.ResourceClientMetrics, Name: asked.ResourceName}
		return config.ClientMetricsEntries(c.Node.Image().Configs(r)), nil
	}
	return nil, invalid("Unsupported resource type: %s", asked.ResourceType)
}

func (c *Context) topicEntries(name string) ([]config.Entry, error) {
	if err := controller.CheckTopicName(name); err != nil {
		return nil, err
	}
	img := c.Node.Image()
	if img.Topic(name) == nil {
		return nil, kafka.UnknownTopicOrPartition
	}
	return c.Node.Config.Get().TopicEntries(img.Configs(image.TopicResource(name))), nil
}

// groupEntries is the settings that a group has, or would have: it need not exist.
func (c *Context) groupEntries(id string) ([]config.Entry, error) {
	if id == "" {
		return nil, invalid("Group name must not be empty")
	}
	return c.Node.Config.Get().GroupEntries(c.Node.Image().Configs(image.GroupResource(id))), nil
}

// brokerEntries is the settings of this broker. The empty name stands for what was set at run time for all brokers.
func (c *Context) brokerEntries(name string) ([]config.Entry, error) {
	if name == "" {
		return c.Node.Config.Get().ClusterEntries(), nil
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return nil, invalid("Broker id must be an integer, but it is: %s", name)
	}
	if kafka.BrokerID(id) != c.Node.ID {
		return nil, invalid("Unexpected broker id, expected %d or empty string, but received %s", c.Node.ID, name)
	}
	return c.Node.Config.Get().Entries(), nil
}

func invalid(format string, args ...any) error {
	return &controller.Refusal{Code: kafka.InvalidRequest, Message: fmt.Sprintf(format, args...)}
}

// describeEntries gives the entries that are asked for, or all if none is named.
func describeEntries(request *kmsg.DescribeConfigsRequest, asked *kmsg.DescribeConfigsRequestResource,
	entries []config.Entry) (told []kmsg.DescribeConfigsResponseResourceConfig) {
	for i := range entries {
		e := &entries[i]
		if len(asked.ConfigNames) == 0 || slices.Contains(asked.ConfigNames, e.Name) {
			told = append(told, describeEntry(request, e))
		}
	}
	return told
}

func describeEntry(request *kmsg.DescribeConfigsRequest, e *config.Entry) kmsg.DescribeConfigsResponseResourceConfig {
	told := kmsg.NewDescribeConfigsResponseResourceConfig()
	told.Name, told.ReadOnly, told.IsSensitive = e.Name, e.ReadOnly, e.Sensitive
	told.Source, told.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type)
	if !e.Sensitive {
		told.Value = e.Value
	}
	if request.IncludeDocumentation {
		told.Documentation = &e.Doc
	}
	if !request.IncludeSynonyms {
		return told
	}
	for _, s := range e.Synonyms {
		synonym := kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
			Name: s.Name, Source: kmsg.ConfigSource(s.Source),
		}
		if !e.Sensitive {
			synonym.Value = s.Value
		}
		told.ConfigSynonyms = append(told.ConfigSynonyms, synonym)
	}
	return told
}
