package main

import "github.com/twmb/franz-go/pkg/kmsg"

// fillAdmin gives an administrative request something to ask for: a topic that is there, and one that is not.
func (d *driver) fillAdmin(request kmsg.Request) {
	switch r := request.(type) {
	case *kmsg.DeleteRecordsRequest:
		r.TimeoutMillis = 5000
		partitions := []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: 1}, {Partition: 9, Offset: -1}}
		r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: partitions}}
	case *kmsg.AlterConfigsRequest:
		r.ValidateOnly = true
		value := "604800000"
		for _, name := range []string{topic, "no-such-topic"} {
			r.Resources = append(r.Resources, kmsg.AlterConfigsRequestResource{
				ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name,
				Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &value}},
			})
		}
	case *kmsg.DescribeLogDirsRequest:
		r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: topic, Partitions: []int32{0, 1, 9}}}
	case *kmsg.CreatePartitionsRequest:
		r.TimeoutMillis, r.ValidateOnly = 5000, true
		r.Topics = []kmsg.CreatePartitionsRequestTopic{
			{Topic: topic, Count: 3, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1}}}},
			{Topic: "no-such-topic", Count: 2},
		}
	case *kmsg.ElectLeadersRequest:
		r.TimeoutMillis = 5000
		r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: []int32{0, 9}}}
	case *kmsg.DescribeQuorumRequest:
		r.Topics = []kmsg.DescribeQuorumRequestTopic{
			{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}}},
		}
	case *kmsg.DescribeProducersRequest:
		r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: []int32{0, 9}}}
	case *kmsg.DescribeTopicPartitionsRequest:
		r.ResponsePartitionLimit = 1
		r.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: topic}, {Topic: "zzz"}}
		r.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic}
	default:
		fillReassignments(request)
	}
}

func fillReassignments(request kmsg.Request) {
	switch r := request.(type) {
	case *kmsg.AlterPartitionAssignmentsRequest:
		r.TimeoutMillis, r.AllowReplicationFactorChange = 5000, true
		r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{
			{Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{
				{Partition: 0, Replicas: []int32{1}}, {Partition: 1}, {Partition: 9, Replicas: []int32{}},
			}},
		}
	case *kmsg.ListPartitionReassignmentsRequest:
		r.TimeoutMillis = 5000
		r.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: topic, Partitions: []int32{0, 1}}}
	}
}
