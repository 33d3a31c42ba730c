package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lineBytesMax is the longest line that becomes a record: Kafka's largest request, which no record can exceed.
const lineBytesMax = 100 << 20

// lineReader makes records of lines.
type lineReader struct {
	in        *bufio.Scanner
	separator []byte // between key and value; empty: the line is the value
	null      string // a key or value of this text is null; empty: none is
	headers   []kgo.RecordHeader
	name      string // of the file; empty: standard input
	line      int
}

// place names a line in a sentence.
func (r *lineReader) place(line int) string {
	if r.name == "" {
		return fmt.Sprintf("line %d", line)
	}
	return fmt.Sprintf("line %d of %s", line, r.name)
}

// newLineReader reads lines that end in \n or \r\n; the last may end without.
func newLineReader(in io.Reader, separator string) *lineReader {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 64<<10), lineBytesMax)
	return &lineReader{in: scanner, separator: []byte(separator)}
}

// next is the record of the next line, or io.EOF. The record owns its bytes.
func (r *lineReader) next() (*kgo.Record, error) {
	if !r.in.Scan() {
		err := r.in.Err()
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, fmt.Errorf("%s is longer than %s", r.place(r.line+1), byteText(lineBytesMax))
		case err != nil:
			return nil, fmt.Errorf("%s: %w", r.place(r.line+1), err)
		}
		return nil, io.EOF
	}
	r.line++
	line := bytes.Clone(r.in.Bytes())
	record := &kgo.Record{Headers: r.headers, Value: line}
	if len(r.separator) > 0 {
		key, value, ok := bytes.Cut(line, r.separator)
		if !ok {
			return nil, fmt.Errorf("%s has no %q between key and value", r.place(r.line), r.separator)
		}
		record.Key, record.Value = r.orNull(key), value
	}
	record.Value = r.orNull(record.Value)
	return record, nil
}

// orNull is the bytes, or nil when they are the text that stands for null. Otherwise never nil.
func (r *lineReader) orNull(b []byte) []byte {
	if r.null != "" && string(b) == r.null {
		return nil
	}
	if b == nil {
		return []byte{}
	}
	return b
}

// unescape reads \t, \n, \x00 and the like as in a Go string.
func unescape(text string) (string, error) {
	unquoted, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		return "", errors.New(`a backslash begins an escape such as \t`)
	}
	return unquoted, nil
}
