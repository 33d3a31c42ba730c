package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/controller"
	"spate/partition"
)

// startMoves lets the replicas of the host move.
func (h *host) startMoves() {
	h.StartMoves(MoveOptions{
		BytesPerSecond: func() int64 { return math.MaxInt64 },
		Assign: func(_ context.Context, list []DirAssignment) error {
			cmd := controller.AssignReplicasToDirs{BrokerID: 1}
			for _, a := range list {
				cmd.Replicas = append(cmd.Replicas, controller.DirAssignment(a))
			}
			h.decide(cmd)
			return nil
		},
	})
}

// assigned is the path of the directory that the controller has a replica in.
func (h *host) assigned(topic string, index kafka.PartitionIndex) string {
	h.deciding.Lock()
	defer h.deciding.Unlock()
	id := h.controller.Image().Partition(topic, index).Directory(1)
	for _, d := range h.dirs {
		if d.ID() == id {
			return d.Path()
		}
	}
	return ""
}

func dirOf(r *Replica) string { return r.View().Log.Dir().Path() }

func other(path string) string {
	if path == "/a" {
		return "/b"
	}
	return "/a"
}

// Goal: clients do not notice a move, and lose nothing. Method: append and read on several goroutines while the
// replica goes to and fro; every append succeeds, and in the end every record is where its append said.
func TestMoveUnderLoad(t *testing.T) {
	const moves, writers = 6, 3
	h := newHost(t, vfs.NewMem(), "/a", "/b")
	h.startMoves()
	r := h.create("orders", 1).Partition(0)
	tp := r.TopicPartition()
	eventually(t, "the controller knows the directory", func() bool { return h.assigned("orders", 0) == dirOf(r) })
	var (
		load   task.Group
		done   atomic.Bool
		mu     sync.Mutex
		values = map[kafka.Offset]string{}
	)
	for w := range writers {
		load.Go("writer", func() {
			for i := 0; !done.Load(); i++ {
				value := fmt.Sprintf("%d/%d", w, i)
				b := record.NewBuilder(record.BuilderOptions{})
				b.Append(kafka.Timestamp(1), nil, []byte(value))
				batch, err := b.Build()
				if err != nil {
					t.Error(err)
					return
				}
				a, err := r.Append(batch,
					AppendOptions{Acks: AcksAll, Origin: partition.OriginClient, ProduceVersion: 9})
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				values[a.BaseOffset] = value
				mu.Unlock()
				if i%20 == 0 {
					eventually(t, "the append is committed", func() bool { return r.HighWatermark() >= a.EndOffset })
				}
			}
		})
	}
	load.Go("reader", func() {
		last := kafka.Offset(0)
		for !done.Load() {
			var result ReadResult
			o := ReadOptions{Offset: last, BytesMax: 1 << 20, MinOne: true,
				CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}
			if err := r.Read(&o, &result); err != nil {
				t.Errorf("read: %v", err)
				return
			}
			if result.HighWatermark < last {
				t.Errorf("the high watermark is %d after a read up to %d", result.HighWatermark, last)
			}
			if result.Records.Length() > 0 {
				last = result.Records.NextOffset
			}
			result.Records.Release()
		}
	})
	for range moves {
		target := other(dirOf(r))
		before := r.HighWatermark()
		eventually(t, "there is something new", func() bool { return r.HighWatermark() > before })
		if err := h.Move(tp, target); err != nil {
			t.Error(err)
			break
		}
		eventually(t, "the replica has moved", func() bool { return dirOf(r) == target && len(h.Moves()) == 0 })
		if at := h.assigned("orders", 0); at != target {
			t.Errorf("the controller has it in %s", at)
		}
	}
	done.Store(true)
	load.Wait()
	eventually(t, "all is committed", func() bool { return int(r.HighWatermark()) == len(values) })
	check := func(log *partition.Log) {
		t.Helper()
		for offset, value := range values {
			found, err := log.Read(offset, 1, true, log.LogEndOffset())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(found.Bytes(), []byte(value)) {
				t.Errorf("offset %d does not hold %s", offset, value)
			}
			found.Release()
		}
	}
	check(r.View().Log)
	if n := h.MoveStats().Done.Load(); n != moves {
		t.Errorf("%d moves are counted", n)
	}
	h.close()
	h.open()
	check(h.TopicNamed("orders").Partition(0).View().Log)
}

