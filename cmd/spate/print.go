package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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

// printer makes the printer that the flags describe. It allocates nothing for a record that fits the buffer.
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
			_, err := out.Write(formatter.AppendRecord(out.AvailableBuffer(), r))
			return err
		}, nil
	}
	if asJSON {
		if len(f.fields) > 0 {
			return nil, usageError{errors.New("--print is for text: JSON has every field")}
		}
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
		line := out.AvailableBuffer()
		for _, field := range f.fields {
			line = append(f.appendField(line, field, r), separator...)
		}
		_, err := out.Write(append(f.appendBytes(line, r.Value), '\n'))
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

// printRecordJSON prints a record as one object on a line: topic, partition, offset, timestamp, headers, key, value. It
// is written by hand because records come by the million; a test compares it with what encoding/json writes.
func printRecordJSON(out *bufio.Writer, r *kgo.Record) error {
	line := append(out.AvailableBuffer(), `{"topic":`...)
	line = appendJSONString(line, r.Topic)
	line = strconv.AppendInt(append(line, `,"partition":`...), int64(r.Partition), 10)
	line = strconv.AppendInt(append(line, `,"offset":`...), r.Offset, 10)
	line = r.Timestamp.UTC().AppendFormat(append(line, `,"timestamp":"`...), timestampLayout)
	line = append(line, `","headers":[`...)
	for i := range r.Headers {
		if i > 0 {
			line = append(line, ',')
		}
		line = appendJSONString(append(line, `{"key":`...), r.Headers[i].Key)
		line = append(appendJSONBytes(append(line, `,"value":`...), r.Headers[i].Value), '}')
	}
	line = appendJSONBytes(append(line, `],"key":`...), r.Key)
	line = appendJSONBytes(append(line, `,"value":`...), r.Value)
	_, err := out.Write(append(line, "}\n"...))
	return err
}

// appendJSONBytes adds a key or value: a string, null, or {"base64":"..."} where the bytes are not UTF-8.
func appendJSONBytes(line, b []byte) []byte {
	switch {
	case b == nil:
		return append(line, "null"...)
	case utf8.Valid(b):
		return appendJSONString(line, b)
	}
	return append(base64.StdEncoding.AppendEncode(append(line, `{"base64":"`...), b), `"}`...)
}

// appendJSONString adds a string with its quotes. What is not UTF-8 becomes U+FFFD, as in encoding/json.
func appendJSONString[T string | []byte](line []byte, text T) []byte {
	const hex = "0123456789abcdef"
	line = append(line, '"')
	done := 0 // text[:done] is in the line
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(text[i:min(len(text), i+utf8.UTFMax)]))
			switch {
			case r == utf8.RuneError && size == 1:
				line = append(append(line, text[done:i]...), `\ufffd`...)
			case r == '\u2028' || r == '\u2029': // they end lines in JavaScript
				line = append(append(line, text[done:i]...), `\u202`...)
				line = append(line, hex[r&0xf])
			default:
				i += size
				continue
			}
			i += size
			done = i
			continue
		}
		line = append(append(line, text[done:i]...), '\\')
		if short := strings.IndexByte("\"\\\b\f\n\r\t", c); short >= 0 {
			line = append(line, `"\bfnrt`[short])
		} else {
			line = append(line, 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		done = i
	}
	return append(append(line, text[done:]...), '"')
}
