package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"spate/internal/clock"
	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
	"spate/metadata/record"
)

// Goal: a node's commands are decided, durable, published and answered in that order, and a node that is opened again
// has all of it. Method: nodes on a memory disk, mostly polled, so that the test holds the turns.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testNode    kafka.BrokerID = 1
	testCluster                = "cluster"
	testFolder                 = "data/" + metadataFolder
)

var testDirectory = kafka.UUID{0: 'd', 15: 200}

// seeded is a random source that gives the same bytes for the same seed.
type seeded struct{ *rand.ChaCha8 }

func newSeeded(seed uint32) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint32(key[:], seed)
	return seeded{rand.NewChaCha8(key)}
}

func (s seeded) Read(p []byte) (int, error) { return s.ChaCha8.Read(p) }

// opened numbers the environments: each start of a node draws other ids.
var opened atomic.Uint32

func testEnv(fs vfs.FS) Env {
	return Env{Clock: clock.NewManual(time.UnixMilli(1_700_000_000_000)), FS: fs, Rand: newSeeded(opened.Add(1)),
		Log: slog.New(slog.DiscardHandler)}
}

func testOptions() Options {
	return Options{Dir: "data", NodeID: testNode, DirectoryID: testDirectory, ClusterID: testCluster,
		Settings: controller.Settings{PartitionsDefault: 1, ReplicationFactorDefault: 1}}
}

func newDisk(t testing.TB) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	if err := disk.MkdirAll("data", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	return disk
}

