package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spate/internal/proc"
	"spate/internal/task"
)

// groupSettings make groups quick: no waiting for further members, and members that died are missed soon.
var groupSettings = map[string]string{
	"group.initial.rebalance.delay.ms":         "0",
	"offsets.topic.num.partitions":             "4",
	"group.consumer.min.session.timeout.ms":    "6000",
	"group.consumer.session.timeout.ms":        "6000",
	"group.consumer.heartbeat.interval.ms":     "1000",
	"group.consumer.min.heartbeat.interval.ms": "1000",
}

// beside is a command that runs beside the test.
type beside struct {
	cmd    *exec.Cmd
	reader task.Group

	mu    sync.Mutex
	out   []string
	err   strings.Builder
	more  chan struct{} // gets a value for each line
	ended chan struct{} // closed when the command has ended
}

// startBeside runs the binary beside the test, and kills it at the end if it still runs.
func startBeside(t *testing.T, args ...string) *beside {
	t.Helper()
	r := &beside{cmd: exec.Command(binary, args...), more: make(chan struct{}, 1), ended: make(chan struct{})}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	heard := func() {
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
	r.reader.Go("output", func() {
		for lines := bufio.NewScanner(out); lines.Scan(); heard() {
			r.mu.Lock()
			r.out = append(r.out, lines.Text())
			r.mu.Unlock()
		}
	})
	r.reader.Go("errors", func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); heard() {
			r.mu.Lock()
			r.err.WriteString(lines.Text() + "\n")
			r.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		r.wait()
	})
	return r
}

// wait waits for the end, once or often.
func (r *beside) wait() {
	r.reader.Wait()
	select {
	case <-r.ended:
	default:
		_ = r.cmd.Wait()
		close(r.ended)
	}
}

// lines are the lines printed so far, and what was said on standard error.
func (r *beside) lines() ([]string, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.out...), r.err.String()
}

// until waits until what was printed is enough.
func (r *beside) until(t *testing.T, what string, enough func(out []string, err string) bool) {
	t.Helper()
	deadline := time.After(patience)
	look := time.NewTicker(100 * time.Millisecond) // enough can also be a matter of another command
	defer look.Stop()
	for {
		out, err := r.lines()
		if enough(out, err) {
			return
		}
		select {
		case <-r.more:
		case <-look.C:
		case <-deadline:
			t.Fatalf("%s: not after %v; %d lines\n%s", what, patience, len(out), err)
		}
	}
}

// said waits for a text on standard error.
func (r *beside) said(t *testing.T, text string) {
	t.Helper()
	r.until(t, text, func(_ []string, err string) bool { return strings.Contains(err, text) })
}

// interrupt sends Ctrl-C's signal, waits for the end, and gives the exit status.
func (r *beside) interrupt(t *testing.T) int {
	t.Helper()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.wait()
	return r.cmd.ProcessState.ExitCode()
}

// numbers are lines from one number to another.
func numbers(from, to int) string {
	var text strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintln(&text, i)
	}
	return text.String()
}

// changing are the parts of a description that differ from run to run.
var changing = regexp.MustCompile(`\b[0-9]+\.[0-9] s|lag_s=\S+|\S+ +/127\.0\.0\.1|  +`)

// steady takes them out.
func steady(text string) string {
	return changing.ReplaceAllStringFunc(text, func(part string) string {
		switch {
		case strings.HasSuffix(part, " s"):
			return "N s"
		case strings.HasPrefix(part, " "):
			return "  "
		}
		return "MEMBER  HOST"
	})
}

