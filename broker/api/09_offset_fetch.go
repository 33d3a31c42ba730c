package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group"
	"spate/coordinator/group/offsets"
	"spate/coordinator/runtime"
	"spate/kafka"
	"spate/metadata/image"
)

// OffsetFetch: how far groups have come. From version 8 on a request is about any number of groups, each of which has
// its own error; before, it is about one, whose error stands at the top, or in version 1 with each partition.

// Versions of the OffsetFetch API with a meaning of their own.
const (
	fetchTopError = 2  // before, there is no error but that of a partition
	fetchGroups   = 8  // from here on several groups
	fetchMember   = 9  // from here on a member may say who asks
	fetchTopicIDs = 10 // from here on topics have ids instead of names
)

func offsetFetch(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.OffsetFetchRequest)
	groups := groupsOf(request)
	img := c.Node.Image()
	a.gather(len(groups), func(i int, to runtime.Done) {
		g := &groups[i]
		fetch := group.OffsetFetch{MemberEpoch: -1}
		if request.Version >= fetchMember {
			fetch.MemberID, fetch.MemberEpoch = g.MemberID, g.MemberEpoch
		}
		fetch.Fetch = offsets.Fetch{All: g.Topics == nil, RequireStable: request.RequireStable}
		for j := range g.Topics {
			if asked, ok := fetchTopic(img, &g.Topics[j], request.Version); ok {
				fetch.Fetch.Topics = append(fetch.Fetch.Topics, asked)
			}
		}
		c.Node.Groups.Submit(g.Group, group.Command{Group: g.Group, Body: fetch}, to)
	}, func(answers []said) {
		told := make([]kmsg.OffsetFetchResponseGroup, len(groups))
		for i := range groups {
			told[i] = a.tellFetched(&groups[i], answers[i])
		}
		a.Answer(fetchResponse(request, told))
	})
}

// groupsOf lists the groups of a request of any version.
func groupsOf(request *kmsg.OffsetFetchRequest) []kmsg.OffsetFetchRequestGroup {
	if request.Version >= fetchGroups {
		return request.Groups
	}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = request.Group
	if request.Topics != nil {
		g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(request.Topics))
	}
	for i := range request.Topics {
		g.Topics[i].Topic, g.Topics[i].Partitions = request.Topics[i].Topic, request.Topics[i].Partitions
	}
	return []kmsg.OffsetFetchRequestGroup{g}
}

// fetchTopic is what the coordinator is asked about a topic; false for an id that nobody knows.
func fetchTopic(img *image.Image, t *kmsg.OffsetFetchRequestGroupTopic, version int16) (offsets.FetchTopic, bool) {
	asked := offsets.FetchTopic{Topic: t.Topic}
	if version >= fetchTopicIDs {
		found := img.TopicByID(t.TopicID)
		if found == nil {
			return asked, false
		}
		asked.Topic, asked.TopicID = found.Name, found.ID
	}
	asked.Partitions = make([]kafka.PartitionIndex, len(t.Partitions))
	for i, p := range t.Partitions {
		asked.Partitions[i] = kafka.PartitionIndex(p)
	}
	return asked, true
}

// tellFetched is the answer about one group.
func (a *Asked) tellFetched(g *kmsg.OffsetFetchRequestGroup, answer said) kmsg.OffsetFetchResponseGroup {
	version := a.Request.GetVersion()
	told := kmsg.OffsetFetchResponseGroup{Group: g.Group, ErrorCode: a.groupCode(answer.err)}
	if answer.err != nil {
		if version < fetchTopError {
			for i := range g.Topics {
				told.Topics = append(told.Topics, unfetched(&g.Topics[i], told.ErrorCode))
			}
		}
		return told
	}
	for _, t := range answer.body.(offsets.FetchReply).Topics {
		found := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
		if version >= fetchTopicIDs && t.TopicID == kafka.ZeroUUID {
			exists := a.node.Image().Topic(t.Topic)
			if exists == nil { // deleted meanwhile: there is no id to tell it by
				continue
			}
			found.TopicID = exists.ID
		}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			found.Partitions = append(found.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
				Partition: int32(p.Partition), Offset: int64(p.Offset), LeaderEpoch: int32(p.LeaderEpoch),
				Metadata: &p.Metadata, ErrorCode: a.groupCode(p.Err),
			})
		}
		told.Topics = append(told.Topics, found)
	}
	if version >= fetchTopicIDs {
		told.Topics = append(told.Topics, a.unknownTopics(g, told.Topics)...)
	}
	return told
}

// unknownTopics are the answers about ids of the request that are not among those told.
func (a *Asked) unknownTopics(g *kmsg.OffsetFetchRequestGroup,
	told []kmsg.OffsetFetchResponseGroupTopic) (unknown []kmsg.OffsetFetchResponseGroupTopic) {
	known := make(map[kafka.UUID]bool, len(told))
	for i := range told {
		known[told[i].TopicID] = true
	}
	for i := range g.Topics {
		if t := &g.Topics[i]; !known[t.TopicID] {
			unknown = append(unknown, unfetched(t, a.fail(kafka.UnknownTopicID.Code)))
		}
	}
	return unknown
}

// unfetched gives every partition of a topic the same error.
func unfetched(t *kmsg.OffsetFetchRequestGroupTopic, code int16) kmsg.OffsetFetchResponseGroupTopic {
	told := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
	for _, p := range t.Partitions {
		told.Partitions = append(told.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
			Partition: p, Offset: int64(kafka.NoOffset), LeaderEpoch: int32(kafka.NoLeaderEpoch),
			Metadata: new(string), ErrorCode: code,
		})
	}
	return told
}

// fetchResponse puts the answers about groups where the version has them.
func fetchResponse(request *kmsg.OffsetFetchRequest, told []kmsg.OffsetFetchResponseGroup) kmsg.Response {
	response := request.ResponseKind().(*kmsg.OffsetFetchResponse)
	if request.Version >= fetchGroups {
		response.Groups = told
		return response
	}
	response.ErrorCode = told[0].ErrorCode
	for _, t := range told[0].Topics {
		topic := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata,
				ErrorCode: p.ErrorCode,
			})
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}
