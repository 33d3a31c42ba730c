package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// record is one record as a client produced or read it. A nil key or value is null; in JSON both are base64.
type record struct {
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
}

type header struct {
	Name  string
	Value []byte
}

// MarshalJSON writes a pair.
func (h header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.Name, h.Value}) }

// UnmarshalJSON reads a pair.
func (h *header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Name, &h.Value})
}

// features are what a client's way of producing can express.
type features struct {
	binary      bool // bytes that are not text
	nullHeader  bool // a header whose value is null
	nullAndNone bool // an empty key beside a null value
	manyHeaders bool // one name more than once
}

// oddRecords are a few records of every shape that a client can express.
func oddRecords(f features) []record {
	long := bytes.Repeat([]byte("a long and repetitive value; "), 1000)
	all := []record{
		{Key: []byte("key"), Value: []byte("value"),
			Headers: []header{{"first", []byte("1")}, {"second", []byte("two")}}},
		{Key: nil, Value: []byte("no key")},
		{Key: []byte("no value"), Value: nil},
		{Key: []byte("empty value"), Value: []byte{}},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("ключ"), Value: []byte("zażółć 漢字 🚀"), Headers: []header{{"ünï", []byte("çødé")}}},
		{Key: []byte("long"), Value: long},
		{Key: []byte("empty header"), Value: []byte("v"), Headers: []header{{"empty", []byte{}}}},
	}
	if f.nullHeader {
		all = append(all, record{Key: []byte("null header"), Value: []byte("v"), Headers: []header{{"null", nil}}})
	}
	if f.manyHeaders {
		all = append(all, record{Key: []byte("k"), Value: []byte("v"),
			Headers: []header{{"h", []byte("1")}, {"h", []byte("2")}}})
	}
	if f.nullAndNone {
		all = append(all, record{Key: []byte{}, Value: nil}, record{Key: nil, Value: nil},
			record{Key: []byte{}, Value: []byte{}})
	}
	if f.binary {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		all = append(all, record{Key: every, Value: append(every, 0xff, 0),
			Headers: []header{{"binary", []byte{1, 0x80, 0xff, 0xc0}}}}) // no zero: kcat ends a header there
	}
	return all
}

// plainRecords are many small records, which a client puts into few batches.
func plainRecords(tag string, n int) []record {
	records := make([]record, n)
	for i := range records {
		records[i].Key = fmt.Appendf(nil, "%s-key-%d", tag, i)
		records[i].Value = fmt.Appendf(nil, "%s value %d of %d", tag, i, n)
	}
	return records
}

// encodeRecords writes a record a line, as the client programs read them.
func encodeRecords(records []record) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for _, r := range records {
		if r.Headers == nil {
			r.Headers = []header{}
		}
		if err := e.Encode(r); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func decodeRecords(text []byte) ([]record, error) {
	var records []record
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var r record
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return records, nil
		} else if err != nil {
			return nil, fmt.Errorf("the program's output: %w", err)
		}
		records = append(records, r)
	}
}

// sameRecord says how two records differ, or "". Offset and timestamp are left out.
func sameRecord(want, got *record) string {
	if d := sameBytes(want.Key, got.Key); d != "" {
		return "key " + d
	}
	if d := sameBytes(want.Value, got.Value); d != "" {
		return "value " + d
	}
	if len(want.Headers) != len(got.Headers) {
		return fmt.Sprintf("%d headers instead of %d", len(got.Headers), len(want.Headers))
	}
	for i, h := range want.Headers {
		if h.Name != got.Headers[i].Name {
			return fmt.Sprintf("header %q instead of %q", got.Headers[i].Name, h.Name)
		}
		if d := sameBytes(h.Value, got.Headers[i].Value); d != "" {
			return fmt.Sprintf("header %q %s", h.Name, d)
		}
	}
	return ""
}

// sameBytes tells null from empty.
func sameBytes(want, got []byte) string {
	switch {
	case (want == nil) != (got == nil):
		return fmt.Sprintf("null is %v instead of %v", got == nil, want == nil)
	case !bytes.Equal(want, got):
		return fmt.Sprintf("%.80q instead of %.80q", got, want)
	}
	return ""
}
