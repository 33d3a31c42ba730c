package partition

import (
	"errors"
	"fmt"

	"spate/kafka"
	"spate/segment"
)

// ReadResult is a range of whole batches in one segment. It holds a reference on the segment: Release it exactly once.
// The zero ReadResult is empty and need not be released.
type ReadResult struct {
	found      segment.Range
	NextOffset kafka.Offset // where the next read goes on; the offset asked for when nothing was found
}

// Bytes is the range in the segment's mapping. Touching it may fault a page in from the disk.
func (r *ReadResult) Bytes() []byte {
	if r.found.Length == 0 {
		return nil
	}
	return r.found.Bytes()
}

// FD is the descriptor of the segment file for sendfile, or -1.
func (r *ReadResult) FD() int {
	if r.found.Length == 0 {
		return -1
	}
	return r.found.FD()
}

// Position is the range's place in that file.
func (r *ReadResult) Position() kafka.Position { return r.found.Position }

// Warm says that the range is known to be in memory. What is not known to be may be there all the same.
func (r *ReadResult) Warm() bool { return r.found.Warm() }

// Length is the number of bytes, 0 when there was nothing to read.
func (r *ReadResult) Length() int { return r.found.Length }

// Release gives the reference back.
func (r *ReadResult) Release() {
	if r.found.Length > 0 {
		r.found.Release()
		r.found = segment.Range{}
	}
}

// Read finds the batch that holds offset, or the next one, and gives whole batches from there: up to bytesMax, at least
// one if minOne, none that starts at or past end (the high watermark, the last stable offset or the log end offset, as
// the reader may see). An offset below the log start offset or past the log end offset is OFFSET_OUT_OF_RANGE.
// Reading ends at the end of a segment: a short result does not mean that there is no more.
func (l *Log) Read(offset kafka.Offset, bytesMax int, minOne bool, end kafka.Offset) (ReadResult, error) {
	return l.read(offset, bytesMax, minOne, end, nil)
}

// ReadCommitted is Read for a reader that leaves out what was aborted: it appends to aborted the transactions with
// records in what it gives. end is the last stable offset.
func (l *Log) ReadCommitted(offset kafka.Offset, bytesMax int, minOne bool, end kafka.Offset,
	aborted *[]AbortedTransaction) (ReadResult, error) {
	return l.read(offset, bytesMax, minOne, end, aborted)
}

func (l *Log) read(offset kafka.Offset, bytesMax int, minOne bool, end kafka.Offset, aborted *[]AbortedTransaction) (
	ReadResult, error) {
	if err := l.dir.offline(); err != nil {
		return ReadResult{}, err
	}
	for {
		logEnd := l.logEnd.load() // before the segments: they hold at least so much
		if offset < l.logStart.load() || offset > logEnd {
			return ReadResult{}, l.outOfRange(offset)
		}
		end := min(end, logEnd)
		if offset >= end {
			return ReadResult{NextOffset: offset}, nil
		}
		list := *l.segments.Load()
		found, err := readFrom(list, offset, bytesMax, minOne, end)
		if err == nil && found.Length > 0 && aborted != nil {
			// Of the same segments: where one was replaced meanwhile, by compaction or retention, what was aborted is
			// not known any more, although the range that was found still has it.
			first := len(*aborted)
			if *aborted, err = l.abortedIn(list[find(list, offset):], *aborted, offset, found.NextOffset); err != nil {
				*aborted = (*aborted)[:first]
				found.Release()
			}
		}
		if l.replaced(list, err) {
			continue
		}
		if err != nil {
			return ReadResult{}, l.readError(err)
		}
		if found.Length == 0 {
			if offset < l.logStart.load() { // retention took all up to end meanwhile
				return ReadResult{}, l.outOfRange(offset)
			}
			return ReadResult{NextOffset: offset}, nil
		}
		return ReadResult{found: found, NextOffset: found.NextOffset}, nil
	}
}

// replaced says whether err means only that retention or truncation replaced the segments while a reader used list.
func (l *Log) replaced(list []*segment.Segment, err error) bool {
	return errors.Is(err, segment.ErrClosed) && &list[0] != &(*l.segments.Load())[0]
}

// readFrom reads from the segment that holds offset, or where that ends before it, from one of the next.
func readFrom(list []*segment.Segment, offset kafka.Offset, bytesMax int, minOne bool, end kafka.Offset) (
	segment.Range, error) {
	for _, s := range list[find(list, offset):] {
		if s.BaseOffset() >= end {
			break
		}
		found, err := s.Read(max(offset, s.BaseOffset()), bytesMax, minOne, end)
		if err != nil || found.Length > 0 {
			return found, err
		}
		if !minOne && s.NextOffset() > offset {
			break // there is a batch, but it does not fit
		}
	}
	return segment.Range{}, nil
}

func (l *Log) outOfRange(offset kafka.Offset) error {
	return fmt.Errorf("%w: offset %d of %s is not in [%d, %d]",
		kafka.OffsetOutOfRange, offset, l.tp, l.logStart.load(), l.logEnd.load())
}

// readError is what a reader is told: that the log is gone, or that its disk has failed, which ends the directory.
func (l *Log) readError(err error) error {
	if errors.Is(err, segment.ErrClosed) && l.leaving.Load() == nil {
		return errClosed
	}
	l.append.Lock() // waits for the end of a move: then it is known where the log is now
	gone := l.gone
	l.append.Unlock()
	if gone != nil {
		return gone // its files have other names by now
	}
	return l.storageError(err)
}

// Resident says whether a Read with these arguments finds its way touching only pages in memory, so that an event loop
// may call it; the bytes of the range themselves are not looked at. While the log changes its directory, it does not: a
// Read may wait for the end of that.
func (l *Log) Resident(offset kafka.Offset, bytesMax int, end kafka.Offset) bool {
	if l.swapping.Load() {
		return false
	}
	list := *l.segments.Load()
	return list[find(list, offset)].Resident(offset, bytesMax, min(end, l.logEnd.load()))
}
