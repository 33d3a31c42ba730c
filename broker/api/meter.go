package api

import (
	"sync/atomic"
	"time"

	"spate/internal/metrics"
	"spate/kafka"
	"spate/kafka/wire"
)

// Meter is the instruments of one API, resolved once.
type Meter struct {
	Requests *metrics.Counter
	Time     *metrics.Histogram // from the last byte of the request to the last byte of its answer

	// Of Produce and Fetch only, those stages that each of them goes through.
	read, decode, append, flush, replicate, wait, send *metrics.Histogram

	registry *metrics.Registry
	name     string
	errors   [errorCodesMax]atomic.Pointer[metrics.Counter] // by code + 1, made when first met
}

// errorCodesMax is above every error code of the protocol, plus the one below 0.
const errorCodesMax = 160

// Meters is the instruments of every API that is served, by key.
type Meters struct {
	ColdFetches atomic.Int64 // fetches whose look-up was left to a worker

	byKey [128]*Meter
}

// NewMeters resolves the instruments in registry.
func NewMeters(registry *metrics.Registry) *Meters {
	m := &Meters{}
	for i := range wire.Served {
		row := &wire.Served[i]
		m.byKey[row.Key] = &Meter{
			Requests: registry.Counter(metrics.Requests, row.Name),
			Time:     registry.Histogram(metrics.RequestTime, row.Name),
			registry: registry, name: row.Name,
		}
	}
	stage := func(key int16, name string) *metrics.Histogram {
		return registry.Histogram(metrics.StageTime, wire.Name(key), name)
	}
	p, f := m.byKey[wire.KeyProduce], m.byKey[wire.KeyFetch]
	p.decode, p.append = stage(wire.KeyProduce, "decode"), stage(wire.KeyProduce, "append")
	p.flush, p.replicate = stage(wire.KeyProduce, "flush"), stage(wire.KeyProduce, "replicate")
	p.send = stage(wire.KeyProduce, "send")
	f.decode, f.read = stage(wire.KeyFetch, "decode"), stage(wire.KeyFetch, "read")
	f.wait, f.send = stage(wire.KeyFetch, "wait"), stage(wire.KeyFetch, "send")
	return m
}

// Of is the instruments of a key that is served.
func (m *Meters) Of(key int16) *Meter { return m.byKey[key] }

// Fail counts an error code of an answer; 0 is none.
func (m *Meter) Fail(code int16) {
	if code == kafka.NoError || int(code)+1 >= len(m.errors) {
		return
	}
	slot := &m.errors[code+1]
	counter := slot.Load()
	if counter == nil {
		counter = m.registry.Counter(metrics.RequestErrors, m.name, kafka.ErrorOf(code).Error())
		slot.Store(counter)
	}
	counter.Inc()
}

// stage counts the time since p's last stage ended.
func (p *parked) stage(h *metrics.Histogram) {
	now := p.node.Clock.Now()
	h.Observe(now.Sub(p.since))
	p.since = now
}

// total counts the request as answered.
func (m *Meter) total(p *parked) {
	m.Requests.Inc()
	m.Time.Observe(time.Duration(p.since.Sub(p.received)))
}
