package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
)

func TestNextSplitsBatches(t *testing.T) {
	first, second := three(BuilderOptions{}), three(BuilderOptions{BaseOffset: 3, Codec: Zstd})
	b, rest, err := Next(join(first, second, []byte("tail")))
	if err != nil || !bytes.Equal(b, first) {
		t.Fatalf("first batch %x, %v", []byte(b), err)
	}
	if cap(b) != len(b) {
		t.Error("an append to the view would write into the next batch")
	}
	b, rest, err = Next(rest)
	if err != nil || !bytes.Equal(b, second) {
		t.Fatalf("second batch %x, %v", []byte(b), err)
	}
	if _, _, err = Next(rest); !errors.Is(err, ErrTruncated) || string(rest) != "tail" {
		t.Errorf("tail %q: %v", rest, err)
	}
}

func TestNextTellsTruncatedFromWrong(t *testing.T) {
	good := three(BuilderOptions{})
	for n := range len(good) {
		_, _, err := Next(good[:n])
		if !errors.Is(err, ErrTruncated) || kafka.CodeOf(err) != kafka.CorruptMessage.Code {
			t.Fatalf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	with := func(change func(Batch)) []byte { b := bytes.Clone(good); change(b); return b }
	for _, c := range []struct {
		name string
		buf  []byte
		want *kafka.Error
	}{
		{"a length of 0", with(put32(lengthAt, 0)), kafka.CorruptMessage},
		{"a length of -1", with(put32(lengthAt, -1)), kafka.CorruptMessage},
		{"the smallest length", with(put32(lengthAt, math.MinInt32)), kafka.CorruptMessage},
		{"one less than a header", with(put32(lengthAt, HeaderBytes-LogOverhead-1)), kafka.CorruptMessage},
		{"magic 3", with(func(b Batch) { b[magicAt] = 3 }), kafka.CorruptMessage},
		{"a message of magic 0", legacy(0), kafka.InvalidRecord},
		{"a message of magic 1", legacy(1), kafka.InvalidRecord},
		{"zeros", make([]byte, 100), kafka.CorruptMessage},
	} {
		_, rest, err := Next(c.buf)
		if errors.Is(err, ErrTruncated) || kafka.CodeOf(err) != c.want.Code || len(rest) != len(c.buf) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestGettersReadWhatTheBuilderWrote(t *testing.T) {
	b := three(BuilderOptions{
		BaseOffset: 1 << 40, LeaderEpoch: 7, Codec: Lz4, Transactional: true,
		Producer: &Producer{ID: 99, Epoch: 3, Sequence: math.MaxInt32},
	})
	type facts struct {
		Base, Last, Next              kafka.Offset
		Size                          int
		Epoch                         kafka.LeaderEpoch
		Magic                         int8
		Attributes                    Attributes
		Delta, Count                  int32
		First, Max                    kafka.Timestamp
		Producer                      Producer
		LastSequence, NextSequence    kafka.Sequence
		Codec                         Codec
		Type                          TimestampType
		Control, Transactional, HasID bool
	}
	got := facts{
		b.BaseOffset(), b.LastOffset(), b.NextOffset(), int(b.Length()) + LogOverhead, b.LeaderEpoch(), b.Magic(),
		b.Attributes(), b.LastOffsetDelta(), b.Count(), b.BaseTimestamp(), b.MaxTimestamp(),
		Producer{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()}, b.LastSequence(), b.NextSequence(),
		b.Codec(), b.TimestampType(), b.IsControl(), b.IsTransactional(), b.HasProducerID(),
	}
	want := facts{
		1 << 40, 1<<40 + 2, 1<<40 + 3, len(b), 7, 2, 0x13, 2, 3, caseTime, caseTime + 2,
		Producer{99, 3, math.MaxInt32}, 1, 2, Lz4, CreateTime, false, true, true,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := b.CheckCRC(); err != nil {
		t.Error(err)
	}
}

func TestABatchWithoutAProducerHasNoSequences(t *testing.T) {
	b := three(BuilderOptions{})
	if b.LastSequence() != kafka.NoSequence || b.NextSequence() != kafka.NoSequence || b.HasProducerID() {
		t.Error(b.LastSequence(), b.NextSequence(), b.HasProducerID())
	}
}

func TestAddSequenceWraps(t *testing.T) {
	for _, c := range []struct {
		s    kafka.Sequence
		n    int32
		want kafka.Sequence
	}{{0, 0, 0}, {5, 3, 8}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 5, 3},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1}} {
		if got := AddSequence(c.s, c.n); got != c.want {
			t.Errorf("%d + %d = %d, want %d", c.s, c.n, got, c.want)
		}
	}
}

func TestOffsetAndEpochLieOutsideTheChecksum(t *testing.T) {
	b := three(BuilderOptions{})
	b.SetBaseOffset(math.MaxInt64 - 2)
	b.SetLeaderEpoch(math.MaxInt32)
	if err := b.CheckCRC(); err != nil || b.LastOffset() != math.MaxInt64 || b.LeaderEpoch() != math.MaxInt32 {
		t.Error(err, b.LastOffset(), b.LeaderEpoch())
	}
	for at := attributesAt; at < len(b); at++ {
		b[at] ^= 0x10
		if kafka.CodeOf(b.CheckCRC()) != kafka.CorruptMessage.Code {
			t.Fatalf("a flipped bit in byte %d is not noticed", at)
		}
		b[at] ^= 0x10
	}
}

func TestSetMaxTimestampKeepsTheChecksumRight(t *testing.T) {
	b := three(BuilderOptions{Codec: Gzip, Transactional: true})
	b.SetMaxTimestamp(LogAppendTime, 42)
	if err := b.CheckCRC(); err != nil || b.TimestampType() != LogAppendTime || b.MaxTimestamp() != 42 {
		t.Error(err, b.TimestampType(), b.MaxTimestamp())
	}
	if b.Codec() != Gzip || !b.IsTransactional() {
		t.Errorf("attributes %#x", b.Attributes())
	}
	it := b.Records()
	defer it.Close()
	if r, _ := it.Next(); r.Timestamp != 42 {
		t.Errorf("a record of a batch with append time has timestamp %d", r.Timestamp)
	}
	b.SetMaxTimestamp(CreateTime, caseTime)
	if err := b.CheckCRC(); err != nil || b.TimestampType() != CreateTime {
		t.Error(err, b.TimestampType())
	}
	binary.BigEndian.PutUint32(b[crcAt:], 0)
	b.SetMaxTimestamp(CreateTime, caseTime)
	if b.CRC() != 0 {
		t.Error("nothing changed, yet the checksum was computed")
	}
}

func TestDeleteHorizon(t *testing.T) {
	b := three(BuilderOptions{})
	if ts, ok := b.DeleteHorizon(); ok || ts != kafka.NoTimestamp {
		t.Error(ts, ok)
	}
	b = withHeader(b, put16(attributesAt, int16(deleteHorizonBit)))
	if ts, ok := b.DeleteHorizon(); !ok || ts != caseTime {
		t.Error(ts, ok)
	}
}

func TestControlRecords(t *testing.T) {
	w := NewBuilder(BuilderOptions{Control: true, Transactional: true, Producer: &Producer{9, 1, -1}})
	w.AppendEndTxnMarker(caseTime, ControlCommit, 17)
	w.AppendEndTxnMarker(caseTime, ControlAbort, -1)
	w.AppendControl(caseTime, ControlLeaderChange, []byte("x"))
	b, err := w.Build()
	if err != nil || !b.IsControl() {
		t.Fatal(err)
	}
	type marker struct {
		Type  ControlType
		Epoch int32
		OK    bool
	}
	var got []marker
	it := b.Records()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		kind, err := r.ControlType()
		if err != nil {
			t.Fatal(err)
		}
		epoch, err := r.CoordinatorEpoch()
		got = append(got, marker{kind, epoch, err == nil})
	}
	want := []marker{{ControlCommit, 17, true}, {ControlAbort, -1, true}, {ControlLeaderChange, 0, false}}
	if d := cmp.Diff(want, got); d != "" || it.Err() != nil {
		t.Error(d, it.Err())
	}
	for _, key := range [][]byte{nil, {0, 0, 0}, {0xff, 0xff, 0, 0}} {
		if _, err := (&Record{Key: key}).ControlType(); err == nil {
			t.Errorf("key %x passes", key)
		}
	}
}

func TestNames(t *testing.T) {
	for c := None; c < codecCount; c++ {
		got, err := ParseCodec(c.String())
		if err != nil || got != c {
			t.Errorf("%s: %v, %v", c, got, err)
		}
	}
	if _, err := ParseCodec("brotli"); err == nil || Codec(6).String() != "codec 6" {
		t.Error(err, Codec(6))
	}
	for _, c := range []struct {
		name string
		want Compression
		ok   bool
	}{
		{"producer", Compression{}, true}, {"uncompressed", Compression{Fixed: true}, true},
		{"zstd", Compression{true, Zstd, 5}, true}, {"none", Compression{}, false}, {"brotli", Compression{}, false},
	} {
		got, err := ParseCompression(c.name, 5)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	if CreateTime.String() != "CreateTime" || LogAppendTime.String() != "LogAppendTime" {
		t.Error("the timestamp types have other names in the config")
	}
}
