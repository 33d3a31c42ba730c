// Package api answers requests: one file per API key, named by its number, and the table that lists them. It owns the
// state that handlers keep between requests (operations that wait, fetch sessions, producer id blocks) and never knows
// how the node was put together, nor reads a socket. Files of the package share nothing but Node, Context and the
// table.
//
// A hot handler (Produce, Fetch) and an Answer that does not block run on the event loop of their connection. An Answer
// that blocks runs on a worker goroutine while its connection delivers no further request.
package api
