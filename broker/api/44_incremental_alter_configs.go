package api

import (
	"context"
	"errors"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// IncrementalAlterConfigs: the controller decides, resource by resource; the answer waits on a worker until its
// decision is durable and in force on this broker. Of brokers it is this one that can be altered, and all of them at
// once. The levels of loggers cannot be changed at run time, and are refused by name.

// alterTimeoutMs bounds the wait for the controller: Kafka's request.timeout.ms, as the request brings none.
const alterTimeoutMs = 30_000

func incrementalAlterConfigs(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.IncrementalAlterConfigsRequest)
	response := request.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	cmd := controller.AlterConfigs{ValidateOnly: request.ValidateOnly}
	for i := range request.Resources {
		cmd.Resources = append(cmd.Resources, alteredResource(&request.Resources[i]))
	}
	results, err := c.alter(ctx, cmd)
	if err != nil {
		return nil, err
	}
	for _, altered := range results {
		response.Resources = append(response.Resources, c.alteredConfigs(altered.Resource, altered.Err))
	}
	return response, nil
}

// alter has the controller decide about all resources but those that this broker refuses itself, and gives what became
// of each, in their order. The error says that the broker is closing.
func (c *Context) alter(ctx context.Context, cmd controller.AlterConfigs) ([]controller.AlteredConfigs, error) {
	results := make([]controller.AlteredConfigs, len(cmd.Resources))
	asked := cmd
	asked.Resources = nil
	var at []int // in results, of each resource of asked
	for i := range cmd.Resources {
		r := cmd.Resources[i].Resource
		results[i].Resource = r
		if results[i].Err = c.unalterable(r); results[i].Err == nil {
			asked.Resources, at = append(asked.Resources, cmd.Resources[i]), append(at, i)
		}
	}
	reply, err := c.decide(ctx, alterTimeoutMs, asked)
	if errors.Is(err, errClosing) {
		return nil, err
	}
	for i := range at {
		if results[at[i]].Err = err; err == nil {
			results[at[i]].Err = reply.(controller.AlterConfigsReply).Resources[i].Err
		}
	}
	return results, nil
}

// unalterable is why this broker has nothing to do with a resource.
func (c *Context) unalterable(r image.Resource) error {
	switch {
	case r.Type == image.ResourceBrokerLogger:
		if err := c.checkNodeID(r.Name, "Unexpected node id. Expected"); err != nil {
			return err
		}
		return invalid("The levels of loggers cannot be altered")
	case r.Type == image.ResourceBroker && r.Name != "":
		return c.checkNodeID(r.Name, "Unexpected broker id, expected")
	}
	return nil
}

// checkNodeID refuses names that are not the id of this node, with the words that Kafka has for it there.
func (c *Context) checkNodeID(name, unexpected string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return invalid("Node id must be an integer, but it is: %s", name)
	}
	if kafka.BrokerID(id) != c.Node.ID {
		return invalid("%s %d, but received %s", unexpected, c.Node.ID, name)
	}
	return nil
}

func alteredResource(asked *kmsg.IncrementalAlterConfigsRequestResource) controller.AlteredResource {
	altered := controller.AlteredResource{
		Resource: image.Resource{Type: image.ResourceType(asked.ResourceType), Name: asked.ResourceName},
	}
	for i := range asked.Configs {
		config := &asked.Configs[i]
		altered.Changes = append(altered.Changes, controller.ConfigChange{
			Name: config.Name, Op: controller.ConfigOp(config.Op), Value: config.Value,
		})
	}
	return altered
}

// alteredConfigs is the answer for one resource.
func (c *Context) alteredConfigs(r image.Resource, err error) kmsg.IncrementalAlterConfigsResponseResource {
	told := kmsg.NewIncrementalAlterConfigsResponseResource()
	told.ResourceType, told.ResourceName = kmsg.ConfigResourceType(r.Type), r.Name
	told.ErrorCode, told.ErrorMessage = c.refusal(err)
	return told
}
