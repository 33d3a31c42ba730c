package netpoll

import (
	"net/netip"
	"sync"
)

// limits counts the open connections, in total and by address. Any goroutine may call it.
type limits struct {
	totalMax  int
	perIPMax  int
	overrides map[netip.Addr]int // read only

	mu    sync.Mutex
	total int
	perIP map[netip.Addr]int // holds only addresses that have connections, so it is bounded by totalMax
}

func newLimits(o Options) *limits {
	m := &limits{
		totalMax:  o.ConnectionsMax,
		perIPMax:  o.ConnectionsPerIPMax,
		overrides: make(map[netip.Addr]int, len(o.PerIPOverrides)),
		perIP:     make(map[netip.Addr]int),
	}
	for ip, n := range o.PerIPOverrides {
		m.overrides[ip.Unmap().WithZone("")] = n // as clients' addresses are shown
	}
	return m
}

// admit counts a newcomer in, or says why it cannot be.
func (m *limits) admit(ip netip.Addr) error {
	ipMax := m.perIPMax
	if n, ok := m.overrides[ip]; ok {
		ipMax = n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.total >= m.totalMax {
		return ErrConnectionsMax
	}
	if m.perIP[ip] >= ipMax {
		return ErrConnectionsPerIPMax
	}
	m.total++
	m.perIP[ip]++
	return nil
}

// leave counts out a connection that was admitted.
func (m *limits) leave(ip netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total--
	if m.perIP[ip]--; m.perIP[ip] == 0 {
		delete(m.perIP, ip)
	}
}
