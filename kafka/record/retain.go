package record

import (
	"encoding/binary"
	"io"
	"math"

	"spate/kafka"
)

// Retain writes behind dst what compaction leaves of the batch: the records for which keep says so, with their offsets
// and timestamps, in the batch's codec. Base and last offset, producer and sequence stay. A horizon other than
// NoTimestamp becomes the delete horizon, unless the batch has one. keep may be asked about each record once, in
// order; the record is its own only during the call. No more than one record is held decompressed.
func (b Batch) Retain(dst []byte, horizon kafka.Timestamp, keep func(*Record) bool) ([]byte, error) {
	start, attributes := len(dst), b.Attributes()
	w := retainer{newest: kafka.NoTimestamp}
	if at, ok := b.DeleteHorizon(); ok {
		w.base, w.based = at, true
	} else if horizon != kafka.NoTimestamp {
		w.base, w.based = horizon, true
		attributes |= deleteHorizonBit
	}
	out, err := compressed(append(dst, b[:HeaderBytes]...), kindOf(b.Codec(), 0), math.MaxInt32,
		func(out io.Writer) error { return w.write(out, b, keep) })
	if err != nil {
		return dst[:start], err
	}
	if b.TimestampType() == LogAppendTime {
		w.newest = b.MaxTimestamp()
	}
	left := Batch(out[start:])
	binary.BigEndian.PutUint64(left[baseTimestampAt:], uint64(w.base))
	binary.BigEndian.PutUint64(left[maxTimestampAt:], uint64(w.newest))
	binary.BigEndian.PutUint32(left[countAt:], uint32(w.count))
	left.seal(attributes)
	return out, nil
}

// Emptied writes behind dst the batch without its records: what is kept to remember a producer's last sequence, or
// where a segment ends.
func (b Batch) Emptied(dst []byte) []byte {
	start := len(dst)
	out := append(dst, b[:HeaderBytes]...)
	left := Batch(out[start:])
	binary.BigEndian.PutUint64(left[baseTimestampAt:], uint64(b.MaxTimestamp()))
	binary.BigEndian.PutUint32(left[countAt:], 0)
	left.seal(b.Attributes() &^ (codecMask | deleteHorizonBit))
	return out
}

// retainer writes the records that stay.
type retainer struct {
	base    kafka.Timestamp
	based   bool // base is settled: the timestamp of the first record that stays, or the delete horizon
	newest  kafka.Timestamp
	count   int32
	scratch []byte
}

func (w *retainer) write(out io.Writer, b Batch, keep func(*Record) bool) error {
	it := b.Records()
	defer it.Close()
	for {
		r, ok := it.Next()
		if !ok {
			return it.Err()
		}
		if !keep(&r) {
			continue
		}
		if !w.based {
			w.base, w.based = r.Timestamp, true
		}
		w.newest = max(w.newest, r.Timestamp)
		w.count++
		w.scratch = r.appendTo(w.scratch[:0], int64(r.Timestamp-w.base))
		if _, err := out.Write(w.scratch); err != nil {
			return err
		}
	}
}

// appendTo writes the record as it is stored, with another timestamp delta.
func (r *Record) appendTo(dst []byte, delta int64) []byte {
	size := 1 + varintBytes(delta) + varintBytes(int64(r.OffsetDelta)) + nullableBytes(r.Key) +
		nullableBytes(r.Value) + varintBytes(int64(r.HeaderCount)) + len(r.headers)
	dst = appendVarint(dst, int64(size))
	dst = append(dst, byte(r.Attributes))
	dst = appendVarint(dst, delta)
	dst = appendVarint(dst, int64(r.OffsetDelta))
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = appendVarint(dst, int64(r.HeaderCount))
	return append(dst, r.headers...)
}
