package storage

import (
	"path/filepath"
	"strconv"
	"strings"

	"spate/kafka"
)

// Kind is what a file holds.
type Kind string

// The kinds, each with the names of its files.
const (
	Log               Kind = "log"                // <base offset>.log
	OffsetIndex       Kind = "offset index"       // <base offset>.index
	TimeIndex         Kind = "time index"         // <base offset>.timeindex
	TransactionIndex  Kind = "transaction index"  // <base offset>.txnindex
	ProducerSnapshot  Kind = "producer snapshot"  // <offset>.snapshot
	MetadataSnapshot  Kind = "metadata snapshot"  // <offset>-<epoch>.checkpoint, bootstrap.checkpoint
	EpochCheckpoint   Kind = "epoch checkpoint"   // leader-epoch-checkpoint
	OffsetCheckpoint  Kind = "offset checkpoint"  // recovery-point-offset-checkpoint and its like
	PartitionMetadata Kind = "partition metadata" // partition.metadata
	MetaProperties    Kind = "meta properties"    // meta.properties
	QuorumState       Kind = "quorum state"       // quorum-state
	CleanShutdown     Kind = "clean shutdown"     // .kafka_cleanshutdown
	Lock              Kind = "lock"               // .lock
	Leftover          Kind = "leftover"           // on its way out, or half made: .deleted, .tmp, .swap, .cleaned
	Unknown           Kind = "unknown"
)

// namedKinds are the kinds of files with one name.
var namedKinds = map[string]Kind{
	"leader-epoch-checkpoint":          EpochCheckpoint,
	"recovery-point-offset-checkpoint": OffsetCheckpoint,
	"log-start-offset-checkpoint":      OffsetCheckpoint,
	"replication-offset-checkpoint":    OffsetCheckpoint,
	"cleaner-offset-checkpoint":        OffsetCheckpoint,
	"partition.metadata":               PartitionMetadata,
	"meta.properties":                  MetaProperties,
	"quorum-state":                     QuorumState,
	"bootstrap.checkpoint":             MetadataSnapshot,
	".kafka_cleanshutdown":             CleanShutdown,
	".lock":                            Lock,
}

// suffixKinds are the kinds of files that are named by an offset.
var suffixKinds = map[string]Kind{
	".log":       Log,
	".index":     OffsetIndex,
	".timeindex": TimeIndex,
	".txnindex":  TransactionIndex,
	".snapshot":  ProducerSnapshot,
}

// Classify tells the kind of a file by its name.
func Classify(path string) Kind {
	name := filepath.Base(path)
	if kind, ok := namedKinds[name]; ok {
		return kind
	}
	for _, suffix := range []string{".deleted", ".tmp", ".swap", ".cleaned", ".part"} {
		if strings.HasSuffix(name, suffix) {
			return Leftover
		}
	}
	if kind, ok := suffixKinds[filepath.Ext(name)]; ok {
		if _, ok := baseOffset(path); ok {
			return kind
		}
	}
	if stem, ok := strings.CutSuffix(name, ".checkpoint"); ok && len(stem) == offsetDigits+1+epochDigits {
		return MetadataSnapshot
	}
	return Unknown
}

// The digits in the names of Kafka's files.
const (
	offsetDigits = 20
	epochDigits  = 10
)

// baseOffset is the offset that a file is named by.
func baseOffset(path string) (kafka.Offset, bool) {
	name := filepath.Base(path)
	if len(name) < offsetDigits {
		return 0, false
	}
	n, err := strconv.ParseInt(name[:offsetDigits], 10, 64)
	return kafka.Offset(n), err == nil && n >= 0
}

// MetadataPartition is the directory of the metadata log.
const MetadataPartition = "__cluster_metadata-0"

// holdsMetadata reports whether the records of a file are metadata records.
func holdsMetadata(path string) bool {
	return Classify(path) == MetadataSnapshot || filepath.Base(filepath.Dir(path)) == MetadataPartition
}

// ParsePartition splits the name of a partition's directory, "topic-0".
func ParsePartition(name string) (kafka.TopicPartition, bool) {
	dash := strings.LastIndexByte(name, '-')
	if dash <= 0 {
		return kafka.TopicPartition{}, false
	}
	n, err := strconv.ParseUint(name[dash+1:], 10, 31)
	if err != nil {
		return kafka.TopicPartition{}, false
	}
	return kafka.TopicPartition{Topic: name[:dash], Partition: kafka.PartitionIndex(n)}, true
}

// leavingPartition reports whether a directory is one that waits for its removal, was set aside, or is being moved.
func leavingPartition(name string) bool {
	for _, suffix := range []string{"-delete", "-stray", "-future"} {
		if rest, ok := strings.CutSuffix(name, suffix); ok && strings.Contains(rest, ".") {
			return true
		}
	}
	return false
}
