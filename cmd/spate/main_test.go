package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spate/internal/proc"
)

// binary is the real program, built once for all tests of this package.
var binary string

// TestMain builds the binary and has package proc start it.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-test.fuzzworker") { // fuzz targets run no binary, and each worker would build one
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "spate-cmd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "spate")
	code := 1
	if err := proc.Build(binary, "-ldflags", "-X main.version=v0-test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else if err := os.Setenv("SPATE_BIN", binary); err == nil {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience bounds every command that a test runs, and every wait: on a busy machine too nothing takes so long.
const patience = 2 * time.Minute

// result is what a command did.
type result struct {
	code     int
	out, err string
}

// spate runs the binary to its end, and again as long as it says that a coordinator is not ready: what that keeps its
// state in is made when somebody asks for the first time, and a busy machine takes its time.
func spate(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		r := spateIn(t, "", nil, stdin, args...)
		isEarly := r.code == exitFailure && r.out == "" && strings.Contains(r.err, "its coordinator is not ready (")
		if !isEarly || time.Now().After(deadline) {
			return r
		}
	}
}

// spateIn runs the binary in a directory with more environment variables.
func spateIn(t *testing.T, dir string, environ []string, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, stderr bytes.Buffer
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environ...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%v: no end after %v\n%s%s", args, patience, &out, &stderr)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// must runs a command that has to succeed, and gives its output.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := spate(t, stdin, args...)
	if r.code != 0 {
		t.Fatalf("%v: status %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// startBroker runs a broker for the time of the test.
func startBroker(t *testing.T, set map[string]string) (*proc.Broker, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b, err := proc.Start(proc.Options{DataDir: dir, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-b.Exited():
		default:
			if err := b.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return b, dir
}

// TestUsage: what is wrong with the command line is told in one line, with status 2, and help is no error.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string // in standard error, or in standard output where the status is 0
	}{
		{[]string{"--help"}, 0, "spate broker"},
		{[]string{}, 0, "Available Commands"},
		{[]string{"broker", "--help"}, 0, "ready node.id=1"},
		{[]string{"version"}, 0, "spate v0-test go1."},
		{[]string{"brokr"}, 2, `unknown command "brokr" for "spate"; did you mean broker? "spate --help" lists`},
		{[]string{"broker", "extra"}, 2, `unknown command "extra" for "spate broker"`},
		{[]string{"broker", "--sett", "a=b"}, 2, `unknown flag: --sett; "spate broker --help" lists the flags`},
		{[]string{"topic", "create"}, 2, "requires at least 1 arg"},
		{[]string{"topic", "create", "x", "--partitions", "many"}, 2, `--partitions "many": must be a number; "spate topic create --help"`},
		{[]string{"topic", "create", "x", "--partitions", "3000000000"}, 2, `--partitions "3000000000": the number is too large`},
		{[]string{"group", "reset-offsets", "x", "--to-offset", "abc"}, 2, `--to-offset "abc": must be a number`},
		{[]string{"txn", "list", "--producer-id", "abc"}, 2, `--producer-id "abc": must be numbers, separated by commas`},
		{[]string{"group", "describe", "--watch", "5"}, 2, `--watch "5": must be a duration such as 10s`},
		{[]string{"consume", "x", "--partitions", "1,b"}, 2, `--partitions "1,b": must be numbers, separated by commas`},
		{[]string{"frob"}, 2, `unknown command "frob" for "spate"; "spate --help" lists the commands`},
		{[]string{"topci", "list", "-b", "x"}, 2, `unknown command "topci" for "spate"; did you mean topic?`},
		{[]string{"topic", "alter", "x"}, 2, "say what to change: --set, --unset"},
		{[]string{"topic", "alter", "x", "--set", "a"}, 2, `--set "a": must be name=value`},
		{[]string{"topic", "alter", "x", "--unset", "a=b"}, 2, `--unset "a=b": must be the name of a config, without`},
		{[]string{"topic", "alter", "x", "--set", "a=1", "--unset", "a"}, 2, "a is named twice"},
		{[]string{"topic", "alter", "x", "--partitions", "0"}, 2, "--partitions 0: must be 1 or more"},
		{[]string{"topic", "list", "["}, 2, `"[" is not a pattern such as orders-*`},
		{[]string{"topic", "describe", "--unavailable", "--at-min-isr"}, 2,
			"--unavailable and --at-min-isr exclude each other"},
		{[]string{"topic", "delete-records", "x"}, 2, "say up to where: --before latest"},
		{[]string{"topic", "delete-records", "x", "--before", "soon"}, 2, `--before "soon": must be earliest`},
		{[]string{"topic", "delete-records", "x", "--before", "0:1", "-p", "0"}, 2, "--before names the partitions"},
		{[]string{"config", "describe", "tpoic"}, 2, `"tpoic" is not a kind: must be of topic, broker, broker-default`},
		{[]string{"config", "describe", "broker", "one"}, 2, `broker "one": must be the id of a broker`},
		{[]string{"config", "describe", "topic", ""}, 2, "the name of a topic is empty"},
		{[]string{"config", "set", "broker-default", "a"}, 2, `set "a": must be name=value`},
		{[]string{"config", "set", "topic", "a=b"}, 2,
			"name what to set; usage: spate config set KIND [NAME] KEY=VALUE..."},
		{[]string{"config", "describe", "broker-default", "1"}, 2, `broker-default has no name: leave "1" out`},
		{[]string{"cluster", "features", "upgrade", "x"}, 2, `"x": must be FEATURE=LEVEL, such as group.version=1`},
		{[]string{"cluster", "features", "frob"}, 2, `unknown command "frob" for "spate cluster features"`},
		{[]string{"cluster", "move-replica", "x"}, 2, "say where to: --to DIRECTORY"},
		{[]string{"topic", "create", "x", "--config", "nothing"}, 2, `--config "nothing": must be name=value`},
		{[]string{"topic", "list", "--output", "xml"}, 2, `--output "xml": must be text or json`},
		{[]string{"group", "frob"}, 2, `unknown command "frob" for "spate group"; "spate group --help" lists`},
		{[]string{"topic"}, 0, "Available Commands"},
		{[]string{"consume", "x", "--group", ""}, 2, "--group is empty"},
		{[]string{"consume", "x", "--session-timeout", "9s"}, 2, "--session-timeout belongs to --group"},
		{[]string{"consume", "x", "-g", "g", "--protocol", "consumer", "--session-timeout", "9s"}, 2,
			"--session-timeout: with --protocol consumer"},
		{[]string{"consume", "x", "--group", strings.Repeat("g", 32768)}, 2, "a group id has at most 32767"},
		{[]string{"produce"}, 2, "requires at least 1 arg(s), only received 0; usage: spate produce TOPIC [FILE...]"},
		{[]string{"produce", "x", "--acks", "2"}, 2, `--acks "2": must be all, 1 or 0`},
		{[]string{"produce", "x", "--compression", "rar"}, 2, `--compression "rar": must be none, gzip`},
		{[]string{"produce", "x", "--header", "h"}, 2, `--header "h": must be key=value`},
		{[]string{"produce", "x", "--key-separator", `\`}, 2, `--key-separator "\\": a backslash begins an escape`},
		{[]string{"consume", "x", "--from", "tomorrow"}, 2, `--from "tomorrow": must be earliest, latest`},
		{[]string{"consume", "x", "--to", "0:"}, 2, `--to "0:": "0:" must be PARTITION:PLACE, such as 0:100`},
		{[]string{"consume", "x", "--to", "5", "--to-end"}, 2, "--to and --to-end exclude each other"},
		{[]string{"consume", "x", "--to", "5", "--group", "g"}, 2, "--to and --group exclude each other"},
		{[]string{"consume", "x", "--from", "0:5", "--group", "g"}, 2, "offsets by partition and --group exclude"},
		{[]string{"consume", "x", "y", "--from", "0:5"}, 2, "offsets by partition need one topic"},
		{[]string{"consume", "x", "-p", "1", "--from", "0:5"}, 2,
			"partition 0 has offsets of its own, but --partitions"},
		{[]string{"consume", "x", "--from", "5", "--to", "4"}, 2, "--to 4 is before --from 5"},
		{[]string{"consume", "x", "--from", "1h", "--to", "2h"}, 2, "--to 2h is before --from 1h"},
		{[]string{"consume", "x", "--from", "-1", "--to", "-2"}, 2, "--to -2 is before --from -1"},
		{[]string{"consume", "x", "--count", "-1"}, 2, "--count -1: must not be negative"},
		{[]string{"consume", "x", "--key-regex", "("}, 2, "--key-regex: error parsing regexp"},
		{[]string{"consume", "x", "--value-regex", "["}, 2, "--value-regex: error parsing regexp"},
		{[]string{"consume", "x", "--header", "=v"}, 2, `--header "=v": must be name=value or name`},
		{[]string{"consume", "x", "--invert"}, 2, "--invert turns a filter round: give it one"},
		{[]string{"consume", "x", "-o", "json", "--print", "key"}, 2, "--print is for text"},
		{[]string{"consume", "x", "--print", "colour"}, 2, `--print "colour": must be of topic, partition`},
		{[]string{"consume", "x", "--format", "%q"}, 2, `--format "%q": `},
		{[]string{"consume", "x", "--format", "%v", "--print", "key"}, 2, "--format stands alone"},
		{[]string{"dump"}, 2, "requires at least 1 arg"},
		{[]string{"dump", "x", "--output", "xml"}, 2, `--output "xml": must be text or json`},
		{[]string{"tune", "--pid", "-1"}, 2, "--pid -1: must be the number of a process"},
		{[]string{"tune", "--pid", "x"}, 2, `--pid "x": must be a number`},
		{[]string{"tune", "--output", "xml"}, 2, `--output "xml": must be text or json`},
		{[]string{"verify", "x", "--output", "xml"}, 2, `--output "xml": must be text or json`},
	} {
		r := spate(t, "", c.args...)
		text := r.err
		if c.code == 0 {
			text = r.out
		}
		if r.code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%q: status %d, want %d with %q\n%s%s", c.args, r.code, c.code, c.want, r.out, r.err)
		}
		if c.code != 0 && (strings.Count(r.err, "\n") != 1 || r.out != "") {
			t.Errorf("%q: not one line:\n%s%s", c.args, r.out, r.err)
		}
	}
}

// TestUnreachable: the line says why, and what to do.
func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // closed at once: nobody listens there
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	r := spate(t, "", "topic", "list", "--bootstrap-server", address)
	want := "spate: no broker answers at " + address + ": connection refused; start a broker with \"spate broker\", " +
		"or name another with --bootstrap-server\n"
	if r.code != 1 || r.err != want {
		t.Errorf("status %d, %s", r.code, r.err)
	}
}

// readyPattern is the CLI contract for a broker with one listener.
var readyPattern = regexp.MustCompile(
	`^ready node\.id=(\d+) listeners=PLAINTEXT://(127\.0\.0\.1:\d+) pid=(\d+) startup_ms=\d+\n$`)
