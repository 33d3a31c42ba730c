package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// txnSettings make coordinators quick to abort what takes too long, and spread ids and groups over a few partitions.
func txnSettings(more map[string]string) map[string]string {
	settings := map[string]string{
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500", "spate.ack.durability": "flush",
		"transaction.state.log.num.partitions": "5", "offsets.topic.num.partitions": "5",
	}
	for key, value := range more {
		settings[key] = value
	}
	return settings
}

// Goal: kill -9 at random moments under transactions loses nothing committed, shows nothing aborted or in part, repeats
// nothing, leaves nothing open, and the offsets of groups are those of the transactions that are committed. Method:
// producers of both versions of transactions, some of which abort, take too long, or are replaced and go on; readers of
// all kinds live through the kills; what is there in the end is compared with all that they saw.
func TestTransactionsKillNine(t *testing.T) {
	runTxnPlan(t, TxnPlan{Plan: Plan{DataDir: t.TempDir(), Set: txnSettings(nil), Fault: killNine}})
}

// Goal: the same while partitions move between log directories and records are deleted from the starts of the logs,
// both in the midst of open transactions. Method: each partition moves all the time, some moves are killed, others end.
func TestTransactionsKillNineWhileMoving(t *testing.T) {
	moves := newMoves(t, txnTopic)
	plan := Plan{DataDir: moves.dataDir(), Set: txnSettings(nil), Fault: func(b *proc.Broker) error {
		if err := moves.begin(t.Context(), b); err != nil {
			return err
		}
		if moves.round%3 == 0 {
			return awaitMoves(t.Context(), b)
		}
		return moves.kill(b)
	}}
	runTxnPlan(t, TxnPlan{Plan: plan, Deletes: true, Topic: map[string]string{"segment.ms": "500"}})
	moves.check(t)
}

// Goal: the same while the cluster's version of transactions goes down and up again, and retention takes segments away,
// also those of open transactions. Method: the feature transaction.version is changed under load, before each kill.
func TestTransactionsKillNineWhileDowngrading(t *testing.T) {
	round := 0
	runTxnPlan(t, TxnPlan{
		Topic: map[string]string{"retention.bytes": "1048576", "file.delete.delay.ms": "0"},
		Plan: Plan{DataDir: t.TempDir(), Set: txnSettings(map[string]string{"log.retention.check.interval.ms": "500"}),
			Fault: func(b *proc.Broker) error {
				round++
				// Down, and both at work; a kill, and up again later.
				if round%2 == 1 {
					return setTransactionVersion(t.Context(), b.Bootstrap, []int16{1, 0, 1}[round/2%3])
				}
				return errors.Join(setTransactionVersion(t.Context(), b.Bootstrap, 2), killNine(b))
			}},
	})
}

// Goal: the same while the logs are compacted all the time, those of the coordinators too: what was aborted goes, with
// its markers, and nothing else. Method: each record has a key of its own; segments are rolled by time, so that there
// are many; the broker changes the codec of the load's topic.
func TestTransactionsKillNineWhileCompacting(t *testing.T) {
	dir, round := t.TempDir(), 0
	runTxnPlan(t, TxnPlan{
		Topic: map[string]string{"cleanup.policy": "compact", "compression.type": "lz4"},
		Plan: Plan{DataDir: dir, Set: txnSettings(map[string]string{
			"log.cleaner.backoff.ms": "200", "log.roll.ms": "1000", "log.cleaner.min.cleanable.ratio": "0.0001",
			"log.cleaner.delete.retention.ms": "100", "log.segment.delete.delay.ms": "0",
		}), Fault: func(b *proc.Broker) error {
			if round++; round < *rounds {
				return killNine(b)
			}
			all := []string{txnTopic, "__consumer_offsets", "__transaction_state"}
			return errors.Join((&node{Broker: b}).untilCompacted(dir, all...), killNine(b))
		}},
	})
}

func runTxnPlan(t *testing.T, plan TxnPlan) {
	t.Helper()
	plan.Rounds, plan.Seed, plan.Out = cmp.Or(plan.Rounds, *rounds), *seed, os.Stdout
	summary, err := plan.RunTransactions(t.Context())
	proved := summary.Committed > 0 && summary.Aborted > 0 && summary.Fenced > 0 && summary.ReadLive > 0 &&
		summary.ReadAborted > 0 && summary.Looks > 0 &&
		summary.Groups == (producers+slowProducers)*txnGroupPartitions &&
		summary.Clients[0] > 0 && summary.Clients[1] > 0 && summary.Zombies > 0 &&
		(summary.Deletions > 0 || !plan.Deletes)
	if err == nil && len(summary.Violations) == 0 && proved {
		return
	}
	t.Fatalf("%v\n%v\nagain: go test ./chaos -run '%s' -seed %d", err, summary, t.Name(), plan.Seed)
}

// setTransactionVersion changes the version of transactions that the cluster has agreed on.
func setTransactionVersion(ctx context.Context, bootstrap string, level int16) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	update := kadm.FeatureUpdate{Feature: "transaction.version", MaxVersionLevel: level, UpgradeType: 1}
	if level < 2 {
		update.UpgradeType = 2
	}
	answers, err := kadm.NewClient(client).UpdateFeatures(ctx, false, update)
	if err != nil {
		return err
	}
	for _, a := range answers {
		err = errors.Join(err, a.Err)
	}
	return err
}

// awaitMoves waits until no partition has a copy under way.
func awaitMoves(ctx context.Context, b *proc.Broker) error {
	ctx, cancel := context.WithTimeout(ctx, roundMax)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for {
		found, err := admin.DescribeAllLogDirs(ctx, nil)
		if err != nil {
			return fmt.Errorf("moves do not end: %w: %s", err, b.LogTail())
		}
		moving := false
		found.Each(func(d kadm.DescribedLogDir) {
			d.Topics.Each(func(p kadm.DescribedLogDirPartition) { moving = moving || p.IsFuture })
		})
		if !moving {
			return nil
		}
		if pause(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("moves do not end: %s", b.LogTail())
		}
	}
}
