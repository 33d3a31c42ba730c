package bench

import (
	"context"
	"testing"
	"time"

	"spate/internal/proc"
)

// Goal: the workload compacts what it wrote, sees when that is done, and knows the last value of every key.
// Method: the workload of the benchmark on fewer updates.
func TestCompactionWorkload(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	buildBroker(t)
	dir := t.TempDir()
	b, err := proc.Start(proc.Options{DataDir: dir, Set: map[string]string{"log.cleaner.backoff.ms": "10"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Kill() }()
	target := Target{Bootstrap: b.Bootstrap, PID: b.PID}
	c := Compaction{Topic: "t", Keys: 700, Updates: 60_000, ValueBytes: 40, SegmentBytes: 1 << 20}
	if err := c.Fill(ctx, target); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(ctx, target); err != nil {
		t.Errorf("before: %v", err)
	}
	done, err := c.Run(ctx, target, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(ctx, target); err != nil {
		t.Errorf("after: %v", err)
	}
	if done.Records != c.Updates || done.Elapsed <= 0 || done.Before <= 0 || done.LogBytes > done.Bytes/2 {
		t.Errorf("%+v", done)
	}
	wrong := c
	wrong.ValueBytes++ // the check can fail: no value has this length
	if err := wrong.Check(ctx, target); err == nil {
		t.Error("values that nobody wrote are there")
	}
	if _, err := c.Run(ctx, target, t.TempDir()); err == nil {
		t.Error("an empty directory was compacted")
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
}
