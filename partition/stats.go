package partition

import "sync/atomic"

// Stats counts what a log directory did. All fields may be read at any time.
type Stats struct {
	FlushRounds     atomic.Int64 // rounds of the group commit
	FlushedLogs     atomic.Int64 // logs flushed in them
	AppendBytes     atomic.Int64
	AppendBatches   atomic.Int64
	SlowOperations  atomic.Int64 // appends and flushes slower than SlowAfter
	DiskFull        atomic.Int64 // appends and background writes that a full disk refused
	FilesRefused    atomic.Int64 // times that a file could not be opened since too many are
	Corruptions     atomic.Int64 // reads that found bytes which are not what was written
	SegmentsRolled  atomic.Int64
	SegmentsDeleted atomic.Int64
	Truncations     atomic.Int64
	CleanedBytes    atomic.Int64 // read by compaction
	ReclaimedBytes  atomic.Int64 // by which compaction made segments smaller
}
