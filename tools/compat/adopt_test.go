package compat

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/proc"
	"spate/kafka"
	batch "spate/kafka/record"
)

// adoption is a Kafka node with two log directories, and the Spate that takes its place at the same address.
type adoption struct {
	*testing.T
	dir    string
	port   int
	ctx    context.Context
	kafka  *proc.Kafka
	more   map[string]string
	meta   string      // metadata.log.dir, where it is one of its own
	client *kgo.Client // writes to Kafka, stays open, and writes to Spate
	admin  *kadm.Client
}

// startAdoption starts a Kafka with further properties.
func startAdoption(t *testing.T, more map[string]string) *adoption {
	t.Helper()
	a := &adoption{T: t, dir: t.TempDir(), more: more, meta: more["metadata.log.dir"]}
	ctx, cancel := context.WithTimeout(context.Background(), 4*clientTimeout)
	t.Cleanup(cancel)
	a.ctx = ctx
	a.port = freePort(t)
	a.startKafka()
	a.client = a.dial(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(clientTimeout))
	a.admin = adminOf(a.client)
	return a
}

func (a *adoption) dial(options ...kgo.Opt) *kgo.Client {
	a.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(a.address())}, options...)...)
	a.must(err)
	a.Cleanup(c.Close)
	return c
}

func (a *adoption) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port)) }

// dirs are the log directories; the metadata log is in the first.
func (a *adoption) dirs() []string {
	return []string{filepath.Join(a.dir, "data"), filepath.Join(a.dir, "more")}
}

// named are the directories that the operator names: those of the logs, and that of the metadata.
func (a *adoption) named() []string {
	if a.meta == "" {
		return a.dirs()
	}
	return append(a.dirs(), a.meta)
}

// home is where the metadata log is.
func (a *adoption) home() string {
	if a.meta == "" {
		return filepath.Join(a.dirs()[0], "__cluster_metadata-0")
	}
	return filepath.Join(a.meta, "__cluster_metadata-0")
}

func (a *adoption) startKafka() {
	a.Helper()
	properties := map[string]string{
		"log.dirs": strings.Join(a.dirs(), ","), "group.initial.rebalance.delay.ms": "0",
		"offsets.topic.num.partitions": "5", "transaction.state.log.num.partitions": "3",
	}
	for name, value := range a.more {
		properties[name] = value
	}
	var err error
	a.kafka, err = proc.StartKafka(a.dir, a.port, properties)
	a.must(err)
	a.Cleanup(a.kafka.Kill)
}

func (a *adoption) startSpate() *proc.Broker {
	a.Helper()
	set := map[string]string{"node.id": "1"}
	for name, value := range a.more { // what an operator takes over of the properties
		if strings.HasPrefix(name, "log.") || strings.HasPrefix(name, "metadata.") ||
			strings.HasPrefix(name, "transaction.") {
			set[name] = value
		}
	}
	b, err := proc.Start(proc.Options{DataDir: strings.Join(a.dirs(), ","), Listen: a.address(), Set: set})
	a.must(err)
	a.Cleanup(b.Kill)
	return b
}

func (a *adoption) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

// spate runs the command line and gives what it prints.
func (a *adoption) spate(args ...string) (string, error) {
	a.Helper()
	binary, err := proc.Binary()
	a.must(err)
	out, err := exec.CommandContext(a.ctx, binary, args...).CombinedOutput()
	return string(out), err
}

