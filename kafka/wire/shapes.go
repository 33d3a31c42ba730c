package wire

// The shapes of the requests that kmsg decodes, from the schemas of Kafka 4.3.1.

var listOffsetsShape = shape{
	{name: "ReplicaId", kind: int32Kind},
	{name: "IsolationLevel", kind: int8Kind, since: 2},
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "Partitions", kind: arrayKind, elements: shape{
			{name: "PartitionIndex", kind: int32Kind},
			{name: "CurrentLeaderEpoch", kind: int32Kind, since: 4},
			{name: "Timestamp", kind: int64Kind},
		}},
	}},
	{name: "TimeoutMs", kind: int32Kind, since: 10},
}

var metadataShape = shape{
	{name: "Topics", kind: arrayKind, nullable: 1, elements: shape{
		{name: "TopicId", kind: uuidKind, since: 10},
		{name: "Name", kind: stringKind, nullable: 10},
	}},
	{name: "AllowAutoTopicCreation", kind: int8Kind, since: 4},
	{name: "IncludeClusterAuthorizedOperations", kind: int8Kind, since: 8, until: 10},
	{name: "IncludeTopicAuthorizedOperations", kind: int8Kind, since: 8},
}

var apiVersionsShape = shape{
	{name: "ClientSoftwareName", kind: stringKind, since: 3},
	{name: "ClientSoftwareVersion", kind: stringKind, since: 3},
}

var createTopicsShape = shape{
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "NumPartitions", kind: int32Kind},
		{name: "ReplicationFactor", kind: int16Kind},
		{name: "Assignments", kind: arrayKind, elements: shape{
			{name: "PartitionIndex", kind: int32Kind},
			{name: "BrokerIds", kind: arrayOfValuesKind, elements: shape{{kind: int32Kind}}},
		}},
		{name: "Configs", kind: arrayKind, elements: shape{
			{name: "Name", kind: stringKind},
			{name: "Value", kind: stringKind, nullable: always},
		}},
	}},
	{name: "timeoutMs", kind: int32Kind},
	{name: "validateOnly", kind: int8Kind, since: 1},
}

var deleteTopicsShape = shape{
	{name: "Topics", kind: arrayKind, since: 6, elements: shape{
		{name: "Name", kind: stringKind, nullable: 6},
		{name: "TopicId", kind: uuidKind},
	}},
	{name: "TopicNames", kind: arrayOfValuesKind, until: 5, elements: shape{{kind: stringKind}}},
	{name: "TimeoutMs", kind: int32Kind},
}

var initProducerIDShape = shape{
	{name: "TransactionalId", kind: stringKind, nullable: always},
	{name: "TransactionTimeoutMs", kind: int32Kind},
	{name: "ProducerId", kind: int64Kind, since: 3},
	{name: "ProducerEpoch", kind: int16Kind, since: 3},
}

var offsetForLeaderEpochShape = shape{
	{name: "ReplicaId", kind: int32Kind, since: 3},
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Topic", kind: stringKind},
		{name: "Partitions", kind: arrayKind, elements: shape{
			{name: "Partition", kind: int32Kind},
			{name: "CurrentLeaderEpoch", kind: int32Kind, since: 2},
			{name: "LeaderEpoch", kind: int32Kind},
		}},
	}},
}

var describeConfigsShape = shape{
	{name: "Resources", kind: arrayKind, elements: shape{
		{name: "ResourceType", kind: int8Kind},
		{name: "ResourceName", kind: stringKind},
		{name: "ConfigurationKeys", kind: arrayOfValuesKind, nullable: always, elements: shape{{kind: stringKind}}},
	}},
	{name: "IncludeSynonyms", kind: int8Kind, since: 1},
	{name: "IncludeDocumentation", kind: int8Kind, since: 3},
}

var incrementalAlterConfigsShape = shape{
	{name: "Resources", kind: arrayKind, elements: shape{
		{name: "ResourceType", kind: int8Kind},
		{name: "ResourceName", kind: stringKind},
		{name: "Configs", kind: arrayKind, elements: shape{
			{name: "Name", kind: stringKind},
			{name: "ConfigOperation", kind: int8Kind},
			{name: "Value", kind: stringKind, nullable: always},
		}},
	}},
	{name: "ValidateOnly", kind: int8Kind},
}

var listConfigResourcesShape = shape{
	{name: "ResourceTypes", kind: arrayOfValuesKind, since: 1, elements: shape{{kind: int8Kind}}},
}

var describeClusterShape = shape{
	{name: "IncludeClusterAuthorizedOperations", kind: int8Kind},
	{name: "EndpointType", kind: int8Kind, since: 1},
	{name: "IncludeFencedBrokers", kind: int8Kind, since: 2},
}
