package netpoll

import (
	"math"
	"net/netip"
	"sync"
)

// limits counts the open connections, in total and by address. Any goroutine may call it.
type limits struct {
	mu        sync.Mutex
	totalMax  int
	perIPMax  int
	overrides map[netip.Addr]int // never changed, only replaced
	total     int
	perIP     map[netip.Addr]int // holds only addresses that have connections, so it is bounded by the total
}

func newLimits(o Options) *limits {
	m := &limits{perIP: make(map[netip.Addr]int)}
	m.set(o)
	return m
}

// set puts other limits in force. Those who are connected stay.
func (m *limits) set(o Options) {
	overrides := make(map[netip.Addr]int, len(o.PerIPOverrides))
	for ip, n := range o.PerIPOverrides {
		overrides[ip.Unmap().WithZone("")] = n // as clients' addresses are shown
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.totalMax = positiveOr(o.ConnectionsMax, math.MaxInt)
	m.perIPMax = positiveOr(o.ConnectionsPerIPMax, math.MaxInt)
	m.overrides = overrides
}

// SetConnectionLimits puts the ConnectionsMax, ConnectionsPerIPMax and PerIPOverrides of o in force for newcomers;
// those who are connected stay. Any goroutine may call it.
func (s *Server) SetConnectionLimits(o Options) { s.limits.set(o) }

// admit counts a newcomer in, or says why it cannot be.
func (m *limits) admit(ip netip.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ipMax := m.perIPMax
	if n, ok := m.overrides[ip]; ok {
		ipMax = n
	}
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
