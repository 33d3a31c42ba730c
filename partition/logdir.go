package partition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spate/internal/clock"
	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/segment"
)

// Env is the world as this package sees it.
type Env struct {
	Clock  clock.Clock
	FS     vfs.FS
	Random io.Reader // directory ids, names of deleted folders, roll jitter; any goroutine may read from it
	Log    *slog.Logger
}

// Options is how a log directory is run.
type Options struct {
	NodeID    kafka.BrokerID
	ClusterID string // in Kafka's text form; a new directory is formatted with it, an old one must agree

	RecoveryThreads         int           // num.recovery.threads.per.data.dir
	SettleTogether          int           // with so many logs to load, one flush of the file system serves them all
	FlushWorkers            int           // logs that a round of the group commit flushes at a time, from Start on
	RetentionCheckInterval  time.Duration // log.retention.check.interval.ms
	CheckpointInterval      time.Duration // log.flush.{offset,start.offset}.checkpoint.interval.ms
	HighWatermarkInterval   time.Duration // replica.high.watermark.checkpoint.interval.ms
	ProducerExpiration      time.Duration // producer.id.expiration.ms
	ProducerExpirationCheck time.Duration // producer.id.expiration.check.interval.ms
	Unverified              bool          // not transaction.partition.verification.enable
	SlowAfter               time.Duration // an append or a flush that takes longer makes the directory slow
	IdleAfter               time.Duration // the file of a segment that nobody uses for so long is closed

	// Files bounds the files of segments that are open, those of the other directories counted; nil is no bound.
	Files *OpenFiles

	// OnFail is called once, off the event loops, when an I/O error took the directory offline.
	OnFail func(d *LogDir, err error)
	// FlushLatency is told how long each round of the group commit took.
	FlushLatency func(d time.Duration)
}

// DefaultOptions is Kafka's defaults; node and cluster are for the caller to fill in.
func DefaultOptions() Options {
	return Options{
		RecoveryThreads:         2,
		SettleTogether:          16, // with fewer, what others have written there may take longer
		FlushWorkers:            8,
		RetentionCheckInterval:  5 * time.Minute,
		CheckpointInterval:      time.Minute,
		HighWatermarkInterval:   5 * time.Second,
		ProducerExpiration:      24 * time.Hour,
		ProducerExpirationCheck: 10 * time.Minute,
		SlowAfter:               50 * time.Millisecond,
		IdleAfter:               30 * time.Second,
	}
}

// LogDir is one log directory, locked for this process.
type LogDir struct {
	env     Env
	path    string
	options Options
	meta    MetaProperties
	lock    io.Closer
	stats   Stats

	recoveryThreads    atomic.Int64 // as SetRecoveryThreads has it
	producerExpiration atomic.Int64 // in milliseconds, as SetProducerExpiration has it

	fresh      bool              // the directory was formatted by this process
	clean      bool              // the last process closed the directory cleanly
	cleanEpoch kafka.BrokerEpoch // and noted this epoch

	failure   atomic.Pointer[failure]
	loaded    atomic.Bool // LoadLogs has looked at every folder
	unloaded  atomic.Bool // a log could not be loaded: the directory is not closed cleanly
	announced sync.Once
	slowUntil atomic.Int64 // Unix nanoseconds
	verified  atomic.Bool  // transaction.partition.verification.enable
	flushing  atomic.Int64 // when the round of the group commit that is under way began; 0 for none
	appending atomic.Int64 // when an append that is under way began, of several one; 0 for none

	// opening serialises OpenLogs. Held across I/O; never taken on a loop.
	opening sync.Mutex

	mu     sync.Mutex
	logs   map[kafka.TopicPartition]*Log
	sorted []*Log   // the logs in order, never changed; nil once it is not right any more
	doomed []doomed // what waits for its file.delete.delay.ms
	// futures are the copies of moves that the last process did not end.
	futures []Future

	pointsMoved moved // recovery points or log start offsets are not what their checkpoints say
	marksMoved  moved // high watermarks are not
	timedStale  atomic.Bool

	inUse       openSegments
	checkpoints checkpoints
	flusher     flusher
	writeback   writeback
	background  background
	tasks       task.Group
}

// Verified tells whether a transaction's coordinator is asked before a batch of the transaction is appended.
func (d *LogDir) Verified() bool { return d.verified.Load() }

