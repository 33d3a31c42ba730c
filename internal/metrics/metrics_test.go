package metrics

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTheTableIsInOrder checks names, units and sentences: Prometheus' conventions, and ours.
func TestTheTableIsInOrder(t *testing.T) {
	pattern := regexp.MustCompile(`^spate_[a-z_]+[a-z]$`)
	seen := make(map[Name]bool)
	for _, d := range Table {
		if seen[d.Name] || !pattern.MatchString(string(d.Name)) {
			t.Errorf("%s: there twice, or not a good name", d.Name)
		}
		seen[d.Name] = true
		if d.Kind == Count != strings.HasSuffix(string(d.Name), "_total") {
			t.Errorf("%s: counters, and only they, end in _total", d.Name)
		}
		if d.Kind == Duration && (d.Unit != "seconds" || !strings.HasSuffix(string(d.Name), "_seconds")) {
			t.Errorf("%s: durations are in seconds and say so", d.Name)
		}
		if !strings.HasSuffix(d.Help, ".") {
			t.Errorf("%s: %q is not a sentence", d.Name, d.Help)
		}
	}
}

// TestInstruments counts, and reads back what was counted.
func TestInstruments(t *testing.T) {
	r := New()
	r.Counter(Requests, "Produce").Inc()
	r.Counter(Requests, "Produce").Add(2)
	r.Gauge(Topics).Set(5)
	r.Gauge(Topics).Add(-1)
	r.Histogram(FlushTime, "/a").Observe(2 * time.Millisecond)
	r.Each(Topics, func(emit func(Value)) { emit(Value{Number: 7}) })
	if got := r.Counter(Requests, "Produce").Value(); got != 3 {
		t.Errorf("counter: got %d", got)
	}
	if got := r.Gauge(Topics).Value(); got != 4 {
		t.Errorf("gauge: got %d", got)
	}
	if got := read(r, Requests); !reflect.DeepEqual(got, []Value{{Labels: []string{"Produce"}, Number: 3}}) {
		t.Errorf("read: got %v", got)
	}
	if got := read(r, Topics); len(got) != 2 || got[0].Number+got[1].Number != 11 {
		t.Errorf("read with a walk: got %v", got)
	}
	if got := read(r, FlushTime)[0].Snapshot; got.Sum != 2*time.Millisecond || slices.Max(got.Counts) != 1 {
		t.Errorf("histogram: got %v", got)
	}
}

// read is every value of a metric.
func read(r *Registry, name Name) []Value {
	var values []Value
	r.Read(name, func(v Value) { values = append(values, v) })
	return values
}

// TestBuckets puts durations at, below and past the bounds.
func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		d      time.Duration
		bucket int
	}{
		{-time.Second, 0}, {0, 0}, {time.Microsecond, 0}, {time.Microsecond + 1, 1}, {2500, 1}, {2501, 2},
		{10 * time.Second, len(bounds) - 1}, {10*time.Second + 1, len(bounds)}, {1 << 62, len(bounds)},
	} {
		var h Histogram
		h.Observe(c.d)
		s := h.Snapshot()
		if got := slices.Index(s.Counts, 1); got != c.bucket || s.Sum != max(c.d, 0) {
			t.Errorf("%v: bucket %d, sum %v; want bucket %d", c.d, got, s.Sum, c.bucket)
		}
	}
	if !slices.IsSorted(bounds[:]) {
		t.Error("the bounds do not grow")
	}
}

// TestMisuseIsCaught: a name that is not in the table, another kind, another number of labels.
func TestMisuseIsCaught(t *testing.T) {
	r := New()
	for name, misuse := range map[string]func(){
		"name":   func() { r.Counter("spate_nothing_total") },
		"kind":   func() { r.Gauge(Requests, "Produce") },
		"labels": func() { r.Counter(Requests) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
}

// TestNoAllocations: what runs for each request allocates nothing.
func TestNoAllocations(t *testing.T) {
	r := New()
	counter, gauge, histogram := r.Counter(BytesIn), r.Gauge(Connections), r.Histogram(LoopLag)
	if n := testing.AllocsPerRun(100, func() {
		counter.Add(5)
		gauge.Add(-1)
		histogram.Observe(123 * time.Microsecond)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestManyWriters counts from several goroutines while another reads; nothing is lost.
func TestManyWriters(t *testing.T) {
	r := New()
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 1000 {
				r.Counter(Requests, "Fetch").Inc()
				r.Histogram(RequestTime, "Fetch").Observe(time.Millisecond)
			}
		})
	}
	for range 10 {
		read(r, RequestTime)
	}
	writers.Wait()
	if got := r.Counter(Requests, "Fetch").Value(); got != 4000 {
		t.Errorf("got %d", got)
	}
	if got := read(r, RequestTime)[0].Snapshot.Sum; got != 4*time.Second {
		t.Errorf("got %v", got)
	}
}

// BenchmarkObserve is the cost of one observation.
func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(300 * time.Microsecond)
	}
}
