package broker

import (
	"fmt"
	"sync"
	"testing"

	"spate/kafka"
)

// transactOne commits a transaction of one record.
func transactOne(t testing.TB, p *txnProducer) {
	t.Helper()
	for code := int16(-1); code != kafka.NoError; {
		var err error
		if code, err = p.write("orders", 0, "value"); err != nil {
			t.Fatal(err)
		}
		if code != kafka.NoError && code != kafka.ConcurrentTransactions.Code {
			t.Fatal(errorName(code))
		}
	}
	p.mustEnd(t, true)
}

// Goal: what a transaction of one record costs, from its first batch to its end in the log, stays what it is. Method:
// the allocations of whole transactions over the network, those of the test's client among them.
func TestATransactionAllocatesLittle(t *testing.T) {
	n := startNode(t, with("spate.ack.durability=page-cache"))
	n.createTopic("orders", 1)
	p := &txnProducer{c: n.client(), id: "t"}
	if err := p.begin(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		transactOne(t, p)
	}
	const limit = 100
	if allocs := testing.AllocsPerRun(500, func() { transactOne(t, p) }); allocs > limit && !raceEnabled {
		t.Errorf("%v allocations, the limit is %v", allocs, limit)
	}
}

// BenchmarkTransactions commits transactions of one record, from eight producers at a time.
func BenchmarkTransactions(b *testing.B) {
	n := startNode(b, with("spate.ack.durability=page-cache"))
	n.createTopic("orders", 1)
	var producers []*txnProducer
	for i := range 8 {
		p := &txnProducer{c: n.client(), id: fmt.Sprint("t", i)}
		if err := p.begin(); err != nil {
			b.Fatal(err)
		}
		producers = append(producers, p)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var running sync.WaitGroup
	for i, p := range producers {
		running.Go(func() {
			for k := i; k < b.N; k += len(producers) {
				transactOne(b, p)
			}
		})
	}
	running.Wait()
}
