// Package replica hosts this broker's copies of partitions: a Replica appends and reads as the leader and moves the
// high watermark, the Set finds replicas by name and by topic id and keeps them in step with the metadata image. The
// decisions are those of the machine in replica/state; the package owns the machines and the mapping from partitions
// to log directories.
//
// It never talks to clients and never decides who leads. Event loops call Append, Read and the look-ups, which take no
// lock that is held across I/O; the metadata goroutine calls Load and Apply, one at a time; flushers report through
// Flushed and Failed. A timer tries again to make the logs that found no room on the disk.
package replica
