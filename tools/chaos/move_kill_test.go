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
	moves := newMoves(t, topic)
	runPlan(t, Plan{DataDir: moves.dataDir(), Rounds: *rounds, Seed: *seed, Out: os.Stdout,
		Fault: func(b *proc.Broker) error {
			if err := moves.begin(t.Context(), b); err != nil {
				return err
			}
			return moves.kill(b)
		}})
	moves.check(t)
}

// moves has the partitions of a load's topic move to and fro between two log directories.
type moves struct {
	topic  string
	dirs   [2]string
	seen   map[string]bool // directories in which partitions were
	round  int
	random *rand.Rand
}

func newMoves(t *testing.T, topic string) *moves {
	t.Helper()
	base := t.TempDir()
	m := &moves{topic: topic, seen: map[string]bool{}, random: rand.New(rand.NewPCG(*seed, 9))}
	for i, name := range []string{"a", "b"} {
		m.dirs[i] = filepath.Join(base, name)
		if err := os.Mkdir(m.dirs[i], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *moves) dataDir() string { return m.dirs[0] + "," + m.dirs[1] }

// kill ends the broker while the move that has begun goes on, or soon after it.
func (m *moves) kill(b *proc.Broker) error {
	<-time.After(time.Duration(m.random.Int64N(int64(moveKillMax))))
	return killNine(b)
}

// check wants that partitions have been in both directories.
func (m *moves) check(t *testing.T) {
	t.Helper()
	for _, dir := range m.dirs {
		if !m.seen[dir] && *rounds > 2 {
			t.Errorf("no partition was ever seen in %s", dir)
		}
	}
}

// begin begins to move every partition to the other directory, and notes where they were.
func (m *moves) begin(ctx context.Context, b *proc.Broker) error {
	m.round++
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	var all kadm.TopicsSet
	var request kadm.AlterReplicaLogDirsReq
	for p := range int32(partitions) {
		all.Add(m.topic, p)
	}
	found, err := admin.DescribeAllLogDirs(ctx, all)
	if err != nil {
		return err
	}
	found.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if !p.IsFuture {
				m.seen[d.Dir] = true
			}
		})
	})
	request.Add(m.dirs[m.round%2], all)
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
