package segment

import (
	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// Range is a run of whole batches in one segment. One that is not empty keeps the file open and mapped until it is
// released, exactly once. Copies share the one reference.
type Range struct {
	Segment    *Segment
	Position   kafka.Position
	Length     int          // bytes, 0 of an empty range
	NextOffset kafka.Offset // where to read on; in an empty range the offset that was asked for
	body       *body
	bytes      []byte
}

// Bytes is the range in the mapping. Touching it may wait for the disk, and faults if that fails: Each, or vfs.Guard,
// turns that into an error.
func (r *Range) Bytes() []byte { return r.bytes }

// FD is the descriptor of the log file, for sendfile from Position on, or -1 where there is none.
func (r *Range) FD() int {
	if r.body == nil {
		return -1
	}
	return r.body.file.FD()
}

// Warm says that the range is known to be in memory, because it was written or asked about a moment ago.
func (r *Range) Warm() bool {
	return r.body != nil && r.body.warm.has(int64(r.Position), int64(r.Position)+int64(r.Length))
}

// Each visits the batches of the range in order. The bytes are the visitor's only during the call.
func (r *Range) Each(visit func(record.Batch) error) error {
	return vfs.Guard(func() error {
		for rest := r.bytes; len(rest) > 0; {
			b, after, err := record.Next(rest)
			if err != nil {
				return r.Segment.corrupt(int64(r.Position)+int64(r.Length-len(rest)), err.Error())
			}
			if err := visit(b); err != nil {
				return err
			}
			rest = after
		}
		return nil
	})
}

// Release gives the reference back; the range is empty from then on.
func (r *Range) Release() {
	if b := r.body; b != nil {
		r.body, r.bytes, r.Length = nil, nil, 0
		b.release()
	}
}

// Read finds the batch that holds offset, or the next one, and gives whole batches from there: up to bytesMax, at
// least one if minOne, none that begins at or past end. An offset at or past end finds nothing. It takes no lock and
// allocates nothing in the steady state. It may wait for the disk unless Resident says otherwise.
func (s *Segment) Read(offset kafka.Offset, bytesMax int, minOne bool, end kafka.Offset) (Range, error) {
	if s.nothingAt(offset, end) {
		return Range{NextOffset: offset}, nil // an idle segment's file stays closed
	}
	b, err := s.acquire()
	if err != nil {
		return Range{NextOffset: offset}, err
	}
	r, err := s.read(b, offset, bytesMax, minOne, end)
	if err == index.ErrUnusable {
		if err = s.rebuildForReader(b); err == nil {
			r, err = s.read(b, offset, bytesMax, minOne, end)
		}
	}
	if err != nil || r.Length == 0 {
		b.release()
		return Range{NextOffset: offset}, err
	}
	r.Segment, r.body = s, b
	return r, nil
}

// nothingAt says whether a read from offset to end finds nothing. A closed segment says so itself.
func (s *Segment) nothingAt(offset, end kafka.Offset) bool {
	b := s.body.Load()
	if b == nil {
		return false
	}
	size, relative := unpack(b.end.Load())
	return size == 0 || offset >= s.base+kafka.Offset(relative) || offset >= end
}

// rebuildForReader makes indexes anew that a reader found wrong.
func (s *Segment) rebuildForReader(b *body) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mend(b)
}

// mend makes the indexes of a sealed segment anew. Those of a live one were made from batches that passed through here:
// then it is the log that changed, and a walk says where. The caller holds mu.
func (s *Segment) mend(b *body) error {
	if !b.live() {
		return s.rebuild(b)
	}
	data, err := s.published(b)
	if err != nil {
		return err
	}
	return vfs.Guard(func() error {
		t := newTally(s.base, s.options.IndexIntervalBytes)
		_, err := s.walk(&t, data, 0)
		return err
	})
}

func (s *Segment) read(b *body, offset kafka.Offset, bytesMax int, minOne bool, end kafka.Offset) (r Range, err error) {
	r.NextOffset = offset
	size, relative := unpack(b.end.Load())
	next := s.base + kafka.Offset(relative)
	if size == 0 || offset >= next || offset >= end {
		return r, nil
	}
	f, err := s.finder(b, size)
	if err != nil {
		return r, err
	}
	err = vfs.Guard(func() error {
		from, err := f.endingFrom(offset)
		if err != nil {
			return err
		}
		to := place{size, next}
		if end < next {
			if to, err = f.beginningFrom(end, from, b.flushed.Load()); err != nil {
				return err
			}
		}
		if to.position-from.position > int64(bytesMax) {
			if to, err = f.fitting(from, to, bytesMax, minOne); err != nil {
				return err
			}
		}
		if to.position > from.position {
			r.Position, r.Length = kafka.Position(from.position), int(to.position-from.position)
			r.NextOffset = to.offset
			r.bytes = f.data[from.position:to.position:to.position]
		}
		return nil
	})
	return r, err
}

