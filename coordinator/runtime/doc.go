// Package runtime drives the coordinators: it owns one machine for each partition of an internal topic that this broker
// leads, and one goroutine for each machine.
//
// A shard reads its partition from start to end when it begins to lead, applying every record. From then on it takes
// turns: commands and due timers are decided one after another, the records that follow are encoded into one batch and
// applied, the batch is appended, and every reply is parked until the high watermark has passed what was written before
// it was decided. So nothing is said to a client that a crash could take back. When an append fails, the machine is
// thrown away and made anew from the log; nothing is ever undone.
//
// The package decides nothing that a client could see, except for the four ways in which a coordinator is not there:
// NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, and RECORD_LIST_TOO_LARGE for what does not
// fit into one batch. All methods of Host may be called from any goroutine.
package runtime
