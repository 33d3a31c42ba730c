package partition

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/segment"
)

// Move is the move of a log to another log directory of the same broker. It copies the log into a folder of its own
// there, <topic>-<partition>.<32 hex digits>-future, while the log is read and appended to; when the copy has all but
// the last few records, Finish copies these while nobody appends, and puts the copy in the log's place:
//
//  1. the copy is flushed and closed; the target's checkpoint files say what the source's said of the log
//  2. the file moved-from in the copy names the source's directory
//  3. the copy's folder gets the log's name, durably
//  4. the source's folder is renamed to be deleted, durably
//  5. appends go on, in the copy
//
// A crash up to 3 leaves the source as it was. One between 3 and 4 leaves both, of which moved-from tells that one
// replaces the other. Nothing is acknowledged in the copy before 4, so that each has all that was.
//
// One goroutine has a Move, which Finish or Abort ends.
type Move struct {
	source *Log
	target *LogDir
	future *Log   // the copy; nobody else knows it
	cuts   int64  // of source, when the copy began
	buffer []byte // what is copied at a time: a fault in the source's mapping must not come in the middle of an append
	// reached says that the last Copy went as far as the log did when it began.
	reached bool
}

// errBegunAnew is why a copy has to begin again: the source was truncated, or retention has overtaken the copy.
var errBegunAnew = errors.New("the log changed under the copy")

// MustRestart tells whether the error of a Copy or Finish says only that the move has to begin again.
func MustRestart(err error) bool { return errors.Is(err, errBegunAnew) }

// MoveTo begins the move of the log to another directory of the broker. Its copy is there, empty, when it returns.
func (l *Log) MoveTo(target *LogDir) (*Move, error) {
	if err := errors.Join(l.usable(), target.offline()); err != nil {
		return nil, err
	}
	if !l.moving.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("%w: %s is being moved already", kafka.InvalidRequest, l.tp)
	}
	l.pauseCleaning()() // one that is under way: what it removes may be in the copy already, or be needed by it
	m := &Move{source: l, target: target, cuts: l.cuts.Load()}
	if err := m.begin(); err != nil {
		l.moving.Store(false)
		return nil, err
	}
	return m, nil
}

// begin makes the copy, which starts where the source's oldest segment does: what its producers had done before is in
// the snapshot of that offset.
func (m *Move) begin() error {
	s := m.source
	if err := s.saveSideFiles(); err != nil && !vfs.Exhausted(err) {
		return err
	}
	start := (*s.segments.Load())[0].BaseOffset()
	c := *s.config.Load()
	c.FlushRecords, c.FlushInterval = math.MaxInt64, Forever // the mover flushes
	future, err := m.target.makeFuture(s.tp, s.TopicID(), c, start)
	if err != nil {
		return fmt.Errorf("%w: move %s to %s: %w", kafka.KafkaStorageError, s.tp, m.target.path, err)
	}
	m.future = future
	future.producers, err = s.readSnapshot(start)
	if err != nil {
		future.producers, err = s.transactionsAt(start)
	}
	if err != nil {
		m.target.discard(future)
		return err
	}
	future.firstUnstable.store(future.producers.firstUnstable())
	return nil
}

// transactionsAt gives the producers that were in a transaction at offset, where no snapshot tells: those that still
// are, and those whose transaction was aborted since. Of the others it does not matter.
func (l *Log) transactionsAt(offset kafka.Offset) (producers, error) {
	p := newProducers()
	open := func(id kafka.ProducerID, first kafka.Offset) {
		if first < offset && p.entries[id] == nil {
			p.entries[id] = &producer{epoch: kafka.NoProducerEpoch, coordinatorEpoch: -1,
				lastTimestamp: kafka.NoTimestamp, txnFirstOffset: first}
			p.open = append(p.open, openTxn{id, first})
		}
	}
	aborted, err := l.AbortedTransactions(nil, offset, l.logEnd.load())
	if err != nil {
		return p, err
	}
	for _, t := range aborted { // those of one producer in their order: the first of them was open at offset
		open(t.ProducerID, t.FirstOffset)
	}
	l.append.Lock()
	for _, t := range l.producers.open {
		open(t.producer, t.firstOffset)
	}
	l.append.Unlock()
	slices.SortFunc(p.open, func(a, b openTxn) int { return cmp.Compare(a.firstOffset, b.firstOffset) })
	return p, nil
}

