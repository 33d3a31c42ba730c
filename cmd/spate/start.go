package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// startKind is how --from says where to begin.
type startKind uint8

// The kinds.
const (
	fromEarliest startKind = iota
	fromLatest
	fromOffset
	fromLast // the last N records
	fromTime // milliseconds since 1970
)

// start is a parsed --from.
type start struct {
	kind  startKind
	value int64
}

// parseStart reads --from. now is what durations count back from.
func parseStart(text string, now time.Time) (start, error) {
	switch text {
	case "earliest", "beginning":
		return start{kind: fromEarliest}, nil
	case "latest", "end":
		return start{kind: fromLatest}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 0 {
			return start{fromLast, -n}, nil
		}
		return start{fromOffset, n}, nil
	}
	if ms, ok := strings.CutPrefix(text, "@"); ok {
		if n, err := strconv.ParseInt(ms, 10, 64); err == nil && n >= 0 {
			return start{fromTime, n}, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d < 0 {
		return start{fromTime, now.Add(d).UnixMilli()}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return start{fromTime, t.UnixMilli()}, nil
	}
	return start{}, fmt.Errorf("--from %q: must be earliest, latest, an offset, -N, or a time "+
		"(2006-01-02T15:04:05Z, @milliseconds, -1h)", text)
}

// resolve is the offset to begin at in a partition that holds [first, end). atTime is the answer to a look-up by time.
func (s start) resolve(first, end, atTime int64) (int64, error) {
	switch s.kind {
	case fromLatest:
		return end, nil
	case fromLast:
		return max(first, end-s.value), nil
	case fromTime:
		return atTime, nil
	case fromOffset:
		if s.value < first || s.value > end {
			return 0, fmt.Errorf("offset %d is not there: it holds %d to %d", s.value, first, end)
		}
		return s.value, nil
	}
	return first, nil
}
