package record

import (
	"encoding/binary"
	"math"

	"spate/kafka"
)

// Producer is what an idempotent producer stamps a batch with.
type Producer struct {
	ID       kafka.ProducerID
	Epoch    kafka.ProducerEpoch
	Sequence kafka.Sequence
}

// BuilderOptions say what kind of batch a Builder makes. The zero value is an uncompressed batch with create times,
// base offset 0, leader epoch 0 and no producer.
type BuilderOptions struct {
	BaseOffset    kafka.Offset
	LeaderEpoch   kafka.LeaderEpoch
	Codec         Codec
	Level         int // as in Compression
	Producer      *Producer
	Transactional bool
	Control       bool
	LogAppendTime bool // the largest timestamp added stands for all
}

// Builder makes a batch record by record. It holds the uncompressed records; Build compresses them. Reset makes it
// ready for the next batch and keeps its memory.
type Builder struct {
	options BuilderOptions
	records []byte
	count   int32
	base    kafka.Timestamp
	newest  kafka.Timestamp
}

// NewBuilder begins a batch.
func NewBuilder(o BuilderOptions) *Builder { return &Builder{options: o, newest: kafka.NoTimestamp} }

// Reset begins another batch.
func (w *Builder) Reset(o BuilderOptions) {
	*w = Builder{options: o, records: w.records[:0], newest: kafka.NoTimestamp}
}

// SetCodec changes the compression of the batch that is under way.
func (w *Builder) SetCodec(c Codec) { w.options.Codec = c }

// Append adds a record. A nil key or value is null.
func (w *Builder) Append(ts kafka.Timestamp, key, value []byte, headers ...Header) {
	if w.count == 0 {
		w.base = ts
	}
	w.newest = max(w.newest, ts)
	delta := int64(ts - w.base)
	size := 1 + varintBytes(delta) + varintBytes(int64(w.count)) + nullableBytes(key) + nullableBytes(value) +
		varintBytes(int64(len(headers)))
	for _, h := range headers {
		size += varintBytes(int64(len(h.Key))) + len(h.Key) + nullableBytes(h.Value)
	}
	b := appendVarint(w.records, int64(size))
	b = append(b, 0) // attributes
	b = appendVarint(b, delta)
	b = appendVarint(b, int64(w.count))
	b = appendNullable(b, key)
	b = appendNullable(b, value)
	b = appendVarint(b, int64(len(headers)))
	for _, h := range headers {
		b = appendVarint(b, int64(len(h.Key)))
		b = append(b, h.Key...)
		b = appendNullable(b, h.Value)
	}
	w.records = b
	w.count++
}

// Count is the number of records added.
func (w *Builder) Count() int { return int(w.count) }

// Bytes is the size of the batch so far, before compression.
func (w *Builder) Bytes() int { return HeaderBytes + len(w.records) }

// AppendTo writes the batch, with its checksum, behind dst. The error is an unknown codec.
func (w *Builder) AppendTo(dst []byte) ([]byte, error) {
	o := &w.options
	start := len(dst)
	var header [HeaderBytes]byte
	dst = append(dst, header[:]...)
	b := dst[start:]
	binary.BigEndian.PutUint32(b[lastOffsetDeltaAt:], uint32(w.count-1))
	binary.BigEndian.PutUint64(b[baseTimestampAt:], uint64(w.base))
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(w.newest))
	p := Producer{kafka.NoProducerID, kafka.NoProducerEpoch, kafka.NoSequence}
	if o.Producer != nil {
		p = *o.Producer
	}
	binary.BigEndian.PutUint64(b[producerIDAt:], uint64(p.ID))
	binary.BigEndian.PutUint16(b[producerEpochAt:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(b[baseSequenceAt:], uint32(p.Sequence))
	binary.BigEndian.PutUint32(b[countAt:], uint32(w.count))
	out, err := appendCompressed(dst, w.records, kindOf(o.Codec, o.Level), math.MaxInt)
	if err != nil {
		return dst[:start], err
	}
	batch := Batch(out[start:])
	batch.SetBaseOffset(o.BaseOffset)
	batch.SetLeaderEpoch(o.LeaderEpoch)
	batch.seal(o.attributes())
	return out, nil
}

// Build gives the batch in memory of its own.
func (w *Builder) Build() (Batch, error) {
	b, err := w.AppendTo(make([]byte, 0, w.Bytes()))
	return Batch(b), err
}

func (o *BuilderOptions) attributes() Attributes {
	a := Attributes(o.Codec) & codecMask
	if o.Transactional {
		a |= transactionalBit
	}
	if o.Control {
		a |= controlBit
	}
	if o.LogAppendTime {
		a |= logAppendTimeBit
	}
	return a
}

func nullableBytes(b []byte) int {
	if b == nil {
		return varintBytes(-1)
	}
	return varintBytes(int64(len(b))) + len(b)
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return appendVarint(dst, -1)
	}
	return append(appendVarint(dst, int64(len(b))), b...)
}