// makeFuture makes the folder of a copy with an empty log in it, durably.
func (d *LogDir) makeFuture(tp kafka.TopicPartition, id kafka.UUID, c Config, start kafka.Offset) (*Log, error) {
	name, err := outgoingName(d.env.Random, tp, futureSuffix)
	if err != nil {
		return nil, err
	}
	l := d.newLog(tp, name, id, c)
	l.future = true
	err = d.env.FS.MkdirAll(l.path(), 0o755)
	if err == nil && id != kafka.ZeroUUID {
		err = placeFile(d.env.FS, path.Join(l.path(), partitionMetadataFile), partitionMetadata(id))
	}
	if err == nil {
		err = (&loader{l: l, made: true, logStart: start}).load()
	}
	if err == nil {
		err = d.env.FS.SyncDir(d.path)
	}
	if err != nil {
		d.discard(l)
		return nil, err
	}
	return l, nil
}

// Target is the directory that the log is moved to.
func (m *Move) Target() *LogDir { return m.target }

// Source is the log that is moved.
func (m *Move) Source() *Log { return m.source }

// Bytes is how much of the log is in the target directory.
func (m *Move) Bytes() int64 { return m.future.Bytes() }

// Lag is how many offsets the copy is behind the log.
func (m *Move) Lag() kafka.Offset { return max(m.source.logEnd.load()-m.future.logEnd.load(), 0) }

// copyBytes is how much is copied at a time: enough to make little of each step, and little enough to be stopped soon.
const copyBytes = 1 << 20

// Copy copies a piece of what the copy does not have yet and gives its size, 0 when the copy has all.
func (m *Move) Copy() (int, error) {
	if err := m.checkSource(); err != nil {
		return 0, err
	}
	n, err := m.copyPiece()
	var unread *unreadError
	if errors.As(err, &unread) {
		err = m.source.readError(unread.cause)
	}
	return n, err
}

// NearEnd tells whether the last Copy went as far as the log did when it began, so that what is left is what came
// meanwhile. That its piece was small tells less: it may have been the end of a segment which others follow.
func (m *Move) NearEnd() bool { return m.reached }

// unreadError is an error of the source, whose lock decides what it means.
type unreadError struct{ cause error }

func (e *unreadError) Error() string { return e.cause.Error() }

// copyPiece is Copy for a caller that has looked at the source. It takes none of the source's locks.
func (m *Move) copyPiece() (int, error) {
	s, f := m.source, m.future
	for {
		list := *s.segments.Load()
		from := f.logEnd.load()
		if list[0].BaseOffset() > from {
			return 0, errBegunAnew // retention took what comes next
		}
		end := s.logEnd.load()
		if m.reached = from >= end; m.reached {
			return 0, nil
		}
		limit := int(min(copyBytes, f.config.Load().SegmentBytes))
		found, err := readFrom(list, from, limit, true, end)
		if s.replaced(list, err) {
			continue
		}
		if err != nil {
			return 0, &unreadError{err}
		}
		if found.Length == 0 {
			m.reached = true
			return 0, nil // the rest is a hole that compaction left
		}
		f.aborted, err = abortedIn(list[find(list, from):], nil, from, found.NextOffset)
		if err != nil {
			found.Release()
			if s.replaced(list, err) {
				continue
			}
			return 0, &unreadError{err}
		}
		m.reached = found.NextOffset >= end
		return m.copyRange(&found)
	}
}

