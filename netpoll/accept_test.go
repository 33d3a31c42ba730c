package netpoll

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	epoll "github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"

	"spate/internal/clock"
)

// TestConnectionCaps: newcomers over a cap are closed at once and counted, others are served on, and there is room
// again when somebody leaves.
func TestConnectionCaps(t *testing.T) {
	const first, second, third = "127.0.0.1", "127.0.0.2", "127.0.0.3"
	for name, test := range map[string]struct {
		options Options
		dials   []string // who dials, in turn; a capital R after the address marks those to be refused
		total   int64    // of those refused, by ConnectionsMax
		perIP   int64    // and by ConnectionsPerIPMax
	}{
		"no cap": {dials: []string{first, first, first, second}},
		"a cap in total": {
			options: Options{ConnectionsMax: 3},
			dials:   []string{first, second, first, third + "R", first + "R"}, total: 2,
		},
		"a cap per address": {
			options: Options{ConnectionsPerIPMax: 2},
			dials:   []string{first, first, first + "R", second, second, second + "R"}, perIP: 2,
		},
		"an address that may have more, and one that may have none": {
			options: Options{ConnectionsPerIPMax: 1, PerIPOverrides: map[netip.Addr]int{
				netip.MustParseAddr("::ffff:" + second): 3, netip.MustParseAddr(third): 0,
			}},
			dials: []string{first, first + "R", second, second, second, second + "R", third + "R"}, perIP: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.options, echoer())
			served := make(map[string][]*client)
			for _, dial := range test.dials {
				ip, refused := strings.CutSuffix(dial, "R")
				c := w.dialFrom(ip)
				if refused {
					c.expectEnd()
					continue
				}
				c.send([]byte("hello"))
				c.expect("hello")
				served[ip] = append(served[ip], c)
			}
			for _, clients := range served {
				for _, c := range clients {
					c.send([]byte("still"))
					c.expect("still")
				}
			}
			if s := w.server.Stats(); s.RefusedTotal != test.total || s.RefusedPerIP != test.perIP {
				t.Fatalf("%d and %d were refused", s.RefusedTotal, s.RefusedPerIP)
			}
			w.must(served[first][0].Close())
			w.nextEnd()
			c := w.dialFrom(first)
			c.send([]byte("room again"))
			c.expect("room again")
		})
	}
}

// TestRefusalsAreLoggedSparingly: a storm of newcomers that are refused is one line in the log, and another one later.
func TestRefusalsAreLoggedSparingly(t *testing.T) {
	var log bytes.Buffer
	manual := clock.NewManual(time.Unix(0, 0))
	o := Options{ConnectionsPerIPMax: 1, Clock: manual, Log: slog.New(slog.NewTextHandler(&log, nil))}
	w := newWorld(t, o, echoer())
	w.dial()
	w.nextOpen()
	storm := func() {
		for range 20 {
			w.dial().expectEnd()
		}
	}
	storm()
	manual.Advance(warnEvery)
	storm()
	w.must(await(t, w.shutdown(t.Context())))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "too many connections from this address") {
		t.Fatalf("logged:\n%s", log.String())
	}
}

// TestHandlerRefuses: an error of Handler.Open closes the newcomer, who then never existed.
func TestHandlerRefuses(t *testing.T) {
	w := &world{frame: echoer()}
	w.open = func(c Conn) error {
		if c.ID()%2 == 1 {
			return errors.New("not you")
		}
		return nil
	}
	startWorld(t, Options{}, w)
	for range 3 {
		w.dial().expectEnd()
		c := w.dial()
		c.send([]byte("hello"))
		c.expect("hello")
		w.must(c.Close())
		w.nextEnd()
	}
	if s := w.server.Stats(); s.RefusedHandler != 3 || s.Open != 0 || s.Closed != 3 || s.Accepted != 6 {
		t.Fatalf("%+v", s)
	}
}

// TestConnectionsSpread: newcomers go to the loop with the fewest connections.
func TestConnectionsSpread(t *testing.T) {
	w := newWorld(t, Options{Loops: 4}, echoer())
	for range 40 {
		w.dial()
		w.nextOpen()
	}
	for i, l := range w.server.loops {
		if n := l.open.Load(); n != 10 {
			t.Fatalf("loop %d has %d of 40 connections", i, n)
		}
	}
}

