package api

import (
	"sync"

	"spate/internal/task"
	"spate/partition"
)

// queue hands work to the goroutines that wait for it, first come, first served.
type queue[T any] struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []T // items[first:] wait
	first  int
	closed bool
}

func newQueue[T any]() *queue[T] {
	q := &queue[T]{}
	q.filled.L = &q.mu
	return q
}

// put adds an item; false when the queue is closed.
func (q *queue[T]) put(item T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, item)
	q.filled.Signal()
	return true
}

// take waits for an item; false once the queue is closed and empty.
func (q *queue[T]) take() (T, bool) {
	var none T
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first == len(q.items) {
		if q.closed {
			return none, false
		}
		q.items, q.first = q.items[:0], 0
		q.filled.Wait()
	}
	item := q.items[q.first]
	q.items[q.first] = none
	q.first++
	if q.first > len(q.items)/2 { // so that a queue which never runs empty does not grow for ever
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	return item, true
}

// close ends the queue once what is in it has been taken.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}

// Work is something that may wait for the disk or for a commit.
type Work interface {
	// Work runs on a worker's goroutine.
	Work()
}

// Workers is a pool of goroutines for handlers that block and for reads of what is not in memory. What is queued is
// bounded by the connections: one blocking request each, and as many fetches as a connection may have under way.
type Workers struct {
	tasks task.Group
	queue *queue[Work]

	resizing sync.Mutex
	size     int
	closed   bool
}

// StartWorkers starts n workers (num.io.threads).
func StartWorkers(n int) *Workers {
	w := &Workers{queue: newQueue[Work]()}
	w.Resize(n)
	return w
}

// Resize makes them n. Those that are too many end when they have done what was given to the pool before.
func (w *Workers) Resize(n int) {
	w.resizing.Lock()
	defer w.resizing.Unlock()
	if w.closed {
		return
	}
	for ; w.size < n; w.size++ {
		w.tasks.Go("worker", w.run)
	}
	for ; w.size > n; w.size-- {
		w.queue.put(nil)
	}
}

// Size is how many there are.
func (w *Workers) Size() int {
	w.resizing.Lock()
	defer w.resizing.Unlock()
	return w.size
}

func (w *Workers) run() {
	for {
		work, ok := w.queue.take()
		if !ok || work == nil {
			return
		}
		work.Work()
	}
}

// Put hands work to the pool; false after Close.
func (w *Workers) Put(work Work) bool { return w.queue.put(work) }

// Close lets the workers finish what they have been given, and ends them.
func (w *Workers) Close() {
	w.resizing.Lock()
	w.closed = true
	w.resizing.Unlock()
	w.queue.close()
	w.tasks.Wait()
}

// dirWork is something that waits for the locks of a log directory's logs, and so for its disk.
type dirWork interface {
	// workIn runs on the goroutine of the directory's writer.
	workIn(dir *partition.LogDir)
}

// Writers do what may wait for a log directory that is slow, one goroutine for each directory, so that neither a loop
// nor what is on another disk waits for a sick one. What is queued is bounded: a connection has at most one Produce
// here, since it is paused meanwhile, and the other requests are counted as parked.
type Writers struct {
	tasks  task.Group
	queues map[*partition.LogDir]*queue[dirWork] // never changes after StartWriters
}

// StartWriters starts a writer for each directory.
func StartWriters(dirs []*partition.LogDir) *Writers {
	w := &Writers{queues: make(map[*partition.LogDir]*queue[dirWork], len(dirs))}
	for _, dir := range dirs {
		q := newQueue[dirWork]()
		w.queues[dir] = q
		w.tasks.Go("writer "+dir.Path(), func() { write(dir, q) })
	}
	return w
}

func write(dir *partition.LogDir, q *queue[dirWork]) {
	for {
		work, ok := q.take()
		if !ok {
			return
		}
		work.workIn(dir)
	}
}

// put hands work to the writer of dir; false after Close.
func (w *Writers) put(dir *partition.LogDir, work dirWork) bool { return w.queues[dir].put(work) }

// Close lets the writers finish what they have been given, and ends them.
func (w *Writers) Close() {
	for _, q := range w.queues {
		q.close()
	}
	w.tasks.Wait()
}
