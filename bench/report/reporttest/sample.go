// Package reporttest makes results of runs that never were, for tests of what shows results. They have every part that
// a result can have, and are the same each time for the same arguments. It measures nothing and starts nothing.
package reporttest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"spate/bench/result"
)

// The shape of the samples.
const (
	seconds  = 60
	warmUp   = 5
	rate     = 10_000
	valueLen = 1024
)

// Sample is a run of the end-to-end workload for a minute, with a broker that stalls once. Slower multiplies the
// latencies and the processor time.
func Sample(name string, slower float64) *result.Result {
	random := rand.New(rand.NewPCG(1, uint64(len(name))))
	all := map[string]*result.Histogram{result.LatencyAck: result.NewHistogram(),
		result.LatencyEndToEnd: result.NewHistogram()}
	r := &result.Result{Format: result.Format, Name: name, Workload: "e2e", LoadSeconds: seconds - warmUp,
		Began: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Settings: []result.Setting{{Key: "rate", Value: fmt.Sprint(rate), Given: true}, {Key: "partitions", Value: "6"},
			{Key: "record-bytes", Value: fmt.Sprint(valueLen)}, {Key: "acks", Value: "all"}},
		Environment: result.Environment{Tool: "spate v1.2.3", Go: "go1.26.0", Host: "machine", Kernel: "6.12.0",
			CPU: "Some Processor 3.0 GHz", CPUs: 8, MemoryBytes: 32 << 30, Bootstrap: "127.0.0.1:9092",
			ClusterID: "5L6g3nShT-eMCtK--X86sw", Brokers: 1, Software: "Spate v1.2.3", Durability: "flush",
			BrokerPID: 1234, BrokerIsSameMachine: true,
			Topics: []result.Setting{{Key: "retention.ms", Value: "3600000"}}},
		Verification: result.Verification{Outcome: result.VerifiedOK, Checked: rate * seconds, Readers: 1,
			Text: fmt.Sprintf("all %d records arrived once, in order and unchanged", rate*seconds)},
	}
	for n := range seconds {
		r.Seconds = append(r.Seconds, second(random, n, slower, all))
	}
	r.Latencies = all
	records := int64(rate * (seconds - warmUp))
	flow := result.Flow{Records: records, Bytes: records * valueLen,
		RecordsPerSecond: rate, BytesPerSecond: rate * valueLen}
	r.Totals = result.Totals{Produced: flow, Consumed: flow, RateTarget: rate, BehindSeconds: 0.48,
		Elapsed: seconds - warmUp,
		Broker: &result.Usage{UserSeconds: 9 * slower, SystemSeconds: 14 * slower, CPUSecondsPerGB: 40.8 * slower,
			CPUMicrosPerRecord: 41.8 * slower, MemoryBytesMax: int64(38e6 * slower)},
		Client: &result.Usage{UserSeconds: 20, SystemSeconds: 12}}
	return r
}

// second is one second; the broker stalls for half of the 30th.
func second(random *rand.Rand, n int, slower float64, all map[string]*result.Histogram) result.Second {
	stall := n == 30
	s := result.Second{AtSeconds: float64(n+1) + random.Float64()*0.01, Length: 1, Phase: result.PhaseLoad,
		Target: rate, ProducedRecords: rate + random.Int64N(200) - 100, ClientCores: 0.58,
		Latencies: map[string]result.Percentiles{}}
	if n < warmUp {
		s.Phase = result.PhaseWarmUp
	}
	s.ConsumedRecords = s.ProducedRecords - random.Int64N(50)
	if stall {
		s.ConsumedRecords -= rate / 2
		s.BehindSeconds = 0.48
	}
	s.ProducedBytes, s.ConsumedBytes = s.ProducedRecords*valueLen, s.ConsumedRecords*valueLen
	for name, base := range map[string]float64{result.LatencyAck: 280, result.LatencyEndToEnd: 410} {
		h := result.NewHistogram()
		own := rand.New(rand.NewPCG(uint64(n), uint64(base)))
		for range 2000 {
			micros := base * slower * math.Exp(own.NormFloat64()*0.35)
			if stall && own.Float64() < 0.5 {
				micros += own.Float64() * 500_000
			}
			h.Record(time.Duration(micros) * time.Microsecond)
		}
		s.Latencies[name] = h.Percentiles()
		if n >= warmUp {
			all[name].Merge(h)
		}
	}
	lag := random.Int64N(40)
	if stall {
		lag = rate / 2
	}
	user, system := 0.16*slower+random.Float64()*0.02, 0.25*slower+random.Float64()*0.03
	memory := int64((30e6 + 8e6*float64(n)/seconds) * slower)
	s.LagRecords, s.BrokerUserCores, s.BrokerSystemCores, s.BrokerMemoryBytes = &lag, &user, &system, &memory
	return s
}

// Damaged is a run that found records lost, had errors, steps and a search, and was interrupted.
func Damaged(name string) *result.Result {
	r := Sample(name, 1.5)
	met, not := true, false
	r.Interrupted = true
	r.Notes = []string{"The load generator used all processors: the latencies are its own, too."}
	r.Verification = result.Verification{Outcome: result.VerifiedFailed, Checked: 599_998, Readers: 1, Lost: 2,
		Text: "2 records are lost",
		Faults: []result.Fault{{Kind: "lost", Text: "orders-3: record 17 of producer 2 is missing behind offset " +
			"2041 </script><b>"}}}
	r.Totals.Errors = 3
	r.Errors = []result.ErrorCount{{Text: "NOT_LEADER_OR_FOLLOWER", Count: 2}, {Text: "connection refused", Count: 1}}
	r.Seconds[40].Errors = 3
	r.Search = &result.Search{Objective: "endToEnd p99 < 5ms", Rate: 20_000, Failed: 40_000}
	for n, rate := range []float64{10_000, 20_000, 40_000} {
		p := result.Percentiles{Count: 1000, P50: int64(400 * (n + 1)),
			P99: int64(2300 * (n + 1)), P999: int64(9000 * (n + 1))}
		step := result.Step{Rate: rate, Achieved: rate * 0.99, Seconds: 10, Met: &met,
			Latencies: map[string]result.Percentiles{result.LatencyEndToEnd: p}}
		if n == 2 {
			step.Met, step.Why = &not, "p99 of 6.9 ms"
		}
		r.Steps = append(r.Steps, step)
	}
	return r
}
