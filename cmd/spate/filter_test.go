package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestFilters asks each filter, and their combinations, of one record.
func TestFilters(t *testing.T) {
	r := &kgo.Record{Key: []byte("k1"), Value: []byte("hello world"), Headers: []kgo.RecordHeader{
		{Key: "trace", Value: []byte("7")}, {Key: "trace", Value: []byte("8")}, {Key: "empty", Value: []byte{}},
		{Key: "null"},
	}}
	bare := &kgo.Record{}
	for _, c := range []struct {
		name       string
		flags      filterFlags
		full, bare bool
	}{
		{"nothing asked", filterFlags{}, true, true},
		{"the key", filterFlags{keys: []string{"k1"}}, true, false},
		{"one of several keys", filterFlags{keys: []string{"k0", "k1"}}, true, false},
		{"part of the key", filterFlags{keys: []string{"k"}}, false, false},
		{"an empty key is not a null key", filterFlags{keys: []string{""}}, false, false},
		{"a key that matches", filterFlags{keyRegex: "^k[0-9]$"}, true, false},
		{"a null key matches nothing", filterFlags{keyRegex: ".*"}, true, false},
		{"a key that does not match", filterFlags{keyRegex: "^1"}, false, false},
		{"a value that matches", filterFlags{valueRegex: "wor"}, true, false},
		{"a value that does not", filterFlags{valueRegex: "(?i)^WOR"}, false, false},
		{"a header", filterFlags{headers: []string{"trace"}}, true, false},
		{"the second header of a name", filterFlags{headers: []string{"trace=8"}}, true, false},
		{"another value of a header", filterFlags{headers: []string{"trace=9"}}, false, false},
		{"an empty header", filterFlags{headers: []string{"empty="}}, true, false},
		{"a null header is not an empty one", filterFlags{headers: []string{"null="}}, false, false},
		{"a null header is there", filterFlags{headers: []string{"null"}}, true, false},
		{"all headers", filterFlags{headers: []string{"trace=7", "null"}}, true, false},
		{"one of two headers is not enough", filterFlags{headers: []string{"trace=7", "none"}}, false, false},
		{"everything", filterFlags{keys: []string{"k1"}, keyRegex: "1", valueRegex: "h", headers: []string{"trace"}},
			true, false},
		{"one of all is wrong", filterFlags{keys: []string{"k1"}, valueRegex: "x"}, false, false},
		{"inverted", filterFlags{keys: []string{"k1"}, invert: true}, false, true},
		{"inverted, one of all is wrong", filterFlags{keys: []string{"k1"}, valueRegex: "x", invert: true}, true, true},
	} {
		f, err := c.flags.compile()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if f.takes(r) != c.full || f.takes(bare) != c.bare {
			t.Errorf("%s: got %v, %v", c.name, f.takes(r), f.takes(bare))
		}
	}
}

// FuzzFilter: whatever the flags say, inverting a filter takes the other records.
func FuzzFilter(f *testing.F) {
	f.Add("k", "^k", "trace=7", "k", "v", "trace", "7")
	f.Fuzz(func(t *testing.T, key, regex, header, k, v, name, value string) {
		flags := filterFlags{keys: []string{key}, keyRegex: regex, headers: []string{header}}
		straight, err := flags.compile()
		if err != nil {
			return
		}
		flags.invert = true
		inverted, err := flags.compile()
		if err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Key: []byte(k), Value: []byte(v),
			Headers: []kgo.RecordHeader{{Key: name, Value: []byte(value)}}}
		if straight.takes(r) == inverted.takes(r) {
			t.Errorf("%q %q %q: both take or leave it", key, regex, header)
		}
		matches, _ := regexp.MatchString(regex, k)
		wanted, asked, valued := strings.Cut(header, "=")
		there := wanted == name && (!valued || asked == value)
		if straight.takes(r) != (k == key && (regex == "" || matches) && there) {
			t.Errorf("%q %q %q of %q %q %q: %v", key, regex, header, k, name, value, straight.takes(r))
		}
	})
}

// FuzzRecordJSON compares the JSON that is written by hand with what encoding/json writes.
func FuzzRecordJSON(f *testing.F) {
	f.Add("topic", "key", []byte("value\x00\n\"\\"), "header", []byte("\xff"))
	f.Add("<>&", "\u2028\u2029\ufffd", []byte("\x7f\b\f\t\r\x1f"), "\xff\xc3(", []byte("👍"))
	f.Fuzz(func(t *testing.T, topic, key string, value []byte, name string, header []byte) {
		r := &kgo.Record{Topic: topic, Partition: 3, Offset: 9, Timestamp: time.UnixMilli(1500), Key: []byte(key),
			Value: value, Headers: []kgo.RecordHeader{{Key: name, Value: header}, {Key: "null"}}}
		var got, want bytes.Buffer
		out := bufio.NewWriter(&got)
		if err := printRecordJSON(out, r); err != nil || out.Flush() != nil {
			t.Fatal(err)
		}
		asText := func(b []byte) any {
			if b != nil && !utf8.Valid(b) {
				return map[string]string{"base64": base64.StdEncoding.EncodeToString(b)}
			}
			if b == nil {
				return nil
			}
			return string(b)
		}
		type pair struct {
			Key   string `json:"key"`
			Value any    `json:"value"`
		}
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Offset    int64  `json:"offset"`
			Timestamp string `json:"timestamp"`
			Headers   []pair `json:"headers"`
			Key       any    `json:"key"`
			Value     any    `json:"value"`
		}{topic, 3, 9, "1970-01-01T00:00:01.500Z", []pair{{name, asText(header)}, {"null", nil}},
			asText([]byte(key)), asText(value)})
		if err != nil || got.String() != want.String() {
			t.Errorf("got %q, want %q, %v", got.String(), want.String(), err)
		}
	})
}

// TestPrintersAllocateNothing: records come by the million.
func TestPrintersAllocateNothing(t *testing.T) {
	r := &kgo.Record{Topic: "orders", Offset: 12345, Timestamp: time.UnixMilli(1500), Key: []byte("k"),
		Value:   []byte(`{"amount": 12, "text": "größer"}`),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("\xff")}}}
	for name, c := range map[string]struct {
		flags printFlags
		json  bool
	}{
		"values":     {printFlags{separator: `\t`}, false},
		"all fields": {printFlags{separator: `\t`, null: "null", fields: printable}, false},
		"json":       {printFlags{}, true},
	} {
		show, err := c.flags.printer(c.json)
		if err != nil {
			t.Fatal(err)
		}
		out := bufio.NewWriterSize(io.Discard, outBytes)
		if n := testing.AllocsPerRun(1000, func() { _ = show(out, r) }); n >= 1 {
			t.Errorf("%s: %v allocations a record", name, n)
		}
	}
}
