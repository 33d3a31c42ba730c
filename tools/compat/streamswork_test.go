package compat

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// compactedSoon are the configs of a topic that is compacted all the time.
func compactedSoon() map[string]*string {
	return map[string]*string{
		"cleanup.policy": kadm.StringPtr("compact"), "segment.ms": kadm.StringPtr("2000"),
		"min.cleanable.dirty.ratio": kadm.StringPtr("0.01"),
	}
}

// commonWords is how many words there are.
const commonWords = 200

// wordCount writes lines of words, few of which are frequent. Without a cache every word of every line gives a
// result, so that the results of each word are 1, 2, 3 and so on, each once.
type wordCount struct {
	random *rand.Rand
	names  bool // words are counted by the names that a global table gives them
	lines  int
	want   map[string]int64 // how often each word was written
	got    map[string]int64 // its last count
	left   int
}

func newWordCount(names bool) *wordCount {
	return &wordCount{
		random: rand.New(rand.NewPCG(1, 1)), names: names, want: map[string]int64{}, got: map[string]int64{},
	}
}

func (w *wordCount) application() string {
	if w.names {
		return "namecount"
	}
	return "wordcount"
}

// first is the global table.
func (w *wordCount) first() []*kgo.Record {
	var records []*kgo.Record
	for n := range commonWords {
		records = append(records, &kgo.Record{
			Topic: "names", Partition: int32(n % streamsPartitions), Key: fmt.Appendf(nil, "word-%d", n),
			Value: []byte(w.countedAs(n)),
		})
	}
	return records
}

func (w *wordCount) countedAs(word int) string {
	if w.names {
		return fmt.Sprintf("name-%d", word%30)
	}
	return fmt.Sprintf("word-%d", word)
}

func (*wordCount) inputs() []string { return []string{"lines"} }

func (*wordCount) topics() []streamsTopic {
	return []streamsTopic{
		{name: "counts"}, {name: "lines"}, {name: "latest", configs: compactedSoon()},
		{name: "names", configs: compactedSoon()},
	}
}

func (w *wordCount) next() []*kgo.Record {
	words := make([]string, 1+w.random.IntN(8))
	for n := range words {
		word := w.random.IntN(1 + w.random.IntN(commonWords))
		words[n] = fmt.Sprintf("word-%d", word)
		w.want[w.countedAs(word)]++
	}
	w.left += len(words)
	w.lines++
	return []*kgo.Record{{
		Topic: "lines", Partition: int32(w.lines % streamsPartitions), Key: fmt.Append(nil, w.lines),
		Value: []byte(strings.Join(words, " ")),
	}}
}

func (*wordCount) flush() []*kgo.Record { return nil }

func (w *wordCount) result(r *kgo.Record) error {
	word, count := string(r.Key), int64(binary.BigEndian.Uint64(r.Value))
	before := w.got[word]
	w.got[word] = count
	w.left--
	switch {
	case count != before+1:
		return fmt.Errorf("%s: %d after %d", word, count, before)
	case count > w.want[word]:
		return fmt.Errorf("%s: %d, and only %d were written", word, count, w.want[word])
	}
	return nil
}

func (w *wordCount) missing() (int, string) {
	for word, want := range w.want {
		if got := w.got[word]; got != want {
			return w.left, fmt.Sprintf("%s: %d of %d", word, got, want)
		}
	}
	return w.left, ""
}

// windowJoin writes two streams, whose records have times in steps of joinStep, and knows which of them are within
// joinWindow of each other and which remain alone.
type windowJoin struct {
	random *rand.Rand
	base   time.Time
	events int
	recent map[string][]joinEvent // by key, the last ones of both sides
	alone  map[string]joinEvent   // by name, those that have no pair so far
	want   map[string]bool        // pairs that were not seen yet
	seen   map[string]bool
	ended  bool
	ends   int
}

type joinEvent struct {
	side, key, name string
	at              time.Time
}

const (
	joinStep   = 10 * time.Millisecond
	joinWindow = 200 * time.Millisecond // as in Streams.java
	joinGrace  = time.Hour              // as in Streams.java
	joinKeys   = 40
)

func newWindowJoin() *windowJoin {
	return &windowJoin{
		random: rand.New(rand.NewPCG(1, 1)), base: time.Now().Add(-12 * time.Hour).Truncate(time.Millisecond),
		recent: map[string][]joinEvent{}, alone: map[string]joinEvent{}, want: map[string]bool{},
		seen: map[string]bool{},
	}
}

func (*windowJoin) application() string { return "join" }

func (*windowJoin) first() []*kgo.Record { return nil }

func (*windowJoin) inputs() []string { return []string{"left", "right"} }

func (*windowJoin) topics() []streamsTopic {
	return []streamsTopic{{name: "joined"}, {name: "left"}, {name: "right"}}
}

func (w *windowJoin) next() []*kgo.Record {
	var records []*kgo.Record
	for range 3 {
		records = append(records, w.event())
	}
	return records
}

func (w *windowJoin) event() *kgo.Record {
	w.events++
	number := w.random.IntN(joinKeys)
	e := joinEvent{
		side: []string{"left", "right"}[w.random.IntN(2)], key: fmt.Sprintf("key-%d", number),
		name: fmt.Sprintf("event-%d", w.events), at: w.base.Add(time.Duration(w.events) * joinStep),
	}
	w.alone[e.name] = e
	var near []joinEvent
	for _, other := range w.recent[e.key] {
		if e.at.Sub(other.at) > joinWindow {
			continue
		}
		near = append(near, other)
		if other.side == e.side {
			continue
		}
		pair := e.name + " " + other.name
		if e.side == "right" {
			pair = other.name + " " + e.name
		}
		w.want["inner "+pair], w.want["outer "+pair] = true, true
		delete(w.alone, e.name)
		delete(w.alone, other.name)
	}
	w.recent[e.key] = append(near, e)
	return &kgo.Record{
		Topic: e.side, Partition: int32(number % streamsPartitions), Key: []byte(e.key), Value: []byte(e.name),
		Timestamp: e.at,
	}
}

// flush ends the windows of all that was written: only then are those known that remain alone. Kafka Streams looks at
// most once a second who has, and on a record only.
func (w *windowJoin) flush() []*kgo.Record {
	if !w.ended {
		w.ended = true
		for name, e := range w.alone {
			w.want["outer "+map[string]string{"left": name + " null", "right": "null " + name}[e.side]] = true
		}
	}
	w.ends++
	var records []*kgo.Record
	for partition := range int32(streamsPartitions) {
		for _, side := range w.inputs() {
			records = append(records, &kgo.Record{
				Topic: side, Partition: partition, Key: []byte("end"), Value: fmt.Append(nil, w.ends),
				Timestamp: w.base.Add(3*joinGrace + time.Duration(w.ends)*time.Second),
			})
		}
	}
	return records
}

func (w *windowJoin) result(r *kgo.Record) error {
	result := string(r.Value)
	switch {
	case string(r.Key) == "end":
		return nil
	case w.seen[result]:
		return fmt.Errorf("%s: %s a second time", r.Key, result)
	case !w.want[result]:
		return fmt.Errorf("%s: %s was not to be", r.Key, result)
	}
	delete(w.want, result)
	w.seen[result] = true
	return nil
}

func (w *windowJoin) missing() (int, string) {
	for result := range w.want {
		return len(w.want), result
	}
	return 0, ""
}
