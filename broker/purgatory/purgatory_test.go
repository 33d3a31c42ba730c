package purgatory

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/internal/clock"
	"spate/kafka"
)

// manual is a clock that stands still until a test moves it. Timers run on the goroutine that moves it.
type manual struct {
	mu     sync.Mutex
	now    time.Time
	timers []*manualTimer
	resets int
}

type manualTimer struct {
	clock *manual
	at    time.Time
	set   bool
	run   func()
}

func newManual() *manual { return &manual{now: time.Unix(1000, 0)} }

func (c *manual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *manual) AfterFunc(d time.Duration, f func()) clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &manualTimer{clock: c, at: c.now.Add(d), set: true, run: f}
	c.timers = append(c.timers, t)
	return t
}

func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	was := t.set
	t.set = false
	return was
}

func (t *manualTimer) Reset(d time.Duration) bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	was := t.set
	t.at, t.set = t.clock.now.Add(d), true
	t.clock.resets++
	return was
}

// advance moves the clock and runs what became due.
func (c *manual) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []func()
	for _, t := range c.timers {
		if t.set && !t.at.After(c.now) {
			t.set = false
			due = append(due, t.run)
		}
	}
	c.mu.Unlock()
	for _, run := range due {
		run()
	}
}

// sleeper is an operation that counts its wake-ups.
type sleeper struct {
	Operation
	wakes atomic.Int32
}

func (s *sleeper) Wake() { s.wakes.Add(1) }

func newSleeper() *sleeper {
	s := &sleeper{}
	s.Init(s)
	return s
}

func expectWakes(t *testing.T, s *sleeper, want int32, why string) {
	t.Helper()
	if got := s.wakes.Load(); got != want {
		t.Fatalf("%s: woken %d times, want %d", why, got, want)
	}
}

func TestOperationWakesWhenTheMarkReachesWhatItWaitsFor(t *testing.T) {
	c := newManual()
	p := New(c)
	var list List
	s := newSleeper()
	s.Start(p, c.Now().Add(time.Second), 1)
	if !s.Watch(&list, list.Changes(), 10) {
		t.Fatal("nothing has changed")
	}
	list.Advance(9)
	expectWakes(t, s, 0, "the mark is one short")
	list.Advance(10)
	expectWakes(t, s, 1, "the mark is there")
	list.Advance(11)
	expectWakes(t, s, 1, "a wake-up is on its way already")
	if !s.Resume() {
		t.Fatal("the operation waits")
	}
	s.Raise(0, 20)
	list.Advance(19)
	expectWakes(t, s, 1, "it waits for more now")
	list.Interrupt()
	expectWakes(t, s, 2, "an interrupt wakes all")
	if !s.Resume() || s.Expired() {
		t.Fatal("the operation waits, and has time left")
	}
	if !s.Stop() || p.Len() != 0 || list.first != nil {
		t.Fatal("the operation has left no trace")
	}
	list.Advance(100)
	expectWakes(t, s, 2, "it waits no more")
}

func TestAListenerHearsOfEveryChange(t *testing.T) {
	var list List
	heard, other := 0, 0
	list.Listen(func() { heard++ })
	list.Advance(1)
	list.Interrupt()
	list.Listen(func() { other++ })
	list.Advance(2)
	list.Listen(nil)
	list.Advance(3)
	if heard != 2 || other != 1 {
		t.Errorf("heard %d and %d changes, want 2 and 1", heard, other)
	}
}

func TestWatchTellsOfChangesThatTheEvaluationMissed(t *testing.T) {
	c := newManual()
	p := New(c)
	var list List
	seen := list.Changes()
	list.Advance(1)
	s := newSleeper()
	s.Start(p, c.Now(), 1)
	if s.Watch(&list, seen, 1) {
		t.Fatal("the list has changed since")
	}
	s.Stop()
	s.Start(p, c.Now(), 1)
	if !s.Watch(&list, list.Changes(), 2) {
		t.Fatal("the list has not changed since")
	}
}

func TestTimeRunsOutInOrder(t *testing.T) {
	c := newManual()
	p := New(c)
	var sleepers [5]*sleeper
	for i, ms := range []int{30, 10, 50, 20, 40} {
		sleepers[i] = newSleeper()
		sleepers[i].Start(p, c.Now().Add(time.Duration(ms)*time.Millisecond), 0)
	}
	for step, want := range [][5]int32{
		{0, 1, 0, 0, 0}, {0, 1, 0, 1, 0}, {1, 1, 0, 1, 0}, {1, 1, 0, 1, 1}, {1, 1, 1, 1, 1},
	} {
		c.advance(10 * time.Millisecond)
		for i, s := range sleepers {
			expectWakes(t, s, want[i], "after "+time.Duration((step+1)*10).String())
			if s.Expired() != (want[i] == 1) {
				t.Fatalf("operation %d at step %d: expired is %v", i, step, s.Expired())
			}
		}
	}
	if p.Expired() != 5 || p.Len() != 5 {
		t.Fatalf("%d expired, %d wait until they are stopped", p.Expired(), p.Len())
	}
}

// An expiry that finds a wake-up on its way causes none of its own: it must be seen by the one that is evaluated.
func TestExpiryBehindAWakeUpIsNotLost(t *testing.T) {
	c := newManual()
	p := New(c)
	var list List
	s := newSleeper()
	s.Start(p, c.Now().Add(time.Millisecond), 1)
	s.Watch(&list, list.Changes(), 1)
	list.Advance(1)
	c.advance(time.Millisecond)
	expectWakes(t, s, 1, "one wake-up stands for both")
	if !s.Resume() || !s.Expired() {
		t.Fatal("the time has run out")
	}
}

