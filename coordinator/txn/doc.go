// Package txn is the coordinator of transactions for one partition of __transaction_state: the machine that decides
// which producer a transactional id belongs to, which partitions are in its transaction, and how that ends.
//
// A Shard holds the transactional ids that hash to its partition. Each has one record, which says everything about it
// that outlives a crash; the state in memory is the last one that was applied. A transaction ends in two steps. First
// the decision is written (PrepareCommit, PrepareAbort): from then on it stands, whatever crashes. Then a task has the
// markers written to all partitions, and when they are committed the end is written (CompleteCommit, CompleteAbort).
// A shard that is loaded asks for the markers of all transactions between the two steps again.
//
// There are two protocols (KIP-890). A client of the older one ends a transaction with the epoch that it began with.
// With the newer one, each end raises the epoch, so that nothing that is late can get into the next transaction;
// which one it is, the client shows with each request, and transaction.version says which one the broker itself uses
// when it fences a producer.
//
// The package writes and sends nothing itself: see coordinator.Outcome. coordinator/runtime drives each shard on one
// goroutine.
//
//tidy:pure
package txn
