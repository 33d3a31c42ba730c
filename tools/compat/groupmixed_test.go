package compat

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spate/internal/proc"
)

// TestMixedLibraries puts members of every library that has the range assignor into one group, beside two more groups
// of one library each on the same topic, and a group of Kafka's console consumers.
func TestMixedLibraries(t *testing.T) {
	t.Parallel()
	r := startRun(t, startTarget(t, patientSettings()), 12)
	range_ := memberOptions{protocol: "classic", assignor: "range", patient: true}
	mixed, java, franz := r.watch("mixed"), r.watch("java-beside"), r.watch("franz-beside")
	console := startConsole(t, r, "console", 2)
	for _, name := range []string{"java", "confluent", "kafkajs", "aiokafka", "franz"} {
		l := libraryNamed(name)
		h := mixed.host(l)
		for n := range 2 {
			mixed.join(h, l, fmt.Sprintf("%s-%d", name, n), range_)
		}
	}
	javaProcess, franzProcess := java.host(javaHost{}), franz.host(franzHost{})
	for n := range 2 {
		java.join(javaProcess, javaHost{}, fmt.Sprintf("java-beside-%d", n), memberOptions{protocol: "consumer"})
		franz.join(franzProcess, franzHost{}, fmt.Sprintf("franz-beside-%d", n),
			memberOptions{protocol: "classic", assignor: "cooperative-sticky", patient: true})
	}
	for _, g := range []*watchedGroup{mixed, java, franz} {
		g.awaitShared("with the others on the topic")
	}
	mixed.killHost(mixed.members["franz-0"].host)
	mixed.awaitShared("after one library's death")
	r.killBroker()
	for _, g := range []*watchedGroup{mixed, java, franz} {
		g.awaitRead("after the broker's death")
	}
	mixed.awaitShared("after the broker's death")
	r.finish()
	console.finish()
}

// TestStaticMembers lets static members go away and come back within their session: nothing moves; then one does not
// come back, and another takes its place with its instance id.
func TestStaticMembers(t *testing.T) {
	t.Parallel()
	for _, c := range []groupCase{
		{library: "java", protocol: "classic", assignor: "range"},
		{library: "java", protocol: "consumer"},
		{library: "confluent", protocol: "classic", assignor: "cooperative-sticky"},
		{library: "confluent", protocol: "consumer"},
		{library: "franz", protocol: "classic", assignor: "sticky"},
		{library: "franz", protocol: "consumer"},
		{library: "aiokafka", protocol: "classic", assignor: "range"},
	} {
		t.Run(c.library+" "+c.protocol, func(t *testing.T) {
			t.Parallel()
			l := libraryNamed(c.library)
			r := startRun(t, startTarget(t, patientSettings()), 6)
			g := r.watch("static")
			// The process that takes the place of one that dies is there before: a start may outlast a session.
			stays, restarts := g.host(l), g.host(l)
			var replaces *host
			if c.protocol == "classic" {
				replaces = g.host(l)
			}
			member := func(n int) memberOptions {
				return memberOptions{protocol: c.protocol, assignor: c.assignor,
					instance: fmt.Sprintf("instance-%d", n), patient: true}
			}
			g.join(stays, l, "member-0", member(0))
			g.join(restarts, l, "member-1", member(1))
			g.awaitShared("at first")
			before := g.history.Shares()["member-0"]
			// It comes back under its instance id before its session is over. In the consumer protocol the instance
			// id must have been released, by a leave that keeps the partitions; a death gives it up by time alone.
			if c.protocol == "consumer" {
				g.leave("member-1")
			} else {
				g.killHost(restarts)
				restarts = replaces
			}
			g.join(restarts, l, "member-1", member(1))
			g.awaitShared("after a static member came back")
			if now := g.history.Shares()["member-0"]; now != before {
				t.Errorf("the other member owned %d partitions, and now %d", before, now)
			}
			g.awaitRead("after a static member came back")
			r.killBroker()
			g.awaitRead("after the broker's death")
			g.killHost(restarts)
			g.awaitShared("when the session of one is over")
			r.finish()
			noteGroup(c.library, c.protocol+", static", c.assignor, 2)
		})
	}
}

