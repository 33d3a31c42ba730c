package verify

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const run = 7

// sealed is a value of a record with some bytes behind the stamp.
func sealed(producer uint32, sequence uint64, flags uint32, key string) []byte {
	value := append(make([]byte, StampBytes), "the rest of the value"...)
	Stamp{Run: run, Producer: producer, Flags: flags, Sequence: sequence, Due: 5}.Seal([]byte(key), value)
	return value
}

// TestStamp seals and opens: any byte that changes, of value or key, is noticed.
func TestStamp(t *testing.T) {
	value := sealed(3, 9, Backlog, "key")
	got, err := Open([]byte("key"), value)
	if want := (Stamp{run, 3, Backlog, 9, 5}); err != nil || got != want {
		t.Errorf("%+v (%v), want %+v", got, err, want)
	}
	for n := range value {
		other := slices.Clone(value)
		other[n] ^= 0x10
		if _, err := Open([]byte("key"), other); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d was changed, and nobody noticed", n)
		}
	}
	for name, key := range map[string]string{"another key": "Key", "no key": ""} {
		if _, err := Open([]byte(key), value); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s, and nobody noticed", name)
		}
	}
	if _, err := Open(nil, value[:StampBytes-1]); !errors.Is(err, ErrCorrupt) {
		t.Error("a value was cut, and nobody noticed")
	}
}

// got is a record as a reader gets it.
type got struct {
	offset   int64
	producer uint32
	sequence uint64
	flags    uint32
	broken   bool
	foreign  bool
}

// read gives records to a log.
func read(o Options, records []got) *Log {
	o.Run, o.Topic, o.Partition = run, "orders", 3
	l := NewLog(o)
	for _, r := range records {
		value := sealed(r.producer, r.sequence, r.flags, "k")
		if r.broken {
			value[StampBytes] ^= 1
		}
		if r.foreign {
			value = []byte("of somebody else")
		}
		l.Record(r.offset, []byte("k"), value)
	}
	return l
}

// TestLog plants every fault, and finds it with partition and offset.
func TestLog(t *testing.T) {
	fine := []got{{offset: 0}, {offset: 1, producer: 1}, {offset: 2, sequence: 1}, {offset: 3, sequence: 2}}
	wrote := []Written{{0, 3, nil}, {1, 1, nil}}
	for _, c := range []struct {
		name    string
		options Options
		records []got
		written []Written
		want    Counts
		fault   string // of the first one
	}{
		{"all is well", Options{}, fine, wrote, Counts{Checked: 4, Arrived: 4}, ""},
		{"offsets may have gaps, as of markers", Options{}, []got{{offset: 5}, {offset: 9, sequence: 1}},
			[]Written{{0, 2, nil}}, Counts{Checked: 2, Arrived: 2}, ""},
		{"a record in the middle is lost", Options{}, []got{{offset: 0}, {offset: 1, sequence: 2}},
			[]Written{{0, 3, nil}}, Counts{Checked: 2, Arrived: 2, Lost: 1},
			"orders, partition 3, offset 1: 1 records of producer 0, from its record 1 on, were acknowledged and are " +
				"not there: at offset 1 comes its record 2"},
		{"the first record is lost", Options{}, []got{{offset: 0, sequence: 1}}, []Written{{0, 2, nil}},
			Counts{Checked: 1, Arrived: 1, Lost: 1}, "from its record 0 on"},
		{"the end is lost", Options{}, fine[:2], wrote, Counts{Checked: 2, Arrived: 2, Lost: 2},
			"2 records of producer 0, from its record 1 on, were acknowledged and are not there: the last record " +
				"read has offset 1"},
		{"all is lost", Options{}, nil, wrote, Counts{Lost: 4}, "orders, partition 3, offset 0: 3 records"},
		{"nothing is known of a record that is not there", Options{}, []got{{offset: 0}, {offset: 1, sequence: 2}},
			[]Written{{0, 4, []uint64{1, 3}}}, Counts{Checked: 2, Arrived: 2}, ""},
		{"what is lost beside a record of which nothing is known", Options{}, []got{{offset: 0}},
			[]Written{{0, 5, []uint64{2}}}, Counts{Checked: 1, Arrived: 1, Lost: 3}, "3 records of producer 0"},
		{"a record is there twice", Options{}, append(slices.Clone(fine), got{offset: 4, sequence: 1}), wrote,
			Counts{Checked: 5, Arrived: 4, Duplicated: 1},
			"orders, partition 3, offset 4: record 1 of producer 0 is there a second time"},
		{"two records changed places", Options{},
			[]got{{offset: 0}, {offset: 1, sequence: 2}, {offset: 2, sequence: 1}}, []Written{{0, 3, nil}},
			Counts{Checked: 3, Arrived: 3, Reordered: 1},
			"orders, partition 3, offset 2: record 1 of producer 0 came after its record 2"},
		{"an offset comes after a later one", Options{}, []got{{offset: 1}, {offset: 0, sequence: 1}},
			[]Written{{0, 2, nil}}, Counts{Checked: 2, Arrived: 2, Reordered: 1},
			"orders, partition 3, offset 0: offset 0 came after offset 1"},
		{"a record is changed, and so its like is lost", Options{},
			[]got{{offset: 0}, {offset: 1, sequence: 1, broken: true}}, []Written{{0, 2, nil}},
			Counts{Checked: 2, Arrived: 1, Corrupted: 1, Lost: 1},
			"orders, partition 3, offset 1: the checksum of the record is wrong"},
		{"a record of an aborted transaction", Options{}, []got{{offset: 0, flags: Aborted}}, nil,
			Counts{Checked: 1, Unexpected: 1},
			"orders, partition 3, offset 0: record 0 of producer 0 is of an aborted"},
		{"a record that nobody wrote", Options{}, []got{{offset: 0}, {offset: 1, sequence: 1}}, []Written{{0, 1, nil}},
			Counts{Checked: 2, Arrived: 2, Unexpected: 1},
			"producer 0 wrote 1 records here, and its record 1 was read"},
		{"a record of somebody else in a topic of our own", Options{}, []got{{offset: 0, foreign: true}}, nil,
			Counts{Checked: 1, Corrupted: 1}, "the checksum of the record is wrong"},
		{"records of others are passed over in a topic that was there", Options{Foreign: true},
			[]got{{offset: 7, foreign: true}, {offset: 8}}, []Written{{0, 1, nil}}, Counts{Checked: 1, Arrived: 1}, ""},
		{"a group gets records again", Options{Redelivered: true}, append(slices.Clone(fine), fine[1:]...), wrote,
			Counts{Checked: 4, Arrived: 4, Redelivered: 3}, ""},
		{"a second copy is no redelivery", Options{Redelivered: true}, append(slices.Clone(fine), got{offset: 4}),
			wrote, Counts{Checked: 5, Arrived: 4, Duplicated: 1}, "record 0 of producer 0 is there a second time"},
	} {
		l := read(c.options, c.records)
		l.Finish(c.written, true)
		if diff := cmp.Diff(c.want, l.Counts()); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
		first := ""
		if faults := First([]*Log{l}); len(faults) > 0 {
			first = faults[0].Text
			for _, f := range faults {
				if f.Topic != "orders" || f.Partition != 3 ||
					!strings.HasPrefix(f.Text, "orders, partition 3, offset ") {
					t.Errorf("%s: no place: %+v", c.name, f)
				}
			}
		}
		if !strings.Contains(first, c.fault) || (c.fault == "") != (first == "") {
			t.Errorf("%s: %q, want %q", c.name, first, c.fault)
		}
	}
}

