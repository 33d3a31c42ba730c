// Package partition is one partition's log on disk, and the log directory that holds many of them. A Log owns a
// partition's segments, its offsets (log start, log end, flushed, high watermark, last stable), its leader-epoch
// cache and its producer state. A LogDir owns the lock file, meta.properties and checkpoint files of one directory,
// the flusher that makes appends durable in groups, and the background work: retention, deletion, checkpoints,
// expiry.
//
// The package never decides who leads a partition, never talks to the network and never answers a client. It reads
// the time only through its Env.
//
// Append, Read and the offset getters of a Log are called by event loops and do not wait for the disk beyond the one
// write of an append; Append takes the log's append lock, readers take none. Flush, truncation, deletion and
// everything on a LogDir are called by worker goroutines. LogDir.Start starts the flusher, its workers, the one
// that starts writeback and the background worker, and LogDir.Close joins them; tests and the simulator call PollFlush,
// PollWriteback and Poll instead. Loading and
// closing have helpers that end before the call does.
package partition
