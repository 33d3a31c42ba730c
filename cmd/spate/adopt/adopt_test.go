package adopt

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata"
	"spate/metadata/image"
	meta "spate/metadata/record"
	"spate/segment"
)

// The metadata log of a node is built record by record, or is the one that Kafka 4.3.1 wrote for the codec's tests.
// The disk is in memory, so that the power can be cut anywhere.

const (
	dirID     = "SzbBqVClRD6n0o5NBpF4tg"
	home      = "data"
	logFolder = "data/__cluster_metadata-0"
)

var now = time.UnixMilli(1_700_000_000_000)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// node is a stopped Kafka node.
type node struct {
	*testing.T
	fs   *vfs.Mem
	log  []byte // of the metadata: its last segment
	base kafka.Offset
	next kafka.Offset
}

// newNode is a node that has registered, with one topic of one partition.
func newNode(t *testing.T) *node {
	n := &node{T: t, fs: vfs.NewMem()}
	n.file(home+"/meta.properties", "version=1\ncluster.id=c\nnode.id=1\ndirectory.id="+dirID+"\n")
	n.file(home+"/.kafka_cleanshutdown", `{"version":0,"brokerEpoch":5}`)
	n.file(home+"/.lock", "")
	n.file(logFolder+"/quorum-state", `{"leaderId":1,"leaderEpoch":3,"votedId":-1,"data_version":1}`)
	id, err := kafka.ParseUUID(dirID)
	must(t, err)
	n.add(&meta.FeatureLevel{Name: "metadata.version", Level: 25},
		&meta.RegisterBroker{BrokerID: 1, BrokerEpoch: 5, LogDirs: []kafka.UUID{id}},
		&meta.Topic{Name: "t", ID: kafka.UUID{7}},
		&meta.Partition{TopicID: kafka.UUID{7}, Replicas: []kafka.BrokerID{1}, ELR: []kafka.BrokerID{1}, Leader: -1,
			LeaderEpoch: 4, PartitionEpoch: 6, Directories: []kafka.UUID{id}})
	n.file(home+"/t-0/partition.metadata", "version: 0\ntopic_id: "+kafka.UUID{7}.String())
	n.file(home+"/t-0/00000000000000000000.log", string(n.data(0, record.BuilderOptions{})))
	return n
}

func (n *node) file(name, content string) {
	n.Helper()
	must(n.T, n.fs.MkdirAll(path.Dir(name), 0o755))
	must(n.T, vfs.ReplaceFile(n.fs, name, []byte(content)))
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		must(n.T, n.fs.SyncDir(path.Dir(dir)))
	}
}

// data is a batch of two records at an offset.
func (n *node) data(base kafka.Offset, o record.BuilderOptions) []byte {
	n.Helper()
	o.BaseOffset = base
	w := record.NewBuilder(o)
	w.Append(1, []byte("k"), []byte("v"))
	w.Append(2, []byte("k"), []byte("w"))
	b, err := w.Build()
	must(n.T, err)
	return b
}

func segmentName(base kafka.Offset) string { return segment.FileName(base, segment.LogSuffix) }

// add appends records to the metadata log, one batch.
func (n *node) add(records ...meta.Record) {
	n.Helper()
	var values [][]byte
	for _, r := range records {
		values = append(values, meta.Append(nil, r))
	}
	n.raw(values...)
}

// raw appends records that are given as bytes.
func (n *node) raw(values ...[]byte) {
	n.Helper()
	w := record.NewBuilder(record.BuilderOptions{BaseOffset: n.next, LeaderEpoch: 3})
	for _, value := range values {
		w.Append(9, nil, value)
	}
	b, err := w.Build()
	must(n.T, err)
	n.log, n.next = append(n.log, b...), b.NextOffset()
	n.file(logFolder+"/"+segmentName(n.base), string(n.log))
}

// control appends a control record.
func (n *node) control(kind record.ControlType, value []byte) {
	n.Helper()
	w := record.NewBuilder(record.BuilderOptions{BaseOffset: n.next, LeaderEpoch: 3, Control: true})
	w.AppendControl(9, kind, value)
	b, err := w.Build()
	must(n.T, err)
	n.log, n.next = append(n.log, b...), b.NextOffset()
	n.file(logFolder+"/"+segmentName(n.base), string(n.log))
}

