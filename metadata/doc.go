// Package metadata is the driver of the cluster's metadata: it owns the Raft group, its log `__cluster_metadata-0`,
// the vote and the snapshots beside it, and the machine that decides (package controller). Commands come in through
// Submit; the records that they become are appended, made durable, committed and applied, and the image after them is
// published, in that order, before Submit returns.
//
// All of it runs on one goroutine, that of the Node; Poll is one turn of its loop. Image may be called from any
// goroutine and is an atomic load. The package decides nothing about topics or brokers and knows nothing of sockets:
// the group has one voter, so there is nobody to send to.
//
// The format of the files is in docs/decisions/0001-metadata-log-format.md.
package metadata