func (a *adoption) mustSpate(args ...string) string {
	a.Helper()
	out, err := a.spate(args...)
	if err != nil {
		a.Fatalf("spate %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// adopt runs spate adopt.
func (a *adoption) adopt(flags ...string) (string, error) {
	a.Helper()
	return a.spate(append(append([]string{"adopt"}, flags...), a.named()...)...)
}

// refuses runs spate adopt, and wants each of the reasons, and every file as it was.
func (a *adoption) refuses(flags []string, reasons ...string) {
	a.Helper()
	before := a.tree()
	out, err := a.adopt(flags...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		a.Errorf("adopt %v ended with %v", flags, err)
	}
	for _, reason := range reasons {
		if !strings.Contains(out, reason) {
			a.Errorf("adopt does not say %q:\n%s", reason, out)
		}
	}
	if n := strings.Count(out, "refused: "); n != len(reasons) {
		a.Errorf("adopt has %d reasons, not %d:\n%s", n, len(reasons), out)
	}
	a.unchanged(before)
}

// tree is every file of the directories with its content and time.
func (a *adoption) tree() map[string]string {
	a.Helper()
	tree := map[string]string{}
	for _, dir := range a.named() {
		a.must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				tree[path] = "directory"
				return err
			}
			info, err := e.Info()
			a.must(err)
			data, err := os.ReadFile(path)
			tree[path] = fmt.Sprintf("%v %v %x", info.Mode(), info.ModTime(), sha256.Sum256(data))
			return err
		}))
	}
	return tree
}

func (a *adoption) unchanged(before map[string]string) {
	a.Helper()
	if diff := cmp.Diff(before, a.tree()); diff != "" {
		a.Errorf("files have changed:\n%s", diff)
	}
}

// readAll reads every record of the topics, by partition.
func (a *adoption) readAll(topics ...string) map[string][]record {
	a.Helper()
	all := map[string][]record{}
	for _, topic := range topics {
		records, _, err := readTopic(a.ctx, a.address(), topic, kgo.ReadUncommitted())
		a.must(err)
		for _, in := range records {
			r := record{Key: in.Key, Value: in.Value, Offset: in.Offset, Timestamp: in.Timestamp.UnixMilli()}
			for _, h := range in.Headers {
				r.Headers = append(r.Headers, header{h.Key, h.Value})
			}
			tp := fmt.Sprintf("%s-%d", in.Topic, in.Partition)
			all[tp] = append(all[tp], r)
		}
	}
	return all
}

// fill makes a topic for each codec and writes to it, idempotently, from two clients.
func (a *adoption) fill() (topics []string) {
	a.Helper()
	for _, codec := range allCodecs {
		topic := "adopt." + codec
		topics = append(topics, topic)
		retention, segment := "-1", "1048576"
		configs := map[string]*string{"retention.ms": &retention, "segment.bytes": &segment}
		a.topic(topic, 3, configs)
		c := a.dial(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(franzCodecs[codec]),
			kgo.ProducerBatchMaxBytes(64<<10))
		a.produce(c, topic, 3000)
		c.Close()
		a.produce(a.client, topic, 300)
	}
	const gone = "adopt.none.gone"
	a.topic(gone, 2, nil)
	a.produce(a.client, gone, 10)
	_, err := a.admin.DeleteTopic(a.ctx, gone)
	a.must(err)
	a.must(settle(a.ctx, a.admin))
	return topics
}

// topic makes a topic in Kafka, and waits until it is there.
func (a *adoption) topic(name string, partitions int32, configs map[string]*string) {
	a.Helper()
	_, err := a.admin.CreateTopic(a.ctx, partitions, 1, configs, name)
	a.must(err)
	a.must(settle(a.ctx, a.admin))
}

// produce writes n records of about half a KiB to the partitions in turn.
func (a *adoption) produce(c *kgo.Client, topic string, n int) {
	a.Helper()
	partitions := 3
	if strings.HasSuffix(topic, "gone") {
		partitions = 2
	}
	records := make([]*kgo.Record, n)
	for i := range records {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", topic, i))
		records[i] = &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: fmt.Appendf(nil, "key-%d", i),
			Value:   []byte(strings.Repeat(fmt.Sprintf("%x", sum), 8)),
			Headers: []kgo.RecordHeader{{Key: "n", Value: []byte(strconv.Itoa(i))}}}
	}
	a.must(c.ProduceSync(a.ctx, records...).FirstErr())
}

