package partition

import (
	"crypto/sha256"
	"encoding/binary"

	"spate/internal/bufpool"
	"spate/kafka"
)

// offsetMap is the offset of the last record of each key that a cleaning has seen, within a fixed number of bytes,
// which lie outside the heap. It knows keys by 16 bytes of their SHA-256: that two keys share these, so that one would
// delete the other's records, does not happen, not even to somebody who looks for such keys.
type offsetMap struct {
	memory *bufpool.OffHeap
	// slots is of offsetSlotBytes each: the key's hash, and its offset + 1, which is 0 in a free slot.
	slots  []byte
	count  uint64 // of slots
	limit  int    // of keys: a fuller map would search too long
	used   int
	latest kafka.Offset // the last offset that was taken into account, or NoOffset
}

const (
	offsetSlotBytes = offsetHashBytes + 8
	offsetHashBytes = 16
)

// newOffsetMap makes a map of at most bytesMax bytes for at most keysMax keys, filled up to load. It has to be freed.
func newOffsetMap(bytesMax int64, load float64, keysMax int64) (*offsetMap, error) {
	slots := max(bytesMax/offsetSlotBytes, 2)
	if wanted := int64(float64(keysMax)/load) + 2; wanted < slots {
		slots = wanted
	}
	memory, err := bufpool.NewOffHeap(int(slots * offsetSlotBytes))
	if err != nil {
		return nil, err
	}
	limit := int64(float64(slots) * load)
	return &offsetMap{
		memory: memory, slots: memory.Bytes, count: uint64(slots),
		limit: int(max(min(limit, slots-1), 1)), latest: kafka.NoOffset,
	}, nil
}

// free gives the memory back; the map is used no more.
func (m *offsetMap) free() {
	m.slots = nil
	m.memory.Free()
}

// slot is where the key is, or would be, and its hash.
func (m *offsetMap) slot(key []byte) (slot []byte, hash [sha256.Size]byte) {
	hash = sha256.Sum256(key)
	at := binary.BigEndian.Uint64(hash[:]) % m.count
	for {
		slot = m.slots[at*offsetSlotBytes:][:offsetSlotBytes]
		if offsetOf(slot) == kafka.NoOffset || [offsetHashBytes]byte(slot) == [offsetHashBytes]byte(hash[:]) {
			return slot, hash
		}
		if at++; at == m.count {
			at = 0
		}
	}
}

// offsetOf is the offset in a slot, NoOffset if it is free.
func offsetOf(slot []byte) kafka.Offset {
	return kafka.Offset(binary.NativeEndian.Uint64(slot[offsetHashBytes:])) - 1
}

// put notes that the key has a record at offset, unless the map is full.
func (m *offsetMap) put(key []byte, offset kafka.Offset) bool {
	slot, hash := m.slot(key)
	before := offsetOf(slot)
	if before == kafka.NoOffset {
		if m.used >= m.limit {
			return false
		}
		m.used++
		copy(slot, hash[:offsetHashBytes])
	}
	binary.NativeEndian.PutUint64(slot[offsetHashBytes:], uint64(max(before, offset)+1))
	m.seen(offset)
	return true
}

// seen notes that everything up to offset was taken into account.
func (m *offsetMap) seen(offset kafka.Offset) { m.latest = max(m.latest, offset) }

// last is the offset of the key's last record, or NoOffset.
func (m *offsetMap) last(key []byte) kafka.Offset {
	slot, _ := m.slot(key)
	return offsetOf(slot)
}
