package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spate/internal/clock"
	"spate/internal/task"
	"spate/kafka"
	"spate/partition"
)

// MoveOptions is how replicas are moved between the log directories of this broker.
type MoveOptions struct {
	// BytesPerSecond gives replica.alter.log.dirs.io.max.bytes.per.second, for all moves together.
	BytesPerSecond func() int64
	// Assign has the controller note in which directories replicas are. It waits for the commit.
	Assign func(ctx context.Context, list []DirAssignment) error
}

// DirAssignment says in which log directory of this broker a replica is, or is about to be.
type DirAssignment struct {
	TopicID   kafka.UUID
	Partition kafka.PartitionIndex
	Dir       kafka.UUID
}

// MoveStats counts what the mover did. All fields may be read at any time.
type MoveStats struct {
	CopiedBytes    atomic.Int64
	Done, Failures atomic.Int64
}

// Moving is one move, as an operator sees it.
type Moving struct {
	TopicPartition kafka.TopicPartition
	Target         *partition.LogDir
	Bytes          int64        // that are copied
	Lag            kafka.Offset // how far the copy is behind
}

// move is a replica on its way to another directory. Its fields belong to the mover's goroutine of that directory, but
// for those that say otherwise.
type move struct {
	replica *Replica
	topic   kafka.UUID
	target  *partition.LogDir
	began   time.Time

	cancelled atomic.Bool // somebody wants the replica elsewhere, or nowhere
	// Under Set.changing: the controller may have the replica in the target directory; it is being told just now.
	assigned, assigning bool
	after               []assigning // under mover.mu: what waits for the end of this move

	mu   sync.Mutex
	copy *partition.Move // nil once the move is over
	left *partition.Move // what a move that is over leaves on the disk until the controller has heard of it
}

// mover moves replicas: one goroutine a directory, which takes the moves to it in turns.
type mover struct {
	set     *Set
	options MoveOptions
	stats   MoveStats
	tasks   task.Group
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc

	mu      sync.Mutex
	started bool
	moves   map[kafka.TopicPartition]*move
	lanes   map[*partition.LogDir]*lane
	// preferred are the directories that were asked for partitions which are not here yet.
	preferred map[kafka.TopicPartition]*partition.LogDir
	// unassigned are replicas in another directory than the controller knows.
	unassigned []assigning
	wakeAssign chan struct{}

	throttle partition.Throttle // of all moves together
}

// lane is the moves to one directory, in the order in which they take turns.
type lane struct {
	wake  chan struct{}
	queue []*move
}

// preferredMax bounds the partitions that do not exist and have a directory all the same.
const preferredMax = 100_000

