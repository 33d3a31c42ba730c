package broker

import (
	"log/slog"
	"sync"
	"time"

	"spate/netpoll"
)

// closings logs why connections end, so that a client that connects and misbehaves in a loop does not fill the log.
type closings struct {
	mu     sync.Mutex
	second time.Time // when the second began that logged and hushed count in
	logged int
	hushed int
}

// closingsPerSecond is how many a person can still take in; the others are counted.
const closingsPerSecond = 10

// note logs the end of a connection, unless there were too many of them in this second.
func (c *closings) note(log *slog.Logger, now time.Time, conn netpoll.Conn, reason error) {
	if may, hushed := c.may(now); may {
		log.Warn("connection closed", "remote", conn.RemoteAddr().String(), "listener", conn.Listener(),
			"reason", reason, "not_logged_before", hushed)
	}
}

// may tells whether one more may be logged, and how many were not since the last that was.
func (c *closings) may(now time.Time) (may bool, hushed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.second) >= time.Second {
		c.second, c.logged = now, 0
	}
	if c.logged == closingsPerSecond {
		c.hushed++
		return false, 0
	}
	c.logged++
	hushed, c.hushed = c.hushed, 0
	return true, hushed
}
