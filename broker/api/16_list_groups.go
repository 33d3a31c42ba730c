package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group"
	"spate/coordinator/runtime"
	"spate/kafka"
)

// ListGroups: the groups whose coordinator this broker is. Clients ask every broker.

func listGroups(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.ListGroupsRequest)
	led := c.Node.Groups.Led()
	list := group.List{States: request.StatesFilter, Types: request.TypesFilter}
	a.gather(len(led), func(i int, to runtime.Done) {
		c.Node.Groups.SubmitTo(led[i], list, to)
	}, func(answers []said) {
		response := request.ResponseKind().(*kmsg.ListGroupsResponse)
		for i := range answers {
			switch err := answers[i].err; {
			case err == nil:
				response.Groups = appendListed(response.Groups, answers[i].body.(group.ListReply).Groups)
			case kafka.CodeOf(err) == kafka.NotCoordinator.Code: // its groups are another broker's by now
			default: // some are missing: a list that looks complete would mislead
				response.Groups, response.ErrorCode = nil, a.groupCode(err)
				a.Answer(response)
				return
			}
		}
		a.Answer(response)
	})
}

func appendListed(list []kmsg.ListGroupsResponseGroup, groups []group.Listed) []kmsg.ListGroupsResponseGroup {
	for i := range groups {
		g := &groups[i]
		list = append(list, kmsg.ListGroupsResponseGroup{
			Group: g.Group, ProtocolType: g.ProtocolType, GroupState: g.State, GroupType: g.Type,
		})
	}
	return list
}
