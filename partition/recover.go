package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// segmentSuffixes are the files of one segment, the one that makes it a segment last.
var segmentSuffixes = []string{
	index.OffsetKind.Suffix, index.TimeKind.Suffix, index.TransactionKind.Suffix, segment.LogSuffix,
}

// leftoverSuffixes are those of files that a crash left behind, or a shutdown before their removal was due.
var leftoverSuffixes = []string{segment.DeletedSuffix, segment.CleanedSuffix, vfs.TempSuffix}

// loader brings one log back from its folder.
type loader struct {
	l             *Log
	trusted       bool         // the last process closed the directory cleanly
	made          bool         // the folder has just been made: one flush of it is enough
	many          bool         // settle may leave the flush to one for many logs
	pending       bool         // and has done so
	recoveryPoint kafka.Offset // what was recorded as flushed
	logStart      kafka.Offset // what was recorded as the log start offset
	highWatermark kafka.Offset // what was recorded as the high watermark
	cleaned       kafka.Offset // up to where a cleaner was recorded to have been, or NoOffset

	bases     []kafka.Offset // of the segments in the folder
	snapshots []kafka.Offset // of the producer snapshots
	segments  []*segment.Segment
	scanned   int // position in segments of the first that was scanned; those from there on need a flush
	epochs    epochCache
	changed   bool // epochs is not what the file holds
}

// load opens the segments, scanning those past the recovery point unless the shutdown was clean, and rebuilds from them
// what the side files do not tell. What it finds is durable when it returns.
func (r *loader) load() error {
	for _, step := range []func() error{r.sweep, r.openSegments, r.readEpochs, r.publish, r.replayProducers, r.settle,
		r.restAll} {
		if err := step(); err != nil {
			for _, s := range r.segments {
				if s.Err() != nil {
					err = fmt.Errorf("%w: %w", errUnsettled, err)
				}
				s.Abandon()
			}
			return fmt.Errorf("load %s: %w", r.l.tp, err)
		}
	}
	return nil
}

// sweep lists the folder and removes what a crash left half done.
func (r *loader) sweep() error {
	fsys := r.l.dir.env.FS
	entries, err := fsys.ReadDir(r.l.path())
	if err != nil {
		return err
	}
	if entries, err = r.finishSwaps(entries); err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		leftover := func(suffix string) bool { return strings.HasSuffix(name, suffix) }
		if slices.ContainsFunc(leftoverSuffixes, leftover) {
			if err := fsys.Remove(path.Join(r.l.path(), name)); err != nil {
				return err
			}
			continue
		}
		offset, suffix, ok := segment.ParseFileName(name)
		switch {
		case ok && suffix == segment.LogSuffix:
			r.bases = append(r.bases, offset)
		case ok && suffix == snapshotSuffix:
			r.snapshots = append(r.snapshots, offset)
		}
	}
	slices.Sort(r.bases)
	slices.Sort(r.snapshots)
	return r.dropBelowStart()
}

// finishSwaps ends the replacements of segments by cleaned ones that a crash interrupted, and gives what is in the
// folder then.
func (r *loader) finishSwaps(entries []fs.DirEntry) ([]fs.DirEntry, error) {
	fsys, folder := r.l.dir.env.FS, r.l.path()
	var bases, swaps []kafka.Offset // both rise, as the names do
	for _, e := range entries {
		offset, suffix, ok := segment.ParseFileName(e.Name())
		switch {
		case !ok:
		case suffix == segment.LogSuffix:
			bases = append(bases, offset)
		case strings.HasSuffix(suffix, segment.SwapSuffix) && !slices.Contains(swaps, offset):
			swaps = append(swaps, offset)
		}
	}
	if len(swaps) == 0 {
		return entries, nil
	}
	for _, base := range swaps {
		gone, err := segment.FinishSwap(fsys, folder, base, bases)
		if err != nil {
			return nil, err
		}
		r.l.dir.env.Log.Info("ended the replacement of segments by a cleaned one", "partition", r.l.tp.String(),
			"base_offset", int64(base), "replaced", len(gone))
	}
	return fsys.ReadDir(folder)
}

// dropBelowStart removes the segments that end at or below the recorded log start offset: retention was about to.
func (r *loader) dropBelowStart() error {
	n := 0
	for n+1 < len(r.bases) && r.bases[n+1] <= r.logStart {
		n++
	}
	if n == 0 {
		return nil
	}
	if err := r.removeFiles(r.bases[:n]); err != nil {
		return err
	}
	r.bases = r.bases[n:]
	return nil
}

