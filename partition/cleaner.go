package partition

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"spate/internal/task"
	"spate/kafka"
)

// CleanerOptions are the log.cleaner.* settings of the broker.
type CleanerOptions struct {
	Threads        int           // log.cleaner.threads
	DedupeBytes    int64         // log.cleaner.dedupe.buffer.size, of all threads together
	LoadFactor     float64       // log.cleaner.io.buffer.load.factor
	IOBufferBytes  int           // log.cleaner.io.buffer.size, of all threads together
	BytesPerSecond float64       // log.cleaner.io.max.bytes.per.second, of reads and writes together
	Backoff        time.Duration // log.cleaner.backoff.ms
}

// DefaultCleanerOptions is Kafka's defaults.
func DefaultCleanerOptions() CleanerOptions {
	return CleanerOptions{Threads: 1, DedupeBytes: 128 << 20, LoadFactor: 0.9, IOBufferBytes: 512 << 10,
		BytesPerSecond: math.MaxFloat64, Backoff: 15 * time.Second}
}

// ioBytes is what one thread reads with at a time, and writes with.
func (o *CleanerOptions) ioBytes() int { return max(o.IOBufferBytes/o.Threads/2, 1) }

// Cleaner compacts the logs of several directories whose cleanup.policy says so, the dirtiest first. It owns its
// goroutines; the directories stay the caller's, who closes the Cleaner before them.
type Cleaner struct {
	env      Env
	dirs     []*LogDir
	options  atomic.Pointer[CleanerOptions] // replaced as a whole by SetOptions
	throttle Throttle                       // of all threads together
	tasks    task.Group
	stopped  atomic.Bool

	mu      sync.Mutex
	threads int           // that run, or are about to end as there are more than Threads
	started bool          // by Start; only then there are threads
	changed chan struct{} // closed, and replaced, when threads that wait have to look again

	stats CleanerStats
}

// CleanerStats is what the cleaner knows about its work. All fields may be read at any time.
type CleanerStats struct {
	Cleanings   atomic.Int64
	LastRun     atomic.Int64  // when the last cleaning ended, in Unix milliseconds
	dirtyRatio  atomic.Uint64 // of the dirtiest log, the bits of a float64
	Uncleanable atomic.Int64  // partitions
}

// DirtyRatioMax is the dirty ratio of the dirtiest log when the cleaner looked last.
func (s *CleanerStats) DirtyRatioMax() float64 { return math.Float64frombits(s.dirtyRatio.Load()) }

// NewCleaner makes a cleaner; Start starts it.
func NewCleaner(env Env, dirs []*LogDir, o CleanerOptions) *Cleaner {
	c := &Cleaner{env: env, dirs: dirs, changed: make(chan struct{})}
	c.SetOptions(o)
	return c
}

// Stats is what the cleaner knows about its work.
func (c *Cleaner) Stats() *CleanerStats { return &c.stats }

// SetOptions replaces the settings. The rate holds at once, the rest from the next log on; what is being cleaned keeps
// the memory with which it began.
func (c *Cleaner) SetOptions(o CleanerOptions) {
	o.Threads = max(o.Threads, 1)
	o.LoadFactor = min(max(o.LoadFactor, 0.01), 1)
	c.options.Store(&o)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.growLocked()
	c.wakeLocked()
}

// Start starts the threads.
func (c *Cleaner) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = true
	c.growLocked()
}

// growLocked starts the threads that are missing.
func (c *Cleaner) growLocked() {
	for c.started && !c.stopped.Load() && c.threads < c.options.Load().Threads {
		c.threads++
		c.tasks.Go("log cleaner", c.run)
	}
}

// wakeLocked has the threads that wait look at the settings again.
func (c *Cleaner) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Close ends what is being cleaned and joins the threads.
func (c *Cleaner) Close() {
	c.mu.Lock()
	c.stopped.Store(true)
	c.wakeLocked()
	c.mu.Unlock()
	c.tasks.Wait()
}

