// Package record is the codec of the records in the metadata log, in KRaft's own formats, so that Kafka's tools read
// the log: a frame of version 1 (frame version, record type and record version as unsigned varints), then a flexible
// body with tagged fields. It also holds the values of the control records that a metadata log and its snapshots
// carry. The field comments give the names of Kafka's schemas where they differ from the field's.
//
// The package owns nothing, keeps no state and never decides what a record means; any goroutine may call it.
//
//tidy:pure
package record
