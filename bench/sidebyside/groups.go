package main

import (
	"context"
	"time"

	"spate/bench"
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
func measureGroups(brokers []broker, scale float64, rounds int, say sayer, all []results) error {
	groups := bench.Groups{Topic: "grouped", Count: max(1, int(groupCount*scale)), Partitions: groupEach}
	fill := func(b broker, dir string) error {
		return serve(b, dir, nil, 15*time.Minute, func(ctx context.Context, t *running) error {
			return groups.Fill(ctx, t.Target)
		})
	}
	return onFilled(brokers, rounds, say, fill, func(n int, dir string) error {
		return measureGroupLoad(brokers[n], dir, groups, all[n])
	})
}

func measureGroupLoad(b broker, dir string, groups bench.Groups, r results) error {
	began := time.Now()
	return serve(b, dir, nil, 5*time.Minute, func(ctx context.Context, t *running) error {
		if err := groups.AwaitServed(ctx, t.Target); err != nil {
			return err
		}
		r.add(rowGroupsServed, float64(time.Since(began).Milliseconds()))
		settle()
		return addMemory(r, rowGroupsMemory, t)
	})
}
