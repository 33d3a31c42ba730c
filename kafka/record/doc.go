// Package record is Kafka's record batch, magic 2: views over the bytes as they came in, checksums, Kafka's rules for
// a batch that a producer sends, iteration, the five compression types with bounded memory, and a Builder.
//
// A Batch stays the bytes it came in. Only base offset and leader epoch are ever written into one without a new
// checksum, because the checksum leaves both out. Validate is the one gate between a client's bytes and a log.
//
// The package owns no file, no socket and no clock, starts no goroutine and keeps no state besides pools of decoders;
// any goroutine may call it, but a Batch is written by one goroutine at a time and an Iterator belongs to one.
package record
