package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"spate/internal/proc"
)

// TestTopics creates, lists, describes and deletes, as text and as JSON, with the errors that people make.
func TestTopics(t *testing.T) {
	b, _ := startBroker(t, nil)
	on := []string{"--bootstrap-server", b.Bootstrap}
	at := func(args ...string) result { return spate(t, "", append(args, on...)...) }
	check := func(r result, code int, out, err string) {
		t.Helper()
		if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.err, err) {
			t.Errorf("status %d, want %d, %q, %q\n%s%s", r.code, code, out, err, r.out, r.err)
		}
	}
	check(at("topic", "list"), 0, "", `no topics yet; "spate topic create NAME" makes one`)
	check(at("topic", "create", "orders", "-p", "3", "-c", "retention.ms=5000"), 0,
		"created topic orders with 3 partitions\n", "")
	check(at("topic", "create", "orders"), 1, "", "topic orders exists already; --if-not-exists makes that no error")
	check(at("topic", "create", "orders", "other", "--if-not-exists"), 0,
		"topic orders exists already\ncreated topic other with 1 partition\n", "")
	check(at("topic", "create", "bad", "-c", "retension.ms=1"), 1, "", "INVALID_CONFIG")
	check(at("topic", "create", "bad", "-c", "cleanup.policy=burn"), 1, "", "INVALID_CONFIG")
	check(at("topic", "create", "bad", "-r", "3"), 1, "", "INVALID_REPLICATION_FACTOR")
	check(at("topic", "create", "a/b"), 1, "", "INVALID_TOPIC_EXCEPTION")
	check(at("topic", "list"), 0, "TOPIC   PARTITIONS  REPLICAS  ID\norders  3           1         ", "")
	check(at("topic", "describe", "orders"), 0,
		"  config retention.ms=5000\n  PARTITION  LEADER  EPOCH  REPLICAS  ISR  START  END\n"+
			"  0          1       0      1         1    0      0\n", "")
	check(at("topic", "describe", "orders", "none"), 1, "topic orders  id ",
		`topic none does not exist; "spate topic list" shows`)

	var listed []topicRow
	if err := json.Unmarshal([]byte(at("topic", "list", "--output", "json").out), &listed); err != nil ||
		len(listed) != 2 {
		t.Errorf("%v, %v", listed, err)
	}
	var described []topicDescription
	err := json.Unmarshal([]byte(at("topic", "describe", "--output", "json").out), &described)
	if err != nil || len(described) != 2 || len(described[0].Parts) != 3 ||
		described[0].Configs["retention.ms"] != "5000" {
		t.Errorf("%+v, %v", described, err)
	}
	check(at("topic", "delete", "orders", "none"), 1, "deleted topic orders\n", "topic none does not exist")
	check(at("topic", "delete", "orders", "--if-exists"), 0, "topic orders does not exist\n", "")
	check(at("consume", "orders"), 1, "", "topic orders does not exist")
}

// TestRoundTrip sends lines in every compression and reads them back in every form.
func TestRoundTrip(t *testing.T) {
	b, _ := startBroker(t, nil)
	on := []string{"--bootstrap-server", b.Bootstrap}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		r := spate(t, "k1:v1\r\nk2:NULL\nNULL:v3:x\n:", append(on, "produce", codec, "-k", ":", "--null", "NULL",
			"-H", "h=1",
			"-H", "i=", "-z", codec)...)
		if r.code != 0 || !strings.HasPrefix(r.err, "produced 4 records, 10 bytes, ") || r.out != "" {
			t.Errorf("%s: status %d\n%s%s", codec, r.code, r.out, r.err)
		}
		got := must(t, "", append(on, "consume", codec, "--to-end", "--print", "partition,offset,headers,key",
			"--null", "-")...)
		if want := "0\t0\th:1,i:\tk1\tv1\n0\t1\th:1,i:\tk2\t-\n0\t2\th:1,i:\t-\tv3:x\n0\t3\th:1,i:\t\t\n"; got != want {
			t.Errorf("%s: got %q", codec, got)
		}
	}
	got := must(t, "", append(on, "consume", "zstd", "-e", "--format", `%t/%p/%o %k=%v %h{%k=%v,}\n`)...)
	want := "zstd/0/0 k1=v1 h=1,i=,\nzstd/0/1 k2= h=1,i=,\nzstd/0/2 =v3:x h=1,i=,\nzstd/0/3 = h=1,i=,\n"
	if got != want {
		t.Errorf("format: got %q", got)
	}
	lines := strings.Split(strings.TrimSpace(must(t, "", append(on, "consume", "zstd", "-e", "-o", "json")...)), "\n")
	var r struct {
		Topic   string
		Offset  int64
		Key     *string
		Value   *string
		Headers []map[string]string
	}
	if err := json.Unmarshal([]byte(lines[1]), &r); err != nil || len(lines) != 4 {
		t.Fatalf("%v: %q", err, lines)
	}
	if r.Topic != "zstd" || r.Offset != 1 || *r.Key != "k2" || r.Value != nil || r.Headers[0]["value"] != "1" {
		t.Errorf("got %s", lines[1])
	}
}