// SetVerified puts a new transaction.partition.verification.enable in force.
func (d *LogDir) SetVerified(on bool) { d.verified.Store(on) }

// failure is the I/O error that took the directory offline, and what everybody is told from then on.
type failure struct {
	cause  error
	answer error
}

// SetRecoveryThreads changes Options.RecoveryThreads, for the close and for whatever is loaded from now on.
func (d *LogDir) SetRecoveryThreads(n int) { d.recoveryThreads.Store(int64(n)) }

// SetProducerExpiration changes Options.ProducerExpiration, from the next check on.
func (d *LogDir) SetProducerExpiration(age time.Duration) {
	d.producerExpiration.Store(age.Milliseconds())
}

// RecoveryThreads is what SetRecoveryThreads has set.
func (d *LogDir) RecoveryThreads() int { return int(d.recoveryThreads.Load()) }

// ProducerExpiration is what SetProducerExpiration has set.
func (d *LogDir) ProducerExpiration() time.Duration {
	return time.Duration(d.producerExpiration.Load()) * time.Millisecond
}

// OpenLogDir creates the directory where it is missing, locks it, verifies meta.properties or writes it, and reads the
// checkpoint files. It loads no log and starts nothing.
func OpenLogDir(env Env, dir string, o Options) (*LogDir, error) {
	d := &LogDir{env: env, path: dir, options: o, logs: map[kafka.TopicPartition]*Log{}}
	d.verified.Store(!o.Unverified)
	if d.options.Files == nil {
		d.options.Files = NewOpenFiles(math.MaxInt)
	}
	d.inUse.logs = map[*segment.Segment]*Log{}
	d.SetRecoveryThreads(o.RecoveryThreads)
	d.SetProducerExpiration(o.ProducerExpiration)
	d.flusher.wake = make(chan struct{}, 1)
	d.writeback.wake = make(chan struct{}, 1)
	d.background.wake = make(chan struct{}, 1)
	if err := makeFolder(env.FS, dir); err != nil {
		return nil, fmt.Errorf("log directory %s: %w", dir, err)
	}
	lock, err := env.FS.Lock(path.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("log directory %s is in use: %w", dir, err)
	}
	d.lock = lock
	if err := d.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("log directory %s: %w", dir, err), lock.Close())
	}
	return d, nil
}

func (d *LogDir) open() error {
	if err := d.readOrWriteMeta(); err != nil {
		return err
	}
	if err := d.takeCleanMarker(); err != nil {
		return err
	}
	return d.readCheckpoints()
}

// readOrWriteMeta makes sure that the directory belongs to this node of this cluster, or makes it so when it is new.
func (d *LogDir) readOrWriteMeta() error {
	m, found, err := ReadMetaProperties(d.env.FS, d.path)
	if err != nil {
		return err
	}
	if !found {
		id, err := kafka.NewUUID(d.env.Random)
		if err != nil {
			return err
		}
		d.fresh = true
		d.meta = MetaProperties{ClusterID: d.options.ClusterID, NodeID: d.options.NodeID, DirectoryID: id}
		return replaceFile(d.env.FS, path.Join(d.path, metaPropertiesFile), d.meta.text())
	}
	if m.ClusterID != d.options.ClusterID {
		return fmt.Errorf("%s belongs to cluster %s, not to %s", metaPropertiesFile, m.ClusterID, d.options.ClusterID)
	}
	if m.NodeID != d.options.NodeID {
		return fmt.Errorf("%s belongs to node %d, not to %d", metaPropertiesFile, m.NodeID, d.options.NodeID)
	}
	d.meta = m
	return nil
}

// takeCleanMarker reads the mark of a clean shutdown and removes it: whatever ends this process, the next one must not
// find it unless this one made it.
func (d *LogDir) takeCleanMarker() error {
	name := path.Join(d.path, cleanShutdownFile)
	text, err := readFile(d.env.FS, name, metaBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		d.cleanEpoch = -1
		return nil
	}
	if err != nil {
		return err
	}
	d.clean, d.cleanEpoch = true, parseCleanShutdown(text)
	if err := d.env.FS.Remove(name); err != nil {
		return err
	}
	return d.env.FS.SyncDir(d.path)
}

