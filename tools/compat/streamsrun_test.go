package compat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// streamsWork is what a Kafka Streams application is given to do, and knows what must come out. The run calls it with
// its lock held.
type streamsWork interface {
	// application is its name in Streams.java.
	application() string
	// topics to make, with their configs; the first is the one of the results.
	topics() []streamsTopic
	inputs() []string
	// first makes what is written before any instance starts.
	first() []*kgo.Record
	// next makes records to write, with their partitions.
	next() []*kgo.Record
	// flush makes records that bring out the last results, after all that next has made; none if that is not needed.
	flush() []*kgo.Record
	// result takes a result in the order of its partition, and says what is wrong with it.
	result(r *kgo.Record) error
	// missing is how many results are still to come, and which one, say.
	missing() (int, string)
}

type streamsTopic struct {
	name    string
	configs map[string]*string
}

const (
	streamsPartitions = 4
	// How long a batch of records that the writer sends may be apart from the next.
	streamsPause = 10 * time.Millisecond
	// The writer waits for an application that is this many results behind: a slow machine gets less to do.
	streamsBehind = 3000
	// awaitStreamsWithin bounds every wait: a transaction's timeout, a session's, and a restore on a busy machine
	// fit in it many times.
	awaitStreamsWithin = 3 * time.Minute
)

// streamsRun is an application in several instances, a writer of its input and a reader of its results.
type streamsRun struct {
	*testing.T
	target *target
	work   streamsWork
	app    string            // application.id
	config map[string]string // of Kafka Streams, beside those of every run
	dir    string

	instances map[string]*streamsInstance
	client    *kgo.Client // the writer's and the administrator's
	admin     *kadm.Client
	stopWrite context.CancelFunc
	writing   sync.WaitGroup
	reading   sync.WaitGroup

	mu       sync.Mutex
	written  map[string][]string // by partition, in the order in which it was given to the client
	acked    int
	results  int
	heard    map[int32][]string // by partition, what the reader saw as it came
	wrong    []string           // what must not have happened
	aborted  int                // records of results
	restored int                // records read from changelogs
	kills    map[string]int
	// Why threads of instances ended, to be replaced. This is not wrong in itself: a broker that is away for longer
	// than a transaction may take ends them too.
	threadsEnded []string
}

// streamsInstance is one process of an application, which may be killed and started again.
type streamsInstance struct {
	name  string
	dir   string
	host  *host
	state string // as it said last; "" when it does not run; under the run's lock
}

// startStreams makes the topics, and begins to write and to read. The version is that of transactions.
func startStreams(t *testing.T, w streamsWork, version int16, config map[string]string) *streamsRun {
	t.Helper()
	settings := groupSettings()
	settings["transaction.state.log.num.partitions"] = "5"
	settings["transaction.abort.timed.out.transaction.cleanup.interval.ms"] = "1000"
	settings["log.cleaner.backoff.ms"] = "500"
	r := &streamsRun{
		T: t, work: w, app: "app-" + w.application(), config: config, dir: t.TempDir(),
		target:    startTarget(t, settings),
		instances: map[string]*streamsInstance{}, heard: map[int32][]string{},
		written: map[string][]string{}, kills: map[string]int{},
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(r.target.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	r.must(err)
	r.client, r.admin = client, adminOf(client)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		r.writing.Wait()
		r.reading.Wait()
		client.Close()
	})
	for _, topic := range w.topics() {
		_, err := r.admin.CreateTopic(ctx, streamsPartitions, 1, topic.configs, topic.name)
		r.must(err)
	}
	r.must(client.ProduceSync(ctx, w.first()...).FirstErr())
	r.must(setTransactionVersion(ctx, client, version))
	r.reading.Go(func() { r.read(ctx) })
	writeCtx, stop := context.WithCancel(ctx)
	r.stopWrite = stop
	r.writing.Go(func() { r.write(writeCtx, ctx) })
	return r
}

func (r *streamsRun) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *streamsRun) complain(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.complainLocked(format, args...)
}

