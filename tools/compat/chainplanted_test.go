package compat

import (
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestChainChecks plants damage of each kind in what a chain might have done: the checks must find it.
func TestChainChecks(t *testing.T) {
	remove := func(records *[]*kgo.Record, at, n int) { *records = slices.Delete(*records, at, at+n) }
	for _, planted := range []struct {
		name   string
		damage func(in, out chainRecords)
		input  bool // what is damaged; otherwise the output
	}{
		{"a lost record of the input", func(in, _ chainRecords) { remove(&in[0], 1, 1) }, true},
		{"a record twice in the input", func(in, _ chainRecords) { in[0] = append(in[0], in[0][1]) }, true},
		{"a lost transaction", func(in, _ chainRecords) {
			for p := range in {
				remove(&in[p], 0, 5)
			}
		}, true},
		{"an aborted transaction", func(in, _ chainRecords) {
			for number := range int64(20) {
				p := number % chainInPartitions
				in[p] = append(in[p], numberRecord(20+number))
			}
		}, true},
		{"half a transaction of a producer that was killed", func(in, _ chainRecords) { remove(&in[2], 10, 1) }, true},
		{"a foreign record", func(in, _ chainRecords) { in[1] = append(in[1], numberRecord(1001)) }, true},
		{"a lost record of the output", func(_, out chainRecords) { remove(&out[3], 2, 1) }, false},
		{"a record twice in the output", func(_, out chainRecords) { out[0] = append(out[0], out[0][0]) }, false},
		{"two records in another order", func(_, out chainRecords) {
			// The next one from the same partition: the order beside other partitions is chance.
			at := 1 + slices.IndexFunc(out[0][1:], func(r *kgo.Record) bool { return r.Value[0] == out[0][0].Value[0] })
			out[0][0], out[0][at] = out[0][at], out[0][0]
		}, false},
		{"a record in another partition", func(_, out chainRecords) {
			out[1] = append(out[1], out[0][5])
			remove(&out[0], 5, 1)
		}, false},
	} {
		c := &chain{input: []*inputTransaction{
			{from: 0, to: 20, end: "committed"}, {from: 20, to: 40, end: "aborted"}, {from: 40, to: 80, end: ""},
			{from: 80, to: 90, end: ""},
		}}
		in, out := madeUp(t)
		if bad := append(c.wrongInput(in), wrongOutput(in, out)...); bad != nil {
			t.Fatalf("without damage: %v", bad)
		}
		planted.damage(in, out)
		bad := wrongOutput(in, out)
		if planted.input {
			bad = c.wrongInput(in)
		}
		if bad == nil {
			t.Errorf("%s is not found", planted.name)
		}
	}
}

func numberRecord(number int64) *kgo.Record {
	return &kgo.Record{Value: strconv.AppendInt(nil, number, 10)}
}

// madeUp is an input of which the numbers from 20 on are aborted, and those from 80 on not there, and its output.
func madeUp(t *testing.T) (in, out chainRecords) {
	t.Helper()
	in, out = make(chainRecords, chainInPartitions), make(chainRecords, chainOutPartitions)
	for number := range int64(80) {
		if number >= 20 && number < 40 {
			continue
		}
		p := number % chainInPartitions
		r := numberRecord(number)
		r.Offset = int64(len(in[p]))
		in[p] = append(in[p], r)
		made, err := (&franzChain{Partitions: chainOutPartitions}).transform(int32(p), r.Offset, r.Value)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made {
			out[m.Partition] = append(out[m.Partition], m)
		}
	}
	return in, out
}