func newMover(s *Set) *mover {
	m := &mover{
		set: s, moves: map[kafka.TopicPartition]*move{}, lanes: map[*partition.LogDir]*lane{},
		preferred: map[kafka.TopicPartition]*partition.LogDir{}, wakeAssign: make(chan struct{}, 1),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	for _, d := range s.dirs {
		m.lanes[d] = &lane{wake: make(chan struct{}, 1)}
	}
	return m
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// StartMoves lets replicas move, and goes on with the moves that the last process did not end. The controller takes
// assignments from now on.
func (s *Set) StartMoves(o MoveOptions) {
	m := s.mover
	m.mu.Lock()
	m.options, m.started = o, true
	m.mu.Unlock()
	for d, l := range m.lanes {
		m.tasks.Go("moves to "+d.Path(), func() { m.run(l) })
	}
	m.tasks.Go("directory assignments", m.runAssign)
	s.changing.Lock()
	defer s.changing.Unlock()
	for _, d := range s.dirs {
		for _, f := range d.Futures() {
			s.resume(d, f)
		}
	}
}

// resume begins a move again whose copy was found. The copy is made anew: nobody knows what happened to the log since.
func (s *Set) resume(d *partition.LogDir, f partition.Future) {
	tp := f.TopicPartition
	t := s.topics.byString(tp.Topic)
	var r *Replica
	if t != nil && t.ID == f.TopicID {
		r = t.Partition(tp.Partition)
	}
	if r != nil && r.view.Load().Log == nil {
		return // the log may be in a directory that is not there: the copy tells that it is not a new one
	}
	drop := func() { d.DropFuture(f) }
	if r == nil || r.view.Load().Log.Dir() == d {
		drop()
		return
	}
	s.options.Log.Info("goes on moving a partition to another log directory, from the start",
		"partition", tp.String(), "dir", d.Path())
	if err := s.beginMove(t.ID, r, d); err != nil {
		s.options.Log.Error("a partition is not moved", "partition", tp.String(), "dir", d.Path(), "error", err)
		s.mover.note(assigning{topic: t.ID, replica: r, then: drop})
		return
	}
	drop() // now that there is another, which a start finds
}

// Move begins the move of a replica to the log directory with that path, one of log.dirs. A move of it to another
// directory ends; one to the same goes on. Where there is no such partition yet, its log will be made there.
func (s *Set) Move(tp kafka.TopicPartition, path string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	at := slices.IndexFunc(s.dirs, func(d *partition.LogDir) bool { return d.Path() == path })
	if at < 0 || s.dirs[at].Failed() != nil {
		return fmt.Errorf("%w: log directory %s is offline", kafka.KafkaStorageError, path)
	}
	target := s.dirs[at]
	var r *Replica
	t := s.topics.byString(tp.Topic)
	if t != nil {
		r = t.Partition(tp.Partition)
	}
	if r == nil {
		return s.prefer(tp, target)
	}
	v := r.View()
	if v.Unavailable != nil || v.Log == nil {
		return fmt.Errorf("%w: %s is offline", kafka.KafkaStorageError, tp)
	}
	if x := s.mover.of(tp); x != nil {
		if x.target == target {
			return nil
		}
		s.cancelMove(tp)
	}
	if v.Log.Dir() == target {
		return nil
	}
	if s.options.DirsMissing || s.anyFailed() {
		return fmt.Errorf("%w: nothing is moved while a log directory is offline", kafka.KafkaStorageError)
	}
	return s.beginMove(t.ID, r, target)
}

// prefer notes where the log of a partition that is not here is to be made.
func (s *Set) prefer(tp kafka.TopicPartition, target *partition.LogDir) error {
	m := s.mover
	m.mu.Lock()
	if _, there := m.preferred[tp]; there || len(m.preferred) < preferredMax {
		m.preferred[tp] = target
	}
	m.mu.Unlock()
	if s.image != nil && s.image.Partition(tp.Topic, tp.Partition) != nil {
		return kafka.ReplicaNotAvailable
	}
	return kafka.UnknownTopicOrPartition
}

// takePreferred gives the directory that was asked for a partition, which is about to be made.
func (m *mover) takePreferred(tp kafka.TopicPartition) *partition.LogDir {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.preferred[tp]
	delete(m.preferred, tp)
	return d
}

// beginMove makes the copy, empty, and queues the move. The caller holds s.changing.
func (s *Set) beginMove(topic kafka.UUID, r *Replica, target *partition.LogDir) error {
	copying, err := r.View().Log.MoveTo(target)
	if err != nil {
		return err
	}
	m := s.mover
	x := &move{replica: r, topic: topic, target: target, began: s.options.Clock.Now(), copy: copying}
	m.mu.Lock()
	m.moves[r.tp] = x
	l := m.lanes[target]
	l.queue = append(l.queue, x)
	m.mu.Unlock()
	s.options.Log.Info("moves a partition to another log directory", "partition", r.tp.String(),
		"from", copying.Source().Dir().Path(), "to", target.Path(), "bytes", copying.Source().Bytes())
	signal(l.wake)
	return nil
}

// cancelMove ends the move of tp, if there is one; its goroutine removes the copy. The caller holds s.changing.
func (s *Set) cancelMove(tp kafka.TopicPartition) {
	m := s.mover
	x := m.leave(tp)
	if x == nil {
		return
	}
	x.cancelled.Store(true)
	switch {
	case x.assigning:
		x.suspend() // finish takes it back, behind what it is telling the controller now
	case x.assigned:
		m.takeBack(x)
	default:
		x.abort()
		// What the controller was to be told before, it was not while the replica was on its way.
		if p := s.image.Partition(tp.Topic, tp.Partition); p != nil {
			s.compareDir(x.topic, x.replica, p)
		}
	}
}

// leave takes the move of tp off the list, if there is one, and gives it. What waited for its end goes on.
func (m *mover) leave(tp kafka.TopicPartition) *move {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.moves[tp]
	delete(m.moves, tp)
	if x != nil {
		m.unassigned = append(m.unassigned, x.after...)
		x.after = nil
		signal(m.wakeAssign)
	}
	return x
}

// takeBack ends a move that the controller knows of already. The copy goes when the controller has heard of its end: up
// to then it tells a start that does not find the log that there is one.
func (m *mover) takeBack(x *move) {
	x.suspend()
	a := assigning{topic: x.topic, replica: x.replica}
	if x.left != nil {
		a.then = x.left.Discard
	}
	m.note(a)
}

// suspend ends the move and leaves the copy on the disk.
func (x *move) suspend() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.copy != nil {
		x.copy.Suspend()
		x.copy, x.left = nil, x.copy
	}
}

// abort removes what was copied.
func (x *move) abort() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.copy != nil {
		x.copy.Abort()
		x.copy = nil
	}
	if x.left != nil {
		x.left.Discard()
		x.left = nil
	}
}

