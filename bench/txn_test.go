package bench

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// Goal: the workloads of transactions commit what they say, and notice what is missing or there twice. Method: a few
// transactions against a broker; then a reader of committed records counts.
func TestTransactions(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	buildBroker(t)
	b, err := proc.Start(proc.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Kill()
	target := Target{Bootstrap: b.Bootstrap, PID: b.PID}
	for _, topic := range []string{"counted", "timed"} {
		if err := CreateTopic(ctx, target, topic, 3); err != nil {
			t.Fatal(err)
		}
	}
	x := Transactions{Topic: "counted", Producers: 3, Each: 5, Records: 20, RecordBytes: 100}
	sample, err := x.Run(ctx, target)
	if err != nil || sample.Records != 300 || sample.Bytes != 30_000 || sample.P50 <= 0 || sample.P99 < sample.P50 {
		t.Fatalf("%+v, %v", sample, err)
	}
	t.Logf("%d transactions in %v", x.Count(), sample.Elapsed)
	if got := countCommitted(ctx, t, target, "counted", 3, 300); got != 300 {
		t.Fatalf("%d records are committed", got)
	}
	e := TransactionsEndToEnd{Topic: "timed", Partitions: 3, Producers: 4, RatePerSec: 100, Length: time.Second,
		Records: 3, RecordBytes: 100}
	sample, err = e.Run(ctx, target)
	if err != nil || sample.Records != 300 || sample.P50 <= 0 || sample.P99 < sample.P50 {
		t.Fatalf("%+v, %v", sample, err)
	}
	if _, err := e.Run(ctx, target); err == nil {
		t.Error("records that are there from before are not noticed")
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
}

// countCommitted counts what a reader of committed records finds, until there is as much as is wanted.
func countCommitted(ctx context.Context, t *testing.T, target Target, topic string, partitions int32, want int) int {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(target.Bootstrap), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(fromStart(topic, partitions)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	n := 0
	for n < want {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
	return n
}
