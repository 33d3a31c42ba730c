package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"spate/bench"
	"spate/bench/versus"
)

// The rows of the report.
const (
	rowProduceLarge     = "produce, 680 KiB batches: broker CPU-s/GB"
	rowProduceLargeRate = "produce, 680 KiB batches: MB/s"
	rowProduceSmall     = "produce, 16 KiB batches: broker CPU-s/GB"
	rowProduceSmallRate = "produce, 16 KiB batches: MB/s"
	rowProduceTiny      = "produce of 100 B records: broker CPU-s/GB"
	rowProduceTinyRate  = "produce of 100 B records: MB/s"
	rowFetch            = "fetch, hot: broker CPU-s/GB"
	rowFetchRate        = "fetch, hot: MB/s"
	rowOne              = "one-record batches, 32 producers: broker CPU µs a record"
	rowFanOutCPU        = "fan-out, 5,000 records/s to 8 consumers: broker CPU-s/GB consumed"
	rowFanOutP99        = "fan-out, 5,000 records/s to 8 consumers: end to end p99, ms"
	rowSlowP50          = "end to end at 1,000 records/s: p50, ms"
	rowSlowP99          = "end to end at 1,000 records/s: p99, ms"
	rowSlowCPU          = "end to end at 1,000 records/s: broker CPU µs a record"
	rowP50              = "end to end at 10,000 records/s: p50, ms"
	rowP99              = "end to end at 10,000 records/s: p99, ms"
	rowP999             = "end to end at 10,000 records/s: p99.9, ms"
	rowLatencyCPU       = "end to end at 10,000 records/s: broker CPU µs a record"
	rowCatchUpAlone     = "acknowledgements at 5,000 records/s: p99, ms"
	rowCatchUp          = "acknowledgements at 5,000 records/s while a consumer catches up from disk: p99, ms"
	rowFirst            = "first appends, to two topics of 1,000 partitions: broker CPU-s/GB"
	rowIdle             = "processor at rest, % of a core"
	rowMemoryIdle       = "anonymous memory at rest, MiB"
	rowMemoryLoaded     = "anonymous memory after the load, MiB"
	rowStartup          = "start of the process to ready, empty, ms"
	rowRecovery         = "start to ready after kill -9, ms"
	rowCommitCPU        = "offset commits, 50 groups, 6 partitions each: broker CPU µs a commit"
	rowCommitRate       = "offset commits, 50 groups, 6 partitions each: commits/s"
	rowCommitP50        = "offset commits, 50 groups, 6 partitions each: p50, ms"
	rowCommitP99        = "offset commits, 50 groups, 6 partitions each: p99, ms"
	rowGroupsServed     = "restart with 10,000 groups and 1,000,000 offsets: all served after, ms"
	rowGroupsMemory     = "restart with 10,000 groups and 1,000,000 offsets: anonymous memory, MiB"
	rowTransactionsP50  = "transactions of 10 records at 100/s, read committed: end to end p50, ms"
	rowTransactionsP99  = "transactions of 10 records at 100/s, read committed: end to end p99, ms"
	rowManyCreate       = "10,000 partitions: time to create, s"
	rowManyMemoryUsed   = "10,000 partitions: anonymous memory after 3 records in each, MiB"
	rowManyMemory       = "10,000 partitions: anonymous memory, idle after a restart, MiB"
	rowManyIdle         = "10,000 partitions: processor, idle, % of a core"
	rowManyFiles        = "10,000 partitions: open descriptors, idle"
	rowManyMaps         = "10,000 partitions: mappings, idle"
	rowManyKilled       = "10,000 partitions: start after kill -9 until all are served, s"
	rowManyStop         = "10,000 partitions: clean stop, s"
	rowManyClean        = "10,000 partitions: start after it until all are served, s"
	rowCompactTime      = "compaction of 50 million updates to 1 million keys: clean after, s"
	rowCompactCPU       = "compaction of 50 million updates to 1 million keys: broker CPU-s"
	rowCompactPeak      = "compaction of 50 million updates to 1 million keys: anonymous memory at most, MiB"
	rowCompactGrowth    = "compaction of 50 million updates to 1 million keys: of that more than before, MiB"
	rowCompactBytes     = "compaction of 50 million updates to 1 million keys: log left, MB"

	rowDurableRate = "produce, 16 KiB batches, flushed: MB/s"
	rowDurableP50  = "end to end at 10,000 records/s, flushed: p50, ms"
	rowDurableP99  = "end to end at 10,000 records/s, flushed: p99, ms"

	rowLimitProduceSmall = "produce, batches of 128 KiB, one connection: CPU-s/GB"
	rowLimitProduceLarge = "produce, batches of 1 MiB, one connection: CPU-s/GB"
	rowLimitFetchSmall   = "fetch of 64 KiB, hot, one connection: CPU-s/GB"
	rowLimitFetchLarge   = "fetch of 1 MiB, hot, one connection: CPU-s/GB"
)

