package broker

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"spate/internal/config"
	"spate/internal/metrics"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata"
	"spate/metadata/image"
	"spate/partition"
)

// dirs is the log directories of the node.
type dirs struct {
	logs []*partition.LogDir // those of log.dirs that could be opened, in their order
	// metadata holds the metadata log. It is one of logs, unless metadata.log.dir names a directory of its own.
	metadata *partition.LogDir
	cleaner  *partition.Cleaner // of the logs; nil if log.cleaner.enable is false
	missing  bool               // some of log.dirs could not be opened
	files    *partition.OpenFiles
}

// openDirs locks and opens the log directories. One whose disk fails is left out, as it would be when it failed later;
// one that another process holds, or that belongs to another node or cluster, ends the start.
func openDirs(
	env Env, c *config.Config, registry *metrics.Registry, onFail func(*partition.LogDir, error),
) (*dirs, string, error) {
	paths := c.LogDirs()
	metadataPath := c.MetadataLogDir()
	all := paths
	if !slices.Contains(paths, metadataPath) {
		all = append(slices.Clone(paths), metadataPath)
	}
	clusterID, err := clusterIDOf(env, kafka.BrokerID(c.NodeID()), all)
	if err != nil {
		return nil, "", err
	}
	d := &dirs{files: partition.NewOpenFiles(segmentFiles(vfs.OpenMax()))}
	var offline error
	for _, path := range all {
		o := dirOptions(c, clusterID, d.files)
		o.OnFail = onFail
		o.FlushLatency = registry.Histogram(metrics.FlushTime, path).Observe
		dir, err := partition.OpenLogDir(partitionEnv(env), path, o)
		switch {
		case err == nil && path == metadataPath:
			d.metadata = dir
		case err != nil && (path == metadataPath || !isDiskFailure(err)):
			return nil, "", errors.Join(err, d.close(-1))
		case err != nil:
			env.Log.Error("a log directory is offline", "dir", path, "error", err)
			registry.Gauge(metrics.LogDirOffline, path).Set(1)
			d.missing, offline = true, err
			continue
		}
		if slices.Contains(paths, path) {
			registry.Gauge(metrics.LogDirOffline, path).Set(0)
			d.logs = append(d.logs, dir)
		}
	}
	if len(d.logs) == 0 {
		return nil, "", errors.Join(allOffline(offline), d.close(-1))
	}
	if c.Bool("log.cleaner.enable") {
		d.cleaner = partition.NewCleaner(partitionEnv(env), d.logs, cleanerOptions(c))
	}
	return d, clusterID, nil
}

// allOffline says that there is nothing to serve from.
func allOffline(last error) error {
	return fmt.Errorf("every log directory is offline, the last one for: %w", last)
}

// segmentFiles is how many segments may have their files open: half of the descriptors of the process, as the others
// are for connections, and a quarter of the mappings, as a segment and its three indexes may have one each.
func segmentFiles(descriptors, mappings int) int { return min(descriptors/2, mappings/4) }

// isDiskFailure tells what the file system reports from a mistake that an operator has to correct.
func isDiskFailure(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && !errors.Is(err, vfs.ErrLocked)
}

func partitionEnv(env Env) partition.Env {
	return partition.Env{Clock: env.Clock, FS: env.FS, Random: env.Rand, Log: env.Log}
}

// clusterIDOf is the cluster id that the directories have in their meta.properties, or a new one where none has been
// formatted yet.
func clusterIDOf(env Env, self kafka.BrokerID, paths []string) (string, error) {
	clusterID, from := "", ""
	for _, path := range paths {
		meta, found, err := partition.ReadMetaProperties(env.FS, path)
		if err != nil || !found {
			continue // opening the directory tells what is wrong with it
		}
		if meta.NodeID != self {
			return "", fmt.Errorf("log directory %s belongs to node %d, and this is node %d", path, meta.NodeID, self)
		}
		if clusterID != "" && meta.ClusterID != clusterID {
			return "", fmt.Errorf("log directory %s belongs to cluster %s, and %s to cluster %s",
				from, clusterID, path, meta.ClusterID)
		}
		clusterID, from = meta.ClusterID, path
	}
	if clusterID != "" {
		return clusterID, nil
	}
	id, err := metadata.NewClusterID(env.Rand)
	if err != nil {
		return "", fmt.Errorf("draw a cluster id: %w", err)
	}
	return id, nil
}

// all is every directory that is open.
func (d *dirs) all() []*partition.LogDir {
	if d.metadata == nil || slices.Contains(d.logs, d.metadata) {
		return d.logs
	}
	return append(slices.Clone(d.logs), d.metadata)
}

// ids are the directory ids that the broker registers.
func (d *dirs) ids() []kafka.UUID {
	var ids []kafka.UUID
	for _, dir := range d.logs {
		ids = append(ids, dir.ID())
	}
	return ids
}

// registered are the directories to register: those that are open, and those of the last registration that are not,
// because they have failed, were taken off log.dirs, or because a disk is not mounted and an empty folder was formatted
// in its place. Once missed, a directory is looked for at every start.
func (d *dirs) registered(last *image.Broker) []kafka.UUID {
	ids := d.ids()
	if last == nil {
		return ids
	}
	for _, id := range last.LogDirs {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// lacks tells whether a directory of the last registration is not open now.
func (d *dirs) lacks(last *image.Broker) bool { return len(d.registered(last)) > len(d.ids()) }

func (d *dirs) start() {
	for _, dir := range d.logs {
		dir.Start()
	}
	if d.cleaner != nil {
		d.cleaner.Start()
	}
}

// close closes every directory; those that did not fail get the marker of a clean shutdown, with the broker's epoch.
func (d *dirs) close(epoch kafka.BrokerEpoch) error {
	var errs []error
	if d.cleaner != nil {
		d.cleaner.Close()
	}
	for _, dir := range d.all() {
		failed := dir.Failed() != nil // which was made known when it happened
		if err := dir.Close(epoch); err != nil && !failed {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
