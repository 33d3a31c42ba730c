package api

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker/quota"
	"spate/kafka"
	"spate/netpoll"
)

// Asked is a request whose answer comes later, from another goroutine: it holds what the answer needs once the Context
// is the next request's. Answer is called exactly once, whatever has become of the client; before that, the handler
// keeps no view of the request's bytes.
type Asked struct {
	Request kmsg.Request

	node     *Node
	conn     netpoll.Conn
	ticket   netpoll.Ticket
	id       int32 // correlation id
	received time.Time
	account  *Account
	busy     time.Duration // on a thread, before the question was handed on
	tell     Tell
	draft    kmsg.Response // where a handler has begun the response: what remains is said by the coordinator
	charged  int64         // what parked counts for it
}

// Tell makes the response to a request from what a coordinator said, or from why it said nothing.
type Tell func(a *Asked, body any, err error) kmsg.Response

// ask gives the request to a handler that has it answered later.
func (c *Context) ask(h *Handler, request kmsg.Request) {
	a := &Asked{
		Request: request, node: c.Node, conn: c.Conn, ticket: c.Ticket, id: c.Header.CorrelationID,
		received: c.Received, account: c.Account,
	}
	if _, limited := c.Account.limits(quota.Request); limited {
		a.busy = c.Node.Clock.Now().Sub(c.Received)
	}
	a.charge(int64(c.BodyBytes) + int64(offsetsIn(request))*offsetBytes)
	h.Ask(c, a, request)
}

// charge counts bytes that the request takes until it is answered.
func (a *Asked) charge(bytes int64) {
	a.charged += bytes
	a.node.parked.Add(bytes)
}

// Done is Answer for what comes from a coordinator.
func (a *Asked) Done(body any, err error) { a.Answer(a.tell(a, body, err)) }

// Answer sends the response. Any goroutine may call it; it does not wait.
func (a *Asked) Answer(response kmsg.Response) {
	a.node.parked.Add(-a.charged)
	throttle := a.account.throttleTime(a.busy, 0)
	a.node.reply(a.conn, a.ticket, a.id, a.received, response, throttle)
}

// fail counts an error code of the answer, and gives it back.
func (a *Asked) fail(code int16) int16 {
	a.node.Meters.Of(a.Request.Key()).Fail(code)
	return code
}

// code is the error code of err, counted.
func (a *Asked) code(err error) int16 {
	if err == nil {
		return kafka.NoError
	}
	return a.fail(kafka.CodeOf(err))
}

// parkedBytesMax bounds the requests that wait for a coordinator, by their length on the wire and the number of
// questions, offsets and markers in them: as much as the network may hold of frames by default. Past it a client is
// told to come again, whatever it asks.
const parkedBytesMax = 512 << 20

// parkedBytes counts the bytes of the requests that wait for a coordinator.
type parkedBytes struct{ atomic.Int64 }

// full tells whether another request would be too much.
func (p *parkedBytes) full() bool { return p.Load() > parkedBytesMax }
