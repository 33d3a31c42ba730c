package compat

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	mirroredTopic = "orders"
	mirrorGroup   = "billing"
	mirrorPause   = 20 * time.Millisecond
	mirrorChaos   = 3 * time.Minute // of the long run
)

// mirrorSide is one of the two clusters, with a writer of transactions.
type mirrorSide struct {
	name   string // as its alias
	target *target
	admin  *kadm.Client
	ended  atomic.Int64 // transactions that were committed or aborted
}

// mirrorRun is a run of TestMirrorMaker.
type mirrorRun struct {
	*testing.T
	sides      [2]*mirrorSide
	maker      *connectProcess
	partitions atomic.Int32
	faults     map[string]int
	stop       context.CancelFunc
	writing    sync.WaitGroup
}

// Goal: MirrorMaker 2, unmodified, imports from Apache Kafka and exports to it all the time, exactly once.
// Method: transactions that commit and abort on both sides; MirrorMaker and the brokers are killed. In the end each
// side has in its copy just what the other one shows under read_committed, in order, with keys, headers and times;
// and the group of each side is, on the other one, where its own records end.
func TestMirrorMaker(t *testing.T) {
	t.Parallel()
	r := startMirror(t)
	r.progress("the start")
	r.faultOf(r.sides[1])
	r.restartMaker()
	r.changeTopic()
	for began := time.Now(); *long && time.Since(began) < mirrorChaos; {
		r.faultOf(r.sides[0])
		r.restartMaker()
		r.faultOf(r.sides[1])
	}
	r.stop()
	r.writing.Wait()
	said := r.compare(r.sides[0], r.sides[1]) + "\n" + r.compare(r.sides[1], r.sides[0])
	t.Logf("%s\nfaults: %v", said, r.faults)
	noteConnect(t, said)
}

func startMirror(t *testing.T) *mirrorRun {
	t.Helper()
	settings := groupSettings()
	settings["transaction.state.log.num.partitions"] = "5"
	settings["transaction.abort.timed.out.transaction.cleanup.interval.ms"] = "1000"
	r := &mirrorRun{T: t, faults: map[string]int{}}
	r.partitions.Store(3)
	r.sides[0] = &mirrorSide{name: "kafka", target: startKafka(t, settings)}
	r.sides[1] = &mirrorSide{name: "spate", target: startTarget(t, settings)}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	t.Cleanup(func() {
		stop()
		r.writing.Wait()
	})
	for _, side := range r.sides {
		client, err := kgo.NewClient(kgo.SeedBrokers(side.target.bootstrap))
		r.must(err)
		t.Cleanup(client.Close)
		side.admin = adminOf(client)
		_, err = side.admin.CreateTopic(t.Context(), r.partitions.Load(), 1, nil, mirroredTopic)
		r.must(err)
		r.writing.Go(func() { r.write(ctx, side) })
	}
	dir := t.TempDir()
	r.maker = &connectProcess{class: "org.apache.kafka.connect.mirror.MirrorMaker",
		properties: filepath.Join(dir, "mirror.properties"), log: filepath.Join(dir, "mirror.log")}
	r.must(writeProperties(r.maker.properties, r.settings()))
	r.must(r.maker.start())
	t.Cleanup(func() {
		r.maker.kill()
		if t.Failed() {
			t.Logf("MirrorMaker complained:\n%s", r.maker.complaints())
		}
	})
	return r
}

// settings are those of MirrorMaker.
func (r *mirrorRun) settings() map[string]string {
	r.Helper()
	port := freePort(r.T)
	settings := map[string]string{
		"clusters": "kafka, spate", "tasks.max": "2",
		"dedicated.mode.enable.internal.rest": "true",
		"listeners":                           "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		"plugin.discovery":                    "service_load",
		"replication.factor":                  "1", "offset.lag.max": "0",
		"sync.group.offsets.enabled": "true",
		// The values that a test would otherwise have to wait for.
		"session.timeout.ms": strconv.Itoa(sessionMs), "heartbeat.interval.ms": strconv.Itoa(heartbeatMs),
		"scheduled.rebalance.max.delay.ms": "500", "offset.flush.interval.ms": "1000",
	}
	for _, what := range []string{"refresh.topics", "refresh.groups", "sync.topic.configs", "emit.heartbeats",
		"emit.checkpoints", "sync.group.offsets"} {
		settings[what+".interval.seconds"] = "1"
	}
	for _, topic := range []string{"offset-syncs.topic", "checkpoints.topic", "heartbeats.topic", "offset.storage",
		"status.storage", "config.storage"} {
		settings[topic+".replication.factor"] = "1"
	}
	for i, side := range r.sides {
		settings[side.name+".bootstrap.servers"] = side.target.bootstrap
		settings[side.name+".exactly.once.source.support"] = "enabled"
		flow := side.name + "->" + r.sides[1-i].name
		settings[flow+".enabled"] = "true"
		settings[flow+".topics"] = mirroredTopic
		settings[flow+".groups"] = mirrorGroup
		settings[flow+".consumer.isolation.level"] = "read_committed"
		settings[flow+".producer.override.transaction.timeout.ms"] = connectTimeoutMs
	}
	return settings
}

