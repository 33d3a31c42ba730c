package compat

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/proc"
)

// streamsStep is a second's worth of results.
const streamsStep = 400

// streamsVariants are ways to run an application. But for the first they are for -long.
var streamsVariants = []struct {
	name    string
	version int16 // of transactions
	config  map[string]string
}{
	{"stores in RocksDB", 2, nil},
	{"stores in memory with standby replicas and transaction.version 1", 1, map[string]string{
		"num.standby.replicas": "1",
		"dsl.store.suppliers.class": "org.apache.kafka.streams.state." +
			"BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers",
	}},
}

// eachStreamsVariant runs a test in its variants.
func eachStreamsVariant(t *testing.T, what string, prepare func() streamsWork, more map[string]string,
	check func(r *streamsRun)) {
	for n, v := range streamsVariants {
		if n > 0 && !*long {
			continue
		}
		t.Run(what+" with "+v.name, func(t *testing.T) {
			t.Parallel()
			config := maps.Clone(more)
			maps.Copy(config, v.config)
			r := startStreams(t, prepare(), v.version, config)
			r.faults()
			r.finish()
			r.exactlyHeard()
			check(r)
			noteStreams(what, v.name, r)
		})
	}
}

// Goal: Kafka Streams with exactly_once_v2 counts words exactly: each count of each word comes out once and in order;
// with -long also the names that a global table gives the words.
// Method: two instances, which are killed, with and without the loss of their stores, as the broker is.
func TestStreamsWordCount(t *testing.T) {
	t.Parallel()
	counts := map[string]bool{"word count": false}
	if *long {
		counts["count by a global table"] = true
	}
	for what, names := range counts {
		prepare := func() streamsWork { return newWordCount(names) }
		eachStreamsVariant(t, what, prepare, map[string]string{}, (*streamsRun).countedExactly)
	}
}

func (r *streamsRun) countedExactly() {
	r.Helper()
	r.committedAll(0)
	r.latest(r.work.(*wordCount))
	repartition := r.app + "-words-repartition"
	r.internalTopics(map[string]map[string]string{
		repartition:                {"cleanup.policy": "delete", "retention.ms": "-1", "segment.bytes": "52428800"},
		r.app + "-store-changelog": {"cleanup.policy": "compact"},
	})
	r.purged(repartition)
}

// Goal: a windowed join of two streams gives each pair once, and each record that has none once.
// Method: as for the word count.
func TestStreamsJoin(t *testing.T) {
	t.Parallel()
	// Without the wait for the other side, records that arrive late for their time would remain alone at once.
	wait := map[string]string{"max.task.idle.ms": "600000"}
	prepare := func() streamsWork { return newWindowJoin() }
	eachStreamsVariant(t, "windowed join, inner and outer", prepare, wait, func(r *streamsRun) {
		// It waits for the other side behind the last of the records that end the windows.
		r.committedAll(r.work.(*windowJoin).ends)
		window := map[string]string{"cleanup.policy": "delete", "retention.ms": "90000400"}
		r.internalTopics(map[string]map[string]string{
			"app-join-inner-this-join-store-changelog":         window,
			"app-join-inner-other-join-store-changelog":        window,
			"app-join-outer-outer-this-join-store-changelog":   window,
			"app-join-outer-outer-other-join-store-changelog":  window,
			"app-join-outer-outer-shared-join-store-changelog": {"cleanup.policy": "compact"},
		})
	})
}

// faults starts two instances and kills what there is, one after the other and at once; with -long at random.
func (r *streamsRun) faults() {
	r.Helper()
	r.start("a")
	r.start("b")
	r.awaitResults("the start")
	r.await("some more results", r.more(streamsStep))
	r.kill("a")
	r.awaitResults("b has taken over")
	r.start("a")
	r.awaitResults("a is back")
	r.kill("b")
	r.wipe("b")
	r.start("b")
	r.awaitResults("b is back without its stores")
	r.killBroker()
	r.must(r.target.start())
	r.awaitResults("the broker is back")
	r.kill("a")
	r.killBroker()
	r.kill("b")
	r.wipe("a")
	r.must(r.target.start())
	r.start("a")
	r.start("b")
	r.awaitResults("all are back")
	if *long {
		r.randomFaults(4 * time.Minute)
	}
}

func (r *streamsRun) randomFaults(d time.Duration) {
	r.Helper()
	seed := uint64(time.Now().UnixNano())
	r.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for until := time.Now().Add(d); time.Now().Before(until); {
		one := []string{"a", "b"}[random.IntN(2)]
		r.await("some more results", r.more(random.IntN(2*streamsStep)))
		switch random.IntN(6) {
		case 0:
			r.killBroker()
			r.must(r.target.start())
		case 1:
			r.pause(one)
		case 2:
			r.kill(one)
			r.killBroker()
			r.must(r.target.start())
			r.start(one)
		default:
			r.kill(one)
			if random.IntN(2) == 0 {
				r.wipe(one)
			}
			r.await("the other's results", r.more(random.IntN(streamsStep)))
			r.start(one)
		}
		if random.IntN(3) > 0 { // else the next fault meets the recovery from this one
			r.awaitResults("a fault")
		}
	}
	r.awaitResults("the last fault")
}