// goal is what this stage of the project set itself for a row.
type goal struct {
	limit    float64 // of the ratio to the second column
	absolute bool    // the limit is one of the value itself
	least    bool    // more is better
}

var goals = map[string]goal{
	rowProduceLarge: {limit: 0.38}, rowProduceSmall: {limit: 0.22}, rowProduceTiny: {limit: 0.33},
	rowOne: {limit: 0.15}, rowFetch: {limit: 0.55}, rowFanOutCPU: {limit: 0.4}, rowFanOutP99: {limit: 0.2},
	rowSlowP50: {limit: 0.6}, rowSlowP99: {limit: 0.4}, rowSlowCPU: {limit: 0.25},
	rowP50: {limit: 0.2}, rowP99: {limit: 0.35}, rowP999: {limit: 0.35}, rowLatencyCPU: {limit: 0.3},
	rowCatchUp: {limit: 0.25}, rowFirst: {limit: 0.1}, rowMemoryIdle: {limit: 0.06}, rowMemoryLoaded: {limit: 0.08},
	rowIdle: {limit: 0.5, absolute: true}, rowStartup: {limit: 0.015}, rowRecovery: {limit: 0.05},
	rowManyMemory: {limit: 0.3}, rowManyIdle: {limit: 0.5, absolute: true}, rowManyKilled: {limit: 0.3},
	rowManyClean: {limit: 0.3}, rowGroupsServed: {limit: 3000, absolute: true},
	rowCompactGrowth: {limit: (dedupeBytes + cleanerBound) >> 20, absolute: true},
	rowDurableRate:   {limit: 10, least: true}, rowDurableP50: {limit: 0.05}, rowDurableP99: {limit: 0.1},
	rowLimitProduceSmall: {limit: 1.6}, rowLimitProduceLarge: {limit: 1.6},
	rowLimitFetchSmall: {limit: 1.3}, rowLimitFetchLarge: {limit: 1.3},
}

// cleanerBound is what a compaction may take beside the memory for keys: its buffers, and what is garbage for a while.
const cleanerBound = 16 << 20

var order = slices.Concat([]string{
	rowProduceLarge,
	rowProduceLargeRate,
	rowProduceSmall,
	rowProduceSmallRate,
	rowProduceTiny,
	rowProduceTinyRate,
	rowOne,
	rowFetch,
	rowFetchRate,
	rowFanOutCPU,
	rowFanOutP99,
	rowSlowP50,
	rowSlowP99,
	rowSlowCPU,
	rowP50,
	rowP99,
	rowP999,
	rowLatencyCPU,
	rowCatchUpAlone,
	rowCatchUp,
	rowFirst,
	rowMemoryIdle,
	rowMemoryLoaded,
	rowIdle,
	rowStartup,
	rowRecovery,
	rowCommitCPU,
	rowCommitRate,
	rowCommitP50,
	rowCommitP99,
}, transactionOrder(), []string{
	rowGroupsServed,
	rowGroupsMemory,
	rowManyCreate,
	rowManyMemoryUsed,
	rowManyMemory,
	rowManyIdle,
	rowManyFiles,
	rowManyMaps,
	rowManyKilled,
	rowManyStop,
	rowManyClean,
	rowCompactTime,
	rowCompactCPU,
	rowCompactPeak,
	rowCompactGrowth,
	rowCompactBytes,
})

