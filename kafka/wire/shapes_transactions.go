package wire

// The layouts of the requests to the transaction coordinator.

// partitionsInTxnShape is the topics of a transaction with their partitions.
var partitionsInTxnShape = shape{
	{name: "Name", kind: stringKind},
	{name: "Partitions", kind: arrayOfValuesKind, elements: shape{{kind: int32Kind}}},
}

var addPartitionsToTxnShape = shape{
	{name: "Transactions", kind: arrayKind, since: 4, elements: shape{
		{name: "TransactionalId", kind: stringKind},
		{name: "ProducerId", kind: int64Kind},
		{name: "ProducerEpoch", kind: int16Kind},
		{name: "VerifyOnly", kind: int8Kind},
		{name: "Topics", kind: arrayKind, elements: partitionsInTxnShape},
	}},
	{name: "V3AndBelowTransactionalId", kind: stringKind, until: 3},
	{name: "V3AndBelowProducerId", kind: int64Kind, until: 3},
	{name: "V3AndBelowProducerEpoch", kind: int16Kind, until: 3},
	{name: "V3AndBelowTopics", kind: arrayKind, until: 3, elements: partitionsInTxnShape},
}

var addOffsetsToTxnShape = shape{
	{name: "TransactionalId", kind: stringKind},
	{name: "ProducerId", kind: int64Kind},
	{name: "ProducerEpoch", kind: int16Kind},
	{name: "GroupId", kind: stringKind},
}

var endTxnShape = shape{
	{name: "TransactionalId", kind: stringKind},
	{name: "ProducerId", kind: int64Kind},
	{name: "ProducerEpoch", kind: int16Kind},
	{name: "Committed", kind: int8Kind},
}

var describeTransactionsShape = shape{
	{name: "TransactionalIds", kind: arrayOfValuesKind, elements: shape{{kind: stringKind}}},
}

var listTransactionsShape = shape{
	{name: "StateFilters", kind: arrayOfValuesKind, elements: shape{{kind: stringKind}}},
	{name: "ProducerIdFilters", kind: arrayOfValuesKind, elements: shape{{kind: int64Kind}}},
	{name: "DurationFilter", kind: int64Kind, since: 1},
	{name: "TransactionalIdPattern", kind: stringKind, since: 2, nullable: 2},
}

var writeTxnMarkersShape = shape{
	{name: "Markers", kind: arrayKind, elements: shape{
		{name: "ProducerId", kind: int64Kind},
		{name: "ProducerEpoch", kind: int16Kind},
		{name: "TransactionResult", kind: int8Kind},
		{name: "Topics", kind: arrayKind, elements: partitionsInTxnShape},
		{name: "CoordinatorEpoch", kind: int32Kind},
		{name: "TransactionVersion", kind: int8Kind, since: 2},
	}},
}

var txnOffsetCommitShape = shape{
	{name: "TransactionalId", kind: stringKind},
	{name: "GroupId", kind: stringKind},
	{name: "ProducerId", kind: int64Kind},
	{name: "ProducerEpoch", kind: int16Kind},
	{name: "GenerationId", kind: int32Kind, since: 3},
	{name: "MemberId", kind: stringKind, since: 3},
	{name: "GroupInstanceId", kind: stringKind, since: 3, nullable: 3},
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "Partitions", kind: arrayKind, elements: shape{
			{name: "PartitionIndex", kind: int32Kind},
			{name: "CommittedOffset", kind: int64Kind},
			{name: "CommittedLeaderEpoch", kind: int32Kind, since: 2},
			{name: "CommittedMetadata", kind: stringKind, nullable: always},
		}},
	}},
}
