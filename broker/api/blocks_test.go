package api

import (
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka/wire"
)

// Goal: what may wait, or takes long, does not run on an event loop; what is quick does. Method: the table's Blocks,
// asked about requests of each kind.
func TestBlocks(t *testing.T) {
	offsets := func(timestamps ...int64) kmsg.Request {
		topic := kmsg.ListOffsetsRequestTopic{Topic: "t"}
		for i, ts := range timestamps {
			topic.Partitions = append(topic.Partitions,
				kmsg.ListOffsetsRequestTopicPartition{Partition: int32(i), Timestamp: ts})
		}
		return &kmsg.ListOffsetsRequest{Topics: []kmsg.ListOffsetsRequestTopic{topic}}
	}
	epochs := func(n int) kmsg.Request {
		partitions := make([]kmsg.OffsetForLeaderEpochRequestTopicPartition, n)
		return &kmsg.OffsetForLeaderEpochRequest{
			Topics: []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: partitions}},
		}
	}
	describe := func(n int) kmsg.Request {
		return &kmsg.DescribeConfigsRequest{Resources: make([]kmsg.DescribeConfigsRequestResource, n)}
	}
	const many = inlineMax + 1
	commit := func(n int) kmsg.Request {
		partitions := make([]kmsg.OffsetCommitRequestTopicPartition, n)
		return &kmsg.OffsetCommitRequest{Topics: []kmsg.OffsetCommitRequestTopic{{Partitions: partitions}}}
	}
	markers := func(n int) kmsg.Request {
		topic := kmsg.WriteTxnMarkersRequestMarkerTopic{Topic: "t", Partitions: make([]int32, n)}
		marker := kmsg.WriteTxnMarkersRequestMarker{Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{topic}}
		return &kmsg.WriteTxnMarkersRequest{Markers: []kmsg.WriteTxnMarkersRequestMarker{marker}}
	}
	take := func(n int) kmsg.Request {
		partitions := make([]kmsg.OffsetDeleteRequestTopicPartition, n)
		return &kmsg.OffsetDeleteRequest{Topics: []kmsg.OffsetDeleteRequestTopic{{Partitions: partitions}}}
	}
	cases := []struct {
		name    string
		key     int16
		request kmsg.Request
		want    bool
	}{
		{"the ends of a log are known", wire.KeyListOffsets, offsets(-1, -2, -4, -5, -6), false},
		{"a time is searched", wire.KeyListOffsets, offsets(-1, 1000), true},
		{"the largest timestamp is searched", wire.KeyListOffsets, offsets(-3), true},
		{"a thousand ends", wire.KeyListOffsets, offsets(repeated(inlineMax, -1)...), false},
		{"more than a thousand ends", wire.KeyListOffsets, offsets(repeated(inlineMax+1, -1)...), true},
		{"a thousand epochs", wire.KeyOffsetForLeaderEpoch, epochs(inlineMax), false},
		{"more than a thousand epochs", wire.KeyOffsetForLeaderEpoch, epochs(inlineMax + 1), true},
		{"the settings of a topic", wire.KeyDescribeConfigs, describe(1), false},
		{"the settings of many topics", wire.KeyDescribeConfigs, describe(describeInlineMax + 1), true},
		{"creating topics", wire.KeyCreateTopics, &kmsg.CreateTopicsRequest{}, true},
		{"deleting topics", wire.KeyDeleteTopics, &kmsg.DeleteTopicsRequest{}, true},
		{"offsets of a few partitions", wire.KeyOffsetCommit, commit(100), false},
		{"offsets of many partitions", wire.KeyOffsetCommit, commit(many), true},
		{"the offsets of a group", wire.KeyOffsetFetch, &kmsg.OffsetFetchRequest{Group: "g"}, false},
		{"those of many partitions", wire.KeyOffsetFetch, &kmsg.OffsetFetchRequest{
			Topics: []kmsg.OffsetFetchRequestTopic{{Partitions: make([]int32, many)}},
		}, true},
		{"those of many groups", wire.KeyOffsetFetch, &kmsg.OffsetFetchRequest{
			Groups: make([]kmsg.OffsetFetchRequestGroup, many),
		}, true},
		{"those of many partitions of a group", wire.KeyOffsetFetch, &kmsg.OffsetFetchRequest{
			Groups: []kmsg.OffsetFetchRequestGroup{
				{Topics: []kmsg.OffsetFetchRequestGroupTopic{{Partitions: make([]int32, many)}}},
			},
		}, true},
		{"few offsets go", wire.KeyOffsetDelete, take(100), false},
		{"many offsets go", wire.KeyOffsetDelete, take(many), true},
		{"what a few groups are", wire.KeyDescribeGroups,
			&kmsg.DescribeGroupsRequest{Groups: make([]string, 9)}, false},
		{"what many groups are", wire.KeyDescribeGroups,
			&kmsg.DescribeGroupsRequest{Groups: make([]string, many)}, true},
		{"what many consumer groups are", wire.KeyConsumerGroupDescribe,
			&kmsg.ConsumerGroupDescribeRequest{Groups: make([]string, many)}, true},
		{"a few groups go", wire.KeyDeleteGroups, &kmsg.DeleteGroupsRequest{Groups: make([]string, 9)}, false},
		{"many groups go", wire.KeyDeleteGroups, &kmsg.DeleteGroupsRequest{Groups: make([]string, many)}, true},
		{"coordinators of share groups", wire.KeyFindCoordinator,
			&kmsg.FindCoordinatorRequest{CoordinatorType: 2}, false},
		{"coordinators of many", wire.KeyFindCoordinator, &kmsg.FindCoordinatorRequest{
			CoordinatorType: 1, CoordinatorKeys: make([]string, many),
		}, true},
		{"partitions of a few", wire.KeyAddPartitionsToTxn, &kmsg.AddPartitionsToTxnRequest{
			Topics: make([]kmsg.AddPartitionsToTxnRequestTopic, 9),
		}, false},
		{"partitions of many", wire.KeyAddPartitionsToTxn, &kmsg.AddPartitionsToTxnRequest{
			Topics: []kmsg.AddPartitionsToTxnRequestTopic{{Partitions: make([]int32, many)}},
		}, true},
		{"many transactions with partitions", wire.KeyAddPartitionsToTxn, &kmsg.AddPartitionsToTxnRequest{
			Transactions: []kmsg.AddPartitionsToTxnRequestTransaction{{
				Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Partitions: make([]int32, many)}},
			}},
		}, true},
		{"a few transactions", wire.KeyDescribeTransactions, &kmsg.DescribeTransactionsRequest{
			TransactionalIDs: make([]string, 9),
		}, false},
		{"many transactions", wire.KeyDescribeTransactions, &kmsg.DescribeTransactionsRequest{
			TransactionalIDs: make([]string, many),
		}, true},
		{"a marker", wire.KeyWriteTxnMarkers, markers(1), false},
		{"a marker in many partitions", wire.KeyWriteTxnMarkers, markers(many), true},
		{"many markers", wire.KeyWriteTxnMarkers, &kmsg.WriteTxnMarkersRequest{
			Markers: make([]kmsg.WriteTxnMarkersRequestMarker, many),
		}, true},
		{"a short filter", wire.KeyListTransactions, &kmsg.ListTransactionsRequest{
			StateFilters: make([]string, 9),
		}, false},
		{"a long filter", wire.KeyListTransactions, &kmsg.ListTransactionsRequest{
			ProducerIDFilters: make([]int64, many),
		}, true},
		{"deleting records", wire.KeyDeleteRecords, &kmsg.DeleteRecordsRequest{}, true},
		{"the room on a disk", wire.KeyDescribeLogDirs, &kmsg.DescribeLogDirsRequest{}, true},
		{"the quorum", wire.KeyDescribeQuorum, &kmsg.DescribeQuorumRequest{}, false},
		{"much that is no quorum", wire.KeyDescribeQuorum, &kmsg.DescribeQuorumRequest{
			Topics: make([]kmsg.DescribeQuorumRequestTopic, many),
		}, true},
		{"reassignments of a few", wire.KeyListPartitionReassignments, &kmsg.ListPartitionReassignmentsRequest{
			Topics: make([]kmsg.ListPartitionReassignmentsRequestTopic, 9),
		}, false},
		{"reassignments of many", wire.KeyListPartitionReassignments, &kmsg.ListPartitionReassignmentsRequest{
			Topics: []kmsg.ListPartitionReassignmentsRequestTopic{{Partitions: make([]int32, many)}},
		}, true},
		{"a short page", wire.KeyDescribeTopicPartitions, &kmsg.DescribeTopicPartitionsRequest{
			ResponsePartitionLimit: 100, Topics: make([]kmsg.DescribeTopicPartitionsRequestTopic, 9),
		}, false},
		{"a long page", wire.KeyDescribeTopicPartitions, &kmsg.DescribeTopicPartitionsRequest{
			ResponsePartitionLimit: 2000,
		}, true},
		{"a page of many names", wire.KeyDescribeTopicPartitions, &kmsg.DescribeTopicPartitionsRequest{
			Topics: make([]kmsg.DescribeTopicPartitionsRequestTopic, many),
		}, true},
		{"a producer id", wire.KeyInitProducerID, &kmsg.InitProducerIDRequest{}, true},
	}
	for _, c := range cases {
		if got := HandlerOf(c.key).Blocks(nil, c.request); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	for _, key := range []int16{
		wire.KeyApiVersions, wire.KeyDescribeCluster, wire.KeyJoinGroup, wire.KeySyncGroup, wire.KeyHeartbeat,
		wire.KeyLeaveGroup, wire.KeyListGroups, wire.KeyConsumerGroupHeartbeat, wire.KeyEndTxn,
	} {
		if HandlerOf(key).Blocks != nil {
			t.Errorf("%s never waits", wire.Name(key))
		}
	}
}

func repeated(n int, value int64) (list []int64) {
	for range n {
		list = append(list, value)
	}
	return list
}

func count(truths ...bool) (n int) {
	for _, is := range truths {
		if is {
			n++
		}
	}
	return n
}

// Goal: every API of the version table has a handler, and no other. Method: both tables against each other.
func TestTableServesTheVersionTable(t *testing.T) {
	for key := range int16(len(byKey)) {
		row, handler := wire.Lookup(key), HandlerOf(key)
		if (row == nil) != (handler == nil) {
			t.Errorf("key %d is in one table only", key)
		}
		if handler == nil {
			continue
		}
		if n := count(handler.Hot != nil, handler.Answer != nil, handler.Ask != nil); n != 1 {
			t.Errorf("key %d needs exactly one handler, has %d", key, n)
		}
	}
	for _, key := range []int16{-1, -32768, int16(len(byKey)), 32767} {
		if HandlerOf(key) != nil {
			t.Error("a handler of key " + strconv.Itoa(int(key)))
		}
	}
}
