package compat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

const (
	offsetGroups     = 20
	offsetPartitions = 100 // of each group's commits
	offsetRounds     = 60  // commits a group
)

// Goal: the log of committed offsets, which only the broker writes, becomes smaller by compaction, and what groups have
// committed is what they get after a restart from it. Method: many commits without a cleaner; then a broker with one.
func TestCommittedOffsetsAreCompacted(t *testing.T) {
	if *bootstrap != "" {
		t.Skip("for a broker of its own")
	}
	dir, listen := t.TempDir(), freeAddress(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*clientTimeout)
	defer cancel()
	var broker *proc.Broker
	start := func(set map[string]string) time.Duration {
		t.Helper()
		set["offsets.topic.num.partitions"], set["offsets.topic.segment.bytes"] = "1", "1048576"
		set["log.segment.delete.delay.ms"] = "0"
		var err error
		began := time.Now()
		if broker, err = proc.Start(proc.Options{DataDir: dir, Listen: listen, Set: set}); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	stop := func() {
		t.Helper()
		if err := broker.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	start(map[string]string{"log.cleaner.enable": "false"})
	defer func() { broker.Kill() }()
	admin := offsetsAdmin(t, listen)
	_, err := admin.CreateTopic(ctx, offsetPartitions, 1, nil, "t")
	admin.Close()
	if err != nil {
		t.Fatal(err)
	}
	for round := range int64(offsetRounds) {
		commitAll(ctx, t, listen, round)
	}
	stop()
	before := offsetsLogBytes(t, dir)
	loadedBefore := start(map[string]string{"log.cleaner.backoff.ms": "20", "log.cleaner.min.cleanable.ratio": "0"})
	err = waitFor(ctx, func() (bool, error) {
		text, err := os.ReadFile(filepath.Join(dir, "cleaner-offset-checkpoint"))
		logs := glob(t, filepath.Join(dir, "__consumer_offsets-0"), "*.log")
		active := strings.TrimLeft(strings.TrimSuffix(filepath.Base(logs[len(logs)-1]), ".log"), "0")
		return err == nil && strings.Contains(string(text), "\n__consumer_offsets 0 "+active+"\n"), nil
	})
	if err != nil {
		t.Fatal(err, broker.LogTail())
	}
	checkCommitted(ctx, t, listen, offsetRounds-1)
	stop()
	after := offsetsLogBytes(t, dir)
	loadedAfter := start(map[string]string{})
	checkCommitted(ctx, t, listen, offsetRounds-1)
	commitAll(ctx, t, listen, offsetRounds)
	broker.Kill()
	start(map[string]string{})
	checkCommitted(ctx, t, listen, offsetRounds)
	t.Logf("%d bytes are %d after compaction; ready after %v, and %v", before, after, loadedBefore, loadedAfter)
	if after > before/4 {
		t.Errorf("%d of %d bytes are left", after, before)
	}
}

// commitAll has each group commit offsets that tell the round.
func commitAll(ctx context.Context, t *testing.T, address string, round int64) {
	t.Helper()
	admin := offsetsAdmin(t, address)
	defer admin.Close()
	for n := range offsetGroups {
		var o kadm.Offsets
		for p := range int32(offsetPartitions) {
			o.Add(kadm.Offset{Topic: "t", Partition: p, At: round*1000 + int64(n), LeaderEpoch: -1})
		}
		if err := admin.CommitAllOffsets(ctx, fmt.Sprintf("group-%d", n), o); err != nil {
			t.Fatal(err)
		}
	}
}

// checkCommitted asks for all offsets of all groups.
func checkCommitted(ctx context.Context, t *testing.T, address string, round int64) {
	t.Helper()
	admin := offsetsAdmin(t, address)
	defer admin.Close()
	for n := range offsetGroups {
		found, err := admin.FetchOffsets(ctx, fmt.Sprintf("group-%d", n))
		if err != nil {
			t.Fatal(err)
		}
		for p := range int32(offsetPartitions) {
			if o, _ := found.Lookup("t", p); o.At != round*1000+int64(n) {
				t.Fatalf("group-%d has committed %d of partition %d, not %d", n, o.At, p, round*1000+int64(n))
			}
		}
	}
}

func offsetsAdmin(t *testing.T, address string) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	return adminOf(client)
}

func offsetsLogBytes(t *testing.T, dir string) (total int64) {
	t.Helper()
	for _, name := range glob(t, filepath.Join(dir, "__consumer_offsets-0"), "*.log") {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	return total
}
