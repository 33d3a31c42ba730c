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
	case *kmsg.AlterReplicaLogDirsRequest:
		moved := []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: topic, Partitions: []int32{0, 9}}}
		r.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/no/such/dir", Topics: moved}}
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
	case *kmsg.UpdateFeaturesRequest:
		r.TimeoutMillis = 5000
		r.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{
			{Feature: "group.version", MaxVersionLevel: 1, UpgradeType: 1},
		}
	case *kmsg.DescribeProducersRequest:
		r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: []int32{0, 9}}}
	case *kmsg.DescribeTopicPartitionsRequest:
		r.ResponsePartitionLimit = 1
		r.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: topic}, {Topic: "zzz"}}
		r.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic}
	default:
		fillReassignments(request)
		fillQuotas(request)
	}
}

// fillQuotas sets a quota and removes another; what is set is described later on.
func fillQuotas(request kmsg.Request) {
	user := "wirecap"
	switch r := request.(type) {
	case *kmsg.AlterClientQuotasRequest:
		entity := []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &user}, {Type: "client-id"}}
		r.Entries = []kmsg.AlterClientQuotasRequestEntry{
			{Entity: entity, Ops: []kmsg.AlterClientQuotasRequestEntryOp{
				{Key: "request_percentage", Value: 12.5}, {Key: "producer_byte_rate", Remove: true},
			}},
			{Entity: entity[:1], Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: "no_such_quota", Value: 1}}},
		}
	case *kmsg.DescribeClientQuotasRequest:
		r.Components = []kmsg.DescribeClientQuotasRequestComponent{
			{EntityType: "user", MatchType: kmsg.QuotasMatchTypeExact, Match: &user},
			{EntityType: "client-id", MatchType: kmsg.QuotasMatchTypeAny},
		}
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
