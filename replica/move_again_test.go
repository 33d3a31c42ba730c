package replica

import (
	"context"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"spate/internal/vfs"
	"spate/metadata/controller"
)

// gate is where the first who passes waits.
type gate struct {
	once           sync.Once
	reached, letGo chan struct{}
}

func newGate() *gate { return &gate{reached: make(chan struct{}), letGo: make(chan struct{})} }

func (g *gate) pass() {
	g.once.Do(func() {
		g.reached <- struct{}{}
		<-g.letGo
	})
}

// Goal: the controller does not believe in a directory that has nothing of a replica either when a move is taken back
// and the next one begins before the controller has heard of that. Method: it is told of another partition meanwhile,
// and of the next move not yet; the copy that the first move left stays until the second is over.
func TestMoveAgainBeforeTheControllerHearsOfTheEnd(t *testing.T) {
	disk := vfs.NewMem()
	h := newHost(t, disk, "/a", "/b", "/c")
	r := h.create("orders", 1).Partition(0)
	paths := slices.DeleteFunc([]string{"/a", "/b", "/c"}, func(p string) bool { return p == dirOf(r) })
	first, second := h.dirs[slices.Index(h.paths, paths[0])], h.dirs[slices.Index(h.paths, paths[1])]
	toldFirst, toldSecond, toldOther := newGate(), newGate(), newGate()
	orders := h.TopicNamed("orders").ID
	h.StartMoves(MoveOptions{
		BytesPerSecond: func() int64 { return math.MaxInt64 },
		Assign: func(_ context.Context, list []DirAssignment) error {
			a := list[0]
			if a.TopicID == orders && a.Dir == second.ID() {
				toldSecond.pass()
			}
			cmd := controller.AssignReplicasToDirs{BrokerID: 1}
			for _, a := range list {
				cmd.Replicas = append(cmd.Replicas, controller.DirAssignment(a))
			}
			h.decide(cmd)
			switch {
			case a.TopicID == orders && a.Dir == first.ID():
				toldFirst.pass()
			case a.TopicID != orders:
				toldOther.pass()
			}
			return nil
		},
	})
	known := func(topic string) {
		t.Helper()
		eventually(t, "the controller knows", func() bool { return h.assigned(topic, 0) != "" })
	}
	copies := func() int {
		entries, err := disk.ReadDir(first.Path())
		if err != nil {
			t.Fatal(err)
		}
		return len(slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
			return !strings.HasSuffix(e.Name(), "-future")
		}))
	}
	known("orders")
	h.create("other", 1)
	<-toldOther.reached
	if err := h.Move(r.tp, first.Path()); err != nil {
		t.Fatal(err)
	}
	<-toldFirst.reached
	if err := h.Move(r.tp, second.Path()); err != nil {
		t.Fatal(err)
	}
	toldFirst.letGo <- struct{}{}
	<-toldSecond.reached
	eventually(t, "the controller is to hear that the first move is over", func() bool {
		h.mover.mu.Lock()
		defer h.mover.mu.Unlock()
		return len(h.mover.unassigned) == 1
	})
	toldOther.letGo <- struct{}{}
	h.create("third", 1)
	known("third")
	h.create("fourth", 1)
	known("fourth") // so that the controller was told before of all that it is told of now
	if n := copies(); n != 1 || h.assigned("orders", 0) != first.Path() {
		t.Errorf("%d copies in %s, the controller has it in %q", n, first.Path(), h.assigned("orders", 0))
	}
	toldSecond.letGo <- struct{}{}
	eventually(t, "the replica has moved", func() bool { return dirOf(r) == second.Path() && len(h.Moves()) == 0 })
	eventually(t, "the copy is gone", func() bool { return copies() == 0 })
	if at := h.assigned("orders", 0); at != second.Path() {
		t.Errorf("the controller has it in %q", at)
	}
}