// TestGroupLife takes a group of each protocol through its life, with what people see at each step.
func TestGroupLife(t *testing.T) {
	b, _ := startBroker(t, groupSettings)
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			topic, group := "orders-"+protocol, "g-"+protocol
			at := func(args ...string) result { return spate(t, "", append(args, "-b", b.Bootstrap)...) }
			check := func(r result, code int, out, err string) {
				t.Helper()
				if got := steady(r.out); r.code != code || got != steady(out) || !strings.Contains(r.err, err) {
					t.Errorf("status %d, want %d, %q\n%s\nwant\n%s\n%s", r.code, code, err, got, steady(out), r.err)
				}
			}
			must(t, "", "topic", "create", topic, "-p", "2", "-b", b.Bootstrap)
			must(t, numbers(1, 10), "produce", topic, "-p", "0", "-q", "-b", b.Bootstrap)
			check(at("group", "describe", group), 1, "", "group "+group+" does not exist")

			r := at("consume", topic, "--group", group, "--protocol", protocol, "--count", "4")
			if r.out != numbers(1, 4) || r.code != 0 ||
				!strings.Contains(r.err, "assigned: "+topic+":0,1\nread 4 records, ") ||
				!strings.HasSuffix(r.err, "; group "+group+" is at "+topic+"-0:4 "+topic+"-1:0\n") {
				t.Errorf("status %d\n%s%s", r.code, r.out, r.err)
			}
			assignor := map[string]string{"classic": "", "consumer": "  assignor uniform"}[protocol]
			describe := "group " + group + "  type " + protocol + "  state Empty" + assignor +
				"  members 0  lag 6 records, N s\n  TOPIC  PARTITION  CURRENT  END  LAG  SECONDS  MEMBER  HOST  " +
				"CLIENT\n"
			r = at("group", "describe", group)
			if got := steady(r.out); !strings.HasPrefix(got, steady(describe)+"  "+topic+"  0  4  10  6  ") ||
				!strings.Contains(got, topic+"  1  0  0  0  0  -  -  -\n  ! no members: nobody consumes") {
				t.Errorf("describe:\n%s", got)
			}
			r = at("consume", topic, "--group", group, "--protocol", protocol, "--to-end", "--quiet")
			if r.out != numbers(5, 10) || r.err != "" {
				t.Errorf("the rest: %q, %q", r.out, r.err)
			}
			check(at("group", "list", "--type", protocol, "--state", "empty"), 0,
				"GROUP  TYPE  STATE  PROTOCOL  COORDINATOR\n"+group+"  "+protocol+"  Empty  consumer  1\n", "")

			plan := "TOPIC  PARTITION  CURRENT  NEW  CHANGE  NOTE\n" + topic + "  0  10  7  -3  -\n"
			reset := []string{"group", "reset-offsets", group, "--topic", topic + ":0", "--shift-by", "-3"}
			check(at(reset...), 0, plan, "dry run, nothing was changed: --execute does it\n")
			check(at(append(reset, "--execute")...), 0, plan, "set 1 offset of group "+group+"\n")
			r = at("consume", topic, "--group", group, "--protocol", protocol, "--to-end", "--quiet")
			if r.out != numbers(8, 10) {
				t.Errorf("after the reset: %q", r.out)
			}
			checkActive(t, b.Bootstrap, topic, group, protocol)
			check(at("group", "delete-offsets", group, "--topic", topic+":1"), 0,
				"deleted the offset of "+topic+"-1\n", "")
			check(at("group", "delete-offsets", group, "--topic", topic+":1"), 1, "",
				"group "+group+" has no committed offset of topic "+topic)
			check(at("group", "delete", group, "none"), 1, "deleted group "+group+"\n", "group none does not exist")
			check(at("group", "delete", group, "--if-exists"), 0, "group "+group+" does not exist\n", "")
		})
	}
}

// checkActive looks at a group while it has a member, and finds that nothing can be taken from under it.
func checkActive(t *testing.T, bootstrap, topic, group, protocol string) {
	t.Helper()
	at := func(args ...string) result { return spate(t, "", append(args, "-b", bootstrap)...) }
	member := startBeside(t, "consume", topic, "--group", group, "--protocol", protocol, "-b", bootstrap)
	member.said(t, "assigned: "+topic+":0,1")
	r := at("group", "members", group)
	if !strings.Contains(r.out, "  state Stable  ") || !strings.Contains(steady(r.out), "  "+topic+":0,1  ") {
		t.Errorf("members:\n%s%s", r.out, r.err)
	}
	for _, c := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"reset-offsets", group, "--all-topics", "--to-latest"}, 0,
			"dry run, nothing was changed: group " + group + " has 1 member and is Stable; stop them before " +
				"--execute\n"},
		{[]string{"reset-offsets", group, "--all-topics", "--to-latest", "--execute"}, 1,
			"spate: group " + group + " has 1 member and is Stable; stop them first, as they would go on from " +
				"where they are\n"},
		{[]string{"delete", group}, 1,
			"spate: group " + group + " has members, which must be stopped first; \"spate group members " + group +
				"\" shows them\n"},
		{[]string{"delete-offsets", group, "--topic", topic}, 1, "spate: " + topic + "-0, " + topic + "-1: group " +
			"" + group +
			" has members that are subscribed to this topic; stop them first\n"},
	} {
		if r := at(append([]string{"group"}, c.args...)...); r.code != c.code || r.err != c.err {
			t.Errorf("%v: status %d, %s", c.args, r.code, r.err)
		}
	}
	if code := member.interrupt(t); code != 0 {
		t.Errorf("status %d", code)
	}
	r = at("group", "describe", group, "--state", "-o", "json")
	var views []groupView
	if err := json.Unmarshal([]byte(r.out), &views); err != nil || len(views) != 1 || views[0].State != "Empty" ||
		views[0].Type != protocol || views[0].Lag != 0 || *views[0].LagSeconds != 0 || len(views[0].Reasons) > 0 {
		t.Errorf("%v\n%s%s", err, r.out, r.err)
	}
}

