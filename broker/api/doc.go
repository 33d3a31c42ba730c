// Package api answers requests: one file per API key, named by its number, and the table that lists them. It owns the
// state that handlers keep between requests (operations that wait, fetch sessions, producer id blocks) and never knows
// how the node was put together, nor reads a socket. Files of the package share nothing but Node, Context and the
// table.
//
// A hot handler (Produce, Fetch), an Answer that does not block and an Ask run on the event loop of their connection.
// An Answer that blocks, or an Ask that takes long, runs on a worker goroutine while its connection delivers no further
// request. What an Ask has asked is answered later, on the goroutine of a coordinator.
package api
