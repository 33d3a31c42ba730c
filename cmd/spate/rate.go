package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// meter counts records and bytes, from any goroutine.
type meter struct {
	began   time.Time
	records atomic.Int64
	bytes   atomic.Int64 // of keys and values
}

// count adds a record of so many bytes.
func (m *meter) count(bytes int) {
	m.records.Add(1)
	m.bytes.Add(int64(bytes))
}

// summary says how much it was, and how fast on the average.
func (m *meter) summary() string {
	records, bytes := m.records.Load(), m.bytes.Load()
	rate := float64(records) / max(time.Since(m.began).Seconds(), 1e-6)
	return fmt.Sprintf("%s, %s, %.0f records/s", plural(records, "record"), byteText(bytes), rate)
}

// rateEvery is how often the rate is shown anew: often enough to look alive, rarely enough to be read.
const rateEvery = time.Second / 2

// rateLine is a line at the bottom of a terminal that shows how fast records come. Any goroutine may use it.
type rateLine struct {
	out io.Writer // nil: there is no terminal, or it is needed for something else
	m   *meter

	mu      sync.Mutex
	painted time.Time // when the rate was computed last
	records int64     // of the meter, then
	rate    float64   // records a second, then
	text    string    // what is on the line; empty: nothing
}

// erase takes the line away, so that something else can be written.
func (l *rateLine) erase() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eraseLocked()
}

func (l *rateLine) eraseLocked() {
	if l.out != nil && l.text != "" {
		fmt.Fprint(l.out, "\r", eraseToEnd)
		l.text = ""
	}
}

// say writes a sentence where the line was.
func (l *rateLine) say(status io.Writer, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eraseLocked()
	fmt.Fprintf(status, format+"\n", args...)
}

// paint shows the line, with the rate since it was computed last.
func (l *rateLine) paint(now time.Time) {
	if l.out == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.painted.IsZero() {
		l.painted = l.m.began
	}
	records := l.m.records.Load()
	if since := now.Sub(l.painted); since >= rateEvery {
		l.rate = float64(records-l.records) / since.Seconds()
		l.painted, l.records = now, records
	}
	l.text = fmt.Sprintf("%s, %s, %.0f records/s", plural(records, "record"), byteText(l.m.bytes.Load()), l.rate)
	fmt.Fprint(l.out, "\r", l.text, eraseToEnd)
}

// eraseToEnd clears the rest of a terminal's line.
const eraseToEnd = "\x1b[K"

// plural is a count with its noun.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// byteText is a number of bytes for people.
func byteText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
