package purgatory

import (
	"sync"
	"sync/atomic"

	"spate/internal/invariant"
	"spate/kafka"
)

// List is who waits for one partition. The zero value is ready.
type List struct {
	changes  atomic.Uint64 // written under mu
	listener atomic.Pointer[func()]

	mu    sync.Mutex
	first *watch
}

// watch is one operation's place in one list.
type watch struct {
	operation  *Operation
	list       *List
	from       kafka.Offset // a high watermark of this or more is what the operation waits for; under list.mu
	prev, next *watch       // under list.mu
}

// Changes is the number of changes so far. A caller reads it, evaluates the partition, and hands it to Watch.
func (l *List) Changes() uint64 { return l.changes.Load() }

// Listen has f called after every change, in place of the f before; nil ends that. f is called without a lock, on the
// goroutine that made the change, and must not wait. It is for somebody who waits for as long as the partition is led;
// what waits once is an Operation.
func (l *List) Listen(f func()) {
	if f == nil {
		l.listener.Store(nil)
		return
	}
	l.listener.Store(&f)
}

// Advance says that the partition's high watermark is now mark. The new mark must be visible to evaluations already.
func (l *List) Advance(mark kafka.Offset) { l.wake(mark) }

// Interrupt wakes all that wait: the partition has a new leader, has failed or is gone.
func (l *List) Interrupt() { l.wake(1<<63 - 1) }

func (l *List) wake(mark kafka.Offset) {
	var woken *Operation
	l.mu.Lock()
	l.changes.Add(1)
	for w := l.first; w != nil; w = w.next {
		if w.from <= mark {
			woken = w.operation.collect(woken)
		}
	}
	l.mu.Unlock()
	wakeAll(woken)
	if f := l.listener.Load(); f != nil {
		(*f)()
	}
}

// Watch makes the operation wake up when the high watermark of l's partition reaches from. It returns false if the
// partition has changed since the evaluation that saw changes: then the operation has to be evaluated once more after
// its last Watch.
func (o *Operation) Watch(l *List, changes uint64, from kafka.Offset) bool {
	invariant.Check(len(o.watches) < cap(o.watches), "an operation watches more lists than it announced")
	o.watches = append(o.watches, watch{operation: o, list: l, from: from})
	w := &o.watches[len(o.watches)-1]
	l.mu.Lock()
	defer l.mu.Unlock()
	w.next = l.first
	if w.next != nil {
		w.next.prev = w
	}
	l.first = w
	return l.changes.Load() == changes
}

// Raise moves the high watermark that the i-th Watch of the operation waits for.
func (o *Operation) Raise(i int, from kafka.Offset) {
	w := &o.watches[i]
	w.list.mu.Lock()
	defer w.list.mu.Unlock()
	w.from = from
}

func (w *watch) unlink() {
	w.list.mu.Lock()
	defer w.list.mu.Unlock()
	if w.prev == nil {
		w.list.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}
