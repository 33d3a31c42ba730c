package record

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"spate/kafka"
)

// Single gives the one batch that records, the bytes of one partition in a Produce request, must hold. The beginning
// of another batch behind it is cut off, as Kafka does.
func Single(records []byte) (Batch, error) {
	b, rest, err := Next(records)
	if errors.Is(err, ErrTruncated) {
		return nil, invalid(kafka.InvalidRecord, "a Produce request has at least one record batch per partition")
	}
	if err != nil || len(rest) == 0 {
		return b, err
	}
	switch _, _, err := Next(rest); {
	case errors.Is(err, ErrTruncated):
		return b, nil
	case errors.Is(err, kafka.CorruptMessage):
		return nil, err
	default:
		return nil, invalid(kafka.InvalidRecord, "a Produce request has exactly one record batch per partition")
	}
}

// Validate checks a batch by every rule of Kafka's and gives what to append: the batch itself, whose max timestamp,
// timestamp type and checksum it corrects in place where the topic's rules say so, or a new batch if the topic's
// codec is another. It does not assign the offset and the leader epoch. A valid uncompressed batch allocates nothing.
func Validate(b Batch, r *Rules) (Facts, error) {
	if err := validateHeader(b, r); err != nil {
		return Facts{}, err
	}
	v := validation{
		batch: b, rules: r, before: boundMs(r.BeforeMax), after: boundMs(r.AfterMax), maxTimestamp: kafka.NoTimestamp,
	}
	var err error
	switch source, target := b.Codec(), r.Compression.target(b.Codec()); {
	case source == target || b.IsControl(): // the broker's own markers stay as they are
		err = v.inPlace()
	case source == None:
		err = v.compress(target)
	default:
		err = v.recompress(target)
	}
	if err != nil {
		return Facts{}, err
	}
	if r.TimestampType == LogAppendTime {
		v.maxTimestamp = r.Now
	}
	v.batch.SetMaxTimestamp(r.TimestampType, v.maxTimestamp)
	return Facts{
		Batch: v.batch, MaxTimestamp: v.maxTimestamp, OffsetOfMaxTimestampDelta: b.LastOffsetDelta(),
		Records: int(b.Count()),
	}, nil
}

// validateHeader checks what the header alone shows, in Kafka's order.
func validateHeader(b Batch, r *Rules) error {
	if r.FromClient && r.Version < zstdVersionMin && b.Codec() == Zstd {
		return invalid(kafka.UnsupportedCompressionType, "Produce requests of version %d may not use zstd", r.Version)
	}
	if r.FromClient && b.BaseOffset() != 0 {
		return invalid(kafka.InvalidRecord, "the base offset of the batch should be 0, but it is %d", b.BaseOffset())
	}
	if r.BatchBytesMax > 0 && len(b) > r.BatchBytesMax {
		return invalid(kafka.MessageTooLarge, "the batch has %d bytes, which exceeds the maximum of %d",
			len(b), r.BatchBytesMax)
	}
	if err := b.CheckCRC(); err != nil {
		return err
	}
	if !b.Codec().known() {
		return errUnknownCodec(b.Codec())
	}
	if r.FromClient {
		return validateFromClient(b)
	}
	return nil
}

// zstdVersionMin is the first version of Produce whose clients can read zstd back.
const zstdVersionMin = 7

func validateFromClient(b Batch) error {
	delta, count := b.LastOffsetDelta(), b.Count()
	switch {
	case delta < 0:
		return invalid(kafka.InvalidRecord, "the batch has an invalid offset range: its last offset delta is %d", delta)
	case count <= 0:
		return invalid(kafka.InvalidRecord, "invalid reported count for record batch: %d", count)
	case count != delta+1:
		return invalid(kafka.InvalidRecord, "inconsistent batch offset range [0, %d] and count of records %d",
			delta, count)
	case b.IsControl():
		return invalid(kafka.InvalidRecord, "clients are not allowed to write control records")
	case b.HasProducerID() && b.BaseSequence() < 0:
		return invalid(kafka.InvalidRecord, "invalid sequence number %d in record batch with producerId %d",
			b.BaseSequence(), b.ProducerID())
	}
	return nil
}

