package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"spate/kafka"
)

// Verify checks data directories, partition directories and single files. Damage is in the report; the error is about
// the paths: one that is not there, or that is nothing a broker writes.
//
// After an unclean shutdown, or while a broker runs, the end of a log past its recovery point may be torn and the files
// beside it may lag: the next start repairs that, so it is a note. Below the recovery point, before whole batches,
// after a clean shutdown, and outside a data directory, everything must be whole.
func Verify(paths []string) (*Report, error) {
	report := &Report{Damages: []*Damage{}, Notes: []Note{}}
	for _, path := range paths {
		if err := verifyPath(report, path); err != nil {
			return report, err
		}
	}
	return report, nil
}

// verifyPath finds out what a path is, and checks it.
func verifyPath(report *Report, path string) error {
	path = filepath.Clean(path)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if base := filepath.Base(path); base == "." || base == ".." || !info.IsDir() && filepath.Dir(path) == "." {
		if path, err = filepath.Abs(path); err != nil { // the directory's name tells which partition it is
			return err
		}
	}
	if !info.IsDir() {
		return verifyFile(report, path)
	}
	names, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	if isDataDir(names) {
		return openDataDir(report, path).verify(names)
	}
	if slices.ContainsFunc(names, func(d fs.DirEntry) bool { return Classify(d.Name()) == Log }) {
		return openDataDir(report, filepath.Dir(path)).verifyPartition(filepath.Base(path))
	}
	return fmt.Errorf("%s is neither a data directory (with meta.properties) nor a partition's (with .log files)", path)
}

// isDataDir reports whether a directory holds what a data directory does.
func isDataDir(names []fs.DirEntry) bool {
	return slices.ContainsFunc(names, func(d fs.DirEntry) bool {
		if !d.IsDir() {
			return Classify(d.Name()) == MetaProperties
		}
		_, ok := ParsePartition(d.Name())
		return ok
	})
}

// verifyFile checks one file. A log brings its indexes along and an index its log: neither says much alone.
func verifyFile(report *Report, path string) error {
	kind := Classify(path)
	switch kind {
	case Log, OffsetIndex, TimeIndex, TransactionIndex:
		dir := filepath.Dir(path)
		d := openDataDir(report, filepath.Dir(dir))
		p, err := d.openPartition(filepath.Base(dir))
		if err != nil {
			return err
		}
		base, _ := baseOffset(path)
		if _, err := os.Stat(p.segmentPath(base, ".log")); err != nil {
			return err
		}
		p.verifySegment(base)
		return nil
	case Leftover, Unknown:
		return fmt.Errorf("%s: not a file that a broker writes, by its name", path)
	}
	return verifySmall(report, path, kind)
}

// verifySmall checks a file that can be judged alone, by reading all of it.
func verifySmall(report *Report, path string, kind Kind) error {
	if kind == MetadataSnapshot {
		return verifyMetadataSnapshot(report, path)
	}
	return collect(report, dumpers[kind](path, DumpOptions{}, func(Entry) error { return nil }))
}

// collect puts damage into the report and passes other errors on. A file that went away meanwhile is neither: the
// broker deleted it.
func collect(report *Report, err error) error {
	var d *Damage
	switch {
	case errors.As(err, &d):
		report.damage(d)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// dataDir is a data directory and what it says about its shutdown.
type dataDir struct {
	report   *Report
	path     string
	unclean  bool // it is known, and a broker runs on it or was not shut down cleanly
	recovery map[kafka.TopicPartition]kafka.Offset
	starts   map[kafka.TopicPartition]kafka.Offset
	marks    map[kafka.TopicPartition]kafka.Offset // high watermarks
}

// openDataDir reads the checkpoints, as far as they are there. Wrong ones are reported by verify.
func openDataDir(report *Report, path string) *dataDir {
	d := &dataDir{report: report, path: path}
	_, known := os.Stat(filepath.Join(path, "meta.properties"))
	_, clean := os.Stat(filepath.Join(path, ".kafka_cleanshutdown"))
	d.unclean = known == nil && os.IsNotExist(clean)
	read := func(name string) map[kafka.TopicPartition]kafka.Offset {
		offsets, err := readOffsets(filepath.Join(path, name))
		if err != nil {
			return nil
		}
		return offsets
	}
	d.recovery = read("recovery-point-offset-checkpoint")
	d.starts = read("log-start-offset-checkpoint")
	d.marks = read("replication-offset-checkpoint")
	return d
}

// verify checks the files of the directory, then every partition.
func (d *dataDir) verify(names []fs.DirEntry) error {
	if !slices.ContainsFunc(names, func(e fs.DirEntry) bool { return Classify(e.Name()) == MetaProperties }) {
		d.report.damage(damaged(filepath.Join(d.path, "meta.properties"), 0, "it is missing"))
	}
	for _, name := range names {
		path := filepath.Join(d.path, name.Name())
		var err error
		switch kind := Classify(name.Name()); {
		case name.IsDir():
			err = d.verifyDir(name.Name())
		case dumpers[kind] != nil:
			err = verifySmall(d.report, path, kind)
		case kind == Leftover:
			d.report.note(path, "on its way out; the broker removes it")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyDir checks a directory inside the data directory.
func (d *dataDir) verifyDir(name string) error {
	path := filepath.Join(d.path, name)
	if leavingPartition(name) {
		d.report.note(path, "on its way out, not checked")
		return nil
	}
	if _, ok := ParsePartition(name); !ok {
		if name != "lost+found" && !strings.HasPrefix(name, ".") {
			d.report.note(path, "not a partition by its name, not checked")
		}
		return nil
	}
	return d.verifyPartition(name)
}