// check makes the plan, and wants every name on the disk to be as it was.
func (n *node) check(flags ...func(*Options)) *Plan {
	n.Helper()
	o := Options{Dirs: []string{home}, Now: now}
	for _, f := range flags {
		f(&o)
	}
	before := tree(n.T, n.fs, home)
	p, err := Check(n.fs, o)
	must(n.T, err)
	must(n.T, p.Close())
	if after := tree(n.T, n.fs, home); !slices.Equal(before, after) {
		n.Errorf("the check has changed files: %q, then %q", before, after)
	}
	return p
}

// tree is every file with its content.
func tree(t *testing.T, fsys vfs.FS, dir string) (files []string) {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			files = append(files, tree(t, fsys, name)...)
			continue
		}
		data, err := vfs.ReadFile(fsys, name)
		must(t, err)
		files = append(files, fmt.Sprintf("%s=%x", name, data))
	}
	return files
}

// frame is a record of a type that is not served.
func frame(typ meta.Type, body ...byte) []byte { return append([]byte{1, byte(typ), 0}, body...) }

func configOf(kind image.ResourceType, resource, name, value string) meta.Record {
	return &meta.Config{ResourceType: int8(kind), ResourceName: resource, Name: name, Value: &value}
}

// TestRefusals has each reason stand alone against a take-over.
func TestRefusals(t *testing.T) {
	acl := append(make([]byte, 16), 1)
	for name, c := range map[string]struct {
		set  func(n *node)
		want string
	}{
		"ACLs": {func(n *node) { n.raw(frame(typeACL, acl...)) }, "ACLs are set"},
		"SCRAM": {func(n *node) { n.raw(frame(typeScram, 4, 'a', 'n', 'n', 1, 0)) },
			"SCRAM credentials are set"},
		"tokens":             {func(n *node) { n.raw(frame(typeDelegationToken, 1)) }, "delegation tokens are"},
		"an unknown type":    {func(n *node) { n.raw(frame(99)) }, "record type 99 of version 0"},
		"an unknown version": {func(n *node) { n.raw([]byte{1, 2, 9}) }, "TOPIC_RECORD of version 9"},
		"another controller": {func(n *node) { n.raw(frame(typeRegisterController, 0, 0, 0, 2)) },
			"controller 2 is registered"},
		"two voters": {func(n *node) { n.control(record.ControlKRaftVoters, []byte{0, 0, 3, 0, 0, 0, 1}) },
			"has 2 voter(s)"},
		"another voter": {func(n *node) { n.control(record.ControlKRaftVoters, []byte{0, 0, 2, 0, 0, 0, 7}) },
			"among them node 7"},
		"voters of old": {func(n *node) {
			n.file(logFolder+"/quorum-state",
				`{"leaderId":1,"leaderEpoch":3,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}`)
		}, "has 2 voter(s)"},
		"another broker": {func(n *node) { n.add(&meta.RegisterBroker{BrokerID: 2}) }, "broker 2 is registered"},
		"another replica": {func(n *node) {
			n.add(&meta.Partition{TopicID: kafka.UUID{7}, Replicas: []kafka.BrokerID{1, 2}})
		}, "t-0 has replicas on brokers [1 2]"},
		"a later metadata.version": {func(n *node) { n.add(&meta.FeatureLevel{Name: "metadata.version", Level: 99}) },
			"metadata.version is finalized at level 99"},
		"an unknown feature": {func(n *node) { n.add(&meta.FeatureLevel{Name: "warp.version", Level: 1}) },
			"warp.version"},
		"a topic config": {func(n *node) { n.add(configOf(image.ResourceTopic, "t", "remote.storage.enable", "true")) },
			"topic t: "},
		"a dynamic config that is not served": {func(n *node) {
			n.add(configOf(image.ResourceBroker, "", "background.threads", "9"))
		}, "background.threads is set dynamically for all brokers, which is not served"},
		"a dynamic config that is wrong": {func(n *node) {
			n.add(configOf(image.ResourceBroker, "1", "num.io.threads", "many"))
		}, "num.io.threads is set dynamically for broker 1, where it cannot be (Invalid value many"},
		"client metrics that are not known": {func(n *node) {
			n.add(configOf(image.ResourceClientMetrics, "m", "colour", "red"))
		}, "client metrics subscription m: Unknown client metrics configuration: colour"},
		"a group config": {func(n *node) {
			n.add(configOf(image.ResourceGroup, "g", "streams.session.timeout.ms", "9"))
		}, "group g: "},
		"share groups": {func(n *node) { n.add(&meta.Topic{Name: shareTopic, ID: kafka.UUID{9}}) },
			"share groups are in use"},
		"remote storage": {func(n *node) { n.add(&meta.Topic{Name: remoteTopic, ID: kafka.UUID{9}}) },
			"remote storage is in use"},
		"an open transaction": {func(n *node) {
			p := &record.Producer{ID: 5}
			n.file(home+"/t-0/00000000000000000000.log",
				string(n.data(0, record.BuilderOptions{Transactional: true, Producer: p})))
		}, "t-0 has 1 open transaction, the first from offset 0, and there is no __transaction_state"},
		"an old format": {func(n *node) {
			b := n.data(0, record.BuilderOptions{})
			b[16] = 1
			n.file(home+"/t-0/00000000000000000000.log", string(b))
		}, "message format older than version 2"},
		"a torn log": {func(n *node) {
			n.file(home+"/t-0/00000000000000000000.log", string(n.data(0, record.BuilderOptions{})[:70]))
		}, "is damaged at position 0"},
		"records are missing": {func(n *node) { n.file(home+"/recovery-point-offset-checkpoint", "0\n1\nt 0 9\n") },
			"everything below 9 had been flushed"},
		"half a replacement": {func(n *node) {
			n.file(home+"/t-0/00000000000000000000.log.swap", "")
			n.file(home+"/t-0/00000000000000000000.log.cleaned", "")
		}, "was not finished: start Kafka again"},
		"a move": {func(n *node) { n.file(home+"/t-0.0123456789abcdef0123456789abcdef-future/x", "") },
			"is being moved between log directories"},
		"a damaged metadata log": {func(n *node) {
			n.log[len(n.log)-1] ^= 1
			n.file(logFolder+"/00000000000000000000.log", string(n.log))
		}, "the metadata in data/__cluster_metadata-0/00000000000000000000.log cannot be read: position 0"},
		"an old backup": {func(n *node) { n.file(logFolder+".kafka/x", "") }, "move it away"},
		"a lost directory": {func(n *node) {
			n.add(&meta.BrokerRegistrationChange{BrokerID: 1, BrokerEpoch: 5, LogDirs: []kafka.UUID{{1}, {2}}})
			n.file(home+"/meta.properties",
				"version=1\ncluster.id=c\nnode.id=1\ndirectory.id="+kafka.UUID{1}.String()+"\n")
		}, kafka.UUID{2}.String() + ", which is not named"},
		"a partition in a lost directory": {func(n *node) {
			n.add(&meta.Partition{TopicID: kafka.UUID{7}, Index: 1, Replicas: []kafka.BrokerID{1},
				Directories: []kafka.UUID{{5}}})
		}, "t-1 lies in the log directory with directory.id " + kafka.UUID{5}.String()},
		"a lost folder": {func(n *node) {
			n.add(&meta.Partition{TopicID: kafka.UUID{7}, Index: 1, Replicas: []kafka.BrokerID{1}})
			n.file(home+"/recovery-point-offset-checkpoint", "0\n1\nt 1 9\n")
		}, "t-1 has no folder, but everything below offset 9 had been flushed"},
		"a gap that recovery could cut at": {func(n *node) {
			n.file(home+"/t-0/00000000000000000007.log", string(n.data(7, record.BuilderOptions{})))
			n.file(home+"/recovery-point-offset-checkpoint", "0\n1\nt 0 6\n")
		}, "t-0 has no offsets from 2 to 7"},
		"Kafka's log under the temporary name": {func(n *node) {
			n.file(logFolder+tempSuffix+"/quorum-state", `{"leaderId":1,"leaderEpoch":3,"votedId":-1,"data_version":1}`)
		}, "holds a metadata log of Kafka too"},
		"a running node": {func(n *node) {
			_, err := n.fs.Lock(home + "/.lock")
			must(n.T, err)
		}, "data is in use"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			c.set(n)
			p := n.check()
			if len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0], c.want) {
				t.Errorf("refusals: %q, and not: %s", p.Refusals, c.want)
			}
		})
	}
}

