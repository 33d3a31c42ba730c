package wire

import "strconv"

// The API keys that are served.
const (
	KeyProduce                     int16 = 0
	KeyFetch                       int16 = 1
	KeyListOffsets                 int16 = 2
	KeyMetadata                    int16 = 3
	KeyOffsetCommit                int16 = 8
	KeyOffsetFetch                 int16 = 9
	KeyFindCoordinator             int16 = 10
	KeyJoinGroup                   int16 = 11
	KeyHeartbeat                   int16 = 12
	KeyLeaveGroup                  int16 = 13
	KeySyncGroup                   int16 = 14
	KeyDescribeGroups              int16 = 15
	KeyListGroups                  int16 = 16
	KeyApiVersions                 int16 = 18
	KeyCreateTopics                int16 = 19
	KeyDeleteTopics                int16 = 20
	KeyDeleteRecords               int16 = 21
	KeyInitProducerID              int16 = 22
	KeyOffsetForLeaderEpoch        int16 = 23
	KeyAddPartitionsToTxn          int16 = 24
	KeyAddOffsetsToTxn             int16 = 25
	KeyEndTxn                      int16 = 26
	KeyWriteTxnMarkers             int16 = 27
	KeyTxnOffsetCommit             int16 = 28
	KeyDescribeConfigs             int16 = 32
	KeyAlterConfigs                int16 = 33
	KeyAlterReplicaLogDirs         int16 = 34
	KeyDescribeLogDirs             int16 = 35
	KeyCreatePartitions            int16 = 37
	KeyDeleteGroups                int16 = 42
	KeyElectLeaders                int16 = 43
	KeyIncrementalAlterConfigs     int16 = 44
	KeyAlterPartitionReassignments int16 = 45
	KeyListPartitionReassignments  int16 = 46
	KeyOffsetDelete                int16 = 47
	KeyDescribeClientQuotas        int16 = 48
	KeyAlterClientQuotas           int16 = 49
	KeyDescribeQuorum              int16 = 55
	KeyUpdateFeatures              int16 = 57
	KeyDescribeCluster             int16 = 60
	KeyDescribeProducers           int16 = 61
	KeyDescribeTransactions        int16 = 65
	KeyListTransactions            int16 = 66
	KeyConsumerGroupHeartbeat      int16 = 68
	KeyConsumerGroupDescribe       int16 = 69
	KeyListConfigResources         int16 = 74
	KeyDescribeTopicPartitions     int16 = 75
)

// never, as API.Flexible, is above every version: the API has no flexible one.
const never int16 = 1<<15 - 1

// API is one row of the version table.
type API struct {
	Key  int16
	Name string // as Kafka's schemas spell it
	Min  int16  // first version served
	Max  int16  // last version served
	// AdvertisedMin is the first version that ApiVersions shows. It differs from Min for Produce only: librdkafka
	// gives up on a broker that does not show Produce 0 (KAFKA-18659), which Kafka therefore shows and refuses.
	AdvertisedMin int16
	Flexible      int16 // first version with compact lengths and tagged fields (KIP-482)
	// body is the layout of the request's body; nil where a parser of our own checks it.
	body shape
}

