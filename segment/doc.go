// Package segment is one log segment: a file of record batches in Kafka's format with its offset, time and
// aborted-transaction indexes. It owns the files, the descriptor, the mapping and the preallocation ahead of the tail.
// It never decides what may be appended or read, takes no lock on the read path, starts no goroutine and retries no
// failed write.
//
// One goroutine at a time calls Append, TruncateTo and Seal (the partition's append lock). Flush and
// StartWriteback may run beside an append. Reads and the getters may be called by any goroutine, beside all of that.
package segment
