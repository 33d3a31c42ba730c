package bench

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"spate/internal/proc"
)

// Goal: many groups are served soon after a broker that was killed is started again, each with the offsets that were
// acknowledged. Method: the workloads of the benchmark, on fewer groups; they check every group's answer.
func TestManyGroupsAreServedAfterKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	buildBroker(t)
	options := proc.Options{DataDir: t.TempDir()}
	b, err := proc.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Kill() }()
	groups := Groups{Topic: "t", Count: 1200, Partitions: 20}
	target := Target{Bootstrap: b.Bootstrap, PID: b.PID}
	if err := groups.Fill(ctx, target); err != nil {
		t.Fatal(err)
	}
	b.Kill()
	began := time.Now()
	if b, err = proc.Start(options); err != nil {
		t.Fatal(err)
	}
	target = Target{Bootstrap: b.Bootstrap, PID: b.PID}
	if err := groups.AwaitServed(ctx, target); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d groups of %d offsets are served %v after the start", groups.Count, groups.Partitions, time.Since(began))
	wrong := groups
	wrong.Count++ // the check can fail: one group more than there are is never listed
	short, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	if err := wrong.AwaitServed(short, target); err == nil {
		t.Error("a group that does not exist is served")
	}
	commits := Commits{Topic: "t", Partitions: 3, Groups: 10, Each: 50}
	sample, err := commits.Run(ctx, target)
	if err != nil || sample.Records != 500 || sample.P99 < sample.P50 {
		t.Fatalf("%+v, %v", sample, err)
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
}

// buildBroker builds the binary that proc starts, unless SPATE_BIN names one.
func buildBroker(t *testing.T) {
	t.Helper()
	if os.Getenv("SPATE_BIN") != "" {
		return
	}
	binary := filepath.Join(t.TempDir(), "spate")
	if err := proc.Build(binary); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SPATE_BIN", binary)
}
