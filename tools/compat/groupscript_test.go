package compat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// script is a run of Kafka's own tools, and of members beside them, against one broker; what the tools print is its
// transcript.
type script struct {
	t      *testing.T
	target *target
	dir    string
	host   *host
	admin  *kadm.Client
	result chan *memberEvent // of a tool
	masks  []mask            // what else the script hides

	transcript strings.Builder
	mu         sync.Mutex
	stopped    map[string]bool
}

// mask replaces a part of a transcript that may differ.
type mask struct {
	what   *regexp.Regexp
	by     string
	change func(string) string // instead of by
	listed string              // how docs/protocol.md calls the difference; empty for what no two runs have in common
}

const (
	groupCommand  = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	groupsCommand = "org.apache.kafka.tools.GroupsCommand"
	configCommand = "kafka.admin.ConfigCommand"
)

func startScript(t *testing.T, tg *target) *script {
	t.Helper()
	s := &script{t: t, target: tg, dir: t.TempDir(), result: make(chan *memberEvent, 1), stopped: map[string]bool{}}
	cmd, err := javaHost{}.host()
	if err != nil {
		t.Fatal(err)
	}
	s.host = startHost(t, cmd, func(member string, e *memberEvent) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case member == "tool":
			s.result <- e
		case e.Name == "shutdown_complete":
			s.stopped[member] = true
		}
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(tg.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	s.admin = adminOf(client)
	t.Cleanup(s.admin.Close)
	return s
}

// topic makes a topic with records in every partition, in each one more than in the one before, an hour apart from the
// start of 2026 on; or without any.
func (s *script) topic(name string, partitions, records int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), clientTimeout)
	defer cancel()
	forever := "-1" // the records are old
	configs := map[string]*string{"retention.ms": &forever}
	if _, err := s.admin.CreateTopic(ctx, int32(partitions), 1, configs, name); err != nil {
		s.t.Fatal(err)
	}
	s.settle()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.target.bootstrap), kgo.DefaultProduceTopic(name),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for p := 0; p < partitions && records > 0; p++ {
		for n := range records + p {
			r := &kgo.Record{Partition: int32(p), Value: fmt.Appendf(nil, "record %d", n),
				Timestamp: start.Add(time.Duration(n) * time.Hour)}
			if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// commit writes offsets of a group without members.
func (s *script) commit(group, topic string, offsets ...int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), clientTimeout)
	defer cancel()
	for p, at := range offsets { // one by one: in one request their order would be chance
		one := kadm.Offsets{}
		one.AddOffset(topic, int32(p), at, -1)
		// The coordinator may still be on its way: the topic of the offsets is made on first use.
		err := waitFor(ctx, func() (bool, error) {
			responses, err := s.admin.CommitOffsets(ctx, group, one)
			return err == nil && responses.Error() == nil, ctx.Err()
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// join starts a member of the Java consumer.
func (s *script) join(name, topic string, o memberOptions) {
	o.bootstrap, o.clientID, o.patient = s.target.bootstrap, name, true
	s.host.send(s.t, map[string]any{"op": "start", "member": name, "topic": topic, "config": javaHost{}.config(&o)})
}

// leave stops a member and waits for its end.
func (s *script) leave(name string) {
	s.t.Helper()
	s.host.send(s.t, map[string]any{"op": "stop", "member": name})
	s.wait(name+" to end", func(context.Context) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.stopped[name]
	})
}

// state waits until a group is in a state with that many members.
func (s *script) state(group, state string, members int) {
	s.t.Helper()
	s.wait(fmt.Sprintf("%s to be %s with %d members", group, state, members), func(ctx context.Context) bool {
		if groups, err := s.admin.DescribeConsumerGroups(ctx, group); err == nil && groups[group].Err == nil {
			return groups[group].State == state && len(groups[group].Members) == members
		}
		groups, err := s.admin.DescribeGroups(ctx, group)
		return err == nil && groups[group].Err == nil && groups[group].State == state &&
			len(groups[group].Members) == members
	})
}

// ownsAlone says whether one member is left in a group, and owns that many partitions.
func (s *script) ownsAlone(ctx context.Context, group string, partitions int) bool {
	groups, err := s.admin.DescribeConsumerGroups(ctx, group)
	if err != nil || groups[group].Err != nil || groups[group].State != "Stable" || len(groups[group].Members) != 1 {
		return false
	}
	owned := 0
	for _, m := range groups[group].Members {
		for _, of := range m.Assignment {
			owned += len(of)
		}
	}
	return owned == partitions
}

func (s *script) wait(what string, reached func(context.Context) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), awaitWithin)
	defer cancel()
	if err := waitFor(ctx, func() (bool, error) { return reached(ctx), nil }); err != nil {
		s.t.Fatalf("waiting for %s: %v", what, err)
	}
}

// offsets waits until a group has committed what there is of a topic.
func (s *script) offsets(group, topic string, want ...int64) {
	s.t.Helper()
	s.wait(fmt.Sprintf("%s to have committed %v", group, want), func(ctx context.Context) bool {
		got, err := s.admin.FetchOffsets(ctx, group)
		if err != nil {
			return false
		}
		for p, at := range want {
			if o, ok := got.Lookup(topic, int32(p)); !ok || o.At != at {
				return false
			}
		}
		return true
	})
}

// tool runs one of Kafka's tools and adds what it printed to the transcript. What it has changed is in effect then.
func (s *script) tool(class string, args ...string) {
	s.t.Helper()
	s.print(class, args, s.run(class, append(s.connection(class), args...)))
	if !isQuestion(class, args) {
		s.settle()
	}
}

// connection is what a tool is told of the broker and does not print. The one for groups waits for 5 s by itself.
func (s *script) connection(class string) []string {
	words := []string{"--bootstrap-server", s.target.bootstrap}
	if class == groupCommand {
		words = append(words, "--timeout", strconv.FormatInt(clientTimeout.Milliseconds()/2, 10))
	}
	return words
}

// isQuestion says whether a tool changes nothing that a controller knows of.
func isQuestion(class string, args []string) bool {
	return class == groupCommand || class == transactionsCommand || slices.ContainsFunc(args, func(word string) bool {
		return slices.Contains([]string{"--list", "--describe", "describe"}, word)
	})
}

// settle waits until Apache Kafka has put all changes into effect. The broker under test has done so when it answers.
func (s *script) settle() {
	s.t.Helper()
	if !s.target.isKafka {
		return
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), awaitWithin)
	defer cancel()
	if err := settle(ctx, s.admin); err != nil {
		s.t.Fatalf("waiting for changes to be in effect: %v", err)
	}
}