func (r *streamsRun) more(n int) func() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := r.results + n
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.results >= want
	}
}

// finish stops the writer, waits for all results, and ends the instances and their transactions.
func (r *streamsRun) finish() {
	r.Helper()
	r.stopWrite()
	r.writing.Wait()
	var flushed time.Time
	r.await("the last results", func() bool {
		if !flushed.IsZero() && r.complete() { // before, some are not known to be missing
			return true
		}
		if time.Since(flushed) > time.Second {
			flushed = time.Now()
			r.mu.Lock()
			records := r.work.flush()
			r.mu.Unlock()
			r.produce(r.Context(), records)
		}
		return false
	})
	r.must(r.client.Flush(r.Context()))
	r.inputAsWritten(true)
	for _, i := range r.instances {
		r.must(i.host.input.Close())
		r.awaitEnd(i)
	}
	r.await("the end of all transactions", r.allStable)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Logf("wrote %d records, read %d results; %d instances and %d brokers killed, %d stores lost, %d pauses; "+
		"restored %d records from changelogs, replaced %d threads", r.acked, r.results, r.kills["instance"],
		r.kills["broker"], r.kills["state"], r.kills["pause"], r.restored, len(r.threadsEnded))
	for _, why := range r.threadsEnded {
		r.Logf("a thread has ended of %s", why)
	}
	if r.restored == 0 {
		r.Error("nothing was restored from a changelog")
	}
}

func (r *streamsRun) complete() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	missing, _ := r.work.missing()
	return missing == 0
}

// committedAll wants the application to have committed all its input, but for so many records at each end.
func (r *streamsRun) committedAll(but int) {
	r.Helper()
	ends, err := r.admin.ListEndOffsets(r.Context(), r.work.inputs()...)
	r.must(err)
	at, err := r.admin.FetchOffsets(r.Context(), r.app)
	r.must(err)
	ends.Each(func(end kadm.ListedOffset) {
		if o, _ := at.Lookup(end.Topic, end.Partition); o.At > end.Offset || o.At < end.Offset-int64(but) {
			r.Errorf("committed %d of %s %d, which ends at %d", o.At, end.Topic, end.Partition, end.Offset)
		}
	})
}

// allStable says whether no partition has an open transaction.
func (r *streamsRun) allStable() bool {
	topics, err := r.admin.ListTopicsWithInternal(r.Context())
	if err != nil {
		return false
	}
	open, err := openPartitions(r.Context(), r.admin, topics.Names()...)
	return err == nil && len(open) == 0
}

// exactlyHeard reads the results again, after one more death of the broker: they are those that came at the time.
func (r *streamsRun) exactlyHeard() {
	r.Helper()
	r.killBroker()
	r.must(r.target.start())
	topic := r.work.topics()[0].name
	again := map[int32][]string{}
	all := r.readAll(topic, kgo.ReadCommitted())
	for _, record := range all {
		again[record.Partition] = append(again[record.Partition], resultText(record))
	}
	// It has waited for what had to come. The records that end the windows have results too, of which some come later.
	r.await("the reader to be at the end", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.results >= len(all)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(r.heard, again); diff != "" {
		r.Errorf("what is read again differs from what was read at the time:\n%s", diff)
	}
	r.aborted = len(r.readAll(topic, kgo.ReadUncommitted())) - r.results
	r.Logf("%d results were read again; %d records were aborted", r.results, r.aborted)
}

// inputAsWritten looks whether the input is what the writer has given to its client. Of what is not flushed some may be
// missing.
func (r *streamsRun) inputAsWritten(flushed bool) {
	r.Helper()
	got := map[string][]string{}
	for _, topic := range r.work.inputs() {
		for _, record := range r.readAll(topic, kgo.ReadCommitted()) {
			at := fmt.Sprintf("%s-%d", record.Topic, record.Partition)
			got[at] = append(got[at], resultText(record))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, want := range r.written {
		for n := range min(len(want), len(got[at])) {
			if want[n] != got[at][n] {
				r.Errorf("%s has %q at %d, not %q", at, got[at][n], n, want[n])
				break
			}
		}
		if len(got[at]) > len(want) || flushed && len(got[at]) < len(want) {
			r.Errorf("%s has %d records, and %d were written", at, len(got[at]), len(want))
		}
	}
}

// readAll reads what there is of a topic.
func (r *streamsRun) readAll(topic string, level kgo.IsolationLevel) []*kgo.Record {
	r.Helper()
	records, _, err := readTopic(r.Context(), r.target.bootstrap, topic, level)
	r.must(err)
	return records
}

// latest reads the compacted topic of counts: the last one of each word is how often it was written.
func (r *streamsRun) latest(w *wordCount) {
	r.Helper()
	got := map[string]int64{}
	records := r.readAll("latest", kgo.ReadCommitted())
	for _, record := range records {
		got[string(record.Key)] = int64(binary.BigEndian.Uint64(record.Value))
	}
	if diff := cmp.Diff(w.want, got); diff != "" {
		r.Errorf("the last counts:\n%s", diff)
	}
	r.Logf("%d words; compaction has left %d of %d counts", len(got), len(records), r.results)
}

// internalTopics compares the topics that the application has made, and what it has asked of them.
func (r *streamsRun) internalTopics(want map[string]map[string]string) {
	r.Helper()
	topics, err := r.admin.ListTopics(r.Context())
	r.must(err)
	var names []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, r.app+"-") {
			names = append(names, name)
		}
	}
	described, err := r.admin.DescribeTopicConfigs(r.Context(), names...)
	r.must(err)
	got := map[string]map[string]string{}
	for _, topic := range described {
		r.must(topic.Err)
		got[topic.Name] = map[string]string{}
		for _, c := range topic.Configs {
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				got[topic.Name][c.Key] = c.MaybeValue()
			}
		}
		if n := len(topics[topic.Name].Partitions); n != streamsPartitions {
			r.Errorf("%s has %d partitions", topic.Name, n)
		}
	}
	for _, configs := range want {
		configs["message.timestamp.type"] = "CreateTime"
		configs["segment.ms"], configs["min.cleanable.dirty.ratio"] = "2000", "0.01" // as topic.* of the application
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("internal topics:\n%s", diff)
	}
}

