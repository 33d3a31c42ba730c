package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/metadata/controller"
	"spate/metadata/image"
)

// AlterConfigs: as IncrementalAlterConfigs, for the same resources, but what the request does not name goes back to its
// default.

func alterConfigs(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.AlterConfigsRequest)
	response := request.ResponseKind().(*kmsg.AlterConfigsResponse)
	cmd := controller.AlterConfigs{ValidateOnly: request.ValidateOnly, Replace: true}
	for i := range request.Resources {
		asked := &request.Resources[i]
		altered := controller.AlteredResource{
			Resource: image.Resource{Type: image.ResourceType(asked.ResourceType), Name: asked.ResourceName},
		}
		for _, config := range asked.Configs {
			altered.Changes = append(altered.Changes,
				controller.ConfigChange{Name: config.Name, Op: controller.SetConfig, Value: config.Value})
		}
		cmd.Resources = append(cmd.Resources, altered)
	}
	results, err := c.alter(ctx, cmd)
	if err != nil {
		return nil, err
	}
	for _, altered := range results {
		if altered.Resource.Type == image.ResourceBrokerLogger {
			altered.Err = invalid("Unknown resource type %d", int8(image.ResourceBrokerLogger)) // as of this API
		}
		response.Resources = append(response.Resources, c.replacedConfigs(altered.Resource, altered.Err))
	}
	return response, nil
}

// replacedConfigs is the answer for one resource.
func (c *Context) replacedConfigs(r image.Resource, err error) kmsg.AlterConfigsResponseResource {
	told := kmsg.NewAlterConfigsResponseResource()
	told.ResourceType, told.ResourceName = kmsg.ConfigResourceType(r.Type), r.Name
	told.ErrorCode, told.ErrorMessage = c.refusal(err)
	return told
}
