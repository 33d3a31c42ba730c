package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"spate/bench"
	"spate/bench/result"
	"spate/bench/spec"
)

// load is a workload of spate bench, and the rows that are made of its result.
type load struct {
	name    string // of its topic
	kind    string
	keys    map[string]string
	cold    bool // what the topic was filled with is no longer in the page cache when the load begins
	figures map[string]func(*result.Result) float64
}

// endToEnd is the load at the rate that most of the report is about.
func endToEnd(scale float64) load {
	return load{name: "e2e", kind: "e2e", keys: map[string]string{"rate": "10000", "duration": seconds(10, scale)},
		figures: map[string]func(*result.Result) float64{
			rowP50: endToEndAt(50), rowP99: endToEndAt(99), rowP999: endToEndAt(99.9), rowLatencyCPU: microsPerRecord,
		}}
}

// furtherLoads come after the memory that the others took was measured.
func furtherLoads(scale float64) []load {
	return []load{
		{name: "slow", kind: "e2e", keys: map[string]string{"rate": "1000", "duration": seconds(4, scale)},
			figures: map[string]func(*result.Result) float64{
				rowSlowP50: endToEndAt(50), rowSlowP99: endToEndAt(99), rowSlowCPU: microsPerRecord,
			}},
		{name: "fan-out", kind: "fan-out", keys: map[string]string{"rate": "5000", "readers": "8",
			"duration": seconds(4, scale)},
			figures: map[string]func(*result.Result) float64{
				rowFanOutCPU: func(r *result.Result) float64 {
					return r.Totals.Broker.CPUSeconds() / (float64(r.Totals.Consumed.Bytes) / 1e9)
				},
				rowFanOutP99: endToEndAt(99),
			}},
		{name: "catch-up", kind: "catch-up", cold: true, keys: map[string]string{"rate": "5000",
			"records": fmt.Sprint(max(1, int64(500_000*scale))), "duration": seconds(4, scale)},
			figures: map[string]func(*result.Result) float64{rowCatchUpAlone: ackOf(0), rowCatchUp: ackOf(1)}},
	}
}

// durableLoads are those of two brokers that flush what they acknowledge.
func durableLoads(scale float64) []load {
	return []load{
		{name: "small", kind: "produce", keys: map[string]string{"batch-size": fmt.Sprint(smallBatch),
			"linger": "20ms", "duration": seconds(4, scale)},
			figures: map[string]func(*result.Result) float64{rowDurableRate: func(r *result.Result) float64 {
				return r.Totals.Produced.BytesPerSecond / 1e6
			}}},
		{name: "e2e", kind: "e2e", keys: map[string]string{"rate": "10000", "duration": seconds(4, scale)},
			figures: map[string]func(*result.Result) float64{
				rowDurableP50: endToEndAt(50), rowDurableP99: endToEndAt(99),
			}},
	}
}

// seconds is how long a load takes at a scale.
func seconds(n, scale float64) string {
	return max(500*time.Millisecond, time.Duration(n*scale*float64(time.Second))).String()
}

func endToEndAt(percent float64) func(*result.Result) float64 {
	return func(r *result.Result) float64 {
		return float64(r.Latencies[result.LatencyEndToEnd].At(percent).Microseconds()) / 1000
	}
}

// ackOf is the 99th percentile of the acknowledgements of a step.
func ackOf(step int) func(*result.Result) float64 {
	return func(r *result.Result) float64 {
		return float64(r.Steps[step].Latencies[result.LatencyAck].P99) / 1000
	}
}

func microsPerRecord(r *result.Result) float64 { return r.Totals.Broker.CPUMicrosPerRecord }

// measureFirst takes what the first record costs in each of many partitions. Kafka hosts them some time after it has
// said that they are made, which is not to count.
func measureFirst(ctx context.Context, t *running, r results) error {
	first := bench.Partitions{Topics: 2, Each: 1000, RecordBytes: recordBytes}
	if _, err := first.Create(ctx, t.Target); err != nil {
		return err
	}
	if err := first.AwaitServed(ctx, t.Target); err != nil {
		return err
	}
	first.Records = 1
	sample, err := first.Fill(ctx, t.Target)
	if err != nil {
		return err
	}
	r.add(rowFirst, sample.CPUSecondsPerGB())
	return nil
}

// measureDurable measures a broker whose acknowledgements come after the flush.
func measureDurable(b broker, scale float64, r results) error {
	return onFresh(b, 10*time.Minute, func(ctx context.Context, t *running, dir string) error {
		if err := warmUp(ctx, t, int64(250_000*scale)); err != nil {
			return err
		}
		loads := durableLoads(scale)
		for _, l := range loads {
			l.keys["topic-config"] = b.topics
		}
		return measureLoads(ctx, t, dir, loads, r)
	})
}

// workload is the load as spate bench has it. Nothing is verified: all processor time that is left is the broker's.
func (l load) workload() (spec.Workload, error) {
	keys := map[string]string{"record-size": fmt.Sprint(recordBytes), "partitions": fmt.Sprint(partitions),
		"warm-up": "500ms", "verify": "false", "topic": l.name, "keep-topic": "true"}
	maps.Copy(keys, l.keys)
	return spec.Parse(l.kind, keys)
}

// measureLoads runs workloads one after another.
func measureLoads(ctx context.Context, t *running, dir string, loads []load, r results) error {
	for _, l := range loads {
		w, err := l.workload()
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		var cooled error
		begun := false
		got, err := bench.Run(ctx, t.Target, w, bench.RunOptions{Observe: func(p bench.Progress) {
			if l.cold && !begun && p.Phase == result.PhaseWarmUp {
				begun, cooled = true, forget(dir, l.name)
			}
		}})
		if err == nil {
			err = errors.Join(got.Failed(), cooled, context.Cause(ctx))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		for row, figure := range l.figures {
			r.add(row, figure(got))
		}
	}
	return nil
}

// forget drops the files of a topic from the page cache: whoever reads them next reads from the disk.
func forget(dir, topic string) error {
	dropped := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasPrefix(filepath.Base(filepath.Dir(path)), topic+"-") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		dropped++
		fd := int(f.Fd())
		// Only what is clean can be dropped.
		return cmp.Or(f.Sync(), unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED))
	})
	if err == nil && dropped == 0 {
		err = fmt.Errorf("no files of %s in %s", topic, dir)
	}
	return err
}
