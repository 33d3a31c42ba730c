package record

import "spate/kafka"

// RecordBytesMax is the largest record that a compressed batch may hold. An Iterator must keep one whole; Validate
// refuses a larger one, so that what was accepted can be read again.
const RecordBytesMax = 256 << 20

// Iterator gives the records of one batch in order, decompressing as it goes. It checks the structure of every record
// and that their number and length are what the batch says; not the checksum. After false, Err tells whether all
// were given. A caller that stops early calls Close.
type Iterator struct {
	batch  Batch
	rest   []byte  // of an uncompressed batch, not read yet
	stream *stream // of a compressed one; nil when done
	index  int32
	count  int32
	base   kafka.Offset
	first  kafka.Timestamp
	append bool  // the batch has LogAppendTime: all records have its MaxTimestamp
	shape  shape // of the record read last
	err    error
}

// Records begins an iteration over the whole records.
func (b Batch) Records() Iterator {
	it := Iterator{
		batch: b, count: b.Count(), base: b.BaseOffset(), first: b.BaseTimestamp(),
		append: b.TimestampType() == LogAppendTime,
	}
	if it.append {
		it.first = b.MaxTimestamp()
	}
	switch {
	case it.count < 0:
		it.err = invalid(kafka.InvalidRecord, "a batch of %d records", it.count)
	case it.count == 0: // what compaction left of a batch; Kafka does not look at the payload either
	case b.Codec() == None:
		it.rest = b.Payload()
	default:
		it.stream, it.err = openStream(b.Codec(), b.Payload())
	}
	if it.err != nil {
		it.count = 0
	}
	return it
}

// Next gives the next record, or false after the last one and after an error. Its bytes are valid until the next call.
func (it *Iterator) Next() (Record, bool) {
	body, ok := it.advance()
	if !ok {
		return Record{}, false
	}
	s := &it.shape
	return Record{
		Attributes: int8(body[0]), TimestampDelta: s.timestampDelta, OffsetDelta: s.offsetDelta,
		Offset: it.base + kafka.Offset(s.offsetDelta), Timestamp: it.timestamp(s.timestampDelta),
		Key: s.key.of(body), Value: s.value.of(body),
		HeaderCount: int(s.headerCount), headers: body[s.headers:],
	}, true
}

// advance reads the next record into shape and gives its body.
func (it *Iterator) advance() ([]byte, bool) {
	if it.index >= it.count {
		it.Close()
		return nil, false
	}
	body, err := it.body()
	if err == nil {
		if reason := it.shape.parse(body); reason != "" {
			err = invalid(kafka.InvalidRecord, "record %d: %s", it.index, reason)
		}
	}
	return body, it.step(err)
}

// step counts a record that was read, or ends the iteration for what is wrong with it.
func (it *Iterator) step(err error) bool {
	if err == nil && it.index == it.count-1 {
		err = it.finish()
	}
	if err != nil {
		it.err = err
		it.Close()
		return false
	}
	it.index++
	return true
}

// timestamp is that of a record.
func (it *Iterator) timestamp(delta int64) kafka.Timestamp {
	if it.append {
		return it.first
	}
	return it.first + kafka.Timestamp(delta)
}

// body cuts the next record out, without its length.
func (it *Iterator) body() ([]byte, error) {
	if it.stream != nil {
		return it.stream.record()
	}
	n, at := varint(it.rest, 0)
	if at < 0 || n < 0 || int(n) > len(it.rest)-at {
		return nil, errRecordLength(n, len(it.rest))
	}
	end := at + int(n)
	body := it.rest[at:end:end]
	it.rest = it.rest[end:]
	return body, nil
}

func errRecordLength(n int32, left int) error {
	return invalid(kafka.InvalidRecord, "a record of %d bytes where %d are left", n, left)
}

// finish checks that nothing follows the last record.
func (it *Iterator) finish() error {
	if it.stream != nil {
		return it.stream.end()
	}
	if len(it.rest) > 0 {
		return invalid(kafka.InvalidRecord, "bytes follow the last record")
	}
	return nil
}

// Err is the reason why Next gave false before all records were read, or nil.
func (it *Iterator) Err() error { return it.err }

// Close ends an iteration early; the decoder goes back to its pool. It may be called more than once.
func (it *Iterator) Close() {
	it.index = it.count
	if it.stream != nil {
		it.stream.close()
		it.stream = nil
	}
}

// record gives the next record of the stream, without its length; valid until the next call.
func (s *stream) record() ([]byte, error) {
	n, _, err := s.varint()
	if err != nil {
		return nil, err
	}
	if err := checkRecordLength(n); err != nil {
		return nil, err
	}
	if err := s.fill(int(n)); err != nil {
		return nil, err
	}
	body := s.window[s.r : s.r+int(n) : s.r+int(n)]
	s.r += int(n)
	return body, nil
}

func checkRecordLength(n int32) error {
	if n < 0 {
		return invalid(kafka.InvalidRecord, "a record of %d bytes", n)
	}
	if n > RecordBytesMax {
		return invalid(kafka.MessageTooLarge, "a record of %d bytes, more than the %d that are allowed in a "+
			"compressed batch", n, RecordBytesMax)
	}
	return nil
}