// committed are the committed offsets of the groups.
func (a *adoption) committed(groups ...string) map[string]int64 {
	a.Helper()
	all := map[string]int64{}
	for _, group := range groups {
		offsets, err := a.admin.FetchOffsets(a.ctx, group)
		a.must(err)
		offsets.Each(func(o kadm.OffsetResponse) {
			all[fmt.Sprintf("%s %s-%d %s", group, o.Topic, o.Partition, o.Metadata)] = o.At
		})
	}
	return all
}

// consume has a group read n records.
func (a *adoption) consume(group, protocol string, n int) {
	a.Helper()
	out := a.mustSpate("consume", "adopt.gzip", "--group", group, "--protocol", protocol, "--count", strconv.Itoa(n),
		"--print", "partition,offset", "-q", "-b", a.address())
	if lines := strings.Count(out, "\n"); lines != n {
		a.Errorf("group %s has read %d records, not %d", group, lines, n)
	}
}

// again sends one batch of an idempotent producer, and gives the offset that it is given.
func (a *adoption) again(id int64, epoch int16, sequence int) int64 {
	a.Helper()
	w := batch.NewBuilder(batch.BuilderOptions{Producer: &batch.Producer{
		ID: kafka.ProducerID(id), Epoch: kafka.ProducerEpoch(epoch), Sequence: kafka.Sequence(sequence)}})
	for i := range 10 {
		w.Append(kafka.Timestamp(time.Now().UnixMilli()), nil, fmt.Appendf(nil, "again %d", i))
	}
	b, err := w.Build()
	a.must(err)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "adopt.none"
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = 2, b
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	req.Version = 9
	c, err := dial(a.address())
	a.must(err)
	defer c.Close()
	resp, err := c.ask(req)
	a.must(err)
	got := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		a.Fatalf("a batch of producer %d at sequence %d: error %d", id, sequence, got.ErrorCode)
	}
	return got.BaseOffset
}

// newProducer asks for the id of an idempotent producer.
func (a *adoption) newProducer() (int64, int16) {
	a.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(a.ctx, a.client)
	a.must(err)
	if resp.ErrorCode != 0 {
		a.Fatalf("InitProducerId: error %d", resp.ErrorCode)
	}
	return resp.ProducerID, resp.ProducerEpoch
}

// ids are the ids of the topics and the cluster. The broker is asked itself: kadm answers for five seconds from what
// its client has seen, and lists a topic there that was deleted in the meantime.
func (a *adoption) ids() map[string]string {
	a.Helper()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(a.ctx, a.client)
	a.must(err)
	ids := map[string]string{"cluster": *resp.ClusterID}
	for _, t := range resp.Topics {
		ids[*t.Topic] = fmt.Sprintf("%x %d", t.TopicID, len(t.Partitions))
	}
	return ids
}