// copyRange appends what was found in the source to the copy.
func (m *Move) copyRange(found *segment.Range) (int, error) {
	err := vfs.Guard(func() error {
		m.buffer = append(m.buffer[:0], found.Bytes()...)
		return nil
	})
	found.Release()
	if err != nil {
		return 0, &unreadError{err}
	}
	f := m.future
	if c := *f.config.Load(); int64(len(m.buffer)) > c.SegmentBytes {
		c.SegmentBytes = int64(len(m.buffer)) // a batch of a time when segment.bytes was larger
		f.config.Store(&c)
	}
	a := AppendOptions{Origin: OriginReplication, Now: f.dir.now()}
	if _, err := f.Append(m.buffer, a); err != nil {
		return 0, fmt.Errorf("copy %s: %w", m.source.tp, err)
	}
	f.AdvanceHighWatermark(m.source.highWatermark.load())
	return len(m.buffer), nil
}

// checkSource tells whether the source is still what the copy began as a copy of.
func (m *Move) checkSource() error {
	if err := m.source.usable(); err != nil {
		return err
	}
	return m.checkCuts()
}

func (m *Move) checkCuts() error {
	if m.source.cuts.Load() != m.cuts {
		return errBegunAnew
	}
	return nil
}

// Flush makes what was copied durable, so that Finish has little to do.
func (m *Move) Flush() error { return m.future.Flush() }

// Abort ends the move. The log stays where it is, and what was copied is removed.
func (m *Move) Abort() {
	m.target.discard(m.future)
	m.letGo()
}

// Discard removes what Suspend left.
func (m *Move) Discard() { m.target.discardFolder(m.future.tp, m.future.folder) }

// Suspend ends the move and leaves the copy, which the next process finds (LogDir.Futures).
func (m *Move) Suspend() {
	m.future.end(errClosed)
	m.letGo()
}

// letGo ends what the move meant for its source.
func (m *Move) letGo() {
	m.source.swapping.Store(false) // PrepareFinish may not have been followed by Finish
	m.source.moving.Store(false)
}

// end lets nobody use the log any more.
func (l *Log) end(reason error) {
	l.maintenance.Lock()
	defer l.maintenance.Unlock()
	l.append.Lock()
	l.gone = reason
	l.append.Unlock()
	if list := l.segments.Load(); list != nil {
		for _, s := range *list {
			s.Abandon()
		}
	}
}

// discard removes a copy. Where its folder cannot be renamed, the next start finds and removes it.
func (d *LogDir) discard(l *Log) {
	l.end(errDeleted)
	d.discardFolder(l.tp, l.folder)
}

// discardFolder has the folder of a copy removed.
func (d *LogDir) discardFolder(tp kafka.TopicPartition, name string) {
	folder, err := d.renameFolder(name, tp, deleteSuffix)
	if err == nil {
		err = d.env.FS.SyncDir(d.path)
	}
	if err != nil {
		d.env.Log.Warn("a copy that is of no use stays on disk", "partition", tp.String(), "dir", d.path, "err", err)
		return
	}
	d.doom(doomed{due: d.env.Clock.Now(), folder: folder}) // nobody can be reading from it
}

// Future is the copy of a move that the last process did not end.
type Future struct {
	TopicPartition kafka.TopicPartition
	TopicID        kafka.UUID
	folder         string
}

// noteFuture keeps what the name of a copy's folder tells.
func (d *LogDir) noteFuture(name string) {
	tp, ok := parseFolder(name[:max(strings.LastIndexByte(name, '.'), 0)])
	if !ok {
		return
	}
	id, err := ReadTopicID(d.env.FS, path.Join(d.path, name))
	if err != nil {
		id = kafka.ZeroUUID // it will not be taken for one of the topic's
	}
	d.mu.Lock()
	d.futures = append(d.futures, Future{tp, id, name})
	d.mu.Unlock()
}

// Futures are the copies that LoadLogs has found.
func (d *LogDir) Futures() []Future {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.futures)
}

// HasFuture tells whether one of Futures is of tp.
func (d *LogDir) HasFuture(tp kafka.TopicPartition) bool {
	return slices.ContainsFunc(d.Futures(), func(f Future) bool { return f.TopicPartition == tp })
}

// DropFuture has one of Futures removed.
func (d *LogDir) DropFuture(f Future) {
	d.mu.Lock()
	d.futures = slices.DeleteFunc(d.futures, func(other Future) bool { return other == f })
	d.mu.Unlock()
	if d.offline() == nil {
		d.discardFolder(f.TopicPartition, f.folder)
	}
}
