package kafka

import (
	"errors"
	"fmt"
)

// Error is one row of the protocol's error table. Values are compared by identity: errors.Is(err, NotLeaderOrFollower).
// Source: the enumeration Errors of Apache Kafka 4.3.1; codes from 134 on are those of 4.4.
type Error struct {
	Code      int16
	Name      string // as Kafka's tools print it
	Retriable bool   // whether a client may send the same request again
}

// Error gives the name, as in Kafka's logs.
func (e *Error) Error() string { return e.Name }

// NoError is the wire code of success.
const NoError int16 = 0

// CodeOf maps err to a wire code: 0 for nil, the code of the first *Error in its chain, else UNKNOWN_SERVER_ERROR.
func CodeOf(err error) int16 {
	if err == nil {
		return NoError
	}
	if e, ok := err.(*Error); ok { // the hot path: no reflection
		return e.Code
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return UnknownServerError.Code
}

// ErrorOf is the table's row for a wire code: nil for 0, and an error that names the number for a code not in the
// table.
func ErrorOf(code int16) error {
	if code == NoError {
		return nil
	}
	for _, e := range errorTable {
		if e.Code == code {
			return e
		}
	}
	return fmt.Errorf("unknown error code %d", code)
}

// The error table.
var (
	UnknownServerError                     = &Error{Code: -1, Name: "UNKNOWN_SERVER_ERROR"}
	OffsetOutOfRange                       = &Error{Code: 1, Name: "OFFSET_OUT_OF_RANGE"}
	CorruptMessage                         = &Error{Code: 2, Name: "CORRUPT_MESSAGE", Retriable: true}
	UnknownTopicOrPartition                = &Error{Code: 3, Name: "UNKNOWN_TOPIC_OR_PARTITION", Retriable: true}
	InvalidFetchSize                       = &Error{Code: 4, Name: "INVALID_FETCH_SIZE"}
	LeaderNotAvailable                     = &Error{Code: 5, Name: "LEADER_NOT_AVAILABLE", Retriable: true}
	NotLeaderOrFollower                    = &Error{Code: 6, Name: "NOT_LEADER_OR_FOLLOWER", Retriable: true}
	RequestTimedOut                        = &Error{Code: 7, Name: "REQUEST_TIMED_OUT", Retriable: true}
	BrokerNotAvailable                     = &Error{Code: 8, Name: "BROKER_NOT_AVAILABLE"}
	ReplicaNotAvailable                    = &Error{Code: 9, Name: "REPLICA_NOT_AVAILABLE", Retriable: true}
	MessageTooLarge                        = &Error{Code: 10, Name: "MESSAGE_TOO_LARGE"}
	StaleControllerEpoch                   = &Error{Code: 11, Name: "STALE_CONTROLLER_EPOCH"}
	OffsetMetadataTooLarge                 = &Error{Code: 12, Name: "OFFSET_METADATA_TOO_LARGE"}
	NetworkException                       = &Error{Code: 13, Name: "NETWORK_EXCEPTION", Retriable: true}
	CoordinatorLoadInProgress              = &Error{Code: 14, Name: "COORDINATOR_LOAD_IN_PROGRESS", Retriable: true}
	CoordinatorNotAvailable                = &Error{Code: 15, Name: "COORDINATOR_NOT_AVAILABLE", Retriable: true}
	NotCoordinator                         = &Error{Code: 16, Name: "NOT_COORDINATOR", Retriable: true}
	InvalidTopicException                  = &Error{Code: 17, Name: "INVALID_TOPIC_EXCEPTION"}
	RecordListTooLarge                     = &Error{Code: 18, Name: "RECORD_LIST_TOO_LARGE"}
	NotEnoughReplicas                      = &Error{Code: 19, Name: "NOT_ENOUGH_REPLICAS", Retriable: true}
	NotEnoughReplicasAfterAppend           = &Error{Code: 20, Name: "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Retriable: true}
	InvalidRequiredAcks                    = &Error{Code: 21, Name: "INVALID_REQUIRED_ACKS"}
	IllegalGeneration                      = &Error{Code: 22, Name: "ILLEGAL_GENERATION"}
	InconsistentGroupProtocol              = &Error{Code: 23, Name: "INCONSISTENT_GROUP_PROTOCOL"}
	InvalidGroupID                         = &Error{Code: 24, Name: "INVALID_GROUP_ID"}
	UnknownMemberID                        = &Error{Code: 25, Name: "UNKNOWN_MEMBER_ID"}
	InvalidSessionTimeout                  = &Error{Code: 26, Name: "INVALID_SESSION_TIMEOUT"}
	RebalanceInProgress                    = &Error{Code: 27, Name: "REBALANCE_IN_PROGRESS"}
	InvalidCommitOffsetSize                = &Error{Code: 28, Name: "INVALID_COMMIT_OFFSET_SIZE"}
	TopicAuthorizationFailed               = &Error{Code: 29, Name: "TOPIC_AUTHORIZATION_FAILED"}
	GroupAuthorizationFailed               = &Error{Code: 30, Name: "GROUP_AUTHORIZATION_FAILED"}
	ClusterAuthorizationFailed             = &Error{Code: 31, Name: "CLUSTER_AUTHORIZATION_FAILED"}
	InvalidTimestamp                       = &Error{Code: 32, Name: "INVALID_TIMESTAMP"}
	UnsupportedSaslMechanism               = &Error{Code: 33, Name: "UNSUPPORTED_SASL_MECHANISM"}
	IllegalSaslState                       = &Error{Code: 34, Name: "ILLEGAL_SASL_STATE"}
	UnsupportedVersion                     = &Error{Code: 35, Name: "UNSUPPORTED_VERSION"}
	TopicAlreadyExists                     = &Error{Code: 36, Name: "TOPIC_ALREADY_EXISTS"}
	InvalidPartitions                      = &Error{Code: 37, Name: "INVALID_PARTITIONS"}
	InvalidReplicationFactor               = &Error{Code: 38, Name: "INVALID_REPLICATION_FACTOR"}
	InvalidReplicaAssignment               = &Error{Code: 39, Name: "INVALID_REPLICA_ASSIGNMENT"}
	InvalidConfig                          = &Error{Code: 40, Name: "INVALID_CONFIG"}
	NotController                          = &Error{Code: 41, Name: "NOT_CONTROLLER", Retriable: true}
	InvalidRequest                         = &Error{Code: 42, Name: "INVALID_REQUEST"}
	UnsupportedForMessageFormat            = &Error{Code: 43, Name: "UNSUPPORTED_FOR_MESSAGE_FORMAT"}
	PolicyViolation                        = &Error{Code: 44, Name: "POLICY_VIOLATION"}
	OutOfOrderSequenceNumber               = &Error{Code: 45, Name: "OUT_OF_ORDER_SEQUENCE_NUMBER"}
	DuplicateSequenceNumber                = &Error{Code: 46, Name: "DUPLICATE_SEQUENCE_NUMBER"}
	InvalidProducerEpoch                   = &Error{Code: 47, Name: "INVALID_PRODUCER_EPOCH"}
	InvalidTxnState                        = &Error{Code: 48, Name: "INVALID_TXN_STATE"}
	InvalidProducerIDMapping               = &Error{Code: 49, Name: "INVALID_PRODUCER_ID_MAPPING"}
	InvalidTransactionTimeout              = &Error{Code: 50, Name: "INVALID_TRANSACTION_TIMEOUT"}
	ConcurrentTransactions                 = &Error{Code: 51, Name: "CONCURRENT_TRANSACTIONS", Retriable: true}
	TransactionCoordinatorFenced           = &Error{Code: 52, Name: "TRANSACTION_COORDINATOR_FENCED"}
	TransactionalIDAuthorizationFailed     = &Error{Code: 53, Name: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"}
	SecurityDisabled                       = &Error{Code: 54, Name: "SECURITY_DISABLED"}
	OperationNotAttempted                  = &Error{Code: 55, Name: "OPERATION_NOT_ATTEMPTED"}
	KafkaStorageError                      = &Error{Code: 56, Name: "KAFKA_STORAGE_ERROR", Retriable: true}
	LogDirNotFound                         = &Error{Code: 57, Name: "LOG_DIR_NOT_FOUND"}
	SaslAuthenticationFailed               = &Error{Code: 58, Name: "SASL_AUTHENTICATION_FAILED"}
	UnknownProducerID                      = &Error{Code: 59, Name: "UNKNOWN_PRODUCER_ID"}
	ReassignmentInProgress                 = &Error{Code: 60, Name: "REASSIGNMENT_IN_PROGRESS"}
	DelegationTokenAuthDisabled            = &Error{Code: 61, Name: "DELEGATION_TOKEN_AUTH_DISABLED"}
	DelegationTokenNotFound                = &Error{Code: 62, Name: "DELEGATION_TOKEN_NOT_FOUND"}
	DelegationTokenOwnerMismatch           = &Error{Code: 63, Name: "DELEGATION_TOKEN_OWNER_MISMATCH"}
	DelegationTokenRequestNotAllowed       = &Error{Code: 64, Name: "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"}
	DelegationTokenAuthorizationFailed     = &Error{Code: 65, Name: "DELEGATION_TOKEN_AUTHORIZATION_FAILED"}
	DelegationTokenExpired                 = &Error{Code: 66, Name: "DELEGATION_TOKEN_EXPIRED"}
	InvalidPrincipalType                   = &Error{Code: 67, Name: "INVALID_PRINCIPAL_TYPE"}
	NonEmptyGroup                          = &Error{Code: 68, Name: "NON_EMPTY_GROUP"}
	GroupIDNotFound                        = &Error{Code: 69, Name: "GROUP_ID_NOT_FOUND"}
	FetchSessionIDNotFound                 = &Error{Code: 70, Name: "FETCH_SESSION_ID_NOT_FOUND", Retriable: true}
	InvalidFetchSessionEpoch               = &Error{Code: 71, Name: "INVALID_FETCH_SESSION_EPOCH", Retriable: true}
	ListenerNotFound                       = &Error{Code: 72, Name: "LISTENER_NOT_FOUND", Retriable: true}
	TopicDeletionDisabled                  = &Error{Code: 73, Name: "TOPIC_DELETION_DISABLED"}
	FencedLeaderEpoch                      = &Error{Code: 74, Name: "FENCED_LEADER_EPOCH", Retriable: true}
	UnknownLeaderEpoch                     = &Error{Code: 75, Name: "UNKNOWN_LEADER_EPOCH", Retriable: true}
	UnsupportedCompressionType             = &Error{Code: 76, Name: "UNSUPPORTED_COMPRESSION_TYPE"}
	StaleBrokerEpoch                       = &Error{Code: 77, Name: "STALE_BROKER_EPOCH"}
	OffsetNotAvailable                     = &Error{Code: 78, Name: "OFFSET_NOT_AVAILABLE", Retriable: true}
	MemberIDRequired                       = &Error{Code: 79, Name: "MEMBER_ID_REQUIRED"}
	PreferredLeaderNotAvailable            = &Error{Code: 80, Name: "PREFERRED_LEADER_NOT_AVAILABLE", Retriable: true}
	GroupMaxSizeReached                    = &Error{Code: 81, Name: "GROUP_MAX_SIZE_REACHED"}
	FencedInstanceID                       = &Error{Code: 82, Name: "FENCED_INSTANCE_ID"}
	EligibleLeadersNotAvailable            = &Error{Code: 83, Name: "ELIGIBLE_LEADERS_NOT_AVAILABLE", Retriable: true}
	ElectionNotNeeded                      = &Error{Code: 84, Name: "ELECTION_NOT_NEEDED", Retriable: true}
	NoReassignmentInProgress               = &Error{Code: 85, Name: "NO_REASSIGNMENT_IN_PROGRESS"}
	GroupSubscribedToTopic                 = &Error{Code: 86, Name: "GROUP_SUBSCRIBED_TO_TOPIC"}
	InvalidRecord                          = &Error{Code: 87, Name: "INVALID_RECORD"}
	UnstableOffsetCommit                   = &Error{Code: 88, Name: "UNSTABLE_OFFSET_COMMIT", Retriable: true}
	ThrottlingQuotaExceeded                = &Error{Code: 89, Name: "THROTTLING_QUOTA_EXCEEDED", Retriable: true}
	ProducerFenced                         = &Error{Code: 90, Name: "PRODUCER_FENCED"}
	ResourceNotFound                       = &Error{Code: 91, Name: "RESOURCE_NOT_FOUND"}
	DuplicateResource                      = &Error{Code: 92, Name: "DUPLICATE_RESOURCE"}
	UnacceptableCredential                 = &Error{Code: 93, Name: "UNACCEPTABLE_CREDENTIAL"}
	InconsistentVoterSet                   = &Error{Code: 94, Name: "INCONSISTENT_VOTER_SET"}
	InvalidUpdateVersion                   = &Error{Code: 95, Name: "INVALID_UPDATE_VERSION"}
	FeatureUpdateFailed                    = &Error{Code: 96, Name: "FEATURE_UPDATE_FAILED"}
	PrincipalDeserializationFailure        = &Error{Code: 97, Name: "PRINCIPAL_DESERIALIZATION_FAILURE"}
	SnapshotNotFound                       = &Error{Code: 98, Name: "SNAPSHOT_NOT_FOUND"}
	PositionOutOfRange                     = &Error{Code: 99, Name: "POSITION_OUT_OF_RANGE"}
	UnknownTopicID                         = &Error{Code: 100, Name: "UNKNOWN_TOPIC_ID", Retriable: true}
	DuplicateBrokerRegistration            = &Error{Code: 101, Name: "DUPLICATE_BROKER_REGISTRATION"}
	BrokerIDNotRegistered                  = &Error{Code: 102, Name: "BROKER_ID_NOT_REGISTERED"}
	InconsistentTopicID                    = &Error{Code: 103, Name: "INCONSISTENT_TOPIC_ID", Retriable: true}
	InconsistentClusterID                  = &Error{Code: 104, Name: "INCONSISTENT_CLUSTER_ID"}
	TransactionalIDNotFound                = &Error{Code: 105, Name: "TRANSACTIONAL_ID_NOT_FOUND"}
	FetchSessionTopicIDError               = &Error{Code: 106, Name: "FETCH_SESSION_TOPIC_ID_ERROR", Retriable: true}
	IneligibleReplica                      = &Error{Code: 107, Name: "INELIGIBLE_REPLICA"}
	NewLeaderElected                       = &Error{Code: 108, Name: "NEW_LEADER_ELECTED"}
	OffsetMovedToTieredStorage             = &Error{Code: 109, Name: "OFFSET_MOVED_TO_TIERED_STORAGE"}
	FencedMemberEpoch                      = &Error{Code: 110, Name: "FENCED_MEMBER_EPOCH"}
	UnreleasedInstanceID                   = &Error{Code: 111, Name: "UNRELEASED_INSTANCE_ID"}
	UnsupportedAssignor                    = &Error{Code: 112, Name: "UNSUPPORTED_ASSIGNOR"}
	StaleMemberEpoch                       = &Error{Code: 113, Name: "STALE_MEMBER_EPOCH"}
	MismatchedEndpointType                 = &Error{Code: 114, Name: "MISMATCHED_ENDPOINT_TYPE"}
	UnsupportedEndpointType                = &Error{Code: 115, Name: "UNSUPPORTED_ENDPOINT_TYPE"}
	UnknownControllerID                    = &Error{Code: 116, Name: "UNKNOWN_CONTROLLER_ID"}
	UnknownSubscriptionID                  = &Error{Code: 117, Name: "UNKNOWN_SUBSCRIPTION_ID"}
	TelemetryTooLarge                      = &Error{Code: 118, Name: "TELEMETRY_TOO_LARGE"}
	InvalidRegistration                    = &Error{Code: 119, Name: "INVALID_REGISTRATION"}
	TransactionAbortable                   = &Error{Code: 120, Name: "TRANSACTION_ABORTABLE"}
	InvalidRecordState                     = &Error{Code: 121, Name: "INVALID_RECORD_STATE"}
	ShareSessionNotFound                   = &Error{Code: 122, Name: "SHARE_SESSION_NOT_FOUND", Retriable: true}
	InvalidShareSessionEpoch               = &Error{Code: 123, Name: "INVALID_SHARE_SESSION_EPOCH", Retriable: true}
	FencedStateEpoch                       = &Error{Code: 124, Name: "FENCED_STATE_EPOCH"}
	InvalidVoterKey                        = &Error{Code: 125, Name: "INVALID_VOTER_KEY"}
	DuplicateVoter                         = &Error{Code: 126, Name: "DUPLICATE_VOTER"}
	VoterNotFound                          = &Error{Code: 127, Name: "VOTER_NOT_FOUND"}
	InvalidRegularExpression               = &Error{Code: 128, Name: "INVALID_REGULAR_EXPRESSION"}
	RebootstrapRequired                    = &Error{Code: 129, Name: "REBOOTSTRAP_REQUIRED"}
	StreamsInvalidTopology                 = &Error{Code: 130, Name: "STREAMS_INVALID_TOPOLOGY"}
	StreamsInvalidTopologyEpoch            = &Error{Code: 131, Name: "STREAMS_INVALID_TOPOLOGY_EPOCH"}
	StreamsTopologyFenced                  = &Error{Code: 132, Name: "STREAMS_TOPOLOGY_FENCED"}
	ShareSessionLimitReached               = &Error{Code: 133, Name: "SHARE_SESSION_LIMIT_REACHED", Retriable: true}
	GroupDeletionFailed                    = &Error{Code: 134, Name: "GROUP_DELETION_FAILED"}
	StreamsTopologyDescriptionUpdateFailed = &Error{Code: 135, Name: "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED"}
	ControllerIDNotRegistered              = &Error{Code: 136, Name: "CONTROLLER_ID_NOT_REGISTERED"}
)

var errorTable = []*Error{
	UnknownServerError,
	OffsetOutOfRange,
	CorruptMessage,
	UnknownTopicOrPartition,
	InvalidFetchSize,
	LeaderNotAvailable,
	NotLeaderOrFollower,
	RequestTimedOut,
	BrokerNotAvailable,
	ReplicaNotAvailable,
	MessageTooLarge,
	StaleControllerEpoch,
	OffsetMetadataTooLarge,
	NetworkException,
	CoordinatorLoadInProgress,
	CoordinatorNotAvailable,
	NotCoordinator,
	InvalidTopicException,
	RecordListTooLarge,
	NotEnoughReplicas,
	NotEnoughReplicasAfterAppend,
	InvalidRequiredAcks,
	IllegalGeneration,
	InconsistentGroupProtocol,
	InvalidGroupID,
	UnknownMemberID,
	InvalidSessionTimeout,
	RebalanceInProgress,
	InvalidCommitOffsetSize,
	TopicAuthorizationFailed,
	GroupAuthorizationFailed,
	ClusterAuthorizationFailed,
	InvalidTimestamp,
	UnsupportedSaslMechanism,
	IllegalSaslState,
	UnsupportedVersion,
	TopicAlreadyExists,
	InvalidPartitions,
	InvalidReplicationFactor,
	InvalidReplicaAssignment,
	InvalidConfig,
	NotController,
	InvalidRequest,
	UnsupportedForMessageFormat,
	PolicyViolation,
	OutOfOrderSequenceNumber,
	DuplicateSequenceNumber,
	InvalidProducerEpoch,
	InvalidTxnState,
	InvalidProducerIDMapping,
	InvalidTransactionTimeout,
	ConcurrentTransactions,
	TransactionCoordinatorFenced,
	TransactionalIDAuthorizationFailed,
	SecurityDisabled,
	OperationNotAttempted,
	KafkaStorageError,
	LogDirNotFound,
	SaslAuthenticationFailed,
	UnknownProducerID,
	ReassignmentInProgress,
	DelegationTokenAuthDisabled,
	DelegationTokenNotFound,
	DelegationTokenOwnerMismatch,
	DelegationTokenRequestNotAllowed,
	DelegationTokenAuthorizationFailed,
	DelegationTokenExpired,
	InvalidPrincipalType,
	NonEmptyGroup,
	GroupIDNotFound,
	FetchSessionIDNotFound,
	InvalidFetchSessionEpoch,
	ListenerNotFound,
	TopicDeletionDisabled,
	FencedLeaderEpoch,
	UnknownLeaderEpoch,
	UnsupportedCompressionType,
	StaleBrokerEpoch,
	OffsetNotAvailable,
	MemberIDRequired,
	PreferredLeaderNotAvailable,
	GroupMaxSizeReached,
	FencedInstanceID,
	EligibleLeadersNotAvailable,
	ElectionNotNeeded,
	NoReassignmentInProgress,
	GroupSubscribedToTopic,
	InvalidRecord,
	UnstableOffsetCommit,
	ThrottlingQuotaExceeded,
	ProducerFenced,
	ResourceNotFound,
	DuplicateResource,
	UnacceptableCredential,
	InconsistentVoterSet,
	InvalidUpdateVersion,
	FeatureUpdateFailed,
	PrincipalDeserializationFailure,
	SnapshotNotFound,
	PositionOutOfRange,
	UnknownTopicID,
	DuplicateBrokerRegistration,
	BrokerIDNotRegistered,
	InconsistentTopicID,
	InconsistentClusterID,
	TransactionalIDNotFound,
	FetchSessionTopicIDError,
	IneligibleReplica,
	NewLeaderElected,
	OffsetMovedToTieredStorage,
	FencedMemberEpoch,
	UnreleasedInstanceID,
	UnsupportedAssignor,
	StaleMemberEpoch,
	MismatchedEndpointType,
	UnsupportedEndpointType,
	UnknownControllerID,
	UnknownSubscriptionID,
	TelemetryTooLarge,
	InvalidRegistration,
	TransactionAbortable,
	InvalidRecordState,
	ShareSessionNotFound,
	InvalidShareSessionEpoch,
	FencedStateEpoch,
	InvalidVoterKey,
	DuplicateVoter,
	VoterNotFound,
	InvalidRegularExpression,
	RebootstrapRequired,
	StreamsInvalidTopology,
	StreamsInvalidTopologyEpoch,
	StreamsTopologyFenced,
	ShareSessionLimitReached,
	GroupDeletionFailed,
	StreamsTopologyDescriptionUpdateFailed,
	ControllerIDNotRegistered,
}