// TestAdopt fills a Kafka, stops or kills it, has Spate take its directories over, and finds everything as it was:
// ids, configs, every record, committed offsets, and the state of idempotent producers. A client that stays open the
// whole time goes on.
func TestAdopt(t *testing.T) {
	for _, end := range []string{"stopped", "killed"} {
		t.Run(end, func(t *testing.T) {
			a := startAdoption(t, nil)
			topics := a.fill()
			a.consume("classic", "classic", 700)
			a.consume("modern", "consumer", 900)
			id, epoch := a.newProducer()
			first := a.again(id, epoch, 0)
			records, offsets, ids := a.readAll(topics...), a.committed("classic", "modern"), a.ids()
			if out, err := a.adopt(); err == nil || !strings.Contains(out, "is in use") {
				t.Errorf("adopt of a running node: %v\n%s", err, out)
			}
			if end == "killed" {
				a.kafka.Kill()
			} else {
				a.must(a.kafka.Stop())
			}
			before := a.tree()
			plan, err := a.adopt("--dry-run")
			a.must(err)
			expect(t, plan, "topic adopt.zstd", "3 partitions", "2 groups with 6 committed offsets", "3300 records")
			a.unchanged(before)
			a.refusesParts()
			_, err = a.adopt()
			a.must(err)
			a.onlyMetadataChanged(before)
			out, err := a.adopt()
			a.must(err)
			expect(t, out, "nothing to take over")

			b := a.startSpate()
			if diff := cmp.Diff(ids, a.ids()); diff != "" {
				t.Errorf("topics and cluster, before and after:\n%s", diff)
			}
			if diff := cmp.Diff(records, a.readAll(topics...)); diff != "" {
				t.Errorf("records, before and after:\n%.2000s", diff)
			}
			if diff := cmp.Diff(offsets, a.committed("classic", "modern")); diff != "" {
				t.Errorf("committed offsets, before and after:\n%s", diff)
			}
			if second := a.again(id, epoch, 0); second != first {
				t.Errorf("a batch that was sent again is at %d, not at %d", second, first)
			}
			if next := a.again(id, epoch, 10); next != first+10 {
				t.Errorf("the next batch of the producer is at %d, not at %d", next, first+10)
			}
			a.goesOn(records)
			a.must(b.Stop())
			a.dumps()
		})
	}
}

// goesOn has groups and a client that stayed open continue.
func (a *adoption) goesOn(before map[string][]record) {
	a.Helper()
	if other, _ := a.newProducer(); other < 1000 {
		a.Errorf("producer id %d was given before", other)
	}
	total := 3300
	a.consume("classic", "classic", total-700)
	a.consume("modern", "consumer", total-900)
	for key, at := range a.committed("classic", "modern") {
		if at != 1100 {
			a.Errorf("%s is committed at %d, not at the end", key, at)
		}
	}
	a.produce(a.client, "adopt.lz4", 300)
	after := a.readAll("adopt.lz4")
	for tp, records := range after {
		if got, want := len(records), len(before[tp])+100; got != want {
			a.Errorf("%s has %d records, not %d", tp, got, want)
		}
	}
	expect(a.T, a.mustSpate("topic", "describe", "adopt.gzip", "-b", a.address()), "retention.ms=-1")
}

// refusesParts names only one of the directories, and other folders.
func (a *adoption) refusesParts() {
	a.Helper()
	for _, c := range []struct {
		dirs   []string
		reason string
	}{
		{a.dirs()[:1], "is not named: name all of log.dirs"},
		{a.dirs()[1:], "none of the directories has a metadata log"},
		{[]string{a.dirs()[0], a.TempDir()}, "it has no meta.properties"},
		{[]string{a.dirs()[0], a.dirs()[0]}, "is named twice"},
	} {
		out, err := a.spate(append([]string{"adopt"}, c.dirs...)...)
		if err == nil || !strings.Contains(out, c.reason) {
			a.Errorf("adopt %v: %v, and not %q:\n%s", c.dirs, err, c.reason, out)
		}
	}
}

// onlyMetadataChanged compares the files before and after: Kafka's metadata log has moved, ours is new, all else is as
// it was.
func (a *adoption) onlyMetadataChanged(before map[string]string) {
	a.Helper()
	after := a.tree()
	home := a.home()
	for path, content := range before {
		if rest, moved := strings.CutPrefix(path, home); moved {
			path = home + ".kafka" + rest
		}
		if after[path] != content {
			a.Errorf("%s was %s and is %q", path, content, after[path])
		}
		delete(after, path)
	}
	for path := range after {
		if !strings.HasPrefix(path, home) && filepath.Base(path) != ".lock" { // which Kafka removes when it stops
			a.Errorf("%s is new", path)
		}
	}
}

