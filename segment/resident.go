package segment

import (
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// lookAheadBytes is how much is asked about at a time: what a consumer fetches of a partition at most, by default.
const lookAheadBytes = 1 << 20

// Resident says whether a Read with these arguments finds its way without waiting for a disk. Whether the bytes that
// it gives are in memory, too, Range.Warm may know. An event loop calls it before Read and leaves the reading to a
// worker when it is false.
func (s *Segment) Resident(offset kafka.Offset, bytesMax int, end kafka.Offset) bool {
	b := s.body.Load()
	if b == nil || s.nothingAt(offset, end) {
		return true // Read says so at once
	}
	if !b.acquire() {
		return false // its file is closed, or a truncation replaces it
	}
	defer b.release()
	size, relative := unpack(b.end.Load())
	next := s.base + kafka.Offset(relative)
	if size == 0 || offset >= next || offset >= end {
		return true
	}
	m := b.mapping.Load()
	if m == nil || size > int64(len(m.bytes)) || !b.warm.recent() && !b.offsets.Resident() {
		return false
	}
	f, err := s.finder(b, size)
	if err != nil {
		return true
	}
	resident := false
	err = vfs.Guard(func() error {
		resident = f.resident(m, offset, bytesMax, end, next, b.flushed.Load())
		return nil
	})
	return resident && err == nil
}

// resident follows the steps of a read and asks about the pages of each before it takes it.
func (f *finder) resident(m *mapping, offset kafka.Offset, bytesMax int, end, next kafka.Offset, flushed uint64) bool {
	if !f.residentAround(m, f.offsets.Floor(int64(offset-f.base))) {
		return false
	}
	from, err := f.endingFrom(offset)
	if err != nil {
		return false // a worker shall find out what is wrong
	}
	if end < next {
		_, relative := unpack(flushed)
		if f.base+kafka.Offset(relative) != end && !f.residentAround(m, f.offsets.Floor(int64(end-1-f.base))) {
			return false
		}
	}
	budget := from.position + int64(max(bytesMax, 0))
	return budget >= int64(len(f.data)) || f.residentAround(m, f.offsets.FloorPosition(budget))
}

// residentAround says whether the log is in memory from the i-th index entry up to the header that the one after it
// points to.
func (f *finder) residentAround(m *mapping, i int) bool {
	from, to := int64(0), int64(len(f.data))
	if i >= 0 {
		if from = int64(f.offsets.At(i).Position); from < 0 || from >= to {
			return false // the index is wrong, as a worker shall find out
		}
	}
	if i+1 < f.offsets.Len() {
		to = min(to, int64(f.offsets.At(i+1).Position)+record.HeaderBytes)
	}
	return f.body.inMemory(m, from, to, int64(len(f.data)))
}

// inMemory says whether the log is from one position to another. What comes next of its size bytes is asked about in
// the same breath, so that the next of those who read on need not ask.
func (b *body) inMemory(m *mapping, from, to, size int64) bool {
	if b.warm.has(from, to) {
		return true
	}
	if b.warm.clock != nil {
		if ahead := max(to, min(from+lookAheadBytes, size)); m.Resident(from, ahead-from) {
			b.warm.note(from, ahead)
			return true
		}
	}
	return m.Resident(from, to-from)
}
