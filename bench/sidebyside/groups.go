package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"spate/bench"
	"spate/bench/versus"
)

// measureCommits lets groups commit, after as many commits that are not counted.
func measureCommits(ctx context.Context, t *running, scale float64, r results) error {
	c := bench.Commits{Topic: "commits", Partitions: partitions, Groups: committing, Each: max(1, int(400*scale))}
	if _, err := c.Run(ctx, t.Target); err != nil {
		return err
	}
	sample, err := c.Run(ctx, t.Target)
	if err != nil {
		return err
	}
	r.add(rowCommitCPU, sample.CPUMicrosPerRecord())
	r.add(rowCommitRate, float64(sample.Records)/sample.Elapsed.Seconds())
	r.add(rowCommitP50, float64(sample.P50.Microseconds())/1000)
	r.add(rowCommitP99, float64(sample.P99.Microseconds())/1000)
	return nil
}

// measureGroups fills both brokers with groups, and times the way back from a clean stop until all groups are served,
// in turn, on the same logs.
func measureGroups(brokers []broker, scale float64, rounds int, all []results) error {
	groups := bench.Groups{Topic: "grouped", Count: max(1, int(groupCount*scale)), Partitions: groupEach}
	dirs := make([]string, len(brokers))
	for i, b := range brokers {
		dir, err := os.MkdirTemp("", "spate-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		dirs[i] = dir
		if err := fillGroups(b, dir, groups); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	for round := range rounds {
		for _, n := range versus.Order(len(brokers), round) {
			if err := measureGroupLoad(brokers[n], dirs[n], groups, all[n]); err != nil {
				return fmt.Errorf("%s: %w", brokers[n].name, err)
			}
		}
	}
	return nil
}

func fillGroups(b broker, dir string, groups bench.Groups) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	t, err := b.start(dir, nil)
	if err != nil {
		return err
	}
	defer t.kill()
	if err := groups.Fill(ctx, t.Target); err != nil {
		return err
	}
	return t.stop()
}

func measureGroupLoad(b broker, dir string, groups bench.Groups, r results) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	t, err := b.start(dir, nil)
	if err != nil {
		return err
	}
	defer t.kill()
	if err := groups.AwaitServed(ctx, t.Target); err != nil {
		return err
	}
	r.add(rowGroupsServed, float64(time.Since(began).Milliseconds()))
	settle()
	if err := addMemory(r, rowGroupsMemory, t); err != nil {
		return err
	}
	return t.stop()
}
