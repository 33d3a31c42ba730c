package adopt

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"spate/internal/config"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata"
	"spate/metadata/image"
	"spate/partition"
)

// dir is one directory of the node.
type dir struct {
	path     string
	meta     partition.MetaProperties
	clean    bool
	recovery map[kafka.TopicPartition]kafka.Offset
	cleaned  map[kafka.TopicPartition]kafka.Offset // up to where a cleaner has been, and has flushed what it left
}

// Check reads the directories and makes a plan. It changes nothing. An error is a failure to read; what stands against
// the take-over is in the plan, which the caller closes.
func Check(fsys vfs.FS, o Options) (*Plan, error) {
	p := &Plan{Dirs: o.Dirs, CleanShutdown: true, Topics: []Topic{}, Refusals: []string{}, Notes: []string{}}
	c := &checker{fs: fsys, options: o, plan: p, folders: map[kafka.TopicPartition]folder{}}
	for _, step := range []func() error{c.openDirs, c.findMetadata, c.listFolders, c.readMetadata, c.readLogs} {
		err := step()
		var r refused
		switch {
		case errors.As(err, &r):
			c.refuse("%v", err)
		case err != nil:
			return nil, errors.Join(err, p.Close())
		}
		if p.Adopted || err != nil {
			break // what follows builds on what could not be read
		}
	}
	return p, nil
}

// checker fills in a plan.
type checker struct {
	fs      vfs.FS
	options Options
	plan    *Plan
	home    *dir // of the metadata log
	folders map[kafka.TopicPartition]folder
	image   *image.Image // as Spate begins with it
}

// folder is where a partition lies.
type folder struct {
	dir  *dir
	path string
	id   kafka.UUID // of its topic, zero where it does not say
}

func (c *checker) refuse(format string, args ...any) {
	c.plan.Refusals = append(c.plan.Refusals, fmt.Sprintf(format, args...))
}

func (c *checker) note(format string, args ...any) {
	c.plan.Notes = append(c.plan.Notes, fmt.Sprintf(format, args...))
}

// openDirs locks the directories and reads what they are.
func (c *checker) openDirs() error {
	for i, name := range c.options.Dirs {
		if slices.Contains(c.options.Dirs[:i], name) {
			return refusal("%s is named twice", name)
		}
		if _, err := c.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return refusal("there is no directory %s", name)
		}
		d := &dir{path: name}
		if err := c.lock(d); err != nil {
			return err
		}
		m, found, err := partition.ReadMetaProperties(c.fs, name)
		switch {
		case err != nil:
			return refusal("%v", err)
		case !found:
			return refusal("%s is not a log directory of Kafka: it has no meta.properties", name)
		}
		d.meta = m
		if first := c.plan.dirs; len(first) > 0 && (m.ClusterID != c.plan.ClusterID || m.NodeID != c.plan.NodeID) {
			return refusal("%s belongs to node %d of cluster %s, and %s to node %d of cluster %s",
				first[0].path, c.plan.NodeID, c.plan.ClusterID, name, m.NodeID, m.ClusterID)
		}
		c.plan.ClusterID, c.plan.NodeID = m.ClusterID, m.NodeID
		if d.clean, err = partition.ClosedCleanly(c.fs, name); err != nil {
			return err
		}
		if d.recovery, err = partition.ReadRecoveryPoints(c.fs, name); err != nil {
			c.note("%v: recovery will look at every log in %s", err, name)
		}
		if d.cleaned, err = partition.ReadCleaned(c.fs, name); err != nil {
			c.note("%v: the logs in %s are compacted from their beginning again", err, name)
		}
		c.plan.dirs = append(c.plan.dirs, d)
	}
	return nil
}

// lock takes a directory's lock. Without the file nobody has it, and a check makes none.
func (c *checker) lock(d *dir) error {
	name := path.Join(d.path, partition.LockFile)
	if _, err := c.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := c.fs.Lock(name)
	if errors.Is(err, vfs.ErrLocked) {
		return refusal("%s is in use: stop the node first", d.path)
	}
	if err != nil {
		return err
	}
	c.plan.locks = append(c.plan.locks, lock)
	return nil
}

// findMetadata finds the one directory with the metadata log.
func (c *checker) findMetadata() error {
	for _, d := range c.plan.dirs {
		_, err := c.fs.Stat(path.Join(d.path, metadata.Folder))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case c.home != nil:
			return refusal("%s and %s both have a metadata log", c.home.path, d.path)
		default:
			c.home = d
		}
	}
	if c.home == nil {
		return refusal("none of the directories has a metadata log (%s): name metadata.log.dir too, if that is set",
			metadata.Folder)
	}
	p := c.plan
	p.Metadata = path.Join(c.home.path, metadata.Folder)
	p.Backup, p.temp = p.Metadata+backupSuffix, p.Metadata+tempSuffix
	own, err := metadata.IsOwn(c.fs, p.Metadata)
	switch {
	case err == nil && own:
		p.Adopted = true
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return refusal("%v", err)
	}
	if _, err := c.fs.Stat(p.Backup); !errors.Is(err, fs.ErrNotExist) {
		return refusal("%s is there already, from an earlier take-over: move it away", p.Backup)
	}
	// Carry removes what an earlier one left half done: that must not be the only other copy of Kafka's.
	if own, err := metadata.IsOwn(c.fs, p.temp); err == nil && !own {
		return refusal("%s holds a metadata log of Kafka too: move it away", p.temp)
	}
	return nil
}

