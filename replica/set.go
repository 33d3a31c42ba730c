package replica

import (
	"errors"
	"log/slog"
	"sync"

	"spate/internal/clock"
	"spate/internal/task"
	"spate/kafka"
	"spate/metadata/image"
	"spate/partition"
	"spate/replica/state"
)

// Settings are a topic's, as far as replicas and their logs use them.
type Settings struct {
	Log    partition.Config
	ISRMin int // min.insync.replicas
}

// Options is how a Set is run.
type Options struct {
	Self kafka.BrokerID
	// DirsMissing says that a configured log directory could not be opened, or that one of the last start is not there.
	// A partition that is found nowhere may then be in that one, and is not made anew.
	DirsMissing bool
	// Settings resolves the settings of a topic from what is set on it, which the controller has validated.
	Settings func(overrides map[string]string) Settings
	// Watch makes the watcher of a replica.
	Watch func() Watcher
	Clock clock.Clock
	Log   *slog.Logger
}

// Set is all replicas that this broker hosts.
type Set struct {
	options Options
	dirs    []*partition.LogDir
	topics  *directory
	mover   *mover

	// changing is held by Load, Apply and the retries, across I/O; look-ups do not take it.
	changing sync.Mutex
	image    *image.Image // what topics follows
	roomless []roomless
	timer    clock.Timer // of the next retry; nil before the first
	closed   bool
}

// NewSet makes an empty set over the log directories, which are open and hold their own lock.
func NewSet(dirs []*partition.LogDir, o Options) *Set {
	s := &Set{options: o, dirs: dirs, topics: newDirectory()}
	s.mover = newMover(s)
	return s
}

// Topic finds a topic by name. It allocates nothing and takes no lock.
func (s *Set) Topic(name []byte) *Topic { return s.topics.byName(name) }

// TopicNamed is Topic for a string.
func (s *Set) TopicNamed(name string) *Topic { return s.topics.byString(name) }

// TopicByID finds a topic by its id. It allocates nothing and takes no lock.
func (s *Set) TopicByID(id kafka.UUID) *Topic { return s.topics.byID(id) }

// Dirs is the log directories that could be opened. The slice is not to be changed.
func (s *Set) Dirs() []*partition.LogDir { return s.dirs }

// Each calls visit for every replica, in no order.
func (s *Set) Each(visit func(*Replica)) {
	s.topics.each(func(t *Topic) {
		for _, r := range t.Replicas() {
			if r != nil {
				visit(r)
			}
		}
	})
}

// Load loads the logs of all directories, at start, and makes those that the image asks for and that are not there.
// Folders that the image does not place here are set aside. A log that cannot be read, and all logs of a directory that
// fails, leave their partitions unavailable; only what an operator has to sort out first is an error.
func (s *Set) Load(img *image.Image) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.image = img
	found, err := s.loadDirs(img)
	if err != nil {
		return err
	}
	var missing []newReplicaLog
	for topic := range img.Topics() {
		missing = s.appendMissing(missing, topic, found)
	}
	s.makeLogs(img, missing, found, true)
	for topic := range img.Topics() {
		s.host(img, topic, found)
	}
	return nil
}

// logs are those found on disk, by partition; a nil log could not be loaded.
type logs map[kafka.TopicPartition]*partition.Log

// notLoaded is a log that could not be loaded. It passes where only room, or a descriptor, was lacking; not where there
// are two in two directories, for nobody knows then which is the one to go on with.
type notLoaded struct {
	dir    *partition.LogDir
	passes bool
}

// loadDirs loads all directories at a time.
func (s *Set) loadDirs(img *image.Image) (logs, error) {
	var (
		loading task.Group
		mu      sync.Mutex
		found   = logs{}
		failed  = map[kafka.TopicPartition]notLoaded{}
		doubled error
	)
	for _, dir := range s.dirs {
		loading.Go("load "+dir.Path(), func() {
			loaded, failures, err := dir.LoadLogs(s.fateIn(img))
			mu.Lock()
			defer mu.Unlock()
			for _, log := range loaded {
				tp := log.TopicPartition()
				if other := found[tp]; other != nil {
					if log, doubled = s.choose(img, other, log, doubled); log == nil {
						continue
					}
				}
				found[tp] = log
			}
			for _, f := range failures {
				_, twice := failed[f.TopicPartition]
				x := notLoaded{dir: dir, passes: partition.MayPass(f.Err) && !twice}
				failed[f.TopicPartition] = x
				what := "a partition is offline: its log is corrupt"
				if x.passes {
					what = "a partition is offline: its log could not be loaded, which is tried again"
				}
				s.options.Log.Error(what,
					"partition", f.TopicPartition.String(), "dir", dir.Path(), "error", f.Err)
			}
			if err != nil {
				s.options.Log.Error("a log directory is offline", "dir", dir.Path(), "error", err)
			}
		})
	}
	loading.Wait()
	for tp, x := range failed {
		doubled = errors.Join(doubled, s.judgeCorrupt(found, tp, x.dir))
		p := img.Partition(tp.Topic, tp.Partition)
		if x.passes && found[tp] == nil && p != nil && hosts(p, s.options.Self) {
			s.lack(roomless{topic: img.Topic(tp.Topic).ID, index: tp.Partition, dir: x.dir})
		}
	}
	s.settleMoves(found)
	return found, doubled
}

