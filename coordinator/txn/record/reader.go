package record

import (
	"encoding/binary"
	"fmt"
	"math"

	"spate/kafka"
)

// reader takes fields off the front of buf. The first thing that is wrong sets reason, and all reads after it give
// zero values, so that a schema reads as a list of fields.
type reader struct {
	buf      []byte
	flexible bool // how lengths are written
	reason   string
}

func (r *reader) fail(format string, args ...any) {
	if r.reason == "" {
		r.reason = fmt.Sprintf(format, args...)
	}
	r.buf = nil
}

// end wants nothing to be left.
func (r *reader) end() {
	if r.reason == "" && len(r.buf) > 0 {
		r.fail("%d bytes follow the fields", len(r.buf))
	}
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

// count checks a length, -1 for null, against what is left before anything is allocated for it.
func (r *reader) count(n int64, elementBytes int) int {
	if n < -1 || n > int64(len(r.buf)/elementBytes) {
		r.fail("%d elements of %d bytes are wanted where %d bytes are left", n, elementBytes, len(r.buf))
		return 0
	}
	return int(n)
}

// array reads the length of an array, -1 for null, whose elements take at least elementBytes each.
func (r *reader) array(elementBytes int) int {
	if r.flexible {
		return r.count(int64(r.uvarint())-1, elementBytes)
	}
	return r.count(int64(r.int32()), elementBytes)
}

func (r *reader) present(n int) int {
	if n < 0 {
		r.fail("a field that is never null is null")
		return 0
	}
	return n
}

func (r *reader) string() string {
	n := 0
	if r.flexible {
		n = r.count(int64(r.uvarint())-1, 1)
	} else {
		n = r.count(int64(r.int16()), 1)
	}
	return string(r.take(r.present(n)))
}

// topicBytesMin is what a topic takes at least: in a flexible version, a byte each for the name, the partitions and
// the tagged fields.
const topicBytesMin = 3

// topics reads the partitions of a transaction; null is none.
func (r *reader) topics() []Topic {
	n := r.array(topicBytesMin)
	if n <= 0 {
		return nil
	}
	topics := make([]Topic, 0, n)
	for range n {
		t := Topic{Name: r.string()}
		count := r.present(r.array(4))
		t.Partitions = make([]kafka.PartitionIndex, 0, count)
		for range count {
			t.Partitions = append(t.Partitions, kafka.PartitionIndex(r.int32()))
		}
		r.tags(func(_ uint32, field *reader) { field.buf = nil })
		if r.reason != "" {
			return nil
		}
		topics = append(topics, t)
	}
	return topics
}

// tags reads the tagged fields that end a body of a flexible version, in ascending order.
func (r *reader) tags(read func(tag uint32, field *reader)) {
	if !r.flexible {
		return
	}
	previous := int64(-1)
	for range r.uvarint() {
		tag := r.uvarint()
		field := reader{buf: r.take(int(r.uvarint())), flexible: true}
		if r.reason != "" {
			return
		}
		if int64(tag) <= previous {
			r.fail("tag %d follows tag %d", tag, previous)
			return
		}
		previous = int64(tag)
		if read(tag, &field); field.reason == "" {
			field.end()
		}
		if field.reason != "" {
			r.fail("tag %d: %s", tag, field.reason)
			return
		}
	}
}
