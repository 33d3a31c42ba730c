package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"spate/kafka"
	"spate/kafka/record"
	metadata "spate/metadata/record"
)

// segmentState is what the walk over a segment's batches has seen.
type segmentState struct {
	next    kafka.Offset    // the offset after the last batch
	maxTime kafka.Timestamp // the largest so far
	end     int64           // the position after the last batch
	broken  bool            // the walk ended before the end of the file
}

// segmentCheck is a check that goes along with the walk: of an index, of the epochs.
type segmentCheck interface {
	// batch is called for each batch in order, after s was brought up to date.
	batch(b record.Batch, position int64, s *segmentState)
	// end is called when the walk is over.
	end(s *segmentState)
}

// verifySegment walks over a segment's batches and checks them and the files beside the log.
func (p *partition) verifySegment(base kafka.Offset) *segmentState {
	path := p.segmentPath(base, ".log")
	s := &segmentState{next: base, maxTime: kafka.NoTimestamp}
	checks := p.checksOf(base) // before the log is opened: a running broker writes the log first
	r, err := openBatches(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // retention deleted it meanwhile
			p.report.damage(damaged(path, 0, "%v", err))
		}
		s.broken = true
		return s
	}
	defer r.close()
	p.report.Segments++
	for {
		b, position, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = p.checkInSegment(b, s, path)
		}
		if err != nil {
			s.broken = true
			p.breakOff(r, position, s, err)
			break
		}
		p.count(b)
		s.next, s.end, s.maxTime = b.NextOffset(), r.position, max(s.maxTime, b.MaxTimestamp())
		for _, check := range checks {
			check.batch(b, position, s)
		}
	}
	for _, check := range checks {
		check.end(s)
	}
	return s
}

// count adds a batch to the report.
func (p *partition) count(b record.Batch) {
	p.report.Batches++
	p.report.Bytes += int64(len(b))
	if !b.IsControl() {
		p.report.Records += int64(b.Count())
	}
}

// checkInSegment checks a batch by itself and against those before it.
func (p *partition) checkInSegment(b record.Batch, s *segmentState, path string) error {
	if b.BaseOffset() < s.next {
		return fmt.Errorf("a batch has base offset %d, but %d is the next", b.BaseOffset(), s.next)
	}
	if err := checkBatch(b); err != nil {
		return err
	}
	if p.metadata && !b.IsControl() {
		return checkMetadata(b, func(t metadata.Type) {
			p.report.note(path, fmt.Sprintf("it holds metadata records of type %s, which is not known here", t))
		})
	}
	if p.groups && !b.IsControl() {
		return checkGroups(b, func(what string) {
			p.report.note(path, "it holds records of groups of type"+what+", which is not known here")
		})
	}
	return nil
}

// checkMetadata decodes the metadata records of a batch.
func checkMetadata(b record.Batch, unknown func(metadata.Type)) error {
	records := b.Records()
	defer records.Close()
	for r, ok := records.Next(); ok; r, ok = records.Next() {
		_, err := metadata.Decode(r.Value)
		var u *metadata.UnknownError
		if errors.As(err, &u) {
			unknown(u.Type)
		} else if err != nil {
			return fmt.Errorf("offset %d: %w", r.Offset, err)
		}
	}
	return records.Err()
}

// breakOff reports where the walk ended early: as damage, or as a tail that the next start cuts.
func (p *partition) breakOff(r *batches, position int64, s *segmentState, err error) {
	torn := errors.Is(err, errTorn) || !r.wholeBatchAfter(position, s.next)
	if torn && p.forgiven(s.next) {
		p.report.note(r.path, fmt.Sprintf("position %d: %v; there was no clean shutdown, the next start cuts it off",
			position, err))
		return
	}
	d := damaged(r.path, position, "%v", err)
	if point, ok := p.recovery[p.name]; ok && s.next < point {
		d.Reason += fmt.Sprintf("; offsets %d to %d had been flushed", s.next, point-1)
	} else if !torn {
		d.Reason += "; a whole batch follows, so this is no torn end"
	}
	p.report.damage(d)
}

// checksOf opens the files beside a segment's log.
func (p *partition) checksOf(base kafka.Offset) []segmentCheck {
	var checks []segmentCheck
	open := func(suffix string, entryBytes int, make func(indexCheck) segmentCheck) {
		x, err := readIndex(p.segmentPath(base, suffix), entryBytes)
		if err == nil {
			err = x.leftOver()
		}
		if err != nil {
			if err := collect(p.report, err); err != nil {
				p.report.damage(damaged(p.segmentPath(base, suffix), 0, "%v", err))
			}
			return
		}
		checks = append(checks, make(indexCheck{p: p, x: x}))
	}
	open(".index", offsetEntryBytes, func(c indexCheck) segmentCheck { return &offsetIndexCheck{indexCheck: c} })
	open(".timeindex", timeEntryBytes, func(c indexCheck) segmentCheck { return &timeIndexCheck{indexCheck: c} })
	open(".txnindex", transactionEntryBytes,
		func(c indexCheck) segmentCheck { return &transactionIndexCheck{indexCheck: c} })
	if len(p.epochs) > 0 {
		checks = append(checks, &epochCheck{p: p, path: p.segmentPath(base, ".log")})
	}
	return checks
}

// verifyMetadataSnapshot checks a snapshot of the metadata: whole batches between a header and a footer, and records
// that decode.
func verifyMetadataSnapshot(report *Report, path string) error {
	r, err := openBatches(path)
	if err != nil {
		return collect(report, err)
	}
	defer r.close()
	var first, last record.ControlType = -1, -1
	for {
		b, position, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = checkBatch(b)
		}
		if err == nil && !b.IsControl() {
			last = -1
			err = checkMetadata(b, func(t metadata.Type) {
				report.note(path, fmt.Sprintf("it holds metadata records of type %s, which is not known here", t))
			})
		} else if err == nil {
			if t := firstControl(b); position == 0 {
				first = t
			}
			last = lastControl(b)
		}
		if err != nil {
			report.damage(damaged(path, position, "%v", err))
			return nil
		}
	}
	if first != record.ControlSnapshotHeader || last != record.ControlSnapshotFooter {
		report.damage(damaged(path, r.position, "a snapshot has a header first and a footer last; one is missing"))
	}
	return nil
}

// firstControl is the type of the first control record of a batch, or -1.
func firstControl(b record.Batch) record.ControlType {
	records := b.Records()
	defer records.Close()
	if r, ok := records.Next(); ok {
		if t, err := r.ControlType(); err == nil {
			return t
		}
	}
	return -1
}

// lastControl is the type of the last control record of a batch, or -1.
func lastControl(b record.Batch) record.ControlType {
	last := record.ControlType(-1)
	records := b.Records()
	for r, ok := records.Next(); ok; r, ok = records.Next() {
		if t, err := r.ControlType(); err == nil {
			last = t
		}
	}
	return last
}
