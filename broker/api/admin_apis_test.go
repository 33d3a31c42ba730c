package api_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// Goal: what grows can be used at once, whatever the timing. Method: the partitions are written to as soon as the
// answer is there, many times.
func TestNewPartitionsAreThereWithTheAnswer(t *testing.T) {
	s := ourBroker(t)
	for count := int32(1); count <= 20; count++ {
		if count == 1 {
			s.createTopics("grows", 1)
		} else {
			grow := kmsg.NewPtrCreatePartitionsRequest()
			grow.TimeoutMillis = 10_000
			grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "grows", Count: count}}
			if r := s.exchange(grow).(*kmsg.CreatePartitionsResponse).Topics[0]; r.ErrorCode != kafka.NoError {
				t.Fatalf("to %d: error %d", count, r.ErrorCode)
			}
		}
		offsets := kmsg.NewPtrListOffsetsRequest()
		offsets.Version, offsets.ReplicaID = 7, -1
		newest := kmsg.ListOffsetsRequestTopicPartition{Partition: count - 1, CurrentLeaderEpoch: -1, Timestamp: -1}
		offsets.Topics = []kmsg.ListOffsetsRequestTopic{
			{Topic: "grows", Partitions: []kmsg.ListOffsetsRequestTopicPartition{newest}},
		}
		got := s.exchange(offsets).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if got.ErrorCode != kafka.NoError || got.Offset != 0 {
			t.Fatalf("partition %d: %+v", count-1, got)
		}
	}
}

// createTopics makes a topic with that many partitions.
func (s *story) createTopics(name string, partitions int32) {
	s.t.Helper()
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 7, 10_000
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}}
	if r := s.exchange(create).(*kmsg.CreateTopicsResponse).Topics[0]; r.ErrorCode != kafka.NoError {
		s.t.Fatalf("%s: error %d", name, r.ErrorCode)
	}
}

// Goal: paging comes past every partition once, whatever the page. Method: all topics by pages of each size.
func TestPagesCoverEveryPartitionOnce(t *testing.T) {
	s := ourBroker(t)
	want := 0
	for i, partitions := range []int32{3, 1, 5, 2} {
		s.createTopics(fmt.Sprint("topic-", i), partitions)
		want += int(partitions)
	}
	for limit := int32(1); limit <= 12; limit++ {
		seen := map[string]bool{}
		request := kmsg.NewPtrDescribeTopicPartitionsRequest()
		request.ResponsePartitionLimit = limit
		for pages := 0; ; pages++ {
			page := s.exchange(request).(*kmsg.DescribeTopicPartitionsResponse)
			told := 0
			for _, topic := range page.Topics {
				for _, p := range topic.Partitions {
					told++
					seen[fmt.Sprint(*topic.Topic, p.Partition)] = true
				}
			}
			if told > int(limit) || pages > want {
				t.Fatalf("limit %d: page %d of %d partitions", limit, pages, told)
			}
			if page.NextCursor == nil {
				break
			}
			request.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{
				Topic: page.NextCursor.Topic, Partition: page.NextCursor.Partition,
			}
		}
		if len(seen) != want {
			t.Errorf("limit %d: %d of %d partitions", limit, len(seen), want)
		}
	}
}

// Goal: a page is never longer than Kafka's. Method: a client that wants everything of a topic of 2,001 partitions.
func TestPagesAreBounded(t *testing.T) {
	s := ourBroker(t)
	s.createTopics("wide", 2001)
	request := kmsg.NewPtrDescribeTopicPartitionsRequest()
	request.ResponsePartitionLimit = 1<<31 - 1
	page := s.exchange(request).(*kmsg.DescribeTopicPartitionsResponse)
	if n := len(page.Topics[0].Partitions); n != 2000 || page.NextCursor == nil || page.NextCursor.Partition != 2000 {
		t.Errorf("%d partitions, then %+v", n, page.NextCursor)
	}
}

// Goal: an answer is bounded by the request. Method: requests that name the same thing again and again.
func TestRepetitionsDoNotMultiply(t *testing.T) {
	s := ourBroker(t)
	s.createTopics("t", 1)
	producers := kmsg.NewPtrDescribeProducersRequest()
	producers.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0, 0}}}
	got := s.exchange(producers).(*kmsg.DescribeProducersResponse).Topics[0].Partitions
	if got[0].ErrorCode != kafka.NoError || got[1].ErrorCode != kafka.InvalidRequest.Code {
		t.Errorf("producers: %+v", got)
	}
	alter := kmsg.NewPtrAlterConfigsRequest()
	resource := kmsg.AlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}
	alter.Resources = []kmsg.AlterConfigsRequestResource{resource, resource} // Kafka never answers this
	for _, r := range s.exchange(alter).(*kmsg.AlterConfigsResponse).Resources {
		if r.ErrorCode != kafka.InvalidRequest.Code {
			t.Errorf("configs: %+v", r)
		}
	}
}

// Goal: a request for too many partitions is refused, not tried. Method: more than the controller's limit.
func TestTooManyNewPartitions(t *testing.T) {
	s := ourBroker(t)
	s.createTopics("t", 1)
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.TimeoutMillis, grow.Topics = 10_000, []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 1<<31 - 1}}
	if r := s.exchange(grow).(*kmsg.CreatePartitionsResponse).Topics[0]; r.ErrorCode != kafka.PolicyViolation.Code {
		t.Errorf("%+v", r)
	}
}
