package metrics

// Name is the name of a metric in Table.
type Name string

// Kind is what a metric's value means.
type Kind uint8

// The kinds.
const (
	Count    Kind = iota // only grows
	Level                // goes up and down
	Duration             // a histogram of durations
)

// Desc is one row of the table.
type Desc struct {
	Name   Name
	Kind   Kind
	Unit   string // what one is
	Labels []string
	Help   string
}

// The names, by which the writers ask for their instruments.
const (
	Requests      Name = "spate_requests_total"
	RequestErrors Name = "spate_request_errors_total"
	RequestTime   Name = "spate_request_seconds"
	StageTime     Name = "spate_request_stage_seconds"

	BytesIn             Name = "spate_network_received_bytes_total"
	BytesOut            Name = "spate_network_sent_bytes_total"
	SendfileBytes       Name = "spate_network_sendfile_bytes_total"
	Sendfiles           Name = "spate_network_sendfile_calls_total"
	Connections         Name = "spate_connections"
	ConnectionsAccepted Name = "spate_connections_accepted_total"
	ConnectionsRefused  Name = "spate_connections_refused_total"
	ConnectionsDelayed  Name = "spate_connections_delayed_total"
	LoopLag             Name = "spate_loop_lag_seconds"
	ColdReads           Name = "spate_cold_reads_total"
	RequestMemory       Name = "spate_request_memory_bytes"
	MemoryWaits         Name = "spate_request_memory_waits_total"

	Throttled    Name = "spate_throttled_requests_total"
	ThrottleTime Name = "spate_throttle_seconds"
	QuotaClients Name = "spate_quota_clients"

	AppendedRecords Name = "spate_appended_records_total"
	AppendedBytes   Name = "spate_appended_bytes_total"
	FetchedBytes    Name = "spate_fetched_bytes_total"
	FlushTime       Name = "spate_flush_seconds"
	SegmentsRolled  Name = "spate_segments_rolled_total"
	SegmentsDeleted Name = "spate_segments_deleted_total"
	CleanedBytes    Name = "spate_compaction_read_bytes_total"
	ReclaimedBytes  Name = "spate_compaction_reclaimed_bytes_total"
	Cleanings       Name = "spate_compactions_total"
	CleanerLastRun  Name = "spate_compaction_last_run_timestamp_seconds"
	DirtyRatioMax   Name = "spate_compaction_dirty_ratio_max"
	Uncleanable     Name = "spate_partitions_uncleanable"
	DiskFull        Name = "spate_disk_full_total"
	FilesRefused    Name = "spate_segment_files_refused_total"
	FilesOpen       Name = "spate_segment_files_open"
	Corruptions     Name = "spate_corrupt_reads_total"
	SlowOperations  Name = "spate_slow_disk_operations_total"
	LogDirOffline   Name = "spate_log_dir_offline"
	LogDirBytes     Name = "spate_log_dir_bytes"
	LogDirFreeBytes Name = "spate_log_dir_free_bytes"
	Moves           Name = "spate_log_dir_moves"
	MovesLag        Name = "spate_log_dir_moves_lag_offsets"
	MovesDone       Name = "spate_log_dir_moves_done_total"
	MovesFailed     Name = "spate_log_dir_moves_failed_total"
	MovedBytes      Name = "spate_log_dir_moved_bytes_total"
	PartitionBytes  Name = "spate_partition_bytes"
	PartitionStart  Name = "spate_partition_log_start_offset"
	PartitionEnd    Name = "spate_partition_log_end_offset"
	PartitionHW     Name = "spate_partition_high_watermark"
	PartitionLSO    Name = "spate_partition_last_stable_offset"

	Partitions        Name = "spate_partitions"
	PartitionsOffline Name = "spate_partitions_offline"
	Topics            Name = "spate_topics"
	MetadataOffset    Name = "spate_metadata_offset"
	FetchSessions     Name = "spate_fetch_sessions"
	Delayed           Name = "spate_delayed_requests"
	BuildInfo         Name = "spate_build_info"

	Coordinators        Name = "spate_coordinators"
	CoordinatorQueue    Name = "spate_coordinator_queued_commands"
	CoordinatorCommands Name = "spate_coordinator_commands_total"
	CoordinatorTime     Name = "spate_coordinator_commit_seconds"
	CoordinatorRecords  Name = "spate_coordinator_appended_records_total"
	CoordinatorBytes    Name = "spate_coordinator_appended_bytes_total"
	CoordinatorErrors   Name = "spate_coordinator_errors_total"
	CoordinatorLoadTime Name = "spate_coordinator_load_seconds"
	CoordinatorLoaded   Name = "spate_coordinator_loaded_records_total"
	Groups              Name = "spate_groups"
	GroupMembers        Name = "spate_group_members"
	GroupOffsets        Name = "spate_group_offsets"

	TransactionalIDs  Name = "spate_transactional_ids"
	TransactionsEnded Name = "spate_transactions_ended_total"
	MarkersPending    Name = "spate_transactions_awaiting_markers"
	MarkerTime        Name = "spate_transaction_markers_seconds"
	MarkersWritten    Name = "spate_transaction_markers_written_total"
	MarkersRefused    Name = "spate_transaction_markers_refused_total"
)

