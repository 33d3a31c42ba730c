package metadata

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// Goal: whatever was answered is there after a power cut at any moment, and nothing that was not asked for. Method: a
// workload with snapshots, segment rolls and turns of several commands runs on a memory disk; for every operation that
// changes the disk the power is cut there, the disk is left as a cut might leave it, and the node is opened on it.

// sweepOptions make snapshots and segments small, so that a short workload has many of them.
func sweepOptions() Options {
	o := testOptions()
	o.SnapshotBytes, o.SegmentBytes = 2500, 1100
	return o
}

func sweepEnv(fs vfs.FS) Env {
	env := testEnv(fs)
	env.Rand = newSeeded(7) // the same ids in every run
	return env
}

// sweepTurns is the workload: the commands of each turn.
func sweepTurns() [][]controller.Command {
	turns := [][]controller.Command{{register(1)}}
	for i := range 12 {
		turn := []controller.Command{create(fmt.Sprint("t", i))}
		if i%3 == 0 {
			turn = append(
				turn,
				create(fmt.Sprint("u", i), fmt.Sprint("v", i)),
				controller.FenceBroker{BrokerID: testNode, BrokerEpoch: 2},
				controller.UnfenceBroker{BrokerID: testNode, BrokerEpoch: 2},
			)
		}
		if i%4 == 3 {
			turn = append(
				turn,
				remove(fmt.Sprint("t", i-1)),
				controller.AllocateProducerIDs{BrokerID: testNode, BrokerEpoch: 2},
			)
		}
		turns = append(turns, turn)
	}
	return turns
}