func (r *mirrorRun) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// write writes a transaction after the other; a quarter of them are aborted.
func (r *mirrorRun) write(ctx context.Context, side *mirrorSide) {
	var client *kgo.Client
	tick := time.NewTicker(mirrorPause)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		if client == nil {
			var err error
			if client, err = kgo.NewClient(kgo.SeedBrokers(side.target.bootstrap), kgo.TransactionalID("writer"),
				kgo.DefaultProduceTopic(mirroredTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
				kgo.MetadataMinAge(100*time.Millisecond)); err != nil {
				r.Error(err)
				return
			}
		}
		if err := r.transact(client, side, n); err != nil {
			client.Close() // the next one ends what this one has left
			client = nil
		} else {
			side.ended.Add(1)
		}
		<-tick.C
	}
	if client != nil {
		client.Close()
	}
}

// transact writes a transaction to its end, also when no further one is wanted.
func (r *mirrorRun) transact(client *kgo.Client, side *mirrorSide, n int) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	partitions := r.partitions.Load()
	headers := []kgo.RecordHeader{{Key: "side", Value: []byte(side.name)}, {Key: "n", Value: fmt.Append(nil, n)}}
	var records []*kgo.Record
	for i := range 20 {
		records = append(records, &kgo.Record{Partition: int32(n+i) % partitions, Key: fmt.Append(nil, "key ", i),
			Value: fmt.Appendf(nil, "%s %d %d", side.name, n, i), Headers: headers})
	}
	if err := client.ProduceSync(r.Context(), records...).FirstErr(); err != nil {
		return err
	}
	return client.EndTransaction(r.Context(), kgo.TransactionEndTry(n%4 != 3))
}

// mirrored is the name of a side's topic on the other one.
func (s *mirrorSide) mirrored() string { return s.name + "." + mirroredTopic }

// await waits for a condition, and ends the test early if MirrorMaker has ended by itself.
func (r *mirrorRun) await(what string, reached func() bool) {
	r.Helper()
	began := time.Now()
	deadline := began.Add(2 * awaitWithin)
	for tick := time.NewTicker(100 * time.Millisecond); !reached(); <-tick.C {
		select {
		case <-r.maker.ended:
			r.Fatalf("waiting for %s: MirrorMaker has ended by itself", what)
		default:
		}
		if time.Now().After(deadline) {
			r.Fatalf("waiting for %s", what)
		}
	}
	r.Logf("%s after %v", what, time.Since(began).Round(10*time.Millisecond))
}

// lengths are the offsets of the ends of both copies: that of Kafka's topic first.
func (r *mirrorRun) lengths() (lengths [2]int64) {
	for i, side := range r.sides {
		ends, err := r.sides[1-i].admin.ListCommittedOffsets(r.Context(), side.mirrored())
		if err != nil {
			return lengths
		}
		ends.Each(func(o kadm.ListedOffset) { lengths[i] += max(o.Offset, 0) })
	}
	return lengths
}

// progress waits until both copies have grown.
func (r *mirrorRun) progress(after string) {
	r.Helper()
	before := r.lengths()
	r.await(fmt.Sprintf("copies of more than %v offsets, after %s,", before, after), func() bool {
		now := r.lengths()
		return now[0] > before[0]+progressOf && now[1] > before[1]+progressOf
	})
	r.faults[after]++
}

// faultOf kills the broker of a side.
func (r *mirrorRun) faultOf(side *mirrorSide) {
	r.Helper()
	r.must(side.target.restart())
	r.progress("kill -9 of " + side.name)
}

func (r *mirrorRun) restartMaker() {
	r.Helper()
	r.maker.kill()
	r.must(r.maker.start())
	r.progress("kill -9 of MirrorMaker")
}

