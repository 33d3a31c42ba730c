package segment

import (
	"fmt"
	"math"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"spate/index"
	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
)

// Options are the limits of a segment.
type Options struct {
	BytesMax           int64 // segment.bytes at first: no append makes the file larger; see SetBytesMax
	IndexIntervalBytes int   // index.interval.bytes: how far apart the entries of the offset index are
	IndexBytesMax      int   // segment.index.bytes: a fuller index makes the segment Full
	// Reclaim runs a function that unmaps and closes files, which takes a while for large ones, away from the goroutine
	// that released the last range. Without it the function runs there.
	Reclaim func(func())
	// Writeback calls the segment's StartWriteback, which may wait for the disk, away from the goroutine that appends.
	// Without it the call comes from there.
	Writeback func(*Segment)
	// Keeper is asked before a file is opened; without one every file may be.
	Keeper Keeper
	// Clock says how long ago a part of the file was seen in memory; without one, it is asked about each time.
	Clock clock.Clock
}

// Keeper keeps account of the segments whose files are open. Its methods are called with a lock of the segment held:
// they take note and return.
type Keeper interface {
	// Opening is asked before the file of a segment is opened; an error refuses it.
	Opening(s *Segment) error
	// Closed says that the segment has no file open any more, but what readers may still hold.
	Closed(s *Segment)
}

// writeback has what was appended to s written out.
func (o *Options) writeback(s *Segment) {
	if o.Writeback == nil {
		s.StartWriteback()
		return
	}
	o.Writeback(s)
}

// Segment is one log segment.
type Segment struct {
	disk    vfs.FS
	dir     string
	base    kafka.Offset
	options Options

	// body is nil once the segment is closed. It changes under mu.
	body   atomic.Pointer[body]
	poison atomic.Pointer[poison]
	// limit is the size that no append makes the file larger than, from Options.BytesMax on. Written by the appender; a
	// reader that sees an older one maps less than it could, and maps again when it needs more.
	limit atomic.Int64
	vec   [1][]byte // the appender's, so that a vectored write does not allocate

	// mu serialises what waits for the disk: flushing, sealing, truncation, renaming, opening, closing. It is held
	// across I/O; readers take it while the file is closed, an index is wrong, or a truncation replaces the body.
	mu     sync.Mutex
	suffix string // behind the names of all files
	named  bool   // the log file's name is durable
	doomed bool   // going to be deleted: nothing is worth writing any more
}

// poison is the I/O error after which nobody knows what is on the disk.
type poison struct{ err error }

// newSegment is a segment without a body.
func newSegment(disk vfs.FS, dir string, base kafka.Offset, o Options) *Segment {
	s := &Segment{disk: disk, dir: dir, base: base, options: o}
	s.SetBytesMax(o.BytesMax)
	return s
}

// SetBytesMax changes what was Options.BytesMax, as segment.bytes may change while the segment is in use. Like Append
// it is for the appender. Nothing is cut when the segment is larger already.
func (s *Segment) SetBytesMax(n int64) { s.limit.Store(min(n, positionMax)) }