// TestWhatIsNoDirectory names what there is not, and what is not Kafka's.
func TestWhatIsNoDirectory(t *testing.T) {
	n := newNode(t)
	must(t, n.fs.MkdirAll("empty", 0o755))
	for name, want := range map[string]string{
		"nowhere": "there is no directory nowhere",
		"empty":   "empty is not a log directory of Kafka",
	} {
		p := n.check(func(o *Options) { o.Dirs = []string{name} })
		if len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0], want) {
			t.Errorf("refusals: %q, and not: %s", p.Refusals, want)
		}
	}
}

// TestWhatWasRemovedDoesNotMatter removes again what would refuse, aborts a change, and leaves one open.
func TestWhatWasRemovedDoesNotMatter(t *testing.T) {
	n := newNode(t)
	acl := make([]byte, 16)
	n.raw(frame(typeACL, acl...), frame(typeScram, 4, 'a', 'n', 'n', 1, 9))
	n.raw(frame(typeRemoveACL, acl...), frame(typeRemoveScram, 4, 'a', 'n', 'n', 1))
	n.raw(frame(typeBeginTransaction, 0), frame(typeACL, acl...), frame(typeAbortTransaction, 0))
	n.raw(frame(typeBeginTransaction, 0), meta.Append(nil, &meta.Topic{Name: "never", ID: kafka.UUID{8}}))
	p := n.check()
	if len(p.Refusals) > 0 || p.foundation.Image.Topic("never") != nil {
		t.Errorf("refusals: %q", p.Refusals)
	}
}

