package netpoll

// The agendas that a connection can be on.
const (
	byIdle = iota
	byBegun
	agendaCount
)

// link is a connection's place on one agenda.
type link struct {
	previous, next *conn
	at             int64 // when what is waited for began: the loop's now, so up to a tick before it really did
	listed         bool
}

// agenda is a list of connections by a time that never decreases from first to last, as all wait equally long.
type agenda struct {
	kind        int
	first, last *conn
}

// add puts c, which is not listed, at the end.
func (a *agenda) add(c *conn, at int64) {
	c.links[a.kind] = link{previous: a.last, at: at, listed: true}
	if a.last == nil {
		a.first = c
	} else {
		a.last.links[a.kind].next = c
	}
	a.last = c
}

// remove takes c out if it is listed.
func (a *agenda) remove(c *conn) {
	place := &c.links[a.kind]
	if !place.listed {
		return
	}
	if place.previous == nil {
		a.first = place.next
	} else {
		place.previous.links[a.kind].next = place.next
	}
	if place.next == nil {
		a.last = place.previous
	} else {
		place.next.links[a.kind].previous = place.previous
	}
	*place = link{}
}

// refresh moves c, which is listed, to the end, unless its time is at already.
func (a *agenda) refresh(c *conn, at int64) {
	if c.links[a.kind].at == at {
		return
	}
	a.remove(c)
	a.add(c, at)
}

// overdue is the first connection if it was listed timeout or longer ago, else nil. Timeout 0 means never. A tick is
// added since a connection's time counts from the tick before it was listed.
func (l *loop) overdue(a *agenda, timeout int64) *conn {
	if timeout <= 0 || a.first == nil {
		return nil
	}
	if l.now-a.first.links[a.kind].at < timeout+int64(l.server.tick) {
		return nil
	}
	return a.first
}

// expire closes the connections whose time is up.
func (l *loop) expire() {
	for c := l.overdue(&l.begun, int64(l.server.options.FrameTimeout)); c != nil; {
		c.end(ErrFrameTimeout)
		l.begun.remove(c)
		c = l.overdue(&l.begun, int64(l.server.options.FrameTimeout))
	}
	for c := l.overdue(&l.idle, int64(l.server.options.IdleTimeout)); c != nil; {
		switch {
		case c.awaitsWrite:
			c.end(ErrStalled)
		case !c.owes():
			c.end(ErrIdle)
		}
		l.idle.refresh(c, l.now)
		c = l.overdue(&l.idle, int64(l.server.options.IdleTimeout))
	}
}
