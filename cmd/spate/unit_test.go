package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLineReader makes records of lines.
func TestLineReader(t *testing.T) {
	read := func(text, separator, null string) []string {
		r := newLineReader(strings.NewReader(text), separator)
		r.null = null
		var got []string
		for {
			record, err := r.next()
			if errors.Is(err, io.EOF) {
				return got
			}
			if err != nil {
				return append(got, err.Error())
			}
			show := func(b []byte) string {
				if b == nil {
					return "null"
				}
				return fmt.Sprintf("%q", b)
			}
			got = append(got, show(record.Key)+" "+show(record.Value))
		}
	}
	for _, c := range []struct {
		name, text, separator, null string
		want                        []string
	}{
		{"nothing", "", "", "", nil},
		{"values", "a\nb\r\n\nc", "", "", []string{`null "a"`, `null "b"`, `null ""`, `null "c"`}},
		{"keys", "a:b:c\n:\n", ":", "", []string{`"a" "b:c"`, `"" ""`}},
		{"longer separators", "a=>b\n", "=>", "", []string{`"a" "b"`}},
		{"nulls", "N:N\na:N\nN:b\n", ":", "N", []string{"null null", `"a" null`, `null "b"`}},
		{"no key", "a:b\nc\n", ":", "", []string{`"a" "b"`, `line 2 has no ":" between key and value`}},
		{"bytes of any kind", "\xff\x00\n", "", "", []string{`null "\xff\x00"`}},
	} {
		if got := read(c.text, c.separator, c.null); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	r := newLineReader(io.LimitReader(endless{}, lineBytesMax+10), "")
	if _, err := r.next(); err == nil || err.Error() != "line 1 is longer than 100.0 MiB" {
		t.Errorf("a line without end: %v", err)
	}
}

// endless is a line that never ends.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// FuzzLines: whatever comes in, records come out whose parts are those of the line.
func FuzzLines(f *testing.F) {
	f.Add("a:b\nc", ":", "c")
	f.Add("\r\n\r\n", "", "")
	f.Fuzz(func(t *testing.T, text, separator, null string) {
		r := newLineReader(strings.NewReader(text), separator)
		r.null = null
		for {
			record, err := r.next()
			if err != nil {
				return
			}
			if size := len(record.Key) + len(separator) + len(record.Value); size > len(text)+len(separator) {
				t.Errorf("%q makes a record of %d bytes", text, size)
			}
			if separator == "" && record.Key != nil {
				t.Errorf("a key without a separator: %q", record.Key)
			}
		}
	})
}

// TestUnescape reads separators.
func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{"": "", ":": ":", `\t`: "\t", `"`: `"`, `\x01`: "\x01", "→": "→"} {
		if got, err := unescape(text); err != nil || got != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	if _, err := unescape(`\q`); err == nil {
		t.Error(`\q: no error`)
	}
}

// TestByteText and its units.
func TestByteText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1536: "1.5 KiB", 5 << 20: "5.0 MiB",
		3 << 30: "3.0 GiB"} {
		if got := byteText(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

// TestPrinters prints one record in every form.
func TestPrinters(t *testing.T) {
	r := &kgo.Record{Topic: "t", Partition: 1, Offset: 2, Timestamp: time.UnixMilli(1500), Key: []byte("<k>"),
		Value:   []byte("\xff"),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("b")}, {Key: "c"}}}
	for _, c := range []struct {
		flags printFlags
		json  bool
		want  string
	}{
		{printFlags{separator: `\t`}, false, "\xff\n"},
		{printFlags{separator: "|", null: "-", fields: printable}, false,
			"t|1|2|1970-01-01T00:00:01.500Z|a:b,c:-|<k>|\xff\n"},
		{printFlags{format: `%o:%k\n`}, false, "2:<k>\n"},
		{printFlags{}, true, `{"topic":"t","partition":1,"offset":2,"timestamp":"1970-01-01T00:00:01.500Z",` +
			`"headers":[{"key":"a","value":"b"},{"key":"c","value":null}],"key":"<k>","value":{"base64":"/w=="}}` +
			"\n"},
	} {
		show, err := c.flags.printer(c.json)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		buffered := bufio.NewWriter(&out)
		if err := errors.Join(show(buffered, r), buffered.Flush()); err != nil || out.String() != c.want {
			t.Errorf("%+v: got %q, %v, want %q", c.flags, out.String(), err, c.want)
		}
	}
}

// TestExplain: what people meet often is a sentence with what to do; the rest keeps the protocol's name and message.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err     error
		message string
		want    string
	}{
		{nil, "", "<nil>"},
		{kerr.UnknownTopicOrPartition, "", `topic t does not exist; "spate topic list" shows those that do`},
		{kerr.TopicAlreadyExists, "", "topic t exists already; --if-not-exists makes that no error"},
		{kerr.MessageTooLarge, "",
			"topic t: a batch is larger than max.message.bytes; send smaller records or raise it"},
		{kerr.NotEnoughReplicas, "", "topic t: fewer replicas are in sync than its min.insync.replicas asks for"},
		{kerr.KafkaStorageError, "",
			"topic t: the broker cannot use its log: full disk, failing disk or damage; see what it logs"},
		{kerr.InvalidConfig, "no such key", "topic t: INVALID_CONFIG: no such key"},
		{io.ErrUnexpectedEOF, "", "topic t: unexpected EOF"},
	} {
		if got := fmt.Sprint(explain("t", c.err, c.message)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// TestWhyUnreachable names the cause.
func TestWhyUnreachable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("dial: %w", syscall.ECONNREFUSED), "connection refused; start a broker"},
		{&net.DNSError{Name: "nowhere"}, "the name nowhere is not known"},
		{context.Canceled, "interrupted"},
		{context.DeadlineExceeded, "no answer within 5s"},
		{io.EOF, "EOF"},
	} {
		if got := whyUnreachable(c.err); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