// carried opens the metadata that Spate would begin with.
func carried(t *testing.T, fsys vfs.FS) *image.Image {
	t.Helper()
	n, err := metadata.OpenPolled(metadata.Env{Clock: clock.Real{}, FS: fsys, Log: quiet()},
		metadata.Options{Dir: home, NodeID: 1, ClusterID: "c"})
	must(t, err)
	defer n.Close()
	return n.Image()
}

// TestAnOpenTransactionIsKept where there is a coordinator that knows of it.
func TestAnOpenTransactionIsKept(t *testing.T) {
	n := newNode(t)
	n.add(
		&meta.Topic{Name: transactionTopic, ID: kafka.UUID{9}},
		&meta.FeatureLevel{Name: "transaction.version", Level: 2},
	)
	p := &record.Producer{ID: 5}
	n.file(home+"/t-0/00000000000000000000.log",
		string(n.data(0, record.BuilderOptions{Transactional: true, Producer: p})))
	plan := n.check()
	if len(plan.Refusals) > 0 || !strings.Contains(strings.Join(plan.Notes, "\n"),
		"t-0 has 1 open transaction, the first from offset 0: its producer or the coordinator ends it") ||
		plan.foundation.Image.Feature("transaction.version") != 2 {
		t.Errorf("refusals %q, notes %q", plan.Refusals, plan.Notes)
	}
}

