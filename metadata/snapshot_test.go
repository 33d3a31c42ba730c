package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/controller"
	"spate/metadata/image"
	meta "spate/metadata/record"
)

// Goal: a snapshot stands for the log before it, the log stays short, and a damaged snapshot is refused by name.
// Method: nodes with small snapshots; snapshots made by hand, damaged and fuzzed.

// logFiles gives the base offsets of the segments and the ends of the snapshots.
func logFiles(t *testing.T, fs vfs.FS) (segments, snapshots []string) {
	t.Helper()
	for _, name := range files(t, fs) {
		if base, ok := strings.CutSuffix(name, ".log"); ok {
			segments = append(segments, strings.TrimLeft(base, "0"))
		}
		if end, _, ok := parseSnapshotName(name); ok {
			snapshots = append(snapshots, fmt.Sprint(end))
		}
	}
	return segments, snapshots
}

func TestASnapshotTakesThePlaceOfTheLog(t *testing.T) {
	disk := newDisk(t)
	o := testOptions()
	o.SnapshotBytes = 2500
	n := polled(t, disk, o)
	must(t, n, register(1))
	var taken int64
	for i := range 40 {
		must(t, n, create(fmt.Sprint("t", i)))
		if now := n.Stats().Snapshots.Load(); now != taken {
			taken = now
			segments, snapshots := logFiles(t, disk)
			end := fmt.Sprint(n.Image().EndOffset())
			if !slices.Equal(segments, []string{end}) || !slices.Equal(snapshots, []string{end}) {
				t.Fatalf("after the snapshot at %s there are segments %v and snapshots %v", end, segments, snapshots)
			}
		}
	}
	if taken < 3 {
		t.Errorf("%d snapshots", taken)
	}
	must(t, n, remove("t0"))
	want := contents(n.Image())
	for range 3 {
		n.Close()
		n = polled(t, disk, o)
		if got := contents(n.Image()); got != want {
			t.Fatalf("the image after a restart from snapshot and log is\n%x, not\n%x", got, want)
		}
	}
	must(t, n, create("one-more"))
}

func TestASnapshotThatFindsNoRoomIsPutOff(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EMFILE} {
		t.Run(errno.Error(), func(t *testing.T) { snapshotIsPutOff(t, errno) })
	}
}

func snapshotIsPutOff(t *testing.T, errno syscall.Errno) {
	disk := newDisk(t)
	full := true
	fs := vfs.NewFault(disk, func(op vfs.Op) error {
		if full && op.Kind == vfs.OpCreate && strings.Contains(op.Name, snapshotSuffix) {
			return errno
		}
		return nil
	})
	o := testOptions()
	o.SnapshotBytes = 1000
	n := polled(t, fs, o)
	must(t, n, register(1))
	for i := range 10 {
		must(t, n, create(fmt.Sprint("t", i)))
	}
	if n.Stats().Snapshots.Load() != 0 || n.Err() != nil {
		t.Fatalf("%d snapshots, %v", n.Stats().Snapshots.Load(), n.Err())
	}
	full = false
	for i := range 3 {
		must(t, n, create(fmt.Sprint("u", i)))
	}
	if n.Stats().Snapshots.Load() == 0 {
		t.Error("no snapshot was taken when there was room again")
	}
	want := contents(n.Image())
	n.Close()
	if again := polled(t, disk, o); contents(again.Image()) != want {
		t.Error("something is lost")
	}
}