// group runs ConsumerGroupCommand with the words of a line.
func (s *script) group(line string) {
	s.t.Helper()
	s.line(groupCommand, line)
}

// line runs a tool with the words of a line, in which DIR is the script's directory.
func (s *script) line(class, line string) {
	s.t.Helper()
	s.tool(class, strings.Fields(strings.ReplaceAll(line, "DIR", s.dir))...)
}

func (s *script) run(class string, args []string) *memberEvent {
	s.t.Helper()
	s.host.send(s.t, map[string]any{"op": "tool", "class": class, "args": args})
	select {
	case e := <-s.result:
		return e
	case <-s.host.ended:
		s.t.Fatalf("the host ended in %s %v: %s", class, args, s.host.errs)
	case <-time.After(clientTimeout):
		s.t.Fatalf("%s %v has not ended after %v", class, args, clientTimeout)
	}
	return nil
}

var stackLine = regexp.MustCompile(`(?m)^(\tat |\t\.\.\. \d+ more|Caused by: ).*\n`)

// usage is the long list of options that follows some complaints.
var usage = regexp.MustCompile(`(?s)\nOption +Description.*`)

func (s *script) print(class string, args []string, e *memberEvent) {
	short := class[strings.LastIndexByte(class, '.')+1:]
	fmt.Fprintf(&s.transcript, "$ %s %s\n", short, strings.ReplaceAll(strings.Join(args, " "), s.dir, "DIR"))
	text := e.Out
	if e.Err != "" {
		text += "--- standard error\n" + usage.ReplaceAllString(stackLine.ReplaceAllString(e.Err, ""), "\n")
	}
	s.transcript.WriteString(strings.TrimRight(text, "\n"))
	fmt.Fprintf(&s.transcript, "\n--- status %d\n\n", e.Status)
}