func TestMoveRefusals(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a", "/b")
	h.startMoves()
	r := h.create("orders", 1).Partition(0)
	for name, c := range map[string]struct {
		tp   kafka.TopicPartition
		path string
		want error
	}{
		"to a directory that is not open": {r.tp, "/c", kafka.KafkaStorageError},
		"of a topic that is not there":    {kafka.TopicPartition{Topic: "x"}, "/a", kafka.UnknownTopicOrPartition},
		"of a partition that is not there": {
			kafka.TopicPartition{Topic: "orders", Partition: 3}, "/a", kafka.UnknownTopicOrPartition,
		},
		"to where it is": {r.tp, dirOf(r), nil},
	} {
		if err := h.Move(c.tp, c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A directory that was asked for before there was a topic is the one that its log is made in.
	for i := range 4 {
		tp := kafka.TopicPartition{Topic: fmt.Sprint("later", i)}
		if err := h.Move(tp, "/b"); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Error(err)
		}
		if at := dirOf(h.create(tp.Topic, 1).Partition(0)); at != "/b" {
			t.Errorf("%s is made in %s", tp, at)
		}
	}
}

// slow is a disk whose writes to the copies of moves wait until they are let go.
func slow(disk vfs.FS) (fs vfs.FS, letGo func()) {
	gate := make(chan struct{})
	return vfs.NewFault(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && strings.Contains(op.Name, "-future/") && strings.HasSuffix(op.Name, ".log") {
			<-gate
		}
		return nil
	}), sync.OnceFunc(func() { close(gate) })
}

// A move that is under way shows, goes on when it is asked for again, ends when the replica is to be elsewhere,
// and when its topic is deleted; nothing is left of it.
func TestMoveCancelled(t *testing.T) {
	for name, cancel := range map[string]func(h *host, r *Replica){
		"by a move back": func(h *host, r *Replica) {
			if err := h.Move(r.tp, dirOf(r)); err != nil {
				h.t.Error(err)
			}
		},
		"by deletion": func(h *host, r *Replica) { h.delete(r.tp.Topic) },
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem()
			slowDisk, letGo := slow(disk)
			h := newHost(t, slowDisk, "/a", "/b")
			defer letGo()
			h.startMoves()
			r := h.create("orders", 1).Partition(0)
			if _, err := appendOne(t, r, AcksAll); err != nil {
				t.Fatal(err)
			}
			target := other(dirOf(r))
			for range 2 {
				if err := h.Move(r.tp, target); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(h.mover.moves); n != 1 {
				t.Errorf("%d moves are under way", n)
			}
			go letGo()
			cancel(h, r)
			eventually(t, "the move is over", func() bool { return len(h.Moves()) == 0 })
			futures := func() (n int) {
				entries, err := disk.ReadDir(target)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if strings.Contains(e.Name(), "-future") {
						n++
					}
				}
				return n
			}
			eventually(t, "the copy is gone", func() bool { return futures() == 0 })
		})
	}
}

// A move that the disk refuses leaves the replica where it is, which serves on, and is counted.
func TestMoveFails(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		var sick atomic.Bool
		disk := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			isCopy := strings.Contains(op.Name, "-future/") && strings.HasSuffix(op.Name, ".log")
			if sick.Load() && op.Kind == vfs.OpWrite && isCopy {
				return cause
			}
			return nil
		})
		h := newHost(t, disk, "/a", "/b")
		h.startMoves()
		r := h.create("orders", 1).Partition(0)
		at := dirOf(r)
		if _, err := appendOne(t, r, AcksAll); err != nil {
			t.Fatal(err)
		}
		sick.Store(true)
		if err := h.Move(r.tp, other(at)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the move has failed", func() bool {
			return h.MoveStats().Failures.Load() == 1 && len(h.Moves()) == 0
		})
		if _, err := appendOne(t, r, AcksAll); err != nil || dirOf(r) != at || len(h.Moves()) > 0 {
			t.Errorf("after %v: %v, in %s", cause, err, dirOf(r))
		}
		for _, d := range h.dirs {
			if d.Failed() != nil {
				t.Errorf("%s is offline: %v", d.Path(), d.Failed())
			}
		}
		sick.Store(false)
		if err := h.Move(r.tp, other(at)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the next move is done", func() bool { return dirOf(r) == other(at) })
	}
}

