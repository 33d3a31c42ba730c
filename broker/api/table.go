package api

import "github.com/twmb/franz-go/pkg/kmsg"

// Handler is one row of the table: exactly one of Hot and Answer is set.
type Handler struct {
	Key    int16
	Hot    Hot
	Answer Answer
	// Blocks tells whether this request may wait, for the disk or for a commit of the metadata log; then Answer runs
	// on a worker while the connection is paused. nil stands for never.
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
	{Key: 18, Answer: apiVersions},
	{Key: 19, Answer: createTopics, Blocks: always},
	{Key: 20, Answer: deleteTopics, Blocks: always},
	{Key: 22, Answer: initProducerID, Blocks: always},
	{Key: 23, Answer: offsetForLeaderEpoch, Blocks: offsetForLeaderEpochBlocks},
	{Key: 32, Answer: describeConfigs, Blocks: describeConfigsBlocks},
	{Key: 60, Answer: describeCluster},
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
