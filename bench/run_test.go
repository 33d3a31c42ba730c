package bench

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"spate/bench/result"
	"spate/bench/spec"
	"spate/internal/proc"
	"spate/internal/task"
)

// testBroker runs the real broker for a test.
func testBroker(t *testing.T) Target {
	t.Helper()
	b, err := proc.Start(proc.Options{DataDir: t.TempDir(), Set: map[string]string{
		"spate.ack.durability": "page-cache", "transaction.state.log.num.partitions": "2",
		"offsets.topic.num.partitions": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop() })
	return Target{Bootstrap: b.Bootstrap, PID: b.PID}
}

// testClient is another client of the broker.
func testClient(t *testing.T, bootstrap string) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// checkNothingLeft wants no topic to be there after a run.
func checkNothingLeft(t *testing.T, bootstrap string) {
	t.Helper()
	topics, err := kadm.NewClient(testClient(t, bootstrap)).ListTopics(t.Context())
	if err != nil || len(topics) > 0 {
		t.Errorf("left behind: %v (%v)", topics.Names(), err)
	}
}

// workload makes a workload of "key=value key=value".
func workload(t *testing.T, kind, keys string) spec.Workload {
	t.Helper()
	given := map[string]string{"warm-up": "100ms"}
	if kind == "consume" {
		given = map[string]string{}
	}
	for pair := range strings.FieldsSeq(keys) {
		key, value, _ := strings.Cut(pair, "=")
		given[key] = value
	}
	w, err := spec.Parse(kind, given)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestRun runs every kind of workload for a moment: all that was written is read and verified, the series adds up to
// the totals, and no topic is left.
func TestRun(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	for _, c := range []struct{ name, kind, keys string }{
		{"produce", "produce", "duration=300ms"},
		{"produce a number of records, of many sizes, compressed", "produce",
			"records=2000 duration=0s warm-up=0s producers=3 compression=zstd compressible=50% " +
				"record-size=90%:100,10%:20KiB"},
		{"produce without idempotence", "produce", "duration=200ms acks=1 idempotent=false"},
		{"produce one record after another", "produce", "duration=200ms producers=4 in-flight=1"},
		{"produce with a ramp", "produce", "duration=300ms ramp-from=100 rate=2000 keys=zipf:100,1.1"},
		{"consume", "consume", "records=5000 readers=2 consumers=2"},
		{"end to end", "e2e", "duration=400ms rate=2000 producers=2"},
		{"steps", "e2e", "steps=500,1000 step-length=200ms"},
		{"a search", "e2e", "rate=100 rate-max=200 find=p99<20s step-length=200ms"},
		{"mixed", "mixed", "duration=200ms"},
		{"fan-out", "fan-out", "duration=300ms rate=500 readers=3"},
		{"catch-up", "catch-up", "duration=400ms rate=500 records=5000"},
		{"many partitions", "partitions", "duration=300ms rate=500 topics=3 partitions=10"},
		{"many connections", "connections", "duration=300ms rate=500 producers=20 idle-connections=30"},
		{"groups", "groups", "duration=2s rate=500 members=3 churn=700ms"},
		{"groups of the new protocol", "groups", "duration=2s rate=500 members=3 churn=700ms group-protocol=consumer"},
		{"transactions", "transactions", "duration=400ms txn-records=20 abort=30% producers=2"},
		{"transactions at a rate", "transactions", "duration=400ms txn-records=20 rate=1000 abort=0%"},
		{"not verified", "e2e", "duration=200ms rate=500 verify=false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := workload(t, c.kind, c.keys)
			phases := map[string]bool{}
			r, err := Run(t.Context(), target, w, RunOptions{Observe: func(p Progress) { phases[p.Phase] = true }})
			if err != nil || r.Failed() != nil {
				t.Fatalf("%v, %v\n%+v\n%v", err, r.Failed(), r.Verification, r.Errors)
			}
			if !w.Verify != (r.Verification.Outcome == result.VerifiedOff) || !r.Verification.OK() {
				t.Errorf("%+v", r.Verification)
			}
			checkSums(t, r)
			for _, want := range []string{result.PhasePrepare, result.PhaseLoad, result.PhaseCleanUp} {
				if !phases[want] {
					t.Errorf("no phase %s: %v", want, phases)
				}
			}
			t.Logf("%d produced, %d consumed, %d steps; %s", r.Totals.Produced.Records, r.Totals.Consumed.Records,
				len(r.Steps), r.Verification.Text)
		})
	}
	checkNothingLeft(t, target.Bootstrap)
}

// checkSums compares totals, series and histograms.
func checkSums(t *testing.T, r *result.Result) {
	t.Helper()
	var produced, consumed int64
	latencies := map[string]int64{}
	for _, s := range r.Seconds {
		if s.Phase == result.PhaseWarmUp {
			continue
		}
		produced += s.ProducedRecords
		consumed += s.ConsumedRecords
		for name, p := range s.Latencies {
			latencies[name] += p.Count
		}
	}
	if produced != r.Totals.Produced.Records || consumed != r.Totals.Consumed.Records || produced+consumed == 0 {
		t.Errorf("the series has %d produced and %d consumed, the totals %+v", produced, consumed, r.Totals)
	}
	for name, h := range r.Latencies {
		if h.Count() != latencies[name] {
			t.Errorf("%s: %d latencies in the series, %d in the histogram", name, latencies[name], h.Count())
		}
	}
	if r.Latencies[result.LatencyAck] != nil && r.Latencies[result.LatencyAck].Count() != produced {
		t.Errorf("%d latencies of %d acknowledgements", r.Latencies[result.LatencyAck].Count(), produced)
	}
}

// TestStall pauses the broker for half a second in the middle of a run at a fixed rate. Every record that was due
// meanwhile has waited for the rest of the pause, so the latencies of that stretch are spread evenly from nothing to
// the whole pause. A tool with coordinated omission sends nothing while it waits, and reports one slow record.
func TestStall(t *testing.T) {
	t.Parallel()
	const rate, pause = 1000, 500 * time.Millisecond
	target := testBroker(t)
	var paused time.Duration
	observe := func(p Progress) {
		if p.Phase != result.PhaseLoad || p.Second == nil || paused > 0 {
			return
		}
		if err := proc.Halt(target.PID); err != nil {
			t.Error(err)
		}
		began := time.Now() // what is measured is the least that the broker slept
		<-time.After(pause)
		paused = time.Since(began)
		if err := syscall.Kill(target.PID, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	w := workload(t, "e2e", fmt.Sprintf("rate=%d duration=6s warm-up=500ms", rate))
	r, err := Run(t.Context(), target, w, RunOptions{Observe: observe})
	if err != nil || r.Failed() != nil {
		t.Fatalf("%v, %v", err, r.Failed())
	}
	if paused == 0 {
		t.Fatal("the broker was not paused")
	}
	for _, name := range []string{result.LatencyEndToEnd, result.LatencyAck} {
		h := r.Latencies[name]
		due := paused.Seconds() * rate // while the broker slept
		for _, c := range []struct {
			share float64       // of these records
			least time.Duration // waited so long
		}{{0.02, paused * 95 / 100}, {0.2, paused * 75 / 100}, {0.45, paused / 2}, {0.7, paused / 4}} {
			percent := 100 - 100*c.share*due/float64(h.Count())
			if got := h.At(percent); got < c.least {
				t.Errorf("%s: p%.2f is %v; with a pause of %v it is at least %v", name, percent, got, paused, c.least)
			}
		}
		p := h.Percentiles()
		t.Logf("%s: a pause of %v; p50 %d µs, p90 %d, p99 %d, p99.9 %d, max %d of %d", name, paused, p.P50, p.P90,
			p.P99, p.P999, p.Max, p.Count)
		if time.Duration(p.P999)*time.Microsecond < paused*95/100 || p.Count != 6*rate {
			t.Errorf("%s: p99.9 is %d µs with a pause of %v", name, p.P999, paused)
		}
	}
}

// TestPlanted damages the topic of a run while it runs: with a copy of a record, with a changed one, and by deleting
// the first ones. The run says so, with partition and offset.
func TestPlanted(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	for _, c := range []struct {
		name, want string
		plant      func(ctx context.Context, client *kgo.Client, first *kgo.Record) error
	}{
		{"nothing", "", func(context.Context, *kgo.Client, *kgo.Record) error { return nil }},
		{"a copy", "1 duplicated of ", func(ctx context.Context, client *kgo.Client, first *kgo.Record) error {
			return client.ProduceSync(ctx, &kgo.Record{Topic: first.Topic, Value: first.Value}).FirstErr()
		}},
		{"a changed byte", "1 corrupted of ", func(ctx context.Context, client *kgo.Client, first *kgo.Record) error {
			first.Value[100] ^= 1
			return client.ProduceSync(ctx, &kgo.Record{Topic: first.Topic, Value: first.Value}).FirstErr()
		}},
		{"a loss", "7 lost of ", func(ctx context.Context, client *kgo.Client, first *kgo.Record) error {
			return deleteFirst(ctx, client, first.Topic, 7)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic := "planted-" + strings.ReplaceAll(c.name, " ", "-")
			client, err := kgo.NewClient(kgo.SeedBrokers(target.Bootstrap), kgo.ConsumeTopics(topic),
				kgo.MetadataMinAge(10*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			planted := false
			observe := func(p Progress) {
				if p.Phase != result.PhaseLoad || p.Second == nil || planted {
					return
				}
				planted = true
				fetches := client.PollFetches(t.Context())
				if err := fetches.Err(); err != nil {
					t.Error(err)
				} else if err := c.plant(t.Context(), client, fetches.Records()[0]); err != nil {
					t.Error(err)
				}
			}
			w := workload(t, "produce", "rate=200 duration=4s warm-up=0s drain=1s partitions=1 topic="+topic)
			r, err := Run(t.Context(), target, w, RunOptions{Observe: observe})
			if err != nil || !planted {
				t.Fatal(err, planted)
			}
			text := fmt.Sprint(r.Failed())
			if c.want == "" && r.Failed() != nil || !strings.Contains(text, c.want) ||
				c.want != "" && !strings.Contains(text, topic+", partition 0, offset ") {
				t.Errorf("%s, want %q", text, c.want)
			}
			t.Log(r.Verification.Text)
		})
	}
}

// deleteFirst deletes the first records of a topic of one partition.
func deleteFirst(ctx context.Context, client *kgo.Client, topic string, count int64) error {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, At: count})
	responses, err := kadm.NewClient(client).DeleteRecords(ctx, offsets)
	if err == nil {
		err = responses.Error()
	}
	return err
}

// plantOnce damages a topic when the run enters a phase, while the run waits.
func plantOnce(t *testing.T, phase string, plant func() error) (o RunOptions, planted func() bool) {
	done := false
	return RunOptions{Observe: func(p Progress) {
		if p.Phase == phase && !done {
			done = true
			if err := plant(); err != nil {
				t.Error(err)
			}
		}
	}}, func() bool { return done }
}

// TestPlantedBehind plants a copy behind everything that is due, and behind more than a fetch gives, so that a reader
// has all that it waits for long before it comes to the copy.
func TestPlantedBehind(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	if err := CreateTopic(t.Context(), target, "behind", 1); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(target.Bootstrap), kgo.ConsumeTopics("behind"),
		kgo.DefaultProduceTopic("behind"), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	o, planted := plantOnce(t, result.PhaseVerify, func() error {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			return err
		}
		var records []*kgo.Record
		for range 32 { // of others, which are passed over
			records = append(records, &kgo.Record{Value: randomBytes(500_000)})
		}
		records = append(records, &kgo.Record{Value: fetches.Records()[0].Value})
		return client.ProduceSync(t.Context(), records...).FirstErr()
	})
	w := workload(t, "produce", "records=100 duration=0s warm-up=0s partitions=1 topic=behind reuse-topic=true")
	r, err := Run(t.Context(), target, w, o)
	if err != nil || !planted() {
		t.Fatal(err, planted())
	}
	if text := fmt.Sprint(r.Failed()); !strings.HasPrefix(text, "1 duplicated of 100 records") ||
		!strings.Contains(text, "behind, partition 0, offset 132: ") {
		t.Error(text)
	}
}

// TestPlantedGivenUp deletes records before a reader comes to them, and gives the run up while it waits for them: that
// they are lost is known from the record that came instead.
func TestPlantedGivenUp(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	client := testClient(t, target.Bootstrap)
	giveUp := make(chan struct{})
	o, planted := plantOnce(t, result.PhaseVerify, func() error {
		return deleteFirst(t.Context(), client, "given-up", 7)
	})
	plant, given := o.Observe, false
	o.GiveUp, o.Observe = giveUp, func(p Progress) {
		plant(p)
		if p.Phase == result.PhaseVerify && p.Fraction > 0 && !given {
			given = true
			close(giveUp)
		}
	}
	w := workload(t, "produce", "records=100 duration=0s warm-up=0s partitions=1 topic=given-up")
	r, err := Run(t.Context(), target, w, o)
	if err != nil || !planted() || !given {
		t.Fatal(err, planted(), given)
	}
	if text := fmt.Sprint(r.Failed()); !strings.HasPrefix(text, "7 lost of 100 records") {
		t.Error(text)
	}
}

// TestTransactionsBehindAnOpenOne: somebody's transaction keeps readers from what is committed behind it for longer
// than the run waits for records. Nothing is lost.
func TestTransactionsBehindAnOpenOne(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	if err := CreateTopic(t.Context(), target, "held", 1); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(target.Bootstrap), kgo.DefaultProduceTopic("held"),
		kgo.TransactionalID("holder"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Value: []byte("of somebody else")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var ended task.Group
	defer ended.Wait()
	o, _ := plantOnce(t, result.PhaseDrain, func() error {
		ended.Go("end the transaction", func() {
			<-time.After(time.Second)
			if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
				t.Error(err)
			}
		})
		return nil
	})
	w := workload(t, "transactions", "records=200 duration=0s warm-up=0s drain=200ms abort=0% partitions=1 "+
		"topic=held reuse-topic=true")
	r, err := Run(t.Context(), target, w, o)
	if err != nil || r.Failed() != nil || r.Verification.Checked != 200 {
		t.Errorf("%v, %v, %+v", err, r.Failed(), r.Verification)
	}
}

// TestPlantedUnverified deletes records before a reader comes to them: it is an error that they do not arrive, though
// nothing is verified.
func TestPlantedUnverified(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	client := testClient(t, target.Bootstrap)
	o, planted := plantOnce(t, result.PhaseLoad, func() error {
		return deleteFirst(t.Context(), client, "unverified", 7)
	})
	w := workload(t, "catch-up", "records=1000 rate=200 duration=600ms warm-up=0s drain=1s partitions=1 verify=false "+
		"topic=unverified")
	r, err := Run(t.Context(), target, w, o)
	if err != nil || !planted() {
		t.Fatal(err, planted())
	}
	if text := fmt.Sprint(r.Failed()); text != "1 error: 7 records did not arrive" {
		t.Error(text)
	}
}

// TestKilled kills the broker in the middle of a run: the run ends, by itself or when it is interrupted, and calls
// nothing lost of which it cannot know.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, interrupted := range []bool{false, true} {
		target := testBroker(t)
		ctx, cancel := context.WithCancel(t.Context())
		killed := false
		o := RunOptions{patience: time.Hour, Observe: func(p Progress) {
			s := p.Second
			if s == nil || s.Phase != result.PhaseLoad || s.ProducedRecords == 0 || killed {
				return
			}
			killed = true
			if err := syscall.Kill(target.PID, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			if interrupted {
				cancel()
			}
		}}
		if !interrupted {
			o.patience = 3 * time.Second
		}
		r, err := Run(ctx, target, workload(t, "produce", "duration=1h drain=1s keep-topic=true"), o)
		cancel()
		v := r.Verification
		if err != nil || !killed || r.Failed() == nil || v.Outcome != result.VerifiedIncomplete || v.Lost > 0 ||
			v.Unknown == 0 || r.Totals.Produced.Records == 0 {
			t.Errorf("interrupted %v: %v, %v, %+v, %+v", interrupted, err, r.Failed(), r.Totals, v)
		}
		t.Log(r.Failed(), v.Text)
	}
}

// TestInterrupt ends a run early: the result so far is there, and is whole.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	for _, kind := range []string{"produce", "e2e", "transactions"} {
		ctx, cancel := context.WithCancel(t.Context())
		w := workload(t, kind, "duration=1h")
		r, err := Run(ctx, target, w, RunOptions{Observe: func(p Progress) {
			if s := p.Second; s != nil && s.Phase == result.PhaseLoad && s.ProducedRecords > 0 {
				cancel()
			}
		}})
		cancel()
		if err != nil || !r.Interrupted || r.Verification.Outcome != result.VerifiedOK ||
			r.Totals.Produced.Records == 0 || r.Totals.Errors > 0 {
			t.Errorf("%s: %v, %+v, %+v", kind, err, r.Totals, r.Verification)
		}
	}
}