// TestListen: the forms that an address may take, what a connection says of its ends, and that the options reach the
// socket.
func TestListen(t *testing.T) {
	if !ipv6Works() {
		t.Fatal("these tests need IPv6 on the loopback device")
	}
	for name, test := range map[string]struct{ listen, dial, local string }{
		"an IPv4 address":                  {listen: "127.0.0.1:0", dial: "127.0.0.1", local: "127.0.0.1"},
		"an IPv6 address":                  {listen: "[::1]:0", dial: "::1", local: "::1"},
		"a name":                           {listen: "localhost:0", dial: "localhost", local: "127.0.0.1"},
		"all addresses, dialled by IPv4":   {listen: ":0", dial: "127.0.0.1", local: "127.0.0.1"},
		"all addresses, dialled by IPv6":   {listen: ":0", dial: "::1", local: "::1"},
		"all IPv4 addresses":               {listen: "0.0.0.0:0", dial: "127.0.0.1", local: "127.0.0.1"},
		"all IPv6 addresses":               {listen: "[::]:0", dial: "::1", local: "::1"},
		"an IPv4 address in the IPv6 form": {listen: "[::ffff:127.0.0.1]:0", dial: "127.0.0.1", local: "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{TB: t, frame: echoer(), opened: make(chan Conn, 1)}
			s, err := New(Options{Loops: 1, SendBufferBytes: 100_000, ReceiveBufferBytes: 50_000}, w)
			w.must(err)
			defer func() { w.must(s.Shutdown(t.Context())) }()
			at, err := s.Listen("EXTERNAL", test.listen)
			w.must(err)
			w.must(s.Start())
			dialled, err := net.Dial("tcp", net.JoinHostPort(test.dial, fmt.Sprint(at.Port())))
			w.must(err)
			defer func() { _ = dialled.Close() }()
			c := w.nextOpen()
			got := []string{c.Listener(), c.RemoteAddr().String(), c.LocalAddr().String()}
			want := []string{"EXTERNAL", dialled.LocalAddr().String(), dialled.RemoteAddr().String()}
			if !slices.Equal(got, want) {
				t.Fatalf("name, remote and local address are %v, dialled was %v", got, want)
			}
			if got := c.LocalAddr().Addr().String(); got != test.local {
				t.Fatalf("dialled %s", got)
			}
			for _, option := range []socketOption{
				{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
				{unix.SOL_SOCKET, unix.SO_SNDBUF, 200_000}, // the kernel doubles it for its own needs
				{unix.SOL_SOCKET, unix.SO_RCVBUF, 100_000},
			} {
				got, err := unix.GetsockoptInt(c.(*conn).fd, option.level, option.name)
				if err != nil || got != option.value {
					t.Errorf("option %d is %d: %v", option.name, got, err)
				}
			}
		})
	}
}