// purged looks whether the application has had the records deleted that it has read from its own topic.
func (r *streamsRun) purged(topic string) {
	r.Helper()
	starts, err := r.admin.ListStartOffsets(r.Context(), topic)
	r.must(err)
	purged := int64(0)
	starts.Each(func(start kadm.ListedOffset) { purged += start.Offset })
	if purged == 0 {
		r.Errorf("%s was never purged", topic)
	}
	r.Logf("%d records of %s were purged", purged, topic)
}

// Goal: group.protocol=streams (KIP-1071) is offered by Apache Kafka only: an application that asks Spate for it is
// told so.
func TestStreamsProtocol(t *testing.T) {
	t.Parallel()
	r := startStreams(t, newWordCount(false), 2, map[string]string{"group.protocol": "streams"})
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), r.client)
	r.must(err)
	offered := slices.DeleteFunc(response.ApiKeys, func(api kmsg.ApiVersionsResponseApiKey) bool {
		return api.ApiKey != int16(kmsg.StreamsGroupHeartbeat) && api.ApiKey != int16(kmsg.StreamsGroupDescribe)
	})
	r.start("a")
	if *kafkaTarget {
		if len(offered) != 2 {
			t.Errorf("Apache Kafka offers %v", offered)
		}
		r.await("some results", r.more(streamsStep))
		r.kill("a")
		return
	}
	if len(offered) > 0 {
		t.Errorf("%v are offered", offered)
	}
	r.awaitEnd(r.instances["a"])
	r.mu.Lock()
	defer r.mu.Unlock()
	if said := fmt.Sprint(r.threadsEnded); !strings.Contains(said, "UnsupportedVersionException") {
		t.Errorf("the application says %s", said)
	}
}

// streamsSeen are the applications that ran, in the words of the table.
var streamsSeen struct {
	sync.Mutex
	rows []string
}

func noteStreams(application, variant string, r *streamsRun) {
	streamsSeen.Lock()
	defer streamsSeen.Unlock()
	streamsSeen.rows = append(streamsSeen.rows, fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d |", application,
		variant, r.results, r.aborted, r.restored, r.kills["instance"], r.kills["state"], r.kills["broker"]))
}

func writeStreamsResults(out *strings.Builder) {
	fmt.Fprintf(out, `
## Kafka Streams

Two instances of an application of Kafka Streams %s with exactly_once_v2, whose stores are restored from
changelogs that are compacted meanwhile, are killed, with and without the loss of their stores, as the broker is, and
all at once. What comes out is exact: each result once, and for counts in their order; in the end the offsets behind
all input are committed. The internal topics have the configs that Kafka gives them, and repartition topics are purged.

| application | how | results | aborted | restored | instances killed | with their stores | brokers killed |
|---|---|---:|---:|---:|---:|---:|---:|
`, proc.KafkaVersion)
	streamsSeen.Lock()
	defer streamsSeen.Unlock()
	slices.Sort(streamsSeen.rows)
	for _, row := range streamsSeen.rows {
		out.WriteString(row + "\n")
	}
}
