package storage

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"time"

	"spate/kafka"
	"spate/kafka/record"
	metadata "spate/metadata/record"
)

// dumpLog shows a log or a metadata snapshot: an entry for each batch, and below it one for each record.
func dumpLog(path string, o DumpOptions, emit func(Entry) error) error {
	r, err := openBatches(path)
	if err != nil {
		return err
	}
	defer r.close()
	isMetadata := holdsMetadata(path)
	fields := recordFields
	switch {
	case isMetadata:
		fields = metadataFields
	case isGroupPartition(filepath.Base(filepath.Dir(path))):
		fields = groupFields
	}
	for {
		b, position, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return damaged(path, position, "%v", err)
		}
		if err := emit(batchEntry(b, position)); err != nil {
			return err
		}
		if !o.Records && !isMetadata {
			continue
		}
		if err := b.CheckCRC(); err != nil {
			return damaged(path, position, "the checksum is %d and the bytes give %d", b.CRC(), b.ComputeCRC())
		}
		if err := dumpRecords(b, fields, emit); err != nil {
			return fmt.Errorf("%s: position %d: %w", path, position, err)
		}
	}
}

// batchEntry is the header of a batch.
func batchEntry(b record.Batch, position int64) Entry {
	e := entry(0, "position", position, "bytes", len(b),
		"offsets", fmt.Sprintf("%d..%d", b.BaseOffset(), b.LastOffset()), "count", b.Count(),
		"epoch", b.LeaderEpoch(), "codec", b.Codec().String(),
		"maxTimestamp", timeText(b.MaxTimestamp()), "timestampType", b.TimestampType())
	if b.HasProducerID() {
		e.add("producerId", b.ProducerID())
		e.add("producerEpoch", b.ProducerEpoch())
		e.add("sequences", fmt.Sprintf("%d..%d", b.BaseSequence(), b.LastSequence()))
	}
	if b.IsTransactional() {
		e.add("transactional", true)
	}
	if b.IsControl() {
		e.add("control", true)
	}
	crc := "ok"
	if b.CheckCRC() != nil {
		crc = "WRONG"
	}
	e.add("crc", crc)
	return e
}

// timeText is a timestamp for people, and a dash where there is none.
func timeText(t kafka.Timestamp) string {
	if t == kafka.NoTimestamp {
		return "-"
	}
	return time.UnixMilli(int64(t)).UTC().Format("2006-01-02T15:04:05.000Z")
}

// dumpRecords shows the records of a batch; fields says what they hold, unless they are control records.
func dumpRecords(b record.Batch, fields func(*Entry, *record.Record), emit func(Entry) error) error {
	records := b.Records()
	defer records.Close()
	for r, ok := records.Next(); ok; r, ok = records.Next() {
		e := entry(1, "offset", r.Offset, "timestamp", timeText(r.Timestamp))
		if b.IsControl() {
			controlFields(&e, &r)
		} else {
			fields(&e, &r)
		}
		if err := emit(e); err != nil {
			return err
		}
	}
	return records.Err()
}

// recordFields adds what a client sent.
func recordFields(e *Entry, r *record.Record) {
	e.add("key", bytesOf(r.Key))
	e.add("value", bytesOf(r.Value))
	headers := r.Headers()
	for h, ok := headers.Next(); ok; h, ok = headers.Next() {
		e.add("header."+string(h.Key), bytesOf(h.Value))
	}
}

// bytesOf copies what the iterator only lends; null stays null.
func bytesOf(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// controlFields adds what a control record says.
func controlFields(e *Entry, r *record.Record) {
	t, err := r.ControlType()
	if err != nil {
		e.add("control", err.Error())
		return
	}
	names := map[record.ControlType]string{record.ControlAbort: "ABORT", record.ControlCommit: "COMMIT",
		record.ControlLeaderChange: "LEADER_CHANGE", record.ControlSnapshotHeader: "SNAPSHOT_HEADER",
		record.ControlSnapshotFooter: "SNAPSHOT_FOOTER", record.ControlKRaftVersion: "KRAFT_VERSION",
		record.ControlKRaftVoters: "KRAFT_VOTERS"}
	name, known := names[t]
	if !known {
		name = fmt.Sprintf("type %d", t)
	}
	e.add("control", name)
	if t == record.ControlAbort || t == record.ControlCommit {
		if epoch, err := r.CoordinatorEpoch(); err == nil {
			e.add("coordinatorEpoch", epoch)
		}
		return
	}
	e.add("value", bytesOf(r.Value))
}

// metadataFields adds what a metadata record says. What does not decode is shown as it is: verify judges it.
func metadataFields(e *Entry, r *record.Record) {
	decoded, err := metadata.Decode(r.Value)
	if err != nil {
		e.add("record", err.Error())
		e.add("value", bytesOf(r.Value))
		return
	}
	e.add("record", decoded.Type().String())
	fields := reflect.Indirect(reflect.ValueOf(decoded))
	for i := range fields.NumField() {
		e.add(fields.Type().Field(i).Name, fields.Field(i).Interface())
	}
}
