// Command sidebyside runs Spate and Apache Kafka in turn on this machine under the same workloads and writes
// BENCHMARKS.md: medians, spreads and ratios, with the machine, the versions and the settings they were taken with.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"spate/bench"
	"spate/bench/versus"
	"spate/internal/proc"
)

func main() {
	rounds := flag.Int("rounds", 3, "how often each broker is started and measured; odd, for a median")
	long := flag.Int("long-rounds", 1, "how often compaction and many partitions, which take minutes, are measured")
	scale := flag.Float64("scale", 1, "multiplies the amount of data of each workload")
	recoverGB := flag.Float64("recover-gb", 5, "the log that a broker holds when it is killed with -9")
	out := flag.String("out", "BENCHMARKS.md", "the file to write")
	only := flag.String("only", "",
		"measure one part: load, durable, recovery, transactions, groups, compaction or partitions")
	flag.Parse()
	if err := run(*rounds, *long, *scale, *recoverGB, *out, *only); err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", err)
		os.Exit(1)
	}
}

// broker is one of the two under test.
type broker struct {
	name       string
	durability string // what an acknowledgement means in this run, for the report
	topics     string // configs of the topics of the part "durable"
	// start begins with what the directory holds; the settings come on top of the broker's own.
	start func(dir string, settings map[string]string) (*running, error)
}

type running struct {
	bench.Target
	startup time.Duration
	kill    func()
	stop    func() error
}

func startKafka(dir string, settings map[string]string) (*running, error) {
	port, err := proc.FreePortPair()
	if err != nil {
		return nil, err
	}
	k, err := proc.StartKafka(dir, port, settings)
	if err != nil {
		return nil, err
	}
	return &running{bench.Target{Bootstrap: k.Bootstrap, PID: k.PID}, k.Startup, k.Kill, k.Stop}, nil
}

func startSpate(durability string) func(dir string, settings map[string]string) (*running, error) {
	return func(dir string, settings map[string]string) (*running, error) {
		all := map[string]string{"spate.ack.durability": durability}
		maps.Copy(all, settings)
		began := time.Now()
		b, err := proc.Start(proc.Options{DataDir: filepath.Join(dir, "data"), Set: all})
		if err != nil {
			return nil, err
		}
		return &running{bench.Target{Bootstrap: b.Bootstrap, PID: b.PID}, time.Since(began), b.Kill, b.Stop}, nil
	}
}

// results are the samples of one broker: row → one value a round.
type results map[string][]float64

func (r results) add(row string, value float64) { r[row] = append(r[row], value) }

func run(rounds, long int, scale, recoverGB float64, out, only string) error {
	if _, err := proc.Jars(); err != nil {
		return err
	}
	brokers := []broker{
		{name: "Spate", durability: "page cache (spate.ack.durability=page-cache)", start: startSpate("page-cache")},
		{name: "Apache Kafka", durability: "page cache (its default)", start: startKafka},
		{name: "Spate, durable acks", durability: "flushed to disk (the default)", start: startSpate("flush")},
	}
	all := make([]results, len(brokers))
	for i := range all {
		all[i] = results{}
	}
	durable := []broker{
		{name: "Spate", durability: "flushed to disk (the default)", start: startSpate("flush")},
		{name: "Apache Kafka", durability: "flushed to disk (flush.messages=1)", start: startKafka,
			topics: "flush.messages=1"},
	}
	allDurable := []results{{}, {}}
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%7s %s\n", time.Since(began).Round(time.Second), fmt.Sprintf(format, args...))
	}
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"load", func() error {
			return inTurn(brokers, rounds, say, func(n int) error { return measureBroker(brokers[n], scale, all[n]) })
		}},
		{"durable", func() error {
			return inTurn(durable, rounds, say, func(n int) error {
				return measureDurable(durable[n], scale, allDurable[n])
			})
		}},
		{"recovery", func() error {
			for n, b := range brokers[:2] {
				say("restart of %s after kill -9 with %g GB", b.name, recoverGB)
				if err := measureRecovery(b, recoverGB, rounds, all[n]); err != nil {
					return fmt.Errorf("%s: %w", b.name, err)
				}
			}
			return nil
		}},
		{"transactions", func() error {
			return inTurn(brokers, rounds, say, func(n int) error {
				return measureTransactions(brokers[n], scale, all[n])
			})
		}},
		{"groups", func() error { return measureGroups(brokers[:2], scale, rounds, all) }},
		{"compaction", func() error { return measureCompaction(brokers[:2], scale, long, all) }},
		{"partitions", func() error {
			return inTurn(brokers, long, say, func(n int) error {
				return measureMany(brokers[n], manyOf(scale), all[n])
			})
		}},
	} {
		if only != "" && only != part.name {
			continue
		}
		say("%s", part.name)
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return writeReport(out, rounds, long, scale, recoverGB, []table{
		{fmt.Sprintf("Spate beside Apache Kafka %s", proc.KafkaVersion), order, brokers, all},
		{"The same promise on both: acknowledged is flushed to disk", durableOrder, durable, allDurable},
	})
}

// inTurn measures each broker once a round.
func inTurn(brokers []broker, rounds int, say func(string, ...any), measure func(n int) error) error {
	for round := range rounds {
		for _, n := range versus.Order(len(brokers), round) { // drift of the machine weighs on all alike
			say("round %d of %d: %s", round+1, rounds, brokers[n].name)
			if err := measure(n); err != nil {
				return fmt.Errorf("%s: %w", brokers[n].name, err)
			}
		}
	}
	return nil
}

const (
	partitions  = 6
	recordBytes = 1024
	largeBatch  = 680 << 10
	smallBatch  = 16 << 10
	tinyBytes   = 100
	producers   = 32
	committing  = 50     // groups
	groupCount  = 10_000 // of the restarts
	groupEach   = 100    // offsets a group: 1,000,000 in all
	manyTopics  = 10
	manyEach    = 1000 // partitions of each
)

// measureRecovery fills a log, kills the broker and times the way back, several times on the same log.
func measureRecovery(b broker, gb float64, rounds int, r results) error {
	dir, err := os.MkdirTemp("", "spate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	t, err := b.start(dir, nil)
	if err != nil {
		return err
	}
	if err := bench.CreateTopic(ctx, t.Target, "fill", partitions); err != nil {
		t.kill()
		return err
	}
	fill := bench.Produce{
		Topic:         "fill",
		Records:       int64(gb * 1e9 / recordBytes),
		RecordBytes:   recordBytes,
		BatchBytesMax: largeBatch,
	}
	_, err = fill.Run(ctx, t.Target)
	t.kill()
	if err != nil {
		return err
	}
	for range rounds {
		if t, err = b.start(dir, nil); err != nil {
			return err
		}
		t.kill()
		r.add(rowRecovery, float64(t.startup.Milliseconds()))
	}
	return nil
}

// settle gives a broker that has just started the time to finish what it does in the background.
func settle() { time.Sleep(3 * time.Second) }

func addMemory(r results, row string, t *running) error {
	u, err := bench.UsageOf(t.PID)
	r.add(row, float64(u.AnonymousBytes)/(1<<20))
	return err
}
