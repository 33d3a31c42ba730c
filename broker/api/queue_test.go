package api

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func TestQueueIsFirstComeFirstServed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue[int]()
		var model []int
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				q.put(next)
				model = append(model, next)
				next++
			},
			"take": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("it would wait")
				}
				if got, ok := q.take(); !ok || got != model[0] {
					t.Fatalf("got %d, want %d", got, model[0])
				}
				model = model[1:]
			},
			"": func(t *rapid.T) {
				if !slices.Equal(q.items[q.first:], model) {
					t.Fatalf("%v waits, want %v", q.items[q.first:], model)
				}
				if len(q.items) > 2*len(model)+1 {
					t.Fatalf("%d places for %d items", len(q.items), len(model))
				}
			},
		})
	})
}

func TestQueueThatIsClosedGivesWhatItHas(t *testing.T) {
	q := newQueue[int]()
	q.put(1)
	q.close()
	if q.put(2) {
		t.Error("it takes more")
	}
	if got, ok := q.take(); !ok || got != 1 {
		t.Errorf("%d, %v", got, ok)
	}
	if _, ok := q.take(); ok {
		t.Error("it gives more than it had")
	}
}

type countedWork struct{ done *atomic.Int64 }

func (w countedWork) Work() { w.done.Add(1) }

func TestWorkersDoAllThatTheyWereGiven(t *testing.T) {
	w := StartWorkers(3)
	var done atomic.Int64
	var givers sync.WaitGroup
	for range 4 {
		givers.Go(func() {
			for range 250 {
				w.Put(countedWork{&done})
			}
		})
	}
	givers.Wait()
	w.Close()
	if done.Load() != 1000 {
		t.Errorf("%d of 1000", done.Load())
	}
	if w.Put(countedWork{&done}) {
		t.Error("closed workers take work")
	}
}
