package partition

import (
	"errors"
	"fmt"
	"hash/fnv"
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

// LoadLogs loads all partition folders that are not open yet, RecoveryThreads at a time, ordered by name. A partition
// that is corrupt is reported in failures and left as it is; an I/O error takes the directory offline and is returned.
// It also takes up again the removal of what was deleted before the last shutdown.
func (d *LogDir) LoadLogs(resolve Resolve) (logs []*Log, failures []LoadFailure, err error) {
	found, err := d.listFolders()
	if err != nil {
		d.fail(err)
		return nil, nil, d.offline()
	}
	results := make([]loaded, len(found))
	inParallel(d.options.RecoveryThreads, len(found), func(i int) { results[i] = d.loadFolder(found[i], resolve) })
	for i, r := range results {
		var corrupt *segment.CorruptError
		switch {
		case r.log != nil:
			logs = append(logs, r.log)
		case errors.As(r.err, &corrupt), vfs.DiskFull(r.err):
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

// loaded is what became of one folder.
type loaded struct {
	log     *Log
	topicID kafka.UUID
	err     error
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
		if tp, ok := parseFolder(e.Name()); ok && tp.Topic != metadataTopic && d.Log(tp) == nil {
			found = append(found, tp)
		}
	}
	slices.SortFunc(found, compareTopicPartitions)
	return found, nil
}

func (d *LogDir) loadFolder(tp kafka.TopicPartition, resolve Resolve) loaded {
	topicID, err := d.readTopicID(tp)
	if err != nil {
		return loaded{err: err}
	}
	config, fate := resolve(tp, topicID)
	switch fate {
	case Keep:
		l, err := d.load(tp, topicID, config)
		return loaded{log: l, topicID: topicID, err: err}
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

// OpenLog gives the log of tp, creating it where it is missing. A log with another topic id is INCONSISTENT_TOPIC_ID;
// one without any takes topicID.
func (d *LogDir) OpenLog(tp kafka.TopicPartition, topicID kafka.UUID, c Config) (*Log, error) {
	if err := d.offline(); err != nil {
		return nil, err
	}
	h := fnv.New32a()
	h.Write([]byte(tp.Topic))
	lock := &d.opening[(h.Sum32()+uint32(tp.Partition))%uint32(len(d.opening))]
	lock.Lock()
	defer lock.Unlock()
	l, err := d.openLog(tp, topicID, c)
	var corrupt *segment.CorruptError
	switch {
	case err == nil, errors.Is(err, kafka.InconsistentTopicID):
		return l, err
	case errors.As(err, &corrupt): // the others are not to suffer for it
	case vfs.DiskFull(err):
		d.stats.DiskFull.Add(1)
	default:
		d.fail(fmt.Errorf("open %s: %w", tp, err))
	}
	return nil, fmt.Errorf("%w: open %s: %w", kafka.KafkaStorageError, tp, err)
}

func (d *LogDir) openLog(tp kafka.TopicPartition, topicID kafka.UUID, c Config) (*Log, error) {
	if l := d.Log(tp); l != nil {
		return l, l.adopt(topicID)
	}
	_, err := d.env.FS.Stat(path.Join(d.path, tp.String()))
	if errors.Is(err, fs.ErrNotExist) {
		err = d.create(tp, topicID)
	}
	if err != nil {
		return nil, err
	}
	found, err := d.readTopicID(tp)
	if err != nil {
		return nil, err
	}
	l, err := d.load(tp, found, c)
	if err != nil {
		return nil, err
	}
	return l, l.adopt(topicID)
}

// create makes the folder of a new log, durably. The checkpoint files must not know a log of that name any more: what
// they say of an earlier one would be held against the new.
func (d *LogDir) create(tp kafka.TopicPartition, topicID kafka.UUID) error {
	if err := d.checkpoints.purge(d, tp); err != nil {
		return err
	}
	folder := path.Join(d.path, tp.String())
	if err := makeFolder(d.env.FS, folder); err != nil {
		return err
	}
	if topicID == kafka.ZeroUUID {
		return nil
	}
	return replaceFile(d.env.FS, path.Join(folder, partitionMetadataFile), partitionMetadata(topicID))
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

// load loads the log from its folder and puts it on the directory's list.
func (d *LogDir) load(tp kafka.TopicPartition, topicID kafka.UUID, c Config) (*Log, error) {
	l := &Log{tp: tp, dir: d, producers: newProducers()}
	l.topicID.Store(&topicID)
	l.config.Store(&c)
	l.firstUnstable.store(kafka.NoOffset)
	l.unsavedEpochs.store(kafka.NoOffset)
	l.flushedAt.Store(d.env.Clock.Now().UnixNano())
	known := d.checkpoints.of(tp)
	r := loader{l: l, trusted: d.clean, recoveryPoint: known.recoveryPoint, logStart: known.logStart,
		highWatermark: known.highWatermark}
	if err := r.load(); err != nil {
		d.unloaded.Store(true)
		return nil, err
	}
	d.mu.Lock()
	d.logs[tp] = l
	d.sorted = nil
	d.mu.Unlock()
	d.reschedule()
	return l, nil
}
