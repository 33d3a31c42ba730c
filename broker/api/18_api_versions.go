package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/kafka/wire"
	"spate/metadata/image"
)

// ApiVersions: what this broker serves, and which features the cluster has. It is the first thing that a client asks,
// of a broker that it does not know: a version that is not served is answered in version 0, which every client reads.

// featureLevelZero is the first version in which a feature's lowest level may be 0; clients of earlier ones would give
// up on it (KAFKA-17011).
const featureLevelZero = 4

func apiVersions(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.ApiVersionsRequest)
	response := request.ResponseKind().(*kmsg.ApiVersionsResponse)
	switch {
	case c.Header.Version != request.Version:
		response.ErrorCode = c.fail(kafka.UnsupportedVersion.Code)
		response.ApiKeys = append(response.ApiKeys, versionsOf(wire.Lookup(wire.KeyApiVersions)))
		return response, nil
	case request.Version >= 3 && !(isSoftwareWord(request.ClientSoftwareName) &&
		isSoftwareWord(request.ClientSoftwareVersion)):
		response.ErrorCode = c.fail(kafka.InvalidRequest.Code)
		return response, nil
	}
	for i := range wire.Served {
		response.ApiKeys = append(response.ApiKeys, versionsOf(&wire.Served[i]))
	}
	tellFeatures(response, c.Node.Image(), c.Node.ID)
	return response, nil
}

func versionsOf(row *wire.API) kmsg.ApiVersionsResponseApiKey {
	return kmsg.ApiVersionsResponseApiKey{ApiKey: row.Key, MinVersion: row.AdvertisedMin, MaxVersion: row.Max}
}

// tellFeatures adds the levels that this broker supports, and those that the cluster has settled on.
func tellFeatures(response *kmsg.ApiVersionsResponse, img *image.Image, self kafka.BrokerID) {
	if b := img.Broker(self); b != nil {
		for _, f := range b.Features {
			if f.Min > 0 || response.Version >= featureLevelZero {
				response.SupportedFeatures = append(response.SupportedFeatures,
					kmsg.ApiVersionsResponseSupportedFeature{Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max})
			}
		}
	}
	response.FinalizedFeaturesEpoch = int64(img.EndOffset()) - 1 // the offset of the last record of the image
	for _, f := range img.Features() {
		response.FinalizedFeatures = append(response.FinalizedFeatures,
			kmsg.ApiVersionsResponseFinalizedFeature{Name: f.Name, MinVersionLevel: f.Level, MaxVersionLevel: f.Level})
	}
}

// isSoftwareWord matches Kafka's [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?, so that metrics and logs can hold what a
// client calls itself.
func isSoftwareWord(s string) bool {
	if s == "" || !isAlphanumeric(s[0]) || !isAlphanumeric(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return true
}

func isAlphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}
