package storage

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Entry is one thing that a file holds, as dump prints it.
type Entry struct {
	Depth  int // 1 for what belongs to the entry before, such as a record of a batch
	Fields []Field
}

// Field is one named value of an entry.
type Field struct {
	Name  string
	Value any
}

// add appends a field.
func (e *Entry) add(name string, value any) { e.Fields = append(e.Fields, Field{name, value}) }

// entry makes an entry of alternating names and values.
func entry(depth int, pairs ...any) Entry {
	e := Entry{Depth: depth}
	for i := 0; i+1 < len(pairs); i += 2 {
		e.add(pairs[i].(string), pairs[i+1])
	}
	return e
}

// Text is the entry as one line: name=value pairs.
func (e Entry) Text() string {
	var line strings.Builder
	line.WriteString(strings.Repeat("  ", e.Depth))
	for i, f := range e.Fields {
		if i > 0 {
			line.WriteByte(' ')
		}
		line.WriteString(f.Name)
		line.WriteByte('=')
		line.WriteString(text(f.Value))
	}
	return line.String()
}

// text is a value as it stands in a line: byte strings and odd strings quoted, null for nil bytes and pointers.
func text(value any) string {
	switch v := value.(type) {
	case []byte:
		if v == nil {
			return "null"
		}
		return strconv.Quote(string(v))
	case string:
		if plain(v) {
			return v
		}
		return strconv.Quote(v)
	case *string:
		if v == nil {
			return "null"
		}
		return text(*v)
	case fmt.Stringer:
		return v.String()
	}
	return fmt.Sprintf("%+v", value)
}

// plain reports whether a string can stand unquoted.
func plain(s string) bool {
	odd := func(r rune) bool { return r == '"' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, odd)
}

// MarshalJSON gives one object with the fields in their order.
func (e Entry) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range e.Fields {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendQuote(out, f.Name)
		out = append(out, ':')
		value, err := json.Marshal(plainValue(f.Value))
		if err != nil {
			return nil, err
		}
		out = append(out, value...)
	}
	return append(out, '}'), nil
}

// plainValue is a value as JSON takes it: bytes are a string where they are UTF-8, else base64 in an object; what has
// a text form, such as a topic's id, is that text, also inside lists and structs.
func plainValue(value any) any {
	switch v := value.(type) {
	case []byte:
		if v == nil {
			return nil
		}
		if utf8.Valid(v) {
			return string(v)
		}
		return map[string][]byte{"base64": v}
	case nestedValue:
		return plainValue(v.value)
	case fmt.Stringer:
		return v.String()
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plainValue(v.Elem().Interface())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plainValue(v.Index(i).Interface())
		}
		return list
	case reflect.Struct:
		fields := make(map[string]any, v.NumField())
		for i := range v.NumField() {
			fields[v.Type().Field(i).Name] = plainValue(v.Field(i).Interface())
		}
		return fields
	}
	return value
}
