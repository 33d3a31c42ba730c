package api

import "github.com/twmb/franz-go/pkg/kmsg"

// Handler is one row of the table: exactly one of Hot, Answer and Ask is set.
type Handler struct {
	Key    int16
	Hot    Hot
	Answer Answer
	Ask    Ask
	// Blocks tells whether this request may wait, for the disk or for a commit of the metadata log, or takes long; then
	// Answer or Ask runs on a worker while the connection is paused. nil stands for never. An Ask that may be left to a
	// worker makes nothing of bytes fields: their bytes are gone by then.
	Blocks func(c *Context, request kmsg.Request) bool
}

// always is the Blocks of a handler that may wait on every request.
func always(*Context, kmsg.Request) bool { return true }

// table lists every API that is served, by key. The versions stand in the table of package wire.
var table = []Handler{
	{Key: 0, Hot: produce},
	{Key: 1, Hot: fetch},
	{Key: 2, Answer: listOffsets, Blocks: listOffsetsBlocks},
	{Key: 3, Answer: getMetadata, Blocks: metadataBlocks},
	{Key: 8, Ask: offsetCommit, Blocks: manyOffsets},
	{Key: 9, Ask: offsetFetch, Blocks: manyOffsets},
	{Key: 10, Answer: findCoordinator, Blocks: findCoordinatorBlocks},
	{Key: 11, Ask: joinGroup},
	{Key: 12, Ask: heartbeat},
	{Key: 13, Ask: leaveGroup},
	{Key: 14, Ask: syncGroup},
	{Key: 15, Ask: describeGroups, Blocks: describeGroupsBlocks},
	{Key: 16, Ask: listGroups},
	{Key: 18, Answer: apiVersions},
	{Key: 19, Answer: createTopics, Blocks: always},
	{Key: 20, Answer: deleteTopics, Blocks: always},
	{Key: 21, Answer: deleteRecords, Blocks: always},
	{Key: 22, Ask: initProducerID, Blocks: always},
	{Key: 23, Answer: offsetForLeaderEpoch, Blocks: offsetForLeaderEpochBlocks},
	{Key: 24, Ask: addPartitionsToTxn, Blocks: addPartitionsToTxnBlocks},
	{Key: 25, Ask: addOffsetsToTxn, Blocks: addOffsetsToTxnBlocks},
	{Key: 26, Ask: endTxn},
	{Key: 27, Ask: writeTxnMarkers, Blocks: writeTxnMarkersBlocks},
	{Key: 28, Ask: txnOffsetCommit, Blocks: manyOffsets},
	{Key: 32, Answer: describeConfigs, Blocks: describeConfigsBlocks},
	{Key: 33, Answer: alterConfigs, Blocks: always},
	{Key: 34, Answer: alterReplicaLogDirs, Blocks: always},
	{Key: 35, Answer: describeLogDirs, Blocks: always},
	{Key: 37, Answer: createPartitions, Blocks: always},
	{Key: 42, Ask: deleteGroups, Blocks: deleteGroupsBlocks},
	{Key: 43, Answer: electLeaders, Blocks: always},
	{Key: 44, Answer: incrementalAlterConfigs, Blocks: always},
	{Key: 45, Answer: alterPartitionReassignments, Blocks: always},
	{Key: 46, Answer: listPartitionReassignments, Blocks: listPartitionReassignmentsBlocks},
	{Key: 47, Ask: offsetDelete, Blocks: manyOffsets},
	{Key: 48, Answer: describeClientQuotas, Blocks: describeClientQuotasBlocks},
	{Key: 49, Answer: alterClientQuotas, Blocks: always},
	{Key: 55, Answer: describeQuorum, Blocks: describeQuorumBlocks},
	{Key: 57, Answer: updateFeatures, Blocks: always},
	{Key: 60, Answer: describeCluster},
	{Key: 61, Answer: describeProducers, Blocks: always},
	{Key: 65, Ask: describeTransactions, Blocks: describeTransactionsBlocks},
	{Key: 66, Ask: listTransactions, Blocks: listTransactionsBlocks},
	{Key: 68, Ask: consumerGroupHeartbeat},
	{Key: 69, Ask: consumerGroupDescribe, Blocks: consumerGroupDescribeBlocks},
	{Key: 74, Answer: listConfigResources, Blocks: listConfigResourcesBlocks},
	{Key: 75, Answer: describeTopicPartitions, Blocks: describeTopicPartitionsBlocks},
}

// byKey finds a row without a search; keys are small and dense.
var byKey = func() [128]*Handler {
	var rows [128]*Handler
	for i := range table {
		rows[table[i].Key] = &table[i]
	}
	return rows
}()

// HandlerOf is the row of a key, or nil where the key is not served.
func HandlerOf(key int16) *Handler {
	if key < 0 || int(key) >= len(byKey) {
		return nil
	}
	return byKey[key]
}