// Served is the version table: what ApiVersions answers and what ParseHeader lets pass, in the order of the keys. A row
// is there when its API is served in full, with the version range of Kafka 4.3.1.
var Served = [...]API{
	{KeyProduce, "Produce", 3, 13, 0, 9, nil},
	{KeyFetch, "Fetch", 4, 18, 4, 12, nil},
	{KeyListOffsets, "ListOffsets", 1, 11, 1, 6, listOffsetsShape},
	{KeyMetadata, "Metadata", 0, 13, 0, 9, metadataShape},
	{KeyOffsetCommit, "OffsetCommit", 2, 10, 2, 8, offsetCommitShape},
	{KeyOffsetFetch, "OffsetFetch", 1, 10, 1, 6, offsetFetchShape},
	{KeyFindCoordinator, "FindCoordinator", 0, 6, 0, 3, findCoordinatorShape},
	{KeyJoinGroup, "JoinGroup", 0, 9, 0, 6, joinGroupShape},
	{KeyHeartbeat, "Heartbeat", 0, 4, 0, 4, heartbeatShape},
	{KeyLeaveGroup, "LeaveGroup", 0, 5, 0, 4, leaveGroupShape},
	{KeySyncGroup, "SyncGroup", 0, 5, 0, 4, syncGroupShape},
	{KeyDescribeGroups, "DescribeGroups", 0, 6, 0, 5, describeGroupsShape},
	{KeyListGroups, "ListGroups", 0, 5, 0, 3, listGroupsShape},
	{KeyApiVersions, "ApiVersions", 0, 4, 0, 3, apiVersionsShape},
	{KeyCreateTopics, "CreateTopics", 2, 7, 2, 5, createTopicsShape},
	{KeyDeleteTopics, "DeleteTopics", 1, 6, 1, 4, deleteTopicsShape},
	{KeyDeleteRecords, "DeleteRecords", 0, 2, 0, 2, deleteRecordsShape},
	{KeyInitProducerID, "InitProducerId", 0, 5, 0, 2, initProducerIDShape},
	{KeyOffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4, 2, 4, offsetForLeaderEpochShape},
	{KeyAddPartitionsToTxn, "AddPartitionsToTxn", 0, 5, 0, 3, addPartitionsToTxnShape},
	{KeyAddOffsetsToTxn, "AddOffsetsToTxn", 0, 4, 0, 3, addOffsetsToTxnShape},
	{KeyEndTxn, "EndTxn", 0, 5, 0, 3, endTxnShape},
	{KeyWriteTxnMarkers, "WriteTxnMarkers", 1, 2, 1, 1, writeTxnMarkersShape},
	{KeyTxnOffsetCommit, "TxnOffsetCommit", 0, 5, 0, 3, txnOffsetCommitShape},
	{KeyDescribeConfigs, "DescribeConfigs", 1, 4, 1, 4, describeConfigsShape},
	{KeyAlterConfigs, "AlterConfigs", 0, 2, 0, 2, alterConfigsShape},
	{KeyAlterReplicaLogDirs, "AlterReplicaLogDirs", 1, 2, 1, 2, alterReplicaLogDirsShape},
	{KeyDescribeLogDirs, "DescribeLogDirs", 1, 5, 1, 2, describeLogDirsShape},
	{KeyCreatePartitions, "CreatePartitions", 0, 3, 0, 2, createPartitionsShape},
	{KeyDeleteGroups, "DeleteGroups", 0, 2, 0, 2, deleteGroupsShape},
	{KeyElectLeaders, "ElectLeaders", 0, 2, 0, 2, electLeadersShape},
	{KeyIncrementalAlterConfigs, "IncrementalAlterConfigs", 0, 1, 0, 1, incrementalAlterConfigsShape},
	{KeyAlterPartitionReassignments, "AlterPartitionReassignments", 0, 1, 0, 0, alterPartitionReassignmentsShape},
	{KeyListPartitionReassignments, "ListPartitionReassignments", 0, 0, 0, 0, listPartitionReassignmentsShape},
	{KeyOffsetDelete, "OffsetDelete", 0, 0, 0, never, offsetDeleteShape},
	{KeyDescribeClientQuotas, "DescribeClientQuotas", 0, 1, 0, 1, describeClientQuotasShape},
	{KeyAlterClientQuotas, "AlterClientQuotas", 0, 1, 0, 1, alterClientQuotasShape},
	{KeyDescribeQuorum, "DescribeQuorum", 0, 2, 0, 0, describeQuorumShape},
	{KeyUpdateFeatures, "UpdateFeatures", 0, 2, 0, 0, updateFeaturesShape},
	{KeyDescribeCluster, "DescribeCluster", 0, 2, 0, 0, describeClusterShape},
	{KeyDescribeProducers, "DescribeProducers", 0, 0, 0, 0, describeProducersShape},
	{KeyDescribeTransactions, "DescribeTransactions", 0, 0, 0, 0, describeTransactionsShape},
	{KeyListTransactions, "ListTransactions", 0, 2, 0, 0, listTransactionsShape},
	{KeyConsumerGroupHeartbeat, "ConsumerGroupHeartbeat", 0, 1, 0, 0, consumerGroupHeartbeatShape},
	{KeyConsumerGroupDescribe, "ConsumerGroupDescribe", 0, 1, 0, 0, consumerGroupDescribeShape},
	{KeyListConfigResources, "ListConfigResources", 0, 1, 0, 0, listConfigResourcesShape},
	{KeyDescribeTopicPartitions, "DescribeTopicPartitions", 0, 0, 0, 0, describeTopicPartitionsShape},
}

// rows finds a row of Served by its key: 0 for none, else the row's number plus one. Its length is above every key.
var rows = func() (r [96]uint8) {
	for i := range Served {
		r[Served[i].Key] = uint8(i + 1)
	}
	return r
}()

// Lookup is the row of key, or nil for an API that is not served.
func Lookup(key int16) *API {
	if key < 0 || int(key) >= len(rows) || rows[key] == 0 {
		return nil
	}
	return &Served[rows[key]-1]
}

// Supports says whether version of key is served.
func Supports(key, version int16) bool {
	row := Lookup(key)
	return row != nil && row.Min <= version && version <= row.Max
}

// Name is Kafka's name of an API that is served, else its key in digits.
func Name(key int16) string {
	if row := Lookup(key); row != nil {
		return row.Name
	}
	return "api key " + strconv.Itoa(int(key))
}
