package replica

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"spate/internal/clock"
	"spate/internal/logtest"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/controller"
	"spate/metadata/image"
	"spate/partition"
	"spate/replica/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Watcher that notes what it is told.
type recorder struct {
	mark       atomic.Int64
	interrupts atomic.Int64
}

func (r *recorder) Advance(mark kafka.Offset) { r.mark.Store(int64(mark)) }
func (r *recorder) Interrupt()                { r.interrupts.Add(1) }

// host is one broker's replicas over a disk in memory, with a controller that decides on the spot.
type host struct {
	*Set
	t          *testing.T
	disk       vfs.FS
	controller *controller.Controller
	paths      []string
	dirs       []*partition.LogDir
	missing    bool
	lost       bool // paths lacks a directory of before
	deciding   sync.Mutex
	clock      *clock.Manual          // of the set; the directories go by the real time
	onTime     atomic.Pointer[func()] // called once, by who asks for the real time next
	log        logtest.Buffer
}

func newHost(t *testing.T, disk vfs.FS, paths ...string) *host {
	settings := controller.Settings{PartitionsDefault: 1, ReplicationFactorDefault: 1}
	settings.ValidateConfigs = func(*image.Image, image.Resource, map[string]string) error { return nil }
	h := &host{t: t, disk: disk, paths: paths, controller: controller.New(settings, image.Empty("test"))}
	h.open()
	t.Cleanup(h.close)
	return h
}

