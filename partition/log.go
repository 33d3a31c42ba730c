package partition

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"spate/internal/invariant"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// Log is one partition's log. Its offsets always obey
//
//	logStart <= highWatermark <= logEnd, flushed <= logEnd, lastStable <= highWatermark
//
// Locks, in the order in which they are taken: cleaning, maintenance, append, watermark.
type Log struct {
	tp     kafka.TopicPartition
	dir    *LogDir
	folder string // its name in dir
	// future says that this is the copy that a move makes: its failures end the move and not the directory.
	future bool
	// aborted is, in a copy, what was aborted in the part of the log that is being copied: of some transactions
	// compaction has left no more than the marker.
	aborted []AbortedTransaction

	topicID  atomic.Pointer[kafka.UUID]
	config   atomic.Pointer[Config]
	observer atomic.Pointer[Observer]
	// segments is never empty and rises by base offset; the last one is appended to. The slice is immutable. Written
	// under the append lock; a reader that holds an older one finds segments that are closed and asks again.
	segments atomic.Pointer[[]*segment.Segment]
	// epochs is written under the append lock.
	epochs atomic.Pointer[epochCache]

	logStart      atomicOffset // written under the append lock
	logEnd        atomicOffset // written under the append lock, and lowered under the watermark lock too
	flushed       atomicOffset // raised under the maintenance lock, lowered under the append lock as well
	highWatermark atomicOffset // written under the watermark lock
	firstUnstable atomicOffset // written under the append lock; NoOffset if every transaction is decided and committed

	// unsavedEpochs is the start offset of the first epoch that the epoch file lacks, or NoOffset. The recovery point
	// stays at or below it: what recovery then replays brings the epoch back. Written under the append lock.
	unsavedEpochs atomicOffset

	flushedAt atomic.Int64 // when the last flush ended, in Unix nanoseconds, for flush.ms

	wanted atomic.Bool // the flusher has this log on its list
	// reported says that the log was found corrupt and the operator told, which once is enough for.
	reported atomic.Bool
	unsaved  atomic.Bool // the background worker has this log on its list of side files to write

	moving   atomic.Bool  // a Move has this log; it is not cleaned meanwhile
	swapping atomic.Bool  // the move is about to hold the append lock across I/O, or does
	cuts     atomic.Int64 // truncations so far: a copy that saw fewer is none
	// leaving is why the folder is about to have another name, or has one: ErrMoved or errDeleted. It is set before, so
	// that a reader who looked for a file and then finds nil here, has looked in the log's folder.
	leaving atomic.Pointer[error]

	// append is the append lock. It is held across the one write of an append, and by truncation.
	append    sync.Mutex
	gone      error // once the log is closed or deleted: what callers are told
	producers producers
	rules     record.Rules    // scratch of the append that holds the lock
	rolled    kafka.Timestamp // when the active segment began, for segments whose records carry no time
	jitter    time.Duration   // how much earlier than segment.ms the active segment is rolled
	// snapshots are the producer states at the last rolls, waiting for the background worker to write them.
	snapshots []pendingSnapshot

	// cleaning is held by the cleaner for as long as it works on this log, and by what must not run beside it:
	// truncation, closing and deletion, which announce themselves in pauses.
	cleaning    sync.Mutex
	pauses      atomic.Int64
	uncleanable atomic.Bool  // a cleaning found bytes that are not what was written
	cleanAfter  atomic.Int64 // no cleaning begins before, in Unix milliseconds: the last one did not end well

	// maintenance serialises what waits for the disk: flushes, truncation, retention, closing.
	maintenance sync.Mutex
	snapshotAt  kafka.Offset // of the newest producer snapshot on the disk, or NoOffset
	unsealed    kafka.Offset // base offset of the oldest segment that was not sealed yet

	watermark sync.Mutex
}

// pendingSnapshot is a producer snapshot that is not on the disk yet.
type pendingSnapshot struct {
	offset kafka.Offset
	data   []byte
}