func (r *streamsRun) complainLocked(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// write sends what the work makes, until ctx ends; what is sent until then is acknowledged unless all ends.
func (r *streamsRun) write(ctx, all context.Context) {
	for tick := time.NewTicker(streamsPause); ctx.Err() == nil; {
		select {
		case <-tick.C:
			var records []*kgo.Record
			r.mu.Lock()
			if missing, _ := r.work.missing(); missing < streamsBehind {
				records = r.work.next()
			}
			r.mu.Unlock()
			r.produce(all, records)
		case <-ctx.Done():
		}
	}
	if err := r.client.Flush(all); err != nil && all.Err() == nil {
		r.complain("flush: %v", err)
	}
}

func (r *streamsRun) produce(ctx context.Context, records []*kgo.Record) {
	for _, record := range records {
		r.mu.Lock()
		at := fmt.Sprintf("%s-%d", record.Topic, record.Partition)
		r.written[at] = append(r.written[at], resultText(record))
		r.mu.Unlock()
		r.client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil && ctx.Err() == nil {
				r.complain("produce: %v", err)
			}
			r.mu.Lock()
			r.acked++
			r.mu.Unlock()
		})
	}
}

// read hands all committed results to the work, as they come.
func (r *streamsRun) read(ctx context.Context) {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.target.bootstrap), kgo.ConsumeTopics(r.work.topics()[0].name),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		r.complain("reader: %v", err)
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil && !errors.Is(err, kerr.UnknownTopicOrPartition) { // Kafka's begin late
				r.complain("reading %s %d: %v", topic, partition, err)
			}
		})
		r.mu.Lock()
		fetches.EachRecord(func(record *kgo.Record) {
			r.results++
			r.heard[record.Partition] = append(r.heard[record.Partition], resultText(record))
			if err := r.work.result(record); err != nil {
				r.complainLocked("%s %d at %d: %v", record.Topic, record.Partition, record.Offset, err)
			}
		})
		r.mu.Unlock()
	}
}

func resultText(record *kgo.Record) string { return fmt.Sprintf("%s %s", record.Key, record.Value) }

