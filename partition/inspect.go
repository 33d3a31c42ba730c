package partition

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"spate/internal/vfs"
	"spate/kafka"
)

// What follows reads a log directory that is not open, for those who look before they open it.

// LockFile is the file in a log directory that a process which uses it holds locked.
const LockFile = lockFile

// FolderKind is what a folder in a log directory is by its name.
type FolderKind uint8

// The kinds.
const (
	OtherFolder     FolderKind = iota
	PartitionFolder            // <topic>-<partition>
	DeletedFolder              // waits for its removal
	StrayFolder                // set aside
	FutureFolder               // the half-made copy of a move between log directories
)

// ParseFolder tells the kind of a folder, and the partition of a PartitionFolder.
func ParseFolder(name string) (kafka.TopicPartition, FolderKind) {
	switch {
	case outgoing(name, deleteSuffix):
		return kafka.TopicPartition{}, DeletedFolder
	case outgoing(name, straySuffix):
		return kafka.TopicPartition{}, StrayFolder
	case outgoing(name, futureSuffix):
		return kafka.TopicPartition{}, FutureFolder
	}
	if tp, ok := parseFolder(name); ok {
		return tp, PartitionFolder
	}
	return kafka.TopicPartition{}, OtherFolder
}

// ReadTopicID reads partition.metadata in a partition's folder; a missing file gives the zero id.
func ReadTopicID(fsys vfs.FS, folder string) (kafka.UUID, error) {
	text, err := readFile(fsys, path.Join(folder, partitionMetadataFile), metaBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return kafka.ZeroUUID, nil
	}
	if err != nil {
		return kafka.ZeroUUID, err
	}
	return parsePartitionMetadata(text)
}

// ReadRecoveryPoints reads the flushed offsets that a log directory has noted; a missing file gives none.
func ReadRecoveryPoints(fsys vfs.FS, dir string) (map[kafka.TopicPartition]kafka.Offset, error) {
	return readOffsetCheckpoint(fsys, path.Join(dir, recoveryPointFile))
}

// ReadCleaned reads up to where the logs of a directory have been compacted; a missing file gives none.
func ReadCleaned(fsys vfs.FS, dir string) (map[kafka.TopicPartition]kafka.Offset, error) {
	return readOffsetCheckpoint(fsys, path.Join(dir, cleanerFile))
}

// ClosedCleanly tells whether the last process that used the log directory left the mark of a clean shutdown.
func ClosedCleanly(fsys vfs.FS, dir string) (bool, error) {
	_, err := fsys.Stat(path.Join(dir, cleanShutdownFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// IsLeftover tells whether a file in a partition's folder is one that a start removes.
func IsLeftover(name string) bool {
	for _, suffix := range leftoverSuffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
