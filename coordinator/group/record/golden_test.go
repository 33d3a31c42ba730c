package record

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"spate/coordinator"
	kafkarecord "spate/kafka/record"
)

// pair is a record as it lies in a log; value is nil for a tombstone.
type pair struct{ key, value []byte }

// goldenPairs are the records of the segment that Apache Kafka 4.3.1 wrote for groups of every kind: classic and
// consumer groups, static members, patterns, an upgrade and a downgrade, transactions, deletions.
func goldenPairs(t testing.TB) []pair {
	t.Helper()
	buf, err := os.ReadFile(filepath.Join("testdata", "kafka-4.3.1", "00000000000000000000.log"))
	if err != nil {
		t.Fatal(err)
	}
	var pairs []pair
	for len(buf) > 0 {
		var b kafkarecord.Batch
		if b, buf, err = kafkarecord.Next(buf); err != nil {
			t.Fatal(err)
		}
		if b.IsControl() {
			continue
		}
		records := b.Records()
		for r, ok := records.Next(); ok; r, ok = records.Next() {
			pairs = append(pairs, pair{bytes.Clone(r.Key), bytes.Clone(r.Value)})
		}
		if err := records.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return pairs
}

func encode(r coordinator.Record) pair {
	value, kept := r.AppendValue([]byte{})
	if !kept {
		value = nil
	}
	return pair{r.AppendKey(nil), value}
}

// TestKafkasRecordsComeOutAsTheyWent decodes what Kafka wrote and encodes it again: the bytes are the same.
func TestKafkasRecordsComeOutAsTheyWent(t *testing.T) {
	seen := map[Type][2]int{}
	var d Decoder
	for i, p := range goldenPairs(t) {
		r, err := d.Decode(p.key, p.value)
		if err != nil {
			t.Fatalf("record %d: %v\n%x", i, err, p.value)
		}
		got := encode(r)
		if !bytes.Equal(got.key, p.key) || !bytes.Equal(got.value, p.value) ||
			(got.value == nil) != (p.value == nil) {
			t.Errorf(
				"record %d, %+v:\nkey   %x\nwant  %x\nvalue %x\nwant  %x",
				i,
				r,
				got.key,
				p.key,
				got.value,
				p.value,
			)
		}
		kind := Type(int16(p.key[0])<<8 | int16(p.key[1]))
		count := seen[kind]
		if p.value == nil {
			count[0]++
		} else {
			count[1]++
		}
		seen[kind] = count
	}
	for _, kind := range []Type{TypeOffsetCommit, TypeGroup, TypeConsumerGroup, TypeMember, TypeTarget,
		TypeTargetMember, TypeCurrentMember, TypeRegularExpression} {
		if seen[kind][0] == 0 || seen[kind][1] == 0 {
			t.Errorf("type %d: %d tombstones and %d values are too few", kind, seen[kind][0], seen[kind][1])
		}
	}
}