// dumps has Kafka's own tool read what is there in the end.
func (a *adoption) dumps() {
	a.Helper()
	snapshots := glob(a.T, filepath.Join(a.dirs()[0], "__cluster_metadata-0"), "*.checkpoint")
	out := string(dump(a.T, "--cluster-metadata-decoder", "--files", strings.Join(snapshots, ",")))
	expect(a.T, out, "SnapshotHeader", "adopt.zstd", "SnapshotFooter")
	var logs []string
	for _, dir := range a.dirs() {
		logs = append(logs, glob(a.T, dir, filepath.Join("adopt.*", "*.log"))...)
	}
	slices.Sort(logs)
	out = string(dump(a.T, "--files", strings.Join(logs, ",")))
	if n := strings.Count(out, "isvalid: true"); n == 0 || strings.Contains(out, "isvalid: false") {
		a.Errorf("the dump has %d valid batches:\n%.2000s", n, out)
	}
}

// TestAdoptRefusals sets up what cannot be taken over, wants each reason and no change, and takes it all away again:
// then nothing stands against it.
func TestAdoptRefusals(t *testing.T) {
	a := startAdoption(t, map[string]string{
		"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":           "User:ANONYMOUS",
		"log.retention.hours":   "168", // as in Kafka's file
	})
	value := "compact,delete"
	a.topic("plain", 1, nil)
	odd := map[string]*string{"cleanup.policy": &value, "local.retention.ms": kadm.StringPtr("7")}
	a.topic("odd", 1, odd)
	a.setForeign(true)
	a.must(a.kafka.Stop())
	reasons := []string{"ACLs are set", "SCRAM credentials are set",
		"background.threads is set dynamically for all brokers, which is not served"}
	plan, err := a.adopt("--dry-run")
	if err == nil {
		t.Fatal(plan)
	}
	for _, line := range strings.Split(plan, "\n") {
		if strings.HasPrefix(line, "refused: topic odd: ") { // as many as keys are not served yet
			reasons = append(reasons, strings.TrimPrefix(line, "refused: "))
		}
	}
	a.refuses(nil, reasons...)
	a.refuses([]string{"--dry-run"}, reasons...)
	a.startKafka()
	a.setForeign(false)
	_, err = a.admin.DeleteTopic(a.ctx, "odd")
	a.must(err)
	a.setConfigs()
	configs := a.configs()
	a.must(a.kafka.Stop())
	_, err = a.adopt()
	a.must(err)
	b := a.startSpate()
	if diff := cmp.Diff(configs, a.configs()); diff != "" {
		t.Errorf("configs that were set in Kafka, and in Spate:\n%s", diff)
	}
	quotas, err := a.admin.DescribeClientQuotas(a.ctx, false, nil)
	a.must(err)
	want := kadm.DescribedClientQuotas{{Entity: annsEntity,
		Values: kadm.ClientQuotaValues{{Key: "producer_byte_rate", Value: 1e6}}}}
	if diff := cmp.Diff(want, quotas); diff != "" {
		t.Errorf("quotas that were set in Kafka, and in Spate:\n%s", diff)
	}
	a.must(b.Stop())
}

// setConfigs sets configs of every kind that are kept.
func (a *adoption) setConfigs() {
	a.Helper()
	for _, args := range []string{
		"topic plain retention.ms=7000000 cleanup.policy=compact,delete", "broker-default log.retention.ms=123456789",
		"broker 1 log.cleaner.threads=2 message.max.bytes=2000000", "group g consumer.session.timeout.ms=50000",
		"client-metrics m interval.ms=1000 match=client_id=a.* metrics=org.apache.kafka.producer",
	} {
		a.mustSpate(append(append([]string{"config", "set"}, strings.Fields(args)...), "-b", a.address())...)
	}
	a.must(settle(a.ctx, a.admin))
}

// configs are what is set at run time, and what a value that is not set comes to.
func (a *adoption) configs() string {
	a.Helper()
	var text strings.Builder
	for _, args := range []string{
		"topic plain", "topic plain --key max.message.bytes,retention.ms", "broker-default", "group g",
		"broker 1 --key log.cleaner.threads,message.max.bytes,log.retention.ms", "client-metrics",
	} {
		text.WriteString(a.mustSpate(append(append([]string{"config", "describe"}, strings.Fields(args)...), "-b",
			a.address())...))
	}
	return text.String()
}

