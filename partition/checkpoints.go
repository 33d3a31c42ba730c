package partition

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"spate/internal/vfs"
	"spate/kafka"
)

// checkpoints is the content of the directory's four checkpoint files as they are on the disk. The lock is held across
// the writing of a file, so that a newer state is never overwritten by an older one.
type checkpoints struct {
	mu            sync.Mutex
	recoveryPoint offsetCheckpoint
	logStart      offsetCheckpoint // only logs that do not begin at 0
	highWatermark offsetCheckpoint
	cleaner       offsetCheckpoint // where the next cleaning begins
	// arriving are logs whose folders are about to get their names: what the files say of them is for when they have.
	arriving map[kafka.TopicPartition]bool
}

// known is what the checkpoint files say of one log.
type known struct{ recoveryPoint, logStart, highWatermark kafka.Offset }

// of gives what was recorded for tp, zeros where nothing was.
func (c *checkpoints) of(tp kafka.TopicPartition) known {
	c.mu.Lock()
	defer c.mu.Unlock()
	return known{c.recoveryPoint[tp], c.logStart[tp], c.highWatermark[tp]}
}

// readCheckpoints reads the four files. One that cannot be understood counts as empty: recovery then looks at more
// than it needs to.
func (d *LogDir) readCheckpoints() error {
	c := &d.checkpoints
	for name, into := range map[string]*offsetCheckpoint{
		recoveryPointFile: &c.recoveryPoint,
		logStartFile:      &c.logStart,
		highWatermarkFile: &c.highWatermark,
		cleanerFile:       &c.cleaner,
	} {
		read, err := readOffsetCheckpoint(d.env.FS, path.Join(d.path, name))
		var bad *checkpointError
		if errors.As(err, &bad) {
			d.env.Log.Warn("unreadable checkpoint file", "dir", d.path, "err", err)
			read, err = offsetCheckpoint{}, nil
		}
		if err != nil {
			return err
		}
		*into = read
	}
	return nil
}

// purge forgets earlier logs of these names, durably.
func (c *checkpoints) purge(d *LogDir, names []kafka.TopicPartition) error {
	gone := make(map[kafka.TopicPartition]bool, len(names))
	for _, tp := range names {
		gone[tp] = true
	}
	isGone := func(tp kafka.TopicPartition, _ kafka.Offset) bool { return gone[tp] }
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, content := range map[string]offsetCheckpoint{
		recoveryPointFile: c.recoveryPoint, logStartFile: c.logStart, highWatermarkFile: c.highWatermark,
		cleanerFile: c.cleaner,
	} {
		without := maps.Clone(content)
		maps.DeleteFunc(without, isGone)
		if len(without) == len(content) {
			continue
		}
		if err := d.writeCheckpoint(name, without); err != nil {
			return err
		}
		maps.DeleteFunc(content, isGone)
	}
	return nil
}

func (d *LogDir) writeCheckpoint(name string, c offsetCheckpoint) error {
	return replaceFile(d.env.FS, path.Join(d.path, name), c.appendTo(nil))
}

// checkpointRecovery writes the recovery points and the log start offsets.
func (d *LogDir) checkpointRecovery() error {
	c := &d.checkpoints
	c.mu.Lock()
	defer c.mu.Unlock()
	recovery, starts := d.keepUnopened(c.recoveryPoint), d.keepUnopened(c.logStart)
	for _, l := range d.list() {
		recovery[l.tp] = l.recoveryPoint()
		if start := l.logStart.load(); start > 0 {
			starts[l.tp] = start
		}
	}
	// The starts first: recovery must not look for what lies below them.
	if err := d.replaceCheckpoint(logStartFile, &c.logStart, starts); err != nil {
		return err
	}
	return d.replaceCheckpoint(recoveryPointFile, &c.recoveryPoint, recovery)
}

// SaveStarts records the log start offsets, and the recovery points with them, before it returns. A disk too full for
// it is KAFKA_STORAGE_ERROR, and the next checkpoint tries again; any other error takes the directory offline.
func (d *LogDir) SaveStarts() error {
	if err := d.offline(); err != nil {
		return err
	}
	err := d.checkpointRecovery()
	d.checkpointed(err)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", kafka.KafkaStorageError, d.path, err)
	}
	return nil
}

