// Package offsets holds the committed offsets of all groups of one shard.
//
// A Table decides about commits, fetches, deletions and expiry; its records are record.OffsetCommit. It does not know
// members: the shard has asked the group first. Offsets committed in a transaction are kept apart until the
// transaction's marker. The package is called on the shard's goroutine.
//
//tidy:pure
package offsets
