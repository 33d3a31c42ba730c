package api

import (
	"sync"
	"time"

	"spate/broker/quota"
	"spate/kafka"
	"spate/metadata/controller"
)

// mutations charges a request for the partitions that it creates or deletes (KIP-599).
type mutations struct {
	account *Account
	strict  bool // what is too much is refused, not only paid for by waiting

	mu     sync.Mutex // the controller charges on its own goroutine, and may do so when nobody waits for it any more
	waitMs int32      // that was found by the last charge which found one,
	at     time.Time  // and when
}

// mutations begins to charge; nil where the client is not limited. strictSince is the first version of the API that
// knows the error by which a request is refused.
func (c *Context) mutations(strictSince int16) *mutations {
	if _, limited := c.Account.limits(quota.Mutation); !limited {
		return nil
	}
	return &mutations{account: c.Account, strict: c.Header.Version >= strictSince}
}

// charger is what the controller calls for each topic; nil where the client is not limited.
func (m *mutations) charger() controller.Charger {
	if m == nil {
		return nil
	}
	return m.charge
}

// charge takes tokens for so many partitions. A strict client that owes some from before gets none.
func (m *mutations) charge(partitions int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.account
	now := a.quotas.clock.Now()
	w, limit, nowMs := a.quotas.windows[quota.Mutation], a.shares[quota.Mutation].limit, now.UnixMilli()
	g := a.lock(quota.Mutation)
	defer g.mu.Unlock()
	if m.strict {
		if wait := g.bucket.ThrottleMs(w, limit, nowMs); wait > 0 || g.bucket.Tokens(w, limit, nowMs) < 0 {
			m.waitMs, m.at = wait, now
			return kafka.ThrottlingQuotaExceeded
		}
		g.bucket.Take(w, limit, float64(partitions), nowMs)
		return nil
	}
	g.bucket.Take(w, limit, float64(partitions), nowMs)
	if wait := g.bucket.ThrottleMs(w, limit, nowMs); wait > 0 {
		m.waitMs, m.at = wait, now
	}
	return nil
}

// left is what is left of the wait.
func (m *mutations) left() int32 {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	since := m.account.quotas.clock.Now().Sub(m.at).Milliseconds()
	return int32(max(int64(m.waitMs)-since, 0))
}
