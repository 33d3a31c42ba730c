package partition

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"spate/kafka"
)

// A producer snapshot, big endian, as Kafka writes it:
//
//	0 version         int16  1
//	2 crc             uint32 CRC-32C of what follows
//	6 entry count     int32
//	  per entry, 46 bytes:
//	   0 producer id               int64
//	   8 producer epoch            int16
//	  10 last sequence             int32  -1 for none
//	  14 last offset               int64  -1 for none
//	  22 offset delta              int32  last offset - first offset of that batch
//	  26 timestamp                 int64
//	  34 coordinator epoch         int32  -1 for none
//	  38 current txn first offset  int64  -1 for none
//
// Kafka has one entry a producer, that of its last batch. Here a producer has one for each batch that is remembered,
// oldest first, so that a client which sends five batches again after a restart finds all of them known. Kafka's reader
// keeps the last entry of a producer, which is the one that it would have written itself.
const (
	snapshotVersion    = 1
	snapshotHeadBytes  = 10
	snapshotEntryBytes = 46
	snapshotSuffix     = ".snapshot"
	// snapshotBytesMax: a million producers with five batches each.
	snapshotBytesMax = snapshotHeadBytes + 5_000_000*snapshotEntryBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshot writes the producer state as a snapshot file's content, producers in order of their ids.
func (p *producers) snapshot() []byte {
	entries := 0
	for _, e := range p.entries {
		entries += max(e.count, 1)
	}
	out := make([]byte, snapshotHeadBytes, snapshotHeadBytes+entries*snapshotEntryBytes)
	binary.BigEndian.PutUint16(out, snapshotVersion)
	binary.BigEndian.PutUint32(out[6:], uint32(entries))
	for _, id := range slices.Sorted(maps.Keys(p.entries)) {
		e := p.entries[id]
		if e.count == 0 {
			none := producerBatch{lastSequence: kafka.NoSequence, lastOffset: kafka.NoOffset}
			none.timestamp = e.lastTimestamp
			out = e.appendSnapshot(out, id, none)
		}
		for i, b := range e.batches[:e.count] {
			if i == e.count-1 {
				b.timestamp = e.lastTimestamp // a marker may have come since
			}
			out = e.appendSnapshot(out, id, b)
		}
	}
	putSnapshotCRC(out)
	return out
}

func putSnapshotCRC(data []byte) {
	binary.BigEndian.PutUint32(data[2:], crc32.Checksum(data[6:], castagnoli))
}

func (p *producer) appendSnapshot(dst []byte, id kafka.ProducerID, b producerBatch) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.epoch))
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.lastSequence))
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.lastOffset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.offsetDelta))
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.timestamp))
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.coordinatorEpoch))
	return binary.BigEndian.AppendUint64(dst, uint64(p.txnFirstOffset))
}

// parseSnapshot reads a snapshot file, Kafka's or ours.
func parseSnapshot(data []byte) (producers, error) {
	p := newProducers()
	if len(data) < snapshotHeadBytes {
		return p, fmt.Errorf("a snapshot of %d bytes is cut short", len(data))
	}
	if v := int16(binary.BigEndian.Uint16(data)); v != snapshotVersion {
		return p, fmt.Errorf("snapshot version %d is not %d", v, snapshotVersion)
	}
	if stored, is := binary.BigEndian.Uint32(data[2:]), crc32.Checksum(data[6:], castagnoli); stored != is {
		return p, fmt.Errorf("snapshot is corrupt (stored crc = %d, computed crc = %d)", stored, is)
	}
	count, body := int64(int32(binary.BigEndian.Uint32(data[6:]))), data[snapshotHeadBytes:]
	if count*snapshotEntryBytes != int64(len(body)) {
		return p, fmt.Errorf("a snapshot of %d entries has %d bytes of them", count, len(body))
	}
	for ; len(body) > 0; body = body[snapshotEntryBytes:] {
		if err := p.load(body[:snapshotEntryBytes]); err != nil {
			return newProducers(), err
		}
	}
	slices.SortFunc(p.open, func(a, b openTxn) int { return cmp.Compare(a.firstOffset, b.firstOffset) })
	return p, nil
}

// load adds one entry of a snapshot: another batch of a producer that is there already, or a new producer.
func (p *producers) load(b []byte) error {
	id := kafka.ProducerID(binary.BigEndian.Uint64(b))
	epoch := kafka.ProducerEpoch(binary.BigEndian.Uint16(b[8:]))
	batch := producerBatch{
		lastSequence: kafka.Sequence(binary.BigEndian.Uint32(b[10:])),
		lastOffset:   kafka.Offset(binary.BigEndian.Uint64(b[14:])),
		offsetDelta:  int32(binary.BigEndian.Uint32(b[22:])),
		timestamp:    kafka.Timestamp(binary.BigEndian.Uint64(b[26:])),
	}
	txnFirstOffset := kafka.Offset(binary.BigEndian.Uint64(b[38:]))
	if id < 0 || batch.offsetDelta < 0 || txnFirstOffset < kafka.NoOffset {
		return fmt.Errorf("snapshot entry of producer %d has impossible numbers", id)
	}
	e := p.entries[id]
	if e == nil {
		e = &producer{epoch: epoch, txnFirstOffset: kafka.NoOffset}
		p.entries[id] = e
	}
	e.enterEpoch(epoch)
	if batch.lastSequence >= 0 {
		e.remember(batch)
	}
	e.lastTimestamp = batch.timestamp
	e.coordinatorEpoch = int32(binary.BigEndian.Uint32(b[34:]))
	if e.txnFirstOffset == kafka.NoOffset && txnFirstOffset != kafka.NoOffset {
		p.open = append(p.open, openTxn{id, txnFirstOffset})
		e.txnFirstOffset = txnFirstOffset
	}
	return nil
}
