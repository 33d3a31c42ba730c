package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// DescribeCluster: the cluster's id and its brokers.

// The kinds of endpoint that a client may want to hear of.
const (
	brokerEndpoint     = 1
	controllerEndpoint = 2
)

func describeCluster(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DescribeClusterRequest)
	response := request.ResponseKind().(*kmsg.DescribeClusterResponse)
	response.ControllerID = int32(kafka.NoBroker)
	if err := checkEndpointType(request); err != nil {
		message := err.message
		response.ErrorCode, response.ErrorMessage = c.fail(err.code.Code), &message
		return response, nil
	}
	img := c.Node.Image()
	response.ClusterID = img.ClusterID()
	response.ControllerID = controllerOf(img, c.Node.ID)
	for _, b := range nodes(img, c.Conn.Listener(), request.IncludeFencedBrokers) {
		response.Brokers = append(response.Brokers, kmsg.DescribeClusterResponseBroker{
			NodeID: b.id, Host: b.host, Port: b.port, Rack: b.rack, IsFenced: b.fenced,
		})
	}
	if request.IncludeClusterAuthorizedOperations {
		response.ClusterAuthorizedOperations = clusterOperations
	}
	return response, nil
}

// wrongEndpoint says why a request does not belong here.
type wrongEndpoint struct {
	code    *kafka.Error
	message string
}

// checkEndpointType lets requests about brokers pass. Version 0, which cannot say what it is about, is one.
func checkEndpointType(request *kmsg.DescribeClusterRequest) *wrongEndpoint {
	switch {
	case request.Version == 0 || request.EndpointType == brokerEndpoint:
		return nil
	case request.EndpointType == controllerEndpoint:
		return &wrongEndpoint{kafka.MismatchedEndpointType,
			"The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"}
	}
	return &wrongEndpoint{kafka.UnsupportedEndpointType,
		fmt.Sprintf("Unsupported endpoint type %d", request.EndpointType)}
}
