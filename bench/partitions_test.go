package bench

import (
	"context"
	"flag"
	"testing"
	"time"

	"spate/internal/proc"
)

var (
	manyTopics = flag.Int("topics", 4, "topics of the test of many partitions")
	manyEach   = flag.Int("partitions", 100, "partitions of each of these topics")
	manyIdle   = flag.Duration("idle", time.Second, "how long that test looks at an idle broker")
	manyRounds = flag.Int("records", 3, "records in each of these partitions")
)

// Goal: many partitions are made, filled, and all served with every record after a clean stop and after kill -9.
// Method: the workload of the benchmark, on fewer partitions. The numbers are logged, for who runs it with more.
func TestManyPartitionsAreServedAfterStopAndKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	buildBroker(t)
	options := proc.Options{DataDir: t.TempDir()}
	b, err := proc.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Kill() }()
	many := Partitions{Topics: *manyTopics, Each: int32(*manyEach), Records: *manyRounds, RecordBytes: 1024}
	target := Target{Bootstrap: b.Bootstrap, PID: b.PID}
	state := func(when string) {
		t.Helper()
		idle, u, err := Idle(target, *manyIdle)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.1f MiB anonymous, %d descriptors, %d mappings; idle for %v took %v (%.2f %%)", when,
			float64(u.AnonymousBytes)/(1<<20), u.Descriptors, u.Mappings, idle.Elapsed, idle.CPU(),
			100*idle.CPU().Seconds()/idle.Elapsed.Seconds())
	}
	state("empty broker")
	made, err := many.Create(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d partitions made in %v, %v of processor time", many.Count(), made.Elapsed, made.CPU())
	state("created")
	filled, err := many.Fill(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d records written in %v, %v of processor time", filled.Records, filled.Elapsed, filled.CPU())
	state("filled")
	for _, round := range []string{"kill -9", "kill -9", "a clean stop", "a clean stop"} {
		began := time.Now()
		if round == "kill -9" {
			b.Kill()
		} else if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
		stopped := time.Since(began)
		if b, err = proc.Start(options); err != nil {
			t.Fatal(err)
		}
		target = Target{Bootstrap: b.Bootstrap, PID: b.PID}
		if err := many.AwaitServed(ctx, target); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s took %v; ready after %v, all served after %v", round, stopped, b.Startup, time.Since(began)-stopped)
		state("restarted")
	}
}