// open opens the directories and loads what the image has, as a start does.
func (h *host) open() {
	h.t.Helper()
	if err := h.tryOpen(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) tryOpen() error {
	logger := slog.New(slog.NewTextHandler(&h.log, nil))
	o := partition.DefaultOptions()
	o.NodeID, o.ClusterID = 1, "test"
	h.dirs, h.missing = nil, h.lost
	var ids []kafka.UUID
	for _, path := range h.paths {
		env := partition.Env{Clock: calling{host: h}, FS: h.disk, Random: rand.Reader, Log: logger}
		dir, err := partition.OpenLogDir(env, path, o)
		if err != nil {
			h.missing = true
			continue
		}
		h.dirs = append(h.dirs, dir)
		ids = append(ids, dir.ID())
	}
	h.clock = clock.NewManual(time.Now())
	h.Set = NewSet(h.dirs, Options{
		Self: 1, DirsMissing: h.missing, Clock: h.clock, Log: logger,
		Settings: func(overrides map[string]string) Settings {
			s := Settings{Log: partition.DefaultConfig(), ISRMin: 1}
			if overrides["spate.ack.durability"] == "page-cache" {
				s.Log.Durability = partition.DurabilityPageCache
			}
			if _, ok := overrides["min.insync.replicas"]; ok {
				s.ISRMin = 2
			}
			return s
		},
		Watch: func() Watcher { return &recorder{} },
	})
	if err := h.Load(h.controller.Image()); err != nil {
		return err
	}
	for _, dir := range h.dirs {
		dir.Start()
	}
	h.decide(controller.RegisterBroker{BrokerID: 1, ClusterID: "test", IncarnationID: newID(h.t), LogDirs: ids})
	return nil
}

// calling is the real time, with a call to onTime.
type calling struct {
	clock.Real
	host *host
}

func (c calling) Now() time.Time {
	if f := c.host.onTime.Swap(nil); f != nil {
		(*f)()
	}
	return c.Real.Now()
}

func (h *host) close() {
	h.Set.Close()
	for _, dir := range h.dirs {
		failed := dir.Failed() != nil
		if err := dir.Close(1); err != nil && !failed {
			h.t.Error(err)
		}
	}
	h.dirs = nil
}

func newID(t *testing.T) kafka.UUID {
	id, err := kafka.NewUUID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// decide has the controller decide, and the set follow.
func (h *host) decide(cmd controller.Command) controller.Reply {
	h.t.Helper()
	h.deciding.Lock()
	defer h.deciding.Unlock()
	outcome := h.controller.Decide(cmd)
	if outcome.Err != nil {
		h.t.Fatal(outcome.Err)
	}
	end := h.controller.Image().EndOffset() + kafka.Offset(len(outcome.Records))
	d, err := h.controller.Apply(outcome.Records, end, 1)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Apply(h.controller.Image(), d)
	return outcome.Reply
}

func (h *host) create(name string, partitions int32, configs ...string) *Topic {
	h.t.Helper()
	topic := controller.NewTopic{Name: name, ID: newID(h.t), Partitions: partitions, ReplicationFactor: 1}
	for _, c := range configs {
		key, value, _ := strings.Cut(c, "=")
		topic.Configs = append(topic.Configs, controller.ConfigEntry{Name: key, Value: &value})
	}
	reply := h.decide(controller.CreateTopics{Topics: []controller.NewTopic{topic}}).(controller.CreateTopicsReply)
	if reply.Topics[0].Err != nil {
		h.t.Fatal(reply.Topics[0].Err)
	}
	return h.TopicNamed(name)
}

func (h *host) delete(name string) {
	h.t.Helper()
	reply := h.decide(controller.DeleteTopics{Topics: []controller.TopicRef{{Name: &name}}})
	if err := reply.(controller.DeleteTopicsReply).Topics[0].Err; err != nil {
		h.t.Fatal(err)
	}
}

func oneRecord(t *testing.T) []byte {
	b := record.NewBuilder(record.BuilderOptions{})
	b.Append(kafka.Timestamp(time.Now().UnixMilli()), []byte("k"), []byte("v"))
	built, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func appendOne(t *testing.T, r *Replica, acks int16) (partition.Appended, error) {
	return r.Append(oneRecord(t), AppendOptions{
		Acks: acks, Origin: partition.OriginClient, Now: kafka.Timestamp(time.Now().UnixMilli()), ProduceVersion: 9,
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestTopicsAreFoundByNameAndID(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	names := []string{"a", "b", "orders", "__consumer_offsets"}
	for _, name := range names {
		h.create(name, 2)
	}
	for _, name := range names {
		topic := h.Topic([]byte(name))
		if topic == nil || topic.Name != name || topic != h.TopicNamed(name) || topic != h.TopicByID(topic.ID) {
			t.Fatalf("%s is found as %v", name, topic)
		}
		for p, want := range map[kafka.PartitionIndex]bool{-1: false, 0: true, 1: true, 2: false} {
			if found := topic.Partition(p) != nil; found != want {
				t.Fatalf("%s-%d is found: %v", name, p, found)
			}
		}
		if topic.Internal != (name == "__consumer_offsets") {
			t.Errorf("%s: internal is %v", name, topic.Internal)
		}
	}
	if h.Topic([]byte("c")) != nil || h.TopicByID(kafka.UUID{1}) != nil {
		t.Error("a topic is found that does not exist")
	}
	id := h.TopicNamed("b").ID
	h.delete("b")
	if h.TopicNamed("b") != nil || h.TopicByID(id) != nil {
		t.Error("a deleted topic is found")
	}
	count := 0
	h.Each(func(*Replica) { count++ })
	if count != 6 {
		t.Errorf("%d replicas, want 6", count)
	}
}

func TestLookUpsDoNotAllocate(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	topic := h.create("orders", 1)
	name, id := []byte("orders"), topic.ID
	allocs := testing.AllocsPerRun(100, func() {
		if h.Topic(name) == nil || h.TopicByID(id) == nil || h.Topic(name).Partition(0) == nil {
			t.Fatal("not found")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestNewLogsGoWhereTheFewestAre(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a", "/b", "/c")
	h.create("orders", 7)
	for _, dir := range h.dirs {
		if n := dir.LogCount(); n < 2 || n > 3 {
			t.Errorf("%s has %d logs", dir.Path(), n)
		}
	}
	h.delete("orders")
	h.create("again", 3)
	for _, dir := range h.dirs {
		if n := dir.LogCount(); n != 1 {
			t.Errorf("%s has %d logs", dir.Path(), n)
		}
	}
}

func TestHighWatermarkFollowsTheFlushOrTheAppend(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	flushed := h.create("flushed", 1).Partition(0)
	cached := h.create("cached", 1, "spate.ack.durability=page-cache").Partition(0)
	for i := range kafka.Offset(3) {
		a, err := appendOne(t, cached, 1)
		if err != nil || cached.HighWatermark() != a.EndOffset || a.EndOffset != i+1 {
			t.Fatalf("%+v, %v, high watermark %d", a, err, cached.HighWatermark())
		}
		a, err = appendOne(t, flushed, 1)
		if err != nil {
			t.Fatal(err)
		}
		w := flushed.Watcher().(*recorder)
		eventually(t, "the flush moves the mark", func() bool { return kafka.Offset(w.mark.Load()) == a.EndOffset })
		if log := flushed.View().Log; log.FlushedOffset() < a.EndOffset || flushed.HighWatermark() != a.EndOffset {
			t.Fatalf("flushed to %d, high watermark %d", log.FlushedOffset(), flushed.HighWatermark())
		}
	}
}

func TestLeaderEpochsAreChecked(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	h.create("orders", 1)
	h.close()
	h.open() // a new registration is a new leader epoch
	r := h.TopicNamed("orders").Partition(0)
	epoch := r.View().LeaderEpoch
	if epoch < 1 || r.View().Role != state.Leader {
		t.Fatalf("%+v", r.View())
	}
	for _, test := range []struct {
		epoch kafka.LeaderEpoch
		want  error
	}{
		{epoch, nil}, {kafka.NoLeaderEpoch, nil}, {-5, nil},
		{epoch - 1, kafka.FencedLeaderEpoch}, {epoch + 1, kafka.UnknownLeaderEpoch},
	} {
		if _, err := r.Lead(test.epoch); !errors.Is(err, test.want) {
			t.Errorf("epoch %d: %v, want %v", test.epoch, err, test.want)
		}
		end := r.View().Log.LogEndOffset()
		_, err := r.AppendIn(test.epoch, oneRecord(t), AppendOptions{
			Acks: AcksAll, Origin: partition.OriginCoordinator, Now: kafka.Timestamp(time.Now().UnixMilli()),
		})
		if appended := r.View().Log.LogEndOffset() > end; !errors.Is(err, test.want) || appended != (err == nil) {
			t.Errorf("append in epoch %d: %v, want %v", test.epoch, err, test.want)
		}
	}
	if got := r.View().Log.LatestEpoch(); got != epoch {
		t.Errorf("the log knows the epoch %d, want %d", got, epoch)
	}
}

func TestFollowerRefusesAndTooFewInSyncRefuse(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	topic := h.create("orders", 1, "min.insync.replicas=2")
	r := topic.Partition(0)
	if _, err := appendOne(t, r, AcksAll); err != nil {
		t.Fatalf("one replica is all there are: %v", err)
	}
	three := []kafka.BrokerID{1, 2, 3}
	v := r.View()
	r.assign(1, &state.Assignment{Leader: 1, LeaderEpoch: v.LeaderEpoch, PartitionEpoch: v.PartitionEpoch + 1,
		Replicas: three, ISR: three[:1]})
	if _, err := appendOne(t, r, AcksAll); !errors.Is(err, kafka.NotEnoughReplicas) {
		t.Errorf("acks all with one of three in sync: %v", err)
	}
	if _, err := appendOne(t, r, 1); err != nil {
		t.Errorf("acks 1: %v", err)
	}
	interrupts := r.Watcher().(*recorder).interrupts.Load()
	r.assign(1, &state.Assignment{Leader: 2, LeaderEpoch: v.LeaderEpoch + 1, PartitionEpoch: v.PartitionEpoch + 2,
		Replicas: three, ISR: three})
	if r.Watcher().(*recorder).interrupts.Load() != interrupts+1 {
		t.Error("those who wait are not told of the new leader")
	}
	if _, err := appendOne(t, r, 1); !errors.Is(err, kafka.NotLeaderOrFollower) {
		t.Errorf("a follower appends: %v", err)
	}
	err := r.Read(&ReadOptions{CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}, &ReadResult{})
	if !errors.Is(err, kafka.NotLeaderOrFollower) {
		t.Errorf("a follower is read: %v", err)
	}
}

func TestRestartFindsEverythingAgain(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a", "/b")
	h.create("orders", 4)
	dirs := map[kafka.PartitionIndex]string{}
	for p := range kafka.PartitionIndex(4) {
		r := h.TopicNamed("orders").Partition(p)
		for range p + 1 {
			if _, err := appendOne(t, r, 1); err != nil {
				t.Fatal(err)
			}
		}
		dirs[p] = r.View().Log.Dir().Path()
	}
	h.close()
	h.open()
	for p := range kafka.PartitionIndex(4) {
		log := h.TopicNamed("orders").Partition(p).View().Log
		end, mark, dir := log.LogEndOffset(), log.HighWatermark(), log.Dir().Path()
		if want := kafka.Offset(p + 1); end != want || mark != want || dir != dirs[p] {
			t.Errorf("partition %d ends at %d, is committed to %d, in %s", p, end, mark, dir)
		}
	}
}

func TestFoldersThatBelongToNobodyAreSetAside(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	h.create("orders", 1)
	h.create("deleted", 1)
	if _, err := appendOne(t, h.TopicNamed("deleted").Partition(0), 1); err != nil {
		t.Fatal(err)
	}
	h.close()
	name := "deleted" // while the broker is down
	outcome := h.controller.Decide(controller.DeleteTopics{Topics: []controller.TopicRef{{Name: &name}}})
	end := h.controller.Image().EndOffset() + kafka.Offset(len(outcome.Records))
	if _, err := h.controller.Apply(outcome.Records, end, 1); err != nil {
		t.Fatal(err)
	}
	h.open()
	if h.TopicNamed("deleted") != nil || h.TopicNamed("orders") == nil {
		t.Fatal("the wrong topic is gone")
	}
	entries, err := h.disk.ReadDir("/a")
	if err != nil {
		t.Fatal(err)
	}
	stray := slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return strings.HasPrefix(e.Name(), "deleted-0.") && strings.HasSuffix(e.Name(), "-stray")
	})
	if !stray || !strings.Contains(h.log.String(), "set aside") {
		t.Errorf("the folder is not set aside: %v\n%s", entries, h.log.String())
	}
}

// copyLog copies the log of a stopped broker to another folder.
func copyLog(t *testing.T, disk vfs.FS, from, to string) {
	t.Helper()
	if err := disk.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"/00000000000000000000.log", "/partition.metadata"} {
		data, err := vfs.ReadFile(disk, from+file)
		if err != nil {
			t.Fatal(err)
		}
		if err := vfs.ReplaceFile(disk, to+file, data); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPartitionInTwoDirectoriesEndsTheStart(t *testing.T) {
	disk := vfs.NewMem()
	h := newHost(t, disk, "/a")
	h.create("orders", 1)
	h.close()
	copyLog(t, disk, "/a/orders-0", "/b/orders-0")
	h.paths = []string{"/a", "/b"}
	err := h.tryOpen()
	if err == nil || !strings.Contains(err.Error(), "orders-0 is in ") {
		t.Fatalf("%v", err)
	}
}

func TestSettingsFollowTheTopic(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	r := h.create("orders", 1).Partition(0)
	if !r.View().AckFlushed {
		t.Fatal("the default is to flush")
	}
	s := h.options.Settings(map[string]string{"spate.ack.durability": "page-cache", "min.insync.replicas": "2"})
	r.configure(s)
	a, err := appendOne(t, r, 1)
	if err != nil || r.HighWatermark() != a.EndOffset || r.View().AckFlushed {
		t.Fatalf("%+v %v: high watermark %d", a, err, r.HighWatermark())
	}
	r.configure(h.options.Settings(nil))
	if a, err = appendOne(t, r, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the flush moves the mark", func() bool { return r.HighWatermark() == a.EndOffset })
}

// A producer that found the topic's records to count in the page cache, and whose record comes after the change to
// flush and after the flush that the change asked for, still sees its record flushed.
func TestAppendBesideAChangeToFlush(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	r := h.create("orders", 1, "spate.ack.durability=page-cache").Partition(0)
	rounds := &h.dirs[0].Stats().FlushRounds
	change := func() { // Append asks for the time when it has looked at the view and has not written yet
		before := rounds.Load()
		r.configure(h.options.Settings(nil))
		eventually(t, "the change's own flush is over", func() bool { return rounds.Load() > before })
	}
	h.onTime.Store(&change)
	a, err := appendOne(t, r, 1)
	if err != nil {
		t.Fatal(err)
	}
	if h.onTime.Load() != nil || !r.View().AckFlushed {
		t.Fatal("the settings have not changed")
	}
	eventually(t, "the flush moves the mark", func() bool { return r.HighWatermark() == a.EndOffset })
}

func TestFailedDirectory(t *testing.T) {
	var sick atomic.Bool
	disk := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
		if sick.Load() && strings.HasPrefix(op.Name, "/b") && op.Kind.Mutates() {
			return syscall.EIO
		}
		return nil
	})
	h := newHost(t, disk, "/a", "/b")
	topic := h.create("orders", 2)
	var inA, inB *Replica
	for _, r := range topic.Replicas() {
		if r.View().Log.Dir().Path() == "/a" {
			inA = r
		} else {
			inB = r
		}
	}
	sick.Store(true)
	if _, err := appendOne(t, inB, 1); kafka.CodeOf(err) != kafka.KafkaStorageError.Code {
		t.Fatalf("%v", err)
	}
	eventually(t, "the replica is unavailable", func() bool { return inB.View().Unavailable != nil })
	if w := inB.Watcher().(*recorder); w.interrupts.Load() == 0 {
		t.Error("those who wait are not told")
	}
	if _, err := appendOne(t, inA, 1); err != nil {
		t.Errorf("the other directory: %v", err)
	}
	if more := h.create("more", 2); slices.ContainsFunc(more.Replicas(), func(r *Replica) bool {
		return r.View().Log == nil || r.View().Log.Dir().Path() != "/a"
	}) {
		t.Error("a new log is in the failed directory, or nowhere")
	}
	h.close()
	h.open() // and the directory cannot be opened any more
	for _, r := range h.TopicNamed("orders").Replicas() {
		_, err := appendOne(t, r, 1)
		want := kafka.NoError
		if r.tp == inB.tp {
			want = kafka.KafkaStorageError.Code
		}
		if kafka.CodeOf(err) != want {
			t.Errorf("%v: %v", r.tp, err)
		}
	}
	if _, err := inB.Lead(-1); err == nil {
		t.Error("an unavailable replica leads")
	}
}

func TestDeletedTopicIsUnknownToThoseWhoHoldIt(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	r := h.create("orders", 1).Partition(0)
	h.delete("orders")
	if _, err := appendOne(t, r, 1); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("append: %v", err)
	}
	if r.Watcher().(*recorder).interrupts.Load() == 0 {
		t.Error("those who wait are not told")
	}
}

func TestManyTopics(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	for i := range 300 {
		h.create(fmt.Sprintf("topic-%d", i), 1)
	}
	for i := range 300 {
		if i%3 == 0 {
			h.delete(fmt.Sprintf("topic-%d", i))
		}
	}
	for i := range 300 {
		if found := h.TopicNamed(fmt.Sprintf("topic-%d", i)) != nil; found != (i%3 != 0) {
			t.Fatalf("topic %d: found is %v", i, found)
		}
	}
}

// A topic can be created on a full disk: what the controller notes needs less room than a log. Its partitions work as
// soon as there is room, without a restart.
func TestLogThatFoundNoRoomIsMadeWhenThereIsSome(t *testing.T) {
	disk := vfs.NewMem()
	h := newHost(t, disk, "/a")
	disk.SetCapacity(disk.UsedBytes())
	topic := h.create("late", 2)
	gone := h.create("gone", 1)
	h.delete("gone")
	first := topic.Partition(0)
	if _, err := appendOne(t, first, 1); kafka.CodeOf(err) != kafka.KafkaStorageError.Code {
		t.Fatalf("on the full disk: %v", err)
	}
	h.clock.Advance(retryEvery)
	if r := topic.Partition(0); r != first || h.log.String() == "" {
		t.Fatal("there was no room yet")
	}
	disk.SetCapacity(1 << 30)
	h.clock.Advance(retryEvery)
	for i, r := range topic.Replicas() {
		if _, err := appendOne(t, r, 1); err != nil {
			t.Errorf("partition %d with room again: %v", i, err)
		}
	}
	if first.Watcher().(*recorder).interrupts.Load() == 0 {
		t.Error("those who wait are not told")
	}
	if h.TopicByID(gone.ID) != nil || h.dirs[0].LogCount() != 2 {
		t.Error("a deleted topic was given logs")
	}
	h.close()
	h.open()
	if end := h.TopicNamed("late").Partition(0).View().Log.LogEndOffset(); end != 1 {
		t.Errorf("after a restart the log ends at %d, want 1", end)
	}
}

// The controller hears where the log is that found no room at first: without the directory a start would not know that
// there is one.
func TestControllerHearsOfALogThatFoundNoRoom(t *testing.T) {
	disk := vfs.NewMem()
	h := newHost(t, disk, "/a", "/b")
	h.startMoves()
	disk.SetCapacity(disk.UsedBytes())
	r := h.create("late", 1)
	disk.SetCapacity(1 << 30)
	h.clock.Advance(retryEvery)
	if _, err := appendOne(t, r.Partition(0), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the controller knows", func() bool { return h.assigned("late", 0) == dirOf(r.Partition(0)) })
}

// A topic with a partition that could not be loaded can be deleted, and made again at once.
func TestDeletedTopicTakesItsCorruptLogAlong(t *testing.T) {
	disk := vfs.NewMem()
	h := newHost(t, disk, "/a", "/b")
	topic := h.create("orders", 2)
	var lost string
	for _, r := range topic.Replicas() {
		if _, err := appendOne(t, r, AcksAll); err != nil {
			t.Fatal(err)
		}
		lost = r.View().Log.Dir().Path() + "/" + r.tp.String()
	}
	h.close()
	file, err := disk.OpenFile(lost+"/00000000000000000000.log", os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	h.open()
	broken := h.TopicNamed("orders").Partition(1)
	if _, err := appendOne(t, broken, 1); kafka.CodeOf(err) != kafka.KafkaStorageError.Code {
		t.Fatalf("the corrupt partition: %v", err)
	}
	h.delete("orders")
	if _, err := disk.Stat(lost); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there still: %v", lost, err)
	}
	h.create("orders", 2)
	for range 2 {
		for _, r := range h.TopicNamed("orders").Replicas() {
			if _, err := appendOne(t, r, 1); err != nil {
				t.Errorf("%v of the new topic: %v", r.tp, err)
			}
		}
		h.close()
		h.open()
	}
}
