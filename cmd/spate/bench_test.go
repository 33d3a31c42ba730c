package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	benchresult "spate/bench/result"
	"spate/internal/task"
)

// TestBenchUsage: what is wrong is said before anything is done, and what to do.
func TestBenchUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "w.yaml")
	if err := os.WriteFile(file, []byte("workload: e2e\nrte: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"e2e", "--rate", "fast"}, exitUsage, `rate: "fast" is no rate`},
		{[]string{"e2e", "--rates", "5"}, exitUsage, "--rates"},
		{[]string{"e2e", "orders"}, exitUsage, "usage: spate bench e2e"},
		{[]string{"e2", "--rate", "5"}, exitUsage, "e2e"},
		{[]string{"run", file}, exitUsage, "rte: there is no such key; did you mean rate?"},
		{[]string{"run", file + "x"}, exitUsage, "no such file"},
		{[]string{"run", file, "--set", "rate"}, exitUsage, "must be key=value"},
		{[]string{"e2e", "--pid", "99999999"}, exitUsage, "--pid 99999999: its processor time cannot be read"},
		{[]string{"e2e", "--result", "/nowhere/x.json"}, exitUsage, "there is no directory /nowhere"},
		{[]string{"e2e", "-b", "127.0.0.1:1"}, exitFailure, `start a broker with "spate broker"`},
	} {
		r := spate(t, "", append([]string{"bench"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.err, c.err) {
			t.Errorf("%v: status %d, want %d with %q\n%s", c.args, r.code, c.code, c.err, r.err)
		}
	}
}

// TestBench runs a workload from a file: the table, the JSON and the histograms say the same.
func TestBench(t *testing.T) {
	b, _ := startBroker(t, nil)
	dir := t.TempDir()
	file, out := filepath.Join(dir, "small.yaml"), filepath.Join(dir, "small.json")
	text := "workload: e2e\nrate: 100\nduration: 300ms\nwarm-up: 100ms\npartitions: 2\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := spate(t, "", "bench", "run", file, "-b", b.Bootstrap, "--set", "rate=200", "--result", out, "--hgrm",
		filepath.Join(dir, "small"))
	for _, want := range []string{"small (e2e): ", "rate=200", "(Spate, acknowledged when flushed to disk)",
		"  produced  60 ", "  consumed  60 ", "LATENCY, MS", "end to end",
		"verification  ok: 80 records read by 1 reader"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("status %d, no %q in\n%s%s", r.code, want, r.out, r.err)
		}
	}
	in, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	found, err := benchresult.Read(in)
	if err != nil || found.Totals.Produced.Records != 60 || found.Workload != "e2e" || found.Name != "small" {
		t.Errorf("%+v (%v)", found, err)
	}
	for _, name := range []string{"ack", "end-to-end"} {
		if text, err := os.ReadFile(filepath.Join(dir, "small-"+name+".hgrm")); err != nil ||
			!strings.Contains(string(text), "1/(1-Percentile)") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	r = spate(t, "", "bench", "produce", "-b", b.Bootstrap, "--records", "100", "--duration", "0", "--warm-up", "0",
		"-o", "json", "-q")
	if found, err = benchresult.Read(strings.NewReader(r.out)); err != nil || r.code != 0 || r.err != "" ||
		found.Totals.Produced.Records != 100 {
		t.Errorf("status %d, %+v (%v)\n%s", r.code, found, err, r.err)
	}
}

// TestBenchDamaged writes a record of the run's topic a second time, while it runs: the command fails, and names
// partition and offset.
func TestBenchDamaged(t *testing.T) {
	b, _ := startBroker(t, nil)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Bootstrap), kgo.ConsumeTopics("damaged"),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond })) // it has to be there in time
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var other task.Group
	other.Go("test: damage", func() {
		for ctx.Err() == nil { // until the topic is there
			if records := client.PollFetches(ctx).Records(); len(records) > 0 {
				again := &kgo.Record{Topic: "damaged", Partition: records[0].Partition, Value: records[0].Value}
				if err := client.ProduceSync(ctx, again).FirstErr(); err != nil {
					t.Error(err)
				}
				return
			}
		}
	})
	r := spate(t, "", "bench", "produce", "-b", b.Bootstrap, "--topic", "damaged", "--partitions", "1", "--rate", "100",
		"--duration", "5s", "--warm-up", "0")
	cancel()
	other.Wait()
	if r.code != exitFailure || !strings.Contains(r.out, "verification  FAILED: 1 duplicated of 500 records") ||
		!strings.Contains(r.err, "spate: 1 duplicated of 500 records; the first: damaged, partition 0, offset ") {
		t.Errorf("status %d\n%s%s", r.code, r.out, r.err)
	}
}
