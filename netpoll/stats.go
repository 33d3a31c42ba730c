package netpoll

import (
	"errors"
	"sync/atomic"

	"spate/internal/metrics"
)

// Stats is what a server has done since Start, and how it stands. Counts of different loops are read one after another,
// so they may be of slightly different moments.
type Stats struct {
	Accepted       int64 // connections that were accepted, refused ones not counted
	Closed         int64 // of them, how many have ended
	Open           int64 // connections now
	RefusedTotal   int64 // refused by ConnectionsMax
	RefusedPerIP   int64 // refused by ConnectionsPerIPMax
	RefusedFiles   int64 // refused for want of file descriptors
	RefusedRate    int64 // refused by Options.Newcomers
	DelayedRate    int64 // had to wait for Options.Newcomers
	RefusedHandler int64 // refused by Handler.Open or because of an error
	BytesIn        int64
	BytesOut       int64
	Frames         int64 // delivered
	VectorSends    int64 // calls of sendmsg
	Sendfiles      int64 // calls of sendfile
	SendfileBytes  int64
	ColdReads      int64 // ranges that a worker read in
	Paused         int64 // times that the poller was told to stop reading a connection
	Muted          int64 // times that a connection was muted, or for longer
	Starved        int64 // times that a connection had to wait for memory
	Wakes          int64 // times that a loop was woken for posted work
	MemoryBytes    int64 // of frames that are gathered or taken, now

	// LoopLag is for how long a loop's ticks waited until it had time for them.
	LoopLag *metrics.Histogram
}

// loopStats are the counts of one loop: its own, so that loops do not fight for the cache line.
type loopStats struct {
	_             [64]byte
	closed        atomic.Int64
	bytesIn       atomic.Int64
	bytesOut      atomic.Int64
	frames        atomic.Int64
	vectorSends   atomic.Int64
	sendfiles     atomic.Int64
	sendfileBytes atomic.Int64
	coldReads     atomic.Int64
	paused        atomic.Int64
	muted         atomic.Int64
	starved       atomic.Int64
	wakes         atomic.Int64
	_             [64]byte
}

// acceptStats are the counts of newcomers. The acceptor writes them, and the loops whose handlers refuse.
type acceptStats struct {
	accepted       atomic.Int64
	refusedTotal   atomic.Int64
	refusedPerIP   atomic.Int64
	refusedFiles   atomic.Int64
	refusedRate    atomic.Int64
	delayedRate    atomic.Int64
	refusedHandler atomic.Int64
}

// countRefused counts a connection that was refused for reason.
func (a *acceptStats) countRefused(reason error) {
	switch {
	case errors.Is(reason, ErrConnectionsMax):
		a.refusedTotal.Add(1)
	case errors.Is(reason, ErrConnectionsPerIPMax):
		a.refusedPerIP.Add(1)
	case errors.Is(reason, ErrConnectionRate):
		a.refusedRate.Add(1)
	case errors.Is(reason, ErrDescriptors):
		a.refusedFiles.Add(1)
	default:
		a.refusedHandler.Add(1)
	}
}

// Stats reads the counts. Any goroutine, at any time.
func (s *Server) Stats() *Stats {
	a := &s.acceptor.account
	sum := &Stats{
		Accepted:       a.accepted.Load(),
		RefusedTotal:   a.refusedTotal.Load(),
		RefusedPerIP:   a.refusedPerIP.Load(),
		RefusedFiles:   a.refusedFiles.Load(),
		RefusedRate:    a.refusedRate.Load(),
		DelayedRate:    a.delayedRate.Load(),
		RefusedHandler: a.refusedHandler.Load(),
		MemoryBytes:    s.arena.budget.used.Load(),
		LoopLag:        s.loopLag,
	}
	for _, l := range s.loops {
		sum.Closed += l.account.closed.Load()
		sum.Open += int64(l.open.Load())
		sum.BytesIn += l.account.bytesIn.Load()
		sum.BytesOut += l.account.bytesOut.Load()
		sum.Frames += l.account.frames.Load()
		sum.VectorSends += l.account.vectorSends.Load()
		sum.Sendfiles += l.account.sendfiles.Load()
		sum.SendfileBytes += l.account.sendfileBytes.Load()
		sum.ColdReads += l.account.coldReads.Load()
		sum.Paused += l.account.paused.Load()
		sum.Muted += l.account.muted.Load()
		sum.Starved += l.account.starved.Load()
		sum.Wakes += l.account.wakes.Load()
	}
	return sum
}
