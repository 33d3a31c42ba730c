package storage

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"

	"spate/kafka"
)

// The sizes of index entries.
const (
	offsetEntryBytes      = 8
	timeEntryBytes        = 12
	transactionEntryBytes = 34
)

// smallBytesMax bounds what is read whole: the largest checkpoint or snapshot of a large broker fits many times.
const smallBytesMax = 1 << 30

// readSmall reads a file that is not a log.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > smallBytesMax {
		return nil, damaged(path, smallBytesMax, "larger than any file of its kind")
	}
	return os.ReadFile(path)
}

// indexFile is the bytes of one of the indexes.
type indexFile struct {
	path  string
	base  kafka.Offset
	size  int // of an entry
	bytes []byte
	used  int // bytes before the zeros that Kafka keeps behind the entries of an active segment
}

// readIndex reads an index file.
func readIndex(path string, entryBytes int) (*indexFile, error) {
	bytes, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	base, _ := baseOffset(path)
	x := &indexFile{path: path, base: base, size: entryBytes, bytes: bytes, used: len(bytes)}
	for x.used > 0 && bytes[x.used-1] == 0 {
		x.used--
	}
	x.used = min((x.used+entryBytes-1)/entryBytes*entryBytes, len(bytes))
	return x, nil
}

// count is the number of whole entries.
func (x *indexFile) count() int { return x.used / x.size }

// leftOver is the damage of a file that ends inside an entry.
func (x *indexFile) leftOver() error {
	if extra := len(x.bytes) % x.size; extra > 0 {
		return damaged(x.path, int64(len(x.bytes)-extra), "the file ends inside an entry")
	}
	return nil
}

// offsetEntry is one entry of an offset index.
type offsetEntry struct {
	offset   kafka.Offset
	position int32
}

// offsetAt decodes an entry: a relative offset (int32) and a position (int32).
func (x *indexFile) offsetAt(i int) offsetEntry {
	b := x.bytes[i*x.size:]
	relative := int32(binary.BigEndian.Uint32(b))
	return offsetEntry{x.base + kafka.Offset(relative), int32(binary.BigEndian.Uint32(b[4:]))}
}

// timeEntry is one entry of a time index.
type timeEntry struct {
	timestamp kafka.Timestamp
	offset    kafka.Offset
}

// timeAt decodes an entry: a timestamp (int64) and a relative offset (int32).
func (x *indexFile) timeAt(i int) timeEntry {
	b := x.bytes[i*x.size:]
	relative := int32(binary.BigEndian.Uint32(b[8:]))
	return timeEntry{kafka.Timestamp(binary.BigEndian.Uint64(b)), x.base + kafka.Offset(relative)}
}

// transaction is one entry of a transaction index.
type transaction struct {
	version                                   int16
	producerID                                kafka.ProducerID
	firstOffset, lastOffset, lastStableOffset kafka.Offset
}

// transactionAt decodes an entry: version (int16), producer id, first, last and last stable offset (int64 each).
func (x *indexFile) transactionAt(i int) transaction {
	b := x.bytes[i*x.size:]
	at := func(position int) kafka.Offset { return kafka.Offset(binary.BigEndian.Uint64(b[position:])) }
	return transaction{int16(binary.BigEndian.Uint16(b)), kafka.ProducerID(at(2)), at(10), at(18), at(26)}
}

// producerEntry is one entry of a producer snapshot.
type producerEntry struct {
	id               kafka.ProducerID
	epoch            kafka.ProducerEpoch
	lastSequence     kafka.Sequence
	lastOffset       kafka.Offset
	offsetDelta      int32
	timestamp        kafka.Timestamp
	coordinatorEpoch int32
	txnFirstOffset   kafka.Offset
}

// The layout of a producer snapshot: version (int16), CRC-32C of what follows (uint32), count (int32), entries.
const (
	snapshotVersion    = 1
	snapshotHeadBytes  = 10
	snapshotEntryBytes = 46
)

// readProducerSnapshot reads and checks a producer snapshot.
func readProducerSnapshot(path string) ([]producerEntry, error) {
	b, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	if len(b) < snapshotHeadBytes {
		return nil, damaged(path, int64(len(b)), "a snapshot has at least %d bytes", snapshotHeadBytes)
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return nil, damaged(path, 0, "version %d is not %d", v, snapshotVersion)
	}
	stored, computed := binary.BigEndian.Uint32(b[2:]), crc32.Checksum(b[6:], crc32.MakeTable(crc32.Castagnoli))
	if stored != computed {
		return nil, damaged(path, 2, "the checksum is %d and the bytes give %d", stored, computed)
	}
	count, body := int64(int32(binary.BigEndian.Uint32(b[6:]))), b[snapshotHeadBytes:]
	if count*snapshotEntryBytes != int64(len(body)) {
		return nil, damaged(path, 6, "%d entries do not have %d bytes", count, len(body))
	}
	entries := make([]producerEntry, 0, count)
	for ; len(body) > 0; body = body[snapshotEntryBytes:] {
		u32 := func(at int) int32 { return int32(binary.BigEndian.Uint32(body[at:])) }
		u64 := func(at int) int64 { return int64(binary.BigEndian.Uint64(body[at:])) }
		entries = append(entries, producerEntry{
			id: kafka.ProducerID(u64(0)), epoch: kafka.ProducerEpoch(binary.BigEndian.Uint16(body[8:])),
			lastSequence: kafka.Sequence(u32(10)), lastOffset: kafka.Offset(u64(14)), offsetDelta: u32(22),
			timestamp: kafka.Timestamp(u64(26)), coordinatorEpoch: u32(34), txnFirstOffset: kafka.Offset(u64(38)),
		})
	}
	return entries, nil
}

