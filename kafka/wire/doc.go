// Package wire turns frames of the Kafka protocol into requests and responses into frames: request and response
// headers, the table of the versions that are served, a zero-copy codec of Produce and Fetch, and franz-go's kmsg,
// behind a guard against lying lengths, for all else.
//
// It owns no state and does no I/O. A value that it decodes from Produce, Fetch or a header is a view: its byte slices
// alias the frame and live as long as the frame does. Nothing that comes from the wire makes it panic, and what it
// allocates is bounded by the bytes that it was given. Functions may be called from any goroutine; a request value,
// whose slices are reused by the next Parse, belongs to one goroutine at a time.
package wire