// checkpointHighWatermarks writes the high watermarks.
func (d *LogDir) checkpointHighWatermarks() error {
	c := &d.checkpoints
	c.mu.Lock()
	defer c.mu.Unlock()
	marks := d.keepUnopened(c.highWatermark)
	for _, l := range d.list() {
		marks[l.tp] = l.highWatermark.load()
	}
	return d.replaceCheckpoint(highWatermarkFile, &c.highWatermark, marks)
}

// cleanedTo is where the last cleaning of a log ended, or NoOffset.
func (c *checkpoints) cleanedTo(tp kafka.TopicPartition) kafka.Offset {
	c.mu.Lock()
	defer c.mu.Unlock()
	if offset, found := c.cleaner[tp]; found {
		return offset
	}
	return kafka.NoOffset
}

// checkpointCleaned writes where the last cleaning of a log ended.
func (d *LogDir) checkpointCleaned(tp kafka.TopicPartition, end kafka.Offset) error {
	c := &d.checkpoints
	c.mu.Lock()
	defer c.mu.Unlock()
	next := maps.Clone(c.cleaner)
	maps.DeleteFunc(next, func(tp kafka.TopicPartition, _ kafka.Offset) bool {
		return d.Log(tp) == nil && !c.arriving[tp] && !d.folderExists(tp)
	})
	next[tp] = end
	return d.replaceCheckpoint(cleanerFile, &c.cleaner, next)
}

// lowerCleaned has the records from offset on cleaned again: others will have these offsets.
func (d *LogDir) lowerCleaned(tp kafka.TopicPartition, offset kafka.Offset) error {
	if d.checkpoints.cleanedTo(tp) <= offset {
		return nil
	}
	return d.checkpointCleaned(tp, offset)
}

// keepUnopened is the entries of logs that are on the disk but not open: not loaded yet, or fenced.
func (d *LogDir) keepUnopened(old offsetCheckpoint) offsetCheckpoint {
	kept := offsetCheckpoint{}
	for tp, offset := range old {
		if d.Log(tp) == nil && (d.checkpoints.arriving[tp] || d.folderExists(tp)) {
			kept[tp] = offset
		}
	}
	return kept
}

func (d *LogDir) folderExists(tp kafka.TopicPartition) bool {
	_, err := d.env.FS.Stat(path.Join(d.path, tp.String()))
	return err == nil
}

// replaceCheckpoint writes a file unless it says the same already.
func (d *LogDir) replaceCheckpoint(name string, on *offsetCheckpoint, next offsetCheckpoint) error {
	if maps.Equal(*on, next) {
		return nil
	}
	if err := d.writeCheckpoint(name, next); err != nil {
		return err
	}
	*on = next
	return nil
}

// checkpointAll writes the files that follow the logs; the cleaner's is written when a cleaning ends.
func (d *LogDir) checkpointAll() error {
	return errors.Join(d.checkpointRecovery(), d.checkpointHighWatermarks())
}

// moved says that a checkpoint file is to be written, some time after the first change since it was last.
type moved struct{ flag atomic.Bool }

// note takes note of a change, and lets the background worker know of the first.
func (m *moved) note(d *LogDir) {
	if !m.flag.Load() && !m.flag.Swap(true) {
		d.background.signal()
	}
}

func (d *LogDir) pollRecoveryCheckpoint(time.Time) {
	d.pointsMoved.flag.Store(false) // before: what moves from now on is for another turn
	if err := d.checkpointRecovery(); err != nil {
		d.pointsMoved.flag.Store(true)
		d.checkpointed(err)
	}
}

func (d *LogDir) pollHighWatermarkCheckpoint(time.Time) {
	d.marksMoved.flag.Store(false)
	if err := d.checkpointHighWatermarks(); err != nil {
		d.marksMoved.flag.Store(true)
		d.checkpointed(err)
	}
}

// checkpointed judges the outcome: on a full disk the old file stands and the next turn tries again.
func (d *LogDir) checkpointed(err error) {
	switch {
	case err == nil:
	case vfs.Exhausted(err):
		d.stats.DiskFull.Add(1)
	default:
		d.fail(err)
	}
}
