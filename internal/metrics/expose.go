package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves the metrics of the registry, of the Go runtime and of the process in Prometheus' formats. They are
// read on the goroutine of each request.
func (r *Registry) Handler() http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(newCollector(r), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{})
}

// collector reads a registry for client_golang.
type collector struct {
	registry *Registry
	descs    []*prometheus.Desc // one for each row of the table
}

// newCollector prepares the descriptions.
func newCollector(registry *Registry) *collector {
	c := &collector{registry: registry}
	for _, row := range Table {
		c.descs = append(c.descs, prometheus.NewDesc(string(row.Name), row.Help, row.Labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for i := range Table {
		row, desc := &Table[i], c.descs[i]
		c.registry.Read(row.Name, func(v Value) { out <- metric(row.Kind, desc, v) })
	}
}

// metric is one value in client_golang's form; a value that does not fit its row makes the scrape fail with a reason.
func metric(kind Kind, desc *prometheus.Desc, v Value) prometheus.Metric {
	var m prometheus.Metric
	var err error
	switch kind {
	case Count:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, v.Number, v.Labels...)
	case Level:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, v.Number, v.Labels...)
	case Duration:
		buckets, count := cumulate(v.Snapshot)
		m, err = prometheus.NewConstHistogram(desc, count, v.Snapshot.Sum.Seconds(), buckets, v.Labels...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}

// cumulate gives the counts at or below each bound in seconds, and the count of all.
func cumulate(s Snapshot) (map[float64]uint64, uint64) {
	buckets, count := make(map[float64]uint64, len(s.Bounds)), uint64(0)
	for i, bound := range s.Bounds {
		count += s.Counts[i]
		buckets[bound.Seconds()] = count
	}
	if len(s.Counts) > len(s.Bounds) {
		count += s.Counts[len(s.Bounds)]
	}
	return buckets, count
}