func (m *mover) of(tp kafka.TopicPartition) *move {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.moves[tp]
}

// Moves are the moves that are under way, in no order.
func (s *Set) Moves() []Moving {
	m := s.mover
	m.mu.Lock()
	all := make([]*move, 0, len(m.moves))
	for _, x := range m.moves {
		all = append(all, x)
	}
	m.mu.Unlock()
	list := make([]Moving, 0, len(all))
	for _, x := range all {
		x.mu.Lock()
		if x.copy != nil {
			list = append(list, Moving{x.replica.tp, x.target, x.copy.Bytes(), x.copy.Lag()})
		}
		x.mu.Unlock()
	}
	return list
}

// MoveStats is what the moves have done.
func (s *Set) MoveStats() *MoveStats { return &s.mover.stats }

// close ends the mover's goroutines. The copies stay for the next start to find.
func (m *mover) close() {
	m.cancel()
	m.mu.Lock()
	all := m.moves
	m.moves = map[kafka.TopicPartition]*move{}
	m.mu.Unlock()
	m.tasks.Wait()
	for _, x := range all {
		x.suspend()
	}
}

// run is the goroutine of one directory.
func (m *mover) run(l *lane) {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-l.wake:
		}
		for m.ctx.Err() == nil {
			x := m.next(l)
			if x == nil {
				break
			}
			if m.turn(x) {
				m.mu.Lock()
				l.queue = append(l.queue, x)
				m.mu.Unlock()
			}
		}
	}
}

// next takes the first move off the queue, nil where there is none.
func (m *mover) next(l *lane) *move {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	x := l.queue[0]
	l.queue = slices.Delete(l.queue, 0, 1)
	return x
}

const (
	turnPieces = 16      // pieces that a move copies before the next has its turn
	nearlyDone = 1 << 16 // bytes of the last piece: where it was so little, the next is copied while appends wait
)

// turn copies a part of x, and finishes the move when there is next to nothing left. It reports whether x is to have
// another turn.
func (m *mover) turn(x *move) bool {
	for range turnPieces {
		if x.cancelled.Load() || m.ctx.Err() != nil {
			return false
		}
		n, near, err := x.copyPiece()
		switch {
		case err != nil:
			return m.failed(x, err)
		case near && n <= nearlyDone:
			return m.finish(x)
		}
		m.stats.CopiedBytes.Add(int64(n))
		m.pace(x, n)
	}
	return true
}

var errCancelled = errors.New("the move was cancelled")

// with runs do on the copy, unless the move is over.
func (x *move) with(do func(c *partition.Move) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.copy == nil {
		return errCancelled
	}
	return do(x.copy)
}

func (x *move) copyPiece() (n int, near bool, err error) {
	err = x.with(func(c *partition.Move) error {
		n, err = c.Copy()
		near = c.NearEnd()
		return err
	})
	return n, near, err
}

