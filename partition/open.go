package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/segment"
)

// Fate is what becomes of a partition folder found at start.
type Fate uint8

// The fates.
const (
	Keep   Fate = iota // load it
	Stray              // the cluster does not place it here: rename it to <topic>-<partition>.<id>-stray, keep the data
	Remove             // the topic is deleted: delete it as Log.Delete does
)

// metadataTopic is the topic whose log the metadata layer keeps in a folder of its own; LoadLogs leaves that alone.
const metadataTopic = "__cluster_metadata"

// Resolve gives the settings and the fate of a folder found on disk; topicID is zero where partition.metadata is
// missing or broken. It is called by several goroutines at a time.
type Resolve func(tp kafka.TopicPartition, topicID kafka.UUID) (Config, Fate)

// LoadFailure is a partition that could not be loaded: its data contradicts what was recorded as flushed, or the disk
// is too full to recover it.
type LoadFailure struct {
	TopicPartition kafka.TopicPartition
	TopicID        kafka.UUID
	Err            error
}

// errUnsettled says that a flush failed of what was found: another one would say that all is well.
var errUnsettled = errors.New("what is durable is not known")

// MayPass tells whether a log that could not be loaded, or made, for err may be tried again in this process: the disk
// was too full, or there was no descriptor, not even to begin a flush with.
func MayPass(err error) bool {
	return vfs.OutOfFiles(err) || vfs.DiskFull(err) && !errors.Is(err, errUnsettled)
}

// LoadLogs loads all partition folders that are not open yet, RecoveryThreads at a time, ordered by name. A partition
// that is corrupt is reported in failures and left as it is; an I/O error takes the directory offline and is returned.
// It also takes up again the removal of what was deleted before the last shutdown, and finds the copies of moves that
// it interrupted (Futures).
func (d *LogDir) LoadLogs(resolve Resolve) (logs []*Log, failures []LoadFailure, err error) {
	found, err := d.listFolders()
	if err != nil {
		d.fail(err)
		return nil, nil, d.offline()
	}
	results := make([]loaded, len(found))
	for first := 0; first < len(found); first += loadTogether {
		end := min(first+loadTogether, len(found))
		inParallel(d.RecoveryThreads(), end-first, func(i int) {
			results[first+i] = d.loadFolder(found[first+i], resolve, end-first >= d.options.SettleTogether)
		})
		d.settleTogether(results[first:end])
	}
	for i, r := range results {
		var corrupt *segment.CorruptError
		switch {
		case r.log != nil:
			logs = append(logs, r.log)
		case errors.As(r.err, &corrupt), vfs.Exhausted(r.err):
			d.env.Log.Error("partition is not served", "partition", found[i].String(), "err", r.err)
			failures = append(failures, LoadFailure{found[i], r.topicID, r.err})
		case r.err != nil:
			d.fail(r.err)
			err = d.offline()
		}
	}
	d.loaded.Store(err == nil)
	return logs, failures, err
}

// loadTogether is how many logs a start loads, whose files are open meanwhile, before it flushes the file system for
// all of them.
const loadTogether = 512

// loaded is what became of one folder.
type loaded struct {
	log     *Log
	topicID kafka.UUID
	err     error
	loader  *loader // of a log that waits for the flush of the file system
}

// settleTogether makes durable what was scanned of the logs that wait for it, and puts them on the directory's list.
func (d *LogDir) settleTogether(results []loaded) {
	waits := func(r loaded) bool { return r.loader != nil }
	if !slices.ContainsFunc(results, waits) {
		return
	}
	failed := d.env.FS.SyncAll(d.path)
	for i := range results {
		r := &results[i]
		if r.loader == nil {
			continue
		}
		err := failed
		if err == nil {
			err = r.loader.settled()
		}
		if err != nil {
			for _, s := range r.loader.segments {
				s.Abandon()
			}
			d.unloaded.Store(true)
			r.log, r.err = nil, fmt.Errorf("load %s: %w: %w", r.loader.l.tp, errUnsettled, err)
			continue
		}
		d.enlist(r.log)
	}
}

// listFolders lists the partition folders that are not open, and dooms those that were deleted.
func (d *LogDir) listFolders() ([]kafka.TopicPartition, error) {
	entries, err := d.env.FS.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var found []kafka.TopicPartition
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if outgoing(e.Name(), deleteSuffix) {
			// Whoever might have read from it did not survive the restart.
			d.doom(doomed{due: d.env.Clock.Now(), folder: path.Join(d.path, e.Name())})
			continue
		}
		if outgoing(e.Name(), futureSuffix) {
			d.noteFuture(e.Name())
			continue
		}
		if tp, ok := parseFolder(e.Name()); ok && tp.Topic != metadataTopic && d.Log(tp) == nil {
			found = append(found, tp)
		}
	}
	slices.SortFunc(found, compareTopicPartitions)
	return found, nil
}