// TestDynamicConfigsAreKept carries over what was set while brokers ran, and what says what holds anyway not.
func TestDynamicConfigsAreKept(t *testing.T) {
	n := newNode(t)
	n.add(configOf(image.ResourceBroker, "", "log.cleaner.threads", "4"),
		configOf(image.ResourceBroker, "", "unclean.leader.election.enable", "false"),
		configOf(image.ResourceBroker, "", "my.plugin.level", "9"),
		configOf(image.ResourceBroker, "1", "num.io.threads", "40"),
		configOf(image.ResourceBroker, "2", "background.threads", "12"), // of a node that is gone
		configOf(image.ResourceClientMetrics, "m", "interval.ms", "1000"))
	p := n.check()
	if len(p.Refusals) > 0 || !strings.Contains(strings.Join(p.Notes, "\n"),
		"the dynamic config unclean.leader.election.enable=false of all brokers is left out") {
		t.Fatalf("refusals %q, notes %q", p.Refusals, p.Notes)
	}
	must(t, Carry(n.fs, p))
	must(t, p.Close())
	img := carried(t, n.fs)
	got := []map[string]string{img.Configs(image.BrokerResource("")), img.Configs(image.BrokerResource("1")),
		img.Configs(image.Resource{Type: image.ResourceClientMetrics, Name: "m"})}
	want := []map[string]string{{"log.cleaner.threads": "4", "my.plugin.level": "9"}, {"num.io.threads": "40"},
		{"interval.ms": "1000"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("configs are %v, not %v", got, want)
	}
}

// TestTheNewLogGoesOnWhereKafkaEnded opens what was made: the image, one offset and one epoch later.
func TestTheNewLogGoesOnWhereKafkaEnded(t *testing.T) {
	n := newNode(t)
	n.add(configOf(image.ResourceBroker, "", "min.insync.replicas", "1"),
		configOf(image.ResourceTopic, "t", "retention.ms", "7"), &meta.ProducerIDs{NextProducerID: 3000})
	p := n.check()
	if len(p.Refusals) > 0 {
		t.Fatal(p.Refusals)
	}
	must(t, Carry(n.fs, p))
	must(t, p.Close())
	img := carried(t, n.fs)
	part := img.Partition("t", 0)
	if img.EndOffset() != n.next+1 || img.Epoch() != 4 || img.Topic("t").ID != (kafka.UUID{7}) ||
		part.LeaderEpoch != 4 || !slices.Equal(part.ISR, []kafka.BrokerID{1}) || img.NextProducerID() != 3000 ||
		img.Feature("metadata.version") != metadata.MetadataVersion || img.Broker(1).Epoch != 5 ||
		img.Configs(image.TopicResource("t"))["retention.ms"] != "7" ||
		img.Configs(image.BrokerResource(""))["min.insync.replicas"] != "1" || img.ConfiguredCount() != 2 {
		t.Errorf("it goes on at %d of epoch %d: %+v, %+v", img.EndOffset(), img.Epoch(), img.Topic("t"), part)
	}
	if again := n.check(); !again.Adopted || len(again.Refusals) > 0 {
		t.Errorf("a second check: %+v", again)
	}
}

// TestKafkasOwnLog converts the log that Kafka wrote for the tests of the codec.
func TestKafkasOwnLog(t *testing.T) {
	n := newNode(t)
	log, err := os.ReadFile("../../../metadata/record/testdata/kafka-4.3.1.log")
	must(t, err)
	n.file(logFolder+"/00000000000000000000.log", string(log))
	s, err := readSource(n.fs, logFolder, "c", 1, true)
	must(t, err)
	img, _ := s.builder.Build()
	if s.end <= 14 || img.Broker(1) == nil || img.TopicCount() == 0 || img.Feature("metadata.version") != 30 {
		t.Errorf("it ends at %d with %d topics", s.end, img.TopicCount())
	}
}

// TestAPowerCutLeavesOneOrTheOther cuts the power after each operation: what is found is Kafka's log or Spate's, whole,
// and another run finishes.
func TestAPowerCutLeavesOneOrTheOther(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	stages := map[bool]bool{}
	for cut := 1; ; cut++ {
		n := newNode(t)
		stop := fmt.Errorf("the power is cut")
		count := 0
		broken := vfs.NewFault(n.fs, func(vfs.Op) error {
			if count++; count > cut {
				return stop
			}
			return nil
		})
		p := n.check()
		err := Carry(broken, p)
		must(t, p.Close())
		for range 8 {
			disk := n.fs.CrashClone(random)
			own, found := metadata.IsOwn(disk, logFolder)
			must(t, found)
			stages[own] = true
			finish(t, disk, string(n.log))
		}
		if err == nil {
			break
		}
	}
	if len(stages) != 2 {
		t.Errorf("the power was never cut on both sides of the exchange: %v", stages)
	}
}

// finish runs the take-over on what a power cut left, and looks at what came of it.
func finish(t *testing.T, disk *vfs.Mem, log string) {
	t.Helper()
	p, err := Check(disk, Options{Dirs: []string{home}, Now: now})
	must(t, err)
	if len(p.Refusals) > 0 {
		t.Fatalf("a second run is refused: %q", p.Refusals)
	}
	must(t, Carry(disk, p))
	must(t, p.Close())
	kept, err := vfs.ReadFile(disk, logFolder+backupSuffix+"/00000000000000000000.log")
	must(t, err)
	if string(kept) != log {
		t.Error("what was kept is not Kafka's log")
	}
	if _, err := disk.Stat(logFolder + tempSuffix); err == nil {
		t.Error("the temporary folder is still there")
	}
	if img := carried(t, disk); img.Topic("t") == nil {
		t.Error("the topic is gone")
	}
}

// quiet is a logger for what is not looked at.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