// openSegments opens the segments in order. The log ends at the first one whose tail was lost: what follows it was
// never acknowledged and goes.
func (r *loader) openSegments() error {
	r.scanned = len(r.bases)
	for i, base := range r.bases {
		if i > 0 && r.scanned < i && r.segments[i-1].NextOffset() != base && !r.hole(i) {
			if err := r.dropFrom(i); err != nil {
				return err
			}
			break
		}
		s, err := r.openSegment(i, base)
		if err != nil {
			return err
		}
		r.segments = append(r.segments, s)
		if err := r.rest(s); err != nil { // at once: a log may have more segments than files may be open
			return err
		}
	}
	end := r.logStart
	if n := len(r.segments); n > 0 {
		end = r.segments[n-1].NextOffset()
	}
	if end < r.recoveryPoint {
		return r.lost(end)
	}
	if len(r.segments) == 0 || end < r.logStart {
		return r.startEmpty()
	}
	return nil
}

// hole says whether the offsets that are missing before segment i are a hole that Kafka's compaction made, and not a
// tail that was never made durable: they lie below the high watermark, which follows what is flushed, or below what a
// cleaner has been through, which flushes what it leaves.
func (r *loader) hole(i int) bool {
	isBehind := r.segments[i-1].NextOffset() < r.bases[i]
	return isBehind && r.bases[i] <= max(r.highWatermark, r.cleaned) && r.l.config.Load().Compact
}

func (r *loader) openSegment(i int, base kafka.Offset) (*segment.Segment, error) {
	fsys, folder, options := r.l.dir.env.FS, r.l.path(), r.l.segmentOptions()
	whole := i+1 < len(r.bases) && r.bases[i+1] <= r.recoveryPoint
	if r.trusted || whole {
		return segment.Open(fsys, folder, base, options)
	}
	r.scanned = min(r.scanned, i)
	s, found, err := segment.Recover(fsys, folder, base, options, r.recoveryPoint, nil)
	if err == nil && found.CutBytes > 0 {
		r.l.dir.env.Log.Warn("cut the tail of a segment", "partition", r.l.tp.String(), "base_offset", int64(base),
			"bytes", found.CutBytes, "reason", found.Reason, "log_end_offset", int64(found.NextOffset))
	}
	return s, err
}

// lost reports that records are missing which were recorded as flushed. They are not to be papered over.
func (r *loader) lost(end kafka.Offset) error {
	e := &segment.CorruptError{File: r.l.path(), BaseOffset: end,
		Reason: fmt.Sprintf("the log ends at offset %d, but everything below %d was flushed", end, r.recoveryPoint)}
	if n := len(r.segments); n > 0 {
		e.Position = r.segments[n-1].Bytes()
	}
	return e
}

// dropFrom removes the segments from position i on.
func (r *loader) dropFrom(i int) error {
	for _, base := range r.bases[i:] {
		r.l.dir.env.Log.Warn("removed a segment past the end of the log",
			"partition", r.l.tp.String(), "base_offset", int64(base))
	}
	if err := r.removeFiles(r.bases[i:]); err != nil {
		return err
	}
	r.bases = r.bases[:i]
	return nil
}

