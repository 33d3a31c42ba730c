package record

import "spate/kafka"

// Outline is a record without its bytes.
type Outline struct {
	TimestampDelta int64
	OffsetDelta    int32
	KeyBytes       int32 // -1 is null
	ValueBytes     int32 // -1 is null
	Offset         kafka.Offset
	Timestamp      kafka.Timestamp // the batch's under LogAppendTime
}

// Skimmer gives the outlines of the records of one batch in order. Unlike an Iterator it never holds a record, so that
// its memory does not depend on what a compressed batch holds; it makes the same checks.
type Skimmer struct{ Iterator }

// Skim begins an iteration over the outlines.
func (b Batch) Skim() Skimmer { return Skimmer{b.Records()} }

// Next gives the next outline, or false after the last one and after an error.
func (it *Skimmer) Next() (Outline, bool) {
	if it.stream == nil || it.index >= it.count {
		if _, ok := it.advance(); !ok {
			return Outline{}, false
		}
	} else if !it.step(it.stream.outline(&it.shape)) {
		return Outline{}, false
	}
	s := &it.shape
	return Outline{
		TimestampDelta: s.timestampDelta, OffsetDelta: s.offsetDelta,
		KeyBytes: s.key.bytes(), ValueBytes: s.value.bytes(),
		Offset: it.base + kafka.Offset(s.offsetDelta), Timestamp: it.timestamp(s.timestampDelta),
	}, true
}

// outline reads one record from the stream and drops its bytes on the way; the spans in o have only their length.
func (s *stream) outline(o *shape) error {
	n, _, err := s.varint()
	if err != nil {
		return err
	}
	if err := checkRecordLength(n); err != nil {
		return err
	}
	if int(n) <= len(s.window) { // it can lie there whole, which is the quicker way
		return s.smallOutline(o, int(n))
	}
	f := fields{stream: s, left: int(n)}
	f.skip(1) // attributes
	o.timestampDelta = f.varlong()
	o.offsetDelta = f.varint()
	o.key = f.nullable()
	o.value = f.nullable()
	f.skipHeaders()
	if f.err == nil && f.left != 0 {
		f.err = errFields
	}
	return f.err
}

func (s *stream) smallOutline(o *shape, n int) error {
	if err := s.fill(n); err != nil {
		return err
	}
	if reason := o.parse(s.window[s.r : s.r+n]); reason != "" {
		return invalid(kafka.InvalidRecord, "%s", reason)
	}
	s.r += n
	return nil
}

// fields reads the fields of one record of a stream, left bytes of which are to come; after an error it gives zeros.
type fields struct {
	stream *stream
	left   int
	err    error
}

var errFields = invalid(kafka.InvalidRecord, "a record is longer or shorter than its fields")

func (f *fields) varint() int32 {
	if f.err != nil {
		return 0
	}
	n, size, err := f.stream.varint()
	f.took(size, err)
	return n
}

func (f *fields) varlong() int64 {
	if f.err != nil {
		return 0
	}
	n, size, err := f.stream.varlong()
	f.took(size, err)
	return n
}

// nullable skips over a length and as many bytes.
func (f *fields) nullable() span {
	n := f.varint()
	if n < 0 {
		return span{-1, -1}
	}
	f.skip(int(n))
	return span{0, int(n)}
}

func (f *fields) skip(n int) {
	if f.err != nil {
		return
	}
	if n > f.left {
		f.err = errFields
		return
	}
	f.took(n, f.stream.skip(n))
}

// took charges n bytes to the record.
func (f *fields) took(n int, err error) {
	f.left -= n
	f.err = err
	if err == nil && f.left < 0 {
		f.err = errFields
	}
}

func (f *fields) skipHeaders() {
	count := f.varint()
	if f.err == nil && (count < 0 || int(count) > f.left) {
		f.err = invalid(kafka.InvalidRecord, "the number of headers of a record is wrong")
	}
	for ; count > 0 && f.err == nil; count-- {
		if key := f.nullable(); f.err == nil && key.start < 0 {
			f.err = invalid(kafka.InvalidRecord, "a header has no key")
		}
		f.nullable()
	}
}
