// Command sidebyside runs Spate and Apache Kafka in turn on this machine under the same workloads and writes
// BENCHMARKS.md: medians, spreads and ratios, with the machine, the versions and the settings they were taken with.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"spate/internal/proc"
)

// options are what the flags say.
type options struct {
	rounds, long     int
	scale, recoverGB float64
	out, only        string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often each broker is started and measured; odd, for a median")
	flag.IntVar(&o.long, "long-rounds", 1, "how often compaction and many partitions, which take minutes, are measured")
	flag.Float64Var(&o.scale, "scale", 1, "multiplies the amount of data of each workload")
	flag.Float64Var(&o.recoverGB, "recover-gb", 5, "the log that a broker holds when it is killed with -9")
	flag.StringVar(&o.out, "out", "BENCHMARKS.md", "the file to write")
	flag.StringVar(&o.only, "only", "", "measure one part alone; of a name that is none, all are listed")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", err)
		os.Exit(1)
	}
}

// results are the samples of one broker: row → one value a round.
type results map[string][]float64

func (r results) add(row string, value float64) { r[row] = append(r[row], value) }

// run measures every part and writes the report.
func run(o options) error {
	if _, err := proc.Jars(); err != nil {
		return err
	}
	compared := table{title: "Spate beside Apache Kafka " + proc.KafkaVersion, rows: order, brokers: []broker{
		{name: "Spate", durability: "page cache (spate.ack.durability=page-cache)", start: startSpate("page-cache")},
		{name: "Apache Kafka", durability: "page cache (its default)", start: startKafka},
		{name: "Spate, durable acks", durability: "flushed to disk (the default)", start: startSpate("flush")},
	}, all: []results{{}, {}, {}}}
	durable := table{title: "The same promise on both: acknowledged is flushed to disk", rows: durableOrder,
		brokers: []broker{
			{name: "Spate", durability: "flushed to disk (the default)", start: startSpate("flush")},
			{name: "Apache Kafka", durability: "flushed to disk (flush.messages=1)", start: startKafka,
				topics: "flush.messages=1"},
		}, all: []results{{}, {}}}
	beside := besideLimit()
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%7s %s\n", time.Since(began).Round(time.Second), fmt.Sprintf(format, args...))
	}
	chosen, err := choose(parts(o, compared, durable, beside, say), o.only)
	if err != nil {
		return err
	}
	for _, part := range chosen {
		say("%s", part.name)
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return writeReport(o, []table{compared, durable, beside})
}

// part is a part of the report that can be measured by itself.
type part struct {
	name string
	run  func() error
}

// choose gives the part of that name, or all if it is empty.
func choose(all []part, only string) ([]part, error) {
	if only == "" {
		return all, nil
	}
	var names []string
	for n := range all {
		if all[n].name == only {
			return all[n : n+1], nil
		}
		names = append(names, all[n].name)
	}
	return nil, fmt.Errorf("-only %s: there is no such part; there are %s", only, strings.Join(names, ", "))
}

// parts are all parts, in the order in which they are measured. They add to the results of the tables.
func parts(o options, compared, durable, beside table, say sayer) []part {
	each := func(t table, rounds int, measure func(b broker, r results) error) func() error {
		return func() error {
			return inTurn(t.brokers, rounds, say, func(n int) error { return measure(t.brokers[n], t.all[n]) })
		}
	}
	both := compared.brokers[:2] // what an acknowledgement means is nothing to these
	return []part{
		{"load", each(compared, o.rounds, func(b broker, r results) error { return measureBroker(b, o.scale, r) })},
		{"durable", each(durable, o.rounds, func(b broker, r results) error { return measureDurable(b, o.scale, r) })},
		{"recovery", func() error {
			for n, b := range both {
				say("restart of %s after kill -9 with %g GB", b.name, o.recoverGB)
				if err := measureRecovery(b, o.recoverGB, o.rounds, compared.all[n]); err != nil {
					return fmt.Errorf("%s: %w", b.name, err)
				}
			}
			return nil
		}},
		{"transactions", each(compared, o.rounds, func(b broker, r results) error {
			return measureTransactions(b, o.scale, r)
		})},
		{"groups", func() error { return measureGroups(both, o.scale, o.rounds, say, compared.all) }},
		{"compaction", func() error { return measureCompaction(both, o.scale, o.long, say, compared.all) }},
		{"partitions", each(compared, o.long, func(b broker, r results) error {
			return measureMany(b, manyOf(o.scale), r)
		})},
		{"limit", func() error { return measureLimit(beside, o.rounds, o.scale, say) }},
	}
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
