package compat

import (
	"crypto/rand"
	"flag"
	"testing"
)

var (
	bootstrap = flag.String("bootstrap", "", "test the broker at this host:port instead of starting bin/spate")
	rewrite   = flag.Bool("rewrite", false, "with -bootstrap of an Apache Kafka: record its answers as the expected ones")
)

// broker gives the address of the broker under test.
func broker(t *testing.T) string {
	t.Helper()
	return *bootstrap
}

// runID makes names that no earlier run on the same broker has used.
func runID() string { return rand.Text()[:8] }