// TestListenErrors: what cannot be listened on is said at once, by the listener's name, and leaves nothing open.
func TestListenErrors(t *testing.T) {
	before := descriptors(t)
	w := &world{TB: t, frame: echoer()}
	s, err := New(Options{Loops: 1}, w)
	w.must(err)
	at, err := s.Listen("PLAINTEXT", "127.0.0.1:0")
	w.must(err)
	for _, address := range []string{
		at.String(), "127.0.0.1", "127.0.0.1:http:1", "no such host:0", "192.0.2.1:0", "[fe80::1%nodevice]:0",
	} {
		_, err := s.Listen("OTHER", address)
		if err == nil || !strings.HasPrefix(err.Error(), "netpoll: listener OTHER: ") {
			t.Errorf("listening on %s: %v", address, err)
		}
	}
	w.must(s.Start())
	if err := s.Start(); err == nil {
		t.Error("started twice")
	}
	if _, err := s.Listen("LATE", "127.0.0.1:0"); err == nil {
		t.Error("listened after the start")
	}
	w.must(s.Shutdown(t.Context()))
	w.must(s.Shutdown(t.Context()))
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

// TestUrgentByte: a byte that is sent as urgent is a byte of the stream like any other.
func TestUrgentByte(t *testing.T) {
	w := newWorld(t, Options{}, echoer())
	c := w.dial()
	wire := appendFrame(nil, []byte("urgent"))
	raw, err := c.SyscallConn()
	w.must(err)
	for i := range wire {
		w.must(raw.Write(func(fd uintptr) bool {
			err = unix.Send(int(fd), wire[i:i+1], unix.MSG_OOB*(i%2))
			return true
		}))
		w.must(err)
	}
	c.expect("urgent")
}

// TestPausedListener: newcomers at a listener that cannot accept wait in the kernel's queue until it can again.
func TestPausedListener(t *testing.T) {
	manual := clock.NewManual(time.Unix(0, 0))
	w := newWorld(t, Options{Clock: manual}, echoer())
	a := w.server.acceptor
	paused := make(chan struct{})
	a.trigger(func(any) error {
		for _, li := range a.listeners {
			a.pause(li, acceptPause)
		}
		close(paused)
		return nil
	}, nil)
	await(t, paused)
	c := w.dial()
	c.send([]byte("hello"))
	manual.Advance(acceptPause / 2)
	if n := w.server.Stats().Accepted; n != 0 {
		t.Fatalf("%d were accepted", n)
	}
	manual.Advance(acceptPause)
	c.expect("hello")
}

// TestListenerThatThePollerRefuses: a listener that the poller does not take back after a pause, because the kernel has
// no room for it, is served as soon as it does.
func TestListenerThatThePollerRefuses(t *testing.T) {
	manual := clock.NewManual(time.Unix(0, 0))
	w := newWorld(t, Options{Clock: manual}, echoer())
	a := w.server.acceptor
	on := func(do func(li *listener) error) { // the acceptor's goroutine
		done := make(chan error, 1)
		a.trigger(func(any) error {
			for _, li := range a.listeners {
				done <- do(li)
			}
			return nil
		}, nil)
		w.must(<-done)
	}
	on(func(li *listener) error {
		a.pause(li, acceptPause)
		// What is there already is refused, as is what is too much.
		return a.poller.AddWrite(&epoll.PollAttachment{FD: li.fd}, false)
	})
	for range 3 {
		manual.Advance(acceptPause)
		on(func(*listener) error { return nil })
	}
	c := w.dial()
	c.send([]byte("hello"))
	on(func(li *listener) error { return a.poller.Delete(li.fd) })
	manual.Advance(acceptPause)
	c.expect("hello")
}

// Out of descriptors. A child process serves with few of them; its parent has enough to dial as often as it likes.

const descriptorChildEnv = "NETPOLL_TEST_DESCRIPTOR_CHILD"

// descriptorChild serves echoes until its standard input ends, with room for a dozen connections.
func descriptorChild() {
	check := func(err error) {
		if err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
	}
	w := &world{frame: echoer(), opened: make(chan Conn), ended: make(chan ending)}
	s, err := New(Options{Loops: 1}, w)
	check(err)
	at, err := s.Listen("PLAINTEXT", "127.0.0.1:0")
	check(err)
	check(s.Start())
	highest, err := unix.Dup(0)
	check(err)
	check(unix.Close(highest))
	limit := unix.Rlimit{Cur: uint64(highest) + 12, Max: uint64(highest) + 12}
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	fmt.Println(at)
	_, _ = io.Copy(io.Discard, os.Stdin)
	stats := s.Stats()
	fmt.Println("refused", stats.RefusedFiles > 0, "open", stats.Open)
}

// TestOutOfDescriptors: when the process can open no more files, newcomers are turned away, those that are there are
// served on, the acceptor does not spin, and when somebody leaves there is room again.
func TestOutOfDescriptors(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), descriptorChildEnv+"=1")
	child.Stderr = os.Stderr
	input, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	output := bufio.NewReader(pipe)
	line, err := output.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t}
	if w.address, err = netip.ParseAddrPort(strings.TrimSpace(line)); err != nil {
		t.Fatalf("the child said %q", line)
	}

	var served []*client
	refused := 0
	for range 60 {
		c := w.dial()
		if c.serves() {
			served = append(served, c)
		} else {
			refused++
		}
	}
	if len(served) != 12 || refused != 48 {
		t.Fatalf("%d were served and %d refused", len(served), refused)
	}
	for _, c := range served {
		if !c.serves() {
			t.Fatal("one who was there was not served on")
		}
	}
	for _, c := range served[:5] {
		w.must(c.Close())
	}
	again := 0
	until(t, "the places of those who left are taken", func() bool {
		if w.dial().serves() {
			again++
		}
		return again == 5
	})
	w.must(input.Close())
	rest, _ := io.ReadAll(output)
	if string(rest) != "refused true open 12\n" {
		t.Fatalf("the child said %q", rest)
	}
}

// serves reports whether an echo comes back.
func (c *client) serves() bool {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(appendFrame(nil, []byte("echo"))); err != nil {
		return false
	}
	got := make([]byte, 8)
	_, err := io.ReadFull(c, got)
	return err == nil
}

// Goal: limits that change hold for newcomers, and nobody is sent away.
func TestLimitsChange(t *testing.T) {
	m := newLimits(Options{ConnectionsMax: 2})
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	admit := func(ip netip.Addr, want error) {
		t.Helper()
		if err := m.admit(ip); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", ip, err, want)
		}
	}
	admit(a, nil)
	admit(a, nil)
	admit(b, ErrConnectionsMax)
	m.set(Options{ConnectionsMax: 9, ConnectionsPerIPMax: 1})
	admit(a, ErrConnectionsPerIPMax)
	admit(b, nil)
	overrides := map[netip.Addr]int{netip.MustParseAddr("::ffff:10.0.0.1"): 3}
	m.set(Options{ConnectionsPerIPMax: 1, PerIPOverrides: overrides})
	admit(a, nil)
	admit(a, ErrConnectionsPerIPMax)
	admit(b, ErrConnectionsPerIPMax)
	m.set(Options{})
	admit(b, nil)
	for _, ip := range []netip.Addr{a, a, a, b, b} {
		m.leave(ip)
	}
	if m.total != 0 || len(m.perIP) != 0 {
		t.Errorf("%d left, %v", m.total, m.perIP)
	}
}
