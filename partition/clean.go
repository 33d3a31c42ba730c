package partition

import (
	"errors"
	"fmt"
	"slices"

	"spate/internal/bufpool"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// errInterrupted ends a cleaning for which there is no reason any more: somebody truncates, closes or deletes the log,
// retention took a segment of it, or the cleaner stops.
var errInterrupted = errors.New("the cleaning was interrupted")

// pauseCleaning ends a cleaning that is under way, waits for that, and lets none begin until what it returns is called.
func (l *Log) pauseCleaning() (resume func()) {
	l.pauses.Add(1)
	l.cleaning.Lock()
	l.pauses.Add(-1)
	return l.cleaning.Unlock
}

// tryCleaning takes the cleaning lock, unless somebody has it or the log is being moved: what a cleaning removes may be
// in the copy already, or be what makes something in it void.
func (l *Log) tryCleaning() bool {
	if l.moving.Load() || !l.cleaning.TryLock() {
		return false
	}
	if l.moving.Load() {
		l.cleaning.Unlock()
		return false
	}
	return true
}

// cleanable judges how much there is to clean at now.
func (l *Log) cleanable(now kafka.Timestamp) cleanable {
	c := l.config.Load()
	l.maintenance.Lock()
	limit := l.unsealed
	l.maintenance.Unlock()
	list := *l.segments.Load()
	rule := cleanRule{
		now: now, lagMin: c.CompactionLagMin, lagMax: c.CompactionLagMax, ratioMin: c.DirtyRatioMin,
		checkpoint: l.dir.checkpoints.cleanedTo(l.tp), logStart: l.logStart.load(), logEnd: l.logEnd.load(),
		limit: min(limit, l.flushed.load(), l.LastStableOffset()),
	}
	return rule.judge(cleanViews(list, c.IndexIntervalBytes))
}

// cleanViews is what a cleaning looks at. The active segment's end is not told: nobody asks for it.
func cleanViews(list []*segment.Segment, indexInterval int) []cleanView {
	views := make([]cleanView, len(list))
	for i, s := range list {
		v := &views[i]
		v.base, v.bytes, v.firstTimestamp = s.BaseOffset(), int64(s.Bytes()), s.FirstTimestamp()
		v.maxTimestamp, _ = s.MaxTimestamp()
		v.indexBytes = (v.bytes/int64(max(indexInterval, 1)) + 1) * 12 // of a time index with an entry each time
		if i+1 < len(list) {
			v.end = list[i+1].BaseOffset()
		}
	}
	return views
}

// cleaning is one cleaning of one log. One goroutine has it, which holds the log's cleaning lock.
type cleaning struct {
	l       *Log
	cleaner *Cleaner
	options *CleanerOptions
	config  *Config
	plan    cleanable
	list    []*segment.Segment // those that are cleaned or looked at, none of them active
	views   []cleanView
	filter  batchFilter
	out     []byte // batches that are to be written
	target  *segment.Segment
	aborted []AbortedTransaction
}

// newCleaning prepares the cleaning of what plan says.
func newCleaning(l *Log, c *Cleaner, plan cleanable, now kafka.Timestamp) (*cleaning, error) {
	x := &cleaning{l: l, cleaner: c, options: c.options.Load(), config: l.config.Load(), plan: plan}
	list := *l.segments.Load()
	x.views = cleanViews(list, x.config.IndexIntervalBytes)
	n := find(list, plan.to)
	x.list, x.views = slices.Clone(list[:n]), x.views[:n]
	if n == 0 || x.views[n-1].end != plan.to {
		return nil, errInterrupted
	}
	keys := int64(0)
	for i := range x.views {
		if v := &x.views[i]; v.end > plan.from {
			// No more keys than records, and no more records than offsets.
			keys += int64(v.end - max(v.base, plan.from))
		}
	}
	var err error
	if x.aborted, err = l.AbortedTransactions(nil, x.list[0].BaseOffset(), plan.to); err != nil {
		return nil, err
	}
	x.filter = batchFilter{now: now, tombstones: x.config.DeleteRetention.Milliseconds(), producers: l.lastBatches()}
	x.filter.offsets, err = newOffsetMap(x.options.DedupeBytes/int64(x.options.Threads), x.options.LoadFactor, keys)
	return x, err
}

// lastBatches is what is to be kept of the active producers.
func (l *Log) lastBatches() map[kafka.ProducerID]lastBatch {
	l.append.Lock()
	defer l.append.Unlock()
	last := make(map[kafka.ProducerID]lastBatch, len(l.producers.entries))
	for id, e := range l.producers.entries {
		b := lastBatch{offset: kafka.NoOffset, epoch: e.epoch}
		if e.count > 0 {
			b.offset = e.batches[e.count-1].lastOffset
		}
		last[id] = b
	}
	return last
}

// run cleans the log and gives the offset up to which it is clean then. It is called once.
func (x *cleaning) run() (kafka.Offset, error) {
	defer x.filter.offsets.free()
	if err := x.buildMap(); err != nil {
		return 0, err
	}
	end := x.filter.offsets.latest + 1
	n := find(x.list, x.filter.offsets.latest) + 1
	x.filter.transactions = newTransactionFilter(x.aborted)
	for i, groups := 0, groupSegments(x.views[:n], x.config.SegmentBytes, int64(x.config.IndexBytesMax)); i < n; {
		size := groups[0]
		groups = groups[1:]
		x.filter.producers = x.l.lastBatches()
		if err := x.cleanGroup(x.list[i : i+size]); err != nil {
			return 0, err
		}
		i += size
	}
	return end, nil
}

// buildMap takes the records of the dirty part into the map, until it is full.
func (x *cleaning) buildMap() error {
	transactions := newTransactionFilter(slices.DeleteFunc(slices.Clone(x.aborted), func(t AbortedTransaction) bool {
		return t.LastOffset < x.plan.from // its marker is not met any more, so that it would never seem to end
	}))
	m := x.filter.offsets
	full := false
	for _, s := range x.list[find(x.list, x.plan.from):] {
		err := x.each(s, max(s.BaseOffset(), x.plan.from), func(b record.Batch) (err error) {
			if full {
				return nil
			}
			if full, err = mapBatch(m, &transactions, b, x.plan.from); !full && err == nil {
				m.seen(b.LastOffset())
			}
			return err
		})
		if err != nil {
			return err
		}
		if full {
			break
		}
	}
	if !full {
		m.seen(x.plan.to - 1) // there may be a hole at the end, in a log that Kafka compacted
	}
	return nil
}

// mapBatch takes one batch into the map, or as much of it as fits.
func mapBatch(m *offsetMap, transactions *transactionFilter, b record.Batch, from kafka.Offset) (full bool, err error) {
	if b.IsControl() {
		_, _, err := transactions.marker(b)
		return false, err
	}
	if transactions.data(b) {
		return false, nil
	}
	it := b.Records()
	defer it.Close()
	for {
		r, ok := it.Next()
		if !ok {
			return false, it.Err()
		}
		if r.Key != nil && r.Offset >= from && !m.put(r.Key, r.Offset) {
			return true, nil
		}
	}
}

// each visits the batches of a segment that end at or past from. It lets go of the segment now and then, and is where a
// cleaning is throttled and interrupted.
func (x *cleaning) each(s *segment.Segment, from kafka.Offset, visit func(record.Batch) error) error {
	end := s.NextOffset()
	for from < end {
		if err := x.interrupted(); err != nil {
			return err
		}
		r, err := s.Read(from, x.options.ioBytes(), true, end)
		if err == nil && r.Length == 0 {
			err = segment.ErrClosed // nothing else has a segment end earlier than it did
		}
		if err != nil {
			return err
		}
		length, position := r.Length, r.Position
		err = r.Each(func(b record.Batch) error {
			if err := b.CheckCRC(); err != nil { // or a new checksum would vouch for what has changed on the disk
				return &segment.CorruptError{File: x.l.path(), BaseOffset: b.BaseOffset(), Position: position,
					Reason: err.Error()}
			}
			return visit(b)
		})
		from = r.NextOffset
		r.Release()
		if err != nil {
			return err
		}
		if err := x.throttle(length); err != nil {
			return err
		}
	}
	return nil
}

// interrupted says whether the cleaning is to end.
func (x *cleaning) interrupted() error {
	if x.l.pauses.Load() > 0 || x.cleaner.stopped.Load() {
		return errInterrupted
	}
	return nil
}

// throttle waits until bytes more may be read or written.
func (x *cleaning) throttle(bytes int) error { return x.cleaner.wait(bytes, x.interrupted) }

// cleanGroup makes one segment of the group and puts it in its place.
func (x *cleaning) cleanGroup(group []*segment.Segment) error {
	o := x.l.segmentOptions()
	o.BytesMax = segmentBytesMax
	target, err := segment.CreateCleaned(x.l.dir.env.FS, x.l.path(), group[0].BaseOffset(), o)
	if err != nil {
		return err
	}
	x.target, x.out = target, x.out[:0]
	last, next := group[0], group[0].BaseOffset()
	for _, s := range group {
		if s.Bytes() > 0 { // Kafka's cleaner leaves empty ones
			last, next = s, s.NextOffset()
		}
	}
	for _, s := range group {
		if err == nil {
			err = x.cleanSegment(s, s == last)
		}
	}
	if err == nil {
		err = x.write(0)
	}
	if err == nil && target.NextOffset() != next {
		err = &segment.CorruptError{File: x.l.path(), BaseOffset: group[0].BaseOffset(),
			Reason: fmt.Sprintf("cleaned it ends at offset %d, not at %d", target.NextOffset(), next)}
	}
	if err == nil {
		err = target.Seal()
	}
	if err == nil {
		err = x.interrupted()
	}
	if err != nil {
		return errors.Join(err, target.Remove())
	}
	return x.l.swap(group, target)
}

// segmentBytesMax lets a cleaned segment be as large as an index can address: what is cleaned is hardly ever larger
// than what it was made from, but may be by the bytes of some delete horizons.
const segmentBytesMax = 1<<31 - 1

// cleanSegment writes what stays of s behind the target.
func (x *cleaning) cleanSegment(s *segment.Segment, last bool) error {
	end := s.NextOffset()
	err := x.each(s, s.BaseOffset(), func(b record.Batch) error {
		f, err := x.filter.apply(x.out, b, last && b.NextOffset() == end)
		if err != nil {
			return err
		}
		switch {
		case f.copied:
			x.out = append(x.out, b...)
		case f.bytes != nil:
			x.out = f.bytes
		}
		if f.aborted != nil {
			if err := x.target.AppendAborted(*f.aborted); err != nil {
				return err
			}
		}
		return x.write(x.options.ioBytes())
	})
	x.l.dir.stats.CleanedBytes.Add(int64(s.Bytes()))
	return err
}

// write appends what is waiting, if it is at least so many bytes.
func (x *cleaning) write(least int) error {
	if len(x.out) == 0 || len(x.out) < least {
		return nil
	}
	n := len(x.out)
	if err := x.target.Append(x.out); err != nil {
		return err
	}
	x.out = x.out[:0]
	if cap(x.out) > 8*x.options.ioBytes() { // one large batch is no reason to keep its room
		x.out = nil
	}
	return x.throttle(n)
}

// swap puts target in the place of the segments of group, from which it was made, durably. At every moment of it the
// folder tells a restart whether the old segments count or the new one. Readers of the old ones go on.
func (l *Log) swap(group []*segment.Segment, target *segment.Segment) error {
	l.maintenance.Lock()
	defer l.maintenance.Unlock()
	at, err := l.place(group)
	if err != nil {
		return errors.Join(err, target.Remove())
	}
	before := int64(0)
	for _, s := range group {
		before += int64(s.Bytes())
	}
	if err := target.Rename(segment.SwapSuffix); vfs.Exhausted(err) {
		if left := errors.Join(target.Remove(), l.dir.env.FS.SyncDir(l.path())); left != nil {
			return l.swapFailed(left)
		}
		return err // nothing was replaced yet
	} else if err != nil {
		return l.swapFailed(err)
	}
	l.append.Lock()
	l.publish(slices.Replace(slices.Clone(*l.segments.Load()), at, at+len(group), target))
	l.append.Unlock()
	// Oldest first, each durably: what a crash leaves of them is the newest, which has what overrules the others.
	var renamed []*segment.Segment
	for i, s := range group {
		err := s.Rename(segment.DeletedSuffix)
		if err == nil {
			renamed = append(renamed, s)
		} else if vfs.Exhausted(err) { // removing takes no room; its names are the target's from now on
			err = errors.Join(s.Remove(), l.dir.env.FS.SyncDir(l.path()))
		}
		if err == nil && i > 0 {
			err = l.removeSnapshot(s.BaseOffset())
		}
		if err != nil {
			return l.swapFailed(err)
		}
	}
	if err := target.Rename(""); err != nil {
		return l.swapFailed(err)
	}
	l.dir.stats.ReclaimedBytes.Add(before - int64(target.Bytes()))
	due := l.dir.env.Clock.Now().Add(l.config.Load().FileDeleteDelay)
	l.dir.doom(doomed{due: due, log: l, segments: renamed})
	return nil
}

// place finds the group among the segments, unless a part of it is gone meanwhile.
func (l *Log) place(group []*segment.Segment) (int, error) {
	l.append.Lock()
	defer l.append.Unlock()
	if err := l.usableLocked(); err != nil {
		return 0, err
	}
	list := *l.segments.Load()
	at := slices.Index(list, group[0])
	if at < 0 || at+len(group) >= len(list) || !slices.Equal(list[at:at+len(group)], group) {
		return 0, errInterrupted
	}
	return at, nil
}

// swapFailed ends the directory: which of the names are durable is not known.
func (l *Log) swapFailed(err error) error {
	l.dir.fail(fmt.Errorf("replace segments of %s: %w", l.tp, err))
	return l.dir.offline()
}

// cleanFailed judges why a cleaning of l ended, and says whether the log can never be cleaned as it is.
func (l *Log) cleanFailed(err error) (hopeless bool) {
	var corrupt *segment.CorruptError
	var invalid *record.Invalid
	var refused *kafka.Error
	switch {
	case errors.Is(err, errInterrupted), errors.Is(err, segment.ErrClosed), l.usable() != nil:
		return false
	case vfs.Exhausted(err):
		l.dir.stats.DiskFull.Add(1)
		return false
	case errors.Is(err, bufpool.ErrNoMemory):
		l.dir.env.Log.Warn("a partition can not be cleaned now", "partition", l.tp.String(), "err", err)
		return false
	case errors.As(err, &corrupt), errors.As(err, &invalid), errors.As(err, &refused),
		errors.Is(err, segment.ErrFull), errors.Is(err, segment.ErrOrder):
		l.dir.stats.Corruptions.Add(1)
		l.dir.env.Log.Error("a partition can not be cleaned", "partition", l.tp.String(), "err", err)
		return true
	}
	l.dir.fail(fmt.Errorf("clean %s: %w", l.tp, err))
	return false
}
