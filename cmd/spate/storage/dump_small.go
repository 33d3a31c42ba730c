package storage

import (
	"maps"
	"slices"

	"spate/kafka"
)

// dumpOffsetIndex shows where batches begin.
func dumpOffsetIndex(path string, _ DumpOptions, emit func(Entry) error) error {
	x, err := readIndex(path, offsetEntryBytes)
	if err != nil {
		return err
	}
	for i := range x.count() {
		e := x.offsetAt(i)
		if err := emit(entry(0, "offset", e.offset, "position", e.position)); err != nil {
			return err
		}
	}
	return x.leftOver()
}

// dumpTimeIndex shows which offset is the first with a later timestamp.
func dumpTimeIndex(path string, _ DumpOptions, emit func(Entry) error) error {
	x, err := readIndex(path, timeEntryBytes)
	if err != nil {
		return err
	}
	for i := range x.count() {
		e := x.timeAt(i)
		if err := emit(entry(0, "timestamp", timeText(e.timestamp), "offset", e.offset)); err != nil {
			return err
		}
	}
	return x.leftOver()
}

// dumpTransactionIndex shows the aborted transactions.
func dumpTransactionIndex(path string, _ DumpOptions, emit func(Entry) error) error {
	x, err := readIndex(path, transactionEntryBytes)
	if err != nil {
		return err
	}
	for i := range x.count() {
		t := x.transactionAt(i)
		e := entry(0, "version", t.version, "producerId", t.producerID, "firstOffset", t.firstOffset,
			"lastOffset", t.lastOffset, "lastStableOffset", t.lastStableOffset)
		if err := emit(e); err != nil {
			return err
		}
	}
	return x.leftOver()
}

// dumpProducerSnapshot shows the producers of a partition.
func dumpProducerSnapshot(path string, _ DumpOptions, emit func(Entry) error) error {
	producers, err := readProducerSnapshot(path)
	if err != nil {
		return err
	}
	for _, p := range producers {
		e := entry(0, "producerId", p.id, "producerEpoch", p.epoch, "lastSequence", p.lastSequence,
			"lastOffset", p.lastOffset, "offsetDelta", p.offsetDelta, "timestamp", timeText(p.timestamp),
			"coordinatorEpoch", p.coordinatorEpoch, "currentTxnFirstOffset", p.txnFirstOffset)
		if err := emit(e); err != nil {
			return err
		}
	}
	return nil
}

// dumpEpochs shows where leader epochs began.
func dumpEpochs(path string, _ DumpOptions, emit func(Entry) error) error {
	epochs, err := readEpochs(path)
	if err != nil {
		return err
	}
	for _, e := range epochs {
		if err := emit(entry(0, "epoch", e.epoch, "startOffset", e.start)); err != nil {
			return err
		}
	}
	return nil
}

// dumpOffsets shows an offset for each partition.
func dumpOffsets(path string, _ DumpOptions, emit func(Entry) error) error {
	offsets, err := readOffsets(path)
	if err != nil {
		return err
	}
	byName := func(a, b kafka.TopicPartition) int {
		if a.Topic != b.Topic {
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		}
		return int(a.Partition - b.Partition)
	}
	for _, tp := range slices.SortedFunc(maps.Keys(offsets), byName) {
		e := entry(0, "topic", tp.Topic, "partition", int32(tp.Partition), "offset", offsets[tp])
		if err := emit(e); err != nil {
			return err
		}
	}
	return nil
}

// dumpPartitionMetadata shows the topic's id.
func dumpPartitionMetadata(path string, _ DumpOptions, emit func(Entry) error) error {
	id, err := readPartitionMetadata(path)
	if err != nil {
		return err
	}
	return emit(entry(0, "topicId", id))
}

// dumpMetaProperties shows whom a data directory belongs to.
func dumpMetaProperties(path string, _ DumpOptions, emit func(Entry) error) error {
	values, err := readMetaProperties(path)
	if err != nil {
		return err
	}
	e := Entry{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		e.add(key, values[key])
	}
	return emit(e)
}

// dumpQuorumState shows the last vote.
func dumpQuorumState(path string, _ DumpOptions, emit func(Entry) error) error {
	values, err := readJSON(path)
	if err != nil {
		return err
	}
	return emit(jsonEntry(values))
}

// dumpCleanShutdown shows the epoch of the broker that shut down.
func dumpCleanShutdown(path string, _ DumpOptions, emit func(Entry) error) error {
	values, err := readJSON(path)
	if err != nil {
		return err
	}
	return emit(jsonEntry(values))
}

// jsonEntry is the fields of a small JSON object, by name.
func jsonEntry(values map[string]any) Entry {
	e := Entry{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		e.add(key, values[key])
	}
	return e
}
