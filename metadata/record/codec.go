package record

import (
	"encoding/binary"
	"fmt"
	"math"

	"spate/kafka"
)

// The appenders: Kafka's flexible encodings, big endian, lengths as unsigned varints of length+1 with 0 for null.

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }
func appendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }
func appendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))+1), s...)
}

func appendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, 0)
	}
	return appendString(dst, *s)
}

// appendLength starts an array of n elements.
func appendLength(dst []byte, n int) []byte { return binary.AppendUvarint(dst, uint64(n)+1) }

func appendBrokers(dst []byte, ids []kafka.BrokerID) []byte {
	dst = appendLength(dst, len(ids))
	for _, id := range ids {
		dst = appendInt32(dst, int32(id))
	}
	return dst
}

func appendUUIDs(dst []byte, ids []kafka.UUID) []byte {
	dst = appendLength(dst, len(ids))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

// tags gathers the tagged fields at the end of a body. Fields are added in the order of their numbers.
type tags struct {
	count uint64
	buf   []byte
}

func (t *tags) add(tag uint64, value []byte) {
	t.count++
	t.buf = binary.AppendUvarint(t.buf, tag)
	t.buf = binary.AppendUvarint(t.buf, uint64(len(value)))
	t.buf = append(t.buf, value...)
}

func (t *tags) appendTo(dst []byte) []byte {
	return append(binary.AppendUvarint(dst, t.count), t.buf...)
}

// appendNoTags ends a body that has no tagged field.
func appendNoTags(dst []byte) []byte { return append(dst, 0) }

// reader takes fields off the front of buf. The first thing that is wrong sets reason, and all reads after it give
// zero values, so that a schema reads as a list of fields.
type reader struct {
	buf    []byte
	reason string
}

func (r *reader) fail(format string, args ...any) {
	if r.reason == "" {
		r.reason = fmt.Sprintf(format, args...)
	}
	r.buf = nil
}

// take gives the next n bytes as a view, nil if they are not there.
func (r *reader) take(n int) []byte {
	if n > len(r.buf) {
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

func (r *reader) bool() bool { return r.int8() != 0 }

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

func (r *reader) broker() kafka.BrokerID { return kafka.BrokerID(r.int32()) }

// length reads the length of a string or array whose elements take at least elementBytes each; -1 is null. The count
// is checked against what is left before anything is allocated for it.
func (r *reader) length(elementBytes int) int {
	n := int64(r.uvarint()) - 1
	if n > int64(len(r.buf)/elementBytes) {
		r.fail("%d elements of %d bytes are wanted where %d bytes are left", n, elementBytes, len(r.buf))
		return 0
	}
	return int(n)
}

// present is length for a field that is never null.
func (r *reader) present(elementBytes int) int {
	n := r.length(elementBytes)
	if n < 0 {
		r.fail("a field that is never null is null")
		return 0
	}
	return n
}

func (r *reader) string() string { return string(r.take(r.present(1))) }

func (r *reader) nullableString() *string {
	n := r.length(1)
	if n < 0 || r.reason != "" {
		return nil
	}
	s := string(r.take(n))
	return &s
}

// brokers reads an array of broker ids that is never null.
func (r *reader) brokers() []kafka.BrokerID { return r.brokersOf(r.present(4)) }

// nullableBrokers reads an array of broker ids; null is nil, an empty array is not.
func (r *reader) nullableBrokers() []kafka.BrokerID { return r.brokersOf(r.length(4)) }

func (r *reader) brokersOf(n int) []kafka.BrokerID {
	if n < 0 || r.reason != "" {
		return nil
	}
	ids := make([]kafka.BrokerID, n)
	for i := range ids {
		ids[i] = r.broker()
	}
	return ids
}

// uuids reads an array of ids that is never null.
func (r *reader) uuids() []kafka.UUID { return r.uuidsOf(r.present(16)) }

// someUUIDs is uuids for a field whose empty array is its default: it is nil then.
func (r *reader) someUUIDs() []kafka.UUID {
	if ids := r.uuids(); len(ids) > 0 {
		return ids
	}
	return nil
}

// nullableUUIDs reads an array of ids; null is nil, an empty array is not.
func (r *reader) nullableUUIDs() []kafka.UUID { return r.uuidsOf(r.length(16)) }

func (r *reader) uuidsOf(n int) []kafka.UUID {
	if n < 0 || r.reason != "" {
		return nil
	}
	ids := make([]kafka.UUID, n)
	for i := range ids {
		ids[i] = r.uuid()
	}
	return ids
}

// tags reads the tagged fields. field reads the value of a tag that it knows from its own reader and reports
// whether it did; the fields of later programs are skipped, as Kafka's rule for tagged fields has it.
func (r *reader) tags(field func(tag uint32, value *reader) bool) {
	previous := int64(-1)
	for range r.uvarint() {
		tag := r.uvarint()
		value := reader{buf: r.take(int(r.uvarint()))}
		if r.reason != "" {
			return
		}
		if int64(tag) <= previous {
			r.fail("tag %d follows tag %d", tag, previous)
			return
		}
		previous = int64(tag)
		if !field(tag, &value) {
			continue
		}
		if value.reason == "" && len(value.buf) > 0 {
			value.fail("%d bytes follow the value", len(value.buf))
		}
		if value.reason != "" {
			r.fail("tag %d: %s", tag, value.reason)
			return
		}
	}
}

// noTags is tags for a schema that has none.
func (r *reader) noTags() {
	r.tags(func(uint32, *reader) bool { return false })
}
