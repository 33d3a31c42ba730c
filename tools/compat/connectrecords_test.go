package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// lineWriter appends numbered lines to the file that a source reads, in pieces that may end within a line.
type lineWriter struct {
	file *os.File
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	lines int
	err   error
}

const linesPause = 10 * time.Millisecond

func startLineWriter(t *testing.T, name string) *lineWriter {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := &lineWriter{file: file, stop: make(chan struct{})}
	w.done.Go(w.write)
	t.Cleanup(func() { _ = w.end() })
	return w
}

func line(n int) string { return fmt.Sprintf("line %d %s", n, strings.Repeat("x", n%50)) }

func (w *lineWriter) write() {
	tick := time.NewTicker(linesPause)
	defer tick.Stop()
	var text string
	for {
		w.mu.Lock()
		for range 1 + rand.IntN(10) {
			text += line(w.lines) + "\n"
			w.lines++
		}
		w.mu.Unlock()
		n := rand.IntN(len(text))
		select {
		case <-tick.C:
		case <-w.stop:
			n = len(text)
		}
		_, err := w.file.WriteString(text[:n])
		if err != nil || n == len(text) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.err = err
			return
		}
		text = text[n:]
	}
}

// end writes what has begun, and says how many lines there are.
func (w *lineWriter) end() int {
	select {
	case <-w.stop:
	default:
		close(w.stop)
		w.done.Wait()
		w.file.Close()
	}
	return w.lines
}

// committed is what a consumer under read_committed has seen of two topics, while everything else comes and goes.
type committed struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	lines   []hoisted
	numbers map[string][]int64 // by task, the key
	wrong   []string
}

// hoisted is a line as the source's transforms leave it.
type hoisted struct{ Line, Round string }

func startCommitted(t *testing.T, bootstrap, lines, numbers string) *committed {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(lines, numbers),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := &committed{cancel: cancel, numbers: map[string][]int64{}}
	c.done.Go(func() {
		defer client.Close()
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			c.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { c.read(r, lines) })
			c.mu.Unlock()
		}
	})
	t.Cleanup(c.end)
	return c
}

func (c *committed) end() {
	c.cancel()
	c.done.Wait()
}

func (c *committed) read(r *kgo.Record, lines string) {
	if r.Topic == lines {
		var h hoisted
		if err := json.Unmarshal(r.Value, &h); err != nil {
			c.wrong = append(c.wrong, fmt.Sprintf("offset %d: %q: %v", r.Offset, r.Value, err))
		}
		c.lines = append(c.lines, h)
		return
	}
	n, err := strconv.ParseInt(string(r.Value), 10, 64)
	if err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("offset %d: %q: %v", r.Offset, r.Value, err))
	}
	c.numbers[string(r.Key)] = append(c.numbers[string(r.Key)], n)
}

// counts says how many lines, and numbers of how many tasks have been read.
func (c *committed) counts() (lines, numbers, tasks int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range c.numbers {
		numbers += len(of)
	}
	return len(c.lines), numbers, len(c.numbers)
}

// check compares all lines with the wanted ones, in order, and the numbers of each task with 0, 1, 2 and so on.
func (c *committed) check(t *testing.T, want []string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, wrong := range c.wrong {
		t.Error(wrong)
	}
	for i, h := range c.lines {
		if i >= len(want) || h.Line != want[i] {
			t.Fatalf("record %d of %d under read_committed is %q; want %d, this one %q", i, len(c.lines), h.Line,
				len(want), want[min(i, len(want)-1)])
		}
	}
	if len(c.lines) < len(want) {
		t.Errorf("read %d lines, want %d", len(c.lines), len(want))
	}
	for task, numbers := range c.numbers {
		for i, n := range numbers {
			if n != int64(i) {
				t.Fatalf("record %d of task %s under read_committed has number %d", i, task, n)
			}
		}
	}
}

// sunk counts the lines of a sink's file by their number; foreign ones are an error.
func sunk(t *testing.T, name string, lines int) (total, distinct int) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, lines)
	for got := range strings.Lines(string(text)) {
		got = strings.TrimSuffix(got, "\n")
		var n int
		if _, err := fmt.Sscanf(got, "line %d ", &n); err != nil || n >= lines || got != line(n) {
			t.Fatalf("%q in the sink's file after %d lines", got, total)
		}
		if !seen[n] {
			distinct++
		}
		seen[n] = true
		total++
	}
	return total, distinct
}

// connectSaid is what TestConnect and TestMirrorMaker have found out, for the page of results.
var connectSaid struct {
	sync.Mutex
	of map[string]string
}

func noteConnect(t *testing.T, text string) {
	connectSaid.Lock()
	defer connectSaid.Unlock()
	if connectSaid.of == nil {
		connectSaid.of = map[string]string{}
	}
	connectSaid.of[t.Name()] = text
}

func writeConnectResults(out *strings.Builder) {
	connectSaid.Lock()
	defer connectSaid.Unlock()
	fmt.Fprintf(out, `
## Kafka Connect

Two workers of Kafka Connect %s in distributed mode, on compacted internal topics that they make themselves, run the file
source with exactly-once support, a source of three tasks, the file sink, and transforms of single records. Workers
are killed and halted, so that a fenced zombie wakes up, the broker is killed, and all of them at once; connectors are
changed, paused, stopped and deleted, and their offsets set and reset, by REST. In the end:
%s.

MirrorMaker 2 copies a topic each way between Apache Kafka and this broker, exactly once, while transactions on both
commit and abort; it is killed, and so is the broker. Each copy has the committed records of its original and no
others, in order, with keys, headers and timestamps; it gets new partitions and configs, and the group of one side is on the
other one where it should be. In the end:
%s.
`, proc.KafkaVersion, connectSaid.of["TestConnect"], connectSaid.of["TestMirrorMaker"])
}