// removeFiles removes the files of the segments with these base offsets, durably.
func (r *loader) removeFiles(bases []kafka.Offset) error {
	fsys := r.l.dir.env.FS
	for _, base := range bases {
		for _, suffix := range segmentSuffixes {
			err := fsys.Remove(path.Join(r.l.path(), segment.FileName(base, suffix)))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return fsys.SyncDir(r.l.path())
}

// startEmpty makes the log an empty one that begins at the recorded log start offset: a new log, or one whose records
// all lie below that offset.
func (r *loader) startEmpty() error {
	for _, s := range r.segments {
		s.Abandon()
	}
	r.segments = nil
	if len(r.bases) > 0 {
		if err := r.dropFrom(0); err != nil {
			return err
		}
	}
	s, err := segment.Create(r.l.dir.env.FS, r.l.path(), r.logStart, r.l.segmentOptions())
	if err != nil {
		return err
	}
	r.segments = []*segment.Segment{s}
	r.scanned = 0
	return nil
}

// readEpochs reads the epoch file, adds what the scanned segments hold and cuts it to the log. Where the file is
// missing or broken, the whole log is asked.
func (r *loader) readEpochs() error {
	from := r.scanned
	text, err := readFile(r.l.dir.env.FS, path.Join(r.l.path(), epochFile), metaBytesMax)
	if err == nil {
		r.epochs, err = parseEpochs(text)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.l.dir.env.Log.Warn("rebuilding the leader epochs", "partition", r.l.tp.String(), "err", err)
		}
		r.epochs, from = nil, 0
	}
	read := slices.Clone(r.epochs)
	first, last := r.segments[0], r.segments[len(r.segments)-1]
	r.logStart = max(r.logStart, first.BaseOffset())
	known := last.NextOffset()
	if from < len(r.segments) {
		known = r.segments[from].BaseOffset()
	}
	r.epochs = r.epochs.truncateEnd(known)
	for _, s := range r.segments[from:] {
		err := s.Each(s.BaseOffset(), func(b record.Batch) error {
			r.epochs, _ = r.epochs.assign(b.LeaderEpoch(), b.BaseOffset())
			return nil
		})
		if err == nil {
			err = r.rest(s)
		}
		if err != nil {
			return err
		}
	}
	r.epochs = r.epochs.truncateStart(r.logStart)
	r.changed = !slices.Equal(read, r.epochs)
	return nil
}

// publish gives the log its segments and offsets.
func (r *loader) publish() error {
	l, last := r.l, r.segments[len(r.segments)-1]
	l.append.Lock()
	defer l.append.Unlock()
	l.publish(r.segments)
	l.logStart.store(r.logStart)
	l.logEnd.store(last.NextOffset())
	l.highWatermark.store(min(max(r.highWatermark, r.logStart), last.NextOffset()))
	l.epochs.Store(&r.epochs)
	l.unsavedEpochs.store(kafka.NoOffset)
	if r.changed {
		l.setEpochsLocked(r.epochs, r.logStart)
	}
	l.unsealed = last.BaseOffset()
	if r.scanned < len(r.segments) {
		l.unsealed = r.segments[r.scanned].BaseOffset()
	}
	l.beginSegmentLocked(l.dir.now())
	return nil
}

// replayProducers brings the producer state to the end of the log, and puts the aborted transactions of the scanned
// segments back into their indexes, which the scan emptied.
func (r *loader) replayProducers() error {
	l := r.l
	l.append.Lock()
	defer l.append.Unlock()
	limit := l.logEnd.load()
	if r.scanned < len(r.segments) {
		limit = r.segments[r.scanned].BaseOffset()
	}
	if err := l.replayProducersLocked(r.snapshots, limit, r.segments[r.scanned:]); err != nil {
		return err
	}
	return r.removeStraySnapshots()
}

// removeStraySnapshots removes the producer snapshots that nothing would go back to: those of earlier shutdowns, which
// belong to no segment. The newest stays.
func (r *loader) removeStraySnapshots() error {
	if len(r.snapshots) == 0 {
		return nil
	}
	for _, offset := range r.snapshots[:len(r.snapshots)-1] {
		of := func(s *segment.Segment) bool { return s.BaseOffset() == offset }
		if slices.ContainsFunc(r.segments, of) {
			continue
		}
		if err := r.l.removeSnapshot(offset); err != nil {
			return err
		}
	}
	return nil
}

// settle makes what was scanned durable: it may have been in the page cache only. A clean shutdown did that already.
// Where many logs are loaded one flush of the file system does it for all, once they are: those whose active segment
// alone was scanned, as it is with most, wait for it.
func (r *loader) settle() error {
	l := r.l
	if r.scanned == len(r.segments) {
		l.flushed.store(l.logEnd.load())
		return nil
	}
	if r.pending = r.many && r.scanned == len(r.segments)-1; r.pending {
		return nil
	}
	if err := l.flushSegments(r.segments); err != nil { // which makes the names of new files durable
		return err
	}
	if r.made {
		l.flushed.store(l.logEnd.load())
		return nil
	}
	if err := l.dir.env.FS.SyncDir(l.path()); err != nil {
		return err
	}
	l.flushed.store(l.logEnd.load())
	return nil
}

// settled ends the loading of a log that settle left to the flush of the whole file system.
func (r *loader) settled() error {
	r.pending = false
	err := r.segments[len(r.segments)-1].Settled()
	if err == nil {
		r.l.flushed.store(r.l.logEnd.load())
		err = r.restAll()
	}
	return err
}
