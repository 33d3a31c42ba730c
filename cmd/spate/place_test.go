package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestParsePlace reads every form of --from and --to.
func TestParsePlace(t *testing.T) {
	now := time.UnixMilli(10_000_000)
	for text, want := range map[string]place{
		"earliest":                  {atEarliest, 0},
		"latest":                    {atLatest, 0},
		"0":                         {atOffset, 0},
		"17":                        {atOffset, 17},
		"-17":                       {atLast, 17},
		"@5":                        {atTime, 5},
		"1s":                        {atTime, 9_999_000},
		"-1s":                       {atTime, 9_999_000},
		"1h30m":                     {atTime, 4_600_000},
		"PT1S":                      {atTime, 9_999_000},
		"7d":                        {atTime, 0}, // before 1970 is 1970
		"1970-01-01T00:00:01Z":      {atTime, 1000},
		"1970-01-01T00:00:01.5":     {atTime, 1500},
		"1970-01-01T01:00:01+01:00": {atTime, 1000},
		"1970-01-02":                {atTime, 86_400_000},
	} {
		if got, err := parsePlace(text, now); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "@", "@-1", "@x", "1.5", "99999999999999999999", "-9223372036854775808",
		"--1s", "beginning", "1970-13-01", "yesterday", "d", "-"} {
		got, err := parsePlace(text, now)
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("%q: must", text)) {
			t.Errorf("%q: got %v, %v, want an error", text, got, err)
		}
	}
}

// TestParsePlaces reads places by partition.
func TestParsePlaces(t *testing.T) {
	now := time.UnixMilli(10_000_000)
	for _, c := range []struct {
		text string
		want places
		err  string
	}{
		{"latest", places{all: place{kind: atLatest}}, ""},
		{"2026-01-02T03:04:05Z", places{all: place{atTime, 1767323045000}}, ""},
		{"0:100", places{by: map[int32]place{0: {atOffset, 100}}}, ""},
		{"0:100,12:-3,2:latest,3:1s", places{by: map[int32]place{0: {atOffset, 100}, 12: {atLast, 3},
			2: {kind: atLatest}, 3: {atTime, 9_999_000}}}, ""},
		{"1:1970-01-01T00:00:01Z,2:@7", places{by: map[int32]place{1: {atTime, 1000}, 2: {atTime, 7}}}, ""},
		{"0:1,0:2", places{}, `"0:1,0:2": partition 0 is named twice`},
		{"0:1,5", places{}, `"0:1,5": "5" must be PARTITION:PLACE, such as 0:100`},
		{"0:", places{}, `"0:": "0:" must be PARTITION:PLACE, such as 0:100`},
		{"0:1,", places{}, `"0:1,": "" must be PARTITION:PLACE, such as 0:100`},
		{"0:x", places{}, `"x": ` + placeForms},
		{"-1:5", places{}, `"-1:5": ` + placeForms},
		{"99999999999:5", places{}, `"99999999999:5": ` + placeForms},
	} {
		got, err := parsePlaces(c.text, now)
		if err != nil && err.Error() != c.err || err == nil && (c.err != "" || !reflect.DeepEqual(got, c.want)) {
			t.Errorf("%s: got %v, %v", c.text, got, err)
		}
	}
}

// FuzzPlaces: whatever is read is not negative, and what is named is found again.
func FuzzPlaces(f *testing.F) {
	for _, text := range []string{"earliest", "0:100,1:-5", "2h", "@5", "1970-01-01T00:00:01Z", "P1DT5S",
		"3:2026-01-02"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parsePlaces(text, time.UnixMilli(10_000_000))
		if err != nil {
			return
		}
		for _, p := range append(namedPartitions(got, places{}), 7) {
			if at := got.of(p, place{}); p < 0 || at.value < 0 {
				t.Errorf("%q: partition %d at %v", text, p, at)
			}
		}
		if len(got.times()) > max(1, len(got.by)) {
			t.Errorf("%q: %d times", text, len(got.times()))
		}
	})
}

// TestResolve finds the offset in a partition that holds 5 to 10.
func TestResolve(t *testing.T) {
	for _, c := range []struct {
		at   place
		want int64
	}{
		{place{atEarliest, 0}, 5}, {place{atLatest, 0}, 10}, {place{atTime, 3}, 7}, {place{atLast, 2}, 8},
		{place{atLast, 9}, 5}, {place{atOffset, 5}, 5}, {place{atOffset, 4}, 4}, {place{atOffset, 11}, 11},
	} {
		if got := c.at.resolve(5, 10, 7); got != c.want {
			t.Errorf("%v: got %d, want %d", c.at, got, c.want)
		}
	}
}