// TestInterruptSteps ends a run in its first step: the others are not run, and its rate is that of the time it took.
func TestInterruptSteps(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	for kind, keys := range map[string]string{"e2e": "steps=500,600,700 step-length=1h",
		"catch-up": "rate=500 duration=1h records=1000"} {
		ctx, cancel := context.WithCancel(t.Context())
		produced, took := int64(0), 0.0
		r, err := Run(ctx, target, workload(t, kind, keys), RunOptions{Observe: func(p Progress) {
			if p.Second == nil || p.Phase != result.PhaseLoad {
				return
			}
			produced, took = produced+p.Second.ProducedRecords, took+p.Second.Length
			if produced >= 1000 && float64(produced) > 250*took { // not right after the machine stood still
				cancel()
			}
		}})
		cancel()
		if err != nil || !r.Interrupted || r.Failed() != nil || len(r.Steps) != 1 || r.Steps[0].Achieved < 100 {
			t.Errorf("%s: %v, %v, %+v", kind, err, r.Failed(), r.Steps)
		}
	}
}

// TestGivenUp ends a run in the middle and waits for nothing: what was on its way is no error.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	for _, kind := range []string{"produce", "transactions"} {
		giveUp, given := make(chan struct{}), false
		r, err := Run(t.Context(), target, workload(t, kind, "duration=1h"), RunOptions{GiveUp: giveUp,
			Observe: func(p Progress) {
				if p.Second != nil && p.Phase == result.PhaseLoad && !given {
					given = true
					close(giveUp)
				}
			}})
		if err != nil || r.Failed() != nil || r.Verification.Outcome != result.VerifiedIncomplete {
			t.Errorf("%s: %v, %v, %+v", kind, err, r.Failed(), r.Verification)
		}
	}
}

