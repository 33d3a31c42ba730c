package runtime

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"spate/internal/clock"
	"spate/internal/metrics"
	"spate/internal/task"
	"spate/kafka"
	"spate/kafka/record"
)

// Options is how a Host is run.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Topic names the coordinators' topic, in log lines.
	Topic string
	// NewMachine makes the empty machine of a partition, on the shard's goroutine.
	NewMachine func(kafka.PartitionIndex) Machine
	// Codec is how batches are compressed; a batch that is larger then is left as it is.
	Codec record.Codec
	// Merge makes one of two broadcasts that a shard has not taken yet; if it is nil, the later one replaces the
	// earlier.
	Merge func(earlier, later any) any
	// Do carries out the tasks of a partition's machine, whose shard leads in epoch. It is called on the shard's
	// goroutine and must not wait; it submits what comes of the task as a command. nil where machines have no tasks.
	Do func(p kafka.PartitionIndex, epoch kafka.LeaderEpoch, task any)
	// QueueMax bounds the commands that wait for one shard; 0 stands for 65536, six times the members of a very large
	// group.
	QueueMax int
	// LoadsMax bounds the shards that load at a time; 0 stands for 2: one that decodes while another reads.
	LoadsMax int
	// LoadTime and CommitTime are where durations are counted; nil for nowhere.
	LoadTime, CommitTime *metrics.Histogram
	// Polled leaves out the goroutines: the caller gives all shards their turns by Poll.
	Polled bool
}

const (
	queueMaxDefault = 1 << 16
	loadsMaxDefault = 2
)

// Stats counts what the shards of a Host did.
type Stats struct {
	Commands     atomic.Int64 // decided
	Fired        atomic.Int64 // timers
	Records      atomic.Int64 // appended
	Bytes        atomic.Int64 // appended
	Batches      atomic.Int64 // appended
	Replayed     atomic.Int64 // records that were read while loading
	Unknown      atomic.Int64 // of them, skipped: of a type that the machine does not know
	Loads        atomic.Int64 // that ended well
	Corrupt      atomic.Int64 // loads that ended with a record that cannot be read
	AppendErrors atomic.Int64 // after each of which a shard was loaded anew
	TooLarge     atomic.Int64 // commands refused because their records do not fit into a batch
	NoRoom       atomic.Int64 // commands refused because the disk is full
	Overflows    atomic.Int64 // commands refused because the queue was full
}

// Host runs the shards of one internal topic.
type Host struct {
	options Options
	stats   Stats
	tasks   task.Group
	table   atomic.Pointer[table]

	mu      sync.Mutex
	leaving []*shard // resigned and not ended yet; of a polled host
	// ended is closed when the last shard of a partition, led still or not, has ended.
	ended   map[kafka.PartitionIndex]<-chan struct{}
	closed  bool
	loading int      // shards that load
	inLine  []*shard // for loading, first come, first served
}

// table says who is responsible. It is replaced under Host.mu, never changed: a caller that reads an older one acts as
// if its command had come a moment earlier.
type table struct {
	partitions int      // of the topic, 0 while there is none
	shards     []*shard // by partition; nil where this broker does not lead
}

func (t *table) shard(p kafka.PartitionIndex) *shard {
	if p < 0 || int(p) >= len(t.shards) {
		return nil
	}
	return t.shards[p]
}

// NewHost makes a Host without shards.
func NewHost(o Options) *Host {
	if o.QueueMax == 0 {
		o.QueueMax = queueMaxDefault
	}
	if o.LoadsMax == 0 {
		o.LoadsMax = loadsMaxDefault
	}
	h := &Host{options: o, ended: map[kafka.PartitionIndex]<-chan struct{}{}}
	h.table.Store(&table{})
	return h
}

// Stats are the host's counters.
func (h *Host) Stats() *Stats { return &h.stats }

// SetPartitions says how many partitions the topic has, over which PartitionFor spreads the keys.
func (h *Host) SetPartitions(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := *h.table.Load()
	next.partitions = n
	h.table.Store(&next)
}

// PartitionFor is the partition that is responsible for a key, -1 while the topic has no partitions.
func (h *Host) PartitionFor(key string) kafka.PartitionIndex {
	n := h.table.Load().partitions
	if n == 0 {
		return -1
	}
	return kafka.PartitionIndex(absolute(hashOf(key)) % int32(n))
}

// absolute is Kafka's Utils.abs: the smallest number, which has no counterpart, becomes 0.
func absolute(n int32) int32 {
	switch {
	case n == math.MinInt32:
		return 0
	case n < 0:
		return -n
	}
	return n
}

// Submit gives a command to the shard of its key.
func (h *Host) Submit(key string, cmd any, d Done) { h.SubmitTo(h.PartitionFor(key), cmd, d) }

// SubmitTo gives a command to the shard of a partition.
func (h *Host) SubmitTo(p kafka.PartitionIndex, cmd any, d Done) {
	s := h.table.Load().shard(p)
	if s == nil {
		d.Done(nil, kafka.NotCoordinator)
		return
	}
	if err := s.put(cmd, d); err != nil {
		d.Done(nil, err)
	}
}

