package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/kafka"
)

// TestTable: columns line up, empty cells are dashes, control characters are escaped, and only a terminal cuts cells,
// those that may be cut first.
func TestTable(t *testing.T) {
	all := table{indent: "  ", header: []string{"TOPIC", "MEMBER", "LAG"}, shrinks: []int{1, 0}}
	all.add("orders", "spate-65f86f25-5009-4ae8-b504-0037b6eeff57", "7")
	all.add("größer", "", "\x1b[2J\n")
	for width, want := range map[int]string{
		0: "  TOPIC   MEMBER                                      LAG\n" +
			"  orders  spate-65f86f25-5009-4ae8-b504-0037b6eeff57  7\n" +
			"  größer  -                                           \\x1b[2J\\n\n",
		40: "  TOPIC   MEMBER                     LAG\n" +
			"  orders  spate-65f86f…b504-0037b6eeff57  7\n",
	} {
		var out strings.Builder
		if err := all.print(&out, width); err != nil {
			t.Fatal(err)
		}
		if width == 0 && out.String() != want {
			t.Errorf("got\n%s", &out)
		}
		for line := range strings.Lines(out.String()) {
			if width > 0 && len([]rune(line)) > width+1 {
				t.Errorf("width %d: %q", width, line)
			}
		}
	}
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"short", 5, "short"}, {"longer than that", 8, "lon…that"}, {"äöüß", 3, "ä…ß"}, {"abc", 2, "abc"}} {
		if got := cut(c.text, c.width); got != c.want {
			t.Errorf("%q in %d: got %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

// TestParseTopics reads the forms of --topic.
func TestParseTopics(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  map[string][]int32
		err   string
	}{
		{nil, map[string][]int32{}, ""},
		{[]string{"orders"}, map[string][]int32{"orders": nil}, ""},
		{[]string{"orders:2,0,2", "refunds"}, map[string][]int32{"orders": {0, 2}, "refunds": nil}, ""},
		{[]string{""}, nil, `--topic "": must be a topic or topic:partition,partition, each topic once`},
		{[]string{"a", "a:1"}, nil, `--topic "a:1": must be a topic or topic:partition,partition, each topic once`},
		{[]string{"a:"}, nil, `--topic "a:": "" is not a partition; write topic:0,1`},
		{[]string{"a:-1"}, nil, `--topic "a:-1": "-1" is not a partition; write topic:0,1`},
		{[]string{"a:1,x"}, nil, `--topic "a:1,x": "x" is not a partition; write topic:0,1`},
	} {
		got, err := parseTopics("--topic ", c.flags)
		if fmt.Sprint(err) != c.err && (err != nil || c.err != "") || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %v, %v", c.flags, got, err)
		}
	}
}

// TestResetTimes reads the forms of --to-datetime and --by-duration.
func TestResetTimes(t *testing.T) {
	for text, want := range map[string]int64{
		"1970-01-01T00:00:01.500Z":      1500,
		"1970-01-01T00:00:01.500":       1500,
		"1970-01-01T01:00:01.000+01:00": 1000,
		"1970-01-01T01:00:01.000+0100":  1000,
		"1970-01-01T00:01":              60_000,
		"1970-01-02":                    86_400_000,
	} {
		if got, err := parseResetTime(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "now", "1970-13-01", "1970-01-01 00:00:00"} {
		if got, err := parseResetTime(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "2d": 48 * time.Hour,
		"1h30m": 90 * time.Minute, "P1D": 24 * time.Hour, "PT1H30M": 90 * time.Minute,
		"P1DT2H3M4.5S": 26*time.Hour + 3*time.Minute + 4500*time.Millisecond, "pt5s": 5 * time.Second, "PT0S": 0,
	} {
		if got, err := parseAge(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "P", "PT", "P1DT", "-1h", "P-1D", "d", "-1d", "P999999999D", "PT9e9H", "P1M"} {
		if got, err := parseAge(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

// TestReadOffsets reads what Kafka's tool writes, and says what is wrong with the rest.
func TestReadOffsets(t *testing.T) {
	at := func(topic string, p kafka.PartitionIndex) kafka.TopicPartition {
		return kafka.TopicPartition{Topic: topic, Partition: p}
	}
	for _, c := range []struct {
		name, text string
		want       map[kafka.TopicPartition]int64
		err        string
	}{
		{
			"one group", "orders,0,7\nrefunds,12,0\n\n",
			map[kafka.TopicPartition]int64{at("orders", 0): 7, at("refunds", 12): 0}, "",
		},
		{
			"several groups", "g,orders,0,7\r\nother,orders,0,9\r\n",
			map[kafka.TopicPartition]int64{at("orders", 0): 7}, "",
		},
		{"quotes and spaces", "\"orders\", 0 , 7", map[kafka.TopicPartition]int64{at("orders", 0): 7}, ""},
		{"a byte order mark", "\ufefforders,0,7\r\n", map[kafka.TopicPartition]int64{at("orders", 0): 7}, ""},
		{"nothing", "", nil, "it has no lines"},
		{"other groups only", "other,orders,0,9\n", nil, "no line is for group g; there are some for other"},
		{"a field too few", "orders,0,1\norders,1\n", nil,
			"line 2 has 2 fields: want topic,partition,offset or group,topic,partition,offset"},
		{"a heading", "topic,partition,offset\n", nil, `line 1: "partition" is not a partition`},
		{"a negative partition", "orders,-1,7\n", nil, `line 1: "-1" is not a partition`},
		{"no number", "orders,0,seven\n", nil, `line 1: "seven" is not an offset`},
		{"a negative offset", "orders,0,-7\n", nil, `line 1: "-7" is not an offset`},
		{"an offset too large", "orders,0,9223372036854775808\n", nil, `line 1: "9223372036854775808" is not an offset`},
		{"no topic", ",0,7\n", nil, "line 1 names no topic"},
		{"twice the same", "orders,0,7\norders,0,8\n", nil, "line 2: orders-0 is there twice"},
		{"an open quote", "\"orders,0,7\n", nil, `parse error on line 1, column 13: extraneous or missing " in quoted-field`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readOffsets(strings.NewReader(c.text), "g")
			if err != nil && err.Error() != c.err || err == nil && c.err != "" || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// FuzzReadOffsets: whatever the file holds, offsets come out that are valid, and that survive being written and read.
func FuzzReadOffsets(f *testing.F) {
	f.Add("orders,0,7\nrefunds,1,9\n")
	f.Add("g,orders,0,7\n\"a\"\"b\",3,1\n")
	f.Fuzz(func(t *testing.T, text string) {
		offsets, err := readOffsets(strings.NewReader(text), "g")
		if err != nil {
			return
		}
		var rows []resetRow
		for topic, partitions := range topicsOf(offsets) {
			for _, p := range partitions {
				at := kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionIndex(p)}
				if offsets[at] < 0 || p < 0 || topic == "" {
					t.Fatalf("%v: %d", at, offsets[at])
				}
				rows = append(rows, resetRow{Topic: topic, Partition: p, New: offsets[at]})
			}
		}
		var out strings.Builder
		if err := writeOffsets(&out, rows); err != nil {
			t.Fatal(err)
		}
		again, err := readOffsets(strings.NewReader(out.String()), "g")
		if err != nil || !reflect.DeepEqual(again, offsets) {
			t.Fatalf("%q: %v became %v, %v", text, offsets, again, err)
		}
	})
}

// TestPlan: where each kind of reset leads in a partition that holds 5 to 10, and what is said when it does not fit.
func TestPlan(t *testing.T) {
	orders := kafka.TopicPartition{Topic: "orders", Partition: 0}
	for _, c := range []struct {
		name            string
		target          resetTarget
		current, atTime int64
		want            int64
		note            string
	}{
		{"the first record", resetTarget{kind: toEarliest}, 7, -1, 5, ""},
		{"the end", resetTarget{kind: toLatest}, 7, -1, 10, ""},
		{"where it is", resetTarget{kind: toCurrent}, 7, -1, 7, ""},
		{"where it is, deleted meanwhile", resetTarget{kind: toCurrent}, 3, -1, 5, "3 is before the first record: " +
			"moved to it"},
		{"where it is, without a commit", resetTarget{kind: toCurrent}, -1, -1, 10, "no committed offset: the end"},
		{"an offset", resetTarget{kind: toOffset, value: 6}, -1, -1, 6, ""},
		{"an offset past the end", resetTarget{kind: toOffset, value: 11}, 7, -1, 10, "11 is past the end: moved " +
			"to it"},
		{"back", resetTarget{kind: shiftBy, value: -1}, 7, -1, 6, ""},
		{"back too far", resetTarget{kind: shiftBy, value: -7}, 7, -1, 5, "0 is before the first record: moved to it"},
		{"forward", resetTarget{kind: shiftBy, value: 3}, 7, -1, 10, ""},
		{"forward without end", resetTarget{kind: shiftBy, value: 1<<63 - 1}, 7, -1, 10, ""},
		{"a time", resetTarget{kind: toTime}, 7, 8, 8, ""},
		{"a time after the last record", resetTarget{kind: toTime}, 7, -1, 10, "no record is that late: the end"},
		{"a file", resetTarget{kind: fromFile, offsets: map[kafka.TopicPartition]int64{orders: 9}}, 7, -1, 9, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			row := resetRow{Topic: "orders", Current: c.current, Start: 5, End: 10}
			if err := c.target.plan(&row, c.atTime); err != nil || row.New != c.want || row.Note != c.note {
				t.Errorf("got %d %q, %v", row.New, row.Note, err)
			}
		})
	}
	row := resetRow{Topic: "orders", Current: -1, Start: 5, End: 10}
	err := resetTarget{kind: shiftBy, value: 1}.plan(&row, -1)
	if err == nil || !strings.HasPrefix(err.Error(), "orders-0 has no committed offset to shift; ") {
		t.Error(err)
	}
	for want, row := range map[string]resetRow{"new": {Current: -1, New: 3}, "0": {Current: 3, New: 3},
		"+2": {Current: 3, New: 5}, "-3": {Current: 3}} {
		if got := row.change(); got != want {
			t.Errorf("%+v: got %s", row, got)
		}
	}
}

// TestFirstConsumable finds the record by which lag in seconds is told.
func TestFirstConsumable(t *testing.T) {
	at := time.UnixMilli(1000)
	data := func(offset int64) *kgo.Record { return &kgo.Record{Offset: offset, Timestamp: at} }
	// A marker has the bit of a control batch, which only a fetched batch can give it.
	fetched := func(highWatermark int64, records ...*kgo.Record) kgo.FetchTopicPartition {
		return kgo.FetchTopicPartition{
			FetchPartition: kgo.FetchPartition{HighWatermark: highWatermark, Records: records},
		}
	}
	for _, c := range []struct {
		name   string
		p      kgo.FetchTopicPartition
		offset int64
		want   time.Time
		ok     bool
	}{
		{"nothing yet", fetched(10), 5, time.Time{}, false},
		{"the record itself", fetched(10, data(5)), 5, at, true},
		{"the rest of a batch before it", fetched(10, data(3), data(4), data(6)), 5, at, true},
		{"only what was consumed", fetched(10, data(3), data(4)), 5, time.Time{}, false},
	} {
		if got, ok := firstConsumable(c.p, c.offset); got != c.want || ok != c.ok {
			t.Errorf("%s: got %v, %v", c.name, got, ok)
		}
	}
}

// TestExplainGroup: protocol errors become sentences that say what to do next.
func TestExplainGroup(t *testing.T) {
	for err, want := range map[error]string{
		kerr.GroupIDNotFound: `group g does not exist; "spate group list" shows those that do`,
		kerr.NonEmptyGroup: `group g has members, which must be stopped first; ` +
			`"spate group members g" shows them`,
		kerr.GroupSubscribedToTopic:   "group g has members that are subscribed to this topic; stop them first",
		kerr.GroupAuthorizationFailed: "group g: not allowed: an ACL for this group is missing",
		kerr.InvalidGroupID:           `group "g": that is not a valid group id`,
		kerr.CoordinatorNotAvailable: "group g: its coordinator is not ready (COORDINATOR_NOT_AVAILABLE: The " +
			"coordinator is " +
			"not available.); try again in a moment",
		errors.New("other"): "group g: other",
	} {
		if got := explainGroup("g", err); got.Error() != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if explainGroup("g", nil) != nil {
		t.Error("no error became one")
	}
}

// TestKnown: words of filters are taken in any case.
func TestKnown(t *testing.T) {
	got, err := known("--state", []string{"stable", "PREPARINGREBALANCE"}, groupStates)
	if diff := cmp.Diff([]string{"Stable", "PreparingRebalance"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := known("--type", []string{"modern"}, groupTypes); err == nil ||
		err.Error() != `--type "modern": must be of classic, consumer, share, streams` {
		t.Error(err)
	}
}

// TestGroupFlags: flags of consume that do not go together are refused before anything is opened.
func TestGroupFlags(t *testing.T) {
	for args, want := range map[string]string{
		"a --assignor range":                       "--protocol and --assignor belong to --group: name the group",
		"a --protocol consumer":                    "--protocol and --assignor belong to --group: name the group",
		"a -g g --protocol new":                    `--protocol "new": must be classic or consumer`,
		"a -g g --assignor uniform":                `--assignor "uniform": with --protocol classic it must be of cooperative-sticky, range, roundrobin, sticky`,
		"a -g g --protocol consumer --assignor no": `--assignor "no": with --protocol consumer it must be of range, uniform`,
		"a a":      "a topic is named twice",
		"a b -p 1": "--partitions needs one topic: each topic has partitions of its own",
		"a -g g -p 1": "--partitions and --group exclude each other: a group's coordinator says who " +
			"reads what",
	} {
		r := spate(t, "", append([]string{"consume"}, strings.Fields(args)...)...)
		if r.code != 2 || r.err != "spate: "+want+"\n" {
			t.Errorf("%s: status %d, %s", args, r.code, r.err)
		}
	}
	for args, want := range map[string]string{
		"describe --members --state": "--members and --state are different views: choose one",
		"describe --sample -1s":      "--sample and --watch are durations such as 10s",
		"describe --sample 1s --watch 1s": "--watch compares each look with the one before " +
			"already: leave --sample out",
		"list --state fine":                   `--state "fine": must be of ` + strings.Join(groupStates, ", "),
		"delete-offsets g":                    "name the topics with --topic",
		"reset-offsets g --to-offset -1 -t a": "--to-offset -1: an offset is not negative",
		"reset-offsets g --to-latest": "say which offsets: --topic orders, --topic " +
			"orders:0,1 or --all-topics",
		"reset-offsets g -t a --from-file /none":        "open /none: no such file or directory",
		"reset-offsets g -t a --all-topics --to-latest": "--topic and --all-topics exclude each other",
		"reset-offsets g -t a --to-latest --by-duration 1week": "--to-latest and --by-duration exclude each " +
			"other: one of --" + strings.Join(targetFlags, ", --"),
		"reset-offsets g -t a": "say where to: one of " +
			"--" + strings.Join(targetFlags, ", --"),
	} {
		r := spate(t, "", append([]string{"group"}, strings.Fields(args)...)...)
		if r.code != 2 || r.err != "spate: "+want+"\n" {
			t.Errorf("%s: status %d, %s", args, r.code, r.err)
		}
	}
	r := spate(t, "", "group", "reset-offsets", "g", "--export", "-o", "json", "--to-latest", "-t", "a")
	if r.code != 2 || r.err != `{"error":"--export prints CSV: leave --output out"}`+"\n" {
		t.Errorf("CSV and JSON: status %d, %s", r.code, r.err)
	}
	r = spate(t, "orders,0,x\n", "group", "reset-offsets", "g", "--from-file", "-")
	if r.code != 2 || r.err != "spate: -: line 1: \"x\" is not an offset\n" {
		t.Errorf("a bad file: status %d, %s", r.code, r.err)
	}
}

// TestRateLine: the line is written over itself, shows the rate of the last while, and makes room for sentences.
func TestRateLine(t *testing.T) {
	var out strings.Builder
	began := time.UnixMilli(0)
	m := &meter{began: began}
	line := rateLine{out: &out, m: m}
	for range 100 {
		m.count(10)
	}
	line.paint(began.Add(time.Second))
	for range 300 {
		m.count(10)
	}
	line.paint(began.Add(1100 * time.Millisecond)) // what is there is fresh
	line.say(&out, "assigned: %s", "orders:0")
	line.paint(began.Add(1200 * time.Millisecond)) // too early for a new rate
	line.paint(began.Add(3 * time.Second))
	line.erase()
	line.erase()
	want := "\r100 records, 1000 bytes, 100 records/s\x1b[K\r\x1b[Kassigned: orders:0\n" +
		"\r400 records, 3.9 KiB, 100 records/s\x1b[K\r400 records, 3.9 KiB, 150 records/s\x1b[K\r\x1b[K"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	none := rateLine{m: m}
	none.paint(began)
	none.say(&out, "still said")
	if !strings.HasSuffix(out.String(), "still said\n") {
		t.Error("without a terminal nothing is said")
	}
}
