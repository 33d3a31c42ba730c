package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka/wire"
	"spate/netpoll"
)

// Context is one request as a handler sees it. The connection owns it and uses it again for its next request, so no
// handler keeps a pointer to it after it has returned.
type Context struct {
	Node   *Node
	Conn   netpoll.Conn
	Ticket netpoll.Ticket // the place of the answer among the connection's responses
	Header wire.RequestHeader
	Body   []byte // what follows the header, up to the end of Frame: valid until the handler returns
	Frame  Frame  // that the request came in, or nil
	// BodyBytes is the length of Body, also for a worker, which does not have the bytes any more.
	BodyBytes int
	// Received is when the last byte of the request was read.
	Received time.Time
	// Account is the client's quotas; nil where none holds for it.
	Account *Account
	// Pending holds the connection's operations that wait in purgatory.
	Pending *Pending

	waited   time.Duration // of the time since Received, what a worker spent on waiting for the controller
	throttle int32         // milliseconds that the handler found the client has to wait
}

// Frame is the bytes that a request came in; *netpoll.Frame is one.
type Frame interface {
	Bytes() []byte
	Take()
	Release()
}

// Hot serves a request from its raw body, on the connection's loop, without allocating. It completes or skips the
// ticket itself, now or later. An error means that the request cannot be parsed or served, and closes the connection.
type Hot func(c *Context) error

// Answer serves a decoded request. The response is encoded in the request's version; a nil response sends nothing. An
// error closes the connection: what Kafka answers with an error code is a response, not an error. ctx ends when the
// broker shuts down.
type Answer func(ctx context.Context, c *Context, request kmsg.Request) (kmsg.Response, error)

// Ask serves a decoded request that a coordinator answers: it runs on the connection's loop or on a worker, hands the
// question on, and returns. Whoever has the answer calls a.Answer, once, now or later, from any goroutine; the
// connection goes on with its next request meanwhile. Nothing that outlives the call may be a view of the request's
// bytes.
type Ask func(c *Context, a *Asked, request kmsg.Request)
