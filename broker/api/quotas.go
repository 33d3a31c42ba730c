package api

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"spate/broker/quota"
	"spate/internal/clock"
	"spate/internal/metrics"
	"spate/metadata/image"
)

// anonymous is the user of every connection, as nobody logs in yet.
const anonymous = "ANONYMOUS"

// Quotas measures what clients do and says for how long they have to wait. While no quota is set a request costs it
// one look at a pointer. With quotas each client's measures have locks of their own, which only the connections that
// share them meet at; whoever is not limited has none. Any goroutine may call it.
type Quotas struct {
	clock   clock.Clock
	windows [quota.Kinds]quota.Window
	bounded [quota.Kinds]bool // no wait is longer than a sample
	table   atomic.Pointer[quota.Table]

	throttled [quota.Kinds]*metrics.Counter
	waits     [quota.Kinds]*metrics.Histogram

	mu     sync.Mutex
	gauges [quota.Kinds]gauges

	connections struct {
		sync.Mutex
		measure *quota.Connections
		limit   int // max.connection.creation.rate
	}
}

// gauges is the measures of one kind of quota, by who shares them.
type gauges struct {
	of    map[quota.Holder]*gauge
	sweep int    // at so many of them those are forgotten whose holders have been quiet,
	full  int64  // but when there is no room, not before this time
	rest  *gauge // what all share for whom there is no room
}

const (
	gaugesSweepMin = 1 << 8
	// gaugesMax bounds the clients that are told apart in one window; each takes some hundred bytes. Past it
	// newcomers share one measure, so that ids which are made up one after another take no memory.
	gaugesMax = 1 << 15
	// holderBytesMax is the longest name that is kept; of a longer one it is a digest.
	holderBytesMax = 64
)

// gauge is what one holder has done lately.
type gauge struct {
	holder quota.Holder

	mu     sync.Mutex
	rate   quota.Rate   // of every kind but Mutation
	bucket quota.Bucket // of Mutation
	limit  float64      // that it was used with last
	gone   bool         // it has been forgotten, and another may have taken its place
}

// QuotaOptions are the settings that measures depend on.
type QuotaOptions struct {
	Window             quota.Window // quota.window.*
	ControllerWindow   quota.Window // controller.quota.window.*
	ConnectionsRateMax int          // max.connection.creation.rate
}

// NewQuotas has no quotas yet.
func NewQuotas(c clock.Clock, registry *metrics.Registry, o QuotaOptions) *Quotas {
	q := &Quotas{clock: c}
	for kind := range quota.Kinds {
		q.windows[kind] = o.Window
		q.gauges[kind] = gauges{of: map[quota.Holder]*gauge{}, sweep: gaugesSweepMin, rest: &gauge{}}
		q.throttled[kind] = registry.Counter(metrics.Throttled, kind.String())
		q.waits[kind] = registry.Histogram(metrics.ThrottleTime, kind.String())
	}
	q.windows[quota.Mutation] = o.ControllerWindow
	q.bounded[quota.Request] = true
	q.connections.measure = quota.NewConnections(o.Window)
	q.connections.limit = o.ConnectionsRateMax
	return q
}

// Publish has the quotas of an image hold from now on.
func (q *Quotas) Publish(img *image.Image) { q.table.Store(quota.NewTable(img)) }

// SetConnectionRateMax has another max.connection.creation.rate hold from now on.
func (q *Quotas) SetConnectionRateMax(limit int) {
	q.connections.Lock()
	defer q.connections.Unlock()
	q.connections.limit = limit
}

// Admit counts a newcomer. It is for the goroutine that accepts connections.
func (q *Quotas) Admit(ip netip.Addr) (wait, refuse time.Duration) {
	c := &q.connections
	c.Lock()
	defer c.Unlock()
	ipLimit := q.table.Load().ConnectionRate(ip)
	if c.limit >= quota.Unlimited && ipLimit >= quota.Unlimited {
		return 0, 0
	}
	v := c.measure.Admit(ip, c.limit, ipLimit, q.clock.Now().UnixMilli())
	return time.Duration(v.WaitMs) * time.Millisecond, time.Duration(v.RefuseMs) * time.Millisecond
}

// Clients counts the clients that are measured, for a quota of that kind.
func (q *Quotas) Clients(kind quota.Kind) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.gauges[kind].of)
}

// Account is the quotas of one client, as long as they stay what they are. It is never changed; nil is that of a
// client that no quota holds for.
type Account struct {
	quotas   *Quotas
	table    *quota.Table
	clientID string
	shares   [quota.Kinds]share
}

// share is one kind of quota of an account. The gauge is nil where the client is not limited.
type share struct {
	gauge atomic.Pointer[gauge]
	limit float64
}

// AccountOf is the account of the client with that id. last is the connection's last one, which it usually still is.
// What it returns for no quotas is nil.
func (q *Quotas) AccountOf(last *Account, clientID []byte) *Account {
	t := q.table.Load()
	if !t.LimitsClients() {
		return nil
	}
	if last != nil && last.table == t && last.clientID == string(clientID) {
		return last
	}
	return q.open(t, string(clientID))
}

