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