// export writes what a tool printed into a file of the script's directory.
func (s *script) export(name, line string) {
	s.t.Helper()
	args := strings.Fields(line)
	e := s.run(groupCommand, append(s.connection(groupCommand), args...))
	s.print(groupCommand, args, e)
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(e.Out), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

var (
	uuids      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	base64IDs  = regexp.MustCompile(`(^|[^A-Za-z0-9_-])[A-Za-z0-9_-]{22}($|[^A-Za-z0-9_-])`)
	bootstraps = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	valid      = regexp.MustCompile(`(Valid states are: |takes one of these options: ).*`) // a set's order differs from one process to the next
	// Kafka lists the configs of kinds of groups that Spate does not serve.
	otherGroups = regexp.MustCompile(`(?m)^  (share|streams)\..*\n`)
	pools       = regexp.MustCompile(`kafka-admin-client-thread \| adminclient-\d+`)
)

// masked hides what no two runs have in common: ids and ports. Rows of a table whose order depends on ids are sorted.
func (s *script) masked() []string { return s.maskedBut("") }

// maskedBut is masked without the masks of one difference that docs/protocol.md lists.
func (s *script) maskedBut(listed string) []string {
	text := uuids.ReplaceAllString(s.transcript.String(), "UUID")
	text = base64IDs.ReplaceAllString(text, "${1}ID${2}")
	text = bootstraps.ReplaceAllString(text, "BROKER")
	text = valid.ReplaceAllString(text, "${1}SET")
	text = pools.ReplaceAllString(text, "THREAD")
	text = otherGroups.ReplaceAllString(text, "")
	for _, m := range s.masks {
		if listed != "" && m.listed == listed {
			continue
		}
		if m.change != nil {
			text = m.what.ReplaceAllStringFunc(text, m.change)
			continue
		}
		text = m.what.ReplaceAllString(text, m.by)
	}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		lines[i] = strings.TrimRight(lines[i], " ")
		if !strings.HasPrefix(lines[i], "GROUP") {
			continue
		}
		end := i + 1
		for end < len(lines) && lines[end] != "" && !strings.HasPrefix(lines[end], "---") {
			end++
		}
		slices.Sort(lines[i+1 : end])
	}
	return lines
}

// bothSay runs a script against Apache Kafka and against the broker under test, and compares the transcripts.
// It gives the listed differences that showed.
func bothSay(t *testing.T, kafka, tested *target, play func(s *script)) (shown []string) {
	t.Helper()
	transcripts, scripts := make([][]string, 2), make([]*script, 2)
	var running sync.WaitGroup
	for i, tg := range []*target{kafka, tested} {
		s := startScript(t, tg)
		scripts[i] = s
		running.Go(func() {
			play(s)
			transcripts[i] = s.masked()
		})
	}
	running.Wait()
	if t.Failed() {
		return nil
	}
	for _, m := range scripts[0].masks {
		isShown := func() bool {
			return !slices.Equal(scripts[0].maskedBut(m.listed), scripts[1].maskedBut(m.listed))
		}
		if m.listed != "" && !slices.Contains(shown, m.listed) && isShown() {
			shown = append(shown, m.listed)
		}
	}
	dir := t.TempDir()
	for i, name := range []string{"kafka", "tested"} {
		text := strings.Join(transcripts[i], "\n")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if d := lineDiff(t, filepath.Join(dir, "kafka"), filepath.Join(dir, "tested")); d != "" {
		t.Errorf("Apache Kafka %s (-), the broker under test (+):\n%s", proc.KafkaVersion, d)
	}
	if *transcript != "" {
		text := strings.Join(transcripts[0], "\n")
		if err := os.WriteFile(filepath.Join(*transcript, slug(t.Name())), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return shown
}

// lineDiff gives the differences of two files as diff -u does, or "".
func lineDiff(t *testing.T, a, b string) string {
	t.Helper()
	left, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	right, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(left) == string(right) {
		return ""
	}
	out, err := diffCommand(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
