// Package metrics counts what the broker does. Table is every metric that exists: name, unit, kind, labels, help. A
// Registry owns the counters, gauges and histograms; their writers get a pointer once, with the labels resolved, and
// then only touch atomics. Values that others keep are read when somebody scrapes. It never logs and never blocks a
// writer. Any goroutine may call it.
package metrics
