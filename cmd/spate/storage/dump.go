package storage

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DumpOptions say how much Dump shows.
type DumpOptions struct {
	Records bool // the records of each batch; those of the metadata log and its snapshots are always shown
}

// dumpers are the functions that show a file of each kind.
var dumpers = map[Kind]func(path string, o DumpOptions, emit func(Entry) error) error{
	Log:               dumpLog,
	MetadataSnapshot:  dumpLog,
	OffsetIndex:       dumpOffsetIndex,
	TimeIndex:         dumpTimeIndex,
	TransactionIndex:  dumpTransactionIndex,
	ProducerSnapshot:  dumpProducerSnapshot,
	EpochCheckpoint:   dumpEpochs,
	OffsetCheckpoint:  dumpOffsets,
	PartitionMetadata: dumpPartitionMetadata,
	MetaProperties:    dumpMetaProperties,
	QuorumState:       dumpQuorumState,
	CleanShutdown:     dumpCleanShutdown,
	Lock:              func(string, DumpOptions, func(Entry) error) error { return nil }, // it holds nothing
}

// Dump emits what the file holds, in its order. A file that breaks off is shown up to there, and the error is a
// *Damage.
func Dump(path string, o DumpOptions, emit func(Entry) error) error {
	kind := Classify(path)
	dumper, ok := dumpers[kind]
	if !ok {
		return fmt.Errorf("%s: not a file that a broker writes, by its name", path)
	}
	return dumper(path, o, emit)
}

// Files lists what a path stands for: the file itself, or the known files of a directory and those below it, in order.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && dumpers[Classify(name)] != nil {
			files = append(files, name)
		}
		return err
	})
	return files, err
}
