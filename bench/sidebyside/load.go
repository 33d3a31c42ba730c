package main

import (
	"context"
	"fmt"
	"time"

	"spate/bench"
)

// restIdle is how long a broker that has just started is looked at while nobody uses it.
const restIdle = 5 * time.Second

// measureBroker has a fresh broker run every workload once.
func measureBroker(b broker, scale float64, r results) error {
	return onFresh(b, 15*time.Minute, func(ctx context.Context, t *running, dir string) error {
		if err := measureRest(t, r); err != nil {
			return err
		}
		if err := warmUp(ctx, t, int64(1_000_000*scale)); err != nil {
			return err
		}
		if err := measureSteps(ctx, t, scale, r); err != nil {
			return err
		}
		if err := measureCommits(ctx, t, scale, r); err != nil {
			return fmt.Errorf("commits: %w", err)
		}
		if err := measureLoads(ctx, t, dir, []load{endToEnd(scale)}, r); err != nil {
			return err
		}
		if err := addMemory(r, rowMemoryLoaded, t); err != nil {
			return err
		}
		if err := measureLoads(ctx, t, dir, furtherLoads(scale), r); err != nil {
			return err
		}
		if err := measureFirst(ctx, t, r); err != nil {
			return fmt.Errorf("first appends: %w", err)
		}
		return nil
	})
}

// measureRest looks at a broker that has just started, and that nobody uses.
func measureRest(t *running, r results) error {
	r.add(rowStartup, float64(t.startup.Milliseconds()))
	settle()
	if err := addMemory(r, rowMemoryIdle, t); err != nil {
		return err
	}
	idle, _, err := bench.Idle(t.Target, restIdle)
	if err != nil {
		return err
	}
	r.add(rowIdle, 100*idle.CPU().Seconds()/idle.Elapsed.Seconds())
	return nil
}

// warmUp gives a virtual machine's compiler and caches work that is not counted: as much as is counted.
func warmUp(ctx context.Context, t *running, records int64) error {
	if err := bench.CreateTopic(ctx, t.Target, "warm", partitions); err != nil {
		return err
	}
	warm := bench.Produce{
		Topic:         "warm",
		Records:       records,
		RecordBytes:   recordBytes,
		BatchBytesMax: smallBatch,
	}
	if _, err := warm.Run(ctx, t.Target); err != nil {
		return err
	}
	_, err := bench.Consume{Topic: "warm", Partitions: partitions, Records: records}.Run(ctx, t.Target)
	return err
}

// measureSteps writes and reads as fast as it goes.
func measureSteps(ctx context.Context, t *running, scale float64, r results) error {
	for _, topic := range []string{"large", "small", "tiny", "one", "commits"} {
		if err := bench.CreateTopic(ctx, t.Target, topic, partitions); err != nil {
			return err
		}
	}
	large := int64(1_000_000 * scale)
	for _, s := range []struct {
		row, rate string
		run       func(context.Context, bench.Target) (bench.Sample, error)
		cost      func(bench.Sample) float64
	}{
		{rowProduceLarge, rowProduceLargeRate, bench.Produce{Topic: "large", Records: large, RecordBytes: recordBytes,
			BatchBytesMax: largeBatch}.Run, bench.Sample.CPUSecondsPerGB},
		{rowFetch, rowFetchRate, bench.Consume{Topic: "large", Partitions: partitions, Records: large}.Run,
			bench.Sample.CPUSecondsPerGB},
		{rowProduceSmall, rowProduceSmallRate, bench.Produce{Topic: "small", Records: int64(250_000 * scale),
			RecordBytes: recordBytes, BatchBytesMax: smallBatch}.Run, bench.Sample.CPUSecondsPerGB},
		{rowProduceTiny, rowProduceTinyRate, bench.Produce{Topic: "tiny", Records: int64(3_000_000 * scale),
			RecordBytes: tinyBytes, BatchBytesMax: largeBatch}.Run, bench.Sample.CPUSecondsPerGB},
		{rowOne, "", bench.OneRecordBatches{Topic: "one", Producers: producers, Each: int(1500 * scale),
			RecordBytes: recordBytes}.Run, bench.Sample.CPUMicrosPerRecord},
	} {
		sample, err := s.run(ctx, t.Target)
		if err != nil {
			return fmt.Errorf("%s: %w", s.row, err)
		}
		r.add(s.row, s.cost(sample))
		if s.rate != "" {
			r.add(s.rate, sample.MBPerSecond())
		}
	}
	return nil
}
