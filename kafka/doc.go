// Package kafka is the vocabulary that the Kafka protocol defines: the distinct number types (Offset, LeaderEpoch,
// ProducerID …), topic ids, topic partitions and the table of protocol error codes. It owns no state, does no I/O and
// may be called from any goroutine.
package kafka