func (d *LogDir) loadFolder(tp kafka.TopicPartition, resolve Resolve, many bool) loaded {
	topicID, err := d.readTopicID(tp)
	if err != nil {
		return loaded{err: err}
	}
	config, fate := resolve(tp, topicID)
	switch fate {
	case Keep:
		r, err := d.loadUnlisted(tp, topicID, config, false, many)
		switch {
		case err != nil:
			return loaded{topicID: topicID, err: err}
		case r.pending:
			return loaded{log: r.l, topicID: topicID, loader: r}
		}
		d.enlist(r.l)
		return loaded{log: r.l, topicID: topicID}
	case Remove:
		folder, err := d.setAside(tp, deleteSuffix)
		if err == nil {
			d.doom(doomed{due: d.env.Clock.Now().Add(config.FileDeleteDelay), folder: folder})
		}
		return loaded{err: err}
	default:
		folder, err := d.setAside(tp, straySuffix)
		d.env.Log.Warn("set a stray partition aside",
			"partition", tp.String(), "topic_id", topicID.String(), "folder", folder)
		return loaded{err: err}
	}
}

// readTopicID reads partition.metadata; a missing or broken one gives the zero id.
func (d *LogDir) readTopicID(tp kafka.TopicPartition) (kafka.UUID, error) {
	name := path.Join(d.path, tp.String(), partitionMetadataFile)
	text, err := readFile(d.env.FS, name, metaBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return kafka.ZeroUUID, nil
	}
	if err != nil {
		return kafka.ZeroUUID, err
	}
	id, err := parsePartitionMetadata(text)
	if err != nil {
		d.env.Log.Warn("unreadable "+partitionMetadataFile, "partition", tp.String(), "err", err)
		return kafka.ZeroUUID, nil
	}
	return id, nil
}

// NewLog is a log to open, or to make where it is missing.
type NewLog struct {
	TopicPartition kafka.TopicPartition
	TopicID        kafka.UUID
	Config         Config
}

// OpenedLog is what became of a NewLog: Log or Err is set, or both where the log is one of another topic.
type OpenedLog struct {
	Log *Log
	Err error
}

// OpenLog is OpenLogs for one log.
func (d *LogDir) OpenLog(tp kafka.TopicPartition, topicID kafka.UUID, c Config) (*Log, error) {
	opened := d.OpenLogs([]NewLog{{tp, topicID, c}})
	return opened[0].Log, opened[0].Err
}

// OpenLogs gives the logs of several partitions, each named once, and makes those that are missing, FlushWorkers at a
// time. What is made is durable when it returns: each folder with what is in it, and then, by one flush for all, the
// names of the folders. A log with another topic id is INCONSISTENT_TOPIC_ID; one without any takes the topic's. The
// error of one is no other's, unless it takes the directory offline.
func (d *LogDir) OpenLogs(list []NewLog) []OpenedLog {
	d.opening.Lock()
	defer d.opening.Unlock()
	results := make([]OpenedLog, len(list))
	loaded := make([]*Log, len(list)) // those that were not open before
	prepare := func(i int) { loaded[i], results[i] = d.prepareLog(&list[i]) }
	if err := d.purgeMissing(list); err != nil {
		prepare = func(i int) { results[i].Err = err }
	}
	inParallel(d.options.FlushWorkers, len(list), prepare)
	if slices.ContainsFunc(loaded, func(l *Log) bool { return l != nil }) {
		d.publishLogs(loaded, results)
	}
	for i := range results {
		results[i] = d.judgeOpened(list[i].TopicPartition, results[i])
	}
	return results
}

// purgeMissing makes the checkpoint files forget the logs that are to be made: what they say of earlier ones of these
// names would be held against the new.
func (d *LogDir) purgeMissing(list []NewLog) error {
	if err := d.offline(); err != nil {
		return err
	}
	var missing []kafka.TopicPartition
	for i := range list {
		if tp := list[i].TopicPartition; d.Log(tp) == nil && !d.folderExists(tp) {
			missing = append(missing, tp)
		}
	}
	return d.checkpoints.purge(d, missing)
}

// prepareLog gives an open log, or else loads or makes it; loaded is then the log, which is not on the directory's list
// yet.
func (d *LogDir) prepareLog(n *NewLog) (loaded *Log, opened OpenedLog) {
	if l := d.Log(n.TopicPartition); l != nil {
		return nil, OpenedLog{l, l.adopt(n.TopicID)}
	}
	made, err := d.makeLogFolder(n)
	found := n.TopicID
	if err == nil && !made {
		found, err = d.readTopicID(n.TopicPartition)
	}
	if err != nil {
		return nil, OpenedLog{Err: err}
	}
	r, err := d.loadUnlisted(n.TopicPartition, found, n.Config, made, false)
	if err != nil {
		return nil, OpenedLog{Err: err}
	}
	return r.l, OpenedLog{r.l, r.l.adopt(n.TopicID)}
}

