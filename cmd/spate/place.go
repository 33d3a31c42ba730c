package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// placeKind is how a place in a partition is said.
type placeKind uint8

// The kinds.
const (
	atEarliest placeKind = iota
	atLatest
	atOffset
	atLast // N records before the end
	atTime // milliseconds since 1970: the first record at or after it, or the end
)

// place is a place in any partition, as --from and --to name it.
type place struct {
	kind  placeKind
	value int64
}

// placeForms is what is said of a text that is no place.
const placeForms = "must be earliest, latest, an offset, -N for N records before the end, a time " +
	"(2006-01-02T15:04:05Z, 2006-01-02, @milliseconds) or how long ago (2h, 7d), or such by partition: 0:100,1:200"

// parsePlace reads one place. now is what durations count back from.
func parsePlace(text string, now time.Time) (place, error) {
	switch text {
	case "earliest":
		return place{kind: atEarliest}, nil
	case "latest":
		return place{kind: atLatest}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n >= 0 {
			return place{atOffset, n}, nil
		}
		if n > math.MinInt64 {
			return place{atLast, -n}, nil
		}
	}
	if ms, ok := strings.CutPrefix(text, "@"); ok {
		if n, err := strconv.ParseInt(ms, 10, 64); err == nil && n >= 0 {
			return place{atTime, n}, nil
		}
	}
	if ago, err := parseAge(strings.TrimPrefix(text, "-")); err == nil {
		return place{atTime, max(0, now.Add(-ago).UnixMilli())}, nil
	}
	if t, err := parseTime(text); err == nil {
		return place{atTime, max(0, t.UnixMilli())}, nil
	}
	return place{}, fmt.Errorf("%q: %s", text, placeForms)
}

// resolve is the offset of the place in a partition that holds [first, end). timed is the answer to a look-up by time.
// An offset that is not there is given as it is.
func (p place) resolve(first, end, timed int64) int64 {
	switch p.kind {
	case atLatest:
		return end
	case atLast:
		return max(first, end-p.value)
	case atTime:
		return timed
	case atOffset:
		return p.value
	}
	return first
}

// places are a place for all partitions, or one for each of some.
type places struct {
	all place
	by  map[int32]place // nil: all is for every partition
}

// parsePlaces reads --from or --to: a place, or PARTITION:PLACE,PARTITION:PLACE.
func parsePlaces(text string, now time.Time) (places, error) {
	number, _, listed := strings.Cut(text, ":")
	if _, err := strconv.ParseUint(number, 10, 31); !listed || err != nil { // a time has colons too, behind a date
		p, err := parsePlace(text, now)
		return places{all: p}, err
	}
	by := make(map[int32]place)
	for _, item := range strings.Split(text, ",") {
		number, where, _ := strings.Cut(item, ":")
		partition, err := strconv.ParseUint(number, 10, 31)
		if err != nil || where == "" {
			return places{}, fmt.Errorf("%q: %q must be PARTITION:PLACE, such as 0:100", text, item)
		}
		if _, twice := by[int32(partition)]; twice {
			return places{}, fmt.Errorf("%q: partition %d is named twice", text, partition)
		}
		p, err := parsePlace(where, now)
		if err != nil {
			return places{}, err
		}
		by[int32(partition)] = p
	}
	return places{by: by}, nil
}

// of is the place in a partition; otherwise is that of one which is not named.
func (p places) of(partition int32, otherwise place) place {
	if p.by == nil {
		return p.all
	}
	if named, ok := p.by[partition]; ok {
		return named
	}
	return otherwise
}

// times are the different times among the places.
func (p places) times() []int64 {
	var times []int64
	if p.by == nil && p.all.kind == atTime {
		times = append(times, p.all.value)
	}
	for _, at := range p.by {
		if at.kind == atTime {
			times = append(times, at.value)
		}
	}
	return times
}

// timeLayouts are how times are written; without a zone they are in UTC, as Kafka's tools take them.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04",
	"2006-01-02"}

// parseTime reads a time of timeLayouts.
func parseTime(text string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2006-01-02T15:04:05Z or 2006-01-02", text)
}