// A move that a restart interrupts is done after it. Without the directory that the log is in, the copy is not
// taken for the log, and no other is made.
func TestMoveOverARestart(t *testing.T) {
	disk := vfs.NewMem()
	h := newHost(t, disk, "/a", "/b")
	r := h.create("orders", 1).Partition(0)
	if _, err := appendOne(t, r, AcksAll); err != nil {
		t.Fatal(err)
	}
	from, target := dirOf(r), other(dirOf(r))
	if err := h.Move(r.tp, target); err != nil { // nobody copies yet
		t.Fatal(err)
	}
	id := r.View().Log.TopicID()
	for _, d := range h.dirs { // the controller has heard of it, and then the power goes
		if d.Path() == target {
			there := controller.DirAssignment{TopicID: id, Dir: d.ID()}
			h.decide(controller.AssignReplicasToDirs{BrokerID: 1, Replicas: []controller.DirAssignment{there}})
		}
	}
	h.close()
	h.paths, h.lost = []string{target}, true
	h.open()
	if v := h.TopicNamed("orders").Partition(0).View(); !errors.Is(v.Unavailable, kafka.KafkaStorageError) {
		t.Errorf("without %s the partition is served: %+v", from, v)
	}
	h.startMoves()
	h.close()
	h.paths, h.lost = []string{"/a", "/b"}, false
	h.open()
	h.startMoves()
	r = h.TopicNamed("orders").Partition(0)
	eventually(t, "the move is done", func() bool { return dirOf(r) == target })
	if end := r.View().Log.LogEndOffset(); end != 1 {
		t.Errorf("the log ends at %d", end)
	}
	eventually(t, "the controller knows", func() bool { return h.assigned("orders", 0) == target })
}

// Goal: at no moment does the controller believe in a directory that has nothing of a replica. Method: a move ends
// while the controller is being told of it; the copy stays until the controller has heard that the replica is where
// it was.
func TestMoveCancelledWhileTheControllerIsTold(t *testing.T) {
	disk := vfs.NewMem()
	h := newHost(t, disk, "/a", "/b")
	r := h.create("orders", 1).Partition(0)
	if _, err := appendOne(t, r, AcksAll); err != nil {
		t.Fatal(err)
	}
	from, target := dirOf(r), other(dirOf(r))
	asked, letGo, over := make(chan kafka.UUID), make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(over) })
	h.StartMoves(MoveOptions{
		BytesPerSecond: func() int64 { return math.MaxInt64 },
		Assign: func(_ context.Context, list []DirAssignment) error {
			for _, a := range list {
				select {
				case asked <- a.Dir:
					<-letGo
				case <-over:
					return errors.New("the test is over")
				}
				h.decide(controller.AssignReplicasToDirs{BrokerID: 1,
					Replicas: []controller.DirAssignment{controller.DirAssignment(a)}})
			}
			return nil
		},
	})
	copies := func() (n int) {
		entries, err := disk.ReadDir(target)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), "-future") {
				n++
			}
		}
		return n
	}
	told := func(want string) {
		t.Helper()
		for _, d := range h.dirs {
			for d.Path() == want && <-asked != d.ID() {
				letGo <- struct{}{}
			}
		}
	}
	told(from) // which the directory of a new replica is
	letGo <- struct{}{}
	eventually(t, "the controller knows", func() bool { return h.assigned("orders", 0) == from })
	if err := h.Move(r.tp, target); err != nil {
		t.Fatal(err)
	}
	told(target)
	if err := h.Move(r.tp, from); err != nil {
		t.Fatal(err)
	}
	letGo <- struct{}{}
	told(from)
	if n := copies(); n != 1 || h.assigned("orders", 0) != target {
		t.Errorf("%d copies, the controller has it in %s", n, h.assigned("orders", 0))
	}
	letGo <- struct{}{}
	eventually(t, "the copy is gone", func() bool {
		select {
		case <-asked: // it may be told twice
			letGo <- struct{}{}
		default:
		}
		return copies() == 0
	})
	if at := h.assigned("orders", 0); at != from || dirOf(r) != from {
		t.Errorf("it is in %s, the controller has it in %s", dirOf(r), at)
	}
}

