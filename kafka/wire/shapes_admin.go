package wire

// The shapes of the administrative requests, from the schemas of Kafka 4.3.1.

// namedPartitions is how most of them name partitions, with the schema's names for a topic and its partitions.
func namedPartitions(topic, partitions string) shape {
	return shape{
		{name: topic, kind: stringKind},
		{name: partitions, kind: arrayOfValuesKind, elements: shape{{kind: int32Kind}}},
	}
}

var deleteRecordsShape = shape{
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "Partitions", kind: arrayKind, elements: shape{
			{name: "PartitionIndex", kind: int32Kind},
			{name: "Offset", kind: int64Kind},
		}},
	}},
	{name: "TimeoutMs", kind: int32Kind},
}

var alterConfigsShape = shape{
	{name: "Resources", kind: arrayKind, elements: shape{
		{name: "ResourceType", kind: int8Kind},
		{name: "ResourceName", kind: stringKind},
		{name: "Configs", kind: arrayKind, elements: shape{
			{name: "Name", kind: stringKind},
			{name: "Value", kind: stringKind, nullable: always},
		}},
	}},
	{name: "ValidateOnly", kind: int8Kind},
}

var alterReplicaLogDirsShape = shape{
	{name: "Dirs", kind: arrayKind, elements: shape{
		{name: "Path", kind: stringKind},
		{name: "Topics", kind: arrayKind, elements: namedPartitions("Name", "Partitions")},
	}},
}

var describeLogDirsShape = shape{
	{name: "Topics", kind: arrayKind, nullable: always, elements: namedPartitions("Topic", "Partitions")},
}

var createPartitionsShape = shape{
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "Count", kind: int32Kind},
		{name: "Assignments", kind: arrayKind, nullable: always, elements: shape{
			{name: "BrokerIds", kind: arrayOfValuesKind, elements: shape{{kind: int32Kind}}},
		}},
	}},
	{name: "TimeoutMs", kind: int32Kind},
	{name: "ValidateOnly", kind: int8Kind},
}

var electLeadersShape = shape{
	{name: "ElectionType", kind: int8Kind, since: 1},
	{name: "TopicPartitions", kind: arrayKind, nullable: always, elements: namedPartitions("Topic", "Partitions")},
	{name: "TimeoutMs", kind: int32Kind},
}

var alterPartitionReassignmentsShape = shape{
	{name: "TimeoutMs", kind: int32Kind},
	{name: "AllowReplicationFactorChange", kind: int8Kind, since: 1},
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "Partitions", kind: arrayKind, elements: shape{
			{name: "PartitionIndex", kind: int32Kind},
			{name: "Replicas", kind: arrayOfValuesKind, nullable: always, elements: shape{{kind: int32Kind}}},
		}},
	}},
}

var listPartitionReassignmentsShape = shape{
	{name: "TimeoutMs", kind: int32Kind},
	{name: "Topics", kind: arrayKind, nullable: always, elements: namedPartitions("Name", "PartitionIndexes")},
}

var updateFeaturesShape = shape{
	{name: "TimeoutMs", kind: int32Kind},
	{name: "FeatureUpdates", kind: arrayKind, elements: shape{
		{name: "Feature", kind: stringKind},
		{name: "MaxVersionLevel", kind: int16Kind},
		{name: "UpgradeType", kind: int8Kind}, // AllowDowngrade in version 0
	}},
	{name: "ValidateOnly", kind: int8Kind, since: 1},
}

var describeQuorumShape = shape{
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "TopicName", kind: stringKind},
		{name: "Partitions", kind: arrayKind, elements: shape{
			{name: "PartitionIndex", kind: int32Kind},
		}},
	}},
}

var describeProducersShape = shape{
	{name: "Topics", kind: arrayKind, elements: namedPartitions("Name", "PartitionIndexes")},
}

var describeTopicPartitionsShape = shape{
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
	}},
	{name: "ResponsePartitionLimit", kind: int32Kind},
	{name: "Cursor", kind: structureKind, nullable: always, elements: shape{
		{name: "TopicName", kind: stringKind},
		{name: "PartitionIndex", kind: int32Kind},
	}},
}

var describeClientQuotasShape = shape{
	{name: "Components", kind: arrayKind, elements: shape{
		{name: "EntityType", kind: stringKind},
		{name: "MatchType", kind: int8Kind},
		{name: "Match", kind: stringKind, nullable: always},
	}},
	{name: "Strict", kind: int8Kind},
}

var alterClientQuotasShape = shape{
	{name: "Entries", kind: arrayKind, elements: shape{
		{name: "Entity", kind: arrayKind, elements: shape{
			{name: "EntityType", kind: stringKind},
			{name: "EntityName", kind: stringKind, nullable: always},
		}},
		{name: "Ops", kind: arrayKind, elements: shape{
			{name: "Key", kind: stringKind},
			{name: "Value", kind: int64Kind}, // a float64
			{name: "Remove", kind: int8Kind},
		}},
	}},
	{name: "ValidateOnly", kind: int8Kind},
}
