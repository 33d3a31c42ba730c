package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// printFlags say how a record is printed.
type printFlags struct {
	fields    []string
	separator string
	null      string
	format    string
}

// printer prints one record.
type printer func(out *bufio.Writer, r *kgo.Record) error

// add declares the flags on a command.
func (f *printFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.fields, "print", nil, "what to print before the value, separated by commas: "+
		strings.Join(printable, ", "))
	cmd.Flags().StringVar(&f.separator, "separator", `\t`, "what separates the printed fields")
	cmd.Flags().StringVar(&f.null, "null", "null", "how a null key or value is printed")
	cmd.Flags().StringVar(&f.format, "format", "", `a layout of your own, such as '%p %o %k=%v\n': %t topic, `+
		"%p partition, %o offset,\n%d timestamp, %k key, %v value, %h{%k=%v } headers")
}

// printable are the fields of --print.
var printable = []string{"topic", "partition", "offset", "timestamp", "headers", "key"}

// printer makes the printer that the flags describe.
func (f *printFlags) printer(asJSON bool) (printer, error) {
	if f.format != "" {
		if asJSON || len(f.fields) > 0 {
			return nil, usageError{errors.New("--format stands alone: leave --print and --output out")}
		}
		formatter, err := kgo.NewRecordFormatter(f.format)
		if err != nil {
			return nil, usageError{fmt.Errorf("--format %q: %w", f.format, err)}
		}
		return func(out *bufio.Writer, r *kgo.Record) error {
			_, err := out.Write(formatter.AppendRecord(nil, r))
			return err
		}, nil
	}
	if asJSON {
		return printRecordJSON, nil
	}
	for _, field := range f.fields {
		if !slices.Contains(printable, field) {
			return nil, usageError{fmt.Errorf("--print %q: must be of %s", field, strings.Join(printable, ", "))}
		}
	}
	separator, err := unescape(f.separator)
	if err != nil {
		return nil, usageError{fmt.Errorf("--separator %q: %w", f.separator, err)}
	}
	return func(out *bufio.Writer, r *kgo.Record) error {
		line := make([]byte, 0, 256)
		for _, field := range f.fields {
			line = append(f.appendField(line, field, r), separator...)
		}
		line = append(f.appendBytes(line, r.Value), '\n')
		_, err := out.Write(line)
		return err
	}, nil
}

// appendField adds one field of a record.
func (f *printFlags) appendField(line []byte, field string, r *kgo.Record) []byte {
	switch field {
	case "topic":
		return append(line, r.Topic...)
	case "partition":
		return strconv.AppendInt(line, int64(r.Partition), 10)
	case "offset":
		return strconv.AppendInt(line, r.Offset, 10)
	case "timestamp":
		return r.Timestamp.UTC().AppendFormat(line, timestampLayout)
	case "headers":
		for i, h := range r.Headers {
			if i > 0 {
				line = append(line, ',')
			}
			line = append(append(line, h.Key...), ':')
			line = f.appendBytes(line, h.Value)
		}
		return line
	}
	return f.appendBytes(line, r.Key)
}

// timestampLayout has the precision of Kafka's timestamps.
const timestampLayout = "2006-01-02T15:04:05.000Z07:00"

// appendBytes adds a key or value.
func (f *printFlags) appendBytes(line, b []byte) []byte {
	if b == nil {
		return append(line, f.null...)
	}
	return append(line, b...)
}

// jsonText is a key or value in JSON: a string, null, or base64 in an object where the bytes are not UTF-8.
type jsonText []byte

// MarshalJSON implements json.Marshaler.
func (b jsonText) MarshalJSON() ([]byte, error) {
	switch {
	case b == nil:
		return []byte("null"), nil
	case utf8.Valid(b):
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(string(b))
		return text.Bytes(), err
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(b)})
}

// jsonHeader is a header in JSON.
type jsonHeader struct {
	Key   string   `json:"key"`
	Value jsonText `json:"value"`
}

// jsonRecord is a record in JSON, one object a line.
type jsonRecord struct {
	Topic     string       `json:"topic"`
	Partition int32        `json:"partition"`
	Offset    int64        `json:"offset"`
	Timestamp time.Time    `json:"timestamp"`
	Headers   []jsonHeader `json:"headers"`
	Key       jsonText     `json:"key"`
	Value     jsonText     `json:"value"`
}

// printRecordJSON prints a record as one line of JSON.
func printRecordJSON(out *bufio.Writer, r *kgo.Record) error {
	headers := make([]jsonHeader, 0, len(r.Headers))
	for _, h := range r.Headers {
		headers = append(headers, jsonHeader{h.Key, h.Value})
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(jsonRecord{r.Topic, r.Partition, r.Offset, r.Timestamp.UTC(), headers, r.Key, r.Value})
}
