package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// DescribeTopicPartitions: topics by name, a page at a time. A page ends at a number of partitions, with a cursor to
// where the next one begins.

// topicPartitionsMax is Kafka's default of max.request.partition.size.limit: the partitions of a page.
const topicPartitionsMax = 2000

// describeTopicPartitionsBlocks tells whether the page may be long, or there are many names to put in order.
func describeTopicPartitionsBlocks(_ *Context, r kmsg.Request) bool {
	request := r.(*kmsg.DescribeTopicPartitionsRequest)
	return request.ResponsePartitionLimit > inlineMax || len(request.Topics) > inlineMax
}

func describeTopicPartitions(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DescribeTopicPartitionsRequest)
	response := request.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	names, ok := pageNames(request)
	if !ok {
		for i := range request.Topics {
			told := kmsg.NewDescribeTopicPartitionsResponseTopic()
			told.Topic, told.ErrorCode = &request.Topics[i].Topic, c.fail(kafka.InvalidRequest.Code)
			response.Topics = append(response.Topics, told)
		}
		return response, nil
	}
	img := c.Node.Image()
	page := topicPage{
		describer: topicDescriber{c: c, image: img, request: newestMetadata, listener: c.Conn.Listener()},
		cursor:    request.Cursor, response: response,
		left: int(max(min(request.ResponsePartitionLimit, topicPartitionsMax), 1)),
	}
	if len(request.Topics) == 0 {
		for t := range img.TopicsFrom(page.start()) {
			if page.full(t.Name) {
				break
			}
			page.add(t)
		}
		return response, nil
	}
	for _, name := range names {
		if page.full(name) {
			break
		}
		if t := img.Topic(name); t != nil {
			page.add(t)
		} else {
			page.unknown(name)
		}
	}
	return response, nil
}

// newestMetadata makes a topicDescriber describe as in the newest version.
var newestMetadata = &kmsg.MetadataRequest{Version: 13}

// pageNames is the names of a request from the cursor on, in order and each once. They must be those that the cursor
// was given for.
func pageNames(request *kmsg.DescribeTopicPartitionsRequest) (names []string, ok bool) {
	cursor := request.Cursor
	if cursor != nil && cursor.Partition < 0 {
		return nil, false
	}
	if len(request.Topics) == 0 {
		return nil, true
	}
	for i := range request.Topics {
		if name := request.Topics[i].Topic; cursor == nil || name >= cursor.Topic {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names, cursor == nil || slices.Contains(names, cursor.Topic)
}

// topicPage is a page that is being written.
type topicPage struct {
	describer topicDescriber
	cursor    *kmsg.DescribeTopicPartitionsRequestCursor
	response  *kmsg.DescribeTopicPartitionsResponse
	left      int // partitions that the page has room for
}

// start is the first name of the page.
func (p *topicPage) start() string {
	if p.cursor == nil {
		return ""
	}
	return p.cursor.Topic
}

// full tells whether the page ends before a topic, and then says so in the response.
func (p *topicPage) full(next string) bool {
	if p.response.NextCursor == nil && p.left == 0 {
		p.response.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: next}
	}
	return p.response.NextCursor != nil
}

// add describes a topic as far as there is room.
func (p *topicPage) add(t *image.Topic) {
	first := 0
	if p.cursor != nil && p.cursor.Topic == t.Name {
		first = min(int(p.cursor.Partition), len(t.Partitions))
	}
	end := min(first+p.left, len(t.Partitions))
	told := p.head(t.Name, t.ID)
	for index := first; index < end; index++ {
		told.Partitions = append(told.Partitions, p.partition(int32(index), t.Partitions[index]))
	}
	p.left -= end - first
	p.response.Topics = append(p.response.Topics, told)
	if end < len(t.Partitions) {
		p.response.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: t.Name, Partition: int32(end)}
	}
}

// unknown tells that there is no such topic.
func (p *topicPage) unknown(name string) {
	err := kafka.UnknownTopicOrPartition
	if controller.CheckTopicName(name) != nil {
		err = kafka.InvalidTopicException
	}
	told := p.head(name, kafka.ZeroUUID)
	told.ErrorCode = p.describer.c.fail(err.Code)
	p.response.Topics = append(p.response.Topics, told)
}

func (p *topicPage) head(name string, id kafka.UUID) kmsg.DescribeTopicPartitionsResponseTopic {
	told := kmsg.NewDescribeTopicPartitionsResponseTopic()
	told.Topic, told.TopicID, told.IsInternal = &name, id, kafka.IsInternalTopic(name)
	told.AuthorizedOperations = topicOperations
	return told
}

func (p *topicPage) partition(index int32, of *image.Partition) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	m := p.describer.partition(index, of)
	told := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	told.Partition, told.ErrorCode = m.Partition, m.ErrorCode
	told.LeaderID, told.LeaderEpoch = m.Leader, m.LeaderEpoch
	told.Replicas, told.ISR, told.OfflineReplicas = m.Replicas, m.ISR, m.OfflineReplicas
	told.EligibleLeaderReplicas, told.LastKnownELR = numbersOf(of.ELR), numbersOf(of.LastKnownELR)
	return told
}