// makeLogFolder makes the folder of a log where it is missing. Nothing of it is durable yet but the content of
// partition.metadata: loading the log flushes the folder.
func (d *LogDir) makeLogFolder(n *NewLog) (made bool, err error) {
	folder := path.Join(d.path, n.TopicPartition.String())
	if _, err := d.env.FS.Stat(folder); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := d.env.FS.MkdirAll(folder, 0o755); err != nil || n.TopicID == kafka.ZeroUUID {
		return true, err
	}
	name := path.Join(folder, partitionMetadataFile)
	return true, placeFile(d.env.FS, name, partitionMetadata(n.TopicID))
}

// publishLogs puts what was loaded on the directory's list, once the names of all the folders are durable.
func (d *LogDir) publishLogs(loaded []*Log, results []OpenedLog) {
	err := d.env.FS.SyncDir(d.path)
	d.mu.Lock()
	for i, l := range loaded {
		switch {
		case l == nil:
		case err != nil:
			results[i] = OpenedLog{Err: err}
		default:
			d.logs[l.tp] = l
		}
	}
	d.sorted = nil
	d.mu.Unlock()
	d.timedStale.Store(true)
	if err == nil {
		d.reschedule()
		return
	}
	d.unloaded.Store(true)
	for _, l := range loaded {
		if l == nil {
			continue
		}
		for _, s := range *l.segments.Load() {
			s.Abandon()
		}
	}
}

// judgeOpened makes of an error what the caller is told, and what becomes of the directory.
func (d *LogDir) judgeOpened(tp kafka.TopicPartition, o OpenedLog) OpenedLog {
	var corrupt *segment.CorruptError
	switch {
	case o.Err == nil, errors.Is(o.Err, kafka.InconsistentTopicID):
		return o
	case errors.Is(o.Err, kafka.KafkaStorageError): // the directory is offline
		return OpenedLog{Err: o.Err}
	case errors.As(o.Err, &corrupt): // the others are not to suffer for it
	case vfs.Exhausted(o.Err):
		d.stats.DiskFull.Add(1)
	default:
		d.fail(fmt.Errorf("open %s: %w", tp, o.Err))
	}
	return OpenedLog{Err: fmt.Errorf("%w: open %s: %w", kafka.KafkaStorageError, tp, o.Err)}
}

// adopt makes sure that the log is one of the topic.
func (l *Log) adopt(topicID kafka.UUID) error {
	switch l.TopicID() {
	case topicID:
		return nil
	case kafka.ZeroUUID:
		err := replaceFile(l.dir.env.FS, path.Join(l.path(), partitionMetadataFile), partitionMetadata(topicID))
		if err == nil {
			l.topicID.Store(&topicID)
		}
		return err
	default:
		return fmt.Errorf("%w: %s is on the disk with topic id %s, not %s",
			kafka.InconsistentTopicID, l.tp, l.TopicID(), topicID)
	}
}

// enlist puts a log that was loaded on the directory's list.
func (d *LogDir) enlist(l *Log) {
	d.mu.Lock()
	d.logs[l.tp] = l
	d.sorted = nil
	d.mu.Unlock()
	d.timedStale.Store(true)
	d.reschedule()
}

// loadUnlisted loads the log from its folder; made says that the folder has just been made, many that the log may be
// left pending.
func (d *LogDir) loadUnlisted(
	tp kafka.TopicPartition, topicID kafka.UUID, c Config, made, many bool,
) (*loader, error) {
	l := d.newLog(tp, tp.String(), topicID, c)
	known := d.checkpoints.of(tp)
	r := &loader{l: l, trusted: d.clean, made: made, many: many, recoveryPoint: known.recoveryPoint,
		logStart: known.logStart, highWatermark: known.highWatermark, cleaned: d.checkpoints.cleanedTo(tp)}
	if err := r.load(); err != nil {
		if !made { // else there is nothing that a start would have to look at
			d.unloaded.Store(true)
		}
		return nil, err
	}
	return r, nil
}

// newLog is a log without anything in it yet.
func (d *LogDir) newLog(tp kafka.TopicPartition, folder string, topicID kafka.UUID, c Config) *Log {
	l := &Log{tp: tp, dir: d, folder: folder, producers: newProducers()}
	l.topicID.Store(&topicID)
	l.config.Store(&c)
	l.firstUnstable.store(kafka.NoOffset)
	l.unsavedEpochs.store(kafka.NoOffset)
	l.flushedAt.Store(d.env.Clock.Now().UnixNano())
	return l
}