var durableOrder = []string{rowDurableRate, rowDurableP50, rowDurableP99}

const method = `# Benchmarks

Written by ` + "`make bench`" + `, which runs ` + "`bench/sidebyside`" + `; no number on this page was typed by hand.

## Method
- Spate and Apache Kafka run in turn on one machine, in the order A B C, C B A, A B C …, each round on a fresh data directory; the tables
  give the median of the rounds and, in parentheses, the smallest and the largest.
- The load comes from the same client library (franz-go) in one process on the same machine, so throughput is shared with the client; the broker's
  own processor time (user and system, of its process, from /proc) is the figure to compare.
- Records of 1,024 bytes that do not compress, 6 partitions, idempotent producers with acks=all, unless a row says otherwise. Before the counted
  workloads, a broker is warmed up: as many records as the largest of them has are produced in 16 KiB batches and fetched, uncounted.
- End-to-end latency is taken at a fixed rate in an open loop: from the moment that a record was due to be sent until a consumer has it, so a stall of
  the broker counts for every record that waited. Latencies of acknowledgements begin at that moment too.
- What these workloads are, spate bench says (docs/bench.md); they are run without verification, which would take processor time from the broker.
- Fan-out: one producer, and eight consumers, of which each reads everything; a GB is one that a consumer got.
- Catching up: a topic is filled with 500,000 records, its files are flushed and dropped from the page cache; then a producer writes at the rate,
  with a consumer that follows, for two seconds alone and for two seconds from when another consumer begins to read the topic from its start.
- First appends: one record of 1,024 bytes into each partition, with all that a client asks before it, once the broker has told the end of each.
- At rest: a broker that has just started and has no topic, its memory after three seconds, its processor time in the five after them.
- Memory after the load: after what is produced and fetched as fast as it goes, the offset commits, and end to end at 10,000/s.
- Groups: the restart is one after a clean stop, timed from the start of the process until the broker lists all groups and has given a committed
  offset of each, which is checked; memory is taken three seconds later. A commit is one OffsetCommit request, which a group sends when the one
  before is answered; as many as are counted go before, uncounted. A scale other than 1 changes the numbers of groups and commits.
- Transactions: each producer begins one, sends its records to all partitions in turn, waits until they are acknowledged, commits, and begins the next when
  it is told that it is committed; as many as are counted go before, uncounted. The commit is timed from the last acknowledgement until that answer.
  Records are added to transactions by the broker (transaction.version 2, the default of both). From end to end a transaction counts from the moment
  that it was due to begin until a reader of committed records has its records, all of which must come, and once. A scale other than 1 changes the
  numbers of transactions.
- Compaction: a topic of one partition, keys of 12 bytes drawn at random and values of 40, uncompressed batches of up to 128 KiB, 256 MiB segments;
  both brokers with log.cleaner.dedupe.buffer.size=134217728 (the default) and log.cleaner.backoff.ms=100. The log is written once; each round
  compacts a copy of it after a start, from the moment that min.cleanable.dirty.ratio goes from 1 to 0 until cleaner-offset-checkpoint says that all
  but the active segment is clean. Then the topic is read: each key must have its last value. Kafka's heap has its memory for keys from the start.
- Many partitions: ten topics of 1,000, made by a request each; then three batches of one record go to every partition, the broker is killed with
  -9, started, stopped cleanly and started again. A start is timed from that of the process until the broker has told the end of every partition,
  which is checked. What an idle broker takes is measured for ten seconds from three seconds after the last start. A scale other than 1 changes the
  number of partitions.
- *Durability*: what an acknowledgement means. Like is compared with like: the ratio column compares page cache with page cache. Spate's default,
  an acknowledgement after the flush to disk, stands beside it. In the second table Kafka flushes each batch too, as its topics have flush.messages=1;
  a fresh broker, warmed up on another topic, first takes 16 KiB batches as fast as it can and then has the rate, four seconds each.
- The least that C needs: bench/limit sends the same requests to Spate, which acknowledges from the page cache, and to a program in C of one thread and
  one epoll loop, which knows no topics, offsets or records. For produce, it reads up to 256 KiB at a time, computes the CRC-32C of all of it (SSE 4.2,
  three lanes), and appends it by pwrite to a file that is allocated ahead; without checksums it does the same but for those. For fetch, it sends a
  header with MSG_MORE, the bytes by sendfile, and what follows them. The client is no Kafka client: one connection, five requests of one encoded,
  uncompressed batch in flight (records of 1,024 bytes, acks=all, not idempotent), or five fetches of a log of 256 MiB in batches of 64 KiB, which was
  just written. Every answer is checked: no error, offsets in order or the checksum of the request, the length of what is fetched and the checksum
  of its first batch. A row is the mean of four slices of 500 MB, after one that is not counted; before each, a file of as much is written and removed,
  so that the page cache takes memory which the machine already has. Both leave the buffers of their sockets
  to the system, where they grow.
- Kafka runs with its stock settings, one node, and the JVM flags of its own start script (1 GiB heap).

`

