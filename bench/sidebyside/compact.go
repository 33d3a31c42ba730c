package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"spate/bench"
)

// compaction is what the rows say at scale 1.
func compaction(scale float64) bench.Compaction {
	return bench.Compaction{Topic: "latest", Keys: max(1, int64(1_000_000*scale)), ValueBytes: 40,
		Updates: max(1, int64(50_000_000*scale)), SegmentBytes: max(1<<20, int64(256<<20*scale))}
}

// cleanerSettings are the same for both: the memory for keys is Kafka's default, and neither is to be idle for long
// when the work is there.
var cleanerSettings = map[string]string{
	"log.cleaner.dedupe.buffer.size": fmt.Sprint(dedupeBytes), "log.cleaner.backoff.ms": "100",
}

const dedupeBytes = 128 << 20

// measureCompaction fills a topic of each broker once, and has it compact copies of that log.
func measureCompaction(brokers []broker, scale float64, rounds int, say sayer, all []results) error {
	c := compaction(scale)
	fill := func(b broker, dir string) error {
		return serve(b, dir, cleanerSettings, 15*time.Minute, func(ctx context.Context, t *running) error {
			return c.Fill(ctx, t.Target)
		})
	}
	return onFilled(brokers, rounds, say, fill, func(n int, dir string) error {
		return compactCopy(brokers[n], dir, c, all[n])
	})
}

func compactCopy(b broker, filled string, c bench.Compaction, r results) error {
	dir, err := os.MkdirTemp("", "spate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(filled)); err != nil {
		return err
	}
	return serve(b, dir, cleanerSettings, 15*time.Minute, func(ctx context.Context, t *running) error {
		settle()
		done, err := c.Run(ctx, t.Target, filepath.Join(dir, "data"))
		if err != nil {
			return err
		}
		if err := c.Check(ctx, t.Target); err != nil {
			return err
		}
		r.add(rowCompactTime, done.Elapsed.Seconds())
		r.add(rowCompactCPU, done.CPU().Seconds())
		r.add(rowCompactPeak, float64(done.Peak)/(1<<20))
		r.add(rowCompactGrowth, float64(done.Peak-done.Before)/(1<<20))
		r.add(rowCompactBytes, float64(done.LogBytes)/1e6)
		return nil
	})
}
