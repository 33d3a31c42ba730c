package record

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"flag"
	"hash/crc32"
	"math"
	"os"
	"testing"

	"spate/kafka"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/produce_cases.json anew")

// produceCase is one partition's records as a producer might send them, good or hostile. The file of them is what
// tools/compat sends to a broker; how Apache Kafka answered lies beside it.
type produceCase struct {
	Name    string
	Topic   string // the kind of topic, see topicRules
	Version int16  // of Produce
	Records []byte
}

const (
	casesFile = "testdata/produce_cases.json"
	// caseTime is in the past of every run, and inside the default bounds of a topic.
	caseTime   = kafka.Timestamp(1_700_000_000_000)
	farFuture  = kafka.Timestamp(7_000_000_000_000)
	farPast    = kafka.Timestamp(1_000_000_000)
	newVersion = 9
)

// three makes a batch of three ordinary records, one of them with headers and nulls.
func three(o BuilderOptions) Batch {
	w := NewBuilder(o)
	w.Append(caseTime, []byte("key-0"), []byte("value-0"))
	w.Append(caseTime+1, []byte("key-1"), nil, Header{[]byte("h"), []byte("x")}, Header{[]byte("null"), nil})
	w.Append(caseTime+2, []byte{}, []byte{})
	b, err := w.Build()
	if err != nil {
		panic(err)
	}
	return b
}

// withHeader changes header bytes of a good batch and makes its checksum fit.
func withHeader(b Batch, change func(b Batch)) Batch {
	c := bytes.Clone(b)
	change(c)
	Batch(c).UpdateCRC()
	return c
}

// withPayload makes a batch of count records out of the given encoded ones, which nothing has checked.
func withPayload(c Codec, count int32, payload []byte) Batch {
	b := append(bytes.Clone(three(BuilderOptions{})[:HeaderBytes]), payload...)
	binary.BigEndian.PutUint32(b[lastOffsetDeltaAt:], uint32(count-1))
	binary.BigEndian.PutUint32(b[countAt:], uint32(count))
	Batch(b).seal(Attributes(c))
	return b
}

// plain is the uncompressed form of three's records.
func plain() []byte { return three(BuilderOptions{}).Payload() }

// body makes a record of its length and body.
func body(b ...byte) []byte { return append(appendVarint(nil, int64(len(b))), b...) }

func put16(at int, v int16) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint16(b[at:], uint16(v)) }
}

func put32(at int, v int32) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
}

func put64(at int, v int64) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }
}

// legacy makes a message of magic 0 or 1.
func legacy(magic byte) []byte {
	message := []byte{0, 0, 0, 0, magic, 0}
	if magic == 1 {
		message = binary.BigEndian.AppendUint64(message, uint64(caseTime))
	}
	message = append(message, 0, 0, 0, 1, 'k', 0, 0, 0, 1, 'v')
	binary.BigEndian.PutUint32(message, crc32.ChecksumIEEE(message[4:]))
	head := binary.BigEndian.AppendUint32(make([]byte, 8), uint32(len(message)))
	return append(head, message...)
}

func gzipped(p []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(p)
	_ = w.Close()
	return out.Bytes()
}

