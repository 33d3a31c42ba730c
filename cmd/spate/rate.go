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
	matched atomic.Int64 // of them, what a filter took
	// filters is set before anything is counted: what matched is worth a word.
	filters bool
	// total is how many offsets there are to pass, of a run that knows its end; 0: it does not. passed are behind it.
	total, passed atomic.Int64
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
	return fmt.Sprintf("%s, %s, %.0f records/s%s", plural(records, "record"), byteText(bytes), rate, m.matchedText())
}

// matchedText says how many records matched, where that is a question.
func (m *meter) matchedText() string {
	if !m.filters {
		return ""
	}
	return fmt.Sprintf(", %d matched", m.matched.Load())
}

// leftText says how much of a run with an end is behind it, and how long the rest takes at the pace so far.
func (m *meter) leftText(now time.Time) string {
	total, passed := m.total.Load(), m.passed.Load()
	if total <= 0 || passed <= 0 {
		return ""
	}
	rest := now.Sub(m.began).Seconds() / float64(passed) * float64(max(0, total-passed))
	return fmt.Sprintf(", %d%%, %s left", min(100, passed*100/total), shortDuration(rest))
}

// shortDuration is a number of seconds for people.
func shortDuration(seconds float64) string {
	d := time.Duration(min(seconds, 1e6) * float64(time.Second)).Round(time.Second)
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
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
	if since := now.Sub(l.painted); since >= rateEvery {
		records := l.m.records.Load()
		l.rate = float64(records-l.records) / since.Seconds()
		l.painted, l.records = now, records
	} else if l.text != "" || l.painted.Equal(l.m.began) {
		return // what is there is fresh, or there is nothing to tell yet
	}
	l.text = fmt.Sprintf("%s, %s, %.0f records/s%s%s", plural(l.m.records.Load(), "record"),
		byteText(l.m.bytes.Load()), l.rate, l.m.matchedText(), l.m.leftText(now))
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
	return plural(n, "byte")
}
