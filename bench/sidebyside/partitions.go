package main

import (
	"context"
	"os"
	"time"

	"spate/bench"
)

// manyIdle is how long an idle broker with many partitions is looked at.
const manyIdle = 10 * time.Second

// manyOf is the workload of many partitions.
func manyOf(scale float64) bench.Partitions {
	each := int32(max(1, manyEach*scale))
	return bench.Partitions{Topics: manyTopics, Each: each, Records: 3, RecordBytes: recordBytes}
}

// measureMany makes many partitions, writes a little into each, and takes what they cost and how long the ways back
// take after kill -9 and after a clean stop.
func measureMany(b broker, many bench.Partitions, r results) error {
	dir, err := os.MkdirTemp("", "spate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	t, err := b.start(dir, nil)
	if err != nil {
		return err
	}
	defer func() {
		if t != nil { // else it could not be started again
			t.kill()
		}
	}()
	made, err := many.Create(ctx, t.Target)
	if err != nil {
		return err
	}
	r.add(rowManyCreate, made.Elapsed.Seconds())
	if _, err := many.Fill(ctx, t.Target); err != nil {
		return err
	}
	if err := addMemory(r, rowManyMemoryUsed, t); err != nil {
		return err
	}
	t.kill()
	if t, err = restartMany(ctx, b, dir, many, r, rowManyKilled); err != nil {
		return err
	}
	began := time.Now()
	if err := t.stop(); err != nil {
		return err
	}
	r.add(rowManyStop, time.Since(began).Seconds())
	if t, err = restartMany(ctx, b, dir, many, r, rowManyClean); err != nil {
		return err
	}
	settle()
	idle, usage, err := bench.Idle(t.Target, manyIdle)
	if err != nil {
		return err
	}
	r.add(rowManyIdle, 100*idle.CPU().Seconds()/idle.Elapsed.Seconds())
	r.add(rowManyMemory, float64(usage.AnonymousBytes)/(1<<20))
	r.add(rowManyFiles, float64(usage.Descriptors))
	r.add(rowManyMaps, float64(usage.Mappings))
	return t.stop()
}

// restartMany starts the broker and times it until every partition is served with all its records.
func restartMany(
	ctx context.Context, b broker, dir string, many bench.Partitions, r results, row string,
) (*running, error) {
	began := time.Now()
	t, err := b.start(dir, nil)
	if err != nil {
		return nil, err
	}
	if err := many.AwaitServed(ctx, t.Target); err != nil {
		t.kill()
		return nil, err
	}
	r.add(row, time.Since(began).Seconds())
	return t, nil
}