// Create makes an empty segment. Its name becomes durable with the first Flush.
func Create(disk vfs.FS, dir string, base kafka.Offset, o Options) (*Segment, error) {
	s := newSegment(disk, dir, base, o)
	file, err := s.openFile(os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	b := s.newBody(file, newTally(base, o.IndexIntervalBytes), &index.Buffer{})
	s.body.Store(b)
	return s, nil
}

// newBody is an empty body with live indexes.
func (s *Segment) newBody(file vfs.File, t tally, aborted *index.Buffer) *body {
	b := &body{
		file:    file,
		offsets: index.NewFile(s.disk, s.path(index.OffsetKind.Suffix), index.OffsetKind, t.offsets),
		times:   index.NewFile(s.disk, s.path(index.TimeKind.Suffix), index.TimeKind, t.times),
		aborted: index.NewFile(s.disk, s.path(index.TransactionKind.Suffix), index.TransactionKind, aborted),
		warm:    warm{clock: s.options.Clock},
		reclaim: s.options.Reclaim,
		tally:   t,
	}
	b.refs.Store(1)
	b.showNewest()
	return b
}

// name is how errors call the segment, whatever suffix its files have by now.
func (s *Segment) name() string { return path.Join(s.dir, FileName(s.base, LogSuffix)) }

// path is the name of one of the segment's files now. The caller holds mu, or is the only one yet.
func (s *Segment) path(suffix string) string {
	return path.Join(s.dir, FileName(s.base, suffix)+s.suffix)
}

// acquire gives the body, whose file it opens where it is closed, with a reference for the caller.
func (s *Segment) acquire() (*body, error) {
	for b := s.body.Load(); b != nil; {
		if b.acquire() {
			return b, nil
		}
		var err error
		if b, err = s.opened(); err != nil {
			return nil, err
		}
	}
	return nil, ErrClosed
}

// BaseOffset is the first offset that the segment may hold; its files are named by it.
func (s *Segment) BaseOffset() kafka.Offset { return s.base }

// NextOffset is one past the last offset, or the base offset of an empty or closed segment.
func (s *Segment) NextOffset() kafka.Offset {
	b := s.body.Load()
	if b == nil {
		return s.base
	}
	_, relative := unpack(b.end.Load())
	return s.base + kafka.Offset(relative)
}

// Bytes is the size of the log, 0 once closed.
func (s *Segment) Bytes() kafka.Position {
	b := s.body.Load()
	if b == nil {
		return 0
	}
	position, _ := unpack(b.end.Load())
	return kafka.Position(position)
}

// MaxTimestamp is the largest timestamp and the last offset of the batch that brought it; NoTimestamp and the base
// offset when there is none.
func (s *Segment) MaxTimestamp() (kafka.Timestamp, kafka.Offset) {
	b := s.body.Load()
	if b == nil {
		return kafka.NoTimestamp, s.base
	}
	b.newestMu.Lock()
	defer b.newestMu.Unlock()
	return b.newest, b.at
}

// FirstTimestamp is the largest timestamp of the first batch, NoTimestamp when there is none. Rolling by time counts
// from it.
func (s *Segment) FirstTimestamp() kafka.Timestamp {
	b := s.body.Load()
	if b == nil {
		return kafka.NoTimestamp
	}
	b.newestMu.Lock()
	defer b.newestMu.Unlock()
	return b.first
}

// Err is the I/O error that ended all writing to the segment, or nil.
func (s *Segment) Err() error {
	if p := s.poison.Load(); p != nil {
		return p.err
	}
	return nil
}

// fail ends all writing to the segment and gives the error that callers get from now on.
func (s *Segment) fail(err error) error {
	p := &poison{err: fmt.Errorf("segment %s: %w", s.name(), err)}
	if !s.poison.CompareAndSwap(nil, p) {
		return s.poison.Load().err
	}
	return p.err
}

// failUnlessFull passes an error that means no more than a full disk, and fails the segment with any other.
func (s *Segment) failUnlessFull(err error) error {
	if err == nil || vfs.Exhausted(err) {
		return err
	}
	return s.fail(err)
}

// Full says whether a new segment must be rolled before so many bytes, whose last offset is last, are appended: they
// would make the log too large, or an index is full, or last is too far from the base offset. Like Append it is for
// the appender.
func (s *Segment) Full(add int, last kafka.Offset) bool {
	b := s.body.Load()
	if b == nil || last-s.base > math.MaxInt32 {
		return true
	}
	position, _ := unpack(b.end.Load())
	if position == 0 {
		return false
	}
	if position+int64(add) > s.limit.Load() {
		return true
	}
	if !b.live() {
		return false // it was opened, and stays open for a first append
	}
	// The last slot of the time index is for the entry that sealing makes.
	return b.offsets.Live().Bytes()/index.OffsetEntryBytes >= s.options.IndexBytesMax/index.OffsetEntryBytes ||
		b.times.Live().Bytes()/index.TimeEntryBytes >= s.options.IndexBytesMax/index.TimeEntryBytes-1
}