// finder looks for batches in the published bytes of a segment.
type finder struct {
	base    kafka.Offset
	data    []byte
	offsets index.Offsets
	segment *Segment
	body    *body
}

// place is where a batch begins, or the end of the data, and the first offset from there on.
type place struct {
	position int64
	offset   kafka.Offset
}

func (s *Segment) finder(b *body, size int64) (finder, error) {
	data, err := b.mapped(size, s.limit.Load())
	if err != nil {
		return finder{}, err
	}
	offsets, err := b.offsets.View()
	return finder{base: s.base, data: data, offsets: offsets, segment: s, body: b}, err
}

// at is the batch that begins at position. Published bytes that hold none are corrupt.
func (f *finder) at(position int64) (record.Batch, error) {
	b, _, err := record.Next(f.data[position:])
	if err != nil {
		return nil, f.segment.corrupt(position, err.Error())
	}
	return b, nil
}

// start is where to begin a scan for offset: at the batch of the last index entry at or below it, or at the beginning.
func (f *finder) start(offset kafka.Offset) (int64, error) {
	i := f.offsets.Floor(int64(offset - f.base))
	if i < 0 {
		return 0, nil
	}
	return f.entry(i)
}

// entry is the position of the i-th index entry, once it is seen that the batch there is the one it means.
func (f *finder) entry(i int) (int64, error) {
	e := f.offsets.At(i)
	if !f.segment.pointsTo(f.data, e) {
		return 0, index.ErrUnusable
	}
	return int64(e.Position), nil
}

// endingFrom finds the first batch whose last offset is at least offset. There is one.
func (f *finder) endingFrom(offset kafka.Offset) (place, error) {
	position, err := f.start(offset)
	if err != nil {
		return place{}, err
	}
	for {
		b, err := f.at(position)
		if err != nil {
			return place{}, err
		}
		if b.LastOffset() >= offset {
			return place{position, b.BaseOffset()}, nil
		}
		position += int64(len(b))
	}
}

// beginningFrom finds the first batch at or behind from whose base offset is at least end, or the end of the data.
// flushed, a place that readers often stop at, spares the search.
func (f *finder) beginningFrom(end kafka.Offset, from place, flushed uint64) (place, error) {
	if position, relative := unpack(flushed); f.base+kafka.Offset(relative) == end && position <= int64(len(f.data)) {
		return place{max(position, from.position), end}, nil
	}
	position, err := f.start(end - 1)
	if err != nil {
		return place{}, err
	}
	here := place{max(position, from.position), end}
	for here.position < int64(len(f.data)) {
		b, err := f.at(here.position)
		if err != nil {
			return place{}, err
		}
		if b.BaseOffset() >= end {
			return place{here.position, b.BaseOffset()}, nil
		}
		here = place{here.position + int64(len(b)), max(end, b.NextOffset())}
	}
	return here, nil
}

// fitting finds the last batch boundary that is at most bytesMax behind from, or the first one if minOne and none is.
func (f *finder) fitting(from, to place, bytesMax int, minOne bool) (place, error) {
	budget := from.position + int64(max(bytesMax, 0))
	here := from
	if i := f.offsets.FloorPosition(budget); i >= 0 {
		position, err := f.entry(i)
		if err != nil {
			return place{}, err
		}
		here.position = max(position, from.position)
	}
	for here.position < to.position {
		b, err := f.at(here.position)
		if err != nil {
			return place{}, err
		}
		here.offset = b.BaseOffset()
		after := place{here.position + int64(len(b)), b.NextOffset()}
		if after.position > budget {
			if here.position == from.position && minOne {
				return after, nil
			}
			return here, nil
		}
		here = after
	}
	return to, nil
}

// Each visits every batch that ends at or past from, in order, up to the present end. The bytes are the visitor's only
// during the call.
func (s *Segment) Each(from kafka.Offset, visit func(record.Batch) error) error {
	size, next := int(s.Bytes()), s.NextOffset()
	r, err := s.Read(from, size, false, next)
	if err != nil {
		return err
	}
	defer r.Release()
	return r.Each(visit)
}