// listFolders finds the partitions.
func (c *checker) listFolders() error {
	for _, d := range c.plan.dirs {
		entries, err := c.fs.ReadDir(d.path)
		if err != nil {
			return err
		}
		// A directory of the metadata log alone is not marked.
		logs := slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
			_, kind := partition.ParseFolder(e.Name())
			return kind == partition.PartitionFolder && e.Name() != metadata.Folder
		})
		if !d.clean && (logs || len(c.plan.dirs) == 1) {
			c.plan.CleanShutdown = false
		}
		deleted := 0
		for _, e := range entries {
			if !e.IsDir() || e.Name() == metadata.Folder {
				continue
			}
			tp, kind := partition.ParseFolder(e.Name())
			switch {
			case kind == partition.DeletedFolder:
				deleted++
			case kind == partition.FutureFolder:
				c.refuse("%s is being moved between log directories: start Kafka again and let it finish",
					path.Join(d.path, e.Name()))
			case e.Name() == "remote-log-index-cache":
				c.refuse("remote storage is in use (%s), which is not served yet", path.Join(d.path, e.Name()))
			case kind == partition.PartitionFolder:
				c.addFolder(d, tp)
			}
		}
		if deleted > 0 {
			c.note("%d folder(s) of deleted partitions in %s: the first start of Spate removes them", deleted, d.path)
		}
	}
	if !c.plan.CleanShutdown {
		c.note("the node was not stopped cleanly: the first start of Spate recovers the logs, as Kafka would")
	}
	return nil
}

func (c *checker) addFolder(d *dir, tp kafka.TopicPartition) {
	f := folder{dir: d, path: path.Join(d.path, tp.String())}
	if other, twice := c.folders[tp]; twice {
		c.refuse("%s is in %s and in %s", tp, other.dir.path, d.path)
	}
	var err error
	if f.id, err = partition.ReadTopicID(c.fs, f.path); err != nil {
		c.note("%s: %v; it counts as unknown", f.path, err)
	}
	c.folders[tp] = f
}

// readMetadata makes the image that Spate begins with.
func (c *checker) readMetadata() error {
	p := c.plan
	// The metadata log is closed with the node: a directory of its own has no mark, then those of the logs count.
	s, err := readSource(c.fs, p.Metadata, p.ClusterID, p.NodeID, p.CleanShutdown)
	if err != nil {
		return err
	}
	defaults, _, err := config.Load(config.Sources{Hostname: "localhost"})
	if err != nil {
		return err
	}
	from, _ := s.builder.Build()
	convert := converter{node: p.NodeID, defaults: defaults, from: from, dirs: map[kafka.TopicPartition]kafka.UUID{},
		flushed: map[kafka.TopicPartition]kafka.Offset{}}
	for tp, f := range c.folders {
		convert.dirs[tp] = f.dir.meta.DirectoryID
	}
	for _, d := range p.dirs {
		convert.named = append(convert.named, d.meta.DirectoryID)
		for tp, offset := range d.recovery {
			convert.flushed[tp] = max(convert.flushed[tp], offset)
		}
	}
	c.image, err = convert.convert(s.end, s.epoch)
	if err != nil {
		return err
	}
	p.Refusals = append(append(p.Refusals, s.losses()...), convert.refusals...)
	p.Notes = append(append(p.Notes, s.notes...), convert.notes...)
	p.MetadataEnd = s.end
	p.foundation = metadata.Foundation{
		Image: c.image, NodeID: p.NodeID, DirectoryID: c.home.meta.DirectoryID,
		Epoch: max(s.vote, s.epoch), Newest: s.newest, Now: c.options.Now,
	}
	c.checkDirs(from)
	c.checkFolders()
	return nil
}

// checkDirs refuses when a directory that the node has had is not named.
func (c *checker) checkDirs(from *image.Image) {
	self := from.Broker(c.plan.NodeID)
	if self == nil {
		c.refuse("node %d has never registered as a broker: only a combined broker and controller can be taken over",
			c.plan.NodeID)
		return
	}
	for _, id := range self.LogDirs {
		is := func(d *dir) bool { return d.meta.DirectoryID == id }
		if !slices.ContainsFunc(c.plan.dirs, is) {
			c.refuse("the node has a log directory with directory.id %s, which is not named: name all of log.dirs", id)
		}
	}
}

// checkFolders compares the folders with the topics.
func (c *checker) checkFolders() {
	for _, tp := range sortedPartitions(c.folders) {
		f, topic := c.folders[tp], c.image.Topic(tp.Topic)
		if topic == nil || int(tp.Partition) >= len(topic.Partitions) || f.id != kafka.ZeroUUID && f.id != topic.ID {
			c.note("%s is of no topic: the first start of Spate sets it aside, and its data stays", f.path)
			delete(c.folders, tp)
		}
	}
}

// sortedPartitions are the keys in order.
func sortedPartitions[V any](m map[kafka.TopicPartition]V) []kafka.TopicPartition {
	return slices.SortedFunc(maps.Keys(m), func(a, b kafka.TopicPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}
