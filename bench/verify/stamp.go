// Package verify finds out whether what was acknowledged arrived once, in order and unchanged. Each record carries a
// Stamp at the start of its value: who wrote it, its number among those of that writer in that partition, when it was
// due, and a checksum of key and value. A Log follows one partition as a reader sees it. It is pure; a Log belongs to
// one goroutine at a time.
//
//tidy:pure
package verify

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// StampBytes is the length of a stamp: the least that a value has.
//
//	0  checksum  uint32  CRC-32C of the rest of the value, and then of the key
//	4  run       uint32  of which the record is
//	8  producer  uint32
//	12 flags     uint32
//	16 sequence  uint64  from 0, of this producer in this partition
//	24 due       int64   when it was to be sent, in nanoseconds since 1970
const StampBytes = 32

// Stamp is what a record says of itself.
type Stamp struct {
	Run      uint32
	Producer uint32
	Flags    uint32
	Sequence uint64
	Due      int64
}

// The flags of a stamp.
const (
	Aborted uint32 = 1 << iota // of a transaction that is to be aborted: nobody who reads committed records may see it
	Backlog                    // written before the load, to be read beside it
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal writes a stamp into the start of a value whose other bytes are there, and adds the checksum.
func (s Stamp) Seal(key, value []byte) {
	s.Put(value)
	binary.BigEndian.PutUint32(value, checksum(key, value))
}

// Put writes a stamp without the checksum, for runs that do not verify.
func (s Stamp) Put(value []byte) {
	_ = value[StampBytes-1]
	binary.BigEndian.PutUint32(value[4:], s.Run)
	binary.BigEndian.PutUint32(value[8:], s.Producer)
	binary.BigEndian.PutUint32(value[12:], s.Flags)
	binary.BigEndian.PutUint64(value[16:], s.Sequence)
	binary.BigEndian.PutUint64(value[24:], uint64(s.Due))
}

// ErrCorrupt is that of a value whose checksum is wrong, or that is too short to have one.
var ErrCorrupt = errors.New("the checksum is wrong")

// Open reads a stamp and checks it against key and value.
func Open(key, value []byte) (Stamp, error) {
	if len(value) < StampBytes || binary.BigEndian.Uint32(value) != checksum(key, value) {
		return Stamp{}, ErrCorrupt
	}
	return Peek(value), nil
}

// Peek reads a stamp without checking it; the value must be long enough.
func Peek(value []byte) Stamp {
	_ = value[StampBytes-1]
	return Stamp{
		Run:      binary.BigEndian.Uint32(value[4:]),
		Producer: binary.BigEndian.Uint32(value[8:]),
		Flags:    binary.BigEndian.Uint32(value[12:]),
		Sequence: binary.BigEndian.Uint64(value[16:]),
		Due:      int64(binary.BigEndian.Uint64(value[24:])),
	}
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, value[4:]), castagnoli, key)
}