func sample(t testing.TB) snapshot {
	t.Helper()
	b := image.NewBuilder(image.Empty(testCluster))
	id := kafka.UUID{9}
	for _, r := range []meta.Record{
		&meta.FeatureLevel{Name: "metadata.version", Level: 30},
		&meta.RegisterBroker{BrokerID: 1, BrokerEpoch: 5},
		&meta.Topic{Name: "a", ID: id},
		&meta.Partition{TopicID: id, Replicas: []kafka.BrokerID{1}, ISR: []kafka.BrokerID{1}, Leader: 1},
		&meta.ProducerIDs{NextProducerID: 1000},
	} {
		if err := b.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	b.AdvanceTo(42, 3)
	img, _ := b.Build()
	return snapshot{mark: mark{index: 17, term: 3, end: 42}, newest: 99, image: img,
		conf: &raftpb.ConfState{Voters: []uint64{2}, Learners: []uint64{5}}}
}

func TestASnapshotSurvivesEncodingAndDecoding(t *testing.T) {
	in := sample(t)
	data := encodeSnapshot(in, 7)
	out, err := decodeSnapshot(snapshotName(42, 3), data, testCluster)
	if err != nil {
		t.Fatal(err)
	}
	if out.mark != in.mark || out.newest != in.newest || !proto.Equal(out.conf, in.conf) ||
		contents(out.image) != contents(in.image) || out.image.EndOffset() != 42 || out.image.Epoch() != 3 {
		t.Errorf("%+v became %+v", in, out)
	}
	if again := encodeSnapshot(in, 7); !bytes.Equal(again, data) {
		t.Error("the same image gives two snapshots")
	}
}

func TestALargeSnapshotHasManyBatches(t *testing.T) {
	b := image.NewBuilder(image.Empty(testCluster))
	for n := range snapshotBatchRecords*2 + 1 {
		id := kafka.UUID{1, byte(n >> 8), byte(n)}
		if err := b.Apply(&meta.Topic{Name: fmt.Sprint("t", n), ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	in := sample(t)
	in.image, _ = b.Build()
	data := encodeSnapshot(in, 7)
	batches := 0
	for rest := data; len(rest) > 0; batches++ {
		var err error
		if _, rest, err = record.Next(rest); err != nil {
			t.Fatal(err)
		}
	}
	out, err := decodeSnapshot(snapshotName(42, 3), data, testCluster)
	if err != nil || batches != 5 || contents(out.image) != contents(in.image) {
		t.Errorf("%d batches, %d topics, %v", batches, out.image.TopicCount(), err)
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	good := encodeSnapshot(sample(t), 7)
	header, rest, err := record.Next(good)
	if err != nil {
		t.Fatal(err)
	}
	body, footer, err := record.Next(rest)
	if err != nil {
		t.Fatal(err)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	stranger := encodeRecords([]meta.Record{&meta.RemoveTopic{ID: kafka.UUID{8}}}, 1, 3, 7)
	laterFooter := record.Batch(bytes.Clone(footer))
	laterFooter.SetBaseOffset(2)
	noQuorum := encodeControl(
		record.ControlSnapshotHeader,
		meta.AppendSnapshotHeader(nil, meta.SnapshotHeader{}),
		0,
		3,
		7,
	)
	notRaft := encodeControl(record.ControlSnapshotHeader,
		meta.AppendSnapshotHeader(nil, meta.SnapshotHeader{Quorum: []byte{0xff}}), 0, 3, 7)
	notHeader := encodeControl(record.ControlLeaderChange, []byte{0, 0}, 0, 3, 7)
	two := record.NewBuilder(record.BuilderOptions{LeaderEpoch: 3, Control: true})
	two.AppendControl(7, record.ControlSnapshotHeader, nil)
	two.AppendControl(7, record.ControlSnapshotHeader, nil)
	for name, c := range map[string]struct {
		file string
		data []byte
		want string
	}{
		"an empty file":              {"", nil, "the footer is missing"},
		"a file that ends early":     {"", good[:len(good)-1], "cut short"},
		"no footer":                  {"", join(header, body), "the footer is missing"},
		"no body but a footer":       {"", join(header, footer), "a batch at offset 6 of epoch 3 is out of place"},
		"no header":                  {"", join(body, footer), "a batch at offset 1 of epoch 3 is out of place"},
		"a body and nothing else":    {"", encodeRecords([]meta.Record{&meta.NoOp{}}, 0, 3, 7), "control"},
		"something after the footer": {"", join(good, footer), "a batch at offset 6 of epoch 3 is out of place"},
		"a flipped bit":              {"", flipped, "corrupt"},
		"the epoch of another name":  {snapshotName(42, 4), good, "a batch at offset 0 of epoch 3 is out of place"},
		"a name that is none":        {"42.checkpoint", good, "the name is not that of a snapshot"},
		"records that do not fit":    {"", join(header, stranger, laterFooter), "there is no topic with id"},
		"a header without a quorum":  {"", join(noQuorum, body, footer), "the header describes a snapshot of term 0"},
		"a header with another form": {"", join(notRaft, body, footer), "proto"},
		"another control record":     {"", join(notHeader, body, footer), "is of type 2, not 3"},
		"two headers in one batch":   {"", join(build(two), body, footer), "has not one record"},
	} {
		if c.file == "" {
			c.file = snapshotName(42, 3)
		}
		if _, err := decodeSnapshot(c.file, c.data, testCluster); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestANodeDoesNotStartFromADamagedSnapshot(t *testing.T) {
	disk := newDisk(t)
	o := testOptions()
	o.SnapshotBytes = 1
	n := polled(t, disk, o)
	must(t, n, register(1))
	name := snapshotName(n.Image().EndOffset(), n.Image().Epoch())
	n.Close()
	file := path.Join(testFolder, name)
	data, err := vfs.ReadFile(disk, file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := vfs.ReplaceFile(disk, file, data); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPolled(testEnv(disk), o); !errors.Is(err, kafka.CorruptMessage) ||
		!strings.Contains(err.Error(), name) {
		t.Errorf("%v", err)
	}
	data[len(data)-1] ^= 1
	if err := vfs.ReplaceFile(disk, file, data); err != nil {
		t.Fatal(err)
	}
	o.NodeID = 7
	if _, err := OpenPolled(testEnv(disk), o); err == nil || !strings.Contains(err.Error(), "node 7 is not a voter") {
		t.Errorf("another node's snapshot: %v", err)
	}
}

func TestSnapshotNames(t *testing.T) {
	for name, ok := range map[string]bool{
		snapshotName(42, 3): true, snapshotName(1<<62, 1<<31-1): true, "quorum-state": false,
		"00000000000000000042-0000000003.checkpoint.tmp": false, "00000000000000000042.log": false,
		"0000000000000000042-0000000003.checkpoint": false, "00000000000000000042-9999999999.checkpoint": false,
		"0000000000000000004x-0000000003.checkpoint": false, "00000000000000000042-000000000-1.checkpoint": false,
		"-0000000000000000042-0000000003.checkpoint": false,
	} {
		end, epoch, got := parseSnapshotName(name)
		if got != ok || ok && snapshotName(end, epoch) != name {
			t.Errorf("%s: %d, %d, %v", name, end, epoch, got)
		}
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	good := encodeSnapshot(sample(f), 7)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		mendChecksums(data) // or the fuzzer never gets past them
		s, err := decodeSnapshot(snapshotName(42, 3), data, testCluster)
		if err != nil {
			return
		}
		again, err := decodeSnapshot(snapshotName(42, 3), encodeSnapshot(s, 7), testCluster)
		if err != nil || contents(again.image) != contents(s.image) || again.mark != s.mark {
			t.Fatalf("%v: what was read is not what is written", err)
		}
	})
}

func mendChecksums(data []byte) {
	for rest := data; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			return
		}
		b.UpdateCRC()
		rest = after
	}
}

// BenchmarkOpenWithTenThousandTopics measures a start that replays the log of 10,000 topics.
func BenchmarkOpenWithTenThousandTopics(b *testing.B) {
	disk := newDisk(b)
	n := polled(b, disk, testOptions())
	must(b, n, register(1))
	for i := range 10 {
		cmd := controller.CreateTopics{}
		for j := range 1000 {
			cmd.Topics = append(
				cmd.Topics,
				controller.NewTopic{Name: fmt.Sprint("topic-", i, "-", j), Partitions: 1, ReplicationFactor: 1},
			)
		}
		must(b, n, cmd)
	}
	n.Close()
	for b.Loop() {
		n := polled(b, disk, testOptions())
		n.Close()
	}
}