// fateIn tells a directory what to do with a folder, as the image has it.
func (s *Set) fateIn(img *image.Image) partition.Resolve {
	return func(tp kafka.TopicPartition, id kafka.UUID) (partition.Config, partition.Fate) {
		topic := img.Topic(tp.Topic)
		wanted := topic != nil && (id == kafka.ZeroUUID || id == topic.ID) &&
			int(tp.Partition) < len(topic.Partitions) && hosts(topic.Partitions[tp.Partition], s.options.Self)
		if !wanted {
			s.options.Log.Warn("a folder belongs to no partition of this broker and is set aside",
				"partition", tp.String(), "topic_id", id.String())
			return partition.Config{}, partition.Stray
		}
		return s.settings(img, topic.Name).Log, partition.Keep
	}
}

func hosts(p *image.Partition, self kafka.BrokerID) bool {
	for _, id := range p.Replicas {
		if id == self {
			return true
		}
	}
	return false
}

func (s *Set) settings(img *image.Image, topic string) Settings {
	return s.options.Settings(img.Configs(image.TopicResource(topic)))
}

// Apply follows the metadata from one image to the next.
func (s *Set) Apply(img *image.Image, d *image.Delta) {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.image = img
	s.drop(d.TopicsDeleted)
	made := logs{}
	var missing []newReplicaLog
	for _, topic := range d.TopicsCreated {
		missing = s.appendMissing(missing, topic, made)
	}
	for i := range d.PartitionsChanged {
		missing = s.appendMissingOne(missing, d.PartitionsChanged[i].Topic, d.PartitionsChanged[i].Index, made)
	}
	s.makeLogs(img, missing, made, false)
	for _, topic := range d.TopicsCreated {
		s.host(img, topic, made)
	}
	for i := range d.PartitionsChanged {
		change := &d.PartitionsChanged[i]
		s.hostPartition(img, change.Topic, change.Index, made)
	}
	for _, r := range d.ConfigsChanged {
		if r.Type == image.ResourceTopic {
			s.configure(img, r.Name)
		}
	}
}

// host makes the replicas of a topic.
func (s *Set) host(img *image.Image, topic *image.Topic, found logs) {
	for index := range topic.Partitions {
		s.hostPartition(img, topic, kafka.PartitionIndex(index), found)
	}
}

// hostPartition makes or tells the replica of one partition, if this broker has one. The log of a new one is among
// those found or made, unless there is none to be had.
func (s *Set) hostPartition(img *image.Image, topic *image.Topic, index kafka.PartitionIndex, found logs) {
	p := topic.Partitions[index]
	if !hosts(p, s.options.Self) {
		return
	}
	t := s.topics.byID(topic.ID)
	fresh := t == nil
	if fresh {
		t = newTopic(topic.Name, topic.ID)
	}
	r := t.Partition(index)
	if r == nil {
		tp := kafka.TopicPartition{Topic: topic.Name, Partition: index}
		settings := s.settings(img, topic.Name)
		r = newReplica(s.options.Self, tp, found[tp], settings, s.options.Watch())
		t.put(r)
	}
	r.assign(s.options.Self, assignment(p))
	s.compareDir(topic.ID, r, p)
	if fresh {
		s.topics.add(t) // with its first replica ready
	}
}

// assignment is what the controller says of a partition, in the machine's words.
func assignment(p *image.Partition) *state.Assignment {
	return &state.Assignment{
		Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		Replicas: p.Replicas, ISR: p.ISR,
	}
}

// drop retires and deletes the replicas of topics.
func (s *Set) drop(topics []*image.Topic) {
	byDir := make(map[*partition.LogDir][]*partition.Log)
	for _, topic := range topics {
		t := s.topics.byID(topic.ID)
		if t == nil {
			continue
		}
		s.topics.remove(t)
		for _, r := range t.Replicas() {
			if r == nil {
				continue
			}
			s.cancelMove(r.tp)
			r.retire(kafka.UnknownTopicOrPartition)
			if log := r.View().Log; log != nil {
				byDir[log.Dir()] = append(byDir[log.Dir()], log)
			} else {
				s.staysOnDisk(r.tp, s.deleteFolders(r.tp, topic.ID))
			}
		}
	}
	for _, dir := range s.dirs {
		for i, err := range dir.DeleteLogs(byDir[dir]) {
			s.staysOnDisk(byDir[dir][i].TopicPartition(), err)
		}
	}
}

// deleteFolders deletes what there is on the disk of a partition whose log could not be opened: it would be in the way
// of a new topic of that name.
func (s *Set) deleteFolders(tp kafka.TopicPartition, topic kafka.UUID) error {
	var errs []error
	for _, dir := range s.dirs {
		if dir.Failed() == nil {
			errs = append(errs, dir.DeleteFolder(tp, topic))
		}
	}
	return errors.Join(errs...)
}

// staysOnDisk tells the operator of a deletion that failed.
func (s *Set) staysOnDisk(tp kafka.TopicPartition, err error) {
	if err != nil {
		s.options.Log.Error("a deleted partition stays on disk", "partition", tp.String(), "error", err)
	}
}

// Reconfigure resolves the settings of all topics anew, because their defaults have changed.
func (s *Set) Reconfigure() {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.topics.each(func(t *Topic) { s.configure(s.image, t.Name) })
}

func (s *Set) configure(img *image.Image, topic string) {
	t := s.topics.byString(topic)
	if t == nil {
		return
	}
	settings := s.settings(img, topic)
	for _, r := range t.Replicas() {
		if r != nil {
			r.configure(settings)
		}
	}
}