func compressedBytes(t testing.TB, c Codec, p []byte) []byte {
	t.Helper()
	out, err := appendCompressed(nil, p, kindOf(c, 0), math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// timed makes a batch of keyed records with the given timestamps.
func timed(o BuilderOptions, times ...kafka.Timestamp) Batch {
	w := NewBuilder(o)
	for _, ts := range times {
		w.Append(ts, []byte("k"), []byte("v"))
	}
	b, _ := w.Build()
	return b
}

// keyed makes a batch whose records have a key or none.
func keyed(o BuilderOptions, keys ...bool) Batch {
	w := NewBuilder(o)
	for _, has := range keys {
		var key []byte
		if has {
			key = []byte("k")
		}
		w.Append(caseTime, key, []byte("v"))
	}
	b, _ := w.Build()
	return b
}

func produceCases(t testing.TB) []produceCase {
	cases := append(framingCases(), headerCases()...)
	cases = append(cases, recordCases()...)
	cases = append(cases, topicCases()...)
	return append(cases, codecCases(t)...)
}

// plainCases makes cases for an ordinary topic and a recent version.
func plainCases(records map[string][]byte) []produceCase {
	var cases []produceCase
	for name, r := range records {
		cases = append(cases, produceCase{name, "plain", newVersion, r})
	}
	return cases
}

func framingCases() []produceCase {
	good := three(BuilderOptions{})
	length := func(v int32) []byte { b := bytes.Clone(good); put32(lengthAt, v)(b); return b }
	magic := func(v byte) []byte { b := bytes.Clone(good); b[magicAt] = v; return b }
	crc := bytes.Clone(good)
	crc[crcAt] ^= 1
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	return plainCases(map[string][]byte{
		"three records":                               good,
		"no bytes":                                    {},
		"a few bytes":                                 good[:11],
		"a header cut before the magic":               good[:16],
		"a header cut after the magic":                good[:40],
		"a batch without its last byte":               good[:len(good)-1],
		"two batches":                                 append(bytes.Clone(good), good...),
		"a batch and ten bytes":                       append(bytes.Clone(good), make([]byte, 10)...),
		"a batch and half a batch":                    append(bytes.Clone(good), good[:50]...),
		"a batch and a hundred zeros":                 append(bytes.Clone(good), make([]byte, 100)...),
		"a batch and one of magic 1":                  append(bytes.Clone(good), legacy(1)...),
		"magic 0":                                     legacy(0),
		"magic 1":                                     legacy(1),
		"magic 3":                                     magic(3),
		"magic -1":                                    magic(0xff),
		"length 0":                                    length(0),
		"length 13":                                   length(13),
		"length 14, less than a header":               length(14),
		"length 48, one less than a header":           length(48),
		"length 49, a header":                         length(49),
		"length -1":                                   length(-1),
		"length of 2 GiB":                             length(math.MaxInt32),
		"a length one too large":                      length(good.Length() + 1),
		"a length one too small":                      length(good.Length() - 1),
		"a wrong checksum":                            crc,
		"a flipped bit in the last record":            flipped,
		"a base offset of 5":                          withHeader(good, put64(baseOffsetAt, 5)),
		"a base offset of -1":                         withHeader(good, put64(baseOffsetAt, -1)),
		"a leader epoch of 7":                         withHeader(good, put32(leaderEpochAt, 7)),
		"a leader epoch of -1":                        withHeader(good, put32(leaderEpochAt, -1)),
		"a batch of no records":                       withPayload(None, 0, nil),
		"a batch that claims one record and has none": withPayload(None, 1, nil),
	})
}

func headerCases() []produceCase {
	good := three(BuilderOptions{})
	attributes := func(a int16) Batch { return withHeader(good, put16(attributesAt, a)) }
	both := func(v int32) Batch {
		return withHeader(good, func(b Batch) { put32(lastOffsetDeltaAt, v-1)(b); put32(countAt, v)(b) })
	}
	producer := func(id int64, epoch int16, sequence int32) Batch {
		return withHeader(good, func(b Batch) {
			put64(producerIDAt, id)(b)
			put16(producerEpochAt, epoch)(b)
			put32(baseSequenceAt, sequence)(b)
		})
	}
	transactional := func(b Batch) Batch { return withHeader(b, put16(attributesAt, int16(transactionalBit))) }
	return plainCases(map[string][]byte{
		"last offset delta one too large":          withHeader(good, put32(lastOffsetDeltaAt, 3)),
		"last offset delta one too small":          withHeader(good, put32(lastOffsetDeltaAt, 1)),
		"last offset delta -1":                     withHeader(good, put32(lastOffsetDeltaAt, -1)),
		"last offset delta the largest":            withHeader(good, put32(lastOffsetDeltaAt, math.MaxInt32)),
		"count 0":                                  withHeader(good, put32(countAt, 0)),
		"count -1":                                 withHeader(good, put32(countAt, -1)),
		"count the largest":                        withHeader(good, put32(countAt, math.MaxInt32)),
		"count and delta claim a record too many":  both(4),
		"count and delta claim a record too few":   both(2),
		"count and delta claim 2^31-1 records":     both(math.MaxInt32),
		"control flag":                             attributes(int16(controlBit)),
		"control and transactional flag":           attributes(int16(controlBit | transactionalBit)),
		"codec 5":                                  attributes(5),
		"codec 6":                                  attributes(6),
		"codec 7":                                  attributes(7),
		"an unused attribute bit, 7":               attributes(0x80),
		"an unused attribute bit, 14":              attributes(0x4000),
		"delete horizon flag":                      attributes(int16(deleteHorizonBit)),
		"log append time flag":                     attributes(int16(logAppendTimeBit)),
		"a producer id without a sequence":         producer(5_000_000, 0, -1),
		"a producer id with sequence -2":           producer(5_000_001, 0, -2),
		"a producer id with epoch -1":              producer(5_000_002, -1, 0),
		"no producer id but an epoch and sequence": producer(-1, 3, 7),
		"a producer id of -2":                      producer(-2, 0, 0),
		"transactional without a producer id":      transactional(good),
		"max timestamp too small":                  withHeader(good, put64(maxTimestampAt, int64(caseTime-5))),
		"max timestamp too large":                  withHeader(good, put64(maxTimestampAt, int64(caseTime+500))),
		"max timestamp -1":                         withHeader(good, put64(maxTimestampAt, -1)),
		"base timestamp -1":                        withHeader(good, put64(baseTimestampAt, -1)),
		"base timestamp -5":                        withHeader(good, put64(baseTimestampAt, -5)),
		"base timestamp the smallest":              withHeader(good, put64(baseTimestampAt, math.MinInt64)),
	})
}

func recordCases() []produceCase {
	one := func(payload []byte) []byte { return withPayload(None, 1, payload) }
	gap := func(c Codec, deltas ...byte) []byte {
		var payload []byte
		for _, d := range deltas {
			payload = append(payload, body(0, 0, d<<1, 2, 'k', 2, 'v', 0)...)
		}
		packed, err := appendCompressed(nil, payload, kindOf(c, 0), math.MaxInt)
		if err != nil {
			panic(err)
		}
		return withPayload(c, int32(len(deltas)), packed)
	}
	long := bytes.Repeat([]byte{0x80}, 12)
	good := body(0, 0, 0, 2, 'k', 2, 'v', 0)
	return plainCases(map[string][]byte{
		"a good record":                            one(good),
		"record attributes that are not zero":      one(body(0x7f, 0, 0, 2, 'k', 2, 'v', 0)),
		"offset deltas 0, 2, 1":                    gap(None, 0, 2, 1),
		"offset deltas 0, 0, 0":                    gap(None, 0, 0, 0),
		"offset deltas 1, 2, 3":                    gap(None, 1, 2, 3),
		"offset deltas 0, 2, 1 in gzip":            gap(Gzip, 0, 2, 1),
		"a record length of -1":                    one([]byte{1, 0, 0, 0}),
		"a record length of 0":                     one([]byte{0}),
		"a record length beyond the batch":         one([]byte{100, 0, 0, 0, 2, 'k', 2, 'v', 0}),
		"a record length of 2^31-1":                one([]byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 1, 0}),
		"a record length of six bytes":             one(append(bytes.Clone(long[:6]), 0, 0, 0, 1, 1, 0)),
		"a record length that ends early":          one([]byte{0x80}),
		"a timestamp delta of eleven bytes":        one(body(join([]byte{0}, long[:11], []byte{0, 1, 1, 0})...)),
		"an offset delta of six bytes":             one(body(join([]byte{0, 0}, long[:6], []byte{1, 1, 0})...)),
		"a key longer than the record":             one(body(0, 0, 0, 20, 'k', 2, 'v', 0)),
		"a key length of -2":                       one(body(0, 0, 0, 3, 2, 'v', 0)),
		"a value longer than the record":           one(body(0, 0, 0, 2, 'k', 20, 'v', 0)),
		"a value length of -7":                     one(body(0, 0, 0, 2, 'k', 13, 0)),
		"a record without a header count":          one(body(0, 0, 0, 2, 'k', 2, 'v')),
		"a header count of -1":                     one(body(0, 0, 0, 2, 'k', 2, 'v', 1)),
		"a header count beyond the record":         one(body(0, 0, 0, 2, 'k', 2, 'v', 40)),
		"a header without a value":                 one(body(0, 0, 0, 2, 'k', 2, 'v', 2, 2, 'h')),
		"a header with a null key":                 one(body(0, 0, 0, 2, 'k', 2, 'v', 2, 1, 2, 'x')),
		"a header with an empty key":               one(body(0, 0, 0, 2, 'k', 2, 'v', 2, 0, 2, 'x')),
		"a header with a null value":               one(body(0, 0, 0, 2, 'k', 2, 'v', 2, 2, 'h', 1)),
		"a header key that is not UTF-8":           one(body(0, 0, 0, 2, 'k', 2, 'v', 2, 2, 0xff, 2, 'x')),
		"bytes after the fields of a record":       one(body(0, 0, 0, 2, 'k', 2, 'v', 0, 0)),
		"bytes after the last record":              one(append(bytes.Clone(good), 9)),
		"half a record after the first":            withPayload(None, 2, join(good, []byte{14, 0, 0, 2})),
		"a negative timestamp by a delta of -2^40": one(body(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0, 1, 1, 0)),
	})
}

func topicCases() []produceCase {
	future := timed(BuilderOptions{}, caseTime, farFuture, caseTime, farFuture)
	past := timed(BuilderOptions{}, farPast, farFuture, -1)
	stamped := withHeader(three(BuilderOptions{}), put16(attributesAt, int16(logAppendTimeBit)))
	big := NewBuilder(BuilderOptions{})
	big.Append(caseTime, []byte("k"), bytes.Repeat([]byte("0123456789abcdef"), 300))
	large, _ := big.Build()
	exact := NewBuilder(BuilderOptions{})
	exact.Append(caseTime, []byte("k"), make([]byte, 2000-HeaderBytes-10))
	fits, _ := exact.Build()
	mixed := NewBuilder(BuilderOptions{})
	mixed.Append(farFuture, nil, []byte("v"))
	mixed.Append(farFuture, []byte("k"), []byte("v"))
	both, _ := mixed.Build()
	squeezed := NewBuilder(BuilderOptions{Codec: Zstd})
	squeezed.Append(caseTime, []byte("k"), make([]byte, 20000))
	small, _ := squeezed.Build()
	return []produceCase{
		{"timestamps in the future", "plain", newVersion, future},
		{"timestamps in the future, gzip", "plain", newVersion,
			timed(BuilderOptions{Codec: Gzip}, caseTime, farFuture)},
		{"timestamps in the past and future", "past", newVersion, past},
		{"timestamps in the past, zstd", "past", newVersion, timed(BuilderOptions{Codec: Zstd}, farPast)},
		{"timestamp -1", "plain", newVersion, timed(BuilderOptions{}, -1, -1)},
		{"timestamp -1 with bounds", "past", newVersion, timed(BuilderOptions{}, -1, -1)},
		{"timestamps in the future, append time", "appendtime", newVersion, future},
		{"three records, append time", "appendtime", newVersion, three(BuilderOptions{})},
		{"three records, append time, lz4", "appendtime", newVersion, three(BuilderOptions{Codec: Lz4})},
		{"log append time flag, append time", "appendtime", newVersion, stamped},
		{"log append time flag, append time, gzip", "appendtime", newVersion,
			withHeader(three(BuilderOptions{Codec: Gzip}), put16(attributesAt, int16(logAppendTimeBit)|int16(Gzip)))},
		{"three records, compacted", "compacted", newVersion, three(BuilderOptions{})},
		{"no keys, compacted", "compacted", newVersion, keyed(BuilderOptions{}, false, true, false, false, false)},
		{"no keys, compacted, snappy", "compacted", newVersion, keyed(BuilderOptions{Codec: Snappy}, true, false)},
		{"no key and in the future, compacted", "compacted", newVersion, both},
		{"larger than the topic allows", "small", newVersion, large},
		{"as large as the topic allows", "small", newVersion, fits},
		{"larger than the topic allows before compression", "small", newVersion, small},
		{"larger than the topic allows once decompressed", "smalluncompressed", newVersion, small},
		{"zstd in version 3", "plain", 3, three(BuilderOptions{Codec: Zstd})},
		{"zstd in version 6", "plain", 6, three(BuilderOptions{Codec: Zstd})},
		{"zstd in version 7", "plain", 7, three(BuilderOptions{Codec: Zstd})},
		{"magic 1 in version 3", "plain", 3, legacy(1)},
		{"codec 5 in version 3", "plain", 3, withHeader(three(BuilderOptions{}), put16(attributesAt, 5))},
	}
}

func codecCases(t testing.TB) []produceCase {
	var cases []produceCase
	add := func(name, topic string, records []byte) {
		cases = append(cases, produceCase{name, topic, newVersion, records})
	}
	topics := []string{"plain", "uncompressed", "gzip", "snappy", "lz4", "zstd"}
	for c := None; c < codecCount; c++ {
		for _, topic := range topics {
			add("three records in "+c.String()+", topic "+topic, topic, three(BuilderOptions{Codec: c}))
		}
		if c == None {
			continue
		}
		packed := compressedBytes(t, c, plain())
		add("no payload in "+c.String(), "plain", withPayload(c, 1, nil))
		add("plain records that claim to be "+c.String(), "plain", withPayload(c, 3, plain()))
		add("truncated "+c.String(), "plain", withPayload(c, 3, packed[:len(packed)-5]))
		add("bytes after "+c.String(), "plain", withPayload(c, 3, append(bytes.Clone(packed), "garbage"...)))
		add("a record too many in "+c.String(), "plain", withPayload(c, 4, packed))
		add("a record too few in "+c.String(), "plain", withPayload(c, 2, packed))
		add("garbage records in "+c.String(), "plain", withPayload(c, 1, compressedBytes(t, c, []byte("garbage!"))))
		add("garbage records in "+c.String()+", recompressed", "uncompressed",
			withPayload(c, 1, compressedBytes(t, c, []byte("garbage!"))))
		twice := append(compressedBytes(t, c, plain()[:30]), compressedBytes(t, c, plain()[30:])...)
		add("two joined streams of "+c.String(), "plain", withPayload(c, 3, twice))
	}
	add("gzip with a wrong checksum", "plain", withPayload(Gzip, 3, gzipWrongSum()))
	add("snappy without framing", "plain", withPayload(Snappy, 3, rawSnappy(plain())))
	for name, frame := range lz4Frames() {
		add(name, "plain", withPayload(Lz4, 3, frame))
	}
	for name, frame := range zstdFrames(t) {
		add(name, "plain", withPayload(Zstd, 3, frame))
	}
	return cases
}

func gzipWrongSum() []byte {
	b := gzipped(plain())
	b[len(b)-8] ^= 1
	return b
}

// TestWriteProduceCases writes the file of cases.
func TestWriteProduceCases(t *testing.T) {
	if !*rewrite {
		t.Skip("only writes the file")
	}
	cases := produceCases(t)
	sortCases(cases)
	text, err := json.MarshalIndent(cases, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(casesFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readCases(t testing.TB) []produceCase {
	t.Helper()
	var cases []produceCase
	readJSON(t, casesFile, &cases)
	return cases
}

func readJSON(t testing.TB, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