// TestMemberWithoutBroker: a member whose broker goes away says why it has no partitions any more, once, and ends when
// it is told to.
func TestMemberWithoutBroker(t *testing.T) {
	b, _ := startBroker(t, groupSettings)
	must(t, "1\n", "produce", "orders", "-q", "-b", b.Bootstrap)
	member := startBeside(t, "consume", "orders", "--group", "g", "-b", b.Bootstrap)
	member.said(t, "assigned: orders:0")
	b.Kill()
	member.said(t, "out of group g: its coordinator does not answer (")
	member.interrupt(t)
	if said := strings.Count(member.err.String(), "out of group"); said != 1 {
		t.Errorf("said %d times:\n%s", said, member.err.String())
	}
}

// TestResetToAndFrom resets to each place, writes a plan to a file, and takes it back from there.
func TestResetToAndFrom(t *testing.T) {
	b, _ := startBroker(t, groupSettings)
	on := []string{"-b", b.Bootstrap}
	must(t, "", append(on, "topic", "create", "orders", "-p", "2")...)
	must(t, numbers(1, 10), append(on, "produce", "orders", "-p", "1", "-q")...)
	reset := func(stdin string, args ...string) result {
		return spate(t, stdin, append(on, append([]string{"group", "reset-offsets", "g"}, args...)...)...)
	}
	rows := func(args ...string) string {
		var plan []resetRow
		r := reset("", append(args, "-o", "json")...)
		if err := json.Unmarshal([]byte(r.out), &plan); err != nil {
			t.Fatalf("%v: %v\n%s%s", args, err, r.out, r.err)
		}
		var text []string
		for _, row := range plan {
			text = append(text, fmt.Sprintf("%d:%d", row.Partition, row.New))
		}
		return strings.Join(text, " ")
	}
	for args, want := range map[string]string{
		"-t orders --to-earliest":                       "0:0 1:0",
		"-t orders --to-latest":                         "0:0 1:10",
		"-t orders --to-current":                        "0:0 1:10",
		"-t orders:1 --to-offset 3":                     "1:3",
		"-t orders --to-offset 30":                      "0:0 1:10",
		"-t orders --by-duration 1h":                    "0:0 1:0",
		"-t orders --to-datetime 2200-01-01T00:00:00Z":  "0:0 1:10",
		"-t orders --to-datetime 1970-01-01T00:00:00.0": "0:0 1:0",
	} {
		if got := rows(strings.Fields(args)...); got != want {
			t.Errorf("%s: got %s, want %s", args, got, want)
		}
	}
	for args, want := range map[string]string{
		"-t orders:1 --shift-by 1":  "orders-1 has no committed offset to shift; ",
		"-t none --to-latest":       "topic none does not exist; ",
		"-t orders:2 --to-latest":   "topic orders has no partition 2; it has 2\n",
		"--all-topics --to-current": "group g has no committed offsets; name the topics with --topic\n",
	} {
		if r := reset("", strings.Fields(args)...); r.code != 1 || !strings.HasPrefix(r.err, "spate: "+want) {
			t.Errorf("%s: status %d, %s", args, r.code, r.err)
		}
	}
	if r := reset("", "-t", "orders", "--to-latest"); !strings.HasSuffix(
		r.err,
		"group g does not exist yet, --execute "+
			"makes it\n",
	) {
		t.Error(r.err)
	}
	if r := reset("orders,1,4\n", "--from-file", "-", "--execute"); r.code != 0 ||
		r.err != "set 1 offset of group g\n" {
		t.Errorf("status %d, %s", r.code, r.err)
	}
	r := reset("", "--all-topics", "--to-current", "--export")
	if r.out != "orders,1,4\n" || r.err != "" {
		t.Errorf("export: %q, %s", r.out, r.err)
	}
	file := filepath.Join(t.TempDir(), "offsets.csv")
	if err := os.WriteFile(file, []byte("g,orders,0,0\ng,orders,1,9\nother,orders,1,2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	reset("", "--from-file", file, "--execute")
	if got := must(t, "", append(on, "consume", "orders", "-g", "g", "-e", "-q")...); got != "10\n" {
		t.Errorf("from the file on: %q", got)
	}
}

// TestMembersShare: several topics, several members; one dies by kill -9, the broker dies by kill -9 and comes back,
// and
// every record is seen.
func TestMembersShare(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			b, dir := startBroker(t, groupSettings)
			on := []string{"-b", b.Bootstrap}
			for _, topic := range []string{"orders", "refunds"} {
				must(t, "", append(on, "topic", "create", topic, "-p", "2")...)
			}
			consume := append(on, "consume", "orders", "refunds", "-g", "g", "--protocol", protocol)
			if protocol == "classic" {
				consume = append(consume, "--session-timeout", "6s")
			}
			first := startBeside(t, consume...)
			first.said(t, "assigned: orders:0,1 refunds:0,1\n")
			second := startBeside(t, consume...)
			second.until(t, "two partitions", func(_ []string, err string) bool {
				return strings.Count(err, "orders:")+strings.Count(err, "refunds:") > 0
			})
			for i, topic := range []string{"orders", "refunds"} {
				for p := range 2 {
					from := (i*2+p)*100 + 1
					must(t, numbers(from, from+99), append(on, "produce", topic, "-p", fmt.Sprint(p), "-q")...)
				}
			}
			both := func(want int) func([]string, string) bool {
				return func(mine []string, _ string) bool {
					theirs, _ := second.lines()
					seen := make(map[string]bool)
					for _, line := range append(mine, theirs...) {
						seen[line] = true
					}
					return len(seen) >= want
				}
			}
			first.until(t, "all records", both(400))
			if err := second.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			second.wait()
			must(t, numbers(401, 500), append(on, "produce", "orders", "-p", "0", "-q")...)
			must(t, numbers(501, 600), append(on, "produce", "refunds", "-p", "1", "-q")...)
			first.until(t, "what the dead member would have read", both(600))

			b.Kill()
			b, err := proc.Start(proc.Options{DataDir: dir, Set: groupSettings, Listen: b.Bootstrap})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Kill()
			must(t, numbers(601, 700), append(on, "produce", "orders", "-p", "1", "-q")...)
			first.until(t, "what came after the broker died", both(700))
			if code := first.interrupt(t); code != 0 {
				t.Errorf("status %d", code)
			}
			r := spate(t, "", append(on, "group", "describe", "g", "-o", "json")...)
			var views []groupView
			if err := json.Unmarshal([]byte(r.out), &views); err != nil || views[0].Lag != 0 ||
				views[0].State != "Empty" {
				_, said := first.lines()
				t.Errorf("%v\n%s%s\n%s", err, r.out, r.err, said)
			}
		})
	}
}