// Table is every metric, beside those of the Go runtime and the process.
var Table = []Desc{
	{Requests, Count, "requests", []string{"api"}, "Requests that were answered, or needed no answer."},
	{RequestErrors, Count, "errors", []string{"api", "error"}, "Error codes in answers, each partition's counted."},
	{RequestTime, Duration, "seconds", []string{"api"},
		"From the last byte of a request to the last byte of its answer."},
	{StageTime, Duration, "seconds", []string{"api", "stage"}, "Time in one stage of the request path: read, decode, " +
		"append, flush, replicate, wait, send."},

	{BytesIn, Count, "bytes", nil, "Bytes read from clients."},
	{BytesOut, Count, "bytes", nil, "Bytes written to clients."},
	{SendfileBytes, Count, "bytes", nil, "Bytes that went from files to sockets without passing through memory here."},
	{Sendfiles, Count, "calls", nil, "Calls of sendfile."},
	{Connections, Level, "connections", nil, "Open connections."},
	{ConnectionsAccepted, Count, "connections", nil, "Connections that were accepted."},
	{ConnectionsRefused, Count, "connections", []string{"reason"},
		"Connections that were refused, by the limit they hit."},
	{ConnectionsDelayed, Count, "connections", nil,
		"Connections that had to wait because of max.connection.creation.rate."},
	{LoopLag, Duration, "seconds", nil, "How long events waited for their event loop."},
	{ColdReads, Count, "reads", []string{"by"}, "Reads that a worker made because data was not in the page cache: " +
		"by a fetch that looked it up, or by a connection that was to send it."},
	{RequestMemory, Level, "bytes", nil, "Memory held by requests."},
	{MemoryWaits, Count, "waits", nil, "Times that a connection was not read because requests held all the memory."},

	{Throttled, Count, "requests", []string{"quota"}, "Requests after which the client had to wait, by the quota " +
		"that it was above: produce, fetch, request (time on threads), controller-mutation."},
	{ThrottleTime, Duration, "seconds", []string{"quota"}, "For how long these clients had to wait."},
	{QuotaClients, Level, "clients", []string{"quota"}, "Clients that are measured because a quota holds for them."},

	{AppendedRecords, Count, "records", nil, "Records appended."},
	{AppendedBytes, Count, "bytes", nil, "Bytes of record batches appended."},
	{FetchedBytes, Count, "bytes", nil, "Bytes of record batches in answers to Fetch."},
	{FlushTime, Duration, "seconds", []string{"dir"},
		"One round of the group commit: the flush of every log waited for."},
	{SegmentsRolled, Count, "segments", []string{"dir"}, "Segments that were begun after a full one."},
	{SegmentsDeleted, Count, "segments", []string{"dir"}, "Segments that retention deleted, or compaction replaced."},
	{CleanedBytes, Count, "bytes", []string{"dir"}, "Bytes of segments that compaction has read to write them anew."},
	{ReclaimedBytes, Count, "bytes", []string{"dir"}, "Bytes by which compaction made logs smaller."},
	{Cleanings, Count, "logs", nil, "Logs that were compacted, each time counted."},
	{CleanerLastRun, Level, "seconds", nil, "When the last compaction of a log ended, since 1970; 0: none yet."},
	{DirtyRatioMax, Level, "", nil, "The share of new records in the compacted log that has the largest one."},
	{Uncleanable, Level, "partitions", nil,
		"Partitions that are not compacted any more, because their log is corrupt."},
	{FilesRefused, Count, "files", []string{"dir"}, "Files that could not be opened since too many are open."},
	{FilesOpen, Level, "files", nil, "Segments whose files are open, of all log directories."},
	{DiskFull, Count, "writes", []string{"dir"}, "Writes for which the disk had no room."},
	{Corruptions, Count, "reads", []string{"dir"}, "Reads that found bytes which are not what was written."},
	{SlowOperations, Count, "operations", []string{"dir"}, "Appends and flushes that took longer than 50 ms."},
	{LogDirOffline, Level, "", []string{"dir"}, "1 when a disk error took the log directory offline."},
	{LogDirBytes, Level, "bytes", []string{"dir"}, "Bytes of the logs in the directory."},
	{LogDirFreeBytes, Level, "bytes", []string{"dir"}, "Room left on the file system of the directory."},
	{Moves, Level, "partitions", nil, "Partitions that are being moved to another log directory."},
	{MovesLag, Level, "offsets", nil, "Offsets that all these moves have still to copy."},
	{MovesDone, Count, "moves", nil, "Moves to another log directory that came to their end."},
	{MovesFailed, Count, "moves", nil, "Moves to another log directory that failed: the partition stays where it is."},
	{MovedBytes, Count, "bytes", nil, "Bytes copied to another log directory."},
	{PartitionBytes, Level, "bytes", []string{"topic", "partition"}, "Bytes of the partition's log."},
	{PartitionStart, Level, "offset", []string{"topic", "partition"}, "Log start offset."},
	{PartitionEnd, Level, "offset", []string{"topic", "partition"}, "Log end offset."},
	{PartitionHW, Level, "offset", []string{"topic", "partition"},
		"High watermark: what consumers may read, exclusive."},
	{PartitionLSO, Level, "offset", []string{"topic", "partition"}, "Last stable offset: what consumers of committed " +
		"records may read, exclusive. It is the high watermark unless a transaction is open."},

	{Partitions, Level, "partitions", nil, "Partitions hosted here."},
	{PartitionsOffline, Level, "partitions", nil,
		"Of them, those that cannot be served: their log is corrupt or gone."},
	{Topics, Level, "topics", nil, "Topics of the cluster."},
	{MetadataOffset, Level, "offset", nil, "Offset of the last metadata record that was applied."},
	{FetchSessions, Level, "sessions", nil, "Incremental fetch sessions."},
	{Delayed, Level, "requests", []string{"kind"}, "Requests that wait in purgatory: produce or fetch."},
	{Coordinators, Level, "partitions", []string{"of", "state"}, "Partitions of __consumer_offsets (of=\"groups\") " +
		"and __transaction_state (of=\"transactions\") led here, by what their coordinator is doing: loading, " +
		"serving, fallen (an append failed, it loads again), corrupt (not served)."},
	{CoordinatorQueue, Level, "commands", []string{"of"}, "Commands that wait for their coordinator's next turn."},
	{CoordinatorCommands, Count, "commands", []string{"of"},
		"Commands that coordinators decided, heartbeats among them."},
	{CoordinatorTime, Duration, "seconds", []string{"of"},
		"From a coordinator's decision until what it rests on was committed."},
	{CoordinatorRecords, Count, "records", []string{"of"}, "Records that coordinators appended."},
	{CoordinatorBytes, Count, "bytes", []string{"of"}, "Bytes of batches that coordinators appended."},
	{CoordinatorErrors, Count, "errors", []string{"of", "kind"}, "What went wrong in coordinators: append (its " +
		"state was loaded again), corrupt (a load that found a record it cannot read), unknown (a record of a later " +
		"version was skipped), too-large (records that exceed max.message.bytes), no-room (the disk is full), " +
		"overflow (the queue was full)."},
	{CoordinatorLoadTime, Duration, "seconds", []string{"of"}, "Loading one partition of a coordinators' topic."},
	{CoordinatorLoaded, Count, "records", []string{"of"}, "Records that were read while loading."},
	{Groups, Level, "groups", []string{"type", "state"},
		"Groups coordinated here; up to a second old, like the next two."},
	{GroupMembers, Level, "members", nil, "Members of these groups."},
	{GroupOffsets, Level, "offsets", nil, "Committed offsets held here, one for each group and partition."},
	{TransactionalIDs, Level, "ids", []string{"state"}, "Transactional ids coordinated here, by the state of their " +
		"transaction: Ongoing is open, PrepareCommit and PrepareAbort wait for their markers; up to a second old."},
	{TransactionsEnded, Count, "transactions", []string{"outcome"}, "Transactions whose end was decided here: " +
		"commit, abort (by the producer), timeout (transaction.timeout.ms), fenced (the producer has begun anew)."},
	{MarkersPending, Level, "transactions", nil, "Transactions whose markers are being written."},
	{MarkerTime, Duration, "seconds", nil, "From the decision of a transaction's end until its markers were " +
		"committed, or refused."},
	{MarkersWritten, Count, "markers", nil, "Markers that were committed, one for each transaction and partition."},
	{MarkersRefused, Count, "markers", nil, "Markers that could not be written; they are tried again."},
	{BuildInfo, Level, "", []string{"version", "go"}, "Always 1; the labels say what runs."},
}
