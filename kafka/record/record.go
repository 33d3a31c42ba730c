package record

import "spate/kafka"

// Record is one record of a batch. Key, Value and the headers are views, valid until the Iterator goes on.
type Record struct {
	Attributes     int8  // unused by every version so far
	TimestampDelta int64 // from the batch's base timestamp
	OffsetDelta    int32 // from the batch's base offset
	Offset         kafka.Offset
	Timestamp      kafka.Timestamp // the batch's under LogAppendTime
	Key            []byte          // nil is null
	Value          []byte          // nil is null
	HeaderCount    int
	headers        []byte // encoded, checked
}

// Header is one header of a record.
type Header struct {
	Key   []byte // never null
	Value []byte // nil is null
}

// Headers iterates over the headers of the record.
func (r *Record) Headers() HeaderIterator {
	return HeaderIterator{rest: r.headers, left: r.HeaderCount}
}

// HeaderIterator gives the headers of one record in order.
type HeaderIterator struct {
	rest []byte
	left int
}

// Next gives the next header, or false after the last.
func (it *HeaderIterator) Next() (Header, bool) {
	if it.left == 0 {
		return Header{}, false
	}
	it.left--
	key, at := nullable(it.rest, 0)
	value, at := nullable(it.rest, at)
	h := Header{Key: key.of(it.rest), Value: value.of(it.rest)}
	it.rest = it.rest[at:]
	return h, true
}

// shape is where the fields of a record lie in its body.
type shape struct {
	timestampDelta int64
	offsetDelta    int32
	headerCount    int32
	key, value     span
	headers        int // where the first one begins
}

// span is a range of bytes; null where the start is negative.
type span struct{ start, end int }

// of cuts the range out of b.
func (s span) of(b []byte) []byte {
	if s.start < 0 {
		return nil
	}
	return b[s.start:s.end:s.end]
}

// bytes is the length of the range, -1 for null.
func (s span) bytes() int32 {
	if s.start < 0 {
		return -1
	}
	return int32(s.end - s.start)
}

// parse reads the body of a record, what follows its length, and gives what is wrong with it, or "". It allocates
// nothing and checks everything, headers too, so that HeaderIterator need not.
func (s *shape) parse(body []byte) string {
	if len(body) == 0 {
		return "a record has no bytes"
	}
	var at int
	if s.timestampDelta, at = varlong(body, 1); at < 0 {
		return "the timestamp delta of a record is cut short"
	}
	if s.offsetDelta, at = varint(body, at); at < 0 {
		return "the offset delta of a record is cut short"
	}
	if s.key, at = nullable(body, at); at < 0 {
		return "the key of a record is cut short"
	}
	if s.value, at = nullable(body, at); at < 0 {
		return "the value of a record is cut short"
	}
	if s.headerCount, at = varint(body, at); at < 0 || s.headerCount < 0 || int(s.headerCount) > len(body)-at {
		return "the number of headers of a record is wrong"
	}
	s.headers = at
	if s.headerCount > 0 {
		at = skipHeaders(body, at, int(s.headerCount))
	}
	if at != len(body) {
		return "a record is longer or shorter than its fields"
	}
	return ""
}

// skipHeaders gives the position after n headers, negative if they are malformed.
func skipHeaders(b []byte, at, n int) int {
	for range n {
		key, next := nullable(b, at)
		if next < 0 || key.start < 0 {
			return -1
		}
		if _, at = nullable(b, next); at < 0 {
			return -1
		}
	}
	return at
}

// nullable reads a length and as many bytes; a negative length stands for null, as Kafka reads it. The position
// after them is negative if they are not all there.
func nullable(b []byte, at int) (span, int) {
	n, at := varint(b, at)
	if at < 0 || int(n) > len(b)-at {
		return span{-1, -1}, -1
	}
	if n < 0 {
		return span{-1, -1}, at
	}
	return span{at, at + int(n)}, at + int(n)
}