func (q *Quotas) open(t *quota.Table, clientID string) *Account {
	a := &Account{quotas: q, table: t, clientID: clientID}
	for kind := range quota.Kinds {
		holder, limit, limited := t.Of(kind, anonymous, clientID)
		if limited {
			a.shares[kind].limit = limit
			a.shares[kind].gauge.Store(q.find(kind, shortened(holder)))
		}
	}
	return a
}

// shortened has no name that takes much memory.
func shortened(h quota.Holder) quota.Holder {
	if len(h.ClientID) > holderBytesMax {
		digest := sha256.Sum256([]byte(h.ClientID))
		h.ClientID = "sha256 " + string(digest[:])
	}
	return h
}

// find gives the holder's measure, a new one if there is none.
func (q *Quotas) find(kind quota.Kind, holder quota.Holder) *gauge {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := &q.gauges[kind]
	if g := all.of[holder]; g != nil {
		return g
	}
	if now := q.clock.Now().UnixMilli(); len(all.of) >= all.sweep && now >= all.full {
		q.forgetQuietLocked(kind, now)
	}
	if len(all.of) >= gaugesMax {
		return all.rest
	}
	g := &gauge{holder: holder}
	all.of[holder] = g
	return g
}

// forgetQuietLocked forgets the measures that are as new: their holders did nothing for a window. (Kafka keeps them
// for an hour, to the same effect.) It runs when their number has doubled, or once a sample when there is no room, so
// that it costs little for each.
func (q *Quotas) forgetQuietLocked(kind quota.Kind, now int64) {
	all := &q.gauges[kind]
	for holder, g := range all.of {
		g.mu.Lock()
		g.gone = g.idle(kind, q.windows[kind], now)
		if g.gone {
			delete(all.of, holder)
		}
		g.mu.Unlock()
	}
	all.sweep = min(max(2*len(all.of), gaugesSweepMin), gaugesMax)
	if all.full = 0; len(all.of) >= gaugesMax {
		all.full = now + q.windows[kind].SampleMs
	}
}

func (g *gauge) idle(kind quota.Kind, w quota.Window, nowMs int64) bool {
	if kind == quota.Mutation {
		return g.limit == 0 || g.bucket.Idle(w, g.limit, nowMs)
	}
	return g.rate.Idle(w, nowMs)
}

// limits tells whether the client is limited in that kind, and to what.
func (a *Account) limits(kind quota.Kind) (limit float64, limited bool) {
	if a == nil || a.shares[kind].gauge.Load() == nil {
		return 0, false
	}
	return a.shares[kind].limit, true
}

// lock gives the measure of a kind in which the client is limited, locked.
func (a *Account) lock(kind quota.Kind) *gauge {
	s := &a.shares[kind]
	g := s.gauge.Load()
	g.mu.Lock()
	for g.gone {
		g.mu.Unlock()
		g = a.quotas.find(kind, g.holder)
		s.gauge.Store(g)
		g.mu.Lock()
	}
	g.limit = s.limit
	return g
}

// charge counts what the client did, and gives the milliseconds for which it has to wait.
func (a *Account) charge(kind quota.Kind, value float64, now time.Time) int32 {
	limit, limited := a.limits(kind)
	if !limited {
		return 0
	}
	w, nowMs := a.quotas.windows[kind], now.UnixMilli()
	g := a.lock(kind)
	g.rate.Record(w, value, nowMs)
	wait := g.rate.ThrottleMs(w, limit, nowMs)
	g.mu.Unlock()
	if a.quotas.bounded[kind] {
		wait = int32(min(int64(wait), w.SampleMs))
	}
	return wait
}

// refund takes back what charge counted at that time.
func (a *Account) refund(kind quota.Kind, value float64, now time.Time) {
	if _, limited := a.limits(kind); !limited {
		return
	}
	g := a.lock(kind)
	g.rate.Record(a.quotas.windows[kind], -value, now.UnixMilli())
	g.mu.Unlock()
}

// chargeTime is charge for the time that a request took on a loop or a worker. A whole thread is 100 percent.
func (a *Account) chargeTime(busy time.Duration, now time.Time) int32 {
	return a.charge(quota.Request, max(busy.Seconds(), 0)*100, now)
}

// throttleTime counts a request that took so long on a thread, and gives the milliseconds that the client has to wait
// for it, or for what it created or deleted, which its handler has found.
func (a *Account) throttleTime(busy time.Duration, mutationMs int32) int32 {
	if a == nil {
		return 0
	}
	return a.longest(quota.Mutation, mutationMs, quota.Request, a.chargeTime(busy, a.quotas.clock.Now()))
}

// burst is the most that the client can do at once without having to wait, if it did nothing before.
func (a *Account) burst(kind quota.Kind) (most float64, limited bool) {
	limit, limited := a.limits(kind)
	if !limited {
		return 0, false
	}
	w := a.quotas.windows[kind]
	return limit * float64(int64(w.Samples-1)*w.SampleMs/1000), true
}

// longest gives the longer of two waits, for the quotas of these kinds, and counts it.
func (a *Account) longest(one quota.Kind, oneMs int32, other quota.Kind, otherMs int32) int32 {
	if otherMs >= oneMs {
		one, oneMs = other, otherMs
	}
	if oneMs > 0 {
		a.quotas.throttled[one].Inc()
		a.quotas.waits[one].Observe(time.Duration(oneMs) * time.Millisecond)
	}
	return oneMs
}
