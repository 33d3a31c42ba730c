package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"spate/internal/invariant"
)

// Registry holds the values of every metric in Table.
type Registry struct {
	families map[Name]*family // never changes after New
}

// family is one metric with its children, one for each set of label values.
type family struct {
	desc *Desc

	mu       sync.Mutex
	children map[string]*child // by joined label values
	walks    []func(emit func(Value))
}

// child is one instrument and its labels; one of the three is set.
type child struct {
	labels    []string
	counter   *Counter
	gauge     *Gauge
	histogram *Histogram
}

// Value is one value that is read at scrape time.
type Value struct {
	Labels   []string
	Number   float64
	Snapshot Snapshot // of a Duration, instead of Number
}

// New makes a registry in which nothing has been counted.
func New() *Registry {
	r := &Registry{families: make(map[Name]*family, len(Table))}
	for i := range Table {
		d := &Table[i]
		r.families[d.Name] = &family{desc: d, children: make(map[string]*child)}
	}
	return r
}

// Counter is the counter of a name and its label values, made when first asked for. Ask once and keep it.
func (r *Registry) Counter(name Name, labels ...string) *Counter {
	return r.child(name, Count, labels).counter
}

// Gauge is the gauge of a name and its label values, made when first asked for. Ask once and keep it.
func (r *Registry) Gauge(name Name, labels ...string) *Gauge {
	return r.child(name, Level, labels).gauge
}

// Histogram is the histogram of a name and its label values, made when first asked for. Ask once and keep it.
func (r *Registry) Histogram(name Name, labels ...string) *Histogram {
	return r.child(name, Duration, labels).histogram
}

// Each has walk called at each scrape; walk emits every value that the metric has then. It runs on the scraper's
// goroutine and must not block for long.
func (r *Registry) Each(name Name, walk func(emit func(Value))) {
	f := r.family(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.walks = append(f.walks, walk)
}

// family is the metric of a name.
func (r *Registry) family(name Name) *family {
	f := r.families[name]
	invariant.Check(f != nil, "metric %s is not in the table", name)
	return f
}

// child finds or makes the instrument of a name, kind and label values.
func (r *Registry) child(name Name, kind Kind, labels []string) *child {
	f := r.family(name)
	invariant.Check(f.desc.Kind == kind, "metric %s is not of kind %d", name, kind)
	invariant.Check(len(labels) == len(f.desc.Labels), "metric %s has labels %v, not %v", name, f.desc.Labels, labels)
	key := strings.Join(labels, "\x00")
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.children[key]
	if c == nil {
		c = &child{labels: slices.Clone(labels)}
		switch kind {
		case Count:
			c.counter = new(Counter)
		case Level:
			c.gauge = new(Gauge)
		case Duration:
			c.histogram = new(Histogram)
		}
		f.children[key] = c
	}
	return c
}

// Read emits every value of a metric: of the instruments, then of the walks. No lock is held meanwhile.
func (r *Registry) Read(name Name, emit func(Value)) {
	f := r.family(name)
	f.mu.Lock()
	children := slices.Collect(maps.Values(f.children))
	walks := f.walks // only appended to: the elements of this header do not change
	f.mu.Unlock()
	for _, c := range children {
		emit(c.value())
	}
	for _, walk := range walks {
		walk(emit)
	}
}

// value reads the instrument.
func (c *child) value() Value {
	v := Value{Labels: c.labels}
	switch {
	case c.counter != nil:
		v.Number = float64(c.counter.Value())
	case c.gauge != nil:
		v.Number = float64(c.gauge.Value())
	case c.histogram != nil:
		v.Snapshot = c.histogram.Snapshot()
	}
	return v
}
