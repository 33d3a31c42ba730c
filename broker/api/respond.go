package api

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker/quota"
	"spate/internal/bufpool"
	"spate/kafka/wire"
	"spate/netpoll"
)

// responses lends the buffers that answers other than those to Produce and Fetch are encoded in.
var responses bufpool.Pool

// replies keeps the rest of what such an answer needs.
var replies = sync.Pool{New: func() any { return new(reply) }}

// reply is an answer on its way out.
type reply struct {
	netpoll.Response
	pieces   [1]netpoll.Piece
	buffer   *bufpool.Buffer
	node     *Node
	meter    *Meter
	received time.Time
}

// Respond has the handler answer the request and hands the answer to the connection, or has it ask who will do so. It
// runs on the loop, or on a worker if the handler may wait.
func (c *Context) Respond(ctx context.Context, h *Handler, request kmsg.Request) error {
	if h.Ask != nil {
		c.ask(h, request)
		return nil
	}
	c.waited, c.throttle = 0, 0
	response, err := h.Answer(ctx, c, request)
	if err != nil {
		return err
	}
	if response == nil {
		c.Conn.Skip(c.Ticket)
		return nil
	}
	var busy time.Duration
	if _, limited := c.Account.limits(quota.Request); limited {
		busy = c.Node.Clock.Now().Sub(c.Received) - c.waited
	}
	throttle := c.Account.throttleTime(busy, c.throttle)
	c.Node.reply(c.Conn, c.Ticket, c.Header.CorrelationID, c.Received, response, throttle)
	return nil
}

// reply hands a response to a connection, which delivers no request for the throttle time, in milliseconds. Any
// goroutine may call it.
func (n *Node) reply(conn netpoll.Conn, ticket netpoll.Ticket, id int32, received time.Time, response kmsg.Response,
	throttle int32) {
	if tells, ok := response.(kmsg.SetThrottleResponse); ok && throttle > 0 {
		tells.SetThrottle(throttle)
	}
	r := replies.Get().(*reply)
	r.node, r.meter, r.received = n, n.Meters.Of(response.Key()), received
	r.buffer = responses.Borrow()
	r.buffer.B = wire.AppendResponse(r.buffer.B, response, id)
	r.pieces[0] = netpoll.Piece{Bytes: r.buffer.B}
	r.Response = netpoll.Response{Pieces: r.pieces[:], Owner: r, Mute: time.Duration(throttle) * time.Millisecond}
	conn.Complete(ticket, &r.Response)
}

// Release takes the answer back when it has left.
func (r *reply) Release() {
	r.meter.Requests.Inc()
	r.meter.Time.Observe(r.node.Clock.Now().Sub(r.received))
	responses.Release(r.buffer)
	*r = reply{}
	replies.Put(r)
}
