package api

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// DescribeClientQuotas: the entities that match a filter, with their quotas. It is answered from the newest image, on a
// worker when there are many entities.

// describeClientQuotasBlocks tells whether the answer takes long.
func describeClientQuotasBlocks(c *Context, _ kmsg.Request) bool {
	return c.Node.Image().QuotaCount() > inlineMax
}

func describeClientQuotas(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DescribeClientQuotasRequest)
	response := request.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	filter, err := newQuotaFilter(request)
	if err != nil {
		response.ErrorCode, response.ErrorMessage = c.refusal(err)
		return response, nil
	}
	response.ErrorMessage = new(string)                           // empty where there is no error, as in Kafka
	response.Entries = []kmsg.DescribeClientQuotasResponseEntry{} // null stands for an error
	for e, quotas := range c.Node.Image().AllQuotas() {
		if !filter.matches(e) {
			continue
		}
		entry := kmsg.NewDescribeClientQuotasResponseEntry()
		for kind, part := range e.Parts() {
			entry.Entity = append(entry.Entity,
				kmsg.DescribeClientQuotasResponseEntryEntity{Type: kind, Name: part.Pointer()})
		}
		for _, key := range slices.Sorted(maps.Keys(quotas)) {
			entry.Values = append(entry.Values,
				kmsg.DescribeClientQuotasResponseEntryValue{Key: key, Value: quotas[key]})
		}
		response.Entries = append(response.Entries, entry)
	}
	return response, nil
}

// quotaFilter is what entities have to look like.
type quotaFilter struct {
	is     image.QuotaEntity // the parts that an entity has to have as they stand here,
	has    map[string]bool   // and the kinds of which it has to have any
	strict bool              // and it has no others
}

// newQuotaFilter reads the filter, or says what is wrong with it.
func newQuotaFilter(request *kmsg.DescribeClientQuotasRequest) (*quotaFilter, error) {
	f := &quotaFilter{has: map[string]bool{}, strict: request.Strict}
	for i := range request.Components {
		if err := f.add(&request.Components[i]); err != nil {
			return nil, err
		}
	}
	if (f.is.IP.Given || f.has[image.QuotaIP]) && (f.is.User.Given || f.has[image.QuotaUser] ||
		f.is.ClientID.Given || f.has[image.QuotaClientID]) {
		return nil, controller.Refuse(kafka.InvalidRequest, "Invalid entity filter component combination. IP filter "+
			"component should not be used with user or clientId filter component.")
	}
	return f, nil
}

// add takes one component of the request into the filter.
func (f *quotaFilter) add(asked *kmsg.DescribeClientQuotasRequestComponent) error {
	part := f.is.Part(asked.EntityType)
	switch {
	case asked.EntityType == "":
		return controller.Refuse(kafka.InvalidRequest, "Invalid empty entity type.")
	case part != nil && part.Given || f.has[asked.EntityType]:
		return controller.Refuse(kafka.InvalidRequest, "Entity type %s cannot appear more than once in the filter.",
			asked.EntityType)
	case part == nil:
		return controller.Refuse(kafka.UnsupportedVersion, "Unsupported entity type %s", asked.EntityType)
	}
	switch asked.MatchType {
	case kmsg.QuotasMatchTypeExact:
		if asked.Match == nil {
			return controller.Refuse(kafka.InvalidRequest,
				"Request specified MATCH_TYPE_EXACT, but set match string to null.")
		}
		*part = image.QuotaNamed(*asked.Match)
		return nil
	case kmsg.QuotasMatchTypeDefault:
		*part = image.QuotaDefault()
		return unmatched("MATCH_TYPE_DEFAULT", asked.Match)
	case kmsg.QuotasMatchTypeAny:
		f.has[asked.EntityType] = true
		return unmatched("MATCH_TYPE_SPECIFIED", asked.Match)
	}
	return controller.Refuse(kafka.InvalidRequest, "Unknown match type %d", int8(asked.MatchType))
}

// unmatched refuses a match string where none belongs.
func unmatched(matchType string, match *string) error {
	if match == nil {
		return nil
	}
	return controller.Refuse(kafka.InvalidRequest, "Request specified %s, but also specified a match string.",
		matchType)
}

func (f *quotaFilter) matches(e image.QuotaEntity) bool {
	for _, kind := range []string{image.QuotaClientID, image.QuotaUser, image.QuotaIP} {
		part, want := e.Part(kind), f.is.Part(kind)
		switch {
		case want.Given && *want != *part, f.has[kind] && !part.Given:
			return false
		case f.strict && part.Given && !want.Given && !f.has[kind]:
			return false
		}
	}
	return true
}
