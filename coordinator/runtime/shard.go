package runtime

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spate/coordinator"
	"spate/internal/clock"
	"spate/kafka"
	"spate/kafka/record"
)

// State says what a shard is doing.
type State uint8

// The states of a shard.
const (
	Loading  State = iota // commands are answered COORDINATOR_LOAD_IN_PROGRESS
	Serving               //
	Fallen                // an append failed: NOT_COORDINATOR, until it loads again
	Corrupt               // a record cannot be read: COORDINATOR_NOT_AVAILABLE, until another leader epoch
	Resigned              // NOT_COORDINATOR
)

var stateNames = [...]string{"loading", "serving", "fallen", "corrupt", "resigned"}

// String is the state in metrics and log lines.
func (s State) String() string { return stateNames[s] }

// refusals is what commands are answered in a state.
var refusals = [...]*kafka.Error{
	Loading: kafka.CoordinatorLoadInProgress, Fallen: kafka.NotCoordinator,
	Corrupt: kafka.CoordinatorNotAvailable, Resigned: kafka.NotCoordinator,
}

// shard is one partition's coordinator.
type shard struct {
	host      *Host
	partition kafka.PartitionIndex
	epoch     kafka.LeaderEpoch
	name      string
	log       Log
	wake      chan struct{}   // holds a token when there may be something to do
	tried     chan struct{}   // closed when the first load has ended, well or not
	ended     chan struct{}   // closed when everybody is answered
	after     <-chan struct{} // the end of the partition's shard before, nil if there was none
	placed    atomic.Bool     // Host.endLoad has handed this shard a place
	report    atomic.Pointer[any]

	mu       sync.Mutex
	state    State // written by the shard's goroutine, except for Resigned
	queue    []command
	news     any // broadcasts that are not taken yet, merged
	queueLen int // len(queue) plus what the turn that is under way has taken

	// What follows belongs to the shard's goroutine.

	machine Machine // nil unless loading or serving
	taken   []command
	waiting map[coordinator.Token]Done // who is not answered yet and not parked either
	tokens  coordinator.Token          // the last one given
	parked  parkedReplies
	timers  timers
	batch   batch
	load    load
	retryAt time.Time
	backOff time.Duration
	alarm   clock.Timer // nil before the first
	alarmAt time.Time   // when alarm goes off; zero if it does not
	lacking bool        // the disk had no room for the last records
	changed bool        // since the last report
	told    time.Time   // when that was
}

// command is one command on its way. done is nil where nobody waits.
type command struct {
	body any
	done Done
}

func newShard(h *Host, p kafka.PartitionIndex, epoch kafka.LeaderEpoch, log Log) *shard {
	return &shard{
		host: h, partition: p, epoch: epoch, log: log, name: fmt.Sprintf("%s-%d", h.options.Topic, p),
		wake: make(chan struct{}, 1), tried: make(chan struct{}), ended: make(chan struct{}),
		waiting: map[coordinator.Token]Done{}, timers: newTimers(),
		batch: batch{builder: record.NewBuilder(record.BuilderOptions{})},
	}
}

// put queues a command, or gives the reason why not.
func (s *shard) put(body any, d Done) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != Serving {
		return refusals[s.state]
	}
	if s.queueLen >= s.host.options.QueueMax {
		s.host.stats.Overflows.Add(1)
		return kafka.CoordinatorNotAvailable
	}
	s.queue = append(s.queue, command{body, d})
	s.queueLen++
	s.signal()
	return nil
}

// announce leaves a broadcast for the next turn.
func (s *shard) announce(cmd any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news != nil && s.host.options.Merge != nil {
		cmd = s.host.options.Merge(s.news, cmd)
	}
	s.news = cmd
	s.signal()
}

func (s *shard) resign() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = Resigned
	s.signal()
}

// signal has the shard look what there is to do. It never waits.
func (s *shard) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run is the shard's goroutine.
func (s *shard) run() {
	if s.after != nil {
		<-s.after
	}
	for {
		select {
		case <-s.wake:
			for s.poll(s.host.options.Clock.Now()) {
			}
		case <-s.ended: // by the last poll; a shard that resigns during its turn has one more to come
			return
		}
	}
}

func (s *shard) stateNow() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// become enters a state, unless the shard has been told to resign.
func (s *shard) become(next State) {
	s.mu.Lock()
	if s.state != Resigned {
		s.state = next
	}
	s.mu.Unlock()
	if next != Loading {
		s.noteTried()
	}
}

// noteTried lets go who waits for the end of the first load.
func (s *shard) noteTried() {
	select {
	case <-s.tried:
	default:
		close(s.tried)
	}
}

// poll is one turn. It tells whether there was something to do, so that there may be more.
func (s *shard) poll(now time.Time) bool {
	if !s.alarmAt.IsZero() && !now.Before(s.alarmAt) {
		s.alarmAt = time.Time{}
	}
	busy := false
	switch s.stateNow() {
	case Loading:
		busy = s.loadSome(now)
	case Serving:
		busy = s.turn(now)
	case Fallen:
		if busy = !now.Before(s.retryAt); busy {
			s.become(Loading)
		}
	case Resigned:
		s.end()
		return false
	}
	s.setAlarm(now)
	return busy
}

// end is the last turn: whoever waits is answered.
func (s *shard) end() {
	select {
	case <-s.ended:
		return
	default:
	}
	s.log.Watch(nil)
	s.leaveLoad()
	if s.alarm != nil {
		s.alarm.Stop()
	}
	s.machine = nil
	s.refuseAll()
	s.noteTried()
	close(s.ended)
}

// refuseAll answers NOT_COORDINATOR to all who wait, in the order in which they came.
func (s *shard) refuseAll() {
	s.mu.Lock()
	queue := s.queue
	s.queue, s.queueLen = nil, 0
	s.mu.Unlock()
	s.parked.refuse()
	for _, to := range sortedTokens(s.waiting) {
		s.waiting[to].Done(nil, kafka.NotCoordinator)
	}
	clear(s.waiting)
	for _, list := range [][]command{s.taken, queue} {
		for _, c := range list {
			if c.done != nil {
				c.done.Done(nil, kafka.NotCoordinator)
			}
		}
	}
	s.taken = nil
}

func sortedTokens(waiting map[coordinator.Token]Done) []coordinator.Token {
	tokens := make([]coordinator.Token, 0, len(waiting))
	for to := range waiting {
		tokens = append(tokens, to)
	}
	slices.Sort(tokens)
	return tokens
}

// setAlarm arranges a signal for the next time at which there is something to do. An alarm that is set too early does
// no harm: the poll that it causes sets the next.
func (s *shard) setAlarm(now time.Time) {
	at, wanted := s.nextTime()
	if !wanted || !s.alarmAt.IsZero() && !s.alarmAt.After(at) {
		return
	}
	s.alarmAt = at
	wait := max(at.Sub(now), 0)
	if s.alarm == nil {
		s.alarm = s.host.options.Clock.AfterFunc(wait, s.signal)
		return
	}
	s.alarm.Reset(wait)
}

func (s *shard) nextTime() (at time.Time, wanted bool) {
	switch s.stateNow() {
	case Fallen:
		return s.retryAt, true
	case Serving:
		at, wanted = s.timers.next()
		if s.changed {
			if next := s.told.Add(reportEvery); !wanted || next.Before(at) {
				at, wanted = next, true
			}
		}
	}
	return at, wanted
}

func (s *shard) status() ShardStatus {
	status := ShardStatus{Partition: s.partition}
	if report := s.report.Load(); report != nil {
		status.Report = *report
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status.State, status.Queued = s.state, s.queueLen
	return status
}