// annsEntity is the user ann, as quotas name her.
var annsEntity = kadm.ClientQuotaEntity{{Type: "user", Name: kadm.StringPtr("ann")}}

// setForeign sets what Spate does not serve, or takes it away.
func (a *adoption) setForeign(set bool) {
	a.Helper()
	acl := kadm.NewACLs().Topics("plain").Operations(kadm.OpRead).Allow("User:ann").AllowHosts("*").
		ResourcePatternType(kadm.ACLPatternLiteral)
	quota := kadm.AlterClientQuotaEntry{Entity: annsEntity,
		Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 1e6}}} // which stays
	_, err := a.admin.AlterClientQuotas(a.ctx, []kadm.AlterClientQuotaEntry{quota})
	a.must(err)
	config := kadm.AlterConfig{Op: kadm.SetConfig, Name: "background.threads", Value: kadm.StringPtr("12")}
	if set {
		_, err = a.admin.CreateACLs(a.ctx, acl)
		a.must(err)
		_, err = a.admin.AlterUserSCRAMs(a.ctx, nil, []kadm.UpsertSCRAM{{
			User: "ann", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "secret"}})
	} else {
		config.Op = kadm.DeleteConfig
		_, err = a.admin.DeleteACLs(a.ctx, acl)
		a.must(err)
		_, err = a.admin.AlterUserSCRAMs(a.ctx, []kadm.DeleteSCRAM{{User: "ann", Mechanism: kadm.ScramSha256}}, nil)
	}
	a.must(err)
	_, err = a.admin.AlterBrokerConfigs(a.ctx, []kadm.AlterConfig{config})
	a.must(err)
}

// TestAdoptWayBack puts Kafka's metadata log back as the documentation says, before a Spate has run and after one has
// that nobody wrote to: Kafka finds everything, and writes on.
func TestAdoptWayBack(t *testing.T) {
	a := startAdoption(t, nil)
	a.topic("back", 3, nil)
	for _, hasRun := range []bool{false, true} {
		a.produce(a.client, "back", 30)
		records, ids := a.readAll("back"), a.ids()
		a.must(a.kafka.Stop())
		_, err := a.adopt()
		a.must(err)
		if hasRun {
			b := a.startSpate()
			if diff := cmp.Diff(records, a.readAll("back")); diff != "" {
				t.Errorf("records of Kafka and Spate:\n%.2000s", diff)
			}
			a.must(b.Stop())
		}
		a.wayBack()
		if diff := cmp.Diff(ids, a.ids()); diff != "" {
			t.Errorf("has run %v: topics and cluster, before and after:\n%s", hasRun, diff)
		}
		if diff := cmp.Diff(records, a.readAll("back")); diff != "" {
			t.Errorf("has run %v: records, before and after:\n%.2000s", hasRun, diff)
		}
	}
	a.produce(a.client, "back", 30)
	if n := len(a.readAll("back")["back-0"]); n != 30 {
		t.Errorf("back-0 has %d records, not 30", n)
	}
	a.must(a.kafka.Stop())
}

// wayBack puts Kafka's metadata log back, as the documentation says, and starts Kafka.
func (a *adoption) wayBack() {
	a.Helper()
	a.must(os.Rename(a.home(), filepath.Join(a.TempDir(), "elsewhere")))
	a.must(os.Rename(a.home()+".kafka", a.home()))
	a.startKafka()
	a.must(settle(a.ctx, a.admin))
}