// TestLogCutShort: what is missing between two records is lost, also where the end was not read.
func TestLogCutShort(t *testing.T) {
	l := read(Options{}, []got{{offset: 0}, {offset: 1, sequence: 3}, {offset: 2, sequence: 4}})
	l.Finish([]Written{{0, 9, []uint64{2}}, {1, 4, nil}}, false)
	if diff := cmp.Diff(Counts{Checked: 3, Arrived: 3, Lost: 1}, l.Counts()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestLogProperty writes records of several producers in turn, then drops some, doubles some and swaps some: the counts
// are those of a plain look at the whole list.
func TestLogProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var records []got
		next := map[uint32]uint64{}
		for range rapid.IntRange(0, 60).Draw(t, "records") {
			p := uint32(rapid.IntRange(0, 2).Draw(t, "producer"))
			records = append(records, got{producer: p, sequence: next[p]})
			next[p]++
		}
		for range rapid.IntRange(0, 5).Draw(t, "faults") {
			if len(records) < 2 {
				break
			}
			a := rapid.IntRange(0, len(records)-1).Draw(t, "at")
			b := rapid.IntRange(0, len(records)-1).Draw(t, "to")
			switch rapid.IntRange(0, 2).Draw(t, "fault") {
			case 0:
				records = slices.Delete(records, a, a+1)
			case 1:
				records = slices.Insert(records, b, records[a])
			case 2:
				records[a], records[b] = records[b], records[a]
			}
		}
		seen, most := map[got]bool{}, map[uint32]int64{0: -1, 1: -1, 2: -1}
		want := Counts{Checked: int64(len(records))}
		for n := range records {
			r := records[n]
			records[n].offset = int64(n)
			switch {
			case seen[r]:
				want.Duplicated++
				continue
			case int64(r.sequence) < most[r.producer]:
				want.Reordered++
			}
			seen[r] = true
			most[r.producer] = max(most[r.producer], int64(r.sequence))
			want.Arrived++
		}
		var written []Written
		for p, count := range next {
			written = append(written, Written{p, count, nil})
			want.Lost += int64(count)
		}
		want.Lost -= want.Arrived
		l := read(Options{}, records)
		l.Finish(written, true)
		if diff := cmp.Diff(want, l.Counts()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// TestLedger numbers records by partition, and remembers those of which nothing is known.
func TestLedger(t *testing.T) {
	l := NewLedger(4, 2)
	for _, want := range []uint64{0, 1, 2} {
		if got := l.Next(1); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	l.Unknown(1, 2)
	l.Unknown(1, 0)
	if diff := cmp.Diff(Written{4, 3, []uint64{0, 2}}, l.Written(1)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Written{Producer: 4}, l.Written(0)); diff != "" {
		t.Error(diff)
	}
}