// atomicOffset is an offset that is read on any goroutine.
type atomicOffset struct{ v atomic.Int64 }

func (a *atomicOffset) load() kafka.Offset   { return kafka.Offset(a.v.Load()) }
func (a *atomicOffset) store(o kafka.Offset) { a.v.Store(int64(o)) }

// Observer is told what happened in the background. Both are called off the event loops, without any lock held.
type Observer interface {
	// Flushed says that every record below offset is on the disk.
	Flushed(offset kafka.Offset)
	// Failed says that the log's directory went offline with err; nothing more is appended or flushed.
	Failed(err error)
}

// ErrMoved is what a log answers that was moved to another directory meanwhile: who asks again, finds it there.
var ErrMoved = fmt.Errorf("%w: the log was moved to another log directory", kafka.NotLeaderOrFollower)

// errClosed and errDeleted are what a log answers when it is no longer served here; a client asks elsewhere.
var (
	errClosed  = fmt.Errorf("%w: the log is closed", kafka.KafkaStorageError)
	errDeleted = fmt.Errorf("%w: the log is deleted", kafka.UnknownTopicOrPartition)
)

// TopicPartition names the partition.
func (l *Log) TopicPartition() kafka.TopicPartition { return l.tp }

// TopicID is the topic's id from partition.metadata, or the zero id where the file is missing.
func (l *Log) TopicID() kafka.UUID { return *l.topicID.Load() }

// Dir is the log directory that holds this log.
func (l *Log) Dir() *LogDir { return l.dir }

// Config is the settings in force; they are not to be changed.
func (l *Log) Config() *Config { return l.config.Load() }

// UpdateConfig puts new settings in force for the next append, roll and retention check.
func (l *Log) UpdateConfig(c Config) {
	if old := l.config.Swap(&c); old.FlushInterval != c.FlushInterval {
		l.dir.timedStale.Store(true)
	}
	l.dir.reschedule()
}

// LogStartOffset is the first offset that may be read.
func (l *Log) LogStartOffset() kafka.Offset { return l.logStart.load() }

// LogEndOffset is the next offset to be written.
func (l *Log) LogEndOffset() kafka.Offset { return l.logEnd.load() }

// FlushedOffset is the offset below which every record is on the disk.
func (l *Log) FlushedOffset() kafka.Offset { return l.flushed.load() }

// HighWatermark is the offset below which every record is committed.
func (l *Log) HighWatermark() kafka.Offset { return l.highWatermark.load() }

// LastStableOffset is the offset below which every transaction is decided and committed: the end of read_committed.
func (l *Log) LastStableOffset() kafka.Offset {
	// In this order: a transaction that begins in between begins at or past the high watermark that was read.
	highWatermark := l.highWatermark.load()
	unstable := l.firstUnstable.load()
	if unstable == kafka.NoOffset {
		return highWatermark
	}
	return min(max(unstable, l.logStart.load()), highWatermark)
}

// AdvanceHighWatermark moves the high watermark up to o, but not past the log end offset; it never goes back. It
// reports whether it moved.
func (l *Log) AdvanceHighWatermark(o kafka.Offset) bool {
	l.watermark.Lock()
	o = min(o, l.logEnd.load())
	moved := o > l.highWatermark.load()
	if moved {
		l.highWatermark.store(o)
	}
	l.watermark.Unlock()
	if moved {
		l.dir.marksMoved.note(l.dir)
	}
	if moved && l.firstUnstable.load() != kafka.NoOffset {
		l.settleTransactions()
	}
	return moved
}

// settleTransactions lets the last stable offset follow the high watermark past the markers below it.
func (l *Log) settleTransactions() {
	l.append.Lock()
	defer l.append.Unlock()
	if l.gone != nil {
		return // the producers went with a move, and who still asks here is told what they held back
	}
	l.producers.highWatermarkAt(l.highWatermark.load())
	l.firstUnstable.store(l.producers.firstUnstable())
}

