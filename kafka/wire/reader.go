package wire

import (
	"encoding/binary"

	"spate/kafka"
)

// elementsMax bounds the array elements of one request, all of its arrays together. The largest cluster that Kafka is
// run as has some 200,000 partitions; a request over each of them stays five times below. An element takes at most some
// 100 bytes once decoded, so that one request, whatever it claims, costs 100 MiB at most.
const elementsMax = 1 << 20

// elementsKept is the capacity beyond which the slices of a request value are not kept for the next request.
const elementsKept = 1 << 12

// What can be wrong with a frame.
const (
	cutShort     = "the frame ends inside the field"
	longVarint   = "a varint of more than 32 bits"
	manyTags     = "more tagged fields than the frame can hold"
	wrongSize    = "a tagged field whose size is not that of its value"
	nullField    = "null where the field must have a value"
	longString   = "a string of more than 32767 bytes"
	shortArray   = "an array of more elements than the frame can hold"
	badPresence  = "neither null nor a structure"
	manyElements = "more array elements than a request may have"
)

// reader walks a frame. The first fault sticks: from then on every read gives zero, and ok is false.
type reader struct {
	src      []byte
	pos      int  // 0 <= pos <= len(src)
	flexible bool // compact lengths and tagged fields (KIP-482)
	elements int  // array elements announced so far, <= elementsMax

	reason string // why reading failed, "" while all is well
	field  string // the field that failed, where its name is known
	fault  int    // where reading failed
}

func (r *reader) ok() bool { return r.reason == "" }

func (r *reader) fail(reason string) {
	if r.reason == "" {
		r.reason, r.fault = reason, r.pos
		r.pos = len(r.src)
	}
}

func (r *reader) error(key, version int16) error {
	return &DecodeError{Key: key, Version: version, Position: r.fault, Field: r.field, Reason: r.reason}
}

// end gives the error of reading a request's body: a *DecodeError for a fault, or a *LeftOverError.
func (r *reader) end(key, version int16) error {
	switch {
	case !r.ok():
		return r.error(key, version)
	case r.left() > 0:
		return &LeftOverError{key, version, r.left()}
	}
	return nil
}

func (r *reader) left() int { return len(r.src) - r.pos }

func (r *reader) rest() []byte { return r.src[r.pos:] }

func (r *reader) int8() int8 {
	if r.left() < 1 {
		r.fail(cutShort)
		return 0
	}
	v := int8(r.src[r.pos])
	r.pos++
	return v
}

func (r *reader) int16() int16 {
	if r.left() < 2 {
		r.fail(cutShort)
		return 0
	}
	v := int16(binary.BigEndian.Uint16(r.src[r.pos:]))
	r.pos += 2
	return v
}

func (r *reader) int32() int32 {
	if r.left() < 4 {
		r.fail(cutShort)
		return 0
	}
	v := int32(binary.BigEndian.Uint32(r.src[r.pos:]))
	r.pos += 4
	return v
}

func (r *reader) int64() int64 {
	if r.left() < 8 {
		r.fail(cutShort)
		return 0
	}
	v := int64(binary.BigEndian.Uint64(r.src[r.pos:]))
	r.pos += 8
	return v
}

func (r *reader) uuid() (u kafka.UUID) {
	copy(u[:], r.span(len(u)))
	return u
}

// uvarint is at most five bytes long, and the fifth holds the top four bits of 32.
func (r *reader) uvarint() uint32 {
	var v uint32
	for shift := 0; shift <= 28; shift += 7 {
		if r.left() < 1 {
			r.fail(cutShort)
			return 0
		}
		b := r.src[r.pos]
		if shift == 28 && b > 0x0f {
			break
		}
		r.pos++
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.fail(longVarint)
	return 0
}

// span takes n bytes; the view's capacity ends with it, so that nobody appends into the frame.
func (r *reader) span(n int) []byte {
	if n < 0 || r.left() < n {
		r.fail(cutShort)
		return nil
	}
	v := r.src[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return v
}

// lengthNull stands for the null of a string, of bytes and of an array. Kafka reads every negative length so.
const lengthNull = -1

// length reads the length of bytes or the count of an array.
func (r *reader) length() int {
	var n int
	if r.flexible {
		n = int(r.uvarint()) - 1
	} else {
		n = int(r.int32())
	}
	if n < 0 || !r.ok() {
		return lengthNull
	}
	return n
}

// stringLength reads the length of a string.
func (r *reader) stringLength() int {
	if r.flexible {
		return r.length()
	}
	n := r.int16()
	if n < 0 || !r.ok() {
		return lengthNull
	}
	return int(n)
}

// string reads a string that must not be null.
func (r *reader) string() []byte {
	s := r.nullableString()
	if s == nil {
		r.fail(nullField)
	}
	return s
}

// nullableString reads a string: nil for null. As in Kafka, a string is no longer than an int16 can say, in compact
// form too.
func (r *reader) nullableString() []byte {
	n := r.stringLength()
	if n == lengthNull {
		return nil
	}
	if n > 1<<15-1 {
		r.fail(longString)
		return nil
	}
	return r.span(n)
}

// nullableBytes reads bytes: nil for null.
func (r *reader) nullableBytes() []byte {
	n := r.length()
	if n == lengthNull {
		return nil
	}
	return r.span(n)
}

// array reads the count of an array that must not be null and whose elements take elementBytes at least. The count is
// held against the bytes that are left before anybody allocates for it.
func (r *reader) array(elementBytes int) int {
	n := r.nullableArray(elementBytes)
	if n == lengthNull {
		r.fail(nullField)
		return 0
	}
	return n
}

// nullableArray is array, with lengthNull for null.
func (r *reader) nullableArray(elementBytes int) int {
	n := r.length()
	switch {
	case n == lengthNull:
		return n
	case n > r.left()/elementBytes:
		r.fail(shortArray)
		return 0
	case n > elementsMax-r.elements:
		r.fail(manyElements)
		return 0
	}
	r.elements += n
	return n
}

// tags reads the number of tagged fields that follow; none before the flexible versions.
func (r *reader) tags() int {
	if !r.flexible {
		return 0
	}
	n := r.uvarint()
	if int64(n) > int64(r.left()/2) { // a tag and its size take two bytes at least
		r.fail(manyTags)
		return 0
	}
	return int(n)
}

// tag reads the number of a tagged field and checks that its value, of size bytes, is there.
func (r *reader) tag() (number uint32, size int) {
	number, size = r.uvarint(), int(r.uvarint())
	if r.left() < size {
		r.fail(cutShort)
		return 0, 0
	}
	return number, size
}

// skipTags passes over all tagged fields that follow.
func (r *reader) skipTags() {
	for n := r.tags(); n > 0; n-- {
		_, size := r.tag()
		r.span(size)
	}
}

// sealed ends a tagged field that was read here, which began at start: all of its size must have been read.
func (r *reader) sealed(start, size int) {
	if r.ok() && r.pos != start+size {
		r.fail(wrongSize)
	}
}