// TestRollingUpgrade moves a group from the classic protocol to the consumer one, member by member, and back, while
// records flow.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	for _, c := range []groupCase{
		{library: "java", assignor: "cooperative-sticky"},
		{library: "java", assignor: "range"},
		{library: "confluent", assignor: "cooperative-sticky"},
		{library: "confluent", assignor: "range"},
	} {
		t.Run(c.library+" from "+c.assignor, func(t *testing.T) {
			t.Parallel()
			l := libraryNamed(c.library)
			r := startRun(t, startTarget(t, patientSettings()), 6)
			g := r.watch("rolling")
			h := g.host(l)
			old := memberOptions{protocol: "classic", assignor: c.assignor, patient: true}
			const members = 3
			for n := range members {
				g.join(h, l, fmt.Sprintf("old-%d", n), old)
			}
			g.awaitShared("in the classic protocol")
			roll := func(from, to string, o memberOptions) {
				for n := range members {
					g.leave(fmt.Sprintf("%s-%d", from, n))
					g.join(h, l, fmt.Sprintf("%s-%d", to, n), o)
					g.awaitShared(fmt.Sprintf("with %s-%d", to, n))
					g.awaitRead(fmt.Sprintf("with %s-%d", to, n))
				}
			}
			roll("old", "new", memberOptions{protocol: "consumer"})
			r.killBroker()
			g.awaitRead("after the broker's death")
			roll("new", "back", old)
			r.finish()
			noteGroup(c.library, "classic → consumer → classic", c.assignor, members)
		})
	}
}

// TestRegularExpressions subscribes members by a regular expression that the broker resolves.
func TestRegularExpressions(t *testing.T) {
	t.Parallel()
	l := confluentHost{}
	r := startRun(t, startTarget(t, patientSettings()), 6)
	g := r.watch("matching")
	h := g.host(l)
	g.subscription = "^" + r.topic[:len(r.topic)-3] + ".*"
	for n := range 3 {
		g.join(h, l, fmt.Sprintf("member-%d", n), memberOptions{protocol: "consumer"})
	}
	g.awaitShared("by the broker's own matching")
	g.awaitRead("by the broker's own matching")
	r.killBroker()
	g.awaitRead("after the broker's death")
	r.finish()
}

// consoles are Kafka's console consumers in one group: they print records, and nothing of the group.
type consoles struct {
	run     *groupRun
	group   string
	mu      sync.Mutex
	seen    map[string]bool // partition, offset and value
	ended   sync.WaitGroup
	members []*exec.Cmd
}

// startConsole starts that many of them, one of the classic protocol and the others of the new one.
func startConsole(t *testing.T, r *groupRun, group string, count int) *consoles {
	t.Helper()
	c := &consoles{run: r, group: group, seen: map[string]bool{}}
	for range count {
		c.start()
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			_ = m.Process.Signal(syscall.SIGKILL)
		}
		c.ended.Wait()
	})
	return c
}

func (c *consoles) start() {
	c.run.t.Helper()
	protocol := []string{"classic", "consumer"}[len(c.members)%2]
	cmd, err := proc.KafkaTool(context.Background(), "consumer.ConsoleConsumer",
		"--bootstrap-server", c.run.target.bootstrap, "--topic", c.run.topic, "--group", c.group, "--from-beginning",
		"--command-property", "group.protocol="+protocol, "--formatter-property", "print.partition=true",
		"--formatter-property", "print.offset=true", "--command-property", "auto.commit.interval.ms=200")
	if err != nil {
		c.run.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.run.t.Fatal(err)
	}
	c.members = append(c.members, cmd)
	c.ended.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.mu.Lock()
			c.seen[lines.Text()] = true
			c.mu.Unlock()
		}
		_ = cmd.Wait()
	})
}

// finish waits until every record that was written has been printed, and ends the consumers.
func (c *consoles) finish() {
	c.run.t.Helper()
	missing := func() (n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.run.mu.Lock()
		defer c.run.mu.Unlock()
		for p, records := range c.run.written {
			for offset, value := range records {
				if !c.seen[fmt.Sprintf("Partition:%d\tOffset:%d\t%s", p, offset, value)] {
					n++
				}
			}
		}
		return n
	}
	ctx, cancel := context.WithTimeout(c.run.t.Context(), awaitWithin)
	defer cancel()
	if err := waitFor(ctx, func() (bool, error) { return missing() == 0, nil }); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		some := []string{}
		for line := range c.seen {
			if some = append(some, line); len(some) == 3 {
				break
			}
		}
		c.run.t.Errorf("the console consumers did not print all records; of %d lines some are %s", len(c.seen),
			strings.Join(some, "; "))
		return
	}
	c.run.t.Logf("the console consumers printed every one of %d records", c.run.acknowledged())
	for _, m := range c.members {
		_ = m.Process.Signal(syscall.SIGTERM)
	}
	done := make(chan struct{})
	go func() { c.ended.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(awaitWithin):
		c.run.t.Error("the console consumers did not end on SIGTERM")
	}
}
