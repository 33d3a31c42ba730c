//go:build crash

package proof

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"spate/internal/proc"
)

// Goal: commits on a full disk fail and promise nothing; what was acknowledged before stays readable, groups are
// served again when there is room, and a restart finds the last acknowledged offset. Method: as TestFullDisk.
func TestFullDiskWhileCommitting(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	mount := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", mount).CombinedOutput(); err != nil {
		t.Fatalf("mount a tmpfs (as root): %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	options := proc.Options{DataDir: filepath.Join(mount, "data"), Listen: freeAddress(t),
		Set: map[string]string{"offsets.topic.num.partitions": "1"}}
	b := start(t, options)
	defer func() { b.Kill() }()
	if err := fill(ctx, b.Bootstrap, "t", 1); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Bootstrap), kgo.RetryTimeout(2*time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	g := &committer{admin: kadm.NewClient(client), acknowledged: -1}
	if err := g.commitUntil(ctx, func(err error) bool { return err == nil }); err != nil { // makes the topic of offsets
		t.Fatal(err)
	}
	ballast := filepath.Join(mount, "ballast")
	fillUp(t, ballast)
	// Blocks that were allocated ahead still take commits.
	if err := g.commitUntil(ctx, func(err error) bool { return err != nil }); err != nil {
		t.Fatal(err)
	}
	t.Logf("the last acknowledged offset on the full disk is %d; then %v", g.acknowledged, g.last)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	g.check(ctx, t) // the coordinator may come back on its own, or with the next commit
	if err := g.commitUntil(ctx, func(err error) bool { return err == nil }); err != nil {
		t.Fatalf("service did not resume: %v; %v", err, g.last)
	}
	g.check(ctx, t)
	b.Kill()
	b = start(t, options)
	g.check(ctx, t)
}

// committer commits ever higher offsets of one group, with metadata that fills a disk quickly.
type committer struct {
	admin        *kadm.Client
	next         int64
	acknowledged int64
	last         error
}

func (g *committer) commit(ctx context.Context) error {
	all := kadm.Offsets{}
	all.Add(kadm.Offset{Topic: "t", Partition: 0, At: g.next, LeaderEpoch: -1, Metadata: string(make([]byte, 4000))})
	g.next++
	responses, err := g.admin.CommitOffsets(ctx, "group", all)
	if err == nil {
		err = responses.Error()
	}
	if err == nil {
		g.acknowledged = g.next - 1
	}
	return err
}

func (g *committer) commitUntil(ctx context.Context, done func(error) bool) error {
	for ctx.Err() == nil {
		if g.last = g.commit(ctx); done(g.last) {
			return nil
		}
	}
	return ctx.Err()
}

// check asks for the committed offset until the coordinator answers: it must not be behind what was acknowledged.
func (g *committer) check(ctx context.Context, t *testing.T) {
	t.Helper()
	for {
		offsets, err := g.admin.FetchOffsets(ctx, "group")
		if err == nil {
			if got, ok := offsets.Lookup("t", 0); !ok || got.Err != nil || got.At < g.acknowledged || got.At >= g.next {
				t.Fatalf("committed is %+v; acknowledged was %d, tried up to %d", got, g.acknowledged, g.next-1)
			}
			return
		}
		if ctx.Err() != nil || errors.Is(err, kerr.UnknownServerError) {
			t.Fatal(err)
		}
	}
}
