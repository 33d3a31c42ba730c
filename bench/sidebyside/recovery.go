package main

import (
	"context"
	"os"
	"time"

	"spate/bench"
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