// Bytes is the sum of the sizes of the segments.
func (l *Log) Bytes() int64 {
	total := int64(0)
	for _, s := range *l.segments.Load() {
		total += int64(s.Bytes())
	}
	return total
}

// Segments is the number of segments.
func (l *Log) Segments() int { return len(*l.segments.Load()) }

// SetObserver sets who is told about flushes and failures. Set it before the first AwaitFlush.
func (l *Log) SetObserver(o Observer) { l.observer.Store(&o) }

// Failed is the error that took the log's directory offline, or nil.
func (l *Log) Failed() error { return l.dir.Failed() }

// Slow reports whether an append may take long now: the directory is slow, or the log is about to change its directory.
func (l *Log) Slow() bool { return l.swapping.Load() || l.dir.Slow() }

// Swapping reports whether the log is about to change its directory: what needs it to be in one place waits then.
func (l *Log) Swapping() bool { return l.swapping.Load() }

// usableLocked is nil while the log may be appended to and read.
func (l *Log) usableLocked() error {
	if l.gone != nil {
		return l.gone
	}
	return l.dir.offline()
}

// usable is usableLocked for a caller without the append lock.
func (l *Log) usable() error {
	l.append.Lock()
	defer l.append.Unlock()
	return l.usableLocked()
}

// active is the segment that is appended to.
func (l *Log) active() *segment.Segment {
	list := *l.segments.Load()
	return list[len(list)-1]
}

// publish makes list the log's segments.
func (l *Log) publish(list []*segment.Segment) {
	invariant.Check(len(list) > 0, "%s has no segment", l.tp)
	if invariant.Enabled {
		invariant.Check(slices.IsSortedFunc(list, func(a, b *segment.Segment) int {
			return int(a.BaseOffset() - b.BaseOffset())
		}), "the segments of %s are not in order", l.tp)
	}
	l.segments.Store(&list)
}

// find is the position in list of the segment that holds offset: the last one that begins at or below it.
func find(list []*segment.Segment, offset kafka.Offset) int {
	after := sort.Search(len(list), func(i int) bool { return list[i].BaseOffset() > offset })
	return max(after-1, 0)
}

// path is the log's folder.
func (l *Log) path() string { return path.Join(l.dir.path, l.folder) }

func (l *Log) segmentOptions() segment.Options {
	c := l.config.Load()
	return segment.Options{
		BytesMax:           c.SegmentBytes,
		IndexIntervalBytes: c.IndexIntervalBytes,
		IndexBytesMax:      c.IndexBytesMax,
		Reclaim:            l.dir.reclaim,
		Writeback:          l.dir.startWriteback,
		Keeper:             (*keeper)(l),
		Clock:              l.dir.env.Clock,
	}
}

// storageError turns an I/O error into what the caller is told, KAFKA_STORAGE_ERROR in every case. A full disk and a
// lack of descriptors pass, unless they were found out too late and the active segment takes no more writes; bytes that
// changed on the disk are this log's trouble alone; everything else takes the log directory offline.
func (l *Log) storageError(err error) error {
	if reason := l.leaving.Load(); reason != nil {
		return *reason // what is gone was not there to stay
	}
	var corrupt *segment.CorruptError
	switch {
	case errors.Is(err, kafka.KafkaStorageError), errors.Is(err, kafka.UnknownTopicOrPartition):
		return err
	case l.future:
	case errors.As(err, &corrupt):
		l.dir.stats.Corruptions.Add(1)
		if !l.reported.Swap(true) {
			l.dir.env.Log.Error("corrupt log", "partition", l.tp.String(), "err", err)
		}
	case vfs.OutOfFiles(err) && l.active().Err() == nil:
		l.dir.stats.FilesRefused.Add(1)
		l.dir.background.signal()
	case vfs.DiskFull(err) && l.active().Err() == nil:
		l.dir.stats.DiskFull.Add(1)
	default:
		l.dir.fail(fmt.Errorf("%s: %w", l.tp, err))
	}
	return fmt.Errorf("%w: %s: %w", kafka.KafkaStorageError, l.tp, err)
}
