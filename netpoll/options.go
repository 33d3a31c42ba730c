package netpoll

import (
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"time"

	"spate/internal/clock"
	"spate/internal/metrics"
)

// Options are a server's limits and environment. The zero value of each field stands for its default.
type Options struct {
	// Loops is the number of event loops; by default one for each processor that Go may use.
	Loops int
	// FrameBytesMax is the largest frame, without its size; 100 MiB by default, as Kafka's socket.request.max.bytes.
	FrameBytesMax int

	// ConnectionsMax bounds the connections of all listeners together; 0 means no limit.
	ConnectionsMax int
	// ConnectionsPerIPMax bounds the connections from one address; 0 means no limit.
	ConnectionsPerIPMax int
	// PerIPOverrides replaces ConnectionsPerIPMax for single addresses; here 0 means none at all.
	PerIPOverrides map[netip.Addr]int

	// Newcomers is asked about each connection that was accepted and that the limits above let in: for how long it and
	// those after it have to wait, or else after what time it is to be closed without having been served. It runs on
	// the goroutine that accepts, and must not block. Nil takes everyone at once.
	Newcomers func(ip netip.Addr) (wait, refuse time.Duration)

	// IdleTimeout closes connections on which nothing moved for so long; 0 means never. Like FrameTimeout it is kept
	// to within two ticks (a tick is 10 to 100 ms), never early.
	IdleTimeout time.Duration
	// FrameTimeout is the time to finish a frame once it is begun; 0 means no limit.
	FrameTimeout time.Duration

	// MemoryBytesMax bounds the memory of frames that are being gathered or have been taken, over all connections; 512
	// MiB by default, negative for no limit. It may be exceeded by one frame, a read of each loop, and 4 KiB of each
	// connection.
	MemoryBytesMax int64
	// QueueBytesMax is how many bytes of responses, file ranges not counted, may wait on a connection before it is no
	// longer read; 1 MiB by default.
	QueueBytesMax int64
	// InFlightMax is how many responses may be due on a connection before it is no longer read; 512 by default.
	InFlightMax int

	// SendBufferBytes and ReceiveBufferBytes are the sockets' SO_SNDBUF and SO_RCVBUF; 0 or -1 leaves them to the
	// kernel.
	SendBufferBytes, ReceiveBufferBytes int
	// Backlog is how many connections may wait to be accepted; 128 by default.
	Backlog int
	// Workers is how many goroutines read cold file ranges in; 4 by default.
	Workers int

	// Clock is the machine's by default.
	Clock clock.Clock
	// LoopLag gets the lag of the loops; by default a histogram of the server's own.
	LoopLag *metrics.Histogram
	// Log gets what an operator should know; nothing is logged by default.
	Log *slog.Logger
}

// Defaults; what they are derived from is said at the fields.
const (
	frameBytesMaxDefault  = 100 << 20
	memoryBytesMaxDefault = 512 << 20
	queueBytesMaxDefault  = 1 << 20
	inFlightMaxDefault    = 512
	backlogDefault        = 128
	workersDefault        = 4 // a disk's queue is kept busy, and a burst of cold readers cannot start more
)

// Ticks are how often a loop looks at its deadlines and measures its lag: an eighth of the shortest timeout, but often
// enough for the lag to be seen and seldom enough for an idle server to rest.
const (
	tickMin = 10 * time.Millisecond
	tickMax = 100 * time.Millisecond
)

// withDefaults is o with every field filled in.
func (o Options) withDefaults() Options {
	o.Loops = positiveOr(o.Loops, runtime.GOMAXPROCS(0))
	o.FrameBytesMax = min(positiveOr(o.FrameBytesMax, frameBytesMaxDefault), math.MaxInt32)
	o.ConnectionsMax = positiveOr(o.ConnectionsMax, math.MaxInt)
	o.ConnectionsPerIPMax = positiveOr(o.ConnectionsPerIPMax, math.MaxInt)
	o.QueueBytesMax = positiveOr(o.QueueBytesMax, queueBytesMaxDefault)
	o.InFlightMax = positiveOr(o.InFlightMax, inFlightMaxDefault)
	o.Backlog = positiveOr(o.Backlog, backlogDefault)
	o.Workers = positiveOr(o.Workers, workersDefault)
	switch {
	case o.MemoryBytesMax == 0:
		o.MemoryBytesMax = memoryBytesMaxDefault
	case o.MemoryBytesMax < 0:
		o.MemoryBytesMax = math.MaxInt64
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.LoopLag == nil {
		o.LoopLag = new(metrics.Histogram)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// tick is the time between two looks at the deadlines.
func (o Options) tick() time.Duration {
	tick := tickMax
	for _, timeout := range []time.Duration{o.IdleTimeout, o.FrameTimeout} {
		if timeout > 0 {
			tick = min(tick, timeout/8)
		}
	}
	return max(tick, tickMin)
}

func positiveOr[N int | int64](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}
