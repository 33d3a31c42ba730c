package api

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

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

// Respond has the handler answer the request, and hands the answer to the connection. It runs on the loop, or on a
// worker if the handler may wait.
func (c *Context) Respond(ctx context.Context, h *Handler, request kmsg.Request) error {
	response, err := h.Answer(ctx, c, request)
	if err != nil {
		return err
	}
	if response == nil {
		c.Conn.Skip(c.Ticket)
		return nil
	}
	r := replies.Get().(*reply)
	r.node, r.meter, r.received = c.Node, c.Node.Meters.Of(h.Key), c.Received
	r.buffer = responses.Borrow()
	r.buffer.B = wire.AppendResponse(r.buffer.B, response, c.Header.CorrelationID)
	r.pieces[0] = netpoll.Piece{Bytes: r.buffer.B}
	r.Response = netpoll.Response{Pieces: r.pieces[:], Owner: r}
	c.Conn.Complete(c.Ticket, &r.Response)
	return nil
}

// Release takes the answer back when it has left.
func (r *reply) Release() {
	r.meter.Requests.Inc()
	r.meter.Time.Observe(r.node.Clock.Now().Sub(r.received))
	responses.Release(r.buffer)
	*r = reply{}
	replies.Put(r)
}