func TestStopWithAWakeUpOnItsWay(t *testing.T) {
	c := newManual()
	p := New(c)
	var list List
	s := newSleeper()
	s.Start(p, c.Now().Add(time.Second), 1)
	s.Watch(&list, list.Changes(), 1)
	list.Advance(1)
	if s.Stop() {
		t.Fatal("a wake-up is on its way")
	}
	if s.Resume() {
		t.Fatal("the wake-up has arrived at an operation that was stopped")
	}
	s.Start(p, c.Now().Add(time.Second), 1) // it can be used again
	if !s.Stop() {
		t.Fatal("no wake-up is on its way")
	}
}

func TestCloseExpiresAllNowAndLater(t *testing.T) {
	c := newManual()
	p := New(c)
	before, after := newSleeper(), newSleeper()
	before.Start(p, c.Now().Add(time.Hour), 0)
	p.Close()
	expectWakes(t, before, 1, "its time has run out")
	after.Start(p, c.Now().Add(time.Hour), 0)
	if !after.Expired() {
		t.Fatal("whoever comes later has no time")
	}
	if !after.Stop() || p.Len() != 1 {
		t.Fatal("it leaves as others do")
	}
}

// The timer is set for the earliest deadline, and left alone when operations end in time.
func TestTimerIsRarelySet(t *testing.T) {
	c := newManual()
	p := New(c)
	for range 1000 {
		s := newSleeper()
		s.Start(p, c.Now().Add(time.Second), 0)
		s.Stop()
		c.advance(time.Millisecond)
	}
	if c.resets > 3 {
		t.Fatalf("set %d times in a second", c.resets)
	}
}

// Any sequence of starts, stops and passing time wakes exactly the operations that are due.
func TestHeapAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newManual()
		p := New(c)
		due := map[*sleeper]time.Time{}
		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				s := newSleeper()
				due[s] = c.Now().Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "wait")))
				s.Start(p, due[s], 0)
			},
			"stop": func(t *rapid.T) {
				for s := range due {
					s.Stop()
					delete(due, s)
					return
				}
			},
			"pass": func(t *rapid.T) {
				c.advance(time.Duration(rapid.IntRange(1, 20).Draw(t, "time")))
			},
			"": func(t *rapid.T) {
				for s, at := range due {
					if expired := !at.After(c.Now()); expired != s.Expired() && at.Before(c.Now()) {
						t.Fatalf("due at %v, now %v, expired %v", at, c.Now(), s.Expired())
					}
				}
				checkHeap(t, p)
			},
		})
	})
}

func checkHeap(t *rapid.T, p *Purgatory) {
	for i, o := range p.heap {
		if o.heapIndex != i || i > 0 && p.heap[(i-1)/2].deadline > o.deadline {
			t.Fatalf("the heap is out of order at %d", i)
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	c := newManual()
	p := New(c)
	var a, b List
	s := newSleeper()
	mark := kafka.Offset(0)
	allocs := testing.AllocsPerRun(1000, func() {
		mark++
		s.Start(p, c.Now().Add(time.Second), 2)
		s.Watch(&a, a.Changes(), mark)
		s.Watch(&b, b.Changes(), mark)
		a.Advance(mark)
		if !s.Resume() {
			t.Fatal("not woken")
		}
		s.Stop()
	})
	if allocs != 0 {
		t.Fatalf("%v allocations for one stay", allocs)
	}
}

// loop is a connection's loop: it runs what is posted to it, one after another.
type loop chan func()

// waiter waits for a partition's mark to reach a target, as a handler does.
type waiter struct {
	Operation
	loop   loop
	list   *List
	mark   *atomic.Int64
	target int64
	done   chan bool // whether the target was reached, rather than the time up
}

func (w *waiter) Wake() { w.loop <- w.run }

func (w *waiter) run() {
	if w.Resume() {
		w.look()
		return
	}
	w.done <- true // the straggler that look has left this to
}

func (w *waiter) begin(p *Purgatory) {
	changes := w.list.Changes()
	if w.mark.Load() >= w.target {
		w.done <- true
		return
	}
	w.Start(p, time.Now().Add(time.Minute), 1)
	if !w.Watch(w.list, changes, kafka.Offset(w.target)) {
		w.look()
	}
}

func (w *waiter) look() {
	reached := w.mark.Load() >= w.target
	if (reached || w.Expired()) && w.Stop() {
		w.done <- reached
	}
}

// In each step the mark moves once, while operations on two loops begin to wait for just that. Whoever misses it would
// wait until its time is up.
func TestNoWakeUpIsLost(t *testing.T) {
	p := New(clock.Real{})
	var (
		list    List
		mark    atomic.Int64
		loops   = []loop{make(loop, 16), make(loop, 16)}
		running sync.WaitGroup
		waiters [6]*waiter
	)
	for _, l := range loops {
		running.Go(func() {
			for task := range l {
				task()
			}
		})
	}
	for i := range waiters {
		waiters[i] = &waiter{loop: loops[i%2], list: &list, mark: &mark, done: make(chan bool, 1)}
		waiters[i].Init(waiters[i])
	}
	for step := int64(1); step <= 3000; step++ {
		running.Go(func() {
			mark.Store(step)
			list.Advance(kafka.Offset(step))
		})
		for _, w := range waiters {
			w.loop <- func() {
				w.target = step
				w.begin(p)
			}
		}
		for i, w := range waiters {
			if !<-w.done {
				t.Fatalf("waiter %d missed step %d", i, step)
			}
		}
	}
	for _, l := range loops {
		close(l)
	}
	running.Wait()
	if p.Len() != 0 {
		t.Fatalf("%d operations are left", p.Len())
	}
}
