package record

import (
	"encoding/binary"
	"fmt"
	"math"

	"spate/internal/invariant"
	"spate/kafka"
)

// StringBytesMax is the length of the longest string that fits into a key, or into the value of a classic group: those
// have 16-bit lengths. Who makes records of strings that clients choose has to refuse longer ones before.
const StringBytesMax = math.MaxInt16

// The appenders. Keys and older values have lengths of a fixed width with -1 for null; flexible values have lengths as
// unsigned varints of length+1 with 0 for null, and end in tagged fields.

func appendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }
func appendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }
func appendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

func appendFixedString(dst []byte, s string) []byte {
	invariant.Check(len(s) <= StringBytesMax, "a string of %d bytes does not fit into the record", len(s))
	return append(appendInt16(dst, int16(len(s))), s...)
}

func appendNullableFixedString(dst []byte, s *string) []byte {
	if s == nil {
		return appendInt16(dst, -1)
	}
	return appendFixedString(dst, *s)
}

func appendFixedBytes(dst []byte, b []byte) []byte {
	return append(appendInt32(dst, int32(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))+1), s...)
}

func appendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, 0)
	}
	return appendString(dst, *s)
}

func appendBytes(dst []byte, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))+1), b...)
}

// appendLength starts an array of n elements.
func appendLength(dst []byte, n int) []byte { return binary.AppendUvarint(dst, uint64(n)+1) }

func appendStrings(dst []byte, list []string) []byte {
	dst = appendLength(dst, len(list))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

func appendInt32s(dst []byte, list []int32) []byte {
	dst = appendLength(dst, len(list))
	for _, v := range list {
		dst = appendInt32(dst, v)
	}
	return dst
}

// appendTag appends the only tagged field of a body, which has number 0.
func appendTag(dst []byte, value []byte) []byte {
	dst = append(dst, 1, 0)
	return append(binary.AppendUvarint(dst, uint64(len(value))), value...)
}

// appendNoTags ends a body that has no tagged field.
func appendNoTags(dst []byte) []byte { return append(dst, 0) }

// reader takes fields off the front of buf. The first thing that is wrong sets reason, and all reads after it give
// zero values, so that a schema reads as a list of fields.
type reader struct {
	buf      []byte
	flexible bool // of the value's version: how lengths are written
	reason   string
	strings  *Decoder // where the strings that repeat are kept; nil: nowhere
}

func (r *reader) fail(format string, args ...any) {
	if r.reason == "" {
		r.reason = fmt.Sprintf(format, args...)
	}
	r.buf = nil
}

// take gives the next n bytes as a view, nil if they are not there.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.buf) {
		r.fail("%d bytes are wanted where %d are left", n, len(r.buf))
		return nil
	}
	b := r.buf[:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) uvarint() uint32 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 || n > binary.MaxVarintLen32 || v > math.MaxUint32 {
		r.fail("an unsigned varint is cut short or too long")
		return 0
	}
	r.buf = r.buf[n:]
	return uint32(v)
}

func (r *reader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *reader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) uuid() (u kafka.UUID) {
	copy(u[:], r.take(len(u)))
	return u
}

// count checks a length that was read, -1 for null, against what is left before anything is allocated for it.
func (r *reader) count(n int64, elementBytes int) int {
	if n < -1 || n > int64(len(r.buf)/elementBytes) {
		r.fail("%d elements of %d bytes are wanted where %d bytes are left", n, elementBytes, len(r.buf))
		return 0
	}
	return int(n)
}

// array reads the length of an array whose elements take at least elementBytes each; it is never null.
func (r *reader) array(elementBytes int) int {
	var n int64
	if r.flexible {
		n = int64(r.uvarint()) - 1
	} else {
		n = int64(r.int32())
	}
	return r.present(r.count(n, elementBytes))
}

// stringLength reads the length of a string, -1 for null.
func (r *reader) stringLength() int {
	if r.flexible {
		return r.count(int64(r.uvarint())-1, 1)
	}
	return r.count(int64(r.int16()), 1)
}

func (r *reader) present(n int) int {
	if n < 0 {
		r.fail("a field that is never null is null")
		return 0
	}
	return n
}

func (r *reader) string() string { return string(r.take(r.present(r.stringLength()))) }

// repeated is string for one of the few strings that most records share.
func (r *reader) repeated() string {
	b := r.take(r.present(r.stringLength()))
	if r.strings == nil {
		return string(b)
	}
	return r.strings.intern(b)
}

func (r *reader) nullableString() *string {
	n := r.stringLength()
	if n < 0 || r.reason != "" {
		return nil
	}
	s := string(r.take(n))
	return &s
}

// bytes reads a copy; what is empty is nil.
func (r *reader) bytes() []byte { return append([]byte(nil), r.take(r.array(1))...) }

// list reads an array of elements of at least elementBytes each; an empty one is nil.
func list[E any](r *reader, elementBytes int, element func(*reader) E) []E {
	n := r.array(elementBytes)
	if n == 0 {
		return nil
	}
	elements := make([]E, 0, n)
	for range n {
		elements = append(elements, element(r))
		if r.reason != "" {
			return nil
		}
	}
	return elements
}

// tags reads the tagged fields that end a body of a flexible version. field reads the value of the tag that it knows,
// number 0; the fields of later releases are skipped, as Kafka's rule for tagged fields has it.
func (r *reader) tags(field func(value *reader)) {
	if !r.flexible {
		return
	}
	previous := int64(-1)
	for range r.uvarint() {
		tag := r.uvarint()
		value := r.take(int(r.uvarint()))
		if r.reason != "" {
			return
		}
		if int64(tag) <= previous {
			r.fail("tag %d follows tag %d", tag, previous)
			return
		}
		previous = int64(tag)
		if tag == 0 && field != nil {
			r.inside(value, field)
		}
	}
}

// inside reads the value of a tagged field, which has to be read to its end.
func (r *reader) inside(value []byte, field func(value *reader)) {
	after := r.buf
	r.buf = value
	field(r)
	if r.reason == "" && len(r.buf) > 0 {
		r.fail("%d bytes follow the value of a tagged field", len(r.buf))
	}
	if r.reason == "" {
		r.buf = after
	}
}

// noTags is tags for a schema that has none.
func (r *reader) noTags() { r.tags(nil) }