// changeTopic gives both topics a partition and a config more: the copies get them too.
func (r *mirrorRun) changeTopic() {
	r.Helper()
	retention := "123456789"
	for _, side := range r.sides {
		_, err := side.admin.CreatePartitions(r.Context(), 1, mirroredTopic)
		r.must(err)
		_, err = side.admin.AlterTopicConfigs(r.Context(),
			[]kadm.AlterConfig{{Name: "retention.ms", Value: &retention}}, mirroredTopic)
		r.must(err)
	}
	r.partitions.Add(1)
	for i, side := range r.sides {
		other := r.sides[1-i]
		r.await("the config and the partitions of "+side.mirrored(), func() bool {
			topics, err := other.admin.ListTopics(r.Context(), side.mirrored())
			configs, err2 := other.admin.DescribeTopicConfigs(r.Context(), side.mirrored())
			if err != nil || err2 != nil || len(topics[side.mirrored()].Partitions) != int(r.partitions.Load()) {
				return false
			}
			config, err := configs.On(side.mirrored(), nil)
			return err == nil && slices.ContainsFunc(config.Configs, func(c kadm.Config) bool {
				return c.Key == "retention.ms" && c.MaybeValue() == retention
			})
		})
	}
}

// mirrorRecord is what must be the same on both sides.
type mirrorRecord struct {
	Key, Value, Headers string
	Timestamp           int64
}

// compare holds the copy of a side's topic to the topic, and the copy of its group.
func (r *mirrorRun) compare(from, to *mirrorSide) string {
	r.Helper()
	r.await("the end of the writer's last transaction on "+from.name, func() bool {
		open, err := openPartitions(r.Context(), from.admin, mirroredTopic)
		return err == nil && len(open) == 0
	})
	want, ends := r.readAll(from, mirroredTopic)
	total := 0
	for _, records := range want {
		total += len(records)
	}
	var got map[int32][]mirrorRecord
	var gotEnds map[int32]int64
	copied := 0
	r.await("the whole copy of "+from.name, func() bool {
		got, gotEnds = r.readAll(to, from.mirrored())
		copied = 0
		for _, records := range got {
			copied += len(records)
		}
		return copied >= total
	})
	for partition := range want {
		if diff := cmp.Diff(want[partition], got[partition]); diff != "" {
			r.Errorf("partition %d of %s: (-original +copy)\n%.4000s", partition, from.mirrored(), diff)
		}
	}
	r.compareGroup(from, to, ends, gotEnds)
	return fmt.Sprintf("%d transactions on %s: %d committed records, %d in the copy on %s",
		from.ended.Load(), from.name, total, copied, to.name)
}

// compareGroup commits the ends of the topic, and waits for the group on the other side to be behind the last records.
func (r *mirrorRun) compareGroup(from, to *mirrorSide, ends, gotEnds map[int32]int64) {
	r.Helper()
	commits := kadm.Offsets{}
	for partition, end := range ends {
		commits.AddOffset(mirroredTopic, partition, end, -1)
	}
	r.await("the commit of the group of "+from.name, func() bool {
		committed, err := from.admin.CommitOffsets(r.Context(), mirrorGroup, commits)
		return err == nil && committed.Error() == nil
	})
	var at kadm.OffsetResponses
	defer func() {
		if r.Failed() {
			r.Logf("the group of %s is on %s at %v, the records end at %v", from.name, to.name, at, gotEnds)
		}
	}()
	r.await("the offsets of the group of "+from.name, func() bool {
		var err error
		if at, err = to.admin.FetchOffsets(r.Context(), mirrorGroup); err != nil {
			return false
		}
		for partition, end := range gotEnds {
			if o, ok := at.Lookup(from.mirrored(), partition); !ok || o.At != end {
				return false
			}
		}
		return true
	})
}

// readAll reads a topic under read_committed: the records of each partition, and the offsets behind the last ones.
func (r *mirrorRun) readAll(side *mirrorSide, topic string) (map[int32][]mirrorRecord, map[int32]int64) {
	r.Helper()
	all, behind := map[int32][]mirrorRecord{}, map[int32]int64{}
	records, _, err := readTopic(r.Context(), side.target.bootstrap, topic, kgo.ReadCommitted())
	r.must(err)
	for _, in := range records {
		all[in.Partition] = append(all[in.Partition], mirrorRecord{string(in.Key), string(in.Value),
			fmt.Sprint(in.Headers), in.Timestamp.UnixMilli()})
		behind[in.Partition] = in.Offset + 1
	}
	return all, behind
}