// run is one thread.
func (c *Cleaner) run() {
	slept := c.env.Clock.Now()
	for {
		c.mu.Lock()
		changed, o := c.changed, c.options.Load()
		if c.stopped.Load() || c.threads > o.Threads {
			c.threads--
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		if left := o.Backoff - c.env.Clock.Now().Sub(slept); left > 0 {
			wake := make(chan struct{})
			timer := c.env.Clock.AfterFunc(left, func() { close(wake) })
			select {
			case <-changed:
				timer.Stop()
				continue
			case <-wake:
			}
		}
		for !c.stopped.Load() && c.Poll() {
		}
		slept = c.env.Clock.Now()
	}
}

// Poll cleans the dirtiest log that is due, and says whether there may be more to do at once.
func (c *Cleaner) Poll() bool {
	now := kafka.Timestamp(c.env.Clock.Now().UnixMilli())
	l, plan := c.dirtiest(now)
	if l == nil {
		return false
	}
	defer l.cleaning.Unlock()
	x, err := newCleaning(l, c, plan, now)
	var end kafka.Offset
	if err == nil {
		end, err = x.run()
	}
	if err == nil {
		err = l.dir.checkpointCleaned(l.tp, end)
	}
	if err != nil {
		// Others have their turn first: a log whose cleaning fails would else be the dirtiest for ever.
		l.cleanAfter.Store(int64(now) + cleanRetryAfter.Milliseconds())
		if l.cleanFailed(err) && !l.uncleanable.Swap(true) {
			c.stats.Uncleanable.Add(1)
		}
		return true
	}
	c.stats.Cleanings.Add(1)
	c.stats.LastRun.Store(c.env.Clock.Now().UnixMilli())
	return true
}

// cleanRetryAfter is how long a log rests whose cleaning failed or was interrupted.
const cleanRetryAfter = 15 * time.Second

// dirtiest gives the log with the largest dirty ratio among those that are to be cleaned, with its cleaning lock held.
func (c *Cleaner) dirtiest(now kafka.Timestamp) (dirtiest *Log, plan cleanable) {
	ratio, uncleanable := 0.0, int64(0)
	for _, d := range c.dirs {
		if d.offline() != nil {
			continue
		}
		for _, l := range d.list() {
			if l.uncleanable.Load() {
				uncleanable++
				continue
			}
			if !l.config.Load().Compact || int64(now) < l.cleanAfter.Load() || !l.tryCleaning() {
				continue
			}
			found := l.cleanable(now)
			if found.reset {
				l.dir.checkpointed(l.dir.checkpointCleaned(l.tp, found.from))
			}
			ratio = max(ratio, found.ratio)
			if !found.wanted || dirtiest != nil && found.ratio <= plan.ratio || l.usable() != nil {
				l.cleaning.Unlock()
				continue
			}
			if dirtiest != nil {
				dirtiest.cleaning.Unlock()
			}
			dirtiest, plan = l, found
		}
	}
	c.stats.dirtyRatio.Store(math.Float64bits(ratio))
	c.stats.Uncleanable.Store(uncleanable)
	return dirtiest, plan
}

// throttleStep is how long a wait lasts before its reason, and the rate, are looked at again.
const throttleStep = 50 * time.Millisecond

// wait takes bytes from the rate and waits until they are granted, or until ended gives an error.
func (c *Cleaner) wait(bytes int, ended func() error) error {
	at, rate := c.env.Clock, func() float64 { return c.options.Load().BytesPerSecond }
	ticket := c.throttle.Take(at.Now(), rate(), bytes)
	for {
		left := c.throttle.Left(at.Now(), rate(), ticket)
		if left <= time.Nanosecond { // also at a rate that means nothing
			return nil
		}
		if err := ended(); err != nil {
			return err
		}
		wake := make(chan struct{})
		at.AfterFunc(min(left, throttleStep), func() { close(wake) })
		<-wake
	}
}
