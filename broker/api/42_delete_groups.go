package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group"
)

// DeleteGroups: groups without members are deleted, with their offsets. Each has its own error.

func deleteGroups(_ *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.DeleteGroupsRequest)
	ids := distinct(request.Groups)
	a.gatherGroups(ids, group.DeleteGroup{}, func(answers []said) {
		response := request.ResponseKind().(*kmsg.DeleteGroupsResponse)
		for i, id := range ids {
			response.Groups = append(response.Groups, kmsg.DeleteGroupsResponseGroup{
				Group: id, ErrorCode: a.groupCode(answers[i].err),
			})
		}
		a.Answer(response)
	})
}

func deleteGroupsBlocks(_ *Context, r kmsg.Request) bool {
	return len(r.(*kmsg.DeleteGroupsRequest).Groups) > inlineMax
}

// distinct drops what came before.
func distinct(words []string) []string {
	seen := make(map[string]bool, len(words))
	kept := words[:0:0]
	for _, word := range words {
		if !seen[word] {
			seen[word] = true
			kept = append(kept, word)
		}
	}
	return kept
}