// TestInterruptEarly ends a run before its load: nothing is wrong, and nothing was found out.
func TestInterruptEarly(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Run(ctx, target, workload(t, "consume", "records=1000000000"), RunOptions{Observe: func(p Progress) {
		if p.Phase == result.PhaseFill && p.Fraction > 0 {
			cancel()
		}
	}})
	if err != nil || !r.Interrupted || r.Verification.Outcome != result.VerifiedIncomplete || r.Failed() != nil ||
		r.Totals.Consumed.Records != 0 {
		t.Errorf("%v, %+v, %+v", err, r.Totals, r.Verification)
	}
}

// TestTopics: what cannot be made is said, with what to do; a topic that was there is used on request, and stays.
func TestTopics(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	if err := CreateTopic(t.Context(), target, "there", 3); err != nil {
		t.Fatal(err)
	}
	for keys, want := range map[string]string{
		"topic=there":                     "topic there exists already: leave --topic away",
		"topic=there reuse-topic=true":    "topic there has 3 partitions, not 6: say --partitions 3",
		"replication-factor=3":            "the cluster has too few brokers for --replication-factor 3",
		"topic-config=retention.ms=never": "create topic",
		"topic=there reuse-topic=true partitions=3 duration=200ms": "",
		"topic=new keep-topic=true duration=200ms":                 "",
	} {
		r, err := Run(t.Context(), target, workload(t, "e2e", keys), RunOptions{})
		if err == nil {
			err = r.Failed()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", keys, err, want)
		}
	}
	for keys, told := range map[string]bool{"": false, "replication-factor=1": true,
		"topic-config=retention.ms=1000": true} {
		w := workload(t, "produce", "topic=there reuse-topic=true partitions=3 records=10 duration=0s warm-up=0s "+keys)
		r, err := Run(t.Context(), target, w, RunOptions{})
		if err != nil || told != strings.Contains(strings.Join(r.Notes, "\n"), "topic there was there and stays") {
			t.Errorf("%s: %v, %q", keys, err, r.Notes)
		}
	}
	client := testClient(t, target.Bootstrap)
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil || !topics.Has("there") || !topics.Has("new") || len(topics) != 2 {
		t.Errorf("%v (%v)", topics.Names(), err)
	}
}
