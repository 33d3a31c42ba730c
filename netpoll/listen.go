package netpoll

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// listener is one socket that accepts. It is made by Server.Listen and then the acceptor's.
type listener struct {
	name    string
	fd      int
	address netip.AddrPort
}

// listen opens a listening socket on address: host:port, where host is an IPv4 or IPv6 address or a name, and empty for
// all addresses of both kinds.
func listen(name, address string, o Options) (*listener, error) {
	target, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("netpoll: listener %s: %w", name, err)
	}
	ip, ok := netip.AddrFromSlice(target.IP)
	switch {
	case ok:
		ip = ip.Unmap().WithZone(target.Zone)
	case ipv6Works():
		ip = netip.IPv6Unspecified()
	default:
		ip = netip.IPv4Unspecified()
	}
	fd, err := listenOn(netip.AddrPortFrom(ip, uint16(target.Port)), len(target.IP) == 0, o)
	if err != nil {
		return nil, fmt.Errorf("netpoll: listener %s: listen on %s: %w", name, address, err)
	}
	bound, err := localAddress(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netpoll: listener %s: getsockname: %w", name, err)
	}
	return &listener{name: name, fd: fd, address: bound}, nil
}

// ipv6Works reports whether the machine has IPv6, which kernels can be built or started without.
func ipv6Works() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}) == nil
}

// listenOn opens a listening socket; bothKinds has an IPv6 one take IPv4 connections too.
func listenOn(at netip.AddrPort, bothKinds bool, o Options) (int, error) {
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	if err := bindAndListen(fd, at, socketOptions(family, bothKinds, o), o.Backlog); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bindAndListen(fd int, at netip.AddrPort, options []socketOption, backlog int) error {
	for _, option := range options {
		if err := unix.SetsockoptInt(fd, option.level, option.name, option.value); err != nil {
			return err
		}
	}
	where, err := toSockaddr(at)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, where); err != nil {
		return err
	}
	return unix.Listen(fd, backlog)
}

// socketOption is one call of setsockopt.
type socketOption struct{ level, name, value int }

// socketOptions are set on the listener and inherited by what it accepts, which saves the calls there; and a receive
// buffer has to be known before the handshake to have a say in the window's scale.
func socketOptions(family int, bothKinds bool, o Options) []socketOption {
	options := []socketOption{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		// Clients that vanish while they wait for a response are found out.
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		// Else a byte sent as urgent would be left out of the stream, and keep the poller awake.
		{unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
	}
	if family == unix.AF_INET6 {
		only := 1
		if bothKinds {
			only = 0
		}
		options = append(options, socketOption{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only})
	}
	if o.SendBufferBytes > 0 {
		options = append(options, socketOption{unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBufferBytes})
	}
	if o.ReceiveBufferBytes > 0 {
		options = append(options, socketOption{unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBufferBytes})
	}
	return options
}

func toSockaddr(at netip.AddrPort) (unix.Sockaddr, error) {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, nil
	}
	where := &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	if zone := at.Addr().Zone(); zone != "" {
		device, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, err
		}
		where.ZoneId = uint32(device.Index)
	}
	return where, nil
}

// fromSockaddr is where in our terms; an IPv4 address that came by an IPv6 socket is shown as what it is.
func fromSockaddr(where unix.Sockaddr) netip.AddrPort {
	switch w := where.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(w.Addr), uint16(w.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(w.Addr).Unmap(), uint16(w.Port))
	}
	return netip.AddrPort{}
}

// localAddress is the address that a socket is bound to.
func localAddress(fd int) (netip.AddrPort, error) {
	where, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return fromSockaddr(where), nil
}
