package wire

// The shapes of the requests about groups and their offsets, from the schemas of Kafka 4.3.1.

var offsetCommitShape = shape{
	{name: "GroupId", kind: stringKind},
	{name: "GenerationIdOrMemberEpoch", kind: int32Kind, since: 1},
	{name: "MemberId", kind: stringKind, since: 1},
	{name: "GroupInstanceId", kind: stringKind, since: 7, nullable: 7},
	{name: "RetentionTimeMs", kind: int64Kind, since: 2, until: 4},
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind, until: 9},
		{name: "TopicId", kind: uuidKind, since: 10},
		{name: "Partitions", kind: arrayKind, elements: shape{
			{name: "PartitionIndex", kind: int32Kind},
			{name: "CommittedOffset", kind: int64Kind},
			{name: "CommittedLeaderEpoch", kind: int32Kind, since: 6},
			{name: "CommittedMetadata", kind: stringKind, nullable: always},
		}},
	}},
}

var partitionIndexes = shape{{kind: int32Kind}}

var offsetFetchShape = shape{
	{name: "GroupId", kind: stringKind, until: 7},
	{name: "Topics", kind: arrayKind, until: 7, nullable: 2, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "PartitionIndexes", kind: arrayOfValuesKind, elements: partitionIndexes},
	}},
	{name: "Groups", kind: arrayKind, since: 8, elements: shape{
		{name: "GroupId", kind: stringKind},
		{name: "MemberId", kind: stringKind, since: 9, nullable: 9},
		{name: "MemberEpoch", kind: int32Kind, since: 9},
		{name: "Topics", kind: arrayKind, nullable: 8, elements: shape{
			{name: "Name", kind: stringKind, until: 9},
			{name: "TopicId", kind: uuidKind, since: 10},
			{name: "PartitionIndexes", kind: arrayOfValuesKind, elements: partitionIndexes},
		}},
	}},
	{name: "RequireStable", kind: int8Kind, since: 7},
}

var findCoordinatorShape = shape{
	{name: "Key", kind: stringKind, until: 3},
	{name: "KeyType", kind: int8Kind, since: 1},
	{name: "CoordinatorKeys", kind: arrayOfValuesKind, since: 4, elements: shape{{kind: stringKind}}},
}

var joinGroupShape = shape{
	{name: "GroupId", kind: stringKind},
	{name: "SessionTimeoutMs", kind: int32Kind},
	{name: "RebalanceTimeoutMs", kind: int32Kind, since: 1},
	{name: "MemberId", kind: stringKind},
	{name: "GroupInstanceId", kind: stringKind, since: 5, nullable: 5},
	{name: "ProtocolType", kind: stringKind},
	{name: "Protocols", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "Metadata", kind: bytesKind},
	}},
	{name: "Reason", kind: stringKind, since: 8, nullable: 8},
}

var heartbeatShape = shape{
	{name: "GroupId", kind: stringKind},
	{name: "GenerationId", kind: int32Kind},
	{name: "MemberId", kind: stringKind},
	{name: "GroupInstanceId", kind: stringKind, since: 3, nullable: 3},
}

var leaveGroupShape = shape{
	{name: "GroupId", kind: stringKind},
	{name: "MemberId", kind: stringKind, until: 2},
	{name: "Members", kind: arrayKind, since: 3, elements: shape{
		{name: "MemberId", kind: stringKind},
		{name: "GroupInstanceId", kind: stringKind, nullable: 3},
		{name: "Reason", kind: stringKind, since: 5, nullable: 5},
	}},
}

var syncGroupShape = shape{
	{name: "GroupId", kind: stringKind},
	{name: "GenerationId", kind: int32Kind},
	{name: "MemberId", kind: stringKind},
	{name: "GroupInstanceId", kind: stringKind, since: 3, nullable: 3},
	{name: "ProtocolType", kind: stringKind, since: 5, nullable: 5},
	{name: "ProtocolName", kind: stringKind, since: 5, nullable: 5},
	{name: "Assignments", kind: arrayKind, elements: shape{
		{name: "MemberId", kind: stringKind},
		{name: "Assignment", kind: bytesKind},
	}},
}

var describeGroupsShape = shape{
	{name: "Groups", kind: arrayOfValuesKind, elements: shape{{kind: stringKind}}},
	{name: "IncludeAuthorizedOperations", kind: int8Kind, since: 3},
}

var listGroupsShape = shape{
	{name: "StatesFilter", kind: arrayOfValuesKind, since: 4, elements: shape{{kind: stringKind}}},
	{name: "TypesFilter", kind: arrayOfValuesKind, since: 5, elements: shape{{kind: stringKind}}},
}

var deleteGroupsShape = shape{
	{name: "GroupsNames", kind: arrayOfValuesKind, elements: shape{{kind: stringKind}}},
}

var offsetDeleteShape = shape{
	{name: "GroupId", kind: stringKind},
	{name: "Topics", kind: arrayKind, elements: shape{
		{name: "Name", kind: stringKind},
		{name: "Partitions", kind: arrayKind, elements: shape{
			{name: "PartitionIndex", kind: int32Kind},
		}},
	}},
}

var consumerGroupHeartbeatShape = shape{
	{name: "GroupId", kind: stringKind},
	{name: "MemberId", kind: stringKind},
	{name: "MemberEpoch", kind: int32Kind},
	{name: "InstanceId", kind: stringKind, nullable: always},
	{name: "RackId", kind: stringKind, nullable: always},
	{name: "RebalanceTimeoutMs", kind: int32Kind},
	{name: "SubscribedTopicNames", kind: arrayOfValuesKind, nullable: always, elements: shape{{kind: stringKind}}},
	{name: "SubscribedTopicRegex", kind: stringKind, since: 1, nullable: 1},
	{name: "ServerAssignor", kind: stringKind, nullable: always},
	{name: "TopicPartitions", kind: arrayKind, nullable: always, elements: shape{
		{name: "TopicId", kind: uuidKind},
		{name: "Partitions", kind: arrayOfValuesKind, elements: partitionIndexes},
	}},
}

var consumerGroupDescribeShape = shape{
	{name: "GroupIds", kind: arrayOfValuesKind, elements: shape{{kind: stringKind}}},
	{name: "IncludeAuthorizedOperations", kind: int8Kind},
}
