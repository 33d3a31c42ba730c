// Package netpoll serves TCP connections that carry size-prefixed frames: a four-byte big-endian length, then that many
// bytes. It knows bytes, not Kafka.
//
// A Server owns its sockets, its goroutines and the buffers that frames are gathered in. One acceptor takes newcomers
// and gives each to the loop with the fewest connections; a connection stays on its loop. A loop is one goroutine on
// one epoll instance (gnet's poller, level-triggered). One turn of it handles one event, then whatever was posted to it
// meanwhile, and then sends: so all responses that become ready in a turn leave in one system call per connection.
//
// Reading. A loop reads into its own 256 KiB buffer; frames that lie whole in it are delivered from there without a
// copy. A frame that spans reads is gathered in one pooled buffer, whose size follows what has arrived, not what was
// announced, and the rest is read straight into it. Gathered frames are charged to a budget (memory.go); when it is
// spent, connections that need more of it stop reading, except for one at a time that may overdraw, so there is always
// one that can finish.
//
// Writing. A response fills a Ticket that was reserved in request order, from any goroutine; it leaves when all before
// it have left. Pieces in memory and small mapped ranges go out by one sendmsg, larger file ranges by sendfile. A full
// socket is waited for by EPOLLOUT, never by a goroutine. A range that is not in the page cache is first read in by a
// worker, so a loop never waits for the disk.
//
// Back pressure. A connection is not read while its owner has paused it, while too many of its responses are due or
// too many bytes of them wait, or while it waits for memory. Bytes that were read with a frame that caused the pause
// are kept, and charged, until it may go on.
//
// Posted work carries the connection, never its descriptor, which may be another connection's by the time it runs.
//
// It never decides what a frame means, never blocks a loop, and never calls a Handler off the connection's loop. Which
// goroutine may call what is said at Handler and Conn; everything unexported belongs to the loop unless it says
// otherwise.
package netpoll