// sweepStates is the image's contents before the first command and after each.
func sweepStates(t *testing.T) (states []string) {
	n, err := OpenPolled(sweepEnv(newDisk(t)), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	states = append(states, contents(n.Image()))
	for _, turn := range sweepTurns() {
		for _, cmd := range turn {
			must(t, n, cmd)
			states = append(states, contents(n.Image()))
		}
	}
	return states
}

// run does the workload until it is done or something fails, and gives how many commands were asked for and answered.
func sweepRun(fs vfs.FS) (asked, answered int, err error) {
	n, err := OpenPolled(sweepEnv(fs), sweepOptions())
	if err != nil {
		return 0, 0, err
	}
	defer n.Close()
	for _, turn := range sweepTurns() {
		for _, cmd := range turn {
			asked++
			failed := n.Enqueue(cmd, func(_ controller.Reply, e error) {
				if e == nil {
					answered++
				}
				err = errors.Join(err, e)
			})
			if failed != nil {
				return asked, answered, failed
			}
		}
		for n.Poll(n.env.Clock.Now()) {
		}
		if err != nil {
			return asked, answered, err
		}
	}
	return asked, answered, nil
}

// checkRecovered opens the disk and compares the image with the states that are allowed, and sees that it goes on.
func checkRecovered(t *testing.T, disk vfs.FS, states []string, asked, answered int) {
	t.Helper()
	n, err := OpenPolled(testEnv(disk), sweepOptions())
	if err != nil {
		t.Fatalf("%d answered: %v", answered, err)
	}
	defer n.Close()
	got := contents(n.Image())
	at := slices.Index(states, got)
	if at < 0 || !slices.Contains(states[answered:asked+1], got) {
		t.Fatalf(
			"%d commands of %d were answered; recovered was the state after %d: %v",
			answered,
			asked,
			at,
			topicNames(n.Image()),
		)
	}
	must(t, n, register(99))
	must(t, n, create("after-the-crash"))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenPolled(testEnv(disk), sweepOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Image().Topic("after-the-crash") == nil {
		t.Fatal("a topic that was created after the crash is gone")
	}
}

func mutates(op vfs.Op) bool { return op.Kind.Mutates() }

func TestNoAnswerIsLostInAPowerCut(t *testing.T) {
	states := sweepStates(t)
	crashes, snapshots := 0, 0
	for at := int64(0); ; at++ {
		disk := newDisk(t)
		asked, answered, err := sweepRun(vfs.NewFault(disk, vfs.FailFrom(at, mutates, vfs.ErrPowerCut)))
		for seed := range uint64(4) {
			left := disk.CrashClone(rand.New(rand.NewPCG(seed, uint64(at))))
			if entries, err := left.ReadDir(testFolder); err == nil && slices.ContainsFunc(entries, isCheckpoint) {
				snapshots++
			}
			checkRecovered(t, left, states, asked, answered)
			crashes++
		}
		if err == nil {
			break // the workload ran to its end: every operation has had its turn
		}
		if !errors.Is(err, vfs.ErrPowerCut) {
			t.Fatalf("operation %d: %v", at, err)
		}
	}
	if crashes < 500 || snapshots < 100 {
		t.Errorf("only %d crashes, %d of them with a snapshot", crashes, snapshots)
	}
	t.Logf("%d crashes, %d of them with a snapshot", crashes, snapshots)
}

// TestNoAnswerIsLostInAPowerCutDuringRecovery cuts the power a second time while the node starts.
func TestNoAnswerIsLostInAPowerCutDuringRecovery(t *testing.T) {
	states := sweepStates(t)
	for at := int64(5); ; at += 9 {
		disk := newDisk(t)
		asked, answered, err := sweepRun(vfs.NewFault(disk, vfs.FailFrom(at, mutates, vfs.ErrPowerCut)))
		for second := int64(0); ; second++ {
			left := disk.CrashClone(rand.New(rand.NewPCG(uint64(second), uint64(at))))
			n, err := OpenPolled(
				testEnv(vfs.NewFault(left, vfs.FailFrom(second, mutates, vfs.ErrPowerCut))),
				sweepOptions(),
			)
			if err == nil {
				n.Close()
			}
			checkRecovered(
				t,
				left.CrashClone(rand.New(rand.NewPCG(uint64(at), uint64(second)))),
				states,
				asked,
				answered,
			)
			if err == nil {
				break
			}
		}
		if err == nil {
			return
		}
	}
}

// TestAFailedOperationLosesNoAnswer fails every operation once with an I/O error. The node may go on only where that
// does no harm.
func TestAFailedOperationLosesNoAnswer(t *testing.T) {
	states := sweepStates(t)
	ended := 0
	for at := int64(0); ; at++ {
		disk := newDisk(t)
		met := false
		nth := vfs.FailNth(at, func(op vfs.Op) bool { return op.Kind != vfs.OpClose }, syscall.EIO)
		asked, answered, err := sweepRun(vfs.NewFault(disk, func(op vfs.Op) error {
			err := nth(op)
			met = met || err != nil
			return err
		}))
		if !met {
			break
		}
		if err != nil {
			ended++
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("operation %d: %v", at, err)
			}
		}
		checkRecovered(t, disk.CrashClone(rand.New(rand.NewPCG(uint64(at), 1))), states, asked, answered)
		checkRecovered(t, disk, states, asked, answered)
	}
	if ended < 100 {
		t.Errorf("only %d failures ended the node", ended)
	}
}

func TestAFailedFlushEndsTheNodeAndOnlyTheNode(t *testing.T) {
	disk := newDisk(t)
	broken := false
	fs := vfs.NewFault(disk, func(op vfs.Op) error {
		if broken && op.Kind == vfs.OpDatasync {
			return syscall.EIO
		}
		return nil
	})
	n := polled(t, fs, testOptions())
	must(t, n, register(1))
	must(t, n, create("before"))
	before := n.Image()
	broken = true
	for range 2 {
		_, err := now(n, create("never"))
		if kafka.CodeOf(err) != kafka.KafkaStorageError.Code || !errors.Is(err, syscall.EIO) {
			t.Errorf("after a failed flush: %v", err)
		}
		broken = false // the disk is well again, but what is on it is not known
	}
	if n.Err() == nil || n.Image() != before {
		t.Errorf("err %v, topics %v", n.Err(), topicNames(n.Image()))
	}
	if err := n.Close(); err != nil {
		t.Logf("close: %v", err)
	}
	again := polled(t, disk, testOptions())
	if names := topicNames(again.Image()); !slices.Contains(names, "before") {
		t.Errorf("topics %v", names)
	}
}

func TestAFullDiskIsSurvived(t *testing.T) {
	for _, spare := range []int64{0, 50, 300, 700, 5000} {
		disk := newDisk(t)
		n := polled(t, disk, sweepOptions())
		must(t, n, register(1))
		must(t, n, create("before"))
		disk.SetCapacity(disk.UsedBytes() + spare)
		published := 0
		n.Subscribe(func(_, _ *image.Image, _ *image.Delta) { published++ })
		refused := 0
		for i := range 60 {
			if _, err := now(n, create(fmt.Sprint("full", i))); err != nil {
				refused++
				if kafka.CodeOf(err) != kafka.KafkaStorageError.Code || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("spare %d: %v", spare, err)
				}
			}
		}
		if refused == 0 || n.Err() != nil || n.Image().Topic("before") == nil || n.Image().TopicCount() != 61-refused {
			t.Errorf("spare %d: %d refused, %d topics, %v", spare, refused, n.Image().TopicCount(), n.Err())
		}
		disk.SetCapacity(1 << 30)
		must(t, n, create("after"))
		want := contents(n.Image())
		again := polled(t, disk.CrashClone(rand.New(rand.NewPCG(1, 1))), sweepOptions())
		if contents(again.Image()) != want {
			t.Errorf("spare %d: after a restart there are %v", spare, topicNames(again.Image()))
		}
		n.Close()
	}
}

