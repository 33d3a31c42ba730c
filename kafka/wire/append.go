package wire

import (
	"encoding/binary"
	"math/bits"
)

func appendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }
func appendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }
func appendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

func appendUvarint(dst []byte, v uint32) []byte { return binary.AppendUvarint(dst, uint64(v)) }

// uvarintBytes is the length of v as a uvarint: seven bits a byte, one byte for 0.
func uvarintBytes(v uint32) int { return (bits.Len32(v|1) + 6) / 7 }

// appendString appends a string that is not null.
func appendString[T string | []byte](dst []byte, flexible bool, s T) []byte {
	if flexible {
		dst = appendUvarint(dst, uint32(len(s))+1)
	} else {
		dst = appendInt16(dst, int16(len(s)))
	}
	return append(dst, s...)
}

// appendText appends a nullable string in which empty stands for null.
func appendText(dst []byte, flexible bool, s string) []byte {
	switch {
	case s != "":
		return appendString(dst, flexible, s)
	case flexible:
		return append(dst, 0)
	}
	return appendInt16(dst, -1)
}

// appendLength appends the count of an array or the length of bytes: -1 for null.
func appendLength(dst []byte, flexible bool, n int) []byte {
	if flexible {
		return appendUvarint(dst, uint32(n+1))
	}
	return appendInt32(dst, int32(n))
}

// appendTags appends the number of tagged fields that follow; nothing before the flexible versions.
func appendTags(dst []byte, flexible bool, n int) []byte {
	if flexible {
		dst = append(dst, byte(n))
	}
	return dst
}
