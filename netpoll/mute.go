package netpoll

import (
	"time"

	"spate/internal/clock"
)

// muting is for how long a connection delivers no frame, because its owner said so. It belongs to the loop.
type muting struct {
	until time.Time   // the zero time: not at all
	timer clock.Timer // made when the connection is muted first, and then armed again and again
}

// Mute has the connection deliver no frame for d from now on; of several times that overlap the last to end counts.
// Responses go out all the same. As with Pause, what has been read already is kept, in order.
func (c *conn) Mute(d time.Duration) {
	if d <= 0 || c.dead {
		return
	}
	until := c.loop.server.options.Clock.Now().Add(d)
	if !until.After(c.muting.until) {
		return
	}
	c.muting.until = until
	c.loop.account.muted.Add(1)
	if c.muting.timer == nil {
		c.muting.timer = c.loop.server.options.Clock.AfterFunc(d, func() {
			c.loop.offer(message{task: (*unmuting)(c)})
		})
	} else {
		c.muting.timer.Reset(d)
	}
	c.mark()
}

// unmuting is the task by which a connection goes on that was muted.
type unmuting conn

// Run lets the connection go on, unless it has been muted again meanwhile.
func (u *unmuting) Run() {
	c := (*conn)(u)
	if c.dead || c.muting.until.IsZero() {
		return
	}
	if left := c.muting.until.Sub(c.loop.server.options.Clock.Now()); left > 0 {
		c.muting.timer.Reset(left)
		return
	}
	c.muting.until = time.Time{}
	c.mark()
}

// stop ends the timer of a connection that goes.
func (m *muting) stop() {
	if m.timer != nil {
		m.timer.Stop()
	}
}