// TestAdoptTransactions leaves transactions open in Kafka: one of a producer that stays, and one of a producer that is
// gone. Spate takes over, whether Kafka was stopped or killed: the first commits there, the second is aborted when its
// time is over, and a new producer of the same id goes on. Readers see what was committed and nothing else, in the end
// in Kafka again.
func TestAdoptTransactions(t *testing.T) {
	for _, end := range []string{"stopped", "killed"} {
		t.Run(end, func(t *testing.T) {
			const interval = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
			a := startAdoption(t, map[string]string{interval: "3600000"}) // Kafka aborts none, however long it takes
			a.topic("ledger", 1, nil)
			a.transact("bank", "kept", kgo.TryCommit).Close()
			stays := a.transact("bank", "dropped", kgo.TryAbort)
			a.must(stays.BeginTransaction())
			a.must(stays.ProduceSync(a.ctx, kgo.StringRecord("open")).FirstErr())
			gone := a.dial(kgo.TransactionalID("gone"), kgo.DefaultProduceTopic("ledger"),
				kgo.TransactionTimeout(10*time.Second))
			a.must(gone.BeginTransaction())
			a.must(gone.ProduceSync(a.ctx, kgo.StringRecord("never")).FirstErr())
			level := a.level("transaction.version")
			if end == "killed" {
				a.kafka.Kill()
			} else {
				a.must(a.kafka.Stop())
			}
			gone.Close()
			out, err := a.adopt()
			if err != nil {
				t.Fatal(out)
			}
			expect(t, out, "note: ledger-0 has 2 open transactions, the first from offset 4: ")
			a.more[interval] = "500"
			b := a.startSpate()
			a.sees("kept\n")
			a.must(stays.EndTransaction(a.ctx, kgo.TryCommit))
			a.waitCommitted("ledger", 8) // kept, dropped, open, never, and a marker behind each
			a.sees("kept\nopen\n")
			a.transact("bank", "after", kgo.TryCommit).Close()
			a.waitCommitted("ledger", 10)
			a.sees("kept\nopen\nafter\n")
			if got, want := a.level("transaction.version"), level; got != want {
				t.Errorf("transaction.version is %s, and was %s", got, want)
			}
			a.must(b.Stop())
			a.wayBack()
			a.sees("kept\nopen\nafter\n")
			a.transact("bank", "back", kgo.TryCommit).Close()
			a.waitCommitted("ledger", 12)
			a.sees("kept\nopen\nafter\nback\n")
		})
	}
}

// transact writes one value in a transaction.
func (a *adoption) transact(id, value string, end kgo.TransactionEndTry) *kgo.Client {
	a.Helper()
	c := a.dial(kgo.TransactionalID(id), kgo.DefaultProduceTopic("ledger"),
		kgo.TransactionTimeout(transactionTimeout))
	a.must(c.BeginTransaction())
	a.must(c.ProduceSync(a.ctx, kgo.StringRecord(value)).FirstErr())
	a.must(c.EndTransaction(a.ctx, end))
	return c
}

// level is the line of a finalized feature.
func (a *adoption) level(feature string) string {
	a.Helper()
	for line := range strings.Lines(a.mustSpate("cluster", "features", "-b", a.address())) {
		if fields := strings.Fields(line); fields[0] == feature {
			return strings.Join(fields, " ")
		}
	}
	return ""
}

// sees wants what a reader of committed records finds in the ledger.
func (a *adoption) sees(want string) {
	a.Helper()
	out := a.mustSpate("consume", "ledger", "--read-committed", "--to-end", "-q", "-b", a.address())
	if out != want {
		a.Errorf("what was committed is %q, not %q", out, want)
	}
}

// waitCommitted waits until the last stable offset of partition 0 is there.
func (a *adoption) waitCommitted(topic string, stable int64) {
	a.Helper()
	a.must(waitFor(a.ctx, func() (bool, error) {
		offsets, err := a.admin.ListCommittedOffsets(a.ctx, topic)
		if err != nil {
			return false, err
		}
		end, found := offsets.Lookup(topic, 0)
		return found && end.Offset >= stable, end.Err
	}))
}
