package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"spate/bench"
	"spate/bench/versus"
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
func measureCompaction(brokers []broker, scale float64, rounds int, all []results) error {
	c := compaction(scale)
	dirs := make([]string, len(brokers))
	for i, b := range brokers {
		dir, err := os.MkdirTemp("", "spate-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		dirs[i] = dir
		if err := fillCompacted(b, dir, c); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	for round := range rounds {
		for _, n := range versus.Order(len(brokers), round) {
			if err := compactCopy(brokers[n], dirs[n], c, all[n]); err != nil {
				return fmt.Errorf("%s: %w", brokers[n].name, err)
			}
		}
	}
	return nil
}

func fillCompacted(b broker, dir string, c bench.Compaction) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	t, err := b.start(dir, cleanerSettings)
	if err != nil {
		return err
	}
	defer t.kill()
	if err := c.Fill(ctx, t.Target); err != nil {
		return err
	}
	return t.stop()
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
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	t, err := b.start(dir, cleanerSettings)
	if err != nil {
		return err
	}
	defer t.kill()
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
	return t.stop()
}