// Path is the directory's path as configured.
func (d *LogDir) Path() string { return d.path }

// ID is the directory.id of meta.properties.
func (d *LogDir) ID() kafka.UUID { return d.meta.DirectoryID }

// Meta is the directory's meta.properties.
func (d *LogDir) Meta() MetaProperties { return d.meta }

// CleanShutdown reports whether the last process closed this directory cleanly, and the broker epoch it noted, or -1.
func (d *LogDir) CleanShutdown() (kafka.BrokerEpoch, bool) { return d.cleanEpoch, d.clean }

// Stats is the directory's counters.
func (d *LogDir) Stats() *Stats { return &d.stats }

// FreeBytes is the room left in the directory's file system.
func (d *LogDir) FreeBytes() (int64, error) { return d.env.FS.FreeBytes(d.path) }

// SpaceBytes is the size of the directory's file system, and the room left in it.
func (d *LogDir) SpaceBytes() (total, free int64, err error) {
	if total, err = d.env.FS.TotalBytes(d.path); err != nil {
		return 0, 0, err
	}
	free, err = d.FreeBytes()
	return total, free, err
}

// Logs lists the open logs, by topic and partition.
func (d *LogDir) Logs() []*Log { return slices.Clone(d.list()) }

// list is Logs for a caller that does not change it.
func (d *LogDir) list() []*Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sorted == nil {
		d.sorted = slices.SortedFunc(maps.Values(d.logs), func(a, b *Log) int {
			return compareTopicPartitions(a.tp, b.tp)
		})
	}
	return d.sorted
}

// LogCount is the number of open logs.
func (d *LogDir) LogCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.logs)
}

// Log is the open log of tp, or nil.
func (d *LogDir) Log(tp kafka.TopicPartition) *Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.logs[tp]
}

// Failed is the error that took the directory offline, or nil.
func (d *LogDir) Failed() error {
	if f := d.failure.Load(); f != nil {
		return f.cause
	}
	return nil
}

// offline is what callers are told once the directory has failed, KAFKA_STORAGE_ERROR, or nil.
func (d *LogDir) offline() error {
	if f := d.failure.Load(); f != nil {
		return f.answer
	}
	return nil
}

// fail takes the directory offline. It may be called by an event loop with a lock held, so that the news is spread by
// the flusher.
func (d *LogDir) fail(cause error) {
	answer := fmt.Errorf("%w: log directory %s is offline: %w", kafka.KafkaStorageError, d.path, cause)
	f := &failure{cause: cause, answer: answer}
	if d.failure.CompareAndSwap(nil, f) {
		d.flusher.signal()
	}
}

// announceFailure tells everybody, once, that the directory is offline.
func (d *LogDir) announceFailure() {
	f := d.failure.Load()
	if f == nil {
		return
	}
	d.announced.Do(func() {
		d.env.Log.Error("log directory is offline", "dir", d.path, "err", f.cause)
		for _, l := range d.list() {
			if o := l.observer.Load(); o != nil {
				(*o).Failed(f.cause)
			}
		}
		if d.options.OnFail != nil {
			d.options.OnFail(d, f.cause)
		}
	})
}

// slowFor is how long a slow append or flush marks the directory: long enough to move the load off the event loops,
// short enough to come back soon.
const slowFor = time.Second

// Slow reports whether an append or flush took longer than SlowAfter lately, or is taking so long now: the broker then
// hands appends to a writer of their own instead of doing them on an event loop.
func (d *LogDir) Slow() bool {
	now := d.env.Clock.Now().UnixNano()
	isLate := func(began int64) bool { return began != 0 && now-began > int64(d.options.SlowAfter) }
	return now < d.slowUntil.Load() || isLate(d.flushing.Load()) || isLate(d.appending.Load())
}

// took notes how long an append or a flush took that began at started.
func (d *LogDir) took(started time.Time) time.Duration {
	now := d.env.Clock.Now()
	took := now.Sub(started)
	if took > d.options.SlowAfter {
		d.slowUntil.Store(now.Add(slowFor).UnixNano())
		d.stats.SlowOperations.Add(1)
	}
	return took
}

// now is the broker's time as a timestamp.
func (d *LogDir) now() kafka.Timestamp { return kafka.Timestamp(d.env.Clock.Now().UnixMilli()) }
