package main

import (
	"bufio"
	bigendian "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
	"spate/kafka/record"
)

// writeHours writes records with hours of 1 March 2026 as their times and values, into each partition its own.
func writeHours(t *testing.T, bootstrap, topic string, hours map[int32][]int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for p, list := range hours {
		for _, hour := range list {
			value := fmt.Sprintf("%d.%d", p, hour)
			r := &kgo.Record{Topic: topic, Partition: p, Key: []byte(fmt.Sprint("k", hour%2)), Value: []byte(value),
				Timestamp: time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC),
				Headers:   []kgo.RecordHeader{{Key: "hour", Value: []byte(fmt.Sprint(hour))}}}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestHistory reads ranges of offsets and of time, and through filters, of partitions that are uneven and empty.
func TestHistory(t *testing.T) {
	b, _ := startBroker(t, nil)
	must(t, "", "topic", "create", "past", "-p", "3", "-c", "retention.ms=-1", "-b", b.Bootstrap)
	writeHours(t, b.Bootstrap, "past", map[int32][]int{0: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 1: {0, 5, 9}})
	const all = "0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0 1.5 1.9"
	for _, c := range []struct{ args, want, err string }{
		{"--to-end", all, "read 13 records, 65 bytes, "},
		{"--from 2026-03-01 --to 2026-03-02", all, "read 13 records, "},
		{"--from 2026-03-01T02:00:00Z --to 2026-03-01T05:00:00Z", "0.2 0.3 0.4", "read 3 records, "},
		{"--from 2026-03-01T03:00:00+01:00 --to 2026-03-01T05:00", "0.2 0.3 0.4", "read 3 records, "},
		{"--from 2026-03-01T02:10:00Z --to 2026-03-01T02:50:00Z", "", "read 0 records, "},
		{"--from 2026-03-01T09:00:00Z --to latest", "0.9 1.9", "read 2 records, "},
		{"--from 2200-01-01 --to latest", "", "read 0 records, "},
		{"--from 2020-01-01 --to 2026-03-01", "", "read 0 records, "},
		{"--from latest --to 2026-03-01", "", "read 0 records, "},
		{"--from @0 --to 1m", all, "read 13 records, "},
		{"--from 0:2,1:1 --to 0:4,1:2", "0.2 0.3 1.5", "read 3 records, "},
		{"--from 0:8 --to-end", "0.8 0.9", "read 2 records, "},
		{"--to 1:2", "1.0 1.5", "read 2 records, "},
		{"--from 0:9 --to 1:1", "0.9 1.0", "read 2 records, "},
		{"--from 0:2026-03-01T08:00:00Z,1:-1 --to-end", "0.8 0.9 1.9", "read 3 records, "},
		{"--partitions 0 --from 2 --to 5", "0.2 0.3 0.4", "read 3 records, "},
		{"--partitions 2 --to-end", "", "read 0 records, "},
		{"--from -2 --to -1", "0.8 1.5", "read 2 records, "},
		{"--to 4", "0.0 0.1 0.2 0.3 1.0 1.5 1.9",
			"partition 1 of past ends at 3, partition 2 of past ends at 0: reading to there\nread 7 records, "},
		{"--to-end --key k1", "0.1 0.3 0.5 0.7 0.9 1.5 1.9", "s/s, 7 matched"},
		{"--to-end --key k1 --invert", "0.0 0.2 0.4 0.6 0.8 1.0", "s/s, 6 matched"},
		{"--to-end --key-regex ^k --value-regex [37]$", "0.3 0.7", "s/s, 2 matched"},
		{"--to-end --header hour=5", "0.5 1.5", "s/s, 2 matched"},
		{"--to-end --header none", "", "read 13 records, 65 bytes, "},
		{"--partitions 0 --key k1 --count 2", "0.1 0.3", "s/s, 2 matched"},
		{"--partitions 0 --to 2 --quiet", "0.0 0.1", ""},
		{"--read-committed --from 0:9 --to-end", "0.9", "read 1 record, "},
	} {
		r := spate(t, "", append([]string{"consume", "past", "-b", b.Bootstrap}, strings.Fields(c.args)...)...)
		got := strings.Fields(r.out)
		slices.Sort(got)
		if r.code != 0 || strings.Join(got, " ") != c.want || !strings.Contains(r.err, c.err) ||
			c.err == "" && r.err != "" {
			t.Errorf("%s: status %d, %s\n%s", c.args, r.code, got, r.err)
		}
	}
	for args, want := range map[string]string{
		"--from 5": "spate: partition 1 of past: offset 5 is not there: it holds 0 to 3; name offsets by " +
			"partition: 1:0\n",
		"--from 0:11":         "spate: partition 0 of past: offset 11 is not there: it holds 0 to 10\n",
		"--from 7:0":          "spate: topic past has no partition 7; it has 3\n",
		"--from 1:4 --to 1:9": "spate: partition 1 of past: offset 4 is not there: it holds 0 to 3\n",
	} {
		r := spate(t, "", append([]string{"consume", "past", "-b", b.Bootstrap}, strings.Fields(args)...)...)
		if r.code != 1 || r.out != "" || r.err != want {
			t.Errorf("%s: status %d, %s", args, r.code, r.err)
		}
	}
}

// TestHistoryAfterRetention: where the oldest records are deleted, their offsets are refused with what there is.
func TestHistoryAfterRetention(t *testing.T) {
	b, _ := startBroker(t, map[string]string{"log.retention.check.interval.ms": "100"})
	on := func(args ...string) []string { return append(args, "-b", b.Bootstrap) }
	must(t, "", on("topic", "create", "short", "-c", "segment.bytes=1048576", "-c", "retention.bytes=1048576")...)
	must(t, strings.Repeat(strings.Repeat("x", 1000)+"\n", 5000), on("produce", "short", "-q")...)
	var start, end int64
	// Retention has come to rest when less than two segments are left: at most 2 MiB, so 2,100 records of 1,000 bytes.
	for start == 0 || end-start > 2100 { // the test's own time limit bounds it
		var described []topicDescription
		err := json.Unmarshal([]byte(must(t, "", on("topic", "describe", "short", "-o", "json")...)), &described)
		if err != nil {
			t.Fatal(err)
		}
		start, end = described[0].Parts[0].Start, described[0].Parts[0].End
	}
	r := spate(t, "", on("consume", "short", "--from", "0", "--to", "10")...)
	if r.code != 1 || !strings.HasPrefix(r.err, "spate: partition 0 of short: offset 0 is not there: it holds ") {
		t.Errorf("status %d, %s", r.code, r.err)
	}
	r = spate(t, "", on("consume", "short", "--from", "-10", "--to-end", "--format", `%o\n`)...)
	if want := fmt.Sprint(end-10, "\n"); r.code != 0 || !strings.HasPrefix(r.out, want) {
		t.Errorf("status %d, %s%s", r.code, r.out, r.err)
	}
	r = spate(t, "", on("consume", "short", "--to", fmt.Sprint(end-1), "--format", `%o\n`)...)
	if r.code != 0 || lastLine(r.out) != fmt.Sprint(end-2) {
		t.Errorf("status %d, the last is %s\n%s", r.code, lastLine(r.out), r.err)
	}
}

// TestHistoryWhileTheBrokerDies: the output is read slowly, the broker is killed and comes back, and each record is
// printed once and in order.
func TestHistoryWhileTheBrokerDies(t *testing.T) {
	b, dir := startBroker(t, nil)
	const count = 60000
	var in strings.Builder
	for i := range count {
		fmt.Fprintf(&in, "%d %s\n", i, strings.Repeat("x", 500))
	}
	must(t, in.String(), "produce", "long", "-q", "-b", b.Bootstrap)
	cmd := exec.Command(binary, "consume", "long", "--to-end", "-b", b.Bootstrap)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	lines := bufio.NewReader(out)
	for i := range count {
		line, err := lines.ReadString('\n')
		if number, _, _ := strings.Cut(line, " "); err != nil || number != fmt.Sprint(i) {
			t.Fatalf("record %d is %.20q, %v\n%s", i, line, err, said.String())
		}
		if i == 100 { // most of the topic is still with the broker
			b.Kill()
			b, err = proc.Start(proc.Options{DataDir: dir, Listen: b.Bootstrap})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Kill()
		}
	}
	err = cmd.Wait()
	if err != nil || !strings.Contains(said.String(), fmt.Sprintf("read %d records, ", count)) {
		t.Errorf("%v, %s", err, said.String())
	}
}

// TestHistoryPastAGap: the last records of a log were compacted away, and only their empty batch is left. The run ends.
func TestHistoryPastAGap(t *testing.T) {
	b, dir := startBroker(t, nil)
	for _, value := range []string{"a", "b", "c"} {
		must(t, value+"\n", "produce", "gaps", "-b", b.Bootstrap)
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "gaps-0", "00000000000000000000.log")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for rest, at := content, 0; len(rest) > 0; {
		batch, after, err := record.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		if len(after) == 0 {
			emptied := content[:at+record.LogOverhead+49] // the header alone
			bigendian.BigEndian.PutUint32(emptied[at+8:], 49)
			bigendian.BigEndian.PutUint32(emptied[at+57:], 0)
			record.Batch(emptied[at:]).UpdateCRC()
			err = errors.Join(os.WriteFile(path, emptied, 0o644), os.Remove(filepath.Join(dir, ".kafka_cleanshutdown")),
				os.Remove(filepath.Join(dir, "recovery-point-offset-checkpoint")))
			if err != nil {
				t.Fatal(err)
			}
		}
		at += len(batch)
		rest = after
	}
	b, err = proc.Start(proc.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Kill()
	for args, want := range map[string]string{"--to-end": "a\nb\n", "--from 2 --to-end": "", "--from 1 --to 3": "b\n"} {
		r := spate(t, "", append([]string{"consume", "gaps", "-b", b.Bootstrap}, strings.Fields(args)...)...)
		if r.code != 0 || r.out != want {
			t.Errorf("%s: status %d, %q\n%s", args, r.code, r.out, r.err)
		}
	}
}

// TestHistoryOnATerminal: Ctrl-C sums up, and says how to go on.
func TestHistoryOnATerminal(t *testing.T) {
	b, _ := startBroker(t, nil)
	must(t, "a\nb\n", "produce", "typed", "-b", b.Bootstrap)
	p := openTerminal(t)
	consume := p.on(t, nil, "consume", "typed", "--from", "1", "--bootstrap-server", b.Bootstrap)
	p.await(t, "at the end; waiting for more (Ctrl-C ends)\r\n")
	p.typed(t, "\x03")
	p.await(t, "; interrupted: --from 0:2 goes on\r\n")
	if err := consume.Wait(); err != nil || !strings.Contains(p.text(), "read 1 record, 1 byte") {
		t.Errorf("%v\n%s", err, p.text())
	}
}

// TestLeftText: how much is left of a run with an end, and how long that takes.
func TestLeftText(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		total, passed int64
		ago           time.Duration
		want          string
	}{
		{0, 0, time.Second, ""}, {100, 0, time.Second, ""}, {100, 50, 10 * time.Second, ", 50%, 10s left"},
		{100, 1, 10 * time.Second, ", 1%, 16m30s left"}, {1000, 1, 10 * time.Second, ", 0%, 2h46m left"},
		{100, 100, time.Second, ", 100%, 0s left"}, {100, 120, time.Second, ", 100%, 0s left"},
	} {
		m := meter{began: now.Add(-c.ago)}
		m.total.Store(c.total)
		m.passed.Store(c.passed)
		if got := m.leftText(now); got != c.want {
			t.Errorf("%d of %d: got %q, want %q", c.passed, c.total, got, c.want)
		}
	}
}