// table is a table of the report: brokers beside each other. The first is compared with the second.
type table struct {
	title   string
	rows    []string
	brokers []broker
	all     []results
}

func writeReport(o options, tables []table) error {
	var b bytes.Buffer
	b.WriteString(method)
	fmt.Fprintf(&b, "%s. Scale %g; %d rounds (compaction, many partitions: %d); restart after kill -9: %g GB.\n",
		machine(), o.scale, o.rounds, o.long, o.recoverGB)
	for _, t := range tables {
		t.write(&b)
	}
	return os.WriteFile(o.out, b.Bytes(), 0o644)
}

func (t table) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## %s\n\nDurability:", t.title)
	for i, br := range t.brokers {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(b, " %s: %s", br.name, br.durability)
	}
	b.WriteString(".\n\n| workload |")
	for _, br := range t.brokers {
		fmt.Fprintf(b, " %s |", br.name)
	}
	fmt.Fprintf(b, " %s/%s | goal | reached |\n|---|", t.brokers[0].name, t.brokers[1].name)
	b.WriteString(strings.Repeat("---:|", len(t.brokers)+2) + "---|\n")
	for _, row := range t.rows {
		fmt.Fprintf(b, "| %s |", row)
		for _, r := range t.all {
			b.WriteString(" " + spread(r[row]) + " |")
		}
		ratio, goal, reached := t.judge(row)
		fmt.Fprintf(b, " %s | %s | %s |\n", ratio, goal, reached)
	}
}

// judge says how the first broker did. Of what was not measured it says only what the goal is.
func (t table) judge(row string) (ratio, goal, reached string) {
	measured := len(t.all[0][row]) > 0 && len(t.all[1][row]) > 0
	ours, theirs := median(t.all[0][row]), median(t.all[1][row])
	if ratio = "–"; measured {
		ratio = fmt.Sprintf("%.2f", ours/theirs)
		if ours/theirs < 0.1 {
			ratio = fmt.Sprintf("%.3f", ours/theirs)
		}
	}
	g, ok := goals[row]
	if !ok {
		return ratio, "", ""
	}
	value, unit, bound := ours/theirs, "ratio", "≤"
	if g.absolute {
		value, unit = ours, "value"
	}
	met := value <= g.limit
	if g.least {
		met, bound = value >= g.limit, "≥"
	}
	switch {
	case !measured:
	case met:
		reached = "yes"
	default:
		reached = "no"
	}
	return ratio, fmt.Sprintf("%s %s %g", unit, bound, g.limit), reached
}

func median(values []float64) float64 { return versus.Of(values).Median }

func spread(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	s := versus.Of(values)
	return fmt.Sprintf("%s (%s–%s)", figure(s.Median), figure(s.Min), figure(s.Max))
}

// figure prints three significant digits.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// machine describes where and when the figures were taken.
func machine() string {
	revision := "unknown revision"
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		revision = strings.TrimSpace(string(out))
	}
	e := bench.Environment(bench.Target{}, "")
	return fmt.Sprintf("%s: %d × %s, Linux %s, %s, Spate %s", time.Now().UTC().Format("2006-01-02"), e.CPUs,
		cmp.Or(e.CPU, "unknown processor"), cmp.Or(e.Kernel, "of unknown version"), e.Go, revision)
}