// polled opens a node that has no goroutine.
func polled(t testing.TB, fs vfs.FS, o Options) *Node {
	t.Helper()
	n, err := OpenPolled(testEnv(fs), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// now runs one command in turns of its own.
func now(n *Node, cmd controller.Command) (reply controller.Reply, err error) {
	answered := false
	if err := n.Enqueue(cmd, func(r controller.Reply, e error) { reply, err, answered = r, e, true }); err != nil {
		return nil, err
	}
	for n.Poll(n.env.Clock.Now()) {
	}
	if !answered {
		return nil, errors.New("the command was not answered")
	}
	return reply, err
}

func register(epochs byte) controller.Command {
	return controller.RegisterBroker{BrokerID: testNode, ClusterID: testCluster, IncarnationID: kafka.UUID{'p', epochs},
		LogDirs: []kafka.UUID{
			testDirectory,
		}, Features: []record.FeatureRange{{Name: "metadata.version", Min: 1, Max: 30}}}
}

func create(names ...string) controller.CreateTopics {
	var cmd controller.CreateTopics
	for _, name := range names {
		value := "5"
		cmd.Topics = append(cmd.Topics, controller.NewTopic{Name: name, Partitions: 2, ReplicationFactor: 1,
			Configs: []controller.ConfigEntry{{Name: "retention.ms", Value: &value}}})
	}
	return cmd
}

func remove(name string) controller.Command {
	return controller.DeleteTopics{Topics: []controller.TopicRef{{Name: &name}}}
}

func must(t testing.TB, n *Node, cmd controller.Command) controller.Reply {
	t.Helper()
	reply, err := now(n, cmd)
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := reply.(controller.CreateTopicsReply); ok && r.Topics[0].Err != nil {
		t.Fatal(r.Topics[0].Err)
	}
	return reply
}

// contents is all that an image holds, as bytes.
func contents(img *image.Image) string {
	var bytes []byte
	for r := range img.Records() {
		bytes = record.Append(bytes, r)
	}
	return string(bytes)
}

func topicNames(img *image.Image) (names []string) {
	for topic := range img.Topics() {
		names = append(names, topic.Name)
	}
	return names
}

func files(t testing.TB, fs vfs.FS) (names []string) {
	t.Helper()
	entries, err := fs.ReadDir(testFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// An internal topic gets a fresh id, as any other does.
func TestAnInternalTopicIsCreated(t *testing.T) {
	n := polled(t, newDisk(t), testOptions())
	must(t, n, register(1))
	created := must(t, n, controller.CreateInternalTopic{Name: kafka.ConsumerOffsetsTopic, Partitions: 50,
		ReplicationFactor: 3, FewerReplicas: true, Configs: map[string]string{"cleanup.policy": "compact"},
	}).(controller.CreateTopicsReply).Topics[0]
	topic := n.Image().Topic(kafka.ConsumerOffsetsTopic)
	if topic == nil || topic.ID != created.ID || topic.ID == kafka.ZeroUUID || len(topic.Partitions) != 50 {
		t.Fatalf("%+v, %+v", created, topic)
	}
}

func TestANewClusterHasItsFeaturesAndALeader(t *testing.T) {
	n := polled(t, newDisk(t), testOptions())
	img := n.Image()
	if img.ClusterID() != testCluster || img.Feature("metadata.version") != MetadataVersion || img.EndOffset() != 2 ||
		img.Epoch() != 1 {
		t.Errorf(
			"cluster %s, features %v, end offset %d, epoch %d",
			img.ClusterID(),
			img.Features(),
			img.EndOffset(),
			img.Epoch(),
		)
	}
}

func TestWhatWasAnsweredIsThereAfterARestart(t *testing.T) {
	disk := newDisk(t)
	for _, clean := range []bool{true, false} {
		n := polled(t, disk, testOptions())
		name := fmt.Sprint("topic-", clean)
		must(t, n, register(1))
		must(t, n, create(name, name+"-gone"))
		must(t, n, remove(name+"-gone"))
		reply := must(
			t,
			n,
			controller.AllocateProducerIDs{BrokerID: testNode, BrokerEpoch: n.Image().Broker(testNode).Epoch},
		)
		want, end := contents(n.Image()), n.Image().EndOffset()
		if clean {
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			disk = disk.CrashClone(rand.New(rand.NewPCG(1, 2)))
		}
		again := polled(t, disk, testOptions())
		if got := contents(again.Image()); got != want || again.Image().EndOffset() <= end {
			t.Errorf("clean %v: after the restart the image holds\n%x, not\n%x", clean, got, want)
		}
		next := must(
			t,
			again,
			controller.AllocateProducerIDs{BrokerID: testNode, BrokerEpoch: again.Image().Broker(testNode).Epoch},
		)
		first := func(r controller.Reply) kafka.ProducerID { return r.(controller.AllocateProducerIDsReply).First }
		if first(next) != first(reply)+controller.ProducerIDBlock {
			t.Errorf("clean %v: the blocks are %+v and %+v", clean, reply, next)
		}
		again.Close()
	}
}

func TestABrokersEpochIsTheOffsetOfItsRegistration(t *testing.T) {
	disk := newDisk(t)
	for restart := range byte(3) {
		n := polled(t, disk, testOptions())
		before := n.Image().EndOffset()
		reply := must(t, n, register(restart)).(controller.RegisterBrokerReply)
		if reply.Epoch != kafka.BrokerEpoch(before) || n.Image().Broker(testNode).Epoch != reply.Epoch {
			t.Errorf("epoch %d, registered at offset %d", reply.Epoch, before)
		}
		n.Close()
	}
}

func TestCommandsOfOneTurnShareOneAppend(t *testing.T) {
	disk := newDisk(t)
	flushes := 0
	n := polled(t, vfs.NewFault(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpDatasync {
			flushes++
		}
		return nil
	}), testOptions())
	must(t, n, register(1))
	var answers []string
	for i := range 100 {
		cmd := create(fmt.Sprint("t", i/2)) // every second one is refused, by what the one before it left uncommitted
		err := n.Enqueue(cmd, func(r controller.Reply, err error) {
			if err != nil {
				t.Error(err)
				return
			}
			result := r.(controller.CreateTopicsReply).Topics[0]
			answers = append(answers, fmt.Sprint(result.Name, " ", kafka.CodeOf(result.Err)))
			if n.Image().Topic(result.Name) == nil {
				t.Errorf("%s was answered before it was published", result.Name)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	appends := n.Stats().Appends.Load()
	flushes = 0
	n.Poll(time.UnixMilli(1))
	if got := n.Stats().Appends.Load() - appends; got != 1 || flushes != 1 {
		t.Errorf("100 commands took %d appends and %d flushes", got, flushes)
	}
	for i, answer := range answers {
		if want := fmt.Sprint("t", i/2, " ", i%2*int(kafka.TopicAlreadyExists.Code)); answer != want {
			t.Errorf("answer %d is %s, want %s", i, answer, want)
		}
	}
	if len(answers) != 100 || n.Poll(time.UnixMilli(1)) {
		t.Errorf("%d answers", len(answers))
	}
}

func TestATurnIsBounded(t *testing.T) {
	o := testOptions()
	o.QueueMax = turnCommandsMax + 50
	n := polled(t, newDisk(t), o)
	answered := 0
	for range o.QueueMax {
		if err := n.Enqueue(register(1), func(controller.Reply, error) { answered++ }); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Enqueue(register(1), nil); !errors.Is(err, ErrBusy) {
		t.Errorf("a full queue says %v", err)
	}
	n.Poll(time.UnixMilli(1))
	if answered != turnCommandsMax {
		t.Errorf("one turn answered %d commands", answered)
	}
	n.Poll(time.UnixMilli(1))
	if answered != o.QueueMax {
		t.Errorf("two turns answered %d commands", answered)
	}
}

func TestATurnIsBoundedInBytesToo(t *testing.T) {
	n := polled(t, newDisk(t), testOptions())
	must(t, n, register(1))
	answered := 0
	for i := range 9 { // 9 × 9999 partitions are some 7 MiB of records
		cmd := create(fmt.Sprint("t", i))
		cmd.Topics[0].Configs, cmd.Topics[0].Partitions = nil, 9999
		if err := n.Enqueue(cmd, func(_ controller.Reply, err error) { answered++ }); err != nil {
			t.Fatal(err)
		}
	}
	n.Poll(time.UnixMilli(1))
	if answered == 0 || answered == 9 {
		t.Errorf("one turn answered %d commands", answered)
	}
	for n.Poll(time.UnixMilli(1)) {
	}
	if answered != 9 || n.Image().PartitionCount() != 9*9999 {
		t.Errorf("%d answers, %d partitions", answered, n.Image().PartitionCount())
	}
}

func TestSubscribersSeeEveryImageInOrder(t *testing.T) {
	n := polled(t, newDisk(t), testOptions())
	must(t, n, register(1))
	var seen []string
	last := n.Subscribe(func(old, next *image.Image, d *image.Delta) {
		seen = append(seen, fmt.Sprint(len(d.TopicsCreated), len(d.TopicsDeleted), topicNames(next)))
		if n.Image() != next {
			t.Error("a subscriber is told of an image that is not published")
		}
		if old.EndOffset() >= next.EndOffset() {
			t.Errorf("an image that ends at %d follows one that ends at %d", next.EndOffset(), old.EndOffset())
		}
	})
	if last != n.Image() {
		t.Error("Subscribe gives another image than the published one")
	}
	must(t, n, create("a"))
	must(t, n, create("b", "c"))
	must(t, n, remove("a"))
	must(t, n, remove("a")) // refused: no image
	if want := []string{"1 0 [a]", "2 0 [a b c]", "0 1 [b c]"}; !slices.Equal(seen, want) {
		t.Errorf("seen: %q", seen)
	}
}

func TestIDsAreDrawnFromTheInjectedSource(t *testing.T) {
	var ids []kafka.UUID
	for range 2 {
		env := testEnv(newDisk(t))
		env.Rand = newSeeded(7)
		n, err := OpenPolled(env, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		must(t, n, register(1))
		cmd := create("a", "b")
		cmd.Topics[1].ID = kafka.UUID{1: 1}
		reply := must(t, n, cmd).(controller.CreateTopicsReply)
		if reply.Topics[1].ID != (kafka.UUID{1: 1}) || reply.Topics[0].ID == kafka.ZeroUUID {
			t.Errorf("ids %s and %s", reply.Topics[0].ID, reply.Topics[1].ID)
		}
		if cmd.Topics[0].ID != kafka.ZeroUUID {
			t.Error("the caller's command was changed")
		}
		ids = append(ids, reply.Topics[0].ID)
	}
	if ids[0] != ids[1] {
		t.Errorf("the same source gives %s and %s", ids[0], ids[1])
	}
	env := testEnv(newDisk(t))
	env.Rand = strings.NewReader("")
	n, err := OpenPolled(env, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := now(n, create("a")); !errors.Is(err, io.EOF) {
		t.Errorf("without randomness: %v", err)
	}
}

func TestSubmitFromManyGoroutines(t *testing.T) {
	n, err := Open(testEnv(newDisk(t)), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Submit(context.Background(), register(1)); err != nil {
		t.Fatal(err)
	}
	n.Subscribe(func(_, next *image.Image, _ *image.Delta) { _ = next.TopicCount() })
	var callers task.Group
	for caller := range 8 {
		callers.Go("caller", func() {
			for i := range 25 {
				name := fmt.Sprint("t", caller, "-", i)
				reply, err := n.Submit(context.Background(), create(name))
				if err != nil || reply.(controller.CreateTopicsReply).Topics[0].Err != nil ||
					n.Image().Topic(name) == nil {
					t.Errorf("%s: %+v, %v", name, reply, err)
				}
			}
		})
	}
	callers.Wait()
	if n.Image().TopicCount() != 200 || n.Stats().Commands.Load() != 202 {
		t.Errorf("%d topics, %d commands", n.Image().TopicCount(), n.Stats().Commands.Load())
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if _, err := n.Submit(context.Background(), register(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("a command after the end: %v", err)
	}
	if err := n.Enqueue(register(1), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a command after the end: %v", err)
	}
}

func TestCloseAnswersThoseThatWait(t *testing.T) {
	n := polled(t, newDisk(t), testOptions())
	started := make(chan struct{})
	var callers task.Group
	errs := make([]error, 4)
	for i := range errs {
		callers.Go("caller", func() {
			started <- struct{}{}
			_, errs[i] = n.Submit(context.Background(), register(1))
		})
		<-started
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	callers.Wait()
	for _, err := range errs {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	}
}

func TestSubmitGivesUpWithItsContext(t *testing.T) {
	o := testOptions()
	o.QueueMax = 1
	n := polled(t, newDisk(t), o)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 2 { // once waiting for the answer, once for room in the queue
		if _, err := n.Submit(ctx, register(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}

func TestNewClusterID(t *testing.T) {
	id, err := NewClusterID(newSeeded(1))
	if err != nil || len(id) != 22 {
		t.Errorf("%q, %v", id, err)
	}
	if _, err := NewClusterID(strings.NewReader("short")); err == nil {
		t.Error("a source that ends gives an id")
	}
}

func TestFilesHaveKafkasNames(t *testing.T) {
	disk := newDisk(t)
	n := polled(t, disk, testOptions())
	n.Close()
	want := []string{
		"00000000000000000000.index",
		"00000000000000000000.log",
		"00000000000000000000.timeindex",
		"quorum-state",
	}
	if got := files(t, disk); !slices.Equal(got, want) {
		t.Errorf("files %q", got)
	}
	data, err := vfs.ReadFile(disk, path.Join(testFolder, quorumStateFile))
	if err != nil {
		t.Fatal(err)
	}
	text := `{"leaderId":-1,"leaderEpoch":1,"votedId":1,"votedDirectoryId":"` + testDirectory.String() +
		`","highWatermark":2,"data_version":1}`
	if string(data) != text {
		t.Errorf("quorum-state is %s, want %s", data, text)
	}
}

func isCheckpoint(entry fs.DirEntry) bool {
	_, _, ok := parseSnapshotName(entry.Name())
	return ok
}
