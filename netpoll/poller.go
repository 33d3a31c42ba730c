package netpoll

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// eventsMax is how many events one system call brings at most; the others come with the next one.
	eventsMax = 128

	// What a connection is watched for: errors and hang-ups are reported in any case.

	readEvents  uint32 = unix.EPOLLIN | unix.EPOLLPRI
	writeEvents uint32 = unix.EPOLLOUT
	errEvents   uint32 = unix.EPOLLERR | unix.EPOLLHUP
)

// poller is the epoll instance of a loop, level-triggered. It is not gnet's, which the acceptor uses: that one asks for
// events a second time before it sleeps and yields to the scheduler in between, which wakes another thread for nothing.
// That took up to a sixth of the processor time at 10,000 records a second.
type poller struct {
	fd     int
	events [eventsMax]unix.EpollEvent
}

func openPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &poller{fd: fd}, nil
}

func (p *poller) close() { _ = unix.Close(p.fd) }

// wait returns when there are events; they are valid until the next call.
func (p *poller) wait() ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(p.fd, p.events[:], -1)
		switch err {
		case nil:
			return p.events[:n], nil
		case unix.EINTR:
		default:
			return nil, fmt.Errorf("epoll_wait: %w", err)
		}
	}
}

// add has fd watched for events.
func (p *poller) add(fd int, events uint32) error { return p.control(unix.EPOLL_CTL_ADD, fd, events) }

// modify changes what fd, which is watched, is watched for.
func (p *poller) modify(fd int, events uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, events)
}

// remove ends the watching of fd.
func (p *poller) remove(fd int) error { return p.control(unix.EPOLL_CTL_DEL, fd, 0) }

func (p *poller) control(op, fd int, events uint32) error {
	err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Fd: int32(fd), Events: events})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}