// Of two logs, one of which is corrupt, the one that replaces it goes on. What a corrupt one has that replaces another,
// nobody knows: an operator has to choose.
func TestMoveLeavesACorruptLog(t *testing.T) {
	for _, c := range []struct {
		corrupt string // the folder of the moved one, or of the other
		served  bool
	}{{"other", true}, {"moved", false}} {
		disk := vfs.NewMem()
		h := newHost(t, disk, "/a", "/b")
		r := h.create("orders", 1).Partition(0)
		if _, err := appendOne(t, r, AcksAll); err != nil {
			t.Fatal(err)
		}
		at, elsewhere := dirOf(r)+"/orders-0", other(dirOf(r))
		var id kafka.UUID
		for _, d := range h.dirs {
			if d.Path() == elsewhere {
				id = d.ID()
			}
		}
		h.close()
		elsewhere += "/orders-0"
		if err := disk.MkdirAll(elsewhere, 0o755); err != nil {
			t.Fatal(err)
		}
		entries, err := disk.ReadDir(at)
		if err != nil {
			t.Fatal(err)
		}
		put := func(name string, content []byte) {
			file, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
			if err == nil {
				_, err = file.WriteAt(content, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			file.Close()
		}
		for _, e := range entries {
			content, err := vfs.ReadFile(disk, at+"/"+e.Name())
			if err != nil {
				t.Fatal(err)
			}
			put(elsewhere+"/"+e.Name(), content)
		}
		put(at+"/moved-from", []byte("version: 0\ndirectory_id: "+id.String()))
		folder := map[string]string{"other": elsewhere, "moved": at}[c.corrupt]
		const first = "/00000000000000000000.log"
		whole, err := vfs.ReadFile(disk, folder+first)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{"/a", "/b"} { // both are loaded as after a crash, and trust their checkpoints
			asAfterACrash(t, disk, d)
			put(d+"/recovery-point-offset-checkpoint", []byte("0\n1\norders 0 1\n"))
		}
		put(folder+first, nil)
		if err := h.tryOpen(); (err == nil) != c.served {
			t.Fatalf("%s is corrupt: %v", c.corrupt, err)
		}
		if c.served {
			r := h.TopicNamed("orders").Partition(0)
			if _, err := appendOne(t, r, AcksAll); err != nil || dirOf(r)+"/orders-0" != at {
				t.Errorf("in %s: %v", dirOf(r), err)
			}
			continue
		}
		put(folder+first, whole) // nothing was removed: with the bytes that are missing it is found
		h.close()
		h.open()
		if end := h.TopicNamed("orders").Partition(0).View().Log.LogEndOffset(); end != 1 {
			t.Errorf("the log ends at %d", end)
		}
	}
}

// A change of the limit holds for a move that waits under the old one; and who ends such a move need not wait.
func TestMoveLimitChanges(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a", "/b")
	var limit atomic.Int64
	limit.Store(1)
	h.StartMoves(MoveOptions{
		BytesPerSecond: limit.Load,
		Assign:         func(context.Context, []DirAssignment) error { return nil },
	})
	large := make([]byte, 2*nearlyDone)
	for i, unlimited := range []bool{true, false} {
		topic := fmt.Sprintf("orders-%d", i)
		r := h.create(topic, 1).Partition(0)
		batch := record.NewBuilder(record.BuilderOptions{})
		batch.Append(1, nil, large)
		o := AppendOptions{Acks: AcksAll, Origin: partition.OriginClient, Now: 1, ProduceVersion: 9}
		b, err := batch.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Append(b, o); err != nil {
			t.Fatal(err)
		}
		target := other(dirOf(r))
		if err := h.Move(r.tp, target); err != nil {
			t.Fatal(err)
		}
		before := int64(i) * nearlyDone
		eventually(t, "a piece is copied", func() bool { return h.MoveStats().CopiedBytes.Load() > before })
		if unlimited {
			limit.Store(math.MaxInt64)
			eventually(t, "the move is done", func() bool {
				h.clock.Advance(paceStep)
				return dirOf(r) == target
			})
			limit.Store(1)
			continue
		}
		if err := h.Move(r.tp, dirOf(r)); err != nil {
			t.Fatal(err)
		}
		h.clock.Advance(paceStep)
		_ = h.Move(kafka.TopicPartition{Topic: "small"}, dirOf(r)) // where it is to be made
		next := h.create("small", 1).Partition(0)
		if err := h.Move(next.tp, target); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the next has its turn", func() bool {
			h.clock.Advance(paceStep)
			return dirOf(next) == target
		})
	}
}

// Whoever finds the moved log finds no lower high watermark than the log had, although that went up during the last
// step of the move.
func TestMoveKeepsTheHighWatermark(t *testing.T) {
	var held atomic.Bool
	gate := make(chan struct{})
	disk := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
		if held.Load() && op.Kind == vfs.OpDatasync && strings.Contains(op.Name, "/twin-0/") {
			<-gate
		}
		return nil
	})
	h := newHost(t, disk, "/a", "/b")
	defer close(gate)
	r, twin := h.create("orders", 1).Partition(0), h.create("twin", 1).Partition(0)
	if _, err := appendOne(t, r, AcksAll); err != nil {
		t.Fatal(err)
	}
	if err := r.View().Log.Flush(); err != nil {
		t.Fatal(err)
	}
	next := twin.View().Log
	held.Store(true) // its high watermark stays where it is
	if _, err := appendOne(t, twin, AcksAll); err != nil {
		t.Fatal(err)
	}
	if before, mark := r.HighWatermark(), next.HighWatermark(); before != 1 || mark != 0 {
		t.Fatalf("high watermarks %d and %d", before, mark)
	}
	r.relocate(next)
	if mark := r.HighWatermark(); mark != 1 {
		t.Errorf("the high watermark is %d", mark)
	}
}
