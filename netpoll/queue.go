package netpoll

import "spate/internal/invariant"

// queue holds a connection's responses in the order of their requests: a ring of slots from the oldest that is due to
// the newest that is reserved. Its length is bounded by Options.InFlightMax, past which no request is read.
type queue struct {
	slots   []slot // a power of two of them; the slot of ticket t is slots[t % len]
	oldest  Ticket // oldest <= next
	next    Ticket
	waiting int64 // bytes in memory of the responses that are filled
}

// slot is the place of one response.
type slot struct {
	response *Response // nil until filled, and for a response without bytes
	filled   bool
}

// slotsMin is the room that a connection with few requests in flight needs.
const slotsMin = 8

// reserve takes the next ticket.
func (q *queue) reserve() Ticket {
	if q.due() == len(q.slots) {
		q.grow()
	}
	t := q.next
	q.next++
	return t
}

// due is the number of responses that are reserved and not popped.
func (q *queue) due() int { return int(q.next - q.oldest) }

// fill puts r, or nothing, in the place t.
func (q *queue) fill(t Ticket, r *Response) {
	// Checks on the hot path have constant texts: an argument would be allocated for each call.
	invariant.Check(t >= q.oldest && t < q.next, "a ticket was completed twice, or never reserved")
	s := q.at(t)
	invariant.Check(!s.filled, "a ticket was completed twice")
	*s = slot{response: r, filled: true}
	q.waiting += r.memoryBytes()
}

// ready reports whether the oldest place is filled.
func (q *queue) ready() bool { return q.filled(q.oldest) }

// filled reports whether t is reserved and filled.
func (q *queue) filled(t Ticket) bool { return t < q.next && q.at(t).filled }

// at is the slot of t, which is reserved.
func (q *queue) at(t Ticket) *slot { return &q.slots[int(t)&(len(q.slots)-1)] }

// pop removes the oldest place, which is filled.
func (q *queue) pop() *Response {
	s := q.at(q.oldest)
	r := s.response
	*s = slot{}
	q.oldest++
	q.waiting -= r.memoryBytes()
	return r
}

// grow doubles the ring.
func (q *queue) grow() {
	next := queue{slots: make([]slot, max(slotsMin, 2*len(q.slots)))}
	for t := q.oldest; t < q.next; t++ {
		*next.at(t) = *q.at(t)
	}
	q.slots = next.slots
}

// memoryBytes is how many bytes of r are kept in memory until they are sent.
func (r *Response) memoryBytes() int64 {
	if r == nil {
		return 0
	}
	var n int64
	for i := range r.Pieces {
		n += int64(len(r.Pieces[i].Bytes))
	}
	return n
}

// release gives r back to its owner.
func (r *Response) release() {
	if r != nil && r.Owner != nil {
		r.Owner.Release()
	}
}

// size is the number of bytes that p stands for.
func (p *Piece) size() int64 {
	if p.Bytes != nil {
		return int64(len(p.Bytes))
	}
	return p.Length
}
