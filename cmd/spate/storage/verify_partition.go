package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"spate/kafka"
)

// partition is one partition's directory while it is checked.
type partition struct {
	*dataDir
	dir      string // its path
	name     kafka.TopicPartition
	metadata bool // the records are metadata records
	groups   bool // the records are those of __consumer_offsets
	epochs   []epochStart
}

// openPartition prepares the check of a partition's directory.
func (d *dataDir) openPartition(name string) (*partition, error) {
	p := &partition{dataDir: d, dir: filepath.Join(d.path, name), metadata: name == MetadataPartition,
		groups: isGroupPartition(name)}
	p.name, _ = ParsePartition(name)
	epochs, err := readEpochs(filepath.Join(p.dir, "leader-epoch-checkpoint"))
	if err := collect(d.report, err); err != nil {
		return nil, err
	}
	p.epochs = epochs
	return p, nil
}

// segmentPath is the name of one of a segment's files.
func (p *partition) segmentPath(base kafka.Offset, suffix string) string {
	return filepath.Join(p.dir, fmt.Sprintf("%0*d%s", offsetDigits, base, suffix))
}

// verifyPartition checks all files of a partition's directory.
func (d *dataDir) verifyPartition(name string) error {
	p, err := d.openPartition(name)
	if err != nil {
		return err
	}
	names, err := os.ReadDir(p.dir)
	if err != nil {
		return collect(d.report, err)
	}
	d.report.Partitions++
	var bases []kafka.Offset
	for _, n := range names {
		path := filepath.Join(p.dir, n.Name())
		switch kind := Classify(n.Name()); kind {
		case Log:
			base, _ := baseOffset(n.Name())
			bases = append(bases, base)
		case ProducerSnapshot:
			err = p.verifyProducers(path)
		case MetadataSnapshot, PartitionMetadata, QuorumState:
			err = verifySmall(d.report, path, kind)
		case Leftover:
			d.report.note(path, "on its way out; the broker removes it")
		case OffsetIndex, TimeIndex, TransactionIndex:
			err = p.verifyHasLog(path)
		}
		if err != nil {
			return err
		}
	}
	slices.Sort(bases)
	p.verifySegments(bases)
	return nil
}

// verifyHasLog notes an index whose log is gone. A broker that stops between two deletions leaves one.
func (p *partition) verifyHasLog(path string) error {
	base, _ := baseOffset(path)
	if _, err := os.Stat(p.segmentPath(base, ".log")); os.IsNotExist(err) {
		p.report.note(path, "its log is not there; the broker removes it")
	}
	return nil
}

// verifyProducers checks a producer snapshot against the offset that names it.
func (p *partition) verifyProducers(path string) error {
	producers, err := readProducerSnapshot(path)
	if err := collect(p.report, err); err != nil {
		return err
	}
	end, _ := baseOffset(path)
	for i, e := range producers {
		if e.lastOffset >= end {
			p.report.damage(damaged(path, int64(snapshotHeadBytes+i*snapshotEntryBytes),
				"producer %d wrote offset %d, past the snapshot's %d", e.id, e.lastOffset, end))
		}
	}
	return nil
}

// verifySegments checks the segments and that they follow each other, then the checkpoints about them.
func (p *partition) verifySegments(bases []kafka.Offset) {
	next := kafka.NoOffset
	for i, base := range bases {
		if i > 0 && base < next {
			p.report.damage(damaged(p.segmentPath(base, ".log"), 0,
				"the segment begins at offset %d, but the one before it ends at %d", base, next))
		}
		s := p.verifySegment(base)
		next = s.next
		if s.broken {
			return // what follows a break cannot be judged: recovery would cut it
		}
	}
	if len(bases) == 0 {
		return
	}
	for name, checkpoint := range map[string]map[kafka.TopicPartition]kafka.Offset{
		"recovery-point-offset-checkpoint": p.recovery,
		"log-start-offset-checkpoint":      p.starts,
		"replication-offset-checkpoint":    p.marks,
	} {
		if offset, ok := checkpoint[p.name]; ok && offset > next {
			p.report.damage(damaged(p.segmentPath(bases[len(bases)-1], ".log"), 0,
				"the log ends at offset %d, but %s has %d: records are missing", next, name, offset))
		}
	}
}

// epochAt is the leader epoch that the checkpoint gives for an offset; ok is false where it says nothing.
func (p *partition) epochAt(offset kafka.Offset) (kafka.LeaderEpoch, bool) {
	i := slices.IndexFunc(p.epochs, func(e epochStart) bool { return e.start > offset })
	switch i {
	case 0:
		return 0, false
	case -1:
		i = len(p.epochs)
	}
	if i == 0 {
		return 0, false
	}
	return p.epochs[i-1].epoch, true
}

// forgiven reports whether a problem that begins at an offset is one which the next start repairs: it lies past the
// recovery point of a log that was not shut down cleanly.
func (p *partition) forgiven(offset kafka.Offset) bool {
	return p.unclean && offset >= p.recovery[p.name]
}
