package subscription

import "encoding/binary"

// The smallest encodings, by which a count is checked before anything is allocated.
const (
	stringBytesMin          = 2 // its length
	partitionBytes          = 4
	topicPartitionsBytesMin = 6 // an empty name and no partitions
)

// reader walks over bytes. After the first error it reads zeros.
type reader struct {
	b   []byte
	at  int
	err error // a *MalformedError
}

func (r *reader) fail(reason string) {
	if r.err == nil {
		r.err = &MalformedError{Reason: reason, Position: r.at}
	}
}

// take returns the next n bytes, or nil if there are not so many.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b)-r.at {
		r.fail("the bytes end too early")
		return nil
	}
	taken := r.b[r.at : r.at+n]
	r.at += n
	return taken
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

func (r *reader) version() int16 {
	version := r.int16()
	if version < VersionMin {
		r.fail("the version is negative")
	}
	return version
}

// count reads the length of an array whose elements take at least elementBytes each.
func (r *reader) count(elementBytes int) int {
	n := int(r.int32())
	switch {
	case n < 0:
		r.fail("an array has a negative length")
	case n > (len(r.b)-r.at)/elementBytes:
		r.fail("an array is longer than the bytes that are left")
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) string() string {
	n := r.int16()
	if n < 0 {
		r.fail("a string has a negative length")
		return ""
	}
	return string(r.take(int(n)))
}

func (r *reader) nullableString() *string {
	n := r.int16()
	if n < 0 {
		return nil
	}
	b := r.take(int(n))
	if r.err != nil {
		return nil
	}
	s := string(b)
	return &s
}

func (r *reader) nullableBytes() []byte {
	n := r.int32()
	if n < 0 {
		return nil
	}
	b := r.take(int(n))
	if r.err != nil {
		return nil
	}
	return append([]byte{}, b...)
}

func (r *reader) strings() []string {
	n := r.count(stringBytesMin)
	if n == 0 {
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = r.string()
	}
	return all
}

func (r *reader) topicPartitions() []TopicPartitions {
	n := r.count(topicPartitionsBytesMin)
	if n == 0 {
		return nil
	}
	all := make([]TopicPartitions, n)
	for i := range all {
		all[i].Topic = r.string()
		partitions := r.count(partitionBytes)
		if partitions == 0 {
			continue
		}
		all[i].Partitions = make([]int32, partitions)
		for j := range all[i].Partitions {
			all[i].Partitions[j] = r.int32()
		}
	}
	return all
}

func appendInt16(dst []byte, n int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(n)) }

func appendInt32(dst []byte, n int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(n)) }

func appendString(dst []byte, s string) []byte {
	return append(appendInt16(dst, int16(len(s))), s...)
}

func appendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return appendInt16(dst, -1)
	}
	return appendString(dst, *s)
}

func appendNullableBytes(dst, b []byte) []byte {
	if b == nil {
		return appendInt32(dst, -1)
	}
	return append(appendInt32(dst, int32(len(b))), b...)
}

func appendTopicPartitions(dst []byte, all []TopicPartitions) []byte {
	dst = appendInt32(dst, int32(len(all)))
	for _, tp := range all {
		dst = appendString(dst, tp.Topic)
		dst = appendInt32(dst, int32(len(tp.Partitions)))
		for _, p := range tp.Partitions {
			dst = appendInt32(dst, p)
		}
	}
	return dst
}
