// Package quota is the arithmetic of client quotas, as Kafka has it: over how much time a rate is measured, for how
// long a client that was faster has to wait, how a bucket of tokens fills, and which of the quotas that are set is a
// client's. It holds numbers and tables, and takes the time as a value, in milliseconds.
//
// It keeps no list of clients, never waits, and locks nothing: whoever has a Rate, a Bucket or Connections sees to it
// that one goroutine at a time calls it. A Table is never changed once it is made, and any goroutine may read it.
//
//tidy:pure
package quota