// A process that may open no more files, because connections have taken them all, changes no metadata while it lasts,
// and goes on after it.
func TestWithoutDescriptorsMetadataWait(t *testing.T) {
	disk, lacks := newDisk(t), false
	fs := vfs.NewFault(disk, func(op vfs.Op) error {
		if lacks && op.Kind == vfs.OpCreate {
			return syscall.EMFILE
		}
		return nil
	})
	n := polled(t, fs, sweepOptions())
	must(t, n, register(1))
	lacks = true
	refused := 0
	for i := range 60 {
		if _, err := now(n, create(fmt.Sprint("t", i))); err != nil {
			refused++
			if kafka.CodeOf(err) != kafka.KafkaStorageError.Code || !errors.Is(err, syscall.EMFILE) {
				t.Fatal(err)
			}
		}
	}
	if refused == 0 || n.Err() != nil || n.Image().TopicCount() != 60-refused {
		t.Errorf("%d refused, %d topics, %v", refused, n.Image().TopicCount(), n.Err())
	}
	lacks = false
	must(t, n, create("after"))
	want := contents(n.Image())
	again := polled(t, disk.CrashClone(rand.New(rand.NewPCG(1, 1))), sweepOptions())
	if contents(again.Image()) != want {
		t.Errorf("after a restart there are %v", topicNames(again.Image()))
	}
	n.Close()
}

// Each operation in turn finds no descriptor, once: what was acknowledged is there after a crash, and a node that says
// that it goes on does.
func TestALackOfDescriptorsAtAnyMoment(t *testing.T) {
	for nth := 1; ; nth++ {
		disk, count := newDisk(t), 0
		fs := vfs.NewFault(disk, func(op vfs.Op) error {
			switch op.Kind {
			case vfs.OpOpen, vfs.OpCreate, vfs.OpReadDir, vfs.OpSyncDir, vfs.OpMap:
				if count++; count == nth {
					return syscall.EMFILE
				}
			}
			return nil
		})
		n, err := OpenPolled(testEnv(fs), sweepOptions())
		if err != nil {
			continue
		}
		_, _ = now(n, register(1)) // it may be this that fails
		must(t, n, register(1))
		told := map[string]bool{}
		for i := range 20 {
			name := fmt.Sprint("t", i)
			if _, err := now(n, create(name)); err == nil {
				told[name] = true
			}
		}
		if n.Err() == nil && len(told) < 18 {
			t.Errorf("operation %d: %d created", nth, len(told))
		}
		again := polled(t, disk.CrashClone(rand.New(rand.NewPCG(1, uint64(nth)))), sweepOptions())
		for name := range told {
			if again.Image().Topic(name) == nil {
				t.Errorf("operation %d: %s is lost", nth, name)
			}
		}
		n.Close()
		if count < nth {
			return
		}
	}
}
