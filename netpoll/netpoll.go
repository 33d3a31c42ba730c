package netpoll

import (
	"net/netip"
	"time"
)

// Handler is what a server does with its connections. Its methods run on the connection's loop and must not block.
type Handler interface {
	// Open announces a connection; an error refuses it, and then Closed is not called.
	Open(c Conn) error
	// Frame delivers one frame. f and its bytes are valid until Frame returns, unless it calls f.Take.
	Frame(c Conn, f *Frame)
	// Closed is called once, after which the handler hears no more of c. reason says why it ended.
	Closed(c Conn, reason error)
}

// Conn is one client connection. A TLS connection on a goroutine of its own can implement it as well.
type Conn interface {
	// ID is unique within the server; a descriptor is not, so parked work is keyed by ID. Any goroutine.
	ID() uint64
	// Listener is the name that Listen was given. Any goroutine.
	Listener() string
	// RemoteAddr is the client's address; an IPv4 address is never in its mapped form. Any goroutine.
	RemoteAddr() netip.AddrPort
	// LocalAddr is the address that the client connected to. Any goroutine.
	LocalAddr() netip.AddrPort

	// Context is what SetContext stored. Loop only.
	Context() any
	// SetContext keeps the owner's state with the connection. Loop only.
	SetContext(context any)
	// SetFrameBytesMax changes the limit for the frames that follow, at most Options.FrameBytesMax. Loop only.
	SetFrameBytesMax(n int)

	// Reserve takes the next place in the order of responses. Loop only.
	Reserve() Ticket
	// Complete fills the place t, exactly once; the bytes leave when all places before t have been filled and sent.
	// On a closed connection r is just released. Any goroutine.
	Complete(t Ticket, r *Response)
	// Skip fills the place t without bytes. Any goroutine.
	Skip(t Ticket)
	// Post runs t on the loop. Run is always called: when the connection has gone it sees Closed, and when the whole
	// server has gone it runs on the caller's goroutine, or on that of another caller, but beside nothing else of the
	// loop. Any goroutine.
	Post(t Task)

	// Pause stops the delivery of frames, and with it the reading, until as many calls of Resume. Loop only.
	Pause()
	// Resume takes back one Pause. Loop only.
	Resume()
	// Mute has no frame delivered for d from now on, and nothing read. It does not count as something that the server
	// owes the client: a connection that is muted for longer than Options.IdleTimeout is closed. Loop only.
	Mute(d time.Duration)

	// Close ends the connection: no further frame is delivered, complete responses are offered to the socket once and
	// the rest is released. The first reason counts. Any goroutine.
	Close(reason error)
	// Closed reports whether the connection has ended. Any goroutine; elsewhere than on the loop it may be outdated.
	Closed() bool
}

// Ticket is a place in a connection's order of responses.
type Ticket uint64

// Task is work for a connection's loop. Implement it on a type that exists anyway, so that Post need not allocate.
type Task interface {
	// Run is called once and must not block.
	Run()
}

// Releaser gets back what a Response has lent.
type Releaser interface {
	// Release is called once per Response, on the loop, or like a Task of Post when the server has gone.
	Release()
}

// Response is what goes out for one ticket, size prefix included. The connection owns it, its pieces and what they
// point to from Complete until Owner.Release.
type Response struct {
	Pieces []Piece
	// Owner is told when the last byte is written or the connection is gone. It may be nil.
	Owner Releaser
	// Mute is for how long the connection delivers no frame, as by Conn.Mute, from when the loop has taken the response
	// over on. Who completes on the loop calls Conn.Mute, which holds back the very next frame.
	Mute time.Duration
	// Final, when it is not nil, closes the connection with this reason once the response is written.
	Final error
}

// Piece is a run of bytes in memory, or else a range of a file.
type Piece struct {
	// Bytes, when not nil, is the piece; the other fields are not looked at.
	Bytes []byte
	// FD is the file to send from, or -1 when there is only Mapped.
	FD int
	// Offset and Length say which bytes of the file.
	Offset, Length int64
	// Mapped shows the same bytes in memory; it saves a system call for small ranges and may be nil when FD is not -1.
	Mapped []byte
	// Hot vouches that the range is in the page cache, for instance because it has just been written: it is sent
	// without asking the kernel first.
	Hot bool
}
