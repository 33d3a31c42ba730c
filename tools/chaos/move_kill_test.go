package chaos

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// moveKillMax is how long after its request a move is killed at the latest: some are over by then.
const moveKillMax = 150 * time.Millisecond

// Goal: kill -9 while partitions move between log directories loses nothing and leaves no partition without a log.
// Method: before each kill all partitions begin to move to the other directory, under load; most kills hit the copy or
// the exchange of the folders.
func TestKillNineWhileMoving(t *testing.T) {
	base := t.TempDir()
	dirs := []string{filepath.Join(base, "a"), filepath.Join(base, "b")}
	for _, d := range dirs {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(*seed, 9))
	seen, round := map[string]bool{}, 0
	runPlan(t, Plan{DataDir: dirs[0] + "," + dirs[1], Rounds: *rounds, Seed: *seed, Out: os.Stdout,
		Fault: func(b *proc.Broker) error {
			round++
			if err := moveAll(t.Context(), b.Bootstrap, topic, dirs[round%2], seen); err != nil {
				return err
			}
			<-time.After(time.Duration(random.Int64N(int64(moveKillMax))))
			b.Kill()
			return nil
		}})
	for _, d := range dirs {
		if !seen[d] && *rounds > 2 {
			t.Errorf("no partition was ever seen in %s", d)
		}
	}
}

// moveAll begins to move every partition of a load's topic to dir, and notes where one of them was.
func moveAll(ctx context.Context, bootstrap, topic, dir string, seen map[string]bool) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	var all kadm.TopicsSet
	var request kadm.AlterReplicaLogDirsReq
	for p := range int32(partitions) {
		all.Add(topic, p)
	}
	found, err := admin.DescribeAllLogDirs(ctx, all)
	if err != nil {
		return err
	}
	found.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if !p.IsFuture {
				seen[d.Dir] = true
			}
		})
	})
	request.Add(dir, all)
	answers, err := admin.AlterAllReplicaLogDirs(ctx, request)
	if err == nil {
		answers.Each(func(r kadm.AlterReplicaLogDirsResponse) {
			if err == nil {
				err = r.Err
			}
		})
	}
	return err
}
