package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
)

// UpdateFeatures: the controller finalizes features at other levels, all of those asked for or none. Each level is one
// that every broker supports; a downgrade has to be asked for as one.

// featureNone is the message of a feature that was updated.
const featureNone = "NONE"

func updateFeatures(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.UpdateFeaturesRequest)
	response := request.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	cmd := controller.UpdateFeatures{ValidateOnly: request.ValidateOnly}
	for _, u := range request.FeatureUpdates {
		update := controller.FeatureUpdate{
			Name: u.Feature, Level: u.MaxVersionLevel, Type: controller.UpgradeType(u.UpgradeType),
		}
		if request.Version == 0 {
			update.Type = controller.Upgrade // AllowDowngrade allows nothing, as in Kafka
		}
		cmd.Updates = append(cmd.Updates, update)
	}
	_, err := c.decide(ctx, request.TimeoutMillis, cmd)
	if errors.Is(err, errClosing) {
		return nil, err
	}
	response.ErrorCode, response.ErrorMessage = c.refusal(err)
	if err != nil {
		if response.ErrorMessage != nil {
			message := "The update failed for all features since the following feature had an error: " +
				*response.ErrorMessage
			response.ErrorMessage = &message
		}
		return response, nil
	}
	for _, u := range request.FeatureUpdates {
		told := kmsg.NewUpdateFeaturesResponseResult()
		told.Feature, told.ErrorCode, told.ErrorMessage = u.Feature, kafka.NoError, kmsg.StringPtr(featureNone)
		response.Results = append(response.Results, told) // version 2 does not have them
	}
	return response, nil
}
