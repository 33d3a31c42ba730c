package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/metadata/controller"
	"spate/metadata/image"
)

// IncrementalAlterConfigs: the controller decides, resource by resource, about topics and groups; the answer waits on a
// worker until its decision is durable and in force on this broker. What is set for brokers, their loggers and client
// metrics cannot be changed at run time yet, and is refused by name.

// alterTimeoutMs bounds the wait for the controller: Kafka's request.timeout.ms, as the request brings none.
const alterTimeoutMs = 30_000

func incrementalAlterConfigs(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.IncrementalAlterConfigsRequest)
	response := request.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	cmd := controller.AlterConfigs{ValidateOnly: request.ValidateOnly}
	for i := range request.Resources {
		cmd.Resources = append(cmd.Resources, alteredResource(&request.Resources[i]))
	}
	reply, err := c.decide(ctx, alterTimeoutMs, cmd)
	if errors.Is(err, errClosing) {
		return nil, err
	}
	if err != nil {
		for i := range cmd.Resources {
			response.Resources = append(response.Resources, c.alteredConfigs(cmd.Resources[i].Resource, err))
		}
		return response, nil
	}
	for _, altered := range reply.(controller.AlterConfigsReply).Resources {
		response.Resources = append(response.Resources, c.alteredConfigs(altered.Resource, altered.Err))
	}
	return response, nil
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
