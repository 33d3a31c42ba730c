package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"spate/kafka"
)

// clientRules are those of a topic with the default settings.
func clientRules() Rules {
	return Rules{
		BatchBytesMax: 1048588, BeforeMax: NoBound, AfterMax: time.Hour, Now: caseTime + 1000,
		FromClient: true, Version: newVersion,
	}
}

func TestAValidBatchIsItsOwnAnswer(t *testing.T) {
	for c := None; c < codecCount; c++ {
		b := three(BuilderOptions{Codec: c})
		before := bytes.Clone(b)
		rules := clientRules()
		facts, err := Validate(b, &rules)
		if err != nil {
			t.Fatal(c, err)
		}
		if &facts.Batch[0] != &b[0] || !bytes.Equal(b, before) {
			t.Errorf("%s: the batch was copied or changed", c)
		}
		if facts.MaxTimestamp != caseTime+2 || facts.OffsetOfMaxTimestampDelta != 2 || facts.Records != 3 {
			t.Errorf("%s: %+v", c, facts)
		}
	}
}

// TestEachRule breaks one rule at a time; the verdicts of Kafka on the same and more batches are checked elsewhere.
func TestEachRule(t *testing.T) {
	good := three(BuilderOptions{})
	for _, c := range []struct {
		name   string
		batch  Batch
		change func(*Rules)
		want   *kafka.Error
	}{
		{"too large", good, func(r *Rules) { r.BatchBytesMax = len(good) - 1 }, kafka.MessageTooLarge},
		{"size before checksum", withoutCRC(good), func(r *Rules) { r.BatchBytesMax = 5 }, kafka.MessageTooLarge},
		{"a base offset", withHeader(good, put64(baseOffsetAt, 1)), nil, kafka.InvalidRecord},
		{"a wrong checksum", withoutCRC(good), nil, kafka.CorruptMessage},
		{"an unknown codec", withHeader(good, put16(attributesAt, 7)), nil, kafka.UnsupportedCompressionType},
		{"zstd too early", three(BuilderOptions{Codec: Zstd}), func(r *Rules) { r.Version = 6 },
			kafka.UnsupportedCompressionType},
		{"count and delta differ", withHeader(good, put32(countAt, 2)), nil, kafka.InvalidRecord},
		{"a control batch", withHeader(good, put16(attributesAt, 0x20)), nil, kafka.InvalidRecord},
		{"a producer without sequence", three(BuilderOptions{Producer: &Producer{1, 0, -1}}), nil, kafka.InvalidRecord},
		{"no key", keyed(BuilderOptions{}, false), func(r *Rules) { r.Compacted = true }, kafka.InvalidRecord},
		{"the future", timed(BuilderOptions{}, caseTime+2*3600_000), nil, kafka.InvalidTimestamp},
		{"the past", timed(BuilderOptions{}, caseTime-1), func(r *Rules) { r.BeforeMax = 0 }, kafka.InvalidTimestamp},
		{"the past, compressed", timed(BuilderOptions{Codec: Lz4}, caseTime-1),
			func(r *Rules) { r.BeforeMax = 0 }, kafka.InvalidTimestamp},
		{"the future, compressed", timed(BuilderOptions{Codec: Gzip}, caseTime+7200_000), nil, kafka.InvalidTimestamp},
	} {
		rules := clientRules()
		if c.change != nil {
			c.change(&rules)
		}
		before := bytes.Clone(c.batch)
		if _, err := Validate(c.batch, &rules); !errors.Is(err, c.want) || kafka.CodeOf(err) != c.want.Code {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if !bytes.Equal(before, c.batch) {
			t.Errorf("%s: a refused batch was changed", c.name)
		}
	}
}

func withoutCRC(b Batch) Batch {
	c := bytes.Clone(b)
	c[crcAt]++
	return c
}

// TestTheBrokersOwnBatches are not held to what only clients must keep.
func TestTheBrokersOwnBatches(t *testing.T) {
	w := NewBuilder(BuilderOptions{BaseOffset: 77, Control: true, Transactional: true, Producer: &Producer{1, 0, -1}})
	w.AppendEndTxnMarker(caseTime, ControlAbort, 3)
	b, _ := w.Build()
	rules := clientRules()
	rules.FromClient, rules.Compression = false, Compression{Fixed: true, Codec: Zstd}
	facts, err := Validate(b, &rules)
	if err != nil || facts.Batch.Codec() != None {
		t.Error(err, facts.Batch.Codec())
	}
}

func TestTimestampBoundsAreInclusive(t *testing.T) {
	rules := clientRules()
	rules.BeforeMax, rules.AfterMax = time.Minute, time.Second
	for _, c := range []struct {
		ts kafka.Timestamp
		ok bool
	}{
		{rules.Now, true}, {rules.Now - 60_000, true}, {rules.Now - 60_001, false},
		{rules.Now + 1000, true}, {rules.Now + 1001, false}, {kafka.NoTimestamp, true}, {-2, false},
		{math.MinInt64, false}, {math.MaxInt64, false},
	} {
		if _, err := Validate(timed(BuilderOptions{}, c.ts), &rules); (err == nil) != c.ok {
			t.Errorf("%d: %v", c.ts-rules.Now, err)
		}
	}
}

func TestAppendTimeReplacesTimestamps(t *testing.T) {
	for c := None; c < codecCount; c++ {
		rules := clientRules()
		rules.TimestampType = LogAppendTime
		facts, err := Validate(timed(BuilderOptions{Codec: c}, farFuture, farPast), &rules)
		if err != nil {
			t.Fatal(c, err)
		}
		b := facts.Batch
		if err := b.CheckCRC(); err != nil || b.TimestampType() != LogAppendTime || facts.MaxTimestamp != rules.Now {
			t.Error(c, err, b.TimestampType(), facts.MaxTimestamp)
		}
		for _, r := range outlineOf(t, b).Records {
			if r.Timestamp != rules.Now {
				t.Errorf("%s: a record has timestamp %d", c, r.Timestamp)
			}
		}
	}
}

func TestAWrongMaxTimestampIsCorrected(t *testing.T) {
	rules := clientRules()
	facts, err := Validate(withHeader(three(BuilderOptions{}), put64(maxTimestampAt, 5)), &rules)
	if err != nil || facts.MaxTimestamp != caseTime+2 || facts.Batch.MaxTimestamp() != caseTime+2 {
		t.Fatal(err, facts.MaxTimestamp)
	}
	if err := facts.Batch.CheckCRC(); err != nil {
		t.Error(err)
	}
}

func TestEveryCodecBecomesEveryOther(t *testing.T) {
	for source := None; source < codecCount; source++ {
		for target := None; target < codecCount; target++ {
			for level := range 3 {
				rules := clientRules()
				rules.Compression = Compression{Fixed: true, Codec: target, Level: level * 6}
				b := three(BuilderOptions{Codec: source, Transactional: true, Producer: &Producer{4, 2, 9}})
				want := outlineOf(t, b)
				facts, err := Validate(b, &rules)
				if err != nil {
					t.Fatal(source, target, err)
				}
				want.Attributes = want.Attributes&^codecMask | Attributes(target)
				got := outlineOf(t, facts.Batch)
				if fmt.Sprint(got) != fmt.Sprint(want) || facts.Batch.CheckCRC() != nil {
					t.Errorf("%s to %s: %v, want %v", source, target, got, want)
				}
				if same := &facts.Batch[0] == &b[0]; same != (source == target) {
					t.Errorf("%s to %s: the same memory: %v", source, target, same)
				}
				if _, rest, err := Next(facts.Batch); err != nil || len(rest) != 0 {
					t.Errorf("%s to %s: %v", source, target, err)
				}
			}
		}
	}
}

// TestRecompressionChecksTheRecords: what a walk would refuse is refused on the way to another codec too.
func TestRecompressionChecksTheRecords(t *testing.T) {
	for source := None; source < codecCount; source++ {
		for _, target := range []Codec{None, Gzip, Zstd} {
			if source == target {
				continue
			}
			rules := clientRules()
			rules.Compression = Compression{Fixed: true, Codec: target}
			rules.Compacted = true
			_, err := Validate(keyed(BuilderOptions{Codec: source}, true, false), &rules)
			var list *RecordErrors
			if !errors.As(err, &list) || list.Total != 1 || list.List[0].Index != 1 {
				t.Errorf("%s to %s: %v", source, target, err)
			}
		}
	}
}

func TestRecordErrorsAreBounded(t *testing.T) {
	keys := make([]bool, 5000)
	rules := clientRules()
	rules.Compacted = true
	_, err := Validate(keyed(BuilderOptions{}, keys...), &rules)
	var list *RecordErrors
	if !errors.As(err, &list) || list.Total != 5000 || len(list.List) != recordErrorsMax {
		t.Fatal(err)
	}
	if !strings.Contains(err.Error(), "5000 record errors in total") || strings.Count(err.Error(), "without key") != 3 {
		t.Error(err)
	}
}

func TestTimestampErrorsOutweighOthers(t *testing.T) {
	w := NewBuilder(BuilderOptions{})
	w.Append(farFuture, []byte("k"), nil)
	w.Append(caseTime, nil, nil)
	b, _ := w.Build()
	rules := clientRules()
	rules.Compacted = true
	_, err := Validate(b, &rules)
	var list *RecordErrors
	if !errors.As(err, &list) || list.Err != kafka.InvalidTimestamp || len(list.List) != 2 {
		t.Fatal(err)
	}
	for i, part := range []string{"out of range", "without key"} {
		if !strings.Contains(list.List[i].Reason, part) {
			t.Errorf("record %d: %s", i, list.List[i].Reason)
		}
	}
}

func TestSingle(t *testing.T) {
	b := three(BuilderOptions{})
	got, err := Single(join(b, b[:30]))
	if err != nil || !slices.Equal(got, b) {
		t.Error(err)
	}
	for _, bad := range [][]byte{nil, b[:60], join(b, b), join(b, make([]byte, 20)), legacy(1), join(b, legacy(0))} {
		if _, err := Single(bad); err == nil {
			t.Errorf("%x passes", bad)
		}
	}
}