// paceStep is how long a move waits before it looks again at the limit, and whether it is still wanted.
const paceStep = time.Second

// pace waits until n more bytes are within the limit, or nobody wants the move any more.
func (m *mover) pace(x *move, n int) {
	c, rate := m.set.options.Clock, func() float64 { return float64(m.options.BytesPerSecond()) }
	ticket := m.throttle.Take(c.Now(), rate(), n)
	for !x.cancelled.Load() && m.ctx.Err() == nil {
		left := m.throttle.Left(c.Now(), rate(), ticket)
		if left <= time.Millisecond {
			return
		}
		sleep(m.ctx, c, min(left, paceStep))
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, c clock.Clock, d time.Duration) {
	done := make(chan struct{})
	timer := c.AfterFunc(d, func() { close(done) })
	defer timer.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// failed ends a move that went wrong, or begins it again where the log changed too much. It reports whether there is
// another turn.
func (m *mover) failed(x *move, err error) bool {
	s := m.set
	s.changing.Lock()
	defer s.changing.Unlock()
	if x.cancelled.Load() || m.ctx.Err() != nil {
		return false
	}
	if partition.MustRestart(err) {
		if err = x.restart(); err == nil {
			return true
		}
	}
	m.stats.Failures.Add(1)
	s.options.Log.Error("a partition stays where it is: its move failed", "partition", x.replica.tp.String(),
		"dir", x.target.Path(), "error", err)
	s.cancelMove(x.replica.tp)
	return false
}

// restart begins the move again. The old copy goes when the new one is there: a start finds one of them.
func (x *move) restart() error {
	x.suspend()
	copying, err := x.replica.View().Log.MoveTo(x.target)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.left.Discard()
	x.copy, x.left = copying, nil
	return nil
}

// finish puts the copy in the place of the log. First the controller hears where the replica is going to be: a start
// that does not find the directory must not make a new log in the old one. That takes a while, in which the log goes
// on, so that the copy has to catch up once more. It reports whether x is to have another turn.
func (m *mover) finish(x *move) bool {
	if err := x.with((*partition.Move).Flush); err != nil {
		return m.failed(x, err)
	}
	told, err := m.announce(x)
	if err != nil {
		return m.failed(x, err)
	}
	if told {
		return true
	}
	s := m.set
	s.changing.Lock()
	if x.cancelled.Load() || m.ctx.Err() != nil {
		s.changing.Unlock()
		return false
	}
	var bytes int64
	err = x.with(func(c *partition.Move) error {
		c.PrepareFinish()
		if _, err := c.Copy(); err != nil {
			return err
		}
		bytes = c.Bytes() // but for what comes in this moment
		err := c.Finish(x.replica.relocate)
		if err == nil {
			x.copy = nil
		}
		return err
	})
	if err != nil {
		s.changing.Unlock()
		return m.failed(x, err)
	}
	m.leave(x.replica.tp)
	x.replica.relocated()
	if p := s.image.Partition(x.replica.tp.Topic, x.replica.tp.Partition); p != nil {
		s.compareDir(x.topic, x.replica, p)
	}
	s.changing.Unlock()
	m.stats.Done.Add(1)
	s.options.Log.Info("moved a partition to another log directory", "partition", x.replica.tp.String(),
		"dir", x.target.Path(), "bytes", bytes, "took", s.options.Clock.Now().Sub(x.began))
	return false
}

// announce tells the controller where the replica is going to be, unless it knows: then told is false.
func (m *mover) announce(x *move) (told bool, err error) {
	s := m.set
	s.changing.Lock()
	if x.assigned || x.cancelled.Load() {
		s.changing.Unlock()
		return false, nil
	}
	x.assigned, x.assigning = true, true
	s.changing.Unlock()
	a := DirAssignment{x.topic, x.replica.tp.Partition, x.target.ID()}
	err = m.options.Assign(m.ctx, []DirAssignment{a})
	s.changing.Lock()
	defer s.changing.Unlock()
	x.assigning = false
	if x.cancelled.Load() {
		m.takeBack(x)
	}
	if err != nil {
		return true, fmt.Errorf("the controller does not take the new directory: %w", err)
	}
	return true, nil
}
