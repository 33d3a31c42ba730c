package segment

import (
	"errors"
	"fmt"
	"io/fs"

	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// Recovery says what Recover found.
type Recovery struct {
	ValidBytes kafka.Position // what the log holds now
	CutBytes   int64          // what was cut off behind it
	Reason     string         // why it was, "" if nothing was
	NextOffset kafka.Offset
	Batches    int
}

// Scan is the longest valid prefix of the bytes of a log.
type Scan struct {
	Bytes      kafka.Position
	NextOffset kafka.Offset
	Batches    int
	Reason     string // why the rest is not valid, "" if there is none
}

// ScanValid finds the longest prefix of a segment's bytes that is whole batches with fitting checksums and rising
// offsets from base on. visit, which may be nil, is told of each; its error ends the scan. It looks at nothing but
// its arguments.
func ScanValid(data []byte, base kafka.Offset, visit func(kafka.Position, record.Batch) error) (Scan, error) {
	scan := Scan{NextOffset: base}
	rest := data[:min(len(data), positionMax)]
	for len(rest) > 0 {
		b, after, err := record.Next(rest)
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			scan.Reason = err.Error()
			return scan, nil
		}
		if scan.Reason = misplaced(b, base, scan.NextOffset); scan.Reason != "" {
			return scan, nil
		}
		if visit != nil {
			if err := visit(scan.Bytes, b); err != nil {
				return scan, err
			}
		}
		scan.Bytes += kafka.Position(len(b))
		scan.NextOffset = b.NextOffset()
		scan.Batches++
		rest = after
	}
	if len(data) > positionMax {
		scan.Reason = "the file is larger than its index can address"
	}
	return scan, nil
}

// Recover opens a segment that was not closed. It keeps the longest valid prefix, cuts off the rest, makes the offset
// and time indexes anew, and empties the index of aborted transactions, which the caller fills again from what visit
// is told. visit, which may be nil, gets each batch of the prefix; the bytes are its own only during the call.
//
// Every offset of this segment below durableTo was durable once. If the prefix ends below it, acknowledged records
// are missing: that is a *CorruptError, and the file stays as it is. What was recovered may itself not be durable
// yet, since a process that dies leaves the page cache behind: Flush makes it so.
func Recover(disk vfs.FS, dir string, base kafka.Offset, o Options, durableTo kafka.Offset,
	visit func(record.Batch) error) (*Segment, Recovery, error) {
	s := newSegment(disk, dir, base, o)
	file, err := s.openFile(openFlags, 0)
	if err != nil {
		return nil, Recovery{}, fmt.Errorf("recover segment: %w", err)
	}
	t := newTally(base, o.IndexIntervalBytes)
	r, err := s.recoverLog(file, &t, durableTo, visit)
	if err != nil {
		s.closeFile(file)
		return nil, r, err
	}
	t.enterTime()
	b := s.newBody(file, t, &index.Buffer{})
	b.allocated = int64(r.ValidBytes)
	b.writtenBack.Store(b.allocated)
	b.end.Store(pack(int64(r.ValidBytes), int64(r.NextOffset-base)))
	s.body.Store(b)
	if err := removeMissing(disk, b.aborted.Path()); err != nil {
		s.drop()
		return nil, r, err
	}
	return s, r, nil
}

// recoverLog scans the file into the tally and cuts what is not valid.
func (s *Segment) recoverLog(file vfs.File, t *tally, durableTo kafka.Offset,
	visit func(record.Batch) error) (Recovery, error) {
	size, err := file.Size()
	if err != nil {
		return Recovery{}, err
	}
	scan, err := scanFile(file, size, s.base, func(position kafka.Position, b record.Batch) error {
		t.add(b, int64(position))
		if visit == nil {
			return nil
		}
		return visit(b)
	})
	r := Recovery{
		ValidBytes: scan.Bytes, CutBytes: size - int64(scan.Bytes), Reason: scan.Reason,
		NextOffset: scan.NextOffset, Batches: scan.Batches,
	}
	if err != nil {
		return r, err
	}
	if scan.NextOffset < durableTo {
		return r, s.corrupt(int64(scan.Bytes), lostReason(scan, durableTo))
	}
	if r.CutBytes > 0 {
		if err := file.Truncate(int64(scan.Bytes)); err != nil {
			return r, err
		}
	}
	return r, nil
}

func lostReason(scan Scan, durableTo kafka.Offset) string {
	reason := scan.Reason
	if reason == "" {
		reason = "the file ends"
	}
	return fmt.Sprintf("%s at offset %d, but everything below offset %d was durable",
		reason, scan.NextOffset, durableTo)
}

// scanFile runs ScanValid over a mapping of the file.
func scanFile(file vfs.File, size int64, base kafka.Offset,
	visit func(kafka.Position, record.Batch) error) (scan Scan, err error) {
	if size == 0 {
		return ScanValid(nil, base, visit)
	}
	m, err := file.Map(size)
	if err != nil {
		return Scan{}, err
	}
	err = vfs.Guard(func() (err error) {
		scan, err = ScanValid(m.Bytes()[:size], base, visit)
		return err
	})
	return scan, errors.Join(err, m.Unmap())
}

// removeMissing removes a file that need not be there.
func removeMissing(disk vfs.FS, name string) error {
	if err := disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
