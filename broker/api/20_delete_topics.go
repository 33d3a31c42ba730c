package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
)

// DeleteTopics: by name, and from version 6 on by id too. The answer waits on a worker until the topics are gone.

// The first versions that know TOPIC_DELETION_DISABLED and THROTTLING_QUOTA_EXCEEDED.
const (
	deletionDisabled   = 3
	deleteTopicsStrict = 5
)

func deleteTopics(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DeleteTopicsRequest)
	response := request.ResponseKind().(*kmsg.DeleteTopicsResponse)
	if request.Version < 6 {
		for i := range request.TopicNames {
			request.Topics = append(request.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &request.TopicNames[i]})
		}
	}
	if !c.Node.Config.Get().Bool("delete.topic.enable") {
		err := error(kafka.TopicDeletionDisabled)
		if request.Version < deletionDisabled {
			err = kafka.InvalidRequest
		}
		c.refuseDeletion(request, response, err)
		return response, nil
	}
	charged := c.mutations(deleteTopicsStrict)
	reply, err := c.decide(ctx, request.TimeoutMillis,
		controller.DeleteTopics{Topics: topicRefs(request), Charge: charged.charger()})
	c.throttle = charged.left()
	if errors.Is(err, errClosing) {
		return nil, err
	}
	if err != nil {
		c.refuseDeletion(request, response, err)
		return response, nil
	}
	for _, t := range reply.(controller.DeleteTopicsReply).Topics {
		told := kmsg.DeleteTopicsResponseTopic{Topic: t.Name, TopicID: t.ID}
		told.ErrorCode, told.ErrorMessage = c.refusal(t.Err)
		response.Topics = append(response.Topics, told)
	}
	return response, nil
}

func topicRefs(request *kmsg.DeleteTopicsRequest) (refs []controller.TopicRef) {
	for i := range request.Topics {
		refs = append(refs, controller.TopicRef{Name: request.Topics[i].Topic, ID: request.Topics[i].TopicID})
	}
	return refs
}

// refuseDeletion gives every topic of the request the same error.
func (c *Context) refuseDeletion(request *kmsg.DeleteTopicsRequest, response *kmsg.DeleteTopicsResponse, err error) {
	for i := range request.Topics {
		told := kmsg.DeleteTopicsResponseTopic{Topic: request.Topics[i].Topic, TopicID: request.Topics[i].TopicID}
		told.ErrorCode, told.ErrorMessage = c.refusal(err)
		response.Topics = append(response.Topics, told)
	}
}
