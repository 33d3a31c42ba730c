package main

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// filterFlags say which records are printed of those that are read.
type filterFlags struct {
	keys       []string
	keyRegex   string
	valueRegex string
	headers    []string
	invert     bool
}

// add declares the flags on a command.
func (f *filterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.keys, "key", nil,
		"only records with this key; may be repeated, and any of them will do")
	cmd.Flags().StringVar(&f.keyRegex, "key-regex", "",
		"only records whose key matches; in Go's syntax, ^ and $ anchor")
	cmd.Flags().StringVar(&f.valueRegex, "value-regex", "", "only records whose value matches")
	cmd.Flags().StringArrayVarP(&f.headers, "header", "H", nil,
		"only records with this header, name=value, or name whatever its value;\n"+
			"may be repeated, and all must be there")
	cmd.Flags().BoolVar(&f.invert, "invert", false, "only the records that these flags leave out")
}

// filter is what the flags ask of a record. The zero filter takes every record.
type filter struct {
	keys    [][]byte // one of them; none: any
	key     *regexp.Regexp
	value   *regexp.Regexp
	headers []wantedHeader
	invert  bool
	any     bool // there is something to ask
}

// wantedHeader is a header that must be there.
type wantedHeader struct {
	name  string
	value []byte // nil: any
}

// compile reads the flags.
func (f *filterFlags) compile() (filter, error) {
	c := filter{invert: f.invert}
	for _, key := range f.keys {
		c.keys = append(c.keys, []byte(key))
	}
	for _, x := range []struct {
		flag, text string
		to         **regexp.Regexp
	}{{"--key-regex", f.keyRegex, &c.key}, {"--value-regex", f.valueRegex, &c.value}} {
		if x.text == "" {
			continue
		}
		compiled, err := regexp.Compile(x.text)
		if err != nil {
			return c, fmt.Errorf("%s: %w", x.flag, err)
		}
		*x.to = compiled
	}
	for _, text := range f.headers {
		name, value, valued := strings.Cut(text, "=")
		if name == "" {
			return c, fmt.Errorf("--header %q: must be name=value or name", text)
		}
		wanted := wantedHeader{name: name}
		if valued {
			wanted.value = []byte(value)
		}
		c.headers = append(c.headers, wanted)
	}
	c.any = len(c.keys)+len(c.headers) > 0 || c.key != nil || c.value != nil
	if c.invert && !c.any {
		return c, errors.New("--invert turns a filter round: give it one, such as --key")
	}
	return c, nil
}

// takes reports whether a record is to be printed. A null key or value matches nothing.
func (c *filter) takes(r *kgo.Record) bool {
	return !c.any || c.matches(r) != c.invert
}

// matches asks everything of a record.
func (c *filter) matches(r *kgo.Record) bool {
	if len(c.keys) > 0 && !c.hasKey(r.Key) {
		return false
	}
	if c.key != nil && (r.Key == nil || !c.key.Match(r.Key)) {
		return false
	}
	for i := range c.headers {
		if !c.headers[i].in(r.Headers) {
			return false
		}
	}
	return c.value == nil || r.Value != nil && c.value.Match(r.Value)
}

// hasKey reports whether a key is one of those asked for.
func (c *filter) hasKey(key []byte) bool {
	for _, wanted := range c.keys {
		if key != nil && bytes.Equal(key, wanted) {
			return true
		}
	}
	return false
}

// in reports whether one of the headers is the wanted one. A name can be there several times.
func (w *wantedHeader) in(headers []kgo.RecordHeader) bool {
	for i := range headers {
		if headers[i].Key != w.name {
			continue
		}
		if w.value == nil || headers[i].Value != nil && bytes.Equal(headers[i].Value, w.value) {
			return true
		}
	}
	return false
}
