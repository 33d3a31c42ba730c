// Package storage reads every file that a broker writes, for "spate dump" and "spate verify": logs, indexes, snapshots,
// checkpoints and the metadata log, Spate's and Kafka's alike. It has its own decoders for the small formats, apart
// from the code that writes them, so that a mistake there is not repeated here. It never writes, maps no file, and may
// look at the files of a running broker: what is still being written at the end of a log is then a note, not damage.
// Any goroutine may call it.
package storage