// start runs an instance: a new one, or one that was killed, with the state that it has left.
func (r *streamsRun) start(name string) {
	r.Helper()
	classes, err := compileJava("streams")
	r.must(err)
	i := r.instances[name]
	if i == nil {
		i = &streamsInstance{name: name, dir: filepath.Join(r.dir, name)}
		r.instances[name] = i
	}
	tmp := filepath.Join(i.dir, "tmp") // RocksDB leaves its library here when it is killed
	r.must(os.RemoveAll(tmp))
	r.must(os.MkdirAll(tmp, 0o755))
	config := map[string]string{
		"bootstrap.servers": r.target.bootstrap, "application.id": r.app, "client.id": name,
		"state.dir": i.stateDir(), "processing.guarantee": "exactly_once_v2", "statestore.cache.max.bytes": "0",
		"main.consumer.session.timeout.ms": fmt.Sprint(sessionMs), "heartbeat.interval.ms": fmt.Sprint(heartbeatMs),
		"main.consumer.auto.offset.reset": "earliest", "repartition.purge.interval.ms": "500",
		"reconnect.backoff.max.ms": "500", "retry.backoff.max.ms": "500", "metadata.max.age.ms": "5000",
		// So that the log holds much of a transaction that is killed.
		"commit.interval.ms": "300", "producer.linger.ms": "0",
		// So that the stores are restored from topics that were compacted.
		"topic.segment.ms": "2000", "topic.min.cleanable.dirty.ratio": "0.01",
	}
	for key, value := range r.config {
		config[key] = value
	}
	args := []string{r.work.application()}
	for key, value := range config {
		args = append(args, key+"="+value)
	}
	flags := []string{"-Xmx256M", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.io.tmpdir=" + tmp}
	cmd, err := proc.JavaProgram(context.Background(), flags, classes+":"+classes+"/lib/*", "Streams", args...)
	r.must(err)
	r.mu.Lock()
	i.state = "STARTED"
	r.mu.Unlock()
	i.host = startHost(r.T, cmd, func(_ string, e *memberEvent) { r.event(i, e) })
}

func (i *streamsInstance) stateDir() string { return filepath.Join(i.dir, "state") }

func (r *streamsRun) event(i *streamsInstance, e *memberEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Name {
	case "state":
		i.state = e.Value
	case "restored":
		var count int
		_, _ = fmt.Sscan(e.Value, &count)
		r.restored += count
	case "exception":
		r.threadsEnded = append(r.threadsEnded, fmt.Sprintf("%s: %s", i.name, e.Value))
	}
}

// kill ends an instance by SIGKILL.
func (r *streamsRun) kill(name string) {
	i := r.instances[name]
	i.host.kill()
	r.mu.Lock()
	defer r.mu.Unlock()
	i.state = ""
	r.kills["instance"]++
}

// wipe removes the stores, and the name by which a killed instance would have ended its own transaction.
func (r *streamsRun) wipe(name string) {
	r.Helper()
	r.must(os.RemoveAll(r.instances[name].stateDir()))
	r.kills["state"]++
}

func (r *streamsRun) killBroker() {
	r.target.kill()
	r.kills["broker"]++
}

// pause stops an instance for longer than its session, and has it go on: it must not do so as if nothing had been.
func (r *streamsRun) pause(name string) {
	r.Helper()
	pid := r.instances[name].host.cmd.Process.Pid
	r.must(syscall.Kill(-pid, syscall.SIGSTOP))
	r.await("the group without "+name, func() bool {
		groups, err := r.admin.DescribeGroups(r.Context(), r.app)
		if err != nil || groups[r.app].Err != nil || groups[r.app].State != "Stable" {
			return false
		}
		return !slices.ContainsFunc(groups[r.app].Members, func(m kadm.DescribedGroupMember) bool {
			return strings.HasPrefix(m.ClientID, name+"-")
		})
	})
	r.must(syscall.Kill(-pid, syscall.SIGCONT))
	r.kills["pause"]++
}

// await waits until all is as wished. It fails at once when something has gone wrong.
func (r *streamsRun) await(what string, ready func() bool) {
	r.Helper()
	began := time.Now()
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if ready() {
			return
		}
		r.mu.Lock()
		wrong, states := slices.Clone(r.wrong), map[string]string{}
		for name, i := range r.instances {
			states[name] = i.state
		}
		missing, which := r.work.missing()
		so := fmt.Sprintf("wrote %d, read %d, missing %d (%s), instances %v", r.acked, r.results, missing,
			which, states)
		r.mu.Unlock()
		if len(wrong) > 0 {
			r.inputAsWritten(false)
			r.Fatalf("waiting for %s: %s; wrong:\n%s", what, so, strings.Join(wrong[:min(20, len(wrong))], "\n"))
		}
		if time.Since(began) > awaitStreamsWithin {
			r.Fatalf("waiting for %s: %s", what, so)
		}
	}
}

// awaitResults waits until all instances run, and all results are there of what is written now.
func (r *streamsRun) awaitResults(what string) {
	r.Helper()
	began := time.Now()
	r.mu.Lock()
	missing, _ := r.work.missing()
	want := r.results + missing
	r.mu.Unlock()
	r.await(what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, i := range r.instances {
			if i.state != "" && i.state != "RUNNING" {
				return false
			}
		}
		return r.results >= want
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Logf("%v after %s: wrote %d, read %d", time.Since(began).Round(time.Millisecond), what, r.acked, r.results)
}

// awaitEnd waits until the process of an instance has ended.
func (r *streamsRun) awaitEnd(i *streamsInstance) {
	r.Helper()
	select {
	case <-i.host.ended:
	case <-time.After(awaitStreamsWithin):
		r.Fatalf("the instance %s does not end within %v", i.name, awaitStreamsWithin)
	}
}
