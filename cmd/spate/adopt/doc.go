// Package adopt takes over the log directories of a stopped Apache Kafka node. It reads everything first and makes a
// Plan, which says what is there and what stands against it; only a plan without refusals can be carried out. What it
// changes is one folder: the metadata log is written anew beside Kafka's, and the two swap names in one step. Records,
// indexes, checkpoints and meta.properties stay the files that they are.
//
// It owns the locks of the directories from Check to Close, starts no goroutine, and is called by the command line.
package adopt
