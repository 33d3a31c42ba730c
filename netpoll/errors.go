package netpoll

import (
	"errors"
	"fmt"
)

// Reasons for which connections end or are refused; Handler.Closed gets them, wrapped or plain.
var (
	// ErrPeerClosed means that the client closed its side.
	ErrPeerClosed = errors.New("netpoll: closed by the client")
	// ErrShutdown means that the server is shutting down.
	ErrShutdown = errors.New("netpoll: server is shutting down")
	// ErrIdle means that nothing came or went for Options.IdleTimeout, and nothing was due from the server.
	ErrIdle = errors.New("netpoll: idle for too long")
	// ErrStalled means that the client took no byte of its responses for Options.IdleTimeout.
	ErrStalled = errors.New("netpoll: client does not read its responses")
	// ErrFrameTimeout means that a frame was begun and not finished within Options.FrameTimeout.
	ErrFrameTimeout = errors.New("netpoll: frame not finished in time")
	// ErrFileShort means that a file range of a response reaches past the end of its file.
	ErrFileShort = errors.New("netpoll: file is shorter than the range to send")
	// ErrConnectionsMax refuses a newcomer because Options.ConnectionsMax are open.
	ErrConnectionsMax = errors.New("netpoll: too many connections")
	// ErrConnectionsPerIPMax refuses a newcomer because its address has as many connections as it may have.
	ErrConnectionsPerIPMax = errors.New("netpoll: too many connections from this address")
	// ErrConnectionRate refuses a newcomer because Options.Newcomers said so.
	ErrConnectionRate = errors.New("netpoll: connections come in too fast from this address")
	// ErrDescriptors refuses a newcomer because the process has no file descriptor for it.
	ErrDescriptors = errors.New("netpoll: out of file descriptors")
)

// FrameSizeError closes a connection whose next frame cannot be a frame. What follows such a size is not looked at.
type FrameSizeError struct {
	Size int32 // as received
	Max  int   // the connection's limit
}

// Error says which size came and what is allowed.
func (e *FrameSizeError) Error() string {
	return fmt.Sprintf("netpoll: frame of %d bytes; allowed are 1 to %d", e.Size, e.Max)
}
