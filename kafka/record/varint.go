package record

// Records are written in zigzag varints of 32 and 64 bits. A decoder gives the position after the number, or a
// negative one if the bytes end early or the number is longer than its type.

const (
	varintBytesMax  = 5
	varlongBytesMax = 10
)

// varint reads a 32-bit number at position at of b.
func varint(b []byte, at int) (int32, int) {
	if uint(at) < uint(len(b)) && b[at] < 0x80 { // most are one byte long
		v := int32(b[at])
		return v>>1 ^ -(v & 1), at + 1
	}
	var v uint32
	for shift := 0; shift < 7*varintBytesMax; shift += 7 {
		if uint(at) >= uint(len(b)) {
			return 0, -1
		}
		c := b[at]
		at++
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return int32(v>>1) ^ -int32(v&1), at
		}
	}
	return 0, -1
}

// varlong reads a 64-bit number at position at of b.
func varlong(b []byte, at int) (int64, int) {
	if uint(at) < uint(len(b)) && b[at] < 0x80 {
		v := int64(b[at])
		return v>>1 ^ -(v & 1), at + 1
	}
	var v uint64
	for shift := 0; shift < 7*varlongBytesMax; shift += 7 {
		if uint(at) >= uint(len(b)) {
			return 0, -1
		}
		c := b[at]
		at++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int64(v>>1) ^ -int64(v&1), at
		}
	}
	return 0, -1
}

// appendVarint writes a number of 32 or 64 bits, which take the same form.
func appendVarint(dst []byte, n int64) []byte {
	v := uint64(n)<<1 ^ uint64(n>>63)
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// varintBytes is how many bytes appendVarint writes.
func varintBytes(n int64) int {
	v := uint64(n)<<1 ^ uint64(n>>63)
	size := 1
	for v >= 0x80 {
		size++
		v >>= 7
	}
	return size
}
