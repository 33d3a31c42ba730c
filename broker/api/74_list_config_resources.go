package api

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/image"
)

// ListConfigResources: what has settings. Of groups and of client metrics it is those that something is set for, as in
// Kafka.

// configResourceTypes are the types that version 1 knows, in the order in which Kafka answers them; version 0 knows
// client metrics alone.
var configResourceTypes = []image.ResourceType{
	image.ResourceGroup, image.ResourceClientMetrics, image.ResourceBrokerLogger, image.ResourceBroker,
	image.ResourceTopic,
}

// listConfigResourcesBlocks tells whether the list may be long.
func listConfigResourcesBlocks(c *Context, _ kmsg.Request) bool {
	return manyResources(c.Node.Image())
}

func manyResources(img *image.Image) bool { return img.TopicCount()+img.ConfiguredCount() > inlineMax }

func listConfigResources(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.ListConfigResourcesRequest)
	response := request.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	known := configResourceTypes
	if request.Version == 0 {
		known = []image.ResourceType{image.ResourceClientMetrics}
	}
	var asked [128]bool
	for _, t := range request.ResourceTypes {
		if !slices.Contains(known, image.ResourceType(t)) {
			response.ErrorCode = c.fail(kafka.UnsupportedVersion.Code)
			return response, nil
		}
		asked[t] = true
	}
	for _, t := range known {
		if len(request.ResourceTypes) > 0 && !asked[t] {
			continue
		}
		for _, name := range c.configResources(t) {
			response.ConfigResources = append(response.ConfigResources,
				kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: int8(t)})
		}
	}
	return response, nil
}

// configResources names the resources of a type.
func (c *Context) configResources(t image.ResourceType) (names []string) {
	img := c.Node.Image()
	switch t {
	case image.ResourceGroup, image.ResourceClientMetrics:
		for r := range img.AllConfigs() {
			if r.Type == t {
				names = append(names, r.Name)
			}
		}
	case image.ResourceBroker, image.ResourceBrokerLogger:
		for _, b := range nodes(img, c.Conn.Listener(), false) {
			names = append(names, strconv.Itoa(int(b.id)))
		}
	case image.ResourceTopic:
		for topic := range img.Topics() {
			names = append(names, topic.Name)
		}
	}
	return names
}