// TestWhereToBegin reads ten records from each kind of start.
func TestWhereToBegin(t *testing.T) {
	b, dir := startBroker(t, nil)
	on := []string{"--bootstrap-server", b.Bootstrap}
	file := filepath.Join(filepath.Dir(dir), "lines.txt")
	if err := os.WriteFile(file, []byte("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "", append(on, "produce", "ten", file, "--acks", "1", "--quiet")...)
	must(t, "", append(on, "topic", "create", "spread", "-p", "3")...)
	must(t, "a\nb\n", append(on, "produce", "spread", "-p", "2", "--acks", "0")...)
	for _, c := range []struct {
		args string
		want string
	}{
		{"ten --to-end", "0123456789"},
		{"ten --from earliest --count 3", "012"},
		{"ten --from 7 --count 2", "78"},
		{"ten --from 10 --to-end", ""},
		{"ten --from -2 -e", "89"},
		{"ten --from -200 -e", "0123456789"},
		{"ten --from latest -e", ""},
		{"ten --from @0 -e", "0123456789"},
		{"ten --from -1h -e", "0123456789"},
		{"ten --from 2200-01-01T00:00:00Z -e", ""},
		{"ten --read-committed -e", "0123456789"},
		{"spread -p 2 --count 2", "ab"},
		{"spread -p 0,1 -e", ""},
		{"spread --from -1 -e", "b"},
	} {
		got := must(t, "", append(on, append([]string{"consume"}, strings.Fields(c.args)...)...)...)
		if got = strings.ReplaceAll(got, "\n", ""); got != c.want {
			t.Errorf("%s: got %s, want %s", c.args, got, c.want)
		}
	}
	for args, want := range map[string]string{
		"ten --from 11": "spate: partition 0 of ten: offset 11 is not there: it holds 0 to 10\n",
		"ten -p 1":      "spate: topic ten has no partition 1; it has 1\n",
	} {
		r := spate(t, "", append(on, append([]string{"consume"}, strings.Fields(args)...)...)...)
		if r.code != 1 || r.err != want {
			t.Errorf("%s: status %d, %s", args, r.code, r.err)
		}
	}
}

// TestProduceFiles sends the lines of several files, standard input among them, and says in which line of which file
// it ended.
func TestProduceFiles(t *testing.T) {
	b, dir := startBroker(t, nil)
	on := []string{"--bootstrap-server", b.Bootstrap}
	one, two := filepath.Join(filepath.Dir(dir), "one.txt"), filepath.Join(filepath.Dir(dir), "two.txt")
	err := errors.Join(os.WriteFile(one, []byte("a:1\nb:2"), 0o644), os.WriteFile(two, []byte("c:3\n\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	r := spate(t, "x:9\n", append(on, "produce", "files", one, "-", one, "-k", ":")...)
	if r.code != 0 || !strings.HasPrefix(r.err, "produced 5 records, 10 bytes, ") {
		t.Errorf("status %d, %s", r.code, r.err)
	}
	if got := must(t, "", append(on, "consume", "files", "-e", "--print", "key", "--separator", "=")...); got !=
		"a=1\nb=2\nx=9\na=1\nb=2\n" {
		t.Errorf("got %q", got)
	}
	for want, args := range map[string][]string{
		"3 records acknowledged, then line 2 of " + two + " has no \":\" between key and " +
			"value\n": {one, two, "-k", ":"},
		"open /none: no such file or directory\n":       {one, "/none"},
		dir + " is a directory; name the files in it\n": {one, dir},
	} {
		r := spate(t, "", append(on, append([]string{"produce", "files"}, args...)...)...)
		if r.code != 1 || r.err != "spate: "+want {
			t.Errorf("%v: status %d, %s", args, r.code, r.err)
		}
	}
	got := must(t, "", append(on, "consume", "files", "--from", "5", "-e")...)
	if got != "1\n2\n3\n" { // the files that were right, up to the line that was not; nothing where a name was wrong
		t.Errorf("after the errors: %q", got)
	}
}

// TestConsumeSeveralTopics reads topics side by side, each from where it is told.
func TestConsumeSeveralTopics(t *testing.T) {
	b, _ := startBroker(t, nil)
	on := []string{"--bootstrap-server", b.Bootstrap}
	for _, topic := range []string{"left", "right"} {
		must(t, "1\n2\n3\n", append(on, "produce", topic, "-q")...)
	}
	got := must(
		t,
		"",
		append(on, "consume", "left", "right", "--from", "-2", "-e", "--print", "topic", "--separator", " ")...)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	slices.Sort(lines)
	if strings.Join(lines, ",") != "left 2,left 3,right 2,right 3" {
		t.Errorf("got %q", got)
	}
	r := spate(t, "", append(on, "consume", "left", "none")...)
	if r.code != 1 || r.err != "spate: topic none does not exist; \"spate topic list\" shows those that do\n" {
		t.Errorf("status %d, %s", r.code, r.err)
	}
}

// TestProduceErrors: the first record that cannot be sent ends the work, and its line is named.
func TestProduceErrors(t *testing.T) {
	b, _ := startBroker(t, map[string]string{"auto.create.topics.enable": "false"})
	on := []string{"--bootstrap-server", b.Bootstrap}
	must(t, "", append(on, "topic", "create", "small", "-c", "max.message.bytes=100")...)
	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"x\n", []string{"none"},
			`0 records acknowledged, then line 1: topic none does not exist; "spate topic list" shows those that do`},
		{"a:1\nb\n", []string{"small", "-k", ":"},
			`1 record acknowledged, then line 2 has no ":" between key and value`},
		{strings.Repeat("x", 1000) + "\n", []string{"small"},
			"0 records acknowledged, then line 1: topic small: a batch is larger than " +
				"max.message.bytes; send smaller records or raise it"},
		{"x\n", []string{"small", "/no/such/file"}, "open /no/such/file: no such file or directory"},
		{"x\n", []string{"small", "--partition", "4"}, "0 records acknowledged, then line 1: "},
	} {
		r := spate(t, c.stdin, append(on, append([]string{"produce"}, c.args...)...)...)
		if r.code != 1 || r.out != "" || !strings.HasPrefix(r.err, "spate: "+c.want) {
			t.Errorf("%q: status %d\n%s%s", c.args, r.code, r.out, r.err)
		}
	}
}

// TestManyRecords sends enough for many batches, and finds each record once and in order.
func TestManyRecords(t *testing.T) {
	b, _ := startBroker(t, nil)
	on := []string{"--bootstrap-server", b.Bootstrap}
	const count = 50000
	var in strings.Builder
	for i := range count {
		fmt.Fprintln(&in, i)
	}
	must(t, in.String(), append(on, "produce", "many", "-z", "lz4", "-q")...)
	if got := must(t, "", append(on, "consume", "many", "--count", fmt.Sprint(count))...); got != in.String() {
		t.Errorf("%d bytes came back of %d", len(got), in.Len())
	}
}

// TestDumpAndVerify reads and checks the files of a broker that runs, of one that shut down, and damaged ones.
func TestDumpAndVerify(t *testing.T) {
	b, dir := startBroker(t, nil)
	on := []string{"--bootstrap-server", b.Bootstrap}
	long := strings.Repeat("1", 500) // the client sends what does not shrink uncompressed
	must(t, "a:"+long+"\nb:2\n", append(on, "produce", "orders", "-k", ":", "-z", "gzip", "--linger", "1m")...)
	whole := func(when, want string) {
		t.Helper()
		r := spate(t, "", "verify", dir)
		if r.code != 0 || !strings.HasPrefix(lastLine(r.out), want) {
			t.Errorf("%s: status %d\n%s%s", when, r.code, r.out, r.err)
		}
	}
	whole("while the broker runs", "whole: 2 partitions, 2 segments, ")
	log := filepath.Join(dir, "orders-0", "00000000000000000000.log")
	dump := must(t, "", "dump", log, "--records")
	for _, want := range []string{"# " + log + " (log)\nposition=0 bytes=", " offsets=0..1 count=2 epoch=0 codec=gzip ",
		` key="a" value="` + long + `"`, ` key="b" value="2"`, " crc=ok\n"} {
		if !strings.Contains(dump, want) {
			t.Errorf("no %q in the dump:\n%s", want, dump)
		}
	}
	metadata := must(t, "", "dump", filepath.Join(dir, "__cluster_metadata-0"), "-o", "json")
	for _, want := range []string{`"record":"TOPIC_RECORD","Name":"orders"`, `"record":"PARTITION_RECORD"`} {
		if !strings.Contains(metadata, want) {
			t.Errorf("no %s in the dump of the metadata:\n%s", want, metadata)
		}
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	whole("after a clean shutdown", "whole: 2 partitions, 2 segments, ")
	if out := must(t, "", "dump", dir); strings.Contains(out, "WRONG") || !strings.Contains(out, "cluster.id=") {
		t.Errorf("dump of everything:\n%s", out)
	}

	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(content)
	damaged[len(damaged)-1] ^= 1
	if err := os.WriteFile(log, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	r := spate(t, "", "verify", dir)
	if r.code != 1 || !strings.Contains(r.out, "damage: "+log+": position 0: the checksum is ") ||
		!strings.HasPrefix(lastLine(r.out), "DAMAGED: ") || r.err != "spate: 1 damaged place found\n" {
		t.Errorf("a flipped bit: status %d\n%s%s", r.code, r.out, r.err)
	}
	var report struct {
		Damages []struct{ File, Reason string }
	}
	r = spate(t, "", "verify", dir, "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != 1 || report.Damages[0].File != log {
		t.Errorf("as JSON: status %d, %v\n%s", r.code, err, r.out)
	}
	r = spate(t, "", "dump", log, "--records")
	if r.code != 1 || !strings.Contains(r.out, " crc=WRONG\n") || !strings.Contains(r.err,
		"position 0: the checksum is ") {
		t.Errorf("dump of a flipped bit: status %d\n%s%s", r.code, r.out, r.err)
	}
	for _, args := range [][]string{{"dump", "/none"}, {"verify", "/none"}, {"verify", filepath.Dir(dir)}, {"dump",
		t.TempDir()}} {
		if r := spate(t, "", args...); r.code != 1 || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%q: status %d\n%s%s", args, r.code, r.out, r.err)
		}
	}
}

// TestAnOfflinePartition: after a flipped bit below what was flushed, the partition is not served, the others are, and
// each command says what a person needs.
func TestAnOfflinePartition(t *testing.T) {
	b, dir := startBroker(t, nil)
	must(t, "x\n", "produce", "bad", "-b", b.Bootstrap)
	must(t, "y\n", "produce", "good", "-b", b.Bootstrap)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "bad-0", "00000000000000000000.log")
	content, err := os.ReadFile(log)
	if err == nil {
		content[len(content)-1] ^= 1
		err = errors.Join(os.WriteFile(log, content, 0o644), os.Remove(filepath.Join(dir, ".kafka_cleanshutdown")))
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err = proc.Start(proc.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Kill()
	if got := must(t, "", "consume", "good", "-e", "-b", b.Bootstrap); got != "y\n" {
		t.Errorf("the other topic: %q", got)
	}
	if got := must(t, "", "topic", "describe", "bad", "-b", b.Bootstrap); !strings.HasSuffix(got, "  -      -\n") {
		t.Errorf("describe:\n%s", got)
	}
	const cause = "topic bad: the broker cannot use its log: full disk, failing disk or damage; see what it logs\n"
	if r := spate(t, "", "consume", "bad", "-b", b.Bootstrap); r.code != 1 || r.err != "spate: partition 0: "+cause {
		t.Errorf("consume: status %d, %s", r.code, r.err)
	}
	r := spate(t, "z\n", "produce", "bad", "--timeout", "1s", "-b", b.Bootstrap)
	if r.code != 1 || !strings.HasPrefix(r.err,
		"spate: 0 records acknowledged, then line 1: topic bad: no acknowledgement in time;") {
		t.Errorf("produce: status %d, %s", r.code, r.err)
	}
	if r := spate(t, "", "verify", dir); r.code != 1 || !strings.Contains(r.out, "damage: "+log+": position 0: ") {
		t.Errorf("verify: status %d\n%s%s", r.code, r.out, r.err)
	}
}

// lastLine is the last line of a text.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
