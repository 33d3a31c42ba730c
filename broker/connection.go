package broker

import (
	"bytes"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker/api"
	"spate/kafka/wire"
	"spate/netpoll"
)

// connection is the broker's side of one client connection. It belongs to the connection's loop; while a worker answers
// a request the connection is paused, and request is the worker's.
type connection struct {
	broker  *Broker
	request api.Context // the one that is under way; set anew for each
	pending api.Pending
}

// front is the broker as the network sees it.
type front struct{ broker *Broker }

// Open announces a connection.
func (f front) Open(c netpoll.Conn) error {
	one := &connection{broker: f.broker}
	one.request = api.Context{Node: f.broker.node, Conn: c, Pending: &one.pending}
	c.SetContext(one)
	return nil
}

// Closed is the end of a connection: what waits for it waits no more.
func (f front) Closed(c netpoll.Conn, reason error) {
	c.Context().(*connection).pending.Cancel()
	b := f.broker
	if isOrdinary(reason) {
		b.env.Log.Debug("connection closed", "remote", c.RemoteAddr().String(), "reason", reason)
		return
	}
	b.closings.note(b.env.Log, b.env.Clock.Now(), c, reason)
}

// isOrdinary tells a connection's usual end from one that an operator may want to know of.
func isOrdinary(reason error) bool {
	return reason == nil || errors.Is(reason, netpoll.ErrPeerClosed) || errors.Is(reason, netpoll.ErrIdle) ||
		errors.Is(reason, netpoll.ErrShutdown)
}

// Frame serves one request. What cannot be understood closes the connection: nothing that follows could be trusted to
// begin where a request begins.
func (f front) Frame(c netpoll.Conn, frame *netpoll.Frame) {
	if err := c.Context().(*connection).serve(frame); err != nil {
		c.Close(err)
	}
}

func (c *connection) serve(f *netpoll.Frame) error {
	r := &c.request
	r.Received = c.broker.env.Clock.Now()
	header, body, err := wire.ParseHeader(f.Bytes())
	if err != nil && !isVersionsQuestion(err) {
		return err
	}
	r.Header, r.Body, r.Frame, r.BodyBytes = header, body, f, len(body)
	r.Account = c.broker.node.Quotas.AccountOf(r.Account, header.ClientID)
	r.Ticket = r.Conn.Reserve()
	handler := api.HandlerOf(header.Key)
	switch {
	case err != nil:
		return c.answer(handler, kmsg.NewPtrApiVersionsRequest())
	case handler.Hot != nil:
		return handler.Hot(r)
	}
	request, err := wire.DecodeRequest(header.Key, header.Version, body)
	if err != nil && !wire.OnlyLeftOver(err) {
		return err
	}
	return c.answer(handler, request)
}

// isVersionsQuestion tells whether the request asks for the versions in a version that is not served. It is answered
// in version 0 all the same, so that the client can ask again.
func isVersionsQuestion(err error) bool {
	var unsupported *wire.UnsupportedError
	return errors.As(err, &unsupported) && unsupported.Key == wire.KeyApiVersions
}

// answer has the handler answer, on a worker if it may wait.
func (c *connection) answer(handler *api.Handler, request kmsg.Request) error {
	r := &c.request
	if handler.Blocks == nil || !handler.Blocks(r, request) {
		return r.Respond(c.broker.ctx, handler, request)
	}
	r.Header.ClientID = bytes.Clone(r.Header.ClientID)
	r.Body, r.Frame = nil, nil
	r.Conn.Pause()
	if !c.broker.node.Workers.Put(&blocking{connection: c, handler: handler, request: request}) {
		return netpoll.ErrShutdown
	}
	return nil
}

// blocking is a request whose handler may wait: it runs on a worker, while the connection delivers no other request.
type blocking struct {
	connection *connection
	handler    *api.Handler
	request    kmsg.Request
}

// Work answers the request, on a worker.
func (b *blocking) Work() {
	r := &b.connection.request
	if err := r.Respond(b.connection.broker.ctx, b.handler, b.request); err != nil {
		r.Conn.Close(err)
	}
	r.Conn.Post(b)
}

// Run lets the connection go on, on its loop.
func (b *blocking) Run() {
	if conn := b.connection.request.Conn; !conn.Closed() {
		conn.Resume()
	}
}