// readCheckpoint reads Kafka's text checkpoints: a version line "0", a line with the count, and the entries.
func readCheckpoint(path string, entry func(line int, fields []string) error) error {
	b, err := readSmall(path)
	if err != nil || len(b) == 0 { // Kafka leaves empty ones behind
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if lines[0] != "0" {
		return damaged(path, 1, "version %.20q is not 0", lines[0])
	}
	if len(lines) < 2 || lines[1] != strconv.Itoa(len(lines)-2) {
		return damaged(path, 2, "%d entries follow", max(len(lines)-2, 0))
	}
	for i, line := range lines[2:] {
		if err := entry(i+3, strings.Split(line, " ")); err != nil {
			return damaged(path, int64(i+3), "%.80q: %v", line, err)
		}
	}
	return nil
}

// parseNumbers reads the last n fields of a line as numbers of so many bits that are not negative.
func parseNumbers(fields []string, bits ...int) ([]int64, error) {
	if len(fields) < len(bits) {
		return nil, fmt.Errorf("%d fields are expected", len(bits))
	}
	numbers := make([]int64, len(bits))
	for i, field := range fields[len(fields)-len(bits):] {
		n, err := strconv.ParseInt(field, 10, bits[i])
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%.20q is not a number of %d bits from 0", field, bits[i])
		}
		numbers[i] = n
	}
	return numbers, nil
}

// epochStart says where a leader epoch began.
type epochStart struct {
	epoch kafka.LeaderEpoch
	start kafka.Offset
}

// readEpochs reads a leader-epoch-checkpoint: epoch and start offset, both rising.
func readEpochs(path string) ([]epochStart, error) {
	var epochs []epochStart
	err := readCheckpoint(path, func(_ int, fields []string) error {
		n, err := parseNumbers(fields, 32, 64)
		if err != nil || len(fields) != 2 {
			return fmt.Errorf("must be an epoch and an offset")
		}
		e := epochStart{kafka.LeaderEpoch(n[0]), kafka.Offset(n[1])}
		if k := len(epochs); k > 0 && (epochs[k-1].epoch >= e.epoch || epochs[k-1].start > e.start) {
			return fmt.Errorf("does not rise over epoch %d at %d", epochs[k-1].epoch, epochs[k-1].start)
		}
		epochs = append(epochs, e)
		return nil
	})
	return epochs, err
}

// readOffsets reads an offset checkpoint: topic, partition, offset.
func readOffsets(path string) (map[kafka.TopicPartition]kafka.Offset, error) {
	offsets := make(map[kafka.TopicPartition]kafka.Offset)
	err := readCheckpoint(path, func(_ int, fields []string) error {
		n, err := parseNumbers(fields, 32, 64)
		if err != nil || len(fields) != 3 || fields[0] == "" {
			return fmt.Errorf("must be a topic, a partition and an offset")
		}
		tp := kafka.TopicPartition{Topic: fields[0], Partition: kafka.PartitionIndex(n[0])}
		if _, twice := offsets[tp]; twice {
			return fmt.Errorf("%v is there twice", tp)
		}
		offsets[tp] = kafka.Offset(n[1])
		return nil
	})
	return offsets, err
}

// readPartitionMetadata reads a partition.metadata: "version: 0" and "topic_id: ...".
func readPartitionMetadata(path string) (kafka.UUID, error) {
	b, err := readSmall(path)
	if err != nil {
		return kafka.ZeroUUID, err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 2 || strings.TrimSpace(lines[0]) != "version: 0" {
		return kafka.ZeroUUID, damaged(path, 1, "must be the lines version: 0 and topic_id: ID")
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(lines[1]), "topic_id: ")
	id, err := kafka.ParseUUID(text)
	if !ok || err != nil {
		return kafka.ZeroUUID, damaged(path, 2, "%.80q is not topic_id: ID", lines[1])
	}
	return id, nil
}

// readMetaProperties reads and checks a meta.properties.
func readMetaProperties(path string) (map[string]string, error) {
	b, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string)
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, damaged(path, int64(i+1), "%.80q is not key=value", line)
		}
		values[key] = value
	}
	if values["version"] != "1" {
		return nil, damaged(path, 1, "version %.20q is not 1", values["version"])
	}
	for _, key := range []string{"cluster.id", "node.id", "directory.id"} {
		if values[key] == "" {
			return nil, damaged(path, 1, "%s is missing", key)
		}
	}
	if _, err := strconv.ParseUint(values["node.id"], 10, 31); err != nil {
		return nil, damaged(path, 1, "node.id %.20q is not a number", values["node.id"])
	}
	if _, err := kafka.ParseUUID(values["directory.id"]); err != nil {
		return nil, damaged(path, 1, "directory.id: %v", err)
	}
	return values, nil
}

// readJSON reads a file that holds one JSON object.
func readJSON(path string) (map[string]any, error) {
	b, err := readSmall(path)
	if err != nil || len(b) == 0 { // Kafka's older .kafka_cleanshutdown is empty
		return map[string]any{}, err
	}
	var values map[string]any
	if err := json.Unmarshal(b, &values); err != nil {
		return nil, damaged(path, 0, "%v", err)
	}
	return values, nil
}
