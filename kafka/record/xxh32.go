package record

import (
	"encoding/binary"
	"math/bits"
)

// xxh32 is the XXH32 checksum, seed 0, of the bytes written since reset: the one that lz4 frames carry.
type xxh32 struct {
	lanes   [4]uint32
	pending [16]byte
	filled  int
	total   uint32
}

// The constants of the algorithm.
const (
	xxhPrime1 uint32 = 2654435761
	xxhPrime2 uint32 = 2246822519
	xxhPrime3 uint32 = 3266489917
	xxhPrime4 uint32 = 668265263
	xxhPrime5 uint32 = 374761393
)

// xxh32Of is the checksum of b.
func xxh32Of(b []byte) uint32 {
	var x xxh32
	x.reset()
	x.write(b)
	return x.sum()
}

func (x *xxh32) reset() {
	p1, p2 := xxhPrime1, xxhPrime2
	*x = xxh32{lanes: [4]uint32{p1 + p2, p2, 0, -p1}}
}

func (x *xxh32) write(b []byte) {
	x.total += uint32(len(b))
	if x.filled > 0 {
		n := copy(x.pending[x.filled:], b)
		x.filled += n
		b = b[n:]
		if x.filled < len(x.pending) {
			return
		}
		x.stripe(x.pending[:])
		x.filled = 0
	}
	for ; len(b) >= 16; b = b[16:] {
		x.stripe(b)
	}
	x.filled = copy(x.pending[:], b)
}

// stripe takes in 16 bytes.
func (x *xxh32) stripe(b []byte) {
	for i := range x.lanes {
		lane := x.lanes[i] + binary.LittleEndian.Uint32(b[4*i:])*xxhPrime2
		x.lanes[i] = bits.RotateLeft32(lane, 13) * xxhPrime1
	}
}

func (x *xxh32) sum() uint32 {
	h := xxhPrime5
	if x.total >= 16 {
		h = bits.RotateLeft32(x.lanes[0], 1) + bits.RotateLeft32(x.lanes[1], 7) +
			bits.RotateLeft32(x.lanes[2], 12) + bits.RotateLeft32(x.lanes[3], 18)
	}
	h += x.total
	b := x.pending[:x.filled]
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*xxhPrime3, 17) * xxhPrime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*xxhPrime5, 11) * xxhPrime1
	}
	h = (h ^ h>>15) * xxhPrime2
	h = (h ^ h>>13) * xxhPrime3
	return h ^ h>>16
}