// TestStuckMember: a member that is stopped keeps its partitions; two looks find it.
func TestStuckMember(t *testing.T) {
	b, _ := startBroker(t, groupSettings)
	on := []string{"-b", b.Bootstrap}
	must(t, "0\n", append(on, "produce", "orders", "-q")...)
	must(t, "", append(on, "consume", "orders", "-g", "g", "--to-end", "-q")...)
	member := startBeside(t, append(on, "consume", "orders", "-g", "g")...)
	member.said(t, "assigned: orders:0")
	idle := startBeside(t, append(on, "consume", "orders", "-g", "g")...)
	idle.said(t, "assigned: no partition")
	if err := proc.Halt(member.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	must(t, numbers(1, 10), append(on, "produce", "orders", "-q")...)
	r := spate(t, "", append(on, "group", "describe", "g", "--sample", "1s")...)
	for _, want := range []string{
		"  members 2  lag 10 records, ", "  ! empty assignment: 1 member of 2 has no partition (spate-",
		"): the subscribed topics have only 1 partition for 2 members\n",
		"  ! not consuming: member spate-",
		" had records to read in orders-0, and committed nothing there (two looks, ",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s%s", want, r.out, r.err)
		}
	}
	if err := member.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	member.until(t, "the records", func(out []string, _ string) bool { return len(out) == 10 })
	watch := startBeside(t, append(on, "group", "describe", "g", "--watch", "1s")...)
	watch.until(t, "two looks", func(out []string, _ string) bool {
		return strings.Count(strings.Join(out, "\n"), "group g  type classic") >= 2
	})
	if code := watch.interrupt(t); code != 0 {
		t.Errorf("status %d", code)
	}
}

// TestGroupOnATerminal: the member says what happens, shows a rate, and leaves by Ctrl-C.
func TestGroupOnATerminal(t *testing.T) {
	b, _ := startBroker(t, groupSettings)
	must(t, "hello\nworld\n", "produce", "typed", "-b", b.Bootstrap, "-q")
	p := openTerminal(t)
	consume := p.on(t, nil, "consume", "typed", "-g", "g", "-b", b.Bootstrap)
	p.await(t, "joining group g\r\n")
	p.await(t, "assigned: typed:0\r\n")
	p.await(t, "hello\r\nworld\r\n")
	p.await(t, "\r2 records, 10 bytes, ")
	p.await(t, "at the end; waiting for more (Ctrl-C ends)\r\n")
	p.typed(t, "\x03")
	p.await(t, "; group g is at typed-0:2\r\n")
	if err := consume.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	if r := spate(t, "", "group", "describe", "g", "-b", b.Bootstrap); !strings.Contains(
		r.out,
		"  state Empty  members 0  ",
	) {
		t.Errorf("the group after Ctrl-C:\n%s%s", r.out, r.err)
	}
}