// Led is the partitions that this broker leads, loaded or not, in order.
func (h *Host) Led() []kafka.PartitionIndex {
	var led []kafka.PartitionIndex
	for p, s := range h.table.Load().shards {
		if s != nil {
			led = append(led, kafka.PartitionIndex(p))
		}
	}
	return led
}

// AwaitLoads waits until every shard that there is now has loaded, or could not be, or until ctx ends. It tells whether
// all have come so far.
func (h *Host) AwaitLoads(ctx context.Context) bool {
	for _, s := range h.table.Load().shards {
		if s == nil {
			continue
		}
		select {
		case <-s.tried:
		case <-ctx.Done():
			select {
			case <-s.tried: // both at once
			default:
				return false
			}
		}
	}
	return true
}

// Broadcast gives a command that nobody waits for to every shard, before the commands in its queue. A shard that loads
// gets it when it has loaded. Broadcasts that come faster than a shard takes them are merged.
func (h *Host) Broadcast(cmd any) {
	for _, s := range h.table.Load().shards {
		if s != nil {
			s.announce(cmd)
		}
	}
}

// Lead begins to serve a partition as its leader in epoch. A shard of the same epoch goes on, one of another ends
// first, and so does one that has resigned and is still at work.
func (h *Host) Lead(p kafka.PartitionIndex, epoch kafka.LeaderEpoch, log Log) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.table.Load().shard(p)
	if h.closed || old != nil && old.epoch == epoch {
		return
	}
	s := newShard(h, p, epoch, log)
	s.after = h.ended[p]
	h.ended[p] = s.ended
	if old != nil {
		h.retireLocked(old)
	}
	h.setLocked(p, s)
	if !h.options.Polled {
		h.tasks.Go("coordinator "+s.name, s.run)
	}
	s.signal()
}

// Resign ends the shard of a partition, if there is one: all who wait are answered NOT_COORDINATOR. It does not wait
// for the shard's end.
func (h *Host) Resign(p kafka.PartitionIndex) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.table.Load().shard(p); s != nil {
		h.retireLocked(s)
		h.setLocked(p, nil)
	}
}

func (h *Host) retireLocked(s *shard) {
	if h.options.Polled {
		h.leaving = append(h.leaving, s)
	}
	s.resign()
}

func (h *Host) setLocked(p kafka.PartitionIndex, s *shard) {
	old := h.table.Load()
	next := &table{partitions: old.partitions, shards: make([]*shard, max(len(old.shards), int(p)+1))}
	copy(next.shards, old.shards)
	next.shards[p] = s
	h.table.Store(next)
}

// Close ends all shards and returns when all who waited are answered. Commands that come later are answered
// NOT_COORDINATOR.
func (h *Host) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	for _, p := range h.Led() {
		h.Resign(p)
	}
	h.mu.Lock()
	leaving := h.leaving
	h.leaving = nil
	h.mu.Unlock()
	for _, s := range leaving {
		s.poll(h.options.Clock.Now())
	}
	h.tasks.Wait()
}

// Poll gives every shard of a polled host one turn, by partition, and tells whether any had something to do.
func (h *Host) Poll(now time.Time) bool {
	h.mu.Lock()
	leaving := h.leaving
	h.leaving = nil
	h.mu.Unlock()
	for _, s := range leaving {
		s.poll(now)
	}
	busy := false
	for _, s := range h.table.Load().shards {
		if s != nil && s.poll(now) {
			busy = true
		}
	}
	return busy
}

// beginLoad takes one of the places of shards that load, or puts s in line for one.
func (h *Host) beginLoad(s *shard) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loading == h.options.LoadsMax {
		h.inLine = append(h.inLine, s)
		return false
	}
	h.loading++
	return true
}

// endLoad hands a place on to the next in line.
func (h *Host) endLoad() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.inLine) == 0 {
		h.loading--
		return
	}
	next := h.inLine[0]
	h.inLine = h.inLine[1:]
	next.placed.Store(true)
	next.signal()
}

// leaveLine takes a shard out of the line; the place that it may have been given meanwhile goes to the next.
func (h *Host) leaveLine(s *shard) {
	h.mu.Lock()
	for i, other := range h.inLine {
		if other == s {
			h.inLine = append(h.inLine[:i:i], h.inLine[i+1:]...)
			h.mu.Unlock()
			return
		}
	}
	h.mu.Unlock()
	h.endLoad()
}

// ShardStatus is what one shard is doing.
type ShardStatus struct {
	Partition kafka.PartitionIndex
	State     State
	Queued    int // commands
	Report    any // of the machine, up to a second old; nil where there is none
}

// Shards is the status of every shard, by partition.
func (h *Host) Shards() []ShardStatus {
	var list []ShardStatus
	for _, s := range h.table.Load().shards {
		if s != nil {
			list = append(list, s.status())
		}
	}
	return list
}
