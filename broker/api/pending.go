package api

import (
	"time"

	"spate/broker/purgatory"
	"spate/netpoll"
)

// Pending is the operations of one connection that wait in purgatory. It belongs to the connection's loop. The zero
// value is ready.
type Pending struct{ first *parked }

// Cancel drops all of them: the connection is gone.
func (p *Pending) Cancel() {
	for p.first != nil {
		p.first.abandon()
	}
}

// operation is what Produce and Fetch keep of a request.
type operation interface {
	netpoll.Task     // a wake-up has arrived on the loop
	netpoll.Releaser // the response has left
	purgatory.Waker
	// recycle makes the operation ready for another request.
	recycle()
}

// parked is the part that all operations share: the way back to the connection, the time in purgatory, and the
// knowledge of when the operation may be used again. It belongs to the connection's loop.
type parked struct {
	purgatory.Operation
	self operation

	node          *Node
	conn          netpoll.Conn
	ticket        netpoll.Ticket
	version       int16
	correlationID int32
	received      time.Time
	account       *Account

	pending    *Pending // the list that prev and next are of, while the operation waits
	prev, next *parked

	reply     netpoll.Response
	since     time.Time // of the stage that is under way
	working   bool      // a worker has the operation
	sending   bool      // the connection has the reply
	straggler bool      // a wake-up is on its way for which nothing waits any more
}

// begin ties the operation to a request.
func (p *parked) begin(c *Context) {
	p.node, p.conn, p.ticket = c.Node, c.Conn, c.Ticket
	p.version, p.correlationID = c.Header.Version, c.Header.CorrelationID
	p.received, p.since = c.Received, c.Received
	p.pending = c.Pending
	p.account = c.Account
}

// forget drops what belongs to the request.
func (p *parked) forget() {
	p.node, p.conn, p.pending, p.account = nil, nil, nil, nil
	p.reply = netpoll.Response{}
}

// enter sends the operation into purgatory.
func (p *parked) enter(in *purgatory.Purgatory, wait time.Duration, watches int) {
	p.next = p.pending.first
	if p.next != nil {
		p.next.prev = p
	}
	p.pending.first = p
	p.Start(in, p.received.Add(wait), watches)
}

// leave takes the operation out of purgatory. One that does not go on to send its reply is ready for another request
// then, or when the wake-up has arrived that is on its way.
func (p *parked) leave() {
	if p.prev == nil {
		p.pending.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
	p.straggler = !p.Stop()
}

// abandon is leave for an operation that nobody waits for any more.
func (p *parked) abandon() {
	p.leave()
	p.settle()
}

// send hands the reply to the connection, which delivers no request for so many milliseconds.
func (p *parked) send(throttle int32) {
	if throttle > 0 {
		p.conn.Mute(time.Duration(throttle) * time.Millisecond)
	}
	p.sending = true
	p.reply.Owner = p.self
	p.conn.Complete(p.ticket, &p.reply)
}

// sent notes that the connection is done with the reply.
func (p *parked) sent() {
	p.sending = false
	p.settle()
}

// arrived notes a wake-up for an operation that has left purgatory.
func (p *parked) arrived() {
	p.straggler = false
	p.settle()
}

// settle lets the operation go when nobody refers to it any more.
func (p *parked) settle() {
	if !p.working && !p.sending && !p.straggler {
		p.self.recycle()
	}
}

// What a slice may hold to be kept for the next request: some 100 partitions of a request and the bytes of a response
// to it are usual; what lies far above is given back to the collector.
const (
	elementsKept = 1 << 12
	bytesKept    = 1 << 16
)

func kept[T any](s []T) []T {
	if cap(s) > elementsKept {
		return nil
	}
	return s[:0]
}

func keptBytes(s []byte) []byte {
	if cap(s) > bytesKept {
		return nil
	}
	return s[:0]
}