// validation is the state of one call of Validate.
type validation struct {
	batch        Batch
	rules        *Rules
	before       int64 // BeforeMax and AfterMax in milliseconds
	after        int64
	maxTimestamp kafka.Timestamp
	errors       *RecordErrors // nil while there are none
}

// inPlace walks the records of a batch that keeps its bytes.
func (v *validation) inPlace() error {
	if v.batch.Codec() != None && !v.mustWalk() {
		v.maxTimestamp = v.batch.MaxTimestamp()
		return nil
	}
	it := v.skim()
	return v.walk(&it)
}

// skim begins a walk. Under CreateTime the records keep their own timestamps, whatever a batch claims that says it
// has append time: so these must be checked.
func (v *validation) skim() Skimmer {
	it := v.batch.Skim()
	if v.rules.TimestampType == CreateTime {
		it.append, it.first = false, v.batch.BaseTimestamp()
	}
	return it
}

// mustWalk says whether a rule about the records of a compressed batch needs them. The largest timestamp is taken
// from the header, which the producer that made the records wrote.
func (v *validation) mustWalk() bool {
	r, b := v.rules, v.batch
	if r.WalkCompressed || r.Compacted || b.TimestampType() == LogAppendTime {
		return true
	}
	return r.TimestampType == CreateTime && (r.BeforeMax != NoBound || v.outOfBounds(b.MaxTimestamp()))
}

// walk checks each record.
func (v *validation) walk(it *Skimmer) error {
	for index := int32(0); ; index++ {
		o, ok := it.Next()
		if !ok {
			break
		}
		v.record(index, &o)
	}
	if err := it.Err(); err != nil {
		return err
	}
	if v.errors != nil {
		return v.errors
	}
	return nil
}

// record holds one record to the rules.
func (v *validation) record(index int32, o *Outline) {
	r := v.rules
	switch {
	case r.FromClient && o.OffsetDelta != index:
		v.refuse(kafka.InvalidRecord, index, fmt.Sprintf("Offset delta %d is not the record's place in the batch",
			o.OffsetDelta))
	case r.Compacted && o.KeyBytes < 0:
		v.refuse(kafka.InvalidRecord, index,
			"Compacted topic cannot accept message without key in topic partition "+r.Partition.String())
	case r.TimestampType == CreateTime && o.Timestamp != kafka.NoTimestamp:
		if v.outOfBounds(o.Timestamp) {
			v.refuse(kafka.InvalidTimestamp, index, v.boundsReason(o))
		}
	case v.batch.TimestampType() == LogAppendTime:
		v.refuse(kafka.InvalidTimestamp, index, "Producer should not set timestamp type to LogAppendTime")
	}
	v.maxTimestamp = max(v.maxTimestamp, o.Timestamp)
}

// outOfBounds says whether a timestamp is further in the past or in the future than the topic allows. The difference
// may wrap, as it does in Kafka: the timestamps for which it does are refused there too.
func (v *validation) outOfBounds(ts kafka.Timestamp) bool {
	age := int64(v.rules.Now - ts)
	return age > v.before || -age > v.after
}

// boundMs is a bound in the protocol's unit.
func boundMs(d time.Duration) int64 {
	if d == NoBound {
		return math.MaxInt64
	}
	return int64(d / time.Millisecond)
}

func (v *validation) boundsReason(o *Outline) string {
	r := v.rules
	oldest, newest := "any", "any"
	if r.BeforeMax != NoBound {
		oldest = strconv.FormatInt(int64(r.Now)-v.before, 10)
	}
	if r.AfterMax != NoBound {
		newest = strconv.FormatInt(int64(r.Now)+v.after, 10)
	}
	return fmt.Sprintf("Timestamp %d of message with offset %d is out of range. "+
		"The timestamp should be within [%s, %s]",
		o.Timestamp, o.Offset, oldest, newest)
}

func (v *validation) refuse(kind *kafka.Error, index int32, reason string) {
	if v.errors == nil {
		v.errors = new(RecordErrors)
	}
	v.errors.add(kind, index, reason)
}

func errBatchTooLarge(limit int) error {
	return invalid(kafka.MessageTooLarge, "the batch exceeds the maximum of %d bytes", limit)
}
